"""``log p(x) >= log p(x | z_q) + log p(z_q)`` for one picture and the indices that its stream holds.

The sum over all z of p(x | z) p(z) is p(x), and each term bounds it from below (Razavi et al. 2019, section 3.3 and
table 1: the prior's share of it is the negative log-likelihood of the indices).
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_ndtr

from vqcodec import Codec

LEAST_VARIANCE = 1 / 12
"""Variance of rounding: a decoder is never taken to be more certain."""


@dataclass(frozen=True)
class Coded:
    """A picture at one quality."""

    index_bits: float
    """``-log2 p(z_q)``, exact."""
    counts: NDArray[np.int64]
    """(3, 511) how often each error ``x - mean`` from -255 to 255 occurs where x is 0, between, or 255."""

    @property
    def squared_error(self) -> float:
        """Sum of squared errors."""
        return float((self.counts.sum(0) * np.arange(-255, 256) ** 2).sum())


def code(codec: Codec, image: Image.Image, quality: float) -> Coded:
    """Encode and decode a picture of mode RGB."""
    data = codec.encode(image, quality, lossless=False)
    x = np.asarray(image).astype(np.int64).ravel()
    error = x - np.asarray(codec.decode(data).convert("RGB")).astype(np.int64).ravel()
    place = np.where(x == 0, 0, np.where(x == 255, 2, 1))
    return Coded(codec.index_bits(data), np.bincount(place * 511 + error + 255, minlength=3 * 511).reshape(3, 511))


def pixel_bits(counts: NDArray[np.int64], variance: float) -> float:
    """Return ``-log2 p(x | z_q)`` of errors (3, 511): a Gaussian around the mean, integrated over each level.

    As in PixelCNN++ (Salimans et al. 2017, equation 2), the levels 0 and 255 take all that is beyond them.
    """
    sigma = math.sqrt(variance)
    error = np.arange(-255, 256)
    lower = log_ndtr((error + 0.5) / sigma)  # all below 0.5
    # The mass of an interval is that of its mirror image; below zero the difference does not cancel.
    inside = _log_difference(log_ndtr((0.5 - np.abs(error)) / sigma), log_ndtr((-0.5 - np.abs(error)) / sigma))
    upper = log_ndtr(-(error - 0.5) / sigma)  # all above 254.5
    nats = -(counts[0] * lower + counts[1] * inside + counts[2] * upper).sum()
    return float(nats / math.log(2))


def _log_difference(larger: NDArray[np.float64], smaller: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``log(exp(larger) - exp(smaller))``."""
    result: NDArray[np.float64] = larger + np.log1p(-np.exp(smaller - larger))
    return result


def lossless_bits(image: Image.Image, format: str) -> int:
    """Return the bits of a picture as PNG or lossless WebP by Pillow, at its strongest."""
    buffer = io.BytesIO()
    options = {"optimize": True} if format == "PNG" else {"lossless": True, "quality": 100, "method": 6}
    image.save(buffer, format, **options)
    return 8 * buffer.getbuffer().nbytes
