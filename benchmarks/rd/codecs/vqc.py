"""vqcodec, through its public interface."""

import functools
import importlib.metadata
import re
from pathlib import Path
from typing import TypeVar

from PIL import Image

import vqcodec
from benchmarks.errors import CodecUnavailable
from benchmarks.rd.codecs.base import Choice, Codec
from vqcodec import defaults

T = TypeVar("T")

_NAME = re.compile(
    rf"vqc(?::(?P<model>.+?))?(?:@(?P<effort>{'|'.join(map(str, defaults.EFFORTS))}))?(?P<lossy>-lossy)?"
)


class Vqc(Codec):
    """vqcodec with one model at one effort."""

    name, label, colour = "vqc", "vqcodec", "#d55e00"
    more_colours = ("#cc79a7", "#8c510a", "#6a3d9a")
    """Colours of the second and further models in a plot, in turn."""
    suffix = ".vqc"
    scale = "quality 0 to 100"
    qualities = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    usual = defaults.QUALITY

    def __init__(self, choice: Choice):
        super().__init__(choice)
        name = _NAME.fullmatch(choice.name)
        assert name is not None
        self._effort = int(name["effort"]) if name["effort"] else defaults.EFFORT
        self._lossless = False if name["lossy"] else None
        try:
            if choice.weights is not None:
                self._codec = vqcodec.Codec(model_path=choice.weights, device=choice.device)
            else:
                self._codec = vqcodec.Codec(name["model"], device=choice.device)
        except vqcodec.VqcError as error:
            raise CodecUnavailable(str(error)) from error

    @classmethod
    def matches(cls, name: str) -> bool:
        """Return whether ``name`` is ``vqc``, ``vqc:ID``, or one of these with ``@EFFORT``, ``-lossy`` or both."""
        return _NAME.fullmatch(name) is not None

    @classmethod
    def label_of(cls, name: str) -> str:
        return cls.label if name == cls.name else name.replace("vqc:", "vqcodec ")

    @functools.cached_property
    def description(self) -> str:
        stream = vqcodec.info(self._codec.encode(Image.new("RGB", (16, 16)), lossless=False))
        version = importlib.metadata.version("vqcodec")
        how = f"effort={self._effort}" if self._lossless is None else f"effort={self._effort}, lossy"
        return f"vqcodec {version}, model {stream.model or 'not shipped'} ({stream.model_hash}), {how}"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        return self._codec.encode(image, quality, max_pixels=0, effort=self._effort, lossless=self._lossless)

    def decode(self, path: Path) -> Image.Image:
        return self._codec.decode(path, max_pixels=0).convert("RGB")

    def encode_batch(self, images: list[Image.Image], quality: float) -> list[bytes]:
        results = self._codec.encode_batch(images, quality, max_pixels=0, effort=self._effort, lossless=self._lossless)
        return [_unwrap(result.data, result.error) for result in results]

    def decode_batch(self, paths: list[Path]) -> list[Image.Image]:
        results = self._codec.decode_batch(paths, max_pixels=0)
        return [_unwrap(result.image, result.error).convert("RGB") for result in results]


def _unwrap(value: T | None, error: Exception | None) -> T:
    """Return the value, or raise the error."""
    if value is None:
        raise error or CodecUnavailable("the batch returned neither a result nor an error")
    return value
