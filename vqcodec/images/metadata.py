"""Read ICC profile, EXIF and XMP from Pillow's images, and pass them to Pillow's writers.

They are kept byte for byte and never interpreted.  ``stream/metadata.py`` stores them in a stream.
"""

import warnings
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from vqcodec.errors import VqcWarning
from vqcodec.stream.metadata import Metadata

_HOLDERS = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "AVIF"})
_EXIF_READERS = frozenset({"TIFF", "AVIF"})
"""Formats whose writers in Pillow parse EXIF data, and fail where it is damaged."""
_JPEG_SEGMENT = 65_000
"""Bytes of EXIF or XMP that fit into a JPEG segment beside their identifiers."""
_EXIF_PREFIX = b"Exif\0\0"
_LABELS = {"icc_profile": "ICC profile", "exif": "EXIF data", "xmp": "XMP data"}
"""Names in ``image.info``, and how messages call them."""
_TIFF_PIXEL_TAGS = frozenset(
    {*range(254, 260), 262, 263, 266, 273, 274, *range(277, 282), 284, *range(288, 294), 297, 301, 317}
    | {*range(320, 326), 330, 332, *range(338, 348), *range(512, 522), *range(529, 533), 700, 34675}
)
"""TIFF tags on how a file stores its pixels, ICC profile and XMP, and the orientation, which Pillow applies."""


def from_image(image: Image.Image) -> Metadata:
    """Return the metadata that Pillow read from the image's file."""
    info = image.info
    exif = info.get("exif") or b""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        exif = _exif_of_tiff(image)
    return Metadata(
        icc=_to_bytes(info.get("icc_profile")),
        exif=_to_bytes(exif).removeprefix(_EXIF_PREFIX),
        xmp=_to_bytes(info.get("xmp")),
    )


def attach(image: Image.Image, metadata: Metadata) -> None:
    """Put metadata into ``image.info`` under the names of Pillow's readers.  The inverse of :func:`from_image`."""
    if metadata.icc:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif:
        image.info["exif"] = _EXIF_PREFIX + metadata.exif
    if metadata.xmp:
        image.info["xmp"] = metadata.xmp


def save_options(image: Image.Image, format: str) -> dict[str, Any]:
    """Return the arguments of ``image.save`` that make a file of this Pillow format hold the image's metadata.

    What the format cannot hold, or what is too long for JPEG, is left out with a :class:`VqcWarning`.
    """
    info, options = dict(image.info), dict[str, Any]()
    if format not in _HOLDERS:
        if lost := ", ".join(label for name, label in _LABELS.items() if info.get(name)):
            warnings.warn(f"{format} cannot hold the {lost}", VqcWarning, stacklevel=3)
        return options
    if format == "JPEG":
        for name in ("exif", "xmp"):
            if len(info.get(name, b"")) > _JPEG_SEGMENT:
                warnings.warn(f"the {_LABELS[name]} is too long for JPEG and is left out", VqcWarning, stacklevel=3)
                del info[name]
    if format in _EXIF_READERS and "exif" in info and not _is_intact(info["exif"]):
        warnings.warn(f"damaged EXIF data is left out: {format} cannot hold it", VqcWarning, stacklevel=3)
        del info["exif"]
    exif, xmp = info.get("exif", b""), info.get("xmp", b"")
    if "icc_profile" in info:
        options["icc_profile"] = info["icc_profile"]
    if format == "PNG" and xmp:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    elif format == "TIFF" and xmp:
        tags = Image.Exif()
        tags.load(exif)
        tags[ExifTags.Base.XMLPacket] = xmp
        exif = tags
    elif xmp:
        options["xmp"] = xmp
    if exif:
        options["exif"] = exif
    return options


def _is_intact(exif: bytes) -> bool:
    """Return whether Pillow can parse EXIF data."""
    try:
        Image.Exif().load(exif)
    except Exception:  # whatever its readers of TIFF run into
        return False
    return True


def _exif_of_tiff(image: TiffImagePlugin.TiffImageFile) -> bytes:
    """Return a TIFF's directory as EXIF data, without the tags that describe how it stores its pixels."""
    exif = Image.Exif()
    exif.load(image.getexif().tobytes())
    for tag in _TIFF_PIXEL_TAGS & set(exif):
        del exif[tag]
    return exif.tobytes() if len(exif) else b""


def _to_bytes(value: object) -> bytes:
    """Convert to bytes: Pillow's readers give ``str``, ``bytes`` or ``bytearray``."""
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray) else b""
