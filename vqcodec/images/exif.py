"""EXIF data as bytes: the orientation, and their way out of and into the tags of a TIFF.

They are changed only where they must be, and only there: see :mod:`vqcodec.images.ifd`.
"""

import struct

from vqcodec.images import ifd
from vqcodec.images.ifd import BrokenDirectory, Tags, Value

PREFIX = b"Exif\0\0"
"""Bytes that JPEG puts before EXIF data."""
ORIENTATION = 274
XMP, IPTC, ICC = 700, 33723, 34675
_COLOUR_SPACE, _SIZES = 40961, (40962, 40963)
_DESCRIPTIVE = frozenset({*range(269, 273), 274, 282, 283, 285, 296, 305, 306, 315, 316, 337, *range(64, 128)})
"""Tags below 700 that say something of the picture, not of the way its pixels are stored."""
_STRUCTURAL = frozenset(
    {XMP, ICC, 32995, 32996, 32997, 32998, 33421, 33422, 34908, 34909, 34910, 37398, 37439, 42113, 50838, 50839}
    | {*range(34016, 34037), *range(37120, 37122), *range(48129, 48139), *range(48256, 48262)}
    | {*range(50706, 51200), *range(52525, 52600), 32932, 34841, 50674, 50675, 50784}
)
"""Tags from 700 on that describe pixels, of TIFF/IT, FX, DNG, HD Photo, GDAL and ImageJ, or that are written apart."""


def describes_pixels(tag: int) -> bool:
    """Return whether a tag of a first directory says how its file stores pixels, ICC profile or XMP."""
    return tag in _STRUCTURAL if tag >= XMP else tag not in _DESCRIPTIVE


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if there is none or the data are damaged."""
    try:
        header = ifd.read_header(exif)
        found = ifd.read_directory(exif, header, header.first).integer(ORIENTATION, 1)
    except BrokenDirectory:
        return 1
    return found if found in range(2, 9) else 1


def is_intact(exif: bytes) -> bool:
    """Return whether the data have a directory."""
    try:
        ifd.read_tree(exif)
    except BrokenDirectory:
        return False
    return True


def says_adobe_rgb(exif: bytes) -> bool:
    """Return whether the data say that the colours are those of Adobe RGB, as cameras do (DCF 2.0, section 3.5)."""
    try:
        tags, _ = ifd.read_tree(exif)
    except BrokenDirectory:
        return False
    below = tags.get(ifd.EXIF)
    if not isinstance(below, dict):
        return False
    space, inner = below.get(_COLOUR_SPACE), below.get(ifd.INTEROPERABILITY)
    index = inner.get(1) if isinstance(inner, dict) else None
    number = next(iter(space.integers()), 0) if isinstance(space, Value) else 0
    return number == 2 or (number != 1 and isinstance(index, Value) and index.raw.startswith(b"R03"))


def without_orientation(exif: bytes) -> bytes:
    """Return the data without their orientation; without a tag left, no data."""
    return _with_entry(exif, None)


def with_orientation(exif: bytes, value: int) -> bytes:
    """Return the data with this orientation; data that are damaged stay as they are."""
    return _with_entry(exif or _EMPTY, value)


_EMPTY = b"II*\0\x08\0\0\0" + bytes(6)


def _with_entry(exif: bytes, value: int | None) -> bytes:
    """Replace, add or remove the entry of the orientation.  All other bytes stay what and where they are."""
    try:
        header = ifd.read_header(exif)
        entries, at, following = ifd.read_entries(exif, header, header.first)
    except BrokenDirectory:
        return exif
    order = header.order
    tag = struct.pack(f"{order}H", ORIENTATION)
    changed = [entry for entry in entries if entry[:2] != tag]
    if value is not None:
        number = struct.pack(f"{order}H", value).ljust(header.cell, b"\0")
        changed.append(struct.pack(f"{order}HH{header.word}", ORIENTATION, ifd.SHORT, 1) + number)
        changed.sort(key=lambda entry: struct.unpack(f"{order}H", entry[:2]))
    if changed == entries:
        return exif
    if not changed:
        return b""
    table = struct.pack(order + ("Q" if header.big else "H"), len(changed)) + b"".join(changed) + following
    if len(changed) <= len(entries):
        return exif[:at] + table + exif[at + len(table) :]
    padded = exif + bytes(len(exif) % 2)
    return ifd.Header(order, header.big, len(padded)).to_bytes() + padded[header.size :] + table


def from_tags(tags: Tags, order: str) -> bytes:
    """Return the tags of a TIFF as EXIF data, without those that describe its pixels."""
    kept = {tag: value for tag, value in tags.items() if not describes_pixels(tag) and tag != ORIENTATION}
    iptc = kept.get(IPTC)
    if isinstance(iptc, Value) and iptc.type != ifd.UNDEFINED:
        kept[IPTC] = Value.of(ifd.UNDEFINED, _plain_iptc(iptc), order)
    if not kept:
        return b""
    header = ifd.Header(order, False, 8)
    return header.to_bytes() + ifd.write_tree(kept, header, 8)


def _plain_iptc(value: Value) -> bytes:
    """Return the bytes of IPTC data that are stored as numbers of 32 bits, in whatever order."""
    other = value.in_order("<" if value.order == ">" else ">")
    return other if not value.raw.startswith(b"\x1c") and other.startswith(b"\x1c") else value.raw


def into_tiff(tiff: bytes, exif: bytes, xmp: bytes) -> tuple[bytes, tuple[int, ...]]:
    """Return a TIFF file with the tags of EXIF data and with XMP, and the tags that were damaged.

    Nothing in the EXIF data describes the TIFF's own pixels.  Raises :class:`BrokenDirectory` for EXIF data without a
    directory.
    """
    header = ifd.read_header(tiff)
    own = ifd.read_directory(tiff, header, header.first).values
    found, lost = ifd.read_tree(exif) if exif else ({}, ())
    tags = {tag: value for tag, value in found.items() if not describes_pixels(tag)} | own
    if ORIENTATION in found:
        tags[ORIENTATION] = found[ORIENTATION]
    if isinstance(below := tags.get(ifd.EXIF), dict):
        sizes = zip(_SIZES, (own[tag] for tag in (256, 257)), strict=True)
        tags[ifd.EXIF] = below | {tag: size for tag, size in sizes if tag in below}
    if xmp:
        tags[XMP] = Value.of(1, xmp, header.order)
    return ifd.with_first_directory(tiff, header, tags), lost
