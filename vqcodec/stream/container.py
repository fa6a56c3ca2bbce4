"""Header + sections <-> bytes: the container of a ``.vqc`` file.

It knows lengths, order and checksums and nothing of what the sections mean: no tensors, no entropy coding, no
pictures.  The specification is docs/FORMAT.md.  Whatever bytes come in, reading either returns a stream that
writing gives back byte for byte (less the sections that may be skipped) or raises a
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
MAX_EDGE = (1 << 28) - 1
"""Largest width and height: four bytes of varint."""
MAX_PAYLOAD = (1 << 32) - 1
MIN_TILE_LOG2, MAX_TILE_LOG2 = 6, 15

_SKIPPABLE = 0x80
_LAST = 0x40
_CODE = 0x3F
_FIXED_HEADER_BYTES = len(MAGIC) + 1 + HASH_BYTES + 2


MAX_HEADER_BYTES = _FIXED_HEADER_BYTES + 8
_MAX_SECTION_HEAD = 1 + 5 + 4


class Layout(enum.Enum):
    """Which planes the pixels have.  The numbers are the format's; they are never reused."""

    GREY = 0
    RGB = 1
    GREY_ALPHA = 2
    RGBA = 3

    @classmethod
    def of(cls, grey: bool, alpha: bool) -> "Layout":
        """The layout with these planes."""
        return next(layout for layout in cls if (layout.is_grey, layout.has_alpha) == (grey, alpha))

    @property
    def is_grey(self) -> bool:
        """Whether the colours are a single plane."""
        return self in (Layout.GREY, Layout.GREY_ALPHA)

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha plane, and with it a section."""
        return self in (Layout.GREY_ALPHA, Layout.RGBA)

    @property
    def opaque(self) -> "Layout":
        """The same without alpha."""
        return Layout.of(self.is_grey, alpha=False)

    @property
    def label(self) -> str:
        """The name that people read: ``grey``, ``rgb``, ``grey alpha``, ``rgba``."""
        return self.name.lower().replace("_", " ")

    @property
    def mode(self) -> str:
        """Pillow's name for it."""
        return ("L" if self.is_grey else "RGB") + ("A" if self.has_alpha else "")


class SectionKind(enum.Enum):
    """What a section holds.  The numbers are the format's; they are never reused.

    Levels are numbered coarse to fine.  A decoder may skip a kind that it does not know if bit 7 is set.
    """

    LEVEL_0 = 0x00
    LEVEL_1 = 0x01
    LEVEL_2 = 0x02
    LEVEL_3 = 0x03
    ALPHA = 0x08
    ICC = 0x90
    EXIF = 0x91
    XMP = 0x92

    @classmethod
    def level(cls, number: int) -> "SectionKind":
        """The kind of a level's sections; 0 is the coarsest."""
        return (cls.LEVEL_0, cls.LEVEL_1, cls.LEVEL_2, cls.LEVEL_3)[number]

    @property
    def is_level(self) -> bool:
        """Whether this is a grid of indices, stored once per tile."""
        return self.value < SectionKind.ALPHA.value

    @property
    def label(self) -> str:
        """The name that people read: ``top``, ``bottom``, ``level 2``, ``icc`` ..."""
        names = {SectionKind.LEVEL_0: "top", SectionKind.LEVEL_1: "bottom"}
        return names.get(self, self.name.lower().replace("_", " "))


_KNOWN = frozenset(kind.value for kind in SectionKind)


@dataclass(frozen=True)
class Header:
    """What must be known before the first section; refuses what the format cannot say."""

    model_hash: bytes
    """First :data:`HASH_BYTES` bytes of the SHA-256 of the weights file."""
    width: int
    height: int
    layout: Layout
    quality: int
    """Quality step, 0 to 255."""
    tile_log2: int
    """The edge of a tile is ``2 ** tile_log2`` pixels."""
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_version(self.version)
        if len(self.model_hash) != HASH_BYTES:
            raise MalformedStream(f"header: a model hash of {len(self.model_hash)} bytes, not {HASH_BYTES}")
        if not (1 <= self.width <= MAX_EDGE and 1 <= self.height <= MAX_EDGE):
            raise MalformedStream(f"header: {self.width}x{self.height} pixels, edges are 1 to {MAX_EDGE}")
        if not 0 <= self.quality <= 255:
            raise MalformedStream(f"header: quality step {self.quality}, not 0 to 255")
        if not MIN_TILE_LOG2 <= self.tile_log2 <= MAX_TILE_LOG2:
            raise MalformedStream(f"header: tiles of 2^{self.tile_log2} pixels, not 2^6 to 2^15")


@dataclass(frozen=True)
class Section:
    """One stretch of payload: ``tile`` counts tiles in raster order, and is 0 where a kind is not tiled."""

    kind: SectionKind
    tile: int
    payload: bytes


@dataclass(frozen=True)
class Stream:
    """A file, every checksum verified and, unless it is damaged, the order of its sections."""

    header: Header
    sections: tuple[Section, ...]
    damage: tuple[VqcError, ...] = ()
    """What is wrong with the sections that are missing here; without damage, none are."""

    def tiles(self, kind: SectionKind) -> list[bytes | None]:
        """The payload of every tile of a kind, None where it is missing."""
        rows, columns = tile_grid(self.header)
        found = {s.tile: s.payload for s in self.sections if s.kind is kind}
        return [found.get(tile) for tile in range(rows * columns)]


def tile_grid(header: Header) -> tuple[int, int]:
    """``(rows, columns)`` of tiles; those at the right and bottom border may be smaller."""
    edge = 1 << header.tile_log2
    return -(-header.height // edge), -(-header.width // edge)


def write_stream(header: Header, sections: Sequence[Section]) -> bytes:
    """The file as bytes.  Refuses sections that :func:`read_stream` would refuse."""
    _check_order(header, sections)
    head = write_header(header)
    parts = [head]
    for i, section in enumerate(sections):
        kind = section.kind.value | (_LAST if i == len(sections) - 1 else 0)
        prefix = bytes([kind]) + _write_varint(_fitting(section))
        parts += [prefix, _checksum(head, prefix, section.tile, section.payload), section.payload]
    return b"".join(parts)


def read_stream(data: bytes, *, partial: bool = False) -> Stream:
    """Inverse of :func:`write_stream`.  Sections of unknown kinds that may be skipped are left out.

    With ``partial``, sections that are damaged or missing are left out too and told of in the stream's ``damage``, as
    long as some of the coarsest level is intact.
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
        except VqcError as error:  # all that is there is intact, but something is not there
            if not partial:
                raise
            damage.append(error)
    if damage and not any(section.kind is SectionKind.LEVEL_0 for section in sections):
        raise damage[0]
    return Stream(header, tuple(sections), tuple(damage))


def find_sections(file: IO[bytes], kinds: Collection[SectionKind]) -> list[Section]:
    """The sections of some untiled kinds in a seekable file, without reading the others.

    Only those sections are checked; where the file ends early, so does the search.
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
    """The first 17 to 23 bytes of the file."""
    return b"".join(
        (
            MAGIC,
            bytes([header.version]),
            header.model_hash,
            bytes([header.layout.value << 4 | header.tile_log2, header.quality]),
            _write_varint(header.width),
            _write_varint(header.height),
        )
    )


def read_header(data: bytes) -> tuple[Header, int]:
    """Inverse of :func:`write_header`: the header, and where the first section begins.

    A header has no checksum of its own: only the first section's shows that it is undamaged.
    """
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise NotAVqcFile("not a vqc file")
    if len(data) > len(MAGIC):
        _check_version(data[len(MAGIC)])  # first: what follows an unknown version is not ours to judge
    fixed = _take(data, 0, _FIXED_HEADER_BYTES, "the header")
    model_hash = fixed[5 : 5 + HASH_BYTES]
    shape, quality = fixed[-2:]
    width, at = _read_varint(data, _FIXED_HEADER_BYTES, MAX_EDGE, "the width")
    height, at = _read_varint(data, at, MAX_EDGE, "the height")
    try:
        layout = Layout(shape >> 4)
    except ValueError:
        raise UnsupportedFeature(f"pixel layout {shape >> 4} is not known to this program") from None
    return Header(model_hash, width, height, layout, quality, tile_log2=shape & 0x0F), at


def _scan(data: bytes, header: Header, start: int) -> Iterator[Section | VqcError]:
    """Every section that this program knows, or what is wrong with it, up to where none can follow."""
    try:
        yield from _sections(data, header, start)
    except VqcError as error:
        yield error


def _sections(data: bytes, header: Header, start: int) -> Iterator[Section | VqcError]:
    """Every section that this program knows, or what is wrong with its content; raises where a next cannot be found."""
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
            yield UnsupportedFeature(f"section {name} is not known to this program")
        at = body + 4 + length
    if at != len(data):
        raise MalformedStream(f"{_bytes(len(data) - at)} after the last section")


def _check_order(header: Header, sections: Sequence[Section]) -> None:
    """Levels coarse to fine, each complete in raster order of its tiles; then the rest in ascending order."""
    rows, columns = tile_grid(header)
    tiles = rows * columns
    levels = [s for s in sections if s.kind.is_level]
    rest = sections[len(levels) :]
    for i, section in enumerate(sections[: len(levels)]):
        if (section.kind.value, section.tile) != divmod(i, tiles):
            raise MalformedStream(f"section {_name(section.kind.value, section.tile)} is out of order")
    if not levels or len(levels) % tiles:
        raise MalformedStream(f"{len(levels)} level sections do not cover {tiles} tiles")
    codes = [s.kind.value & _CODE for s in rest]
    if any(s.tile for s in rest) or any(a >= b for a, b in pairwise(codes)):
        raise MalformedStream("sections after the levels are out of order")
    if (SectionKind.ALPHA in [s.kind for s in rest]) != header.layout.has_alpha:
        which = "no" if header.layout.has_alpha else "an"
        raise MalformedStream(f"{which} alpha section, but the layout is {header.layout.label}")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise UnsupportedVersion(f"format version {version}: this program knows version {VERSION}")


def _fitting(section: Section) -> int:
    """The section's length, if the format can say it."""
    if len(section.payload) > MAX_PAYLOAD:
        raise MalformedStream(f"section '{section.kind.label}' has more than {MAX_PAYLOAD} bytes")
    return len(section.payload)


def _name(code: int, tile: int | None) -> str:
    """How messages call a section, known or not."""
    try:
        label = SectionKind(code).label
    except ValueError:
        label = f"kind 0x{code:02x}"
    return f"'{label}' of tile {tile}" if tile is not None else f"'{label}'"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _checksum(head: bytes, prefix: bytes, tile: int, payload: bytes) -> bytes:
    """CRC-32 over all that gives the payload its meaning: a damaged header or a moved section must show."""
    crc = 0
    for part in (head, prefix, _write_varint(tile), payload):
        crc = zlib.crc32(part, crc)
    return crc.to_bytes(4, "little")


def _take(data: bytes, at: int, count: int, what: str) -> bytes:
    """``count`` bytes from ``at``, or the error that names what they would have been."""
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
