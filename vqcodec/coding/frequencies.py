"""Integer logits -> integer frequencies, by subtraction and a table: nothing here can round differently elsewhere."""

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import LOGIT_UNIT

TABLE_SIZE = 256
FREQUENCY_BITS = 16
TABLE = np.array([round(2 ** (FREQUENCY_BITS - k / LOGIT_UNIT)) for k in range(TABLE_SIZE)], dtype=np.float64)
"""Frequency of a symbol whose logit is ``k`` units below the largest; from 65536 down to 1."""


def logit_gaps(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How far each integer logit (..., K) lies below its row's largest, in logit units, at most 255."""
    below = logits.astype(np.int32)  # in which the rest is faster
    np.subtract(below.max(-1, keepdims=True), below, out=below)
    return np.minimum(below, TABLE_SIZE - 1, out=below).astype(np.uint8)


def frequencies(gaps: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Frequencies (..., K): integers held in float64, as the coder wants them."""
    return TABLE.take(gaps)
