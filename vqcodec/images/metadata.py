"""Read ICC profile, EXIF and XMP from Pillow's images, and pass them to Pillow's writers.

They are kept byte for byte and never interpreted, but for the EXIF tags that would describe the pixels of a TIFF.
``stream/metadata.py`` stores them in a stream; :mod:`vqcodec.images.containers` reads them from files.
"""

from dataclasses import replace
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from vqcodec.images import exif, ifd
from vqcodec.images.containers import jpeg, png
from vqcodec.images.containers.contents import Notes
from vqcodec.images.modes import Remark, warn
from vqcodec.stream.metadata import Metadata

NOT_IN_INFO = frozenset({"BMP", "GIF", "JPEG2000", "PSD"})
"""Formats whose metadata Pillow's readers leave out."""
_HOLDERS = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "AVIF"})
_JPEG_SEGMENT = 65_000
"""Bytes of EXIF or XMP that fit into a JPEG segment beside their identifiers."""
_JPEG_PROFILE = 255 * 65_519
"""Bytes of a profile that fit into the segments of a JPEG, whose numbers have 8 bits."""
_LABELS = {"icc_profile": "ICC profile", "exif": "EXIF data", "xmp": "XMP data"}
"""Names in ``image.info``, and how messages call them."""


def from_image(image: Image.Image, notes: Notes | None = None) -> Metadata:
    """Return the metadata in ``image.info`` and, of a TIFF, in its tags; what is lost goes to ``notes``."""
    notes = Notes() if notes is None else notes
    info = image.info
    found = Metadata(
        icc=_to_bytes(info.get("icc_profile")),
        exif=_to_bytes(info.get("exif")).removeprefix(exif.PREFIX),
        xmp=_to_bytes(info.get("xmp")),
    )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        found = replace(found, exif=_exif_of_tiff(image, notes))
    elif not found.exif and isinstance(text := info.get("Raw profile type exif"), str):
        found = replace(found, exif=(png.from_hexadecimal(text.encode()) or b"").removeprefix(exif.PREFIX))
    if jpeg.EXTENDED in found.xmp:
        notes.lose("the second part of the XMP data (extended XMP) is not in the PIL image", "xmp")
    return found


def attach(image: Image.Image, metadata: Metadata) -> None:
    """Put metadata into ``image.info`` under the names of Pillow's readers.  The inverse of :func:`from_image`."""
    if metadata.icc:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif:
        image.info["exif"] = exif.PREFIX + metadata.exif
    if metadata.xmp:
        image.info["xmp"] = metadata.xmp


def save_options(image: Image.Image, format: str) -> dict[str, Any]:
    """Return the arguments of ``image.save`` that make a file of this Pillow format hold the image's metadata.

    What the format cannot hold, or what is too long for JPEG, is left out with a remark.  EXIF and XMP of a TIFF are no
    arguments: see :func:`finish`.
    """
    info, options = dict(image.info), dict[str, Any]()
    if format not in _HOLDERS:
        if lost := ", ".join(label for name, label in _LABELS.items() if info.get(name)):
            warn(Remark(f"{format} cannot hold the {lost}"))
        return options
    if format == "JPEG":
        for name, most in (("exif", _JPEG_SEGMENT), ("xmp", _JPEG_SEGMENT), ("icc_profile", _JPEG_PROFILE)):
            if len(info.get(name, b"")) > most:
                warn(Remark(f"the {_LABELS[name]} is too long for JPEG and is left out"))
                del info[name]
    if format == "AVIF" and "exif" in info and not exif.is_intact(info["exif"].removeprefix(exif.PREFIX)):
        warn(Remark(f"damaged EXIF data is left out: {format} cannot hold it"))
        del info["exif"]
    if info.get("icc_profile"):
        options["icc_profile"] = info["icc_profile"]
    if format == "TIFF":
        return options
    if (xmp := info.get("xmp")) and format == "PNG":
        text = xmp.decode("utf-8", "replace")
        if text.encode() != xmp or "\0" in text:
            warn(Remark("the XMP data is no text in UTF-8 and is changed: PNG holds nothing else"))
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    elif xmp:
        options["xmp"] = xmp
    if info.get("exif"):
        options["exif"] = _AvifExif(info["exif"].removeprefix(exif.PREFIX)) if format == "AVIF" else info["exif"]
    return options


def finish(file: bytes, image: Image.Image, format: str) -> bytes:
    """Return the file that Pillow wrote with the metadata that its writer does not take as they are."""
    exif_data, xmp = image.info.get("exif", b"").removeprefix(exif.PREFIX), image.info.get("xmp", b"")
    if format != "TIFF" or not (exif_data or xmp):
        return file
    try:
        file, lost = exif.into_tiff(file, exif_data, xmp)
    except ifd.BrokenDirectory:
        warn(Remark(f"damaged EXIF data is left out: {format} cannot hold it"))
        return exif.into_tiff(file, b"", xmp)[0]
    for tag in lost:
        if not exif.describes_pixels(tag):
            warn(Remark(f"EXIF tag {tag} is damaged and is left out: {format} cannot hold it"))
    return file


class _AvifExif(Image.Exif):
    """EXIF data that Pillow's writer of AVIF passes on as they are.

    It makes a property of the orientation, and would write the other tags anew.  The orientation stays in the data,
    too, as in the files of phones: readers ignore it there (ISO/IEC 23008-12), and Pillow's own reader does not write
    the tags anew, which would fail for odd ones.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._all = data
        if (turned := exif.orientation(data)) != 1:
            self[ExifTags.Base.Orientation] = turned

    def __bool__(self) -> bool:
        return True

    def tobytes(self, offset: int = 8) -> bytes:
        """Return all data."""
        return self._all


def _exif_of_tiff(image: TiffImagePlugin.TiffImageFile, notes: Notes) -> bytes:
    """Return a TIFF's directory as EXIF data, without the tags that describe how it stores its pixels."""
    try:
        tags, _ = ifd.read_tree(image.getexif().tobytes().removeprefix(exif.PREFIX))
    except Exception:  # whatever Pillow raises for a tag that it cannot write
        notes.lose("the EXIF data cannot be written by Pillow; encode the file to keep it", "exif")
        return b""
    return exif.from_tags(tags, "<")


def _to_bytes(value: object) -> bytes:
    """Convert to bytes: Pillow's readers give ``str``, ``bytes`` or ``bytearray``."""
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray) else b""
