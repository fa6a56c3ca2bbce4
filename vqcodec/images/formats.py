"""Picture formats of Pillow: their names and suffixes, and a picture as a file of one."""

import io
from typing import Any

from PIL import Image

from vqcodec.errors import UnknownFormat, UnwritableFile
from vqcodec.files import AnyPath, write_atomically
from vqcodec.images import metadata
from vqcodec.images.modes import Remark, warn
from vqcodec.images.opening import FORMATS_OF_DOUBT

_OURS = "VQC"
"""The plugin's own format: no input of encoding and no output of decoding."""


_NOT_PICTURES = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "WMF", _OURS})
"""Formats that Pillow recognises but cannot decode by itself, and our own."""


_ICONS = frozenset({"ICO", "ICNS"})
"""Formats whose writers change the size of the picture."""


_WITH_ALPHA = frozenset({"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA"})


_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Pillow's default quality of 75 would lose more than the stream did
    **{format: {"quality": 95, "subsampling": 0} for format in ("JPEG", "MPO", "PDF")},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
}


def picture_format(name: str) -> str:
    """Pillow's name of the format that a suffix or a name means: ``.jpg`` and ``jpeg`` are ``JPEG``."""
    bare = name.removeprefix(".")
    format = Image.registered_extensions().get(f".{bare.lower()}", bare.upper())
    if format not in Image.SAVE.keys() - _ICONS or format == _OURS:
        raise UnknownFormat(f"no picture format is called '{bare}'" if bare else "no suffix names a picture format")
    return format


def suffix_for(name: str) -> str:
    """Return the suffix for files of a format, given a suffix or a name: the given suffix if it is one.

    Raises :class:`UnknownFormat`.
    """
    format = picture_format(name)
    suffix = f".{name.removeprefix('.').lower()}"
    return suffix if suffix in Image.registered_extensions() else suffix_of(format)


def suffix_of(format: str) -> str:
    """Return the usual suffix of a Pillow format."""
    usual = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "PPM": ".ppm"}
    return usual.get(format, f".{format.lower()}")


def picture_suffixes() -> frozenset[str]:
    """Return the lower-case suffixes of the picture files that Pillow reads."""
    formats = Image.registered_extensions()
    read = set(Image.OPEN) - _NOT_PICTURES - FORMATS_OF_DOUBT
    return frozenset(suffix for suffix, format in formats.items() if format in read)


def image_bytes(image: Image.Image, format: str) -> bytes:
    """Return the picture as a file of a Pillow format (see :func:`picture_format`), with the metadata that it can hold.

    What it cannot hold is left out with a :class:`VqcWarning`; alpha is composited over white.

    Raises:
        UnwritableFile: Pillow cannot write the picture in this format.
    """
    if image.has_transparency_data and format not in _WITH_ALPHA:
        if image.getchannel("A").getextrema() != (255, 255):
            warn(Remark(f"{format} cannot hold alpha: the picture is composited over white"))
        image = _on_white(image)
    if format == "GIF" and image.mode == "RGB":
        warn(Remark("GIF can hold only 256 colours"))
    options = metadata.save_options(image, format)
    return metadata.finish(_saved_somehow(image, format, options), image, format)


def _saved_somehow(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    """Save with the metadata in ``options``, or with as many of them as Pillow can write."""
    try:
        return _saved(image, format, options)
    except UnwritableFile:
        plain = _saved(image, format, {})  # raises where the metadata are not to blame
    for name in list(options):
        try:
            _saved(image, format, {name: options[name]})
        except UnwritableFile as error:
            warn(Remark(f"metadata is left out ({name}): {error}"))
            del options[name]
    return _saved(image, format, options) if options else plain


def _saved(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **_SAVE_OPTIONS.get(format, {}), **options)
    except MemoryError:
        raise
    except Exception as error:  # each of Pillow's writers raises its own
        raise UnwritableFile(f"cannot write {format}: {error}") from error
    return buffer.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """Composite ``LA`` to ``L`` or ``RGBA`` to ``RGB`` over white; ``info`` is kept."""
    colour, alpha = image.convert(image.mode.removesuffix("A")), image.getchannel("A")
    white = Image.new(colour.mode, colour.size, "white")
    white.paste(colour, mask=alpha)
    white.info = image.info
    return white


def save_image_atomically(image: Image.Image, path: AnyPath, format: str) -> None:
    """:func:`image_bytes`, written with :func:`write_atomically`."""
    write_atomically(path, image_bytes(image, format))
