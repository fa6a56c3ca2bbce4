"""Read a :class:`Picture` from a file, a PIL image or an array, and convert it back to a PIL image.

A picture is 8-bit RGB, a layout that says which planes to give back, an alpha plane and metadata.  ``modes.py``
converts Pillow's modes; ``metadata.py`` carries ICC profile, EXIF and XMP.  Tensors, padding and tiles belong to
``codec/``.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from vqcodec import defaults
from vqcodec.errors import ImageTooLarge, InvalidImage, LossRefused, VqcError
from vqcodec.files import open_binary
from vqcodec.images import metadata
from vqcodec.images.modes import SIXTEEN_BITS, Planes, Remark, Say, split, to_srgb
from vqcodec.stream.container import MAX_EDGE, Layout
from vqcodec.stream.metadata import METADATA_KINDS, NO_METADATA, Metadata

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | Pixels

_STRIP = 256
"""Number of rows that are converted at once."""

_changing_pillows_limit = threading.Lock()


@dataclass(frozen=True)
class ReadOptions:
    """Which parts of a picture to keep; by default all.  Raises :class:`InvalidImage` for unknown values."""

    alpha: Literal["keep", "drop", "blend"] = "keep"
    """``drop`` keeps the colours under transparent pixels, ``blend`` composites them over ``background``."""
    background: str = "white"
    """A colour as ``PIL.ImageColor`` reads it."""
    metadata: frozenset[str] = frozenset(METADATA_KINDS)
    """A subset of ``icc``, ``exif`` and ``xmp``.  Without ``icc`` the colours are converted to sRGB."""
    auto_orient: bool = False
    """Apply the EXIF orientation to the pixels and remove it from the metadata."""
    strict: bool = False
    """Raise :class:`LossRefused` where something would be lost, instead of a remark."""

    def __post_init__(self) -> None:
        if self.alpha not in ("keep", "drop", "blend"):
            raise InvalidImage(f"alpha must be 'keep', 'drop' or 'blend', not {self.alpha!r}")
        if unknown := sorted(set(self.metadata) - set(METADATA_KINDS)):
            raise InvalidImage(f"unknown metadata {', '.join(unknown)}: known are {', '.join(METADATA_KINDS)}")
        try:
            known = max(ImageColor.getrgb(self.background)) <= 255
        except (ValueError, AttributeError, TypeError):
            known = False
        if not known:
            raise InvalidImage(f"unknown colour {self.background!r}")


AS_IS = ReadOptions()


@dataclass(frozen=True)
class Picture:
    """A picture in memory.

    ``pixels`` is ``(H, W, 3) uint8``, contiguous and owned; the three channels of a grey picture are equal.  ``alpha``
    is ``(H, W) uint8`` if the layout has alpha.
    """

    pixels: Pixels
    layout: Layout
    alpha: Pixels | None = None
    metadata: Metadata = NO_METADATA
    remarks: tuple[Remark, ...] = ()
    """Notes on each thing that could not be kept unchanged."""


def read_picture(source: Source, max_pixels: int = defaults.MAX_PIXELS, options: ReadOptions = AS_IS) -> Picture:
    """Read a picture from a path, a binary file, a PIL image or an array ``(H, W)`` or ``(H, W, 1 | 3 | 4)``.

    Pictures with more than ``max_pixels`` pixels are refused before they are decoded; 0 lifts the limit.  It replaces
    Pillow's own.  An animation gives its first frame, or the current frame of a PIL image.

    Raises:
        MissingFile, UnreadableFile, InvalidImage, ImageTooLarge, and LossRefused with ``options.strict``.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), max_pixels, options)
    if isinstance(source, Image.Image):
        return _convert(source, max_pixels, options)
    if isinstance(source, str | os.PathLike):
        with open_binary(source) as file:
            return _decode(file, max_pixels, options)
    if not hasattr(source, "read"):  # Pillow would take bytes for a file name
        raise InvalidImage(f"{type(source).__name__} is not a path, a binary file, a PIL image or an array")
    return _decode(source, max_pixels, options)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise :class:`ImageTooLarge` for more than ``max_pixels`` pixels; 0 lifts the limit."""
    if max_pixels and width * height > max_pixels:
        raise ImageTooLarge(f"{width}x{height} is {width * height} pixels, the limit is {max_pixels}")


def to_pil(picture: Picture) -> Image.Image:
    """Convert a picture to a PIL image of mode ``L``, ``LA``, ``RGB`` or ``RGBA``, with metadata in ``info``.

    Grey is the rounded mean of the three channels.  The inverse of :func:`read_picture`.
    """
    pixels = picture.pixels
    if picture.layout.is_grey:
        pixels = ((pixels.sum(axis=2, dtype=np.uint16) + 1) // 3).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(picture.alpha)))
    metadata.attach(image, picture.metadata)
    return image


def _decode(file: BinaryIO, max_pixels: int, options: ReadOptions) -> Picture:
    with _pillow_errors():
        with _pillow_allows(max_pixels):
            image = Image.open(file)  # reads the size, not yet the pixels
        with image:
            return _convert(image, max_pixels, options)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8:
        raise InvalidImage(f"array must be uint8, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InvalidImage(f"array must be (H, W) or (H, W, 1 | 3 | 4), not {array.shape}")
    if 0 in array.shape:
        raise InvalidImage(f"array must have pixels, not shape {array.shape}")
    return Image.fromarray(array)


def _convert(image: Image.Image, max_pixels: int, options: ReadOptions) -> Picture:
    """Convert a PIL image, and load its pixels first if they are still in the file."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImage(f"picture of {width}x{height} has no pixels")
    check_size(width, height, max_pixels)
    if max(width, height) > MAX_EDGE:
        raise ImageTooLarge(f"{width}x{height} is too large: the format allows edges up to {MAX_EDGE} pixels")
    remarks: list[Remark] = []

    def say(remark: Remark) -> None:
        if options.strict and remark.loses:
            raise LossRefused(remark.text)
        remarks.append(remark)

    with _pillow_errors():
        _remark_on_file(image, say)
        image.load()
        found = metadata.from_image(image)
        if _is_turned(image):
            if options.auto_orient:
                image = ImageOps.exif_transpose(image)
                found = metadata.from_image(image)
            elif "exif" not in options.metadata:
                say(Remark("the EXIF orientation is not kept; --auto-orient applies it to the pixels"))
        planes = split(image, found.icc, say)
        if not planes.profile_applies:
            found = found.only(("exif", "xmp"))
        elif "icc" not in options.metadata or _gains_colour(planes, options):
            planes = Planes(to_srgb(planes.colour, found.icc, say), planes.alpha)
            found = found.only(("exif", "xmp"))
        planes = _without_alpha(planes, options)
    return Picture(
        pixels=_to_rgb(planes.colour),
        layout=Layout.of(grey=planes.colour.mode == "L", alpha=planes.alpha is not None),
        alpha=None if planes.alpha is None else np.array(planes.alpha),
        metadata=found.only(options.metadata),
        remarks=tuple(remarks),
    )


def _to_rgb(image: Image.Image) -> Pixels:
    """Convert to (H, W, 3), strip by strip: in one piece, Pillow would hold the picture four times."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)).convert("RGB"))
    return pixels


def _remark_on_file(image: Image.Image, say: Say) -> None:
    """Remark on what is in the file but not in the picture.  It is known only before the pixels are loaded."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        # A phone's second picture in an MPO file is a depth map or a smaller copy, not the next frame.
        say(Remark(f"only frame {image.tell() + 1} of {frames} is kept", loses=image.format != "MPO"))
    layout = repr([tile[3] for tile in getattr(image, "tile", [])])
    if ";16" in layout and not image.mode.startswith("I"):
        say(SIXTEEN_BITS)
        transparent = image.info.get("transparency")
        if isinstance(transparent, tuple):  # Pillow reduces the pixels, not the colour that they are compared with
            image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _is_turned(image: Image.Image) -> bool:
    """Return whether the EXIF orientation is other than upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged data without naming the picture
            return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # damaged EXIF data are no reason to refuse the pixels
        return False


def _gains_colour(planes: Planes, options: ReadOptions) -> bool:
    """Return whether a grey picture is composited over a coloured background, which its profile cannot describe."""
    red, green, blue, *_ = ImageColor.getrgb(options.background)
    laid = planes.alpha is not None and options.alpha == "blend"
    return laid and planes.colour.mode == "L" and not red == green == blue


def _without_alpha(planes: Planes, options: ReadOptions) -> Planes:
    """Drop or blend the alpha plane as the options say."""
    if planes.alpha is None or options.alpha == "keep":
        return planes
    if options.alpha == "drop":
        return Planes(planes.colour, None)
    red, green, blue, *_ = ImageColor.getrgb(options.background)
    mode = "RGB" if _gains_colour(planes, options) else planes.colour.mode
    ground = Image.new(mode, planes.colour.size, red if mode == "L" else (red, green, blue))
    return Planes(Image.composite(planes.colour.convert(mode), ground, planes.alpha), None)


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Convert whatever Pillow's readers raise on damaged files to a :class:`VqcError`."""
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
    """Lift Pillow's limit on pixels where the caller allows more.

    That limit is global to the process, so it is changed only for a caller who allows more, and only while the header
    of a file is read.
    """
    with _changing_pillows_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and not (max_pixels and max_pixels <= limit):
            Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
