"""Write and read the container of a ``.vqc`` file: a header and sections, with lengths, order and checksums.

The contents of sections are opaque here.  docs/FORMAT.md is the specification.  For any input bytes, reading either
returns a stream that writing turns into the same bytes (without the sections that may be skipped) or raises a
:class:`~vqcodec.errors.VqcError`.
"""

import enum
import os
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

from vqcodec.errors import (
    CorruptStream,
    MalformedStream,
    NotAVqcFile,
    TruncatedStream,
    UnsupportedFeature,
    UnsupportedVersion,
    VqcError,
)

MAGIC = b"\x8fVQC"
VERSION = 1
HASH_BYTES = 8
NO_MODEL = bytes(HASH_BYTES)
"""Model hash in the header of an exact picture, which needs no model."""
BEST_QUALITY = 255
"""Highest quality step, and the one of every exact picture."""
MAX_EDGE = (1 << 28) - 1
"""Largest width and height: four bytes of varint."""
MAX_PAYLOAD = (1 << 32) - 1
MIN_TILE_LOG2, MAX_TILE_LOG2 = 6, 15

_SKIPPABLE = 0x80
_LAST = 0x40
_CODE = 0x3F
_FIXED_HEADER_BYTES = len(MAGIC) + 1 + HASH_BYTES + 2


MAX_HEADER_BYTES = _FIXED_HEADER_BYTES + 8 + 3
_MAX_SECTION_HEAD = 1 + 5 + 4
_TINTED = 4
"""Bit of a layout's number that is set if a tint follows the edges."""

Tint = tuple[int, int, int]
"""Red, green and blue of the colour that is coded as grey; the largest of the three is 255."""


class Layout(enum.Enum):
    """The planes of a picture.  The numbers belong to the format and are never reused."""

    GREY = 0
    RGB = 1
    GREY_ALPHA = 2
    RGBA = 3

    @classmethod
    def of(cls, grey: bool, alpha: bool) -> "Layout":
        """Return the layout with these planes."""
        return next(layout for layout in cls if (layout.is_grey, layout.has_alpha) == (grey, alpha))

    @property
    def is_grey(self) -> bool:
        """True if the colours are a single plane."""
        return self in (Layout.GREY, Layout.GREY_ALPHA)

    @property
    def has_alpha(self) -> bool:
        """True if there is an alpha plane, and with it a section."""
        return self in (Layout.GREY_ALPHA, Layout.RGBA)

    @property
    def opaque(self) -> "Layout":
        """The same layout without alpha."""
        return Layout.of(self.is_grey, alpha=False)

    @property
    def label(self) -> str:
        """Name for messages: ``grey``, ``rgb``, ``grey alpha`` or ``rgba``."""
        return self.name.lower().replace("_", " ")

    @property
    def mode(self) -> str:
        """Pillow's mode."""
        return ("L" if self.is_grey else "RGB") + ("A" if self.has_alpha else "")


class SectionKind(enum.Enum):
    """The content of a section.  The numbers belong to the format and are never reused.

    Levels are numbered coarse to fine.  A decoder skips an unknown kind if bit 7 is set.
    """

    LEVEL_0 = 0x00
    LEVEL_1 = 0x01
    LEVEL_2 = 0x02
    LEVEL_3 = 0x03
    EXACT = 0x04
    ALPHA = 0x08
    ICC = 0x90
    EXIF = 0x91
    XMP = 0x92

    @classmethod
    def level(cls, number: int) -> "SectionKind":
        """Return the kind of a level's sections; level 0 is the coarsest."""
        return (cls.LEVEL_0, cls.LEVEL_1, cls.LEVEL_2, cls.LEVEL_3)[number]

    @property
    def is_level(self) -> bool:
        """True if the section holds a grid of indices."""
        return self.value <= SectionKind.LEVEL_3.value

    @property
    def is_tiled(self) -> bool:
        """True if there is one section per tile: those of levels and of exact pixels."""
        return self.is_level or self is SectionKind.EXACT

    @property
    def label(self) -> str:
        """Name for messages: ``top``, ``bottom``, ``level 2``, ``icc`` ..."""
        names = {SectionKind.LEVEL_0: "top", SectionKind.LEVEL_1: "bottom"}
        return names.get(self, self.name.lower().replace("_", " "))


_KNOWN = frozenset(kind.value for kind in SectionKind)


@dataclass(frozen=True)
class Header:
    """The header of a stream.  Raises :class:`MalformedStream` for values that the format cannot store."""

    model_hash: bytes
    """First :data:`HASH_BYTES` bytes of the SHA-256 of the weights file."""
    width: int
    height: int
    layout: Layout
    quality: int
    """Quality step, 0 to :data:`BEST_QUALITY`."""
    tile_log2: int
    """The edge of a tile is ``2 ** tile_log2`` pixels."""
    tint: Tint | None = None
    """The colour that indices code as grey, of a picture under coloured light."""
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_version(self.version)
        if len(self.model_hash) != HASH_BYTES:
            raise MalformedStream(f"header: a model hash of {len(self.model_hash)} bytes, not {HASH_BYTES}")
        if not (1 <= self.width <= MAX_EDGE and 1 <= self.height <= MAX_EDGE):
            raise MalformedStream(f"header: {self.width}x{self.height} pixels, edges are 1 to {MAX_EDGE}")
        if not 0 <= self.quality <= BEST_QUALITY:
            raise MalformedStream(f"header: quality step {self.quality}, not 0 to {BEST_QUALITY}")
        if not MIN_TILE_LOG2 <= self.tile_log2 <= MAX_TILE_LOG2:
            raise MalformedStream(f"header: tiles of 2^{self.tile_log2} pixels, not 2^6 to 2^15")
        if self.tint is not None and (max(self.tint) != 255 or min(self.tint) == 255):
            raise MalformedStream(f"header: a tint of {self.tint}: its largest value must be 255, and not all of them")
        if self.tint is not None and self.layout.is_grey:
            raise MalformedStream("header: a grey picture with a tint")


@dataclass(frozen=True)
class Section:
    """One section: ``tile`` counts tiles in raster order, and is 0 where a kind is not tiled."""

    kind: SectionKind
    tile: int
    payload: bytes


@dataclass(frozen=True)
class Stream:
    """A stream whose checksums are verified and, unless it is damaged, the order of its sections."""

    header: Header
    sections: tuple[Section, ...]
    damage: tuple[VqcError, ...] = ()
    """An error for each section that is missing; empty if the stream is complete."""

    @property
    def is_exact(self) -> bool:
        """True if the stream holds exact pixels, False if it holds indices of a model."""
        return any(section.kind is SectionKind.EXACT for section in self.sections)

    def tiles(self, kind: SectionKind) -> list[bytes | None]:
        """Return the payload of every tile of a kind, None where it is missing."""
        rows, columns = tile_grid(self.header)
        found = {s.tile: s.payload for s in self.sections if s.kind is kind}
        return [found.get(tile) for tile in range(rows * columns)]


def tile_grid(header: Header) -> tuple[int, int]:
    """Return ``(rows, columns)`` of tiles; those at the right and bottom borders may be smaller."""
    edge = 1 << header.tile_log2
    return -(-header.height // edge), -(-header.width // edge)


def write_stream(header: Header, sections: Sequence[Section]) -> bytes:
    """Return the stream as bytes.  Raises :class:`MalformedStream` for what :func:`read_stream` would refuse."""
    _check_order(header, sections)
    head = write_header(header)
    parts = [head]
    for i, section in enumerate(sections):
        kind = section.kind.value | (_LAST if i == len(sections) - 1 else 0)
        prefix = bytes([kind]) + _write_varint(_fitting(section))
        parts += [prefix, _checksum(head, prefix, section.tile, section.payload), section.payload]
    return b"".join(parts)


def read_stream(data: bytes, *, partial: bool = False) -> Stream:
    """Read a stream.  Sections of unknown kinds that may be skipped are left out.  The inverse of :func:`write_stream`.

    With ``partial``, damaged and missing sections are left out, too, and listed in the stream's ``damage``; at least a
    part of the coarsest level, or of the exact pixels, must be intact.

    Raises:
        NotAVqcFile, UnsupportedVersion, UnsupportedFeature, TruncatedStream, CorruptStream, MalformedStream.
    """
    header, start = read_header(data)
    sections: list[Section] = []
    damage: list[VqcError] = []
    for found in _scan(data, header, start):
        if isinstance(found, Section):
            sections.append(found)
        elif partial:
            damage.append(found)
        else:
            raise found
    if not damage:
        try:
            _check_order(header, sections)
        except VqcError as error:  # the sections are intact, but not complete
            if not partial:
                raise
            damage.append(error)
    if damage and not any(section.kind in (SectionKind.LEVEL_0, SectionKind.EXACT) for section in sections):
        raise damage[0]
    return Stream(header, tuple(sections), tuple(damage))


def find_sections(file: IO[bytes], kinds: Collection[SectionKind]) -> list[Section]:
    """Read the sections of some untiled kinds in a seekable file, without reading the others.

    Only those sections are checked.  The search ends where the file ends.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(MAX_HEADER_BYTES)
    at = read_header(head)[1]
    head = head[:at]
    found, last = [], False
    while not last:
        file.seek(at)
        start = file.read(_MAX_SECTION_HEAD)
        try:
            length, body = _read_varint(start, 1, MAX_PAYLOAD, "a section's length")
            crc = _take(start, body, 4, "a section's checksum")
        except TruncatedStream:
            break
        if at + body + 4 + length > size:  # before reading: a file object may reserve what it is asked for
            break
        code, last = start[0] & ~_LAST, bool(start[0] & _LAST)
        if code in {kind.value for kind in kinds}:
            file.seek(at + body + 4)
            payload = file.read(length)
            if _checksum(head, start[:body], 0, payload) != crc:
                raise CorruptStream(f"section {_name(code, None)} is damaged (checksum)")
            found.append(Section(SectionKind(code), 0, payload))
        at += body + 4 + length
    return found


def write_header(header: Header) -> bytes:
    """Return the header as bytes, 17 to 26 of them."""
    layout = header.layout.value | (0 if header.tint is None else _TINTED)
    return b"".join(
        (
            MAGIC,
            bytes([header.version]),
            header.model_hash,
            bytes([layout << 4 | header.tile_log2, header.quality]),
            _write_varint(header.width),
            _write_varint(header.height),
            bytes(header.tint or ()),
        )
    )


def read_header(data: bytes) -> tuple[Header, int]:
    """Return the header and the offset of the first section.  The inverse of :func:`write_header`.

    The header has no checksum of its own: the checksum of the first section covers it.
    """
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise NotAVqcFile("not a vqc file")
    if len(data) > len(MAGIC):
        _check_version(data[len(MAGIC)])  # first, because an unknown version may continue differently
    fixed = _take(data, 0, _FIXED_HEADER_BYTES, "the header")
    model_hash = fixed[5 : 5 + HASH_BYTES]
    shape, quality = fixed[-2:]
    width, at = _read_varint(data, _FIXED_HEADER_BYTES, MAX_EDGE, "the width")
    height, at = _read_varint(data, at, MAX_EDGE, "the height")
    try:
        layout = Layout(shape >> 4 & ~_TINTED)
    except ValueError:
        raise UnsupportedFeature(f"unknown pixel layout {shape >> 4}") from None
    tint: Tint | None = None
    if shape >> 4 & _TINTED:
        red, green, blue = _take(data, at, 3, "the tint")
        tint, at = (red, green, blue), at + 3
    return Header(model_hash, width, height, layout, quality, tile_log2=shape & 0x0F, tint=tint), at


def _scan(data: bytes, header: Header, start: int) -> Iterator[Section | VqcError]:
    """Yield every known section, or the error in its place, as far as sections can be found."""
    try:
        yield from _sections(data, header, start)
    except VqcError as error:
        yield error


def _sections(data: bytes, header: Header, start: int) -> Iterator[Section | VqcError]:
    """Yield every known section, or the error in its content.  Raises where the next section cannot be found."""
    head = data[:start]
    rows, columns = tile_grid(header)
    seen: Counter[int] = Counter()
    at, last = start, False
    while not last:
        if at == len(data):
            raise TruncatedStream("truncated: the file ends after a section that is not the last")
        code, last = data[at] & ~_LAST, bool(data[at] & _LAST)
        tile = seen[code]
        seen[code] += 1
        name = _name(code, tile if rows * columns > 1 else None)
        length, body = _read_varint(data, at + 1, MAX_PAYLOAD, f"the length of section {name}")
        prefix = data[at:body]
        crc = _take(data, body, 4, f"the checksum of section {name}")
        payload = _take(data, body + 4, length, f"section {name}")
        if _checksum(head, prefix, tile, payload) != crc:
            yield CorruptStream(f"{'header or ' if at == start else ''}section {name} is damaged (checksum)")
        elif code in _KNOWN:
            yield Section(SectionKind(code), tile, payload)
        elif not code & _SKIPPABLE:
            yield UnsupportedFeature(f"unknown section {name}")
        at = body + 4 + length
    if at != len(data):
        raise MalformedStream(f"{_bytes(len(data) - at)} after the last section")


def _check_order(header: Header, sections: Sequence[Section]) -> None:
    """Check the order: exact pixels or levels coarse to fine, all tiles in raster order, then the rest by its codes."""
    rows, columns = tile_grid(header)
    tiles = rows * columns
    tiled = [s for s in sections if s.kind.is_tiled]
    rest = sections[len(tiled) :]
    exact = bool(tiled) and tiled[0].kind is SectionKind.EXACT
    kinds = [SectionKind.EXACT] if exact else [kind for kind in SectionKind if kind.is_level]
    for i, section in enumerate(sections[: len(tiled)]):
        number, tile = divmod(i, tiles)
        if section.tile != tile or section.kind not in kinds[number : number + 1]:
            raise MalformedStream(f"section {_name(section.kind.value, section.tile)} is out of order")
    if not tiled or len(tiled) % tiles:
        raise MalformedStream(f"{len(tiled)} {'exact' if exact else 'level'} sections do not cover {tiles} tiles")
    if exact and (header.model_hash, header.quality, header.tint) != (NO_MODEL, BEST_QUALITY, None):
        raise MalformedStream("the picture is exact, but the header names a model, a tint or a lower quality")
    codes = [s.kind.value & _CODE for s in rest]
    if any(s.tile for s in rest) or any(a >= b for a, b in pairwise(codes)):
        raise MalformedStream("sections after those of the tiles are out of order")
    if (SectionKind.ALPHA in [s.kind for s in rest]) != header.layout.has_alpha:
        which = "no" if header.layout.has_alpha else "an"
        raise MalformedStream(f"{which} alpha section, but the layout is {header.layout.label}")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise UnsupportedVersion(f"unsupported format version {version}, this program reads version {VERSION}")


def _fitting(section: Section) -> int:
    """Return the length of a section's payload.  Raises :class:`MalformedStream` if the format cannot store it."""
    if len(section.payload) > MAX_PAYLOAD:
        raise MalformedStream(f"section '{section.kind.label}' has more than {MAX_PAYLOAD} bytes")
    return len(section.payload)


def _name(code: int, tile: int | None) -> str:
    """Name a section for messages, whether its kind is known or not."""
    try:
        label = SectionKind(code).label
    except ValueError:
        label = f"kind 0x{code:02x}"
    return f"'{label}' of tile {tile}" if tile is not None else f"'{label}'"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _checksum(head: bytes, prefix: bytes, tile: int, payload: bytes) -> bytes:
    """Return the CRC-32 of header, prefix, tile and payload, so that a damaged header or a moved section shows."""
    crc = 0
    for part in (head, prefix, _write_varint(tile), payload):
        crc = zlib.crc32(part, crc)
    return crc.to_bytes(4, "little")


def _take(data: bytes, at: int, count: int, what: str) -> bytes:
    """Return ``count`` bytes from ``at``.  Raises :class:`TruncatedStream`, which names ``what`` is cut off."""
    if len(data) - at < count:
        raise TruncatedStream(f"truncated: {what} needs {_bytes(count)}, {len(data) - at} left")
    return data[at : at + count]


def _write_varint(value: int) -> bytes:
    """LEB128: seven bits to a byte, low bits first, the top bit set on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int, limit: int, what: str) -> tuple[int, int]:
    """Inverse of :func:`_write_varint`: the value and where it ends.  Refuses spellings that are too long."""
    value = shift = 0
    while True:
        (byte,) = _take(data, at, 1, what)
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if value > limit or (byte == 0 and shift > 7) or (byte & 0x80 and shift >= limit.bit_length()):
            raise MalformedStream(f"{what} is not a number from 0 to {limit} in its shortest form")
        if not byte & 0x80:
            return value, at
