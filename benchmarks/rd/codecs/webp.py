"""WebP."""

from typing import Any, ClassVar

from benchmarks.rd.codecs.base import PillowCodec


class WebP(PillowCodec):
    """Lossy WebP at its greatest effort."""

    name, label, colour = "webp", "WebP", "#009e73"
    format, feature, suffix = "WEBP", "webp", ".webp"
    scale = "quality 0 to 100"
    qualities = (0, 3, 8, 15, 25, 38, 52, 66, 78, 87, 93, 97)
    usual = 80
    settings: ClassVar[dict[str, Any]] = {"method": 6}
