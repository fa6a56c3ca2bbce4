"""File, PIL image or array -> :class:`Picture` -> PIL image.

Everything about colour and file formats ends here: behind this module a picture is 8-bit RGB and a layout
that says what to give back.  It knows nothing of tensors, padding or tiles.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from vqcodec.bitstream import MAX_EDGE, Layout
from vqcodec.errors import ImageTooLarge, InvalidImage, VqcError
from vqcodec.files import open_binary

MAX_PIXELS = 89_478_485
"""Default limit, the same as Pillow's: a quarter of a gigabyte of RGB."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | Pixels

_GREY_MODES = ("1", "L", "LA", "La")
_changing_pillows_limit = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """``pixels``: ``(H, W, 3) uint8``, contiguous, its own copy.  A grey picture has three equal channels."""

    pixels: Pixels
    layout: Layout


def read_picture(source: Source, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file, a PIL image or an array ``(H, W)`` or ``(H, W, 1 | 3 | 4)``.

    More than ``max_pixels`` pixels are refused before any is decoded; 0 lifts the limit, which replaces
    Pillow's own.  Of an animation the first frame is taken.  EXIF orientation is not applied.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), max_pixels)
    if isinstance(source, Image.Image):
        return _convert(source, max_pixels)
    if isinstance(source, str | os.PathLike):
        with open_binary(source) as file:
            return _decode(file, max_pixels)
    return _decode(source, max_pixels)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise :class:`ImageTooLarge` for more than ``max_pixels`` pixels; 0 lifts the limit."""
    if max_pixels and width * height > max_pixels:
        raise ImageTooLarge(f"{width}x{height} are {width * height} pixels, {max_pixels} are allowed")


def to_pil(pixels: Pixels, layout: Layout) -> Image.Image:
    """Inverse of :func:`read_picture`: mode ``RGB``, or ``L`` with the rounded mean of the three channels."""
    if layout is Layout.GREY:
        pixels = ((pixels.sum(axis=2, dtype=np.uint16) + 1) // 3).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _decode(file: BinaryIO, max_pixels: int) -> Picture:
    with _pillow_errors():
        with _pillow_allows(max_pixels):
            image = Image.open(file)  # reads the size, not yet the pixels
        with image:
            return _convert(image, max_pixels)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise InvalidImage(f"array of {array.dtype}, not uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InvalidImage(f"array of shape {array.shape}, not (H, W) or (H, W, 1, 3 or 4)")
    if 0 in array.shape:
        raise InvalidImage(f"array of shape {array.shape} has no pixels")
    return Image.fromarray(array)


def _convert(image: Image.Image, max_pixels: int) -> Picture:
    """Any mode of Pillow to 8-bit grey or RGB, loading the pixels first if they are still in their file."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImage(f"a picture of {width}x{height} has no pixels")
    check_size(width, height, max_pixels)
    if max(width, height) > MAX_EDGE:
        raise ImageTooLarge(f"{width}x{height} pixels, the format allows edges of {MAX_EDGE}")
    with _pillow_errors():
        image.load()
        grey = image.mode in _GREY_MODES
        if image.mode.startswith("I"):
            image, grey = _from_16_bits(image), True
        elif image.mode == "F":
            raise InvalidImage("floating-point pixels have no agreed range")
        elif image.has_transparency_data:
            image = image.convert("LA" if grey else "RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                raise InvalidImage("transparency is not supported yet")
        if grey:
            return Picture(np.array(image.convert("L").convert("RGB")), Layout.GREY)
        return Picture(np.array(image.convert("RGB")), Layout.RGB)


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would clip, scaled to 8.  Some readers deliver it in mode ``I``."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InvalidImage("integer pixels outside of 0 to 65535 have no agreed range")
    if (values == image.info.get("transparency", -1)).any():
        raise InvalidImage("transparency is not supported yet")
    return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Whatever Pillow's many readers raise on damaged files, as ours."""
    try:
        yield
    except (VqcError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InvalidImage("not a picture in a format that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("more pixels than allowed") from error
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InvalidImage(f"unreadable picture: {cause}") from error


@contextmanager
def _pillow_allows(max_pixels: int) -> Iterator[None]:
    """Keep Pillow from objecting to what the caller allows.

    Its limit is a global of the whole process, so it is touched only for a caller who asks for more, and only
    while the header of a file is read.
    """
    with _changing_pillows_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and not 0 < max_pixels <= limit:
            Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
