"""Convert a loaded PIL image of any mode to 8-bit grey or RGB and an alpha plane, with remarks on what is lost.

``reading.py`` handles files, sizes and metadata; the ICC profile is used here where the colours depend on it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from vqcodec.errors import InvalidImage

_GREY_MODES = ("1", "L", "LA", "La")
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


@dataclass(frozen=True)
class Planes:
    """The planes of a picture: ``colour`` of mode ``L`` or ``RGB``, ``alpha`` of mode ``L``."""

    colour: Image.Image
    alpha: Image.Image | None
    profile_applies: bool = True
    """True if the image's ICC profile still describes the colours."""


def split(image: Image.Image, icc: bytes, say: Say) -> Planes:
    """Return the planes of a loaded image.  Raises :class:`InvalidImage` for pixels without an agreed range."""
    mode = image.mode
    if mode == "F":
        raise InvalidImage("floating-point pixels have no agreed range")
    if mode.startswith("I"):
        return _from_16_bits(image, say)
    if mode in ("CMYK", "LAB"):
        say(Remark(f"{mode} is converted to sRGB", loses=False))
        return Planes(_to_srgb(image, icc, say), None, profile_applies=False)
    grey = mode in _GREY_MODES
    plain = "L" if grey else "RGB"
    if image.has_transparency_data:
        plain += "A"
    if mode not in _PLAIN_MODES:
        say(Remark(f"{_names.get(mode, mode)} is converted to {plain}", loses=False))
    image = image.convert(plain)
    if plain in ("L", "RGB"):
        return Planes(image, None)
    *colour, alpha = image.split()
    return Planes(Image.merge("RGB", colour) if len(colour) == 3 else colour[0], alpha)


_names = {"1": "one bit per pixel", "P": "palette", "PA": "palette"}


def to_srgb(colour: Image.Image, icc: bytes, say: Say) -> Image.Image:
    """Convert colours to sRGB by their profile, so that they need none; grey stays grey."""
    profile = _open_profile(icc, say)
    if profile is None or "srgb" in ImageCms.getProfileDescription(profile).lower():
        return colour
    say(Remark("colours are converted to sRGB, because their profile is not kept", loses=False))
    converted = _through(colour, profile, say)
    return converted if colour.mode == "RGB" else converted.convert("L")


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
    srgb = ImageCms.createProfile("sRGB")
    try:
        converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    except ImageCms.PyCMSError:
        say(Remark(f"the ICC profile does not fit a picture of mode {image.mode} and is ignored"))
        converted = image.convert("RGB")
    assert converted is not None  # None is returned only by a conversion in place
    return converted


def _from_16_bits(image: Image.Image, say: Say) -> Planes:
    """Scale 16-bit grey, which Pillow would clip, to 8 bits.

    Mode ``I`` may hold 16 or 8 bits: some readers scale to 16, while converted images and some TIFF files hold 8.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InvalidImage("integer pixels outside 0 to 65535 have no agreed range")
    deep = image.mode != "I" or image.format in _SCALED_TO_16_BITS or values.max() > 0xFF
    if deep:
        say(SIXTEEN_BITS)
    alpha = None
    if "transparency" in image.info:
        alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    grey = (values * 255 + 0x7FFF) // 0xFFFF if deep else values
    return Planes(Image.fromarray(grey.astype(np.uint8)), alpha)


SIXTEEN_BITS = Remark("16 bits per sample are reduced to 8")
