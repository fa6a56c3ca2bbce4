"""Write a folder of odd picture files: ``python -m tests.support.odd_files FOLDER``.

Each file names its expected outcome: a mode and a size, or a refusal.
"""

import hashlib
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

from tests.support import builders
from tests.support.builders import page, png, tiff


@dataclass(frozen=True)
class Odd:
    """A file and its expected outcome: what decoding returns, or what the refusal says."""

    name: str
    make: Callable[[], bytes]
    mode: str = ""
    size: tuple[int, int] = (40, 30)
    refused: str = ""
    loses: str = ""
    """Loss that a warning names."""
    keeps: frozenset[str] = frozenset()
    """Metadata that a round trip must preserve."""
    pixels: np.ndarray | None = None
    """The pixels that are read, up to 8 levels."""


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Return a smooth coloured picture that is different everywhere."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 5 % 256, y * 7 % 256, (x + y) * 3 % 256], -1).astype(np.uint8))


def clear() -> Image.Image:
    """Return the same picture with every opacity."""
    image = picture()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """Return the picture as a file of that format."""
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def animation(format: str) -> bytes:
    """Return a file of two frames."""
    return saved(picture(), format, save_all=True, append_images=[Image.new("RGB", (40, 30), "red")])


def turned() -> bytes:
    """Return a JPEG with an EXIF rotation of 90 degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return saved(picture(), "JPEG", exif=exif)


def with_header(data: bytes, at: int, value: int) -> bytes:
    """Return a PNG with one byte of its header changed and a right checksum."""
    header = bytearray(data[12:29])
    header[at] = value
    return data[:12] + bytes(header) + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def deep_rgb() -> bytes:
    """Return a PNG of one pixel with 16 bits per sample, which Pillow reads but does not write."""
    data = with_header(saved(Image.new("RGB", (1, 1)), "PNG"), 12, 16)
    chunk = b"IDAT" + zlib.compress(bytes([0, 255, 255, 128, 0, 0, 0]))
    return data[:33] + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[-12:]


def profile() -> bytes:
    """Return an ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey(image: Image.Image) -> Image.Image:
    """Return the picture with 16 bits per sample."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


PNG = saved(picture(), "PNG")
JPEG = saved(picture(), "JPEG")

RGB = builders.quarters()
GREY = RGB[..., 0]
DEEP = RGB.astype(np.uint16) * 257
SIZE = (64, 64)
RAMP = np.asarray(picture(64, 48))
CAMERA = {271: (builders.ASCII, b"camera\0"), 274: (builders.SHORT, [6])}
RESIZED = {256: (builders.LONG, [40]), 257: (builders.LONG, [30])}
PREVIEW = np.full((16, 16, 3), 90, np.uint8)
SENSOR = np.full((48, 64), 1000)
XMP = builders.xmp('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="kept"')
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def planes(samples: np.ndarray, bits: int) -> bytes:
    """Return a TIFF of separate planes."""
    strips = [builders.packed(samples[..., channel], bits) for channel in range(3)]
    return tiff(builders.Page(builders.about(samples, bits, t284=2), strips))


def raw(**main: int | builders.Tag) -> bytes:
    """Return a camera's raw file: a preview, and sensor data below it."""
    below = page(SENSOR, 16, 32803, t254=0, t33421=(builders.SHORT, [2, 2]))
    preview = page(PREVIEW, t254=1, **main)
    return tiff(builders.Page(preview.tags, preview.strips, [below]))


def below(preview: builders.Page, main: builders.Page) -> bytes:
    """Return a TIFF whose main picture is below its first page."""
    return tiff(builders.Page(preview.tags, preview.strips, [main]))


def long_xmp() -> tuple[bytes, bytes, bytes]:
    """Return the main XMP packet, its extension, and the name that joins them."""
    text = "depth " * 16_000 + "END-OF-EXTENSION"
    extension = builders.xmp(f'xmlns:n="http://example.org/n/" n:tail="{text}"')
    guid = hashlib.md5(extension).hexdigest().upper().encode()
    note = 'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP'
    return builders.xmp(f'{note}="{guid.decode()}"'), extension, guid


def cut_in_the_second_frame() -> bytes:
    """Return a GIF that ends inside of its second frame."""
    frames = [Image.fromarray(np.roll(RAMP, 9 * i, 0)) for i in range(3)]
    whole = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return whole[: len(whole) * 3 // 8]


def outside() -> tuple[int, bytes]:
    """Return a segment of EXIF data with one value outside of them."""
    far = struct.pack("<HHHII", 2, 271, builders.ASCII, 5000, 99999) + struct.pack("<HHIHH", 274, 3, 1, 1, 0) + bytes(4)
    return 0xE1, b"Exif\0\0II*\0\x08\0\0\0" + far


def cmyk(adobe: bool) -> bytes:
    """Return a JPEG of CMYK, with Adobe's marker or without."""
    data = saved(Image.new("CMYK", SIZE, (0, 200, 200, 0)), "JPEG")
    at = data.index(b"\xff\xee")
    return data if adobe else data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def sixteen_bit_colours() -> bytes:
    """Return a BMP of 5, 6 and 5 bits."""
    r, g, b = (RGB[::-1, :, channel].astype(np.uint16) for channel in range(3))
    pixels = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2").tobytes()
    return builders.bmp(pixels, builders.bmp_header(40, *SIZE, 16, 3) + struct.pack("<III", 0xF800, 0x07E0, 0x001F))


ODD_FILES = (
    Odd("palette.png", lambda: saved(picture().quantize(16), "PNG"), "RGB"),
    Odd("palette-clear.png", lambda: saved(picture().quantize(16), "PNG", transparency=3), "RGBA"),
    Odd("palette.gif", lambda: saved(picture(), "GIF"), "RGB"),
    Odd("bits.png", lambda: saved(picture().convert("1"), "PNG"), "L"),
    Odd("bits.tif", lambda: saved(picture().convert("1"), "TIFF", compression="group4"), "L"),
    Odd("grey-alpha.png", lambda: saved(clear().convert("LA"), "PNG"), "LA"),
    Odd("alpha.png", lambda: saved(clear(), "PNG"), "RGBA"),
    Odd("alpha.webp", lambda: saved(clear(), "WEBP"), "RGBA"),
    Odd("alpha.tga", lambda: saved(clear(), "TGA"), "RGBA"),
    Odd("alpha.jp2", lambda: saved(clear(), "JPEG2000"), "RGBA"),
    Odd("deep-grey.png", lambda: saved(grey(picture()), "PNG"), "L", loses="16 bits"),
    Odd("deep-grey.tif", lambda: saved(grey(picture()), "TIFF"), "L", loses="16 bits"),
    Odd("deep.png", deep_rgb, "RGB", (1, 1), loses="16 bits"),
    Odd("cmyk.jpg", lambda: saved(picture().convert("CMYK"), "JPEG"), "RGB"),
    Odd("lab.tif", lambda: saved(Image.new("LAB", (40, 30), (128, 128, 128)), "TIFF"), "RGB"),
    Odd("progressive.jpg", lambda: saved(picture(), "JPEG", progressive=True), "RGB"),
    Odd("interlaced.png", lambda: with_header(saved(Image.new("RGB", (1, 1), "red"), "PNG"), 16, 1), "RGB", (1, 1)),
    Odd("turned.jpg", turned, "RGB", keeps=frozenset({"exif"})),
    Odd("profile.jpg", lambda: saved(picture(), "JPEG", icc_profile=profile()), "RGB", keeps=frozenset({"icc"})),
    Odd("packet.webp", lambda: saved(picture(), "WEBP", xmp=b"<x/>"), "RGB", keeps=frozenset({"xmp"})),
    Odd("one.png", lambda: saved(picture(1, 1), "PNG"), "RGB", (1, 1)),
    Odd("tall.png", lambda: saved(picture(1, 5000), "PNG"), "RGB", (1, 5000)),
    Odd("wide.png", lambda: saved(picture(5000, 1), "PNG"), "RGB", (5000, 1)),
    Odd("animated.gif", lambda: animation("GIF"), "RGB", loses="frame 1 of 2"),
    Odd("animated.webp", lambda: animation("WEBP"), "RGB", loses="frame 1 of 2"),
    Odd("pages.tif", lambda: animation("TIFF"), "RGB", loses="frame 1 of 2"),
    Odd("wrong-name.jpg", lambda: PNG, "RGB"),
    Odd("float.tif", lambda: saved(Image.new("F", (40, 30), 0.5), "TIFF"), refused="no agreed range"),
    Odd("huge.ppm", lambda: b"P6 100000 100000 255\n", refused="the limit is"),
    Odd("huge.png", lambda: with_header(PNG, 4, 127), refused="the limit is"),
    Odd("empty.png", lambda: b"", refused="not a picture"),
    Odd("text.png", lambda: b"once upon a time", refused="not a picture"),
    Odd("cut.png", lambda: PNG[:-60], refused="unreadable picture"),
    Odd("cut.jpg", lambda: JPEG[:-200], refused="unreadable picture"),
    Odd("damaged.png", lambda: PNG[:60] + b"????" + PNG[64:], refused="unreadable picture"),
    Odd("header-only.jpg", lambda: JPEG[:20], refused="not a picture"),
    # EXIF data that describe another file
    Odd("resized-phone.jpg", lambda: builders.jpeg(RGB, builders.exif_segment(RESIZED)), "RGB", SIZE, pixels=RGB),
    # layouts
    Odd("planar-16bit.tif", lambda: planes(DEEP, 16), "RGB", SIZE, loses="16 bits", pixels=RGB),
    Odd("planar-8bit.tif", lambda: planes(RGB, 8), "RGB", SIZE, pixels=RGB),
    Odd(
        "white-is-zero-16bit.tif",
        lambda: tiff(page(65535 - DEEP[..., 0], 16, 0)),
        "L",
        SIZE,
        loses="16 bits",
        pixels=GREY,
    ),
    Odd(
        "grey-12bit.tif",
        lambda: tiff(page(DEEP[..., 0] >> 4, 12)),
        "L",
        SIZE,
        loses="12 bits",
        pixels=GREY,
    ),
    Odd("big.tif", lambda: tiff(page(RGB), big=True), "RGB", SIZE, pixels=RGB),
    Odd("big-endian-big.tif", lambda: tiff(page(RGB), big=True, order=">"), "RGB", SIZE, pixels=RGB),
    Odd(
        "rgb-16bit.ppm",
        lambda: b"P6 64 64 65535\n" + DEEP.astype(">u2").tobytes(),
        "RGB",
        SIZE,
        loses="16 bits",
        pixels=RGB,
    ),
    Odd("colours-565.bmp", sixteen_bit_colours, "RGB", SIZE, pixels=RGB),
    Odd("signed.tif", lambda: tiff(page(GREY, t339=2)), refused="no agreed range"),
    Odd("inks.tif", lambda: tiff(page(np.dstack([RGB, GREY]), 8, 5, t332=2)), refused="supported"),
    # the main picture
    Odd("camera-raw-dng.tif", lambda: raw(t50706=(builders.BYTE, [1, 4, 0, 0])), refused="raw sensor data"),
    Odd("camera-raw-nef.tif", raw, refused="raw sensor data"),
    Odd(
        "thumbnail-first.tif",
        lambda: tiff(page(PREVIEW, t254=1), page(RGB, t254=0)),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    Odd(
        "thumbnail-first-old.tif",
        lambda: tiff(page(PREVIEW, t255=2), page(RGB, t255=1)),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    Odd("main-below.tif", lambda: below(page(PREVIEW, t254=1), page(RGB)), "RGB", SIZE, pixels=RGB),
    Odd(
        "pyramid.tif",
        lambda: tiff(page(RGB), page(PREVIEW, t254=1)),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    # metadata
    Odd(
        "exif-as-text.png",
        lambda: png(RAMP, builders.raw_profile(b"exif", b"Exif\0\0" + builders.exif(CAMERA))),
        "RGB",
        (64, 48),
    ),
    Odd("xmp.gif", lambda: builders.gif(RGB, b"XMP DataXMP", builders.gif_xmp(XMP)), "RGB", SIZE),
    # optional data that cannot be parsed
    Odd(
        "orientation-as-text.tif",
        lambda: tiff(page(RGB, t274=(builders.ASCII, b"1\0"))),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    Odd(
        "large-icc.png",
        lambda: png(RGB, (b"iCCP", b"p\0\0" + zlib.compress(builders.profile("large", 2.2, 1_100_000)))),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    Odd(
        "large-text.png",
        lambda: png(RGB, (b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 220_000))),
        "RGB",
        SIZE,
        pixels=RGB,
    ),
    Odd(
        "damaged-icc.png",
        lambda: png(RGB, (b"iCCP", b"p\0\0?")),
        "RGB",
        SIZE,
        loses="ICC profile is damaged",
        pixels=RGB,
    ),
    Odd("exif-points-outside.jpg", lambda: builders.jpeg(RGB, outside()), "RGB", SIZE, pixels=RGB),
    # colours
    Odd(
        "hdr-pq.png",
        lambda: png(RGB, (b"cICP", bytes([9, 16, 0, 1]))),
        "RGB",
        SIZE,
        loses="9/16/0/1",
        pixels=RGB,
    ),
    # behind the first frame
    Odd(
        "two-layers.psd",
        lambda: builders.psd((0, 200, 0), layers=2),
        "RGB",
        (16, 16),
        pixels=np.full((16, 16, 3), (0, 200, 0)),
    ),
    Odd(
        "next-page-nowhere.tif",
        lambda: tiff(page(RGB), after=0xFFFFFFF0),
        "RGB",
        SIZE,
        loses="a page after the first",
        pixels=RGB,
    ),
    # open questions
    Odd("no-end-marker.jpg", lambda: builders.jpeg(RGB)[:-2], refused="truncated"),
    Odd("cmyk-without-adobe.jpg", lambda: cmyk(adobe=False), "RGB", SIZE, loses="Adobe's marker"),
)


def make_folder(folder: Path) -> None:
    """Write all odd files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for odd in ODD_FILES:
        (folder / odd.name).write_bytes(odd.make())


if __name__ == "__main__":
    make_folder(Path(sys.argv[1]))
