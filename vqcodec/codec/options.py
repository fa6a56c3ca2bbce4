"""Options of encoding and decoding that are passed on together: command line -> batch -> cluster."""

from dataclasses import dataclass

from vqcodec import defaults
from vqcodec.codec.rate_control import Goal
from vqcodec.codec.tiles import Box
from vqcodec.images.reading import AS_IS, ReadOptions


@dataclass(frozen=True)
class EncodeOptions:
    """Options of :meth:`vqcodec.Codec.encode`, :meth:`~vqcodec.Codec.encode_to_goal` and their batch variants."""

    quality: float = defaults.QUALITY
    goal: Goal | None = None
    """Target rate, size or PSNR, instead of ``quality``."""
    effort: int = defaults.EFFORT
    max_pixels: int = defaults.MAX_PIXELS
    read: ReadOptions = AS_IS
    """Treatment of alpha, metadata and orientation."""
    lossless: bool | None = None
    """Store the colours exactly, or never; None chooses what costs less."""


@dataclass(frozen=True)
class DecodeOptions:
    """Options of :meth:`vqcodec.Codec.decode`, its preview, region and batch variants."""

    max_pixels: int = defaults.MAX_PIXELS
    preview: bool = False
    """Decode a coarse picture of full size from the top grid only; an exact picture as it is."""
    region: Box | None = None
    """Decode only this rectangle, in pixels."""
    partial: bool = False
    """Decode the intact sections of damaged streams."""
    realism: float = defaults.REALISM
    """0: the faithful picture; 1: the lifelike one; between them: a mixture.  Previews do not change."""
