"""How good and how large: figures that compare pictures and files.  Nothing here is used for coding."""

import math

import numpy as np
import numpy.typing as npt


def bits_per_pixel(size: int, width: int, height: int) -> float:
    """Bits of a file of ``size`` bytes for each pixel of the picture."""
    return 8 * size / (width * height)


def psnr(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of one shape, over all channels; infinite if equal."""
    mse = float(np.mean(np.square(a.astype(np.float64) - b)))
    return 10 * math.log10(255**2 / mse) if mse else math.inf
