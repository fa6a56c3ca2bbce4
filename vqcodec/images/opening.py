"""Open a picture file: look into it, and let Pillow identify and decode it."""

import struct
from collections.abc import Callable
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

from vqcodec.errors import InvalidImage
from vqcodec.images.containers import boxes, jpeg, others, png, tiff
from vqcodec.images.containers.contents import Contents, Notes

_PREFIX = 512
FORMATS_OF_DOUBT = frozenset({"FITS", "IMT", "IPTC", "MCIDAS", "PCD", "PIXAR", "XVTHUMB"})
"""Formats whose samples Pillow does not scale as their headers say, or whose readers nobody has checked."""
_WHOLE: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Contents]], ...] = (
    (lambda head: head.startswith(png.SIGNATURE), png.examine),
    (lambda head: head.startswith(jpeg.SIGNATURE), jpeg.examine),
    (lambda head: head.startswith(tiff.SIGNATURES), tiff.examine),
    (lambda head: head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1", b"msf1"), boxes.examine_avif),
    (lambda head: head.startswith((boxes.JP2_SIGNATURE, boxes.J2K_SIGNATURE)), boxes.examine_jp2),
    (lambda head: head.startswith((b"GIF87a", b"GIF89a")), others.examine_gif),
    (lambda head: head.startswith(b"BM"), others.examine_bmp),
    (lambda head: head.startswith(b"8BPS"), others.examine_psd),
)
"""Formats that are read whole: a test of the first bytes, and what looks into the file."""
_HEADS: tuple[tuple[Callable[[bytes], bool], Callable[[IO[bytes], bytes], Contents]], ...] = (
    (lambda head: head.startswith(b"qoif"), others.examine_qoi),
    (lambda head: head[:1] == b"P" and head[1:2] in b"123456", others.examine_pnm),
    (lambda head: head.startswith(b"\1\xda"), others.examine_sgi),
)


def examine(file: IO[bytes]) -> Contents:
    """Look into a picture file that begins at the file's position 0."""
    prefix = file.read(_PREFIX)
    file.seek(0)
    for matches, look in _WHOLE:
        if matches(prefix):
            return look(file.read())
    for matches, look_at_head in _HEADS:
        if matches(prefix):
            return look_at_head(file, prefix)
    return Contents(file, Notes())


def check_format(image: Image.Image, contents: Contents) -> None:
    """Raise :class:`InvalidImage` for a format whose pixels are not known to be right."""
    if image.format in FORMATS_OF_DOUBT:
        raise InvalidImage(f"pictures in the format {image.format} are not supported")
    if image.format == "DDS" and str(getattr(image, "pixel_format", "")).startswith("BC6"):
        raise InvalidImage("floating-point pixels have no agreed range")
    if (
        image.format == "TGA"
        and any(";15" in str(tile) for tile in getattr(image, "tile", ()))
        and image.mode == "RGBA"
    ):
        contents.opaque = True
        contents.notes.lose("the attribute bit of 16-bit TGA, which has no agreed meaning, is not kept")


def open_by_pillow(file: IO[bytes]) -> ImageFile.ImageFile:
    """Open a file as ``Image.open`` does, but without its limit on pixels, which is one for the whole process.

    Raises :class:`PIL.UnidentifiedImageError`, and whatever Pillow's readers raise on damaged files.
    """
    file.seek(0)
    prefix = file.read(16)
    tried = set[str]()
    for load in (Image.preinit, Image.init):
        load()
        for name in Image.ID:
            factory, accept = Image.OPEN[name]
            if name in tried:
                continue
            tried.add(name)
            try:
                accepted = accept is None or accept(prefix)
                if accepted and not isinstance(accepted, str):
                    file.seek(0)
                    return factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # not this format after all
                continue
    raise UnidentifiedImageError("not a picture")
