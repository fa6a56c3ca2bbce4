"""What the codec's operations return beyond bytes and images: plain frozen data."""

from dataclasses import dataclass

from PIL import Image

from vqcodec.modes import Remark


@dataclass(frozen=True)
class StreamInfo:
    """What a file says of itself without being decoded."""

    version: int
    model: str | None
    """Id of the model, None if it is not known here."""
    model_hash: str
    width: int
    height: int
    layout: str
    quality: float
    tile: int
    grids: list[list[int]]
    """``[rows, columns]`` per level; empty without the model."""
    sections: list[dict[str, int | str]]
    bytes: int
    bpp: float


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
