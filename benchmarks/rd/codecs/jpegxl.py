"""JPEG XL."""

import importlib.metadata
from pathlib import Path

from PIL import Image

from benchmarks.errors import CodecUnavailable
from benchmarks.rd.codecs.base import Choice, Codec


class JpegXl(Codec):
    """JPEG XL at its default effort 7, by ``imagecodecs``."""

    name, label, colour = "jxl", "JPEG XL", "#56b4e9"
    suffix = ".jxl"
    scale = "butteraugli distance, smaller is better"
    qualities = (20, 15, 11, 8, 6, 4.5, 3.3, 2.4, 1.7, 1.1, 0.7)
    usual = 1.0
    effort = 7

    def __init__(self, choice: Choice):
        super().__init__(choice)
        try:
            import imagecodecs
        except ImportError as error:
            raise CodecUnavailable("the package imagecodecs is not installed") from error
        if not imagecodecs.JPEGXL.available:
            raise CodecUnavailable("this imagecodecs was built without JPEG XL")
        self._library = imagecodecs

    @property
    def description(self) -> str:
        version = importlib.metadata.version("imagecodecs")
        return f"JPEG XL by imagecodecs {version} ({self._library.jpegxl_version()}), effort={self.effort}"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        import numpy as np

        pixels, threads = np.asarray(image), self.choice.threads
        return bytes(self._library.jpegxl_encode(pixels, distance=quality, effort=self.effort, numthreads=threads))

    def decode(self, path: Path) -> Image.Image:
        return Image.fromarray(self._library.jpegxl_decode(path.read_bytes(), numthreads=self.choice.threads))


class JpegXl9(JpegXl):
    """JPEG XL at effort 9, the strongest that ``cjxl`` offers without its expert option."""

    name, label, colour = "jxl-9", "JPEG XL, effort 9", "#2b6f99"
    by_default = False
    effort = 9
