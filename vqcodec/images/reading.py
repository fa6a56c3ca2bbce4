"""Read a :class:`Picture` from a file, a PIL image or an array, and convert it back to a PIL image.

A picture is 8-bit RGB, a layout that says which planes to give back, an alpha plane and metadata.  ``modes.py``
converts Pillow's modes; ``metadata.py`` carries ICC profile, EXIF and XMP.  Tensors, padding and tiles belong to
``codec/``.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageFile, TiffImagePlugin, UnidentifiedImageError

from vqcodec import defaults
from vqcodec.errors import ImageTooLarge, InvalidImage, LossRefused, VqcError
from vqcodec.files import from_position, open_binary
from vqcodec.images import colours, exif, metadata, opening
from vqcodec.images.containers import tiff
from vqcodec.images.containers.contents import LARGEST, Contents, Notes
from vqcodec.images.modes import Planes, Remark, Say, fewer_bits, is_srgb, split, to_srgb
from vqcodec.stream.container import MAX_EDGE, Layout
from vqcodec.stream.metadata import METADATA_KINDS, NO_METADATA, Metadata

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | Pixels

_STRIP = 256
"""Number of rows that are converted at once."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the stored pixels upright."""
_PICTURES_THAT_ARE_NO_FRAMES = frozenset({"MPO", "PSD"})
"""The second picture of a phone is a depth map or a smaller copy; the pictures in a PSD are layers."""
_LABELS = {"icc": "ICC profile", "exif": "EXIF data", "xmp": "XMP data"}


@dataclass(frozen=True)
class ReadOptions:
    """Which parts of a picture to keep; by default all.  Raises :class:`InvalidImage` for unknown values."""

    alpha: Literal["keep", "drop", "blend"] = "keep"
    """``keep`` replaces the colours under alpha 0, which nobody sees, by a smooth continuation of the visible ones;
    ``drop`` keeps them; ``blend`` composites the picture over ``background``."""
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

    A binary file is read from its position to its end; one that is at its end, from its beginning.

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
    with _pillow_errors(), _left_at_its_end(file):
        contents = opening.examine(from_position(file))
        if contents.refused:
            raise InvalidImage(contents.refused)
        decode = contents.decode
        if decode is None:
            try:
                opened = opening.open_by_pillow(contents.file)
            except UnidentifiedImageError:
                decode = contents.otherwise
                if decode is None:
                    raise
        if decode is not None:
            _check_size(*contents.size, max_pixels)
            return _convert(decode(), max_pixels, options, contents)
        with opened as image:
            opening.check_format(image, contents)
            return _convert(image, max_pixels, options, contents)


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


@contextmanager
def _left_at_its_end(file: BinaryIO) -> Iterator[None]:
    """Leave a file as reading all of it does, however much Pillow reads."""
    try:
        yield
    finally:
        with suppress(AttributeError, OSError, ValueError):
            file.seek(0, os.SEEK_END)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise :class:`InvalidImage` or :class:`ImageTooLarge` for sizes that cannot be encoded or are not allowed."""
    if width < 1 or height < 1:
        raise InvalidImage(f"picture of {width}x{height} has no pixels")
    check_size(width, height, max_pixels)
    if max(width, height) > MAX_EDGE:
        raise ImageTooLarge(f"{width}x{height} is too large: the format allows edges up to {MAX_EDGE} pixels")


def _convert(image: Image.Image, max_pixels: int, options: ReadOptions, contents: Contents | None = None) -> Picture:
    """Convert a PIL image, and load its pixels first if they are still in the file that has these contents."""
    _check_size(*image.size, max_pixels)
    remarks: list[Remark] = []

    def say(remark: Remark) -> None:
        if options.strict and remark.loses:
            raise LossRefused(remark.text)
        remarks.append(remark)

    with _pillow_errors():
        if contents is None:
            contents = _contents_of(image)
            if contents.decode is not None:
                image = contents.decode()
        found = contents.metadata if contents.metadata is not None else metadata.from_image(image)
        found = _allowed(found, contents.notes)
        _remark_on_file(image, contents, options, say)
        _load(image, contents)
        if contents.orientation != 1:
            image = image.transpose(_UPRIGHT[contents.orientation])
        if (turned := exif.orientation(found.exif)) != 1:
            if options.auto_orient:
                image = image.transpose(_UPRIGHT[turned])
                found = replace(found, exif=exif.without_orientation(found.exif))
            elif "exif" not in options.metadata:
                say(Remark("the EXIF orientation is not kept; --auto-orient applies it to the pixels"))
        planes = split(image, found.icc, say, contents.bits)
        if contents.opaque or _is_unset(image, planes):
            planes = replace(planes, alpha=None)
        if not planes.profile_applies:
            found = found.only(("exif", "xmp"))
        else:
            found = _with_profile(found, contents.colours, planes, say)
            if "icc" not in options.metadata or _gains_colour(planes, options):
                planes = Planes(to_srgb(planes.colour, found.icc, say), planes.alpha)
                found = found.only(("exif", "xmp"))
        planes = _without_alpha(planes, options)
    pixels = _to_rgb(planes.colour)
    alpha = None if planes.alpha is None else np.array(planes.alpha)
    return Picture(
        pixels=pixels,
        layout=Layout.of(grey=planes.colour.mode == "L", alpha=alpha is not None),
        alpha=alpha,
        metadata=found.only(options.metadata),
        remarks=tuple(remarks),
    )


def _contents_of(image: Image.Image) -> Contents:
    """Return the contents of a PIL image; what ``image.info`` holds of metadata counts, not what its file holds.

    What Pillow's readers drop is known only while the file is open, that is before the pixels are loaded.
    """
    notes = Notes()
    contents = Contents(io.BytesIO(), notes, metadata.from_image(image, notes))
    opening.check_format(image, contents)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_layout(image)
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.format == "VQC":
        return contents
    file = image.fp
    if file is None or file.closed:
        raise InvalidImage("the image was closed before its pixels were loaded")
    position = file.tell()
    file.seek(0)
    known = opening.examine(file)
    file.seek(position)
    if known.refused:
        raise InvalidImage(known.refused)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # perhaps another page than the main one
        return contents
    contents.colours, contents.bits, contents.transparent = known.colours, known.bits, known.transparent
    contents.decode, contents.size = known.decode, known.size
    if image.format in metadata.NOT_IN_INFO and known.metadata is not None:
        for kind, label in _LABELS.items():
            if getattr(known.metadata, kind) and not getattr(contents.metadata, kind):
                notes.lose(f"the {label} is not in the PIL image; encode its file to keep it", kind)
    return contents


def _check_layout(image: TiffImagePlugin.TiffImageFile) -> None:
    """Raise :class:`InvalidImage` for a layout that Pillow decodes wrongly."""

    def integers(tag: int) -> tuple[int, ...]:
        value = image.tag_v2.get(tag, ())
        values = value if isinstance(value, tuple) else (value,)
        return tuple(v for v in values if isinstance(v, int))

    if not tiff.pillow_decodes(integers):
        raise InvalidImage("Pillow does not decode this layout of TIFF rightly; encode its file, not a PIL image")


def _allowed(found: Metadata, notes: Notes) -> Metadata:
    """Leave out what is too large for a stream."""
    for kind, label in _LABELS.items():
        if len(getattr(found, kind)) > LARGEST:
            notes.lose(f"the {label} is larger than {LARGEST >> 20} MiB and is not kept", kind)
            found = found.only(set(_LABELS) - {kind})
    return found


def _load(image: Image.Image, contents: Contents) -> None:
    """Load the pixels, and correct what Pillow gets wrong of transparency."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tile and contents.frames is not None:
        image.im = Image.new(image.mode, image.size).im  # Pillow would apply its own limit on pixels
    image.load()
    if contents.transparent is not None:
        image.info["transparency"] = contents.transparent


def _is_unset(image: Image.Image, planes: Planes) -> bool:
    """Return whether alpha is 0 everywhere in a format that many programs write without setting it."""
    return image.format in ("BMP", "DIB", "TGA") and planes.alpha is not None and planes.alpha.getextrema() == (0, 0)


def _with_profile(found: Metadata, said: colours.Colours | None, planes: Planes, say: Say) -> Metadata:
    """Add a profile for colours that are said otherwise, unless they are those of sRGB."""
    if found.icc:
        return found
    if said is None and exif.says_adobe_rgb(found.exif):
        said = colours.ADOBE_RGB
    if said is None:
        return found
    profile = said.profile(grey=planes.colour.mode == "L")
    if not profile:
        say(Remark("what the file says of its colours is impossible and is ignored"))
    elif not is_srgb(profile, planes.colour.mode):
        say(Remark("what the file says of its colours becomes an ICC profile", loses=False))
        return replace(found, icc=profile)
    return found


def _to_rgb(image: Image.Image) -> Pixels:
    """Convert to (H, W, 3), strip by strip: in one piece, Pillow would hold the picture four times."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)).convert("RGB"))
    return pixels


def _remark_on_file(image: Image.Image, contents: Contents, options: ReadOptions, say: Say) -> None:
    """Remark on what is in the file but not in the picture.  It is known only before the pixels are loaded."""
    frame, frames = 1, contents.frames
    if frames is None:
        try:
            frame, frames = image.tell() + 1, getattr(image, "n_frames", 1)
        except Exception:  # whatever Pillow's readers raise behind the first frame
            frames = 1
            say(Remark("the file is damaged after its first frame"))
    if frames > 1:
        loses = image.format not in _PICTURES_THAT_ARE_NO_FRAMES
        say(Remark(f"only frame {frame} of {frames} is kept", loses=loses))
    if contents.bits > 8:
        say(fewer_bits(contents.bits))
    for kind, text in contents.notes.lost:
        if kind in ("", "icc", *options.metadata):
            say(Remark(text))
    for text in contents.notes.changed:
        say(Remark(text, loses=False))
    transparent = image.info.get("transparency")
    if contents.bits == 16 and isinstance(transparent, tuple):
        # Pillow reduces the pixels, not the colour that they are compared with
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


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
