"""Quality and rate: PSNR and bits per pixel.  Coding does not use them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def bits_per_pixel(size: int, width: int, height: int) -> float:
    """Return the bits per pixel of a file of ``size`` bytes."""
    return 8 * size / (width * height)


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return the PSNR in dB over all samples (0 to 255) of two pictures of one shape; infinite if equal."""
    return psnr_of_mse(float(np.mean(np.square(a.astype(np.float64) - b))))


def psnr_of_mse(mse: float) -> float:
    """Return the PSNR in dB for a mean squared error of samples from 0 to 255; infinite for 0."""
    return 10 * math.log10(255**2 / mse) if mse else math.inf
