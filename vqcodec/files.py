"""Whole files in, whole files out: system errors get our names, and no output is ever half there.

It knows no formats of its own: what is written are bytes, or a picture that Pillow turns into bytes.
"""

import contextlib
import io
import os
import secrets
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from PIL import Image

from vqcodec import metadata
from vqcodec.errors import MissingFile, UnknownFormat, UnreadableFile, UnwritableFile, VqcError, VqcWarning

AnyPath: TypeAlias = str | os.PathLike[str]

_OURS = "VQC"
"""The name of our own format where the plugin has told Pillow of it: neither a picture to encode nor to decode to."""
_NOT_PICTURES = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "WMF", _OURS})
"""Formats that Pillow recognises only to hand them on."""
_ICONS = frozenset({"ICO", "ICNS"})
"""Formats whose writers make pictures of other sizes."""
_WITH_ALPHA = frozenset({"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA"})
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Pillow's 75 would add more loss than our stream did
    **{format: {"quality": 95, "subsampling": 0} for format in ("JPEG", "MPO", "PDF")},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
}


def open_binary(path: AnyPath) -> BinaryIO:
    """The file, open for reading."""
    try:
        return open(path, "rb")
    except ValueError as error:
        raise UnreadableFile(f"not a name that a file could have: {error}") from error
    except FileNotFoundError as error:
        raise MissingFile(_cause(error)) from error
    except OSError as error:
        raise UnreadableFile(_cause(error)) from error


def read_bytes(path: AnyPath) -> bytes:
    """All bytes of the file."""
    with open_binary(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise UnreadableFile(_cause(error)) from error


@contextlib.contextmanager
def atomic_file(path: AnyPath) -> Iterator[BinaryIO]:
    """A file to write, which is there whole at the end or not at all: a temporary one beside it, synced, then renamed.

    The temporary file is hidden, ``.vqcodec-*.tmp``.  Only a process that is killed leaves one behind; it is in the
    way of nobody and may be deleted.

    A symbolic link stays one and its target is replaced.  What is not a regular file (a device, a pipe) is
    written in place, for it must not be replaced.
    """
    try:
        target = Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte
        raise UnwritableFile(str(error)) from error
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            with open(target, "wb") as file:
                yield file
            return
        temporary = target.with_name(f".vqcodec-{secrets.token_hex(8)}.tmp")
        try:
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
            # With the mode that the umask gives new files, or that of the file which is replaced.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                if mode is not None:
                    temporary.chmod(mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except BaseException:  # an interrupt, too, must leave nothing behind
            temporary.unlink(missing_ok=True)
            raise
    except VqcError:  # some are an OSError, too
        raise
    except OSError as error:
        raise UnwritableFile(_cause(error)) from error


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Write all of an :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def picture_format(name: str) -> str:
    """Pillow's name of the format that a suffix or a name means: ``.jpg`` and ``jpeg`` are ``JPEG``."""
    bare = name.removeprefix(".")
    format = Image.registered_extensions().get(f".{bare.lower()}", bare.upper())
    if format not in Image.SAVE.keys() - _ICONS or format == _OURS:
        raise UnknownFormat(f"no picture format is called '{bare}'" if bare else "no suffix names a picture format")
    return format


def suffix_for(name: str) -> str:
    """What to call files of the format that a suffix or a name means: that suffix, or else its usual one.

    Raises :class:`UnknownFormat`.
    """
    format = picture_format(name)
    suffix = f".{name.removeprefix('.').lower()}"
    return suffix if suffix in Image.registered_extensions() else suffix_of(format)


def suffix_of(format: str) -> str:
    """The suffix that files of a Pillow format usually have."""
    usual = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "PPM": ".ppm"}
    return usual.get(format, f".{format.lower()}")


def picture_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the picture files that Pillow reads."""
    formats = Image.registered_extensions()
    return frozenset(suffix for suffix, format in formats.items() if format in set(Image.OPEN) - _NOT_PICTURES)


def image_bytes(image: Image.Image, format: str) -> bytes:
    """The picture as a file of a Pillow format (see :func:`picture_format`), with its metadata as far as they go there.

    A format without alpha gets the picture on white, with a :class:`VqcWarning`.
    """
    if image.has_transparency_data and format not in _WITH_ALPHA:
        if image.getchannel("A").getextrema() != (255, 255):
            warnings.warn(f"{format} holds no alpha: the picture is put on white", VqcWarning, stacklevel=2)
        image = _on_white(image)
    if format == "GIF" and image.mode == "RGB":
        warnings.warn("GIF holds 256 colours only", VqcWarning, stacklevel=2)
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **_SAVE_OPTIONS.get(format, {}), **metadata.save_options(image, format))
    except MemoryError:
        raise
    except Exception as error:  # each of Pillow's writers has its own
        raise UnwritableFile(f"cannot be written as {format}: {error}") from error
    return buffer.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """``LA`` -> ``L``, ``RGBA`` -> ``RGB``, with the same ``info``."""
    colour, alpha = image.convert(image.mode.removesuffix("A")), image.getchannel("A")
    white = Image.new(colour.mode, colour.size, "white")
    white.paste(colour, mask=alpha)
    white.info = image.info
    return white


def save_image_atomically(image: Image.Image, path: AnyPath, format: str) -> None:
    """:func:`image_bytes`, written with :func:`write_atomically`."""
    write_atomically(path, image_bytes(image, format))


def _sync_folder(path: Path) -> None:
    """Wait until the folder's names are on disk, where folders can be opened and synced: so that a rename lasts."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cause(error: OSError) -> str:
    """What happened, without the file name that ``str(error)`` would add."""
    return error.strerror or str(error)
