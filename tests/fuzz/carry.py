"""Metadata of any input format, through a picture, to any output format: kept or told, and the pixels are the same."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.fuzz.mutation import Change
from tests.support import builders
from vqcodec.images import exif, formats, ifd
from vqcodec.images.modes import collected_remarks
from vqcodec.images.reading import ReadOptions, read_picture, to_pil
from vqcodec.stream.metadata import METADATA_KINDS, Metadata

ALLOWED = ()
PIXELS = builders.quarters(8)


def _png(found: Metadata) -> bytes:
    chunks = [(b"iCCP", b"p\0\0" + zlib.compress(found.icc)), (b"eXIf", found.exif)]
    return builders.png(PIXELS, *chunks, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + found.xmp))


def _png_text(found: Metadata) -> bytes:
    texts = [builders.raw_profile(b"exif", b"Exif\0\0" + found.exif), builders.raw_profile(b"xmp", found.xmp)]
    return builders.png(PIXELS, *texts, builders.raw_profile(b"icc", found.icc))


def _jpeg(found: Metadata) -> bytes:
    segments = [b"Exif\0\0" + found.exif, b"http://ns.adobe.com/xap/1.0/\0" + found.xmp]
    icc = (0xE2, b"ICC_PROFILE\0\1\1" + found.icc)
    return builders.jpeg(PIXELS, *((0xE1, segment) for segment in segments), icc)


def _tiff(found: Metadata) -> bytes:
    data = builders.tiff(builders.page(PIXELS, t700=(builders.BYTE, found.xmp), t34675=(builders.UNDEFINED, found.icc)))
    try:
        header = ifd.read_header(data)
        own = ifd.read_directory(data, header, header.first).values
        return ifd.with_first_directory(data, header, ifd.read_tree(found.exif)[0] | own)
    except ifd.BrokenDirectory:
        return data


def _webp(found: Metadata) -> bytes:
    return builders.saved(PIXELS, "WEBP", lossless=True, icc_profile=found.icc, exif=found.exif, xmp=found.xmp)


def _avif(found: Metadata) -> bytes:
    place = exif.with_orientation(b"", 1)
    data = builders.saved(PIXELS, "AVIF", quality=100, subsampling="4:4:4", exif=place, xmp=found.xmp or b"x")
    return data.replace(place, found.exif[: len(place)].ljust(len(place), b"\0"))


def _jp2(found: Metadata) -> bytes:
    marks = (b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"))
    boxes = [builders.box(b"uuid", m + c) for m, c in zip(marks, (found.exif, found.xmp), strict=True)]
    return builders.jp2(PIXELS, *boxes, colour=b"\2\0\0" + found.icc)


def _gif(found: Metadata) -> bytes:
    return builders.gif(PIXELS, b"XMP DataXMP", builders.gif_xmp(found.xmp.replace(b"\0", b"")))


def _psd(found: Metadata) -> bytes:
    numbers = {1039: found.icc, 1058: found.exif, 1060: found.xmp}
    return builders.psd((0, 200, 0), 8, b"".join(builders.resource(*item) for item in numbers.items()))


def _bmp(found: Metadata) -> bytes:
    rows = np.ascontiguousarray(PIXELS[::-1, :, ::-1]).tobytes()
    header = builders.bmp_header(124, 8, 8, 24) + bytes(16) + b"DEBM" + bytes(48)
    return builders.bmp(rows, header + struct.pack("<IIII", 4, 124 + len(rows), len(found.icc), 0), found.icc)


INPUTS: tuple[Callable[[Metadata], bytes], ...] = (
    *(_png, _png_text, _jpeg, _tiff, _webp, _avif, _jp2, _gif, _psd, _bmp),
)
OUTPUTS = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "GIF")
LOSSLESS = frozenset({"PNG", "TIFF", "WEBP", "PPM"})


def check(data: bytes) -> None:
    """Read, write and read again what the bytes choose and hold."""
    if len(data) < 5:
        return
    source, format = INPUTS[data[0] % len(INPUTS)], OUTPUTS[data[1] % len(OUTPUTS)]
    turned = bool(data[2] & 1)
    body = data[5:]
    first, second = sorted(min(number, len(body)) for number in (8 * data[3], 8 * data[4]))
    given = Metadata(body[:first], body[first:second], body[second:])
    picture = read_picture(io.BytesIO(source(given)), options=ReadOptions(auto_orient=turned))
    assert sorted(picture.pixels.shape) == [3, 8, 8]
    with collected_remarks() as remarks:
        file = formats.image_bytes(to_pil(picture), format)
    back = read_picture(io.BytesIO(file))
    as_seen = picture.pixels
    if format == "TIFF" and (orientation := exif.orientation(picture.metadata.exif)) != 1:
        as_seen = np.asarray(Image.fromarray(as_seen).transpose(_UPRIGHT[orientation]))
    assert back.pixels.shape == as_seen.shape
    if format in LOSSLESS:
        np.testing.assert_array_equal(back.pixels, as_seen)
    for kind in METADATA_KINDS:
        before, after = getattr(picture.metadata, kind), getattr(back.metadata, kind)
        assert before == after or remarks or back.remarks or (kind == "exif" and _means(before, after, format)), kind


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _means(before: bytes, after: bytes, format: str) -> bool:
    """Return whether two directories have the same tags, but for those that describe pixels or turn them."""
    own = {exif.ORIENTATION, 282, 283, 296} if format == "TIFF" else {exif.ORIENTATION}
    return _plain(before, own) == _plain(after, own)


def _plain(data: bytes, without: set[int]) -> dict:
    def plain(tags: ifd.Tags) -> dict:
        return {tag: plain(v) if isinstance(v, dict) else (v.type, v.in_order("<")) for tag, v in tags.items()}

    try:
        tags = ifd.read_tree(data)[0]
    except ifd.BrokenDirectory:
        return {}
    return plain({tag: v for tag, v in tags.items() if tag not in without and not exif.describes_pixels(tag)})


def seeds() -> Iterator[bytes]:
    """Yield some metadata in each input format."""
    tags = {271: (builders.ASCII, b"camera\0"), 274: (builders.SHORT, [6]), 256: (builders.SHORT, [40])}
    sub = builders.exif({**tags, 34665: (builders.LONG, [8])})  # a directory in itself
    for number in range(len(INPUTS)):
        for data in (builders.exif(tags), builders.exif(tags, order=">"), sub):
            padded = data + bytes(-len(data) % 8)
            yield bytes([number, number % len(OUTPUTS), number, 0, len(padded) // 8]) + padded + builders.xmp('a="b"')
    icc = builders.profile("linear")
    yield bytes([0, 2, 0, len(icc) // 8, len(icc) // 8]) + icc


def mutate(data: bytes, change: Change, rng: random.Random) -> bytes:
    """Change the choice of formats, or what is carried."""
    if rng.random() < 0.2:
        return bytes(rng.randrange(256) for _ in range(3)) + data[3:]
    return data[:5] + change(data[5:])
