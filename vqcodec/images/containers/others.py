"""GIF, BMP, PSD, QOI, PNM and SGI: what Pillow's readers leave out."""

import io
import struct
from typing import IO

import numpy as np

from vqcodec.images import colours, exif
from vqcodec.images.colours import Colours
from vqcodec.images.containers import photoshop
from vqcodec.images.containers.contents import Contents, Notes
from vqcodec.stream.metadata import Metadata

_XMP_APPLICATION, _ICC_APPLICATION = b"XMP DataXMP", b"ICCRGBG1012"
_XMP_TRAILER = b"\1" + bytes(range(255, -1, -1))
_PSD_CHANNELS = {1: 1, 2: 1, 3: 4, 4: 4, 8: 1}
"""Colour mode -> channels that Pillow keeps: grey, palette, RGB with alpha, CMYK, duotone."""


def examine_gif(data: bytes) -> Contents:
    """Look into a GIF (GIF89a; XMP specification part 3, section 1.1.2).  Frames are counted, not decoded."""
    notes = Notes()
    contents = Contents(io.BytesIO(data), notes, frames=1)
    icc = xmp = b""
    frames, ended = 0, False
    at = 13 + _table(data[10:11])
    while at < len(data):
        kind = data[at]
        if kind == 0x3B:
            ended = True
            break
        if kind == 0x21:
            name = data[at + 3 : at + 14]
            first = at + 2
            at = _after_blocks(data, first)
            body = data[first:at]
            if name == _XMP_APPLICATION:
                packet = body[12:-1]  # the packet is no sequence of blocks; a trailer makes readers skip it
                xmp = packet.removesuffix(_XMP_TRAILER)
            elif name == _ICC_APPLICATION:
                icc = _joined(body[12:])
            elif data[first - 1] == 0xFE:
                notes.change("the comment is not kept")
        elif kind == 0x2C:
            if at + 10 > len(data):
                break
            frames += 1
            at = _after_blocks(data, at + 11 + _table(data[at + 9 : at + 10]))
        else:
            break
    if frames > 1 and not ended:
        notes.lose(f"the file is damaged after frame {frames - 1}")
    contents.frames = max(frames, 1)
    contents.metadata = Metadata(icc, b"", xmp)
    return contents


def _table(flags: bytes) -> int:
    return 3 * (2 << (flags[0] & 7)) if flags and flags[0] & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return the offset after a sequence of blocks."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _joined(blocks: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(blocks) and blocks[at]:
        out += blocks[at + 1 : at + 1 + blocks[at]]
        at += 1 + blocks[at]
    return bytes(out)


def examine_bmp(data: bytes) -> Contents:
    """Look into a BMP: colours of header versions 4 and 5."""
    notes = Notes()
    contents = Contents(io.BytesIO(data), notes, Metadata())
    (size,) = struct.unpack_from("<I", data.ljust(18, b"\0"), 14)
    if size < 108 or len(data) < 14 + size:
        return contents
    space = data[70:74]
    if space == b"DEBM" and size >= 124:
        start, length = struct.unpack_from("<II", data, 14 + 112)
        icc = data[14 + start : 14 + start + length]
        if len(icc) == length > 0:
            contents.metadata = Metadata(icc)
        else:
            notes.lose("the ICC profile is damaged and is ignored", "icc")
    elif space == b"KNIL":
        notes.lose("the ICC profile is in another file and is ignored", "icc")
    elif space == bytes(4):
        contents.colours = _calibrated(data[74:122])
    return contents


def _calibrated(numbers: bytes) -> Colours | None:
    """Return colours from the end points (XYZ, 2.30 bits) and the gammas (16.16 bits); none if they are not set."""
    points = np.array(struct.unpack("<9i", numbers[:36]), np.float64).reshape(3, 3) / (1 << 30)
    gammas = [value / 65536 for value in struct.unpack("<3I", numbers[36:])]
    if not points.any() or not all(gammas) or (points.sum(1) <= 0).any():
        return None
    white = points.sum(0)
    x, y = ([float(row[i] / row.sum()) for row in (*points, white)] for i in (0, 1))
    red, green, blue, middle = zip(x, y, strict=True)
    return Colours(tuple(colours.Power(gamma) for gamma in gammas), red, green, blue, middle)


def examine_psd(data: bytes) -> Contents:
    """Look into a PSD: its resources hold the metadata."""
    notes = Notes()
    channels, depth, mode = (int.from_bytes(data[i : i + 2], "big") for i in (12, 22, 24))
    if mode not in _PSD_CHANNELS or depth != 8:
        contents = Contents(io.BytesIO(data), notes, Metadata())
        contents.refused = f"PSD of colour mode {mode} with {depth} bits per sample is not supported"
        return contents
    if channels > _PSD_CHANNELS[mode]:
        notes.lose("channels after the colours are not kept")
    at = 26
    at += 4 + int.from_bytes(data[at : at + 4], "big")
    length = int.from_bytes(data[at : at + 4], "big")
    blocks = data[at + 4 : at + 4 + length]
    found = dict(photoshop.resources(blocks))
    photoshop.note_iptc(blocks, notes)
    version = found.get(photoshop.VERSION, b"")
    if len(version) > 4 and not version[4]:
        notes.lose("the file has no merged picture, only layers: what is kept may be blank")
    at += 4 + length
    if int.from_bytes(data[at : at + 4], "big") and int.from_bytes(data[at + 4 : at + 8], "big"):
        notes.change("layers are not kept, only the merged picture")
    at += 4 + int.from_bytes(data[at : at + 4], "big")
    lean = data[: 26 + 4 + int.from_bytes(data[26:30], "big")] + bytes(8) + data[at:]  # only the merged picture
    exif_data = found.get(photoshop.EXIF, b"").removeprefix(exif.PREFIX)
    metadata = Metadata(found.get(photoshop.ICC, b""), exif_data, found.get(photoshop.XMP, b""))
    return Contents(io.BytesIO(lean), notes, metadata, frames=1)


def examine_qoi(file: IO[bytes], prefix: bytes) -> Contents:
    """Look into a QOI: its samples are those of sRGB or linear."""
    contents = Contents(file, Notes(), Metadata())
    if prefix[13:14] == b"\1":
        contents.colours = Colours((colours.LINEAR,))
    return contents


def examine_pnm(file: IO[bytes], prefix: bytes) -> Contents:
    """Look into a PNM: the largest value gives the depth."""
    contents = Contents(file, Notes(), Metadata())
    if prefix[1:2] in b"2356" and len(numbers := _pnm_numbers(prefix[2:])) > 2:
        contents.bits = max(8, numbers[2].bit_length())
    return contents


def _pnm_numbers(header: bytes) -> list[int]:
    lines = (line.partition(b"#")[0] for line in header.splitlines())
    words = b" ".join(lines).split()[:3]
    return [int(word) for word in words if word.isdigit()]


def examine_sgi(file: IO[bytes], prefix: bytes) -> Contents:
    """Look into an SGI picture: its header has the bytes per sample."""
    return Contents(file, Notes(), Metadata(), bits=16 if prefix[3:4] == b"\2" else 8)
