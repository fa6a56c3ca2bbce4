"""Results of the codec's operations, as frozen dataclasses."""

from dataclasses import dataclass

from PIL import Image

from vqcodec.images.modes import Remark


@dataclass(frozen=True)
class StreamInfo:
    """The contents of a stream, without decoding it: what :func:`vqcodec.info` returns."""

    version: int
    """Version of the format."""
    model: str | None
    """Id of the model; None for an exact picture, and for a model whose weights are not installed."""
    model_hash: str
    """First bytes of the SHA-256 of the weights file, in hexadecimal; zeros for an exact picture."""
    width: int
    height: int
    layout: str
    """Planes of the picture: ``grey``, ``grey alpha``, ``rgb`` or ``rgba``."""
    exact: bool
    """True if the colours are stored without loss, False if as indices of the model."""
    quality: float
    """0 to 100; 100 for an exact picture."""
    tint: tuple[int, int, int] | None
    """Red, green and blue of the colour that indices code as grey, of a picture under coloured light."""
    tile: int
    """Edge of a tile in pixels."""
    grids: list[list[int]]
    """``[rows, columns]`` of each level; empty for an exact picture, and if the model is not installed."""
    sections: list[dict[str, int | str]]
    """``name``, ``tile``, and ``bytes`` and ``bits`` of the payload of each section, in the order of the file."""
    bytes: int
    """Size of the whole file."""
    bpp: float
    """Bits of the whole file per pixel."""


@dataclass(frozen=True)
class Encoded:
    """One result of :meth:`vqcodec.Codec.encode_batch`: the bytes of a stream as ``data``, or an ``error``."""

    index: int
    data: bytes | None = None
    error: Exception | None = None
    remarks: tuple[Remark, ...] = ()
    seconds: float = 0.0
    """Share of the time of its group."""


@dataclass(frozen=True)
class Decoded:
    """One result of :meth:`vqcodec.Codec.decode_batch`: an ``image``, or an ``error``."""

    index: int
    image: Image.Image | None = None
    error: Exception | None = None
    remarks: tuple[Remark, ...] = ()
    """Defects of a damaged picture."""
    seconds: float = 0.0
    """Share of the time of its group."""


@dataclass(frozen=True)
class Reached:
    """Result of :meth:`vqcodec.Codec.encode_to_goal`."""

    data: bytes
    quality: float
    value: float
    """Reached value, in the unit of the goal: bpp, bytes or dB."""
    trials: int
    remarks: tuple[Remark, ...] = ()
