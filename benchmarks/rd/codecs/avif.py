"""AVIF."""

from typing import Any, ClassVar

from benchmarks.rd.codecs.base import PillowCodec


class Avif(PillowCodec):
    """AVIF at libavif's default speed 6 and Pillow's default 4:2:0 subsampling."""

    name, label, colour = "avif", "AVIF", "#e69f00"
    format, feature, suffix = "AVIF", "avif", ".avif"
    scale = "quality 0 to 100"
    qualities: ClassVar[tuple[float, ...]] = (0, 8, 16, 25, 34, 43, 53, 63, 73, 83, 92)
    usual = 75
    settings: ClassVar[dict[str, Any]] = {"speed": 6}

    def options(self, quality: float) -> dict[str, Any]:
        """Add the threads, which change the time but not the file."""
        return {**super().options(quality), "max_threads": self.choice.threads}


class AvifSlow(Avif):
    """AVIF at its strongest for PSNR: slow, with colour at full resolution, and tuned for squared error."""

    name, label, colour = "avif-slow", "AVIF, slow", "#a65e00"
    by_default = False
    qualities: ClassVar[tuple[float, ...]] = (0, 11, 25, 40, 58, 76, 90)  # fewer: each takes seconds
    settings: ClassVar[dict[str, Any]] = {"speed": 2, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}}


class AvifSlowSsim(AvifSlow):
    """AVIF at its strongest for MS-SSIM."""

    name, label, colour = "avif-slow-ssim", "AVIF, slow, SSIM", "#6b4a00"
    settings: ClassVar[dict[str, Any]] = {**AvifSlow.settings, "advanced": {"tune": "ssim"}}
