"""File, PIL image or array -> :class:`Picture` -> PIL image.

Everything about files, sizes and what is kept of a picture ends here: behind this module a picture is 8-bit RGB, a
layout that says what to give back, and what travels beside the pixels.  How the modes of Pillow become that is in
``modes.py``; nothing here knows of tensors, padding or tiles.
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
"""Rows that are converted at once."""

_changing_pillows_limit = threading.Lock()


@dataclass(frozen=True)
class ReadOptions:
    """What is kept of a picture, and how.  The default is everything, as it is."""

    alpha: Literal["keep", "drop", "blend"] = "keep"
    """``drop`` leaves the colours that were under the transparency, ``blend`` lays them over ``background``."""
    background: str = "white"
    """A colour as Pillow's ``ImageColor`` spells them."""
    metadata: frozenset[str] = frozenset(METADATA_KINDS)
    """Of ``icc``, ``exif`` and ``xmp``.  Without ``icc`` the colours are converted to sRGB."""
    auto_orient: bool = False
    """Turn the pixels as EXIF says, and the note away."""
    strict: bool = False
    """Refuse what would lose something, instead of remarking on it."""

    def __post_init__(self) -> None:
        if self.alpha not in ("keep", "drop", "blend"):
            raise InvalidImage(f"alpha is to be 'keep', 'drop' or 'blend', not {self.alpha!r}")
        if unknown := sorted(set(self.metadata) - set(METADATA_KINDS)):
            raise InvalidImage(f"no metadata are called {', '.join(unknown)}, only {', '.join(METADATA_KINDS)}")
        try:
            known = max(ImageColor.getrgb(self.background)) <= 255
        except (ValueError, AttributeError, TypeError):
            known = False
        if not known:
            raise InvalidImage(f"no colour is called {self.background!r}")


AS_IS = ReadOptions()


@dataclass(frozen=True)
class Picture:
    """``pixels``: ``(H, W, 3) uint8``, contiguous, its own copy.  A grey picture has three equal channels.

    ``alpha``: ``(H, W) uint8`` if the layout has alpha.
    """

    pixels: Pixels
    layout: Layout
    alpha: Pixels | None = None
    metadata: Metadata = NO_METADATA
    remarks: tuple[Remark, ...] = ()
    """What could not be kept as it was."""


def read_picture(source: Source, max_pixels: int = defaults.MAX_PIXELS, options: ReadOptions = AS_IS) -> Picture:
    """The picture in a file, a PIL image or an array ``(H, W)`` or ``(H, W, 1 | 3 | 4)``.

    More than ``max_pixels`` pixels are refused before any is decoded; 0 lifts the limit, which replaces
    Pillow's own.  Of an animation the first frame is taken, or the one that a PIL image is at.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), max_pixels, options)
    if isinstance(source, Image.Image):
        return _convert(source, max_pixels, options)
    if isinstance(source, str | os.PathLike):
        with open_binary(source) as file:
            return _decode(file, max_pixels, options)
    if not hasattr(source, "read"):  # Pillow would take bytes for a name
        raise InvalidImage(f"{type(source).__name__} is not a path, a binary file, a PIL image or an array")
    return _decode(source, max_pixels, options)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise :class:`ImageTooLarge` for more than ``max_pixels`` pixels; 0 lifts the limit."""
    if max_pixels and width * height > max_pixels:
        raise ImageTooLarge(f"{width}x{height} are {width * height} pixels, {max_pixels} are allowed")


def to_pil(picture: Picture) -> Image.Image:
    """Inverse of :func:`read_picture`: mode ``L``, ``LA``, ``RGB`` or ``RGBA``, metadata in ``info``.

    Grey is the rounded mean of the three channels.
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
        raise InvalidImage(f"array of {array.dtype}, not uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InvalidImage(f"array of shape {array.shape}, not (H, W) or (H, W, 1, 3 or 4)")
    if 0 in array.shape:
        raise InvalidImage(f"array of shape {array.shape} has no pixels")
    return Image.fromarray(array)


def _convert(image: Image.Image, max_pixels: int, options: ReadOptions) -> Picture:
    """Loads the pixels first if they are still in their file."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImage(f"a picture of {width}x{height} has no pixels")
    check_size(width, height, max_pixels)
    if max(width, height) > MAX_EDGE:
        raise ImageTooLarge(f"{width}x{height} pixels, the format allows edges of {MAX_EDGE}")
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
                say(Remark("the EXIF data that are not kept say how to turn the picture"))
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
    """(H, W, 3), strip by strip: at once, Pillow would hold the picture four times."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)).convert("RGB"))
    return pixels


def _remark_on_file(image: Image.Image, say: Say) -> None:
    """What is in the file and will not be in the picture; known before the pixels are loaded only."""
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
    """Whether EXIF says that the pixels must be turned to be looked at."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged data, which name no picture
            return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # damaged EXIF data are no reason to refuse the pixels
        return False


def _gains_colour(planes: Planes, options: ReadOptions) -> bool:
    """Whether a grey picture is laid over a background that is not, of which its profile knows nothing."""
    red, green, blue, *_ = ImageColor.getrgb(options.background)
    laid = planes.alpha is not None and options.alpha == "blend"
    return laid and planes.colour.mode == "L" and not red == green == blue


def _without_alpha(planes: Planes, options: ReadOptions) -> Planes:
    """Without the alpha plane, unless it is to be kept."""
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
        if limit is not None and not (max_pixels and max_pixels <= limit):
            Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
