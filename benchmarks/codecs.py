"""Picture <-> bytes, one thin class per codec: a name, a format, and how its quality scale is spelled.

A codec is asked for what its users would ask for: the reference library's default effort, unless a stronger setting
is customary (``optimize=True`` for JPEG, method 6 for WebP).  Sources: the Pillow handbook, "Image file formats";
libjxl's ``cjxl`` and libavif's ``avifenc`` manuals.
"""

import functools
import hashlib
import importlib.metadata
import io
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from PIL import Image, features

import vqcodec
from benchmarks.errors import CodecUnavailable, UnknownCodec
from vqcodec import defaults

T = TypeVar("T")

VQC = "vqc"
_VQC_NAME = re.compile(rf"{VQC}(?::(?P<model>.+?))?(?:@(?P<effort>[0-3]))?")


@dataclass(frozen=True)
class Choice:
    """Which codec to measure and how: small, so that it can be sent to another process and opened there."""

    name: str
    """What the codec is called in the report: ``jpeg``, ``vqc``, ``vqc:ID``, or ``vqc:STEM`` of a weights file.

    ``@0`` to ``@3`` after a model's name is the encoder's effort, where it is not the default.
    """
    weights: Path | None = None
    """Weights file of a vqc model that is not shipped."""
    device: str = "cpu"
    """Where the transforms of a vqc model run."""
    threads: int = 1
    """Worker threads for the codecs that let one choose."""

    @property
    def stem(self) -> str:
        """The name as part of a file name."""
        return self.name.replace(":", "-").replace("@", "-effort-")


class Codec(ABC):
    """A picture to the bytes of a file, and a file back to a picture."""

    suffix: ClassVar[str]
    scale: ClassVar[str]
    """What the quality numbers are."""
    qualities: ClassVar[tuple[float, ...]]
    """From small files to large, about 0.1 to 3 bits per pixel on photographs."""
    usual: ClassVar[float]
    """The quality that is used where a single one is timed: the default of the library or its documentation."""

    def __init__(self, choice: Choice):
        self.choice = choice

    @property
    @abstractmethod
    def description(self) -> str:
        """Library, version and settings in one line."""

    @abstractmethod
    def encode(self, image: Image.Image, quality: float) -> bytes:
        """An RGB picture -> all bytes of a file."""

    def decode(self, path: Path) -> Image.Image:
        """A file -> an RGB picture."""
        with Image.open(path) as image:
            return image.convert("RGB")

    def encode_batch(self, images: list[Image.Image], quality: float) -> list[bytes]:
        """Several pictures; one after the other unless the codec knows better."""
        return [self.encode(image, quality) for image in images]

    def decode_batch(self, paths: list[Path]) -> list[Image.Image]:
        """Several files; one after the other unless the codec knows better."""
        return [self.decode(path) for path in paths]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes when the encoder does: of the description and of what a small picture becomes."""
        y, x = np.mgrid[:64, :64]
        sample = Image.fromarray(np.stack([4 * x, 4 * y, x ^ y], -1).astype(np.uint8))
        return hashlib.sha256(self.description.encode() + self.encode(sample, self.usual)).hexdigest()


class PillowCodec(Codec):
    """A codec that Pillow writes and reads."""

    format: ClassVar[str]
    feature: ClassVar[str]
    """Pillow's name of the library."""
    settings: ClassVar[dict[str, Any]] = {}

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

    def options(self, quality: float) -> dict[str, Any]:
        """Arguments of ``Image.save``."""
        return {"quality": int(quality), **self.settings}


class Jpeg(PillowCodec):
    """Baseline JPEG with optimal Huffman tables and Pillow's default 4:2:0 subsampling: the anchor."""

    format, feature, suffix = "JPEG", "libjpeg_turbo", ".jpg"
    scale = "quality 1 to 95"
    qualities = (3, 5, 8, 12, 17, 23, 30, 40, 50, 60, 70, 80, 87, 92, 95)
    usual = 75
    settings: ClassVar[dict[str, Any]] = {"optimize": True}


class Jpeg444(Jpeg):
    """The same with colour at full resolution."""

    settings: ClassVar[dict[str, Any]] = {"optimize": True, "subsampling": "4:4:4"}


class WebP(PillowCodec):
    """Lossy WebP at its greatest effort."""

    format, feature, suffix = "WEBP", "webp", ".webp"
    scale = "quality 0 to 100"
    qualities = (0, 3, 8, 15, 25, 38, 52, 66, 78, 87, 93, 97)
    usual = 80
    settings: ClassVar[dict[str, Any]] = {"method": 6}


class Jpeg2000(PillowCodec):
    """JPEG 2000 with the irreversible 9/7 wavelet and colour transform, one quality layer."""

    format, feature, suffix = "JPEG2000", "jpg_2000", ".jp2"
    scale = "bits per pixel asked for"
    qualities = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.3, 1.9, 2.7)
    usual = 1.0
    # Pillow does not decorrelate the colours unless told to, which costs 3 to 8 dB.
    settings: ClassVar[dict[str, Any]] = {"irreversible": True, "mct": 1}

    def options(self, quality: float) -> dict[str, Any]:
        """The rate is asked for as a ratio to the 24 bits of a pixel."""
        return {"quality_mode": "rates", "quality_layers": [24 / quality], **self.settings}


class Avif(PillowCodec):
    """AVIF at libavif's default speed 6 and Pillow's default 4:2:0 subsampling."""

    format, feature, suffix = "AVIF", "avif", ".avif"
    scale = "quality 0 to 100"
    qualities = (0, 8, 16, 25, 34, 43, 53, 63, 73, 83, 92)
    usual = 75
    settings: ClassVar[dict[str, Any]] = {"speed": 6}

    def options(self, quality: float) -> dict[str, Any]:
        """Threads change the time, not the file."""
        return {**super().options(quality), "max_threads": self.choice.threads}


class JpegXl(Codec):
    """JPEG XL at its default effort 7, by ``imagecodecs``."""

    suffix = ".jxl"
    scale = "butteraugli distance, smaller is better"
    qualities = (20, 15, 11, 8, 6, 4.5, 3.3, 2.4, 1.7, 1.1, 0.7)
    usual = 1.0

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
        return f"JPEG XL by imagecodecs {version} ({self._library.jpegxl_version()}), effort=7"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        pixels = np.asarray(image)
        return bytes(self._library.jpegxl_encode(pixels, distance=quality, effort=7, numthreads=self.choice.threads))

    def decode(self, path: Path) -> Image.Image:
        return Image.fromarray(self._library.jpegxl_decode(path.read_bytes(), numthreads=self.choice.threads))


class Vqc(Codec):
    """vqcodec with one model, through its public interface."""

    suffix = ".vqc"
    scale = "quality 0 to 100"
    qualities = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    usual = 50

    def __init__(self, choice: Choice):
        super().__init__(choice)
        name = _VQC_NAME.fullmatch(choice.name)
        assert name is not None
        self._effort = int(name["effort"]) if name["effort"] else defaults.EFFORT
        try:
            if choice.weights is not None:
                self._codec = vqcodec.Codec(model_path=choice.weights, device=choice.device)
            else:
                self._codec = vqcodec.Codec(name["model"], device=choice.device)
        except vqcodec.VqcError as error:
            raise CodecUnavailable(str(error)) from error

    @functools.cached_property
    def description(self) -> str:
        stream = vqcodec.info(self._codec.encode(Image.new("RGB", (16, 16))))
        version = importlib.metadata.version("vqcodec")
        return f"vqcodec {version}, model {stream.model or 'not shipped'} ({stream.model_hash}), effort={self._effort}"

    def encode(self, image: Image.Image, quality: float) -> bytes:
        return self._codec.encode(image, quality, max_pixels=0, effort=self._effort)

    def decode(self, path: Path) -> Image.Image:
        return self._codec.decode(path, max_pixels=0).convert("RGB")

    def encode_batch(self, images: list[Image.Image], quality: float) -> list[bytes]:
        return [
            _unwrap(r.data, r.error)
            for r in self._codec.encode_batch(images, quality, max_pixels=0, effort=self._effort)
        ]

    def decode_batch(self, paths: list[Path]) -> list[Image.Image]:
        return [_unwrap(r.image, r.error).convert("RGB") for r in self._codec.decode_batch(paths, max_pixels=0)]


def _unwrap(value: T | None, error: Exception | None) -> T:
    """The value; an error that came in its place is raised."""
    if value is None:
        raise error or CodecUnavailable("neither a result nor an error")
    return value


CLASSICAL: dict[str, type[Codec]] = {
    "jpeg": Jpeg,
    "jpeg444": Jpeg444,
    "webp": WebP,
    "jpeg2000": Jpeg2000,
    "avif": Avif,
    "jxl": JpegXl,
}
LABELS = {
    "jpeg": "JPEG",
    "jpeg444": "JPEG 4:4:4",
    "webp": "WebP",
    "jpeg2000": "JPEG 2000",
    "avif": "AVIF",
    "jxl": "JPEG XL",
}
"""How the codecs are called in plots and tables; a vqc model is called by its name."""
ANCHOR = "jpeg"
"""The codec that every BD-rate is relative to."""


def is_vqc(name: str) -> bool:
    """Whether a codec of this name is a model of vqcodec."""
    return _VQC_NAME.fullmatch(name) is not None


def codec_class(name: str) -> type[Codec]:
    """The class of a codec name; raises :class:`UnknownCodec`."""
    found = Vqc if is_vqc(name) else CLASSICAL.get(name)
    if found is None:
        raise UnknownCodec(f"no codec is called '{name}', only {', '.join([VQC, 'vqc:ID', 'vqc@EFFORT', *CLASSICAL])}")
    return found


@dataclass(frozen=True)
class Opened:
    """A codec that is ready, and how long that took."""

    codec: Codec
    load_seconds: float


def open_codec(choice: Choice) -> Opened:
    """Load what the codec needs; raises :class:`UnknownCodec` or :class:`CodecUnavailable`."""
    start = time.perf_counter()
    codec = codec_class(choice.name)(choice)
    return Opened(codec, time.perf_counter() - start)
