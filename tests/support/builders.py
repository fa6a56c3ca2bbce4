"""Picture files put together byte by byte, with what Pillow does not write."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_CODES = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}
_SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}

Tag = tuple[int, Sequence[int]]
"""Type and values; the values of RATIONAL come in pairs."""


def quarters(size: int = 64) -> np.ndarray:
    """Return white and red above, green and black below."""
    rgb, half = np.zeros((size, size, 3), np.uint8), size // 2
    rgb[:half, :half], rgb[:half, half:], rgb[half:, :half] = 255, (200, 40, 40), (40, 160, 60)
    return rgb


def spots(image: Image.Image) -> list:
    """Return the pixels in the middle of the quarters, row by row."""
    width, height = image.size
    return [image.getpixel((x, y)) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def saved(pixels: np.ndarray, format: str, **options: object) -> bytes:
    """Return pixels as a file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


# TIFF and EXIF


@dataclass(frozen=True)
class Page:
    """A directory: its tags, the strips of its pixels, the pages below it."""

    tags: Mapping[int, Tag]
    strips: Sequence[bytes] = ()
    below: Sequence["Page"] = field(default=())


def tiff(*pages: Page, order: str = "<", big: bool = False, after: int = 0) -> bytes:
    """Return a TIFF file; ``after`` is where the link of the last page points."""
    word, cell = ("Q", 8) if big else ("I", 4)
    head = 16 if big else 8
    out = bytearray(head)

    def put(data: bytes) -> int:
        out.extend(bytes(len(out) % 2))
        out.extend(data)
        return len(out) - len(data)

    def directory(page: Page) -> tuple[int, int]:
        tags = dict(page.tags)
        if page.strips:
            tags[273] = (LONG, [put(strip) for strip in page.strips])
            tags[279] = (LONG, [len(strip) for strip in page.strips])
        if page.below:
            tags[330] = (LONG, [directory(sub)[0] for sub in page.below])
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            raw = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
            where = raw.ljust(cell, b"\0") if len(raw) <= cell else struct.pack(order + word, put(raw))
            entries += struct.pack(f"{order}HH{word}", tag, kind, len(raw) // _SIZES[kind]) + where
        at = put(struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(cell))
        return at, len(out) - cell

    link = head - cell
    for page in pages:
        at, following = directory(page)
        out[link : link + cell] = struct.pack(order + word, at)
        link = following
    out[link : link + cell] = struct.pack(order + word, after)
    mark = b"II" if order == "<" else b"MM"
    out[: head - cell] = mark + struct.pack(order + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,)))
    return bytes(out)


def shorts(**tags: int | Tag) -> dict[int, Tag]:
    """Return tags that are given as ``t256=64``: numbers of type SHORT, or type and values."""
    return {int(name[1:]): (SHORT, [tag]) if isinstance(tag, int) else tag for name, tag in tags.items()}


def about(pixels: np.ndarray, bits: int = 8, photometric: int | None = None, **more: int | Tag) -> dict[int, Tag]:
    """Return the tags that a page of these pixels (H, W) or (H, W, S) has, for samples of ``bits`` bits."""
    height, width, samples = pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)
    if photometric is None:
        photometric = 2 if samples >= 3 else 1
    plain = shorts(t256=width, t257=height, t259=1, t262=photometric, t277=samples, t278=height)
    return plain | {258: (SHORT, [bits] * samples)} | shorts(**more)


def page(pixels: np.ndarray, bits: int = 8, photometric: int | None = None, **more: int | Tag) -> Page:
    """Return a page of samples of 8 bits, or of fewer or more that are packed, most significant first."""
    return Page(about(pixels, bits, photometric, **more), [packed(pixels, bits)])


def packed(samples: np.ndarray, bits: int, order: str = "<") -> bytes:
    """Return samples (H, W) or (H, W, S) packed row by row; those of 16 bits in a byte order."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    rows = samples.reshape(len(samples), -1).astype(np.int64)
    unpacked = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(unpacked.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def exif(tags: Mapping[int, Tag], order: str = "<") -> bytes:
    """Return EXIF data: a TIFF without pixels."""
    return tiff(Page(tags), order=order)


# PNG


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples: np.ndarray, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int | None = None) -> bytes:
    """Return a PNG of samples (H, W) or (H, W, S); ``chunks`` come before the pixels."""
    if colour is None:
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if samples.ndim == 2 else samples.shape[2]]
    rows = packed(samples, depth, ">")
    size = len(rows) // len(samples)
    lines = b"".join(b"\0" + rows[at : at + size] for at in range(0, len(rows), size))
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0)
    every = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in every)


def raw_profile(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Return a chunk of text as ImageMagick writes profiles."""
    text = b"\n" + kind + b"\n%8d\n" % len(content) + content.hex().encode() + b"\n"
    return b"zTXt", b"Raw profile type " + kind + b"\0\0" + zlib.compress(text)


# Other containers


def jpeg(pixels: np.ndarray, *segments: tuple[int, bytes], **options: object) -> bytes:
    """Return a JPEG with segments (marker, content) before all others."""
    data = saved(pixels, "JPEG", quality=95, subsampling=0, **options)
    return data[:2] + b"".join(struct.pack(">BBH", 255, m, len(c) + 2) + c for m, c in segments) + data[2:]


def exif_segment(tags: Mapping[int, Tag]) -> tuple[int, bytes]:
    """Return the segment of EXIF data."""
    return 0xE1, b"Exif\0\0" + exif(tags)


def extended_xmp(main: bytes, extension: bytes, guid: bytes, part: int = 60_000) -> list[tuple[int, bytes]]:
    """Return the segments of an XMP packet with an extension."""
    head = b"http://ns.adobe.com/xmp/extension/\0" + guid
    places = range(0, len(extension), part)
    pieces = [(0xE1, head + struct.pack(">II", len(extension), at) + extension[at : at + part]) for at in places]
    return [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + main), *pieces]


def xmp(attributes: str) -> bytes:
    """Return an XMP packet."""
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    inner = f'<rdf:Description rdf:about="" {attributes}/>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">{inner}</rdf:RDF></x:xmpmeta>'.encode()


def box(name: bytes, content: bytes) -> bytes:
    """Return a box of JP2 or AVIF."""
    return struct.pack(">I", 8 + len(content)) + name + content


def jp2(pixels: np.ndarray, *boxes: bytes, colour: bytes | None = None) -> bytes:
    """Return a JP2 with boxes before the codestream, and perhaps another content of its ``colr`` box."""
    data = saved(pixels, "JPEG2000", irreversible=False)
    if colour is not None:
        at, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
        old = struct.unpack_from(">I", data, at)[0]
        new = box(b"colr", colour)
        size = struct.unpack_from(">I", data, header)[0] + len(new) - old
        data = data[:header] + struct.pack(">I", size) + data[header + 4 : at] + new + data[at + old :]
    at = data.index(b"jp2c") - 4
    return data[:at] + b"".join(boxes) + data[at:]


def avif(pixels: np.ndarray, primaries: int = 1, transfer: int = 13, **options: object) -> bytes:
    """Return an AVIF whose colours are said by numbers."""
    data = bytearray(saved(pixels, "AVIF", quality=100, subsampling="4:4:4", **options))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def gif(pixels: np.ndarray, name: bytes, content: bytes) -> bytes:
    """Return a GIF with an application block, whose content is in sub-blocks already."""
    data = saved(pixels, "GIF")
    at = 13 + 3 * (2 << (data[10] & 7))
    return data[:at] + b"!\xff" + bytes([len(name)]) + name + content + data[at:]


def gif_xmp(packet: bytes) -> bytes:
    """Return a packet as GIF holds it, with the trailer that leads readers of sub-blocks to its end."""
    return packet + b"\1" + bytes(range(255, -1, -1)) + b"\0"


def bmp(pixels: bytes, header: bytes, after: bytes = b"") -> bytes:
    """Return a BMP."""
    size = 14 + len(header) + len(pixels) + len(after)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + len(header)) + header + pixels + after


def bmp_header(size: int, width: int, height: int, bits: int, compression: int = 0) -> bytes:
    """Return the first 40 bytes of a header that has ``size`` bytes."""
    return struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, 0, 2835, 2835, 0, 0)


def resource(number: int, content: bytes) -> bytes:
    """Return a resource as Photoshop writes it."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)


def psd(colour: tuple[int, int, int], size: int = 16, resources: bytes = b"", layers: int = 0) -> bytes:
    """Return a PSD of one colour, with layers of another."""
    planes = b"".join(b"\0\0" + bytes([v]) * size**2 for v in (255, 0, 0))
    record = struct.pack(">IIIIH", 0, 0, size, size, 3) + b"".join(struct.pack(">hI", c, 2 + size**2) for c in range(3))
    record += b"8BIMnorm" + bytes([255, 0, 0, 0]) + struct.pack(">I", 12) + bytes(8) + b"\1a\0\0"
    info = struct.pack(">h", layers) + (record + planes) * 0 + record * layers + planes * layers if layers else b""
    below = struct.pack(">I", len(info)) + info if layers else b""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, size, size, 8, 3) + bytes(4)
    head += struct.pack(">I", len(resources)) + resources + struct.pack(">I", len(below)) + below
    return head + b"\0\0" + b"".join(bytes([value]) * size**2 for value in colour)


def profile(name: str, gamma: float = 1.0, pad: int = 0) -> bytes:
    """Return an ICC profile with the primaries of sRGB; ``pad`` bytes of a private tag make it large."""

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = name.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    items = [
        (b"desc", b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)),
        (b"cprt", b"text" + bytes(4) + b"-\0"),
        (b"wtpt", xyz(0.9642, 1, 0.8249)),
        (b"rXYZ", xyz(0.43607, 0.22249, 0.01392)),
        (b"gXYZ", xyz(0.38515, 0.71687, 0.09708)),
        (b"bXYZ", xyz(0.14307, 0.06061, 0.71410)),
        *((channel + b"TRC", curve) for channel in (b"r", b"g", b"b")),
    ]
    if pad:
        items.append((b"priv", b"data" + bytes(4) + bytes(pad)))
    start, table, body = 132 + 12 * len(items), b"", b""
    for tag, content in items:
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(items)) + table + body
