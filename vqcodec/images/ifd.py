"""Directories of tags, as TIFF and EXIF have them: read, change and write them without interpreting their values.

Pillow's own reader parses all values of a directory and fails where one is odd.  Here a value is a run of bytes: one
that lies outside the data costs only itself, and what is written again keeps its type.  Layout: TIFF 6.0, section 2;
64-bit offsets as in BigTIFF.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

SHORT, LONG, UNDEFINED = 3, 4, 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type -> bytes of one value."""
_UNITS = {5: 4, 10: 4}
"""Bytes that are swapped together, where it is not the whole value."""
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONALS = {5: "I", 10: "i"}

EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
SUB_DIRECTORIES = frozenset({EXIF, GPS, INTEROPERABILITY})
"""Tags whose value is the offset of a directory of EXIF."""


class BrokenDirectory(ValueError):
    """Raised for data that do not begin with a TIFF header, or a directory outside the data."""


@dataclass(frozen=True)
class Header:
    """Beginning of TIFF or EXIF data."""

    order: str
    """``<`` or ``>``, as in :mod:`struct`."""
    big: bool
    first: int
    """Offset of the first directory."""

    @property
    def word(self) -> str:
        """Code of an offset in :mod:`struct`."""
        return "Q" if self.big else "I"

    @property
    def cell(self) -> int:
        """Bytes of an offset."""
        return 8 if self.big else 4

    @property
    def size(self) -> int:
        """Bytes of the header."""
        return 16 if self.big else 8

    def to_bytes(self) -> bytes:
        """Return the header."""
        mark = b"II" if self.order == "<" else b"MM"
        middle = struct.pack(f"{self.order}HHH", 43, 8, 0) if self.big else struct.pack(f"{self.order}H", 42)
        return mark + middle + struct.pack(self.order + self.word, self.first)


@dataclass(frozen=True)
class Value:
    """Value of a tag: ``data[start : start + length]`` in the byte order ``order``."""

    type: int
    count: int
    data: bytes
    start: int
    length: int
    order: str

    @classmethod
    def of(cls, type: int, content: bytes, order: str) -> "Value":
        """Return a value with its own bytes."""
        return cls(type, len(content) // _SIZES[type], content, 0, len(content), order)

    @property
    def raw(self) -> bytes:
        """The bytes as they are stored."""
        return self.data[self.start : self.start + self.length]

    def in_order(self, order: str) -> bytes:
        """Return the bytes in another byte order."""
        unit = _UNITS.get(self.type, _SIZES[self.type])
        if order == self.order or unit == 1:
            return self.raw
        raw = bytearray(self.raw)
        for i in range(unit // 2):
            raw[i::unit], raw[unit - 1 - i :: unit] = raw[unit - 1 - i :: unit], raw[i::unit]
        return bytes(raw)

    def first(self) -> "Value":
        """Return the first value alone."""
        return self if self.count <= 1 else Value(self.type, 1, self.data, self.start, _SIZES[self.type], self.order)

    def integers(self, limit: int = 1 << 20) -> tuple[int, ...]:
        """Return up to ``limit`` values of an integer type; none for another type."""
        if self.type not in _INTEGERS:
            return ()
        count = min(self.count, limit)
        return struct.unpack_from(f"{self.order}{count}{_INTEGERS[self.type]}", self.data, self.start)

    def fractions(self) -> tuple[float, ...]:
        """Return the values of a type of fractions; none for another type or a denominator of 0."""
        if self.type not in _RATIONALS:
            return ()
        parts = struct.unpack_from(f"{self.order}{2 * self.count}{_RATIONALS[self.type]}", self.data, self.start)
        return tuple(a / b for a, b in zip(parts[::2], parts[1::2], strict=True)) if all(parts[1::2]) else ()


Tags: TypeAlias = "dict[int, Value | Tags]"
"""The values of a directory by their tags; a directory that is nested is its own."""


@dataclass(frozen=True)
class Directory:
    """A directory as it was read."""

    values: dict[int, Value]
    lost: tuple[int, ...]
    """Tags whose values lie outside the data or have no known type."""
    next: int
    """Offset of the next directory, 0 for none."""
    bytes: int = 0
    """Length of the table of tags."""

    def integer(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag, if it is an integer, else the default."""
        return next(iter(self.integers(tag)), default)

    def integers(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a tag, or none."""
        return self.values[tag].integers() if tag in self.values else ()


def read_header(data: bytes) -> Header:
    """Read the header.  Raises :class:`BrokenDirectory`."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise BrokenDirectory("no TIFF header")
    (magic,) = struct.unpack_from(f"{order}H", data, 2)
    if magic not in (42, 43):  # some programs write the number in the other order
        (magic,) = struct.unpack_from(f"{'<' if order == '>' else '>'}H", data, 2)
    if magic == 42:
        return Header(order, False, *struct.unpack_from(f"{order}I", data, 4))
    if magic == 43 and len(data) >= 16:
        return Header(order, True, *struct.unpack_from(f"{order}Q", data, 8))
    raise BrokenDirectory("no TIFF header")


def read_entries(data: bytes, header: Header, at: int) -> tuple[list[bytes], int, bytes]:
    """Return the entries of the directory at an offset as bytes, that offset, and the bytes of the next one's offset.

    Raises :class:`BrokenDirectory` if the directory begins outside the data; what is cut off is missing.
    """
    head, size = (8, 20) if header.big else (2, 12)
    if not header.size <= at <= len(data) - head:
        raise BrokenDirectory("a directory lies outside the data")
    (count,) = struct.unpack_from(header.order + ("Q" if header.big else "H"), data, at)
    start = at + head
    count = min(count, (len(data) - start) // size)
    end = start + count * size
    entries = [data[where : where + size] for where in range(start, end, size)]
    return entries, at, data[end : end + header.cell].ljust(header.cell, b"\0")


def read_directory(data: bytes, header: Header, at: int) -> Directory:
    """Read the directory at an offset.  Raises :class:`BrokenDirectory` if it begins outside the data."""
    order, cell = header.order, header.cell
    entries, _, following = read_entries(data, header, at)
    values: dict[int, Value] = {}
    lost, room = list[int](), len(data)
    where = at + (8 if header.big else 2)
    for entry in entries:
        tag, type, count = struct.unpack_from(f"{order}HH{header.word}", entry)
        total = _SIZES.get(type, 0) * count
        where += len(entry)
        (start,) = struct.unpack(order + header.word, entry[-cell:]) if total > cell else (where - cell,)
        outside = start + total > len(data)
        room -= total if total > cell else 0
        if type not in _SIZES or outside or room < 0:  # values that overlap could fill the memory
            lost.append(tag)
        elif tag not in values:
            values[tag] = Value(type, count, data, start, total, order)
    (next,) = struct.unpack(order + header.word, following)
    return Directory(values, tuple(lost), next, sum(map(len, entries)))


def read_tree(data: bytes, at: int | None = None) -> tuple[Tags, tuple[int, ...]]:
    """Read a directory, by default the first, with the directories of EXIF data that it names.

    Returns the tags, and those that are lost: their values, or their directory, lie outside the data.  Raises
    :class:`BrokenDirectory`.
    """
    header = read_header(data)
    return _read_tree(data, header, header.first if at is None else at, set())


def _read_tree(data: bytes, header: Header, at: int, seen: set[int]) -> tuple[Tags, tuple[int, ...]]:
    if at in seen:
        raise BrokenDirectory("a directory is named twice")
    seen.add(at)
    directory = read_directory(data, header, at)
    tags, lost = dict[int, "Value | Tags"](directory.values), directory.lost
    for tag in SUB_DIRECTORIES & directory.values.keys():
        try:
            below, missing = _read_tree(data, header, directory.integer(tag), seen)
        except BrokenDirectory:
            del tags[tag]
            lost += (tag,)
        else:
            tags[tag] = below
            lost += missing
    return tags, lost


def write_tree(tags: Mapping[int, "Value | Tags"], header: Header, at: int) -> bytes:
    """Return a directory, its values and the directories in it, to stand at the offset ``at``, which is even.

    Values of 64 bits are left out of data with 32-bit offsets.  No directory follows.
    """
    order, cell, word = header.order, header.cell, header.word
    kept = {
        tag: value
        for tag, value in sorted(tags.items())
        if not isinstance(value, Value) or header.big or value.type < 16
    }
    size = (8 if header.big else 2) + (20 if header.big else 12) * len(kept) + cell
    entries, body = [struct.pack(order + ("Q" if header.big else "H"), len(kept))], bytearray()

    def place(content: bytes) -> int:
        body.extend(bytes((size + len(body)) % 2))
        body.extend(content)
        return at + size + len(body) - len(content)

    for tag, value in kept.items():
        if isinstance(value, Value):
            content = value.in_order(order)
            stored = content.ljust(cell, b"\0") if len(content) <= cell else struct.pack(order + word, place(content))
            type, count = value.type, value.count
        else:
            start = at + size + len(body) + (size + len(body)) % 2
            stored = struct.pack(order + word, place(write_tree(value, header, start)))
            type, count = LONG, 1
            stored = struct.pack(f"{order}I", start).ljust(cell, b"\0") if header.big else stored
        entries.append(struct.pack(f"{order}HH{word}", tag, type, count) + stored)
    return b"".join(entries) + bytes(cell) + bytes(body)


def with_first_directory(data: bytes, header: Header, tags: Mapping[int, "Value | Tags"]) -> bytes:
    """Return the data with another first directory, at their end; everything else stays where it is."""
    padding = bytes(len(data) % 2)
    at = len(data) + len(padding)
    head = Header(header.order, header.big, at)
    return head.to_bytes() + data[header.size :] + padding + write_tree(tags, header, at)
