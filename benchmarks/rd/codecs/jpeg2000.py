"""JPEG 2000."""

from typing import Any, ClassVar

from benchmarks.rd.codecs.base import PillowCodec


class Jpeg2000(PillowCodec):
    """JPEG 2000 with the irreversible 9/7 wavelet and colour transform, one quality layer."""

    name, label, colour = "jpeg2000", "JPEG 2000", "#0072b2"
    format, feature, suffix = "JPEG2000", "jpg_2000", ".jp2"
    scale = "bits per pixel asked for"
    qualities = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.3, 1.9, 2.7)
    usual = 1.0
    # Without "mct" Pillow does not decorrelate the colours, which costs 3 to 8 dB.
    settings: ClassVar[dict[str, Any]] = {"irreversible": True, "mct": 1}

    def options(self, quality: float) -> dict[str, Any]:
        """Pass the rate as a ratio to the 24 bits of a pixel."""
        return {"quality_mode": "rates", "quality_layers": [24 / quality], **self.settings}
