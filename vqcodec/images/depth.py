"""Samples of any number of bits as 8 bits."""

from typing import Any

import numpy as np
import numpy.typing as npt


def reduce(samples: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Scale unsigned samples of 1 to 32 bits to 0 to 255, rounded."""
    full = (1 << bits) - 1
    if bits == 8:
        return samples.astype(np.uint8)
    wide = samples.astype(np.uint64 if bits > 16 else np.uint32)
    return ((wide * 255 + full // 2) // full).astype(np.uint8)
