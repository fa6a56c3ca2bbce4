"""AVIF and JP2: boxes (ISO/IEC 14496-12, 23008-12, 15444-1)."""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vqcodec.errors import InvalidImage
from vqcodec.images import colours, exif
from vqcodec.images.colours import Colours
from vqcodec.images.containers.contents import Contents, Notes
from vqcodec.images.depth import reduce
from vqcodec.stream.metadata import Metadata

JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
J2K_SIGNATURE = b"\xff\x4f\xff\x51"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_UUIDS = (b"JpgTiffExif->JP2", bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e"))
_IPTC_UUID = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF_ITEM, _MIME_ITEM = b"Exif", b"mime"
_JP2_HEADER = frozenset({b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef"})
_HIDDEN_ITEM, _NO_BOX = b"xxxx", b"free"


@dataclass(frozen=True)
class Box:
    """A box: its name, and ``data[start:end]`` as its content."""

    name: bytes
    data: bytes
    start: int
    end: int

    @property
    def content(self) -> bytes:
        """The bytes of the content."""
        return self.data[self.start : self.end]

    def inside(self, skip: int = 0) -> Iterator["Box"]:
        """Yield the boxes in the content."""
        return boxes(self.data, self.start + skip, self.end)

    def find(self, name: bytes, skip: int = 0) -> "Box | None":
        """Return the first box of that name in the content."""
        return next((box for box in self.inside(skip) if box.name == name), None)


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes of a file or of a part of it, up to the first that is damaged."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, name, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            return
        yield Box(name, data, at + head, at + size)
        at += size


# AVIF


def examine_avif(data: bytes) -> Contents:
    """Look into an AVIF file.  Its EXIF data are hidden from Pillow, which would parse them."""
    notes = Notes()
    meta = next((box for box in boxes(data) if box.name == b"meta"), None)
    contents = Contents(io.BytesIO(data), notes)
    if meta is None:  # an animation without a picture of its own
        return contents
    try:
        items = _items(meta)
        properties = _properties(meta)
    except (struct.error, IndexError):  # damaged: for Pillow to refuse
        return contents
    own = {box.name: box.content for box in properties if box.name != b"colr"}
    profiles = [box.content for box in properties if box.name == b"colr"]
    icc = next((c[4:] for c in profiles if c[:4] in (b"prof", b"rICC")), b"")
    numbers = next((c[4:] for c in profiles if c[:4] == b"nclx"), b"")
    contents.colours = _nclx(numbers, bool(icc), notes)
    contents.bits = _avif_bits(own)
    if b"clap" in own:
        notes.lose("the rectangle to be shown (clap) is not applied")
    found, visible = {"exif": b"", "xmp": b""}, bytearray(data)
    for item in items:
        kind = "exif" if item.type == _EXIF_ITEM else "xmp" if item.mime == b"application/rdf+xml" else ""
        if not kind:
            continue
        content = item.content(data, meta)
        if kind == "exif":
            visible[item.type_at : item.type_at + 4] = _HIDDEN_ITEM
            if content is not None:
                skip = 4 + int.from_bytes(content[:4], "big")
                content = content[skip:].removeprefix(exif.PREFIX) if skip < len(content) else None
        if content is None:
            notes.lose(f"the {kind.upper()} data is damaged and is ignored", kind)
        elif found[kind]:
            notes.lose(f"only the first of several blocks of {kind.upper()} data is kept", kind)
        else:
            found[kind] = content
    turn, mirror = own.get(b"irot"), own.get(b"imir")
    orientation = _orientation(turn[0] & 3 if turn else 0, mirror[0] & 1 if mirror else None)
    if orientation != exif.orientation(found["exif"]):  # the one in EXIF data has no effect in AVIF
        found["exif"] = exif.with_orientation(found["exif"], orientation)
    contents.metadata = Metadata(icc, found["exif"], found["xmp"])
    contents.file = io.BytesIO(bytes(visible))
    return contents


@dataclass(frozen=True)
class _Item:
    id: int
    type: bytes
    type_at: int
    mime: bytes
    extents: tuple[tuple[int, int], ...]
    in_meta: bool

    def content(self, data: bytes, meta: Box) -> bytes | None:
        """Return the bytes of the item, or None if they are not all there."""
        if self.in_meta:
            idat = meta.find(b"idat", 4)
            data = idat.content if idat else b""
        if not self.extents or any(start + length > len(data) for start, length in self.extents):
            return None
        if sum(length for _, length in self.extents) > len(data):
            return None
        return b"".join(data[start : start + (length or len(data))] for start, length in self.extents)


def _items(meta: Box) -> list[_Item]:
    info, places = meta.find(b"iinf", 4), _places(meta)
    if info is None:
        return []
    version = meta.data[info.start]
    items = []
    for box in info.inside(6 if version == 0 else 8):
        content = box.content
        if box.name != b"infe" or content[0] < 2:
            continue
        wide = 4 if content[0] > 2 else 2
        number = int.from_bytes(content[4 : 4 + wide], "big")
        at = 4 + wide + 2
        type, rest = content[at : at + 4], content[at + 4 :].split(b"\0")
        mime = rest[1] if type == _MIME_ITEM and len(rest) > 1 else b""
        extents, in_meta = places.get(number, ((), False))
        items.append(_Item(number, type, box.start + at, mime, extents, in_meta))
    return items


def _places(meta: Box) -> dict[int, tuple[tuple[tuple[int, int], ...], bool]]:
    box = meta.find(b"iloc", 4)
    if box is None:
        return {}
    data = box.content
    version = data[0]
    sizes = data[4] >> 4, data[4] & 15, data[5] >> 4, data[5] & 15 if version else 0
    if version == 2:
        count, at = int.from_bytes(data[6:10], "big"), 10
    else:
        count, at = int.from_bytes(data[6:8], "big"), 8

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(data):
            raise IndexError
        return int.from_bytes(data[at - size : at], "big")

    found = {}
    for _ in range(count):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(sizes[2])
        extents: list[tuple[int, int]] = []
        for _ in range(number(2)):
            at += not any(sizes)  # so that the loop ends with the data
            number(sizes[3])
            start = number(sizes[0])
            extents.append((base + start, number(sizes[1])))
        found[item] = (tuple(extents), method == 1)
    return found


def _properties(meta: Box) -> list[Box]:
    """Return the properties of the main picture."""
    main, parent = meta.find(b"pitm", 4), meta.find(b"iprp", 4)
    if main is None or parent is None:
        return []
    number = int.from_bytes(main.content[4 : 6 if main.content[0] == 0 else 8], "big")
    container = parent.find(b"ipco")
    known = list(container.inside()) if container else []
    found = []
    for box in parent.inside():
        if box.name != b"ipma":
            continue
        data, at = box.content, 8
        wide, long = (4 if data[0] else 2), data[3] & 1
        for _ in range(int.from_bytes(data[4:8], "big")):
            item, count = int.from_bytes(data[at : at + wide], "big"), data[at + wide]
            at += wide + 1
            for _ in range(count):
                index = int.from_bytes(data[at : at + 1 + long], "big") & (0x7FFF if long else 0x7F)
                at += 1 + long
                if item == number and 0 < index <= len(known):
                    found.append(known[index - 1])
    return found


def _nclx(numbers: bytes, has_icc: bool, notes: Notes) -> Colours | None:
    if len(numbers) < 7 or has_icc:
        return None
    primaries, transfer, matrix = struct.unpack_from(">HHH", numbers)
    said = colours.of_numbers(primaries, transfer)
    if said is None:
        notes.lose(f"the colour numbers {primaries}/{transfer}/{matrix} (nclx) are not supported and are ignored")
    return said


def _avif_bits(own: dict[bytes, bytes]) -> int:
    configuration = own.get(b"av1C", b"")
    if len(configuration) > 2 and configuration[2] & 0x40:
        return 12 if configuration[2] & 0x20 else 10
    return int(max([8, *own.get(b"pixi", b"")[5:]]))


def _orientation(turns: int, mirror: int | None) -> int:
    """Return the EXIF orientation of quarter turns to the left, followed by a mirror image across an axis."""
    if mirror is None:
        return {0: 1, 1: 8, 2: 3, 3: 6}[turns]
    if mirror:  # left and right are exchanged
        return {0: 2, 1: 7, 2: 4, 3: 5}[turns]
    return {0: 4, 1: 5, 2: 2, 3: 7}[turns]


# JPEG 2000


def examine_jp2(data: bytes) -> Contents:
    """Look into a JPEG 2000 file: boxes, or a codestream alone."""
    notes = Notes()
    if data.startswith(J2K_SIGNATURE):
        return _with_depths(Contents(io.BytesIO(data), notes, Metadata()), data, 0, {})
    found = {"exif": b"", "xmp": b""}
    header: dict[bytes, Box] = {}
    specifications: list[bytes] = []
    hidden: list[int] = []
    codestream = -1
    for box in boxes(data):
        if box.name == b"jp2h" and not header:
            for inner in box.inside():
                header.setdefault(inner.name, inner)
                if inner.name == b"colr":
                    specifications.append(inner.content)
                if inner.name not in _JP2_HEADER or (inner.name == b"colr" and inner.content[:1] != b"\1"):
                    hidden.append(inner.start)  # Pillow uses none of them, and fails for some
        elif box.name == b"jp2c" and codestream < 0:
            codestream = box.start
        elif box.name == b"uuid":
            mark, content = box.content[:16], box.content[16:]
            if mark in _EXIF_UUIDS:
                found["exif"] = found["exif"] or content.removeprefix(exif.PREFIX)
            elif mark == _XMP_UUID:
                found["xmp"] = found["xmp"] or content
            elif mark == _IPTC_UUID:
                notes.lose("the IPTC data is not kept", "exif")
            else:
                notes.change("a box of a kind of its own (uuid) is not kept")
        elif box.name == b"xml ":
            if b"adobe:ns:meta/" in box.content and not found["xmp"]:
                found["xmp"] = box.content
            else:
                notes.change("a box of XML is not kept")
    icc, said, unreadable = _jp2_colours(specifications, notes)
    visible = bytearray(data)
    for start in hidden:
        visible[start - 4 : start] = _NO_BOX
    contents = Contents(io.BytesIO(bytes(visible)), notes, Metadata(icc, found["exif"], found["xmp"]), colours=said)
    if unreadable:
        contents.refused = unreadable
        return contents
    return _with_depths(contents, data, codestream, header)


def _jp2_colours(specifications: list[bytes], notes: Notes) -> tuple[bytes, Colours | None, str]:
    """Return the profile, the colours said by numbers, and why the pixels cannot be understood."""
    for content in specifications:
        method = content[0] if content else 0
        if method in (2, 3):
            return content[3:], None, ""
        if method == 5 and len(content) >= 10:  # ISO/IEC 15444-1:2019, parameters of H.273
            primaries, transfer = struct.unpack_from(">HH", content, 3)
            said = colours.of_numbers(primaries, transfer)
            if said is None:
                notes.lose(f"the colour numbers {primaries}/{transfer} are not supported and are ignored")
            return b"", said, ""
        if method == 1 and len(content) >= 7:
            number = int.from_bytes(content[3:7], "big")
            if number in (0, 12, 15, 16, 17, 18):  # black and white, CMYK, sRGB, grey, sYCC
                return b"", None, ""
            return b"", None, f"colour space {number} of JPEG 2000 is not supported"
    return b"", None, ""


def _with_depths(contents: Contents, data: bytes, at: int, header: dict[bytes, Box]) -> Contents:
    """Take the depth of each component from the codestream, and decode what Pillow would get wrong."""
    if at < 0 or data[at + 2 : at + 4] != b"\xff\x51" or at + 42 > len(data):
        return contents  # damaged: for Pillow to refuse
    (count,) = struct.unpack_from(">H", data, at + 40)
    sizes = [data[where] for where in range(at + 42, min(at + 42 + 3 * count, len(data)), 3)]
    depths, signed = {(size & 0x7F) + 1 for size in sizes}, any(size & 0x80 for size in sizes)
    contents.bits = max(depths, default=8)
    alone = count == 1 and b"pclr" not in header and 8 <= contents.bits <= 16
    if (depths != {8} and not alone) or signed:
        if signed or len(depths) != 1 or count > 4 or {b"pclr", b"cdef"} & header.keys() or contents.bits > 16:
            contents.refused = "the depths or channels of this JPEG 2000 file are not supported"
        contents.decode = _jp2_decoder(data, contents.bits)
        right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
        contents.size = right - left, bottom - top
    elif b"cdef" in header and not _plain_channels(header[b"cdef"].content, count):
        contents.refused = "the order or meaning of the channels is not supported"
    return contents


def _plain_channels(content: bytes, count: int) -> bool:
    """Return whether channels are colours in their order, and opacity after them."""
    colour_channels = count - (count in (2, 4))
    for at in range(2, len(content) - 5, 6):
        channel, type, belongs = struct.unpack_from(">HHH", content, at)
        if type == 0 and belongs not in (channel + 1, 0) and colour_channels > 1:
            return False
        if type == 2 or (type == 1 and channel != count - 1):
            return False
    return True


def _jp2_decoder(data: bytes, bits: int) -> Callable[[], Image.Image]:
    """Return a decoder by imagecodecs, where that is installed."""

    def decode() -> Image.Image:
        try:
            from imagecodecs import jpeg2k_decode
        except ImportError:
            raise InvalidImage(
                f"JPEG 2000 with {bits} bits per sample needs imagecodecs: pip install 'vqcodec[formats]'"
            ) from None
        return Image.fromarray(reduce(np.asarray(jpeg2k_decode(data)), bits))

    return decode
