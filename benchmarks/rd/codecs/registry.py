"""The list of all codecs; find and open them by name."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import CodecUnavailable, UnknownCodec
from benchmarks.rd.codecs.avif import Avif, AvifSlow, AvifSlowSsim
from benchmarks.rd.codecs.base import Choice, Codec
from benchmarks.rd.codecs.jpeg import Jpeg, Jpeg444
from benchmarks.rd.codecs.jpeg2000 import Jpeg2000
from benchmarks.rd.codecs.jpegli import Jpegli
from benchmarks.rd.codecs.jpegxl import JpegXl, JpegXl9
from benchmarks.rd.codecs.vqc import Vqc
from benchmarks.rd.codecs.webp import WebP

CODECS: tuple[type[Codec], ...] = (
    Vqc,
    Jpeg,
    Jpeg444,
    Jpegli,
    WebP,
    Jpeg2000,
    Avif,
    AvifSlow,
    AvifSlowSsim,
    JpegXl,
    JpegXl9,
)
ANCHOR = Jpeg.name
"""Codec that every BD-rate is relative to."""


def is_vqc(name: str) -> bool:
    """Return whether a codec name is a model of vqcodec."""
    return Vqc.matches(name)


def codec_class(name: str) -> type[Codec]:
    """Return the class of a codec name; raises :class:`UnknownCodec`."""
    for codec in CODECS:
        if codec.matches(name):
            return codec
    names = [
        Vqc.name,
        f"{Vqc.name}:ID",
        f"{Vqc.name}@EFFORT",
        f"{Vqc.name}-lossy",
        *(codec.name for codec in CODECS if codec is not Vqc),
    ]
    raise UnknownCodec(f"unknown codec '{name}'; choose from {', '.join(names)}")


def codec_label(name: str) -> str:
    """Return a codec's name as plots and tables show it; raises :class:`UnknownCodec`."""
    return codec_class(name).label_of(name)


def choose_codecs(names: Sequence[str], weights: Sequence[Path], device: str, threads: int) -> tuple[Choice, ...]:
    """Return the codecs of these names and weights files, models first; always include the anchor, JPEG.

    Raises :class:`UnknownCodec`.
    """
    for name in names:
        codec_class(name)
    models = [Choice(name, None, device, threads) for name in names if is_vqc(name)]
    models += [Choice(f"{Vqc.name}:{path.stem}", path.resolve(), device, threads) for path in weights]
    others = [Choice(name, None, device, threads) for name in names if not is_vqc(name)]
    if all(choice.name != ANCHOR for choice in others):
        others.insert(0, Choice(ANCHOR, None, device, threads))
    return tuple({choice.name: choice for choice in models + others}.values())


@dataclass(frozen=True)
class LoadedCodec:
    """A codec that is loaded."""

    codec: Codec
    load_seconds: float


def open_codec(choice: Choice) -> LoadedCodec:
    """Load a codec; raises :class:`UnknownCodec` or :class:`CodecUnavailable`."""
    start = time.perf_counter()
    codec = codec_class(choice.name)(choice)
    return LoadedCodec(codec, time.perf_counter() - start)


@dataclass(frozen=True)
class LoadedCodecs:
    """The codecs that could be loaded."""

    loaded: tuple[LoadedCodec, ...]
    left_out: dict[str, str]
    """Name of each other codec, and the reason."""


def open_codecs(choices: Iterable[Choice], tell: Callable[[str], None]) -> LoadedCodecs:
    """Load every codec that is installed; report the others to ``tell``."""
    loaded, left_out = [], {}
    for choice in choices:
        try:
            loaded.append(open_codec(choice))
        except CodecUnavailable as error:
            left_out[choice.name] = str(error)
            tell(f"{choice.name} is left out: {error}")
    return LoadedCodecs(tuple(loaded), left_out)
