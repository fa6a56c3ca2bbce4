"""JPEG by jpegli, the strongest encoder of JPEG files."""

import importlib.metadata

from PIL import Image

from benchmarks.errors import CodecUnavailable
from benchmarks.rd.codecs.base import Choice, Codec


class Jpegli(Codec):
    """JPEG by ``pyjpegli`` at its defaults; any JPEG decoder reads the files."""

    name, label, colour = "jpegli", "jpegli", "#4d4d4d"
    by_default = False
    suffix = ".jpg"
    scale = "quality 1 to 100"
    qualities = (5, 10, 17, 25, 34, 44, 55, 66, 76, 84, 90, 95)
    usual = 75

    def __init__(self, choice: Choice):
        super().__init__(choice)
        try:
            import pyjpegli
        except ImportError as error:
            raise CodecUnavailable("the package pyjpegli is not installed") from error
        self._library = pyjpegli

    @property
    def description(self) -> str:
        return f"JPEG by pyjpegli {importlib.metadata.version('pyjpegli')}, defaults"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        return bytes(self._library.encode(image.tobytes(), image.width, image.height, int(quality)))
