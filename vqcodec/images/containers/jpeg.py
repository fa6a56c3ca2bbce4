"""JPEG: segments (ITU-T T.81, annex B; XMP specification part 3, section 1.1.3; ICC.1:2010, annex B.4)."""

import io
import struct
from collections.abc import Iterator
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from vqcodec.images import exif, ifd
from vqcodec.images.containers import photoshop
from vqcodec.images.containers.contents import LARGEST, Contents, Notes
from vqcodec.stream.metadata import Metadata

SIGNATURE = b"\xff\xd8\xff"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_MPF = b"MPF\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_COLOURING = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
"""Application segments that decide the colours, and how they begin.  Each has at least 12 bytes."""
_KNOWN_APPLICATIONS = frozenset({0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE})
_COMMENT, _SCAN, _SOI, _EOI = 0xFE, 0xDA, 0xD8, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXTENDED = b"HasExtendedXMP"
"""Attribute of an XMP packet whose other part is elsewhere in its file."""


def examine(data: bytes) -> Contents:
    """Look into a JPEG file."""
    notes, lean = Notes(), [data[:2]]
    applications: list[tuple[int, bytes]] = []
    samples, adobe, at = 0, False, 2
    for marker, content, whole in _segments(data):
        if marker in _FRAMES and len(content) > 5:
            samples = content[5]
        adobe |= marker == 0xEE and content.startswith(b"Adobe")
        application = 0xE0 <= marker <= 0xEF or marker == _COMMENT
        if application:
            applications.append((marker, content))
        if not application or (marker in _COLOURING and content.startswith(_COLOURING[marker]) and len(content) >= 12):
            lean.append(whole)
        at += len(whole)
    lean.append(data[at:])
    of = {marker: [content for m, content in applications if m == marker] for marker in (0xE1, 0xE2, 0xED)}
    metadata = Metadata(_icc(of[0xE2], notes), _exif(of[0xE1], notes), _xmp(of[0xE1], notes))
    blocks = b"".join(part.removeprefix(_PHOTOSHOP) for part in of[0xED] if part.startswith(_PHOTOSHOP))
    photoshop.note_iptc(blocks, notes)
    if any(marker == _COMMENT for marker, _ in applications):
        notes.change("the comment is not kept")
    for marker in sorted({m for m, _ in applications} - _KNOWN_APPLICATIONS):
        notes.change(f"application data (APP{marker - 0xE0}) is not kept")
    if samples == 4 and not adobe:
        notes.lose("CMYK without Adobe's marker is read as Adobe writes it, 255 for no ink")
    if (pictures := _pictures(of[0xE2])) > 1:
        notes.change(f"only picture 1 of {pictures} is kept")
    return Contents(io.BytesIO(b"".join(lean)), notes, metadata, frames=1)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield marker, content and all bytes of each segment before the first scan, with the fill bytes before it."""
    at = 2
    while at + 4 <= len(data):
        start = at
        if data[at] != 0xFF:
            return
        while at + 1 < len(data) and data[at + 1] == 0xFF:
            at += 1
        if at + 4 > len(data):
            return
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if marker in (_SCAN, _SOI, _EOI, 0, 1) or 0xD0 <= marker <= 0xD7 or length < 2 or end > len(data):
            return
        yield marker, data[at + 4 : end], data[start:end]
        at = end


def _exif(segments: list[bytes], notes: Notes) -> bytes:
    """Join the segments of EXIF data; data that are too long for one segment go on in the next."""
    parts = [part[len(exif.PREFIX) :] for part in segments if part.startswith(b"Exif\0")]  # then 0 or, rarely, 255
    for i, part in enumerate(parts):
        if i and part.startswith((b"II*\0", b"MM\0*")):
            notes.lose("only the first of several blocks of EXIF data is kept", "exif")
            return b"".join(parts[:i])
    return b"".join(parts)


def _icc(segments: list[bytes], notes: Notes) -> bytes:
    parts = [part[len(_ICC) :] for part in segments if part.startswith(_ICC)]
    if not parts:
        return b""
    numbered = {part[0]: part[2:] for part in parts if len(part) >= 2}
    count = parts[0][1] if len(parts[0]) >= 2 else 0
    if sorted(numbered) != list(range(1, count + 1)) or not count:
        notes.lose("the ICC profile is damaged and is ignored", "icc")
        return b""
    return b"".join(numbered[number] for number in sorted(numbered))


def _pictures(segments: list[bytes]) -> int:
    """Return how many pictures a multi-picture file has (CIPA DC-007)."""
    for part in segments:
        if part.startswith(_MPF):
            try:
                header = ifd.read_header(part[4:])
                return ifd.read_directory(part[4:], header, header.first).integer(0xB001, 1)
            except ifd.BrokenDirectory:
                return 1
    return 1


def _xmp(segments: list[bytes], notes: Notes) -> bytes:
    """Return the XMP packet, joined with the parts that did not fit into its segment."""
    packets = [part.removeprefix(_XMP) for part in segments if part.startswith(_XMP)]
    extensions = [part[len(_EXTENSION) :] for part in segments if part.startswith(_EXTENSION)]
    main = packets[0] if packets else b""
    if len(packets) > 1:
        notes.lose("only the first of several XMP packets is kept", "xmp")
    if extensions or EXTENDED in main:
        try:
            joined = _join(main, _reassemble(main, extensions))
        except RecursionError:  # elements in elements in elements
            joined = None
        if joined is None:
            notes.lose("the second part of the XMP data (extended XMP) cannot be read and is not kept", "xmp")
        return joined or main
    return main


def _reassemble(main: bytes, extensions: list[bytes]) -> bytes | None:
    """Return the extension that the main packet names, from its pieces; None if one is missing."""
    pieces = [part for part in extensions if len(part) >= 40 and part[:32] in main]
    if not pieces:
        return None
    total = struct.unpack_from(">I", pieces[0], 32)[0]
    if total > LARGEST:
        return None
    whole, filled = bytearray(total), 0
    for start, content in sorted({struct.unpack_from(">I", part, 36)[0]: part[40:] for part in pieces}.items()):
        if start != filled:
            return None
        whole[start : start + len(content)] = content
        filled += len(content)
    return bytes(whole) if filled == total == len(whole) else None


def _join(main: bytes, extension: bytes | None) -> bytes | None:
    """Return one packet with the properties of both; None if either is no XMP."""
    if extension is None:
        return None
    try:
        document, other = minidom.parseString(main), minidom.parseString(extension)
    except (ExpatError, ValueError, LookupError):
        return None
    (target, *_), (source, *_) = (d.getElementsByTagNameNS(_NAMESPACE, "RDF") or [None] for d in (document, other))
    if target is None or source is None:
        return None
    names = {a.name: a.value for e in (source.parentNode, source) for a in _attributes(e) if a.name.startswith("xmlns")}
    for child in list(source.childNodes):
        if child.nodeType == child.ELEMENT_NODE:
            for name, value in names.items():
                if not child.hasAttribute(name):
                    child.setAttribute(name, value)
            target.appendChild(document.importNode(child, deep=True))
    for element in list(target.getElementsByTagName("*")):
        if element.localName == EXTENDED.decode() and element.parentNode is not None:
            element.parentNode.removeChild(element)
        for attribute in list(_attributes(element)):
            if attribute.localName == EXTENDED.decode():
                element.removeAttribute(attribute.name)
    return document.toxml(encoding="utf-8").partition(b"?>")[2].lstrip()


def _attributes(node: Any) -> list[Any]:
    found = getattr(node, "attributes", None)
    return [found.item(i) for i in range(found.length)] if found else []
