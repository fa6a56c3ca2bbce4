"""What the codec's operations return beyond bytes and images: plain frozen data."""

from dataclasses import dataclass

from PIL import Image

from vqcodec.images.modes import Remark


@dataclass(frozen=True)
class StreamInfo:
    """What a file says of itself without being decoded."""

    version: int
    """Of the format."""
    model: str | None
    """Id of the model, None if it is not known here."""
    model_hash: str
    """The beginning of the SHA-256 of its weights file, in hexadecimal."""
    width: int
    height: int
    layout: str
    """What the pixels are: ``grey``, ``grey alpha``, ``rgb`` or ``rgba``."""
    quality: float
    """0 to 100."""
    tile: int
    """Pixels along each side of a tile."""
    grids: list[list[int]]
    """``[rows, columns]`` per level; empty without the model."""
    sections: list[dict[str, int | str]]
    """``name``, ``tile``, and the payload's ``bytes`` and ``bits`` of each, in the order of the file."""
    bytes: int
    """Of the whole file."""
    bpp: float
    """Bits of the whole file for each pixel."""


@dataclass(frozen=True)
class Encoded:
    """One of the results of :meth:`vqcodec.Codec.encode_batch`: ``data``, or ``error``."""

    index: int
    data: bytes | None = None
    error: Exception | None = None
    remarks: tuple[Remark, ...] = ()
    seconds: float = 0.0
    """Its share of the time."""


@dataclass(frozen=True)
class Decoded:
    """One of the results of :meth:`vqcodec.Codec.decode_batch`: ``image``, or ``error``."""

    index: int
    image: Image.Image | None = None
    error: Exception | None = None
    remarks: tuple[Remark, ...] = ()
    """What is missing of a damaged picture."""
    seconds: float = 0.0
    """Its share of the time."""


@dataclass(frozen=True)
class Reached:
    """What :meth:`vqcodec.Codec.encode_to_goal` found."""

    data: bytes
    quality: float
    value: float
    """Of the kind that the goal is of."""
    trials: int
    remarks: tuple[Remark, ...] = ()
