"""Turn the colours of a picture that has a tint, so that the tint becomes grey.

A model knows photographs, whose pixels are mostly near grey: it spends few bits on what all three channels share, and
many on what they do not.  Under a red lamp, under water or on coloured paper nothing is near grey, and the colours of a
plot may lie between two that are not.  A rotation of the colour space that takes the tint to grey makes such a picture
an ordinary one, and being a rotation, it changes no squared error.  docs/PERFORMANCE.md has the gain.
"""

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqcodec.codec.drawn import looks_drawn
from vqcodec.images.reading import Picture
from vqcodec.stream.container import Tint

Colours = npt.NDArray[np.float64]

_GREY = np.full(3, 1 / math.sqrt(3))
_NORM = 12
"""Exponent of the mean that estimates the light: between the mean colour, 1, and the brightest, infinity."""
_SAMPLES = 1 << 14
"""Most pixels that the estimates look at, about."""
_LEAST_PIXELS = 64 * 64
"""A smaller picture may take fewer bytes without the tint's own three."""
_LEAST_ANGLE = math.radians(3)
"""Angle to grey of a tint that is worth a trial."""
_LIGHT_AREA, _AXIS_AREA = 0.8, 0.35
"""Area that the chroma of the pixels covers when it is turned, as a share of before, that is worth a trial.  One in
five ordinary photographs is below the first, none below the second.  A drawing is tried if it is below 1."""


@functools.lru_cache(16)
def rotation(tint: Tint) -> Colours:
    """Return the matrix (3, 3) that rotates the direction of a tint to that of grey by the shortest way (Rodrigues)."""
    unit = np.array(tint) / np.linalg.norm(tint)
    x, y, z = np.cross(unit, _GREY)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix: Colours = np.eye(3) + cross + cross @ cross / (1 + unit @ _GREY)
    return matrix


def turned(x: Tensor, tint: Tint | None) -> Tensor:
    """Rotate colours ``x`` (B, 3, H, W) so that the tint becomes grey; None leaves them as they are."""
    return x if tint is None else _product(rotation(tint), x)


def turned_back(x: Tensor, tint: Tint | None) -> Tensor:
    """The inverse of :func:`turned`."""
    return x if tint is None else _product(rotation(tint).T, x)


def _product(matrix: Colours, x: Tensor) -> Tensor:
    """Multiply each pixel of ``x`` (B, 3, H, W): in a fixed order, so that it is the same for any number of threads."""
    red, green, blue = torch.tensor(matrix.T[:, None, :, None, None], dtype=x.dtype, device=x.device)
    product: Tensor = red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]
    return product


def likely_tints(picture: Picture) -> list[Tint]:
    """Return the tints that it is worth a trial to code a picture with.

    One is the colour of the light, a mean of high order ("shades of grey": Finlayson & Trezzi, "Shades of Gray and
    Colour Constancy", CIC 2004).  The other is the principal axis of the colours, as drawings of few colours have one.
    Each counts if turning it to grey makes the picture less colourful.
    """
    height, width = picture.pixels.shape[:2]
    if height * width < _LEAST_PIXELS:
        return []
    stride = math.ceil(math.sqrt(height * width / _SAMPLES))
    sample = picture.pixels[::stride, ::stride].reshape(-1, 3) / 255
    tints: list[Tint] = []
    for colour, most_area in ((_light(sample), _LIGHT_AREA), (_principal_axis(sample), _AXIS_AREA)):
        tint = _scaled(colour)
        if tint is None or tint in tints or _angle(tint) < _LEAST_ANGLE:
            continue
        area = _chroma_area(sample @ rotation(tint).T) / _chroma_area(sample)
        if area <= most_area or (area < 1 and looks_drawn(picture)):
            tints.append(tint)
    return tints


def _light(colours: Colours) -> Colours:
    """Return the colour (3,) of the light on colours (N, 3)."""
    light: Colours = np.mean(colours**_NORM, 0) ** (1 / _NORM)
    return light


def _principal_axis(colours: Colours) -> Colours:
    """Return the direction (3,) in which colours (N, 3) vary most, of positive sum."""
    axis: Colours = np.linalg.eigh(np.cov(colours, rowvar=False, bias=True))[1][:, -1]
    return axis if axis.sum() > 0 else -axis


def _scaled(colour: Colours) -> Tint | None:
    """Return a colour (3,) as a tint, without negative parts; None if it is black."""
    visible = np.maximum(colour, 0)
    if not visible.any():
        return None
    red, green, blue = (int(value) for value in np.rint(255 * visible / visible.max()))
    return red, green, blue


def _angle(tint: Tint) -> float:
    """Return the angle between a tint and grey."""
    return math.acos(min(1.0, float(np.array(tint) @ _GREY / np.linalg.norm(tint))))


def _chroma_area(colours: Colours) -> float:
    """Return the area that the chroma of colours (N, 3), 0 to 1, covers: that of its ellipse, in squares of a level."""
    chroma = colours @ np.array([[2, -1, -1], [0, math.sqrt(3), -math.sqrt(3)]]).T / math.sqrt(6)
    return float(np.linalg.det(np.cov(255 * chroma, rowvar=False, bias=True) + np.eye(2)) ** 0.5)
