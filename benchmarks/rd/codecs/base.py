"""The interface of a codec, and the codecs that Pillow provides."""

import functools
import hashlib
import importlib.metadata
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image, features

from benchmarks.errors import CodecUnavailable


@dataclass(frozen=True)
class Choice:
    """A codec and its settings: small, so that it can be sent to another process and opened there."""

    name: str
    """Name in the report: ``jpeg``, ``vqc``, ``vqc:ID``, or ``vqc:STEM`` for a weights file.

    A suffix ``@0``, ``@1``, ... of a vqc model's name selects an effort other than the default, and ``-lossy`` after it
    forbids exact pictures.
    """
    weights: Path | None = None
    """Weights file of a vqc model that is not shipped."""
    device: str = "cpu"
    """Device of a vqc model's transforms."""
    threads: int = 1
    """Worker threads, for codecs with such a setting."""

    @property
    def stem(self) -> str:
        """Name as part of a file name."""
        return self.name.replace(":", "-").replace("@", "-effort-")


class Codec(ABC):
    """Encode pictures to the bytes of a file and decode files."""

    name: ClassVar[str]
    """Name on the command line and in file names."""
    label: ClassVar[str]
    """Name in plots and tables."""
    colour: ClassVar[str]
    """Colour in plots, from the palette of Okabe and Ito (2008), which colour-blind readers can tell apart."""
    by_default: ClassVar[bool] = True
    """Measured unless ``--codecs`` says otherwise."""
    suffix: ClassVar[str]
    scale: ClassVar[str]
    """Meaning of the quality numbers."""
    qualities: ClassVar[tuple[float, ...]]
    """Qualities to measure, from small files to large: about 0.1 to 3 bpp on photographs."""
    usual: ClassVar[float]
    """Quality for timing: the default of the library or its documentation."""

    def __init__(self, choice: Choice):
        self.choice = choice

    @classmethod
    def matches(cls, name: str) -> bool:
        """Return whether ``name``, as in ``--codecs``, selects this codec."""
        return name == cls.name

    @classmethod
    def label_of(cls, name: str) -> str:
        """Return the label of a name that this codec matches."""
        return cls.label

    @property
    @abstractmethod
    def description(self) -> str:
        """Library, version and settings in one line."""

    @abstractmethod
    def encode(self, image: Image.Image, quality: float) -> bytes:
        """Encode an RGB picture; return all bytes of the file."""

    def decode(self, path: Path) -> Image.Image:
        """Decode a file to an RGB picture."""
        with Image.open(path) as image:
            return image.convert("RGB")

    def encode_batch(self, images: list[Image.Image], quality: float) -> list[bytes]:
        """Encode several pictures, one by one unless the codec has a batch mode."""
        return [self.encode(image, quality) for image in images]

    def decode_batch(self, paths: list[Path]) -> list[Image.Image]:
        """Decode several files, one by one unless the codec has a batch mode."""
        return [self.decode(path) for path in paths]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the description and of an encoded sample; it changes when the encoder does."""
        import numpy as np  # imported here so that --help, which lists the codecs, stays quick

        y, x = np.mgrid[:64, :64]
        sample = Image.fromarray(np.stack([4 * x, 4 * y, x ^ y], -1).astype(np.uint8))
        return hashlib.sha256(self.description.encode() + self.encode(sample, self.usual)).hexdigest()


class PillowCodec(Codec):
    """A codec that Pillow writes and reads."""

    format: ClassVar[str]
    feature: ClassVar[str]
    """Pillow's name of the library."""
    lowest: ClassVar[int] = 0
    highest: ClassVar[int] = 100
    """Lowest and highest quality."""
    settings: ClassVar[dict[str, Any]] = {}
    """Arguments of ``Image.save`` besides the quality."""

    def __init__(self, choice: Choice):
        super().__init__(choice)
        if not features.check(self.feature):
            raise CodecUnavailable(f"this Pillow was built without {self.format}")

    @property
    def description(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        library = f"{self.feature} {features.version(self.feature)}"
        return f"{self.format} by Pillow {importlib.metadata.version('pillow')} ({library}), {settings or 'defaults'}"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, self.format, **self.options(quality))
        return buffer.getvalue()

    def encode_at_least(self, image: Image.Image, size: int) -> bytes:
        """Return the smallest file of at least ``size`` bytes, or the largest file if all are smaller."""
        low, high = self.lowest, self.highest
        while low < high:
            middle = (low + high) // 2
            if len(self.encode(image, middle)) >= size:
                high = middle
            else:
                low = middle + 1
        return self.encode(image, low)

    def options(self, quality: float) -> dict[str, Any]:
        """Return the arguments of ``Image.save``."""
        return {"quality": int(quality), **self.settings}
