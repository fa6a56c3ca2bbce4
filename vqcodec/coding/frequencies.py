"""Integer logits -> integer frequencies for rANS, by subtraction and table look-up, the same on every machine."""

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import LOGIT_UNIT

TABLE_SIZE = 256
FREQUENCY_BITS = 16
TABLE = np.array([round(2 ** (FREQUENCY_BITS - k / LOGIT_UNIT)) for k in range(TABLE_SIZE)], dtype=np.float64)
"""Frequency of a symbol whose logit is ``k`` units below the largest, from 65536 down to 1."""
BITS_TABLE = np.log2(TABLE)
"""Base-2 logarithms of these frequencies."""
LOG2_STEPS = 4096
LOG2_TABLE = np.log2(np.arange(LOG2_STEPS, 2 * LOG2_STEPS) / (2 * LOG2_STEPS))
"""Base-2 logarithms of the numbers from 1/2 up to 1."""
LEAST_LOGIT = -(2**24)
"""Stands in for the logit of a symbol that is known not to occur."""


def logit_gaps(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return how far each integer logit (..., K) is below its row's largest, in logit units, at most 255."""
    below = logits.astype(np.int32)  # faster than float from here on
    np.subtract(below.max(-1, keepdims=True), below, out=below)
    return np.minimum(below, TABLE_SIZE - 1, out=below).astype(np.uint8)


def frequencies(gaps: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return frequencies (..., K) for gaps (..., K): integers in float64, the coder's input type."""
    return TABLE.take(gaps)


def log2(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return base-2 logarithms of sums of frequencies, to about 0.0003: the encoder's, the same on every machine."""
    mantissas, exponents = np.frexp(totals)
    result: NDArray[np.float64] = LOG2_TABLE[(mantissas * (2 * LOG2_STEPS)).astype(np.intp) - LOG2_STEPS] + exponents
    return result


def code_lengths(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the code length in bits of each symbol of integer logits (..., K)."""
    gaps = logit_gaps(logits)
    return log2(frequencies(gaps).sum(-1, keepdims=True)) - BITS_TABLE.take(gaps)
