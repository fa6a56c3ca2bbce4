"""Write a folder of odd picture files: ``python -m tests.support.odd_files FOLDER``.

Each file names its expected outcome: a mode and a size, or a refusal.
"""

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms


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
)


def make_folder(folder: Path) -> None:
    """Write all odd files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for odd in ODD_FILES:
        (folder / odd.name).write_bytes(odd.make())


if __name__ == "__main__":
    make_folder(Path(sys.argv[1]))
