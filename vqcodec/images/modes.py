"""Convert a loaded PIL image of any mode to 8-bit grey or RGB and an alpha plane, with remarks on what is lost.

``reading.py`` handles files, sizes and metadata; the ICC profile is used here where the colours depend on it.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from vqcodec.errors import InvalidImage, VqcWarning
from vqcodec.images.depth import reduce

_GREY_MODES = ("1", "L", "LA", "La")
_GRID, _SAME = 9, 3
"""Levels of each colour that a profile is tried with, and the difference that is no difference."""
_SCALED_TO_16_BITS = ("PPM", "PNG")
"""Formats whose readers scale mode ``I`` to 16 bits, in some versions of Pillow."""
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA")


@dataclass(frozen=True)
class Remark:
    """A note on something that cannot be kept unchanged."""

    text: str
    loses: bool = True
    """True if something visible or usable is lost; False if only the representation changes."""


Say = Callable[[Remark], None]

_collected: ContextVar[list[Remark] | None] = ContextVar("collected", default=None)


def warn(remark: Remark, stacklevel: int = 3) -> None:
    """Issue a :class:`VqcWarning` for a loss, or add the remark to those that :func:`collected_remarks` collects."""
    collected = _collected.get()
    if collected is not None:
        collected.append(remark)
    elif remark.loses:
        warnings.warn(remark.text, VqcWarning, stacklevel=stacklevel)


@contextmanager
def collected_remarks() -> Iterator[list[Remark]]:
    """Collect the remarks of :func:`warn` inside the block instead of warning, in this thread or task only.

    ``warnings.catch_warnings`` would change filters of the whole process, which other threads change, too.
    """
    remarks: list[Remark] = []
    token = _collected.set(remarks)
    try:
        yield remarks
    finally:
        _collected.reset(token)


@dataclass(frozen=True)
class Planes:
    """The planes of a picture: ``colour`` of mode ``L`` or ``RGB``, ``alpha`` of mode ``L``."""

    colour: Image.Image
    alpha: Image.Image | None
    profile_applies: bool = True
    """True if the image's ICC profile still describes the colours."""


def split(image: Image.Image, icc: bytes, say: Say, bits: int = 8) -> Planes:
    """Return the planes of a loaded image, whose file is known to have ``bits`` bits per sample if more than 8.

    Raises :class:`InvalidImage` for pixels without an agreed range.
    """
    mode = image.mode
    if mode == "F":
        raise InvalidImage("floating-point pixels have no agreed range")
    if mode.startswith("I"):
        return _from_16_bits(image, say, bits)
    if mode in ("CMYK", "LAB"):
        say(Remark(f"{mode} is converted to sRGB", loses=False))
        return Planes(_to_srgb(image, icc, say), None, profile_applies=False)
    grey = mode in _GREY_MODES
    plain = "L" if grey else "RGB"
    if image.has_transparency_data:
        plain += "A"
    if mode not in _PLAIN_MODES:
        say(Remark(f"{_names.get(mode, mode)} is converted to {plain}", loses=False))
    if mode != plain:  # else Pillow would copy the picture
        image = image.convert(plain)
    if plain in ("L", "RGB"):
        return Planes(image, None)
    *colour, alpha = image.split()
    return Planes(Image.merge("RGB", colour) if len(colour) == 3 else colour[0], alpha)


_names = {"1": "one bit per pixel", "P": "palette", "PA": "palette"}


def to_srgb(colour: Image.Image, icc: bytes, say: Say) -> Image.Image:
    """Convert colours to sRGB by their profile, so that they need none; grey stays grey."""
    profile = _open_profile(icc, say)
    if profile is None or is_srgb(icc, colour.mode):
        return colour
    say(Remark("colours are converted to sRGB, because their profile is not kept", loses=False))
    converted = _through(colour, profile, say)
    return converted if colour.mode == "RGB" else converted.convert("L")


def is_srgb(icc: bytes, mode: str) -> bool:
    """Return whether a profile is that of sRGB: whether it leaves colours of mode ``L`` or ``RGB`` as they are.

    What the profile is called does not matter.
    """
    ramp = np.linspace(0, 255, _GRID if mode == "RGB" else 256).round().astype(np.uint8)
    values = np.stack(np.meshgrid(ramp, ramp, ramp), -1).reshape(_GRID, -1, 3) if mode == "RGB" else ramp[None]
    try:
        converted = _converted(Image.fromarray(values), ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except (OSError, ImageCms.PyCMSError):
        return False
    expected = values if mode == "RGB" else values[..., None]
    return bool(np.abs(np.asarray(converted).astype(np.int16) - expected).max() <= _SAME)


def _to_srgb(image: Image.Image, icc: bytes, say: Say) -> Image.Image:
    """Convert CMYK or LAB to sRGB, by the profile if there is one."""
    lab = image.mode == "LAB"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")) if lab else _open_profile(icc, say)
    return image.convert("RGB") if profile is None else _through(image, profile, say)


def _open_profile(icc: bytes, say: Say) -> ImageCms.ImageCmsProfile | None:
    if not icc:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except OSError:
        say(Remark("the ICC profile is damaged and is ignored"))
        return None


def _through(image: Image.Image, profile: ImageCms.ImageCmsProfile, say: Say) -> Image.Image:
    """Convert to sRGB by a profile."""
    try:
        return _converted(image, profile)
    except ImageCms.PyCMSError:
        say(Remark(f"the ICC profile does not fit a picture of mode {image.mode} and is ignored"))
        return image.convert("RGB")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Convert to sRGB by a profile; grey may have one of RGB.  Raises :class:`PIL.ImageCms.PyCMSError`."""
    if image.mode == "L" and profile.profile.xcolor_space.strip() == "RGB":
        image = image.convert("RGB")
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # None is returned only by a conversion in place
    return converted


def _from_16_bits(image: Image.Image, say: Say, bits: int) -> Planes:
    """Scale 16-bit grey, which Pillow would clip, to 8 bits.

    Mode ``I`` may hold 16 or 8 bits: some readers scale to 16, while converted images and some TIFF files hold 8.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InvalidImage("integer pixels outside 0 to 65535 have no agreed range")
    deep = image.mode != "I" or image.format in _SCALED_TO_16_BITS or values.max() > 0xFF
    if deep and bits == 8:
        say(SIXTEEN_BITS)
    alpha = None
    if "transparency" in image.info:
        alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Planes(Image.fromarray(reduce(values, 16 if deep else 8)), alpha)


def fewer_bits(bits: int) -> Remark:
    """Return the remark on samples of more than 8 bits."""
    return Remark(f"{bits} bits per sample are reduced to 8")


SIXTEEN_BITS = fewer_bits(16)
