"""Turn the colours of a picture under coloured light, so that what the light tints becomes grey.

A model knows photographs, whose pixels are mostly near grey: it spends few bits on what all three channels share, and
many on what they do not.  Under a red lamp, under water or on coloured paper nothing is near grey.  A rotation of the
colour space that takes the tint to grey makes such a picture an ordinary one, and being a rotation, it changes no
squared error.  docs/PERFORMANCE.md has the gain.
"""

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqcodec.images.reading import Pixels
from vqcodec.stream.container import Tint

_GREY = np.full(3, 1 / math.sqrt(3))
_NORM = 12
"""Exponent of the mean that estimates the light: between the mean colour, 1, and the brightest, infinity."""
_SAMPLES = 1 << 16
"""Most pixels that the estimate looks at, about."""
_LEAST_ANGLE = math.radians(4)
"""Angle to grey of a tint that is worth a trial."""
_MOST_AREA = 0.8
"""Area that the chroma of the pixels covers when it is turned, as a share of before, that is worth a trial: one in five
ordinary photographs is below, and most tinted ones."""


@functools.lru_cache(16)
def rotation(tint: Tint) -> npt.NDArray[np.float64]:
    """Return the matrix (3, 3) that rotates the direction of a tint to that of grey by the shortest way (Rodrigues)."""
    unit = np.array(tint) / np.linalg.norm(tint)
    x, y, z = np.cross(unit, _GREY)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix: npt.NDArray[np.float64] = np.eye(3) + cross + cross @ cross / (1 + unit @ _GREY)
    return matrix


def turned(x: Tensor, tint: Tint | None) -> Tensor:
    """Rotate colours ``x`` (B, 3, H, W) so that the tint becomes grey; None leaves them as they are."""
    return x if tint is None else _product(rotation(tint), x)


def turned_back(x: Tensor, tint: Tint | None) -> Tensor:
    """The inverse of :func:`turned`."""
    return x if tint is None else _product(rotation(tint).T, x)


def _product(matrix: npt.NDArray[np.float64], x: Tensor) -> Tensor:
    """Multiply each pixel of ``x`` (B, 3, H, W): in a fixed order, so that it is the same for any number of threads."""
    red, green, blue = torch.tensor(matrix.T[:, None, :, None, None], dtype=x.dtype, device=x.device)
    product: Tensor = red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]
    return product


def likely_tint(pixels: Pixels) -> Tint | None:
    """Return the tint of a picture (H, W, 3) that it is worth a trial to code it with, or None.

    The colour of the light is a mean of high order ("shades of grey": Finlayson & Trezzi, "Shades of Gray and Colour
    Constancy", CIC 2004).  It counts if turning it to grey makes the picture less colourful.
    """
    stride = math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / _SAMPLES))
    sample = pixels[::stride, ::stride].reshape(-1, 3) / 255
    light = np.mean(sample**_NORM, 0) ** (1 / _NORM)
    if not light.any():
        return None
    red, green, blue = (int(value) for value in np.rint(255 * light / light.max()))
    tint = red, green, blue
    angle = math.acos(min(1.0, float(np.array(tint) @ _GREY / np.linalg.norm(tint))))
    if angle < _LEAST_ANGLE or _chroma_area(sample @ rotation(tint).T) > _MOST_AREA * _chroma_area(sample):
        return None
    return tint


def _chroma_area(colours: npt.NDArray[np.float64]) -> float:
    """Return the area that the chroma of colours (N, 3), 0 to 1, covers: that of its ellipse, in squares of a level."""
    chroma = colours @ np.array([[2, -1, -1], [0, math.sqrt(3), -math.sqrt(3)]]).T / math.sqrt(6)
    return float(np.linalg.det(np.cov(255 * chroma, rowvar=False, bias=True) + np.eye(2)) ** 0.5)
