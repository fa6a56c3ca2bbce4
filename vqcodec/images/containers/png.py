"""PNG: chunks (ISO/IEC 15948, third edition)."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from vqcodec.images import colours, exif
from vqcodec.images.colours import Colours
from vqcodec.images.containers.contents import LARGEST, Contents, Notes
from vqcodec.images.depth import reduce
from vqcodec.stream.metadata import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
"""Chunks that decide the pixels of the first picture."""
_MEANINGFUL = {
    b"iCCP": "icc",
    b"eXIf": "exif",
    b"zTXt": "exif",
    b"iTXt": "xmp",
    **dict.fromkeys((b"gAMA", b"cHRM", b"sRGB", b"cICP", b"acTL"), ""),
}
"""Chunks that hold colours or metadata, and the kind of the latter."""
_XMP = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "

_LABELS = {
    b"exif": ("EXIF data", "exif"),
    b"icc": ("ICC profile", "icc"),
    b"icm": ("ICC profile", "icc"),
    b"iptc": ("IPTC data", "exif"),
    b"8bim": ("IPTC data", "exif"),
}
"""Name and kind of metadata of each type of raw profile."""


def examine(data: bytes) -> Contents:
    """Look into a PNG file."""
    notes, lean = Notes(), [SIGNATURE]
    found: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes]] = []
    at = len(SIGNATURE)
    for name, content, whole in _chunks(data):
        end = at + len(whole)
        if name in _PIXELS or not name[0] & 0x20:  # an unknown chunk that is critical is for Pillow to refuse
            lean.append(whole)
            if name == b"IDAT":
                found.setdefault(name, b"animated" if b"fcTL" in found else b"")
            else:
                found.setdefault(name, content)
        elif zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            text = f"the chunk {name.decode('latin-1')} is damaged and is ignored"
            if name in _MEANINGFUL:
                notes.lose(text, _MEANINGFUL[name])
            else:
                notes.change(text)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            texts.append((name, content))
        else:
            found.setdefault(name, content)
        at = end
    lean.append(data[at:])  # what is cut or no chunk
    header = found.get(b"IHDR", b"").ljust(13, b"\0")
    depth, kind = header[8], header[9]
    metadata = Metadata(
        icc=_icc(found, notes),
        exif=found.get(b"eXIf", b"").removeprefix(exif.PREFIX),
    )
    metadata = _with_texts(metadata, texts, notes)
    contents = Contents(io.BytesIO(b"".join(lean)), notes, metadata, bits=max(depth, 8))
    contents.colours = _colours(found, bool(metadata.icc), notes)
    contents.frames = _frames(found)
    if (kind, depth) == (2, 16) and len(found.get(b"tRNS", b"")) == 6:
        contents.decode = _decoder_with_key(lean, found[b"tRNS"], notes)
        contents.size = struct.unpack(">II", header[:8])
    key = b"" if kind else found.get(b"tRNS", b"")
    if len(key) == 2 and depth in (1, 2, 4):
        contents.transparent = (int.from_bytes(key, "big") & (1 << depth) - 1) * 255 // ((1 << depth) - 1)
    return contents


def _decoder_with_key(lean: list[bytes], key: bytes, notes: Notes) -> Callable[[], Image.Image] | None:
    """Return a decoder that compares 16 bits with the transparent colour; Pillow compares 8 of them."""
    try:
        from imagecodecs import png_decode
    except ImportError:
        notes.lose("the transparent colour is compared in 8 of 16 bits; 'pip install vqcodec[formats]' compares all")
        return None
    opaque = b"".join(part for part in lean if part[4:8] != b"tRNS")

    def decode() -> Image.Image:
        samples = np.asarray(png_decode(opaque))
        alpha = np.where((samples == struct.unpack(">HHH", key)).all(-1), 0, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([reduce(samples, 16), alpha]))

    return decode


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield name, content and all bytes of each whole chunk."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if end > len(data) or not name.isalpha():
            return
        yield name, data[at + 8 : end - 4], data[at:end]
        at = end


def _frames(found: dict[bytes, bytes]) -> int:
    """Return the number of pictures: frames of an animation, and a picture before it that is none of them."""
    frames = int.from_bytes(found.get(b"acTL", b"")[:4], "big")
    return max(1, frames + (frames > 0 and not found.get(b"IDAT")))


def _icc(found: dict[bytes, bytes], notes: Notes) -> bytes:
    if b"iCCP" not in found:
        return b""
    _, _, rest = found[b"iCCP"].partition(b"\0")
    profile = _inflate(rest[1:])
    if profile is None:
        notes.lose("the ICC profile is damaged and is ignored", "icc")
    return profile or b""


def _inflate(packed: bytes, room: int = LARGEST) -> bytes | None:
    """Unpack; None for what is damaged or has more than ``room`` bytes."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, room) if room > 0 else b""
    except zlib.error:
        return None
    return content if unpacker.eof else None


def _with_texts(metadata: Metadata, texts: list[tuple[bytes, bytes]], notes: Notes) -> Metadata:
    """Take EXIF and XMP from chunks of text; note the others."""
    icc, exif_data, xmp, room = metadata.icc, metadata.exif, metadata.xmp, LARGEST
    for name, content in texts:
        keyword, _, rest = content.partition(b"\0")
        if keyword == _XMP or keyword.startswith(_RAW_PROFILE):
            what = keyword.removeprefix(_RAW_PROFILE).lower()
            label, kind = _LABELS.get(what, ("XMP data", "xmp"))
            text = _text(name, rest, room)
            room -= LARGEST // 8 if text is None else len(text)
            value = text if keyword == _XMP or text is None else from_hexadecimal(text)
            if value is None:
                notes.lose(f"the {label} cannot be read and is not kept", kind)
            elif keyword == _XMP or what == b"xmp" or value.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = xmp or value.removeprefix(b"http://ns.adobe.com/xap/1.0/\0")
            elif what == b"exif" or (what == b"app1" and value.startswith(exif.PREFIX)):
                exif_data = exif_data or value.removeprefix(exif.PREFIX)
            elif kind == "icc":
                icc = icc or value
            elif value:
                notes.lose(f"the {label} is not kept", kind)
        else:
            notes.change(f"text '{keyword[:79].decode('latin-1')}' is not kept")
    return Metadata(icc, exif_data, xmp)


def _text(name: bytes, rest: bytes, room: int) -> bytes | None:
    """Return the text of a chunk, from what follows its keyword; None for what is damaged or too large."""
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return _inflate(rest[1:], room)
    flags, parts = rest[:2], rest[2:].split(b"\0", 2)
    if len(flags) < 2 or len(parts) < 3:
        return None
    return _inflate(parts[2], room) if flags[0] else parts[2]


def from_hexadecimal(text: bytes) -> bytes | None:
    """Return what ImageMagick and exiftool write as a name, a length and hexadecimal digits."""
    found = re.match(rb"\s*\S+\s+(\d+)\s+([0-9a-fA-F\s]*)", text)
    if found is None:
        return None
    digits = b"".join(found[2].split())
    try:
        content = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    except ValueError:
        return None
    length = int(found[1])
    return content[:length] if len(content) >= length else None


def _colours(found: dict[bytes, bytes], has_icc: bool, notes: Notes) -> Colours | None:
    """Return what the chunks say of the colours; cICP goes before a profile, sRGB before gamma and primaries."""
    if len(numbers := found.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = numbers
        said = colours.of_numbers(primaries, transfer)
        if said is None or matrix or full != 1:
            numbers_text = "/".join(map(str, numbers))
            notes.lose(f"the colour numbers {numbers_text} (cICP) are not supported and are ignored")
        else:
            return None if has_icc else said
    if has_icc:
        return None
    if b"sRGB" in found:
        return colours.SRGB
    gamma = int.from_bytes(found.get(b"gAMA", b"")[:4], "big")
    corners = found.get(b"cHRM", b"")
    if not gamma and len(corners) != 32:
        return None
    curve = colours.Power(100_000 / gamma) if gamma else colours.SRGB_CURVE
    if abs(gamma - 45455) <= 500 and (len(corners) != 32 or _near_srgb(corners)):  # how PNG says sRGB
        return colours.SRGB
    if len(corners) != 32:
        return Colours((curve,))
    white, red, green, blue = _points(corners)
    return Colours((curve,), red, green, blue, white)


def _points(corners: bytes) -> tuple[colours.Point, ...]:
    values = [value / 100_000 for value in struct.unpack(">8I", corners)]
    return tuple(zip(values[::2], values[1::2], strict=True))


def _near_srgb(corners: bytes) -> bool:
    white, red, green, blue = _points(corners)
    known = colours.SRGB
    return bool(
        np.abs(np.array([white, red, green, blue]) - [known.white, known.red, known.green, known.blue]).max() < 0.005
    )
