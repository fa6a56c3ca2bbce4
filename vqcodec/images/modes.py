"""A loaded PIL image of any mode -> 8-bit grey or RGB and an alpha plane, with remarks on what had to be converted.

Files, sizes and metadata are not its business, except for the ICC profile where colours cannot be had without it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from vqcodec.errors import InvalidImage

_GREY_MODES = ("1", "L", "LA", "La")
_SCALED_TO_16_BITS = ("PPM", "PNG")
"""Formats whose readers, some of them of older Pillows, deliver mode ``I`` so."""
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA")


@dataclass(frozen=True)
class Remark:
    """Something about a picture that cannot be kept as it is."""

    text: str
    loses: bool = True
    """Whether anything that one could see or use is lost; otherwise only the form changes."""


Say = Callable[[Remark], None]


@dataclass(frozen=True)
class Planes:
    """``colour`` has mode ``L`` or ``RGB``, ``alpha`` has mode ``L``."""

    colour: Image.Image
    alpha: Image.Image | None
    profile_applies: bool = True
    """Whether the colours are still those that the image's ICC profile speaks of."""


def split(image: Image.Image, icc: bytes, say: Say) -> Planes:
    """The planes of a loaded image of any mode; raises :class:`InvalidImage` where there is no agreed meaning."""
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
    """The same colours without need of a profile; grey stays grey."""
    profile = _open_profile(icc, say)
    if profile is None or "srgb" in ImageCms.getProfileDescription(profile).lower():
        return colour
    say(Remark("colours are converted to sRGB, for their profile is not kept", loses=False))
    converted = _through(colour, profile, say)
    return converted if colour.mode == "RGB" else converted.convert("L")


def _to_srgb(image: Image.Image, icc: bytes, say: Say) -> Image.Image:
    """CMYK or LAB -> RGB, through the profile if there is one."""
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
    """Convert to sRGB by what the profile says."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    except ImageCms.PyCMSError:
        say(Remark(f"the ICC profile does not fit a picture of mode {image.mode} and is ignored"))
        converted = image.convert("RGB")
    assert converted is not None  # only of a conversion in place
    return converted


def _from_16_bits(image: Image.Image, say: Say) -> Planes:
    """Grey of 16 bits, which Pillow would clip, scaled to 8.

    Mode ``I`` may hold 16 bits or 8: some readers scale to 16, whoever converted to it, or wrote TIFF so, did not.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InvalidImage("integer pixels outside of 0 to 65535 have no agreed range")
    deep = image.mode != "I" or image.format in _SCALED_TO_16_BITS or values.max() > 0xFF
    if deep:
        say(SIXTEEN_BITS)
    alpha = None
    if "transparency" in image.info:
        alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    grey = (values * 255 + 0x7FFF) // 0xFFFF if deep else values
    return Planes(Image.fromarray(grey.astype(np.uint8)), alpha)


SIXTEEN_BITS = Remark("16 bits per sample are reduced to 8")
