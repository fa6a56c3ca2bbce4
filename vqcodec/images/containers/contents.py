"""The result of looking into a picture file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from PIL import Image

from vqcodec.images.colours import Colours
from vqcodec.stream.metadata import Metadata

LARGEST = 64 << 20
"""Bytes of one piece of metadata that are unpacked at most, as many as a stream may hold."""


@dataclass
class Notes:
    """Messages about a file: losses, and changes that lose nothing."""

    lost: list[tuple[str, str]] = field(default_factory=list)
    """Losses as text, each with the kind of metadata that it belongs to, or with an empty string."""
    changed: list[str] = field(default_factory=list)
    """Changes that lose nothing, as text; comments that are left out, for example."""

    def lose(self, text: str, kind: str = "") -> None:
        """Note a loss."""
        if (kind, text) not in self.lost:
            self.lost.append((kind, text))

    def change(self, text: str) -> None:
        """Note something that is no loss."""
        if text not in self.changed:
            self.changed.append(text)


@dataclass
class Contents:
    """Pixels and metadata of a file, as its container describes them."""

    file: IO[bytes]
    """File for Pillow to open."""
    notes: Notes
    metadata: Metadata | None = None
    """Metadata of the container; None: as Pillow's reader finds them."""
    colours: Colours | None = None
    """Colours by other means than an ICC profile."""
    bits: int = 8
    """Bits per sample, if more than 8."""
    frames: int | None = None
    """Number of frames; None: as Pillow's reader counts them."""
    orientation: int = 1
    """Orientation of the stored pixels that readers of the format apply by themselves."""
    transparent: int | None = None
    """The grey value that is transparent, as Pillow gives it."""
    opaque: bool = False
    """True if the alpha that Pillow gives means something else."""
    refused: str = ""
    """Reason why the pixels cannot be decoded; empty if they can."""
    decode: Callable[[], Image.Image] | None = None
    """Decodes the pixels instead of Pillow."""
    otherwise: Callable[[], Image.Image] | None = None
    """Decodes the pixels where Pillow cannot."""
    size: tuple[int, int] = (1, 1)
    """Width and height, if ``decode`` or ``otherwise`` is given."""
