"""What travels beside the pixels: ICC profile, EXIF and XMP, between Pillow and the stream's sections.

They are opaque bytes: compressed, kept and given back, never interpreted.
"""

import dataclasses
import warnings
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from vqcodec.bitstream import Section, SectionKind
from vqcodec.errors import MalformedStream, VqcWarning

MAX_BYTES = 64 << 20
"""Sections that would unpack to more are refused."""

_HOLDERS = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "AVIF"})
_EXIF_READERS = frozenset({"TIFF", "AVIF"})
"""Those whose writers in Pillow look into EXIF data, and fail where it is damaged."""
_JPEG_SEGMENT = 65_000
"""A little less than what a JPEG's segment holds, so that the names before the data fit, too."""
_EXIF_PREFIX = b"Exif\0\0"
_KINDS = {"icc": SectionKind.ICC, "exif": SectionKind.EXIF, "xmp": SectionKind.XMP}
_SPOKEN = {"icc_profile": "ICC profile", "exif": "EXIF data", "xmp": "XMP data"}
"""Names in ``image.info`` -> what people call it."""
_RAW_DEFLATE = -zlib.MAX_WBITS  # no header and no checksum: sections have their own
_ABOUT_A_TIFFS_PIXELS = frozenset(
    {*range(254, 260), 262, 263, 266, 273, 274, *range(277, 282), 284, *range(288, 294), 297, 301, 317}
    | {*range(320, 326), 330, 332, *range(338, 348), *range(512, 522), *range(529, 533), 700, 34675}
)
"""TIFF tags on how a file stores its pixels, ICC profile and XMP, and the orientation, which Pillow applies."""


@dataclass(frozen=True)
class Metadata:
    """Raw bytes of each kind, empty where there is none."""

    icc: bytes = b""
    exif: bytes = b""
    """From the TIFF header on, without the prefix that JPEG puts before it."""
    xmp: bytes = b""

    def only(self, kinds: Collection[str]) -> "Metadata":
        """Without the kinds that are not named."""
        return dataclasses.replace(self, **{kind: b"" for kind in ALL if kind not in kinds})


NONE = Metadata()
ALL: tuple[str, ...] = tuple(_KINDS)
"""The kinds of metadata by name."""


def from_image(image: Image.Image) -> Metadata:
    """What Pillow found in the image's file."""
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
    """Inverse of :func:`from_image`: into ``image.info``, under the names that Pillow's own readers use."""
    if metadata.icc:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif:
        image.info["exif"] = _EXIF_PREFIX + metadata.exif
    if metadata.xmp:
        image.info["xmp"] = metadata.xmp


def save_options(image: Image.Image, format: str) -> dict[str, Any]:
    """What to pass to ``image.save`` so that a file of this Pillow format holds the image's metadata.

    What a format does not hold, or what is too long for JPEG, is left out with a :class:`VqcWarning`.
    """
    info, options = dict(image.info), dict[str, Any]()
    if format not in _HOLDERS:
        if lost := ", ".join(spoken for name, spoken in _SPOKEN.items() if info.get(name)):
            warnings.warn(f"{format} holds no {lost}", VqcWarning, stacklevel=3)
        return options
    if format == "JPEG":
        for name in ("exif", "xmp"):
            if len(info.get(name, b"")) > _JPEG_SEGMENT:
                warnings.warn(f"JPEG holds no {_SPOKEN[name]} of that length", VqcWarning, stacklevel=3)
                del info[name]
    if format in _EXIF_READERS and "exif" in info and not _is_intact(info["exif"]):
        warnings.warn(f"{format} holds no damaged EXIF data", VqcWarning, stacklevel=3)
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
    """Whether Pillow can read it, however little is in it."""
    try:
        Image.Exif().load(exif)
    except Exception:  # whatever its readers of TIFF run into
        return False
    return True


def write_metadata(metadata: Metadata) -> list[Section]:
    """The sections that hold it, in the order of the format; none for what is empty."""
    return [
        Section(kind, 0, _compress(content)) for name, kind in _KINDS.items() if (content := getattr(metadata, name))
    ]


def read_metadata(sections: Sequence[Section]) -> Metadata:
    """Inverse of :func:`write_metadata`; other sections are passed over."""
    payloads = {section.kind: section.payload for section in sections}
    return Metadata(**{name: _decompress(payloads[kind], name) for name, kind in _KINDS.items() if kind in payloads})


def _compress(content: bytes) -> bytes:
    packer = zlib.compressobj(level=9, wbits=_RAW_DEFLATE)
    return packer.compress(content) + packer.flush()


def _decompress(payload: bytes, name: str) -> bytes:
    unpacker = zlib.decompressobj(_RAW_DEFLATE)
    try:
        content = unpacker.decompress(payload, MAX_BYTES)
    except zlib.error as error:
        raise MalformedStream(f"section '{name}' cannot be decompressed") from error
    if unpacker.unconsumed_tail:
        raise MalformedStream(f"section '{name}' unpacks to more than {MAX_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedStream(f"section '{name}' does not end where its compressed data end")
    return content


def _exif_of_tiff(image: TiffImagePlugin.TiffImageFile) -> bytes:
    """A TIFF's own directory is its EXIF: all of it that is not about how the file stores its pixels."""
    exif = Image.Exif()
    exif.load(image.getexif().tobytes())
    for tag in _ABOUT_A_TIFFS_PIXELS & set(exif):
        del exif[tag]
    return exif.tobytes() if len(exif) else b""


def _to_bytes(value: object) -> bytes:
    """Pillow's readers disagree on the type."""
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray) else b""
