"""Logits -> frequencies -> cumulative counts: exact integers, invariant under a shift, never zero."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from vqcodec.coding.frequencies import TABLE, frequencies, logit_gaps

ALLOWED: tuple[type[Exception], ...] = ()
COUNTS = 1 << 24
REACH = 1 << 23
"""Logits below this, and their sums with a small shift, are exact in float32."""


def check(data: bytes) -> None:
    """Compare with plain integer arithmetic, and check the properties that rANS relies on."""
    values = np.frombuffer(data[1 : 1 + (len(data) - 1) // 4 * 4], "<i4").astype(np.int64)
    if len(values) < 2:
        return
    size, shift = min(2 + data[0], len(values)), data[0]
    rows = np.resize(values % (2 * REACH) - REACH, (-(-len(values) // size), size))
    short = logit_gaps(rows.astype(np.float32))
    np.testing.assert_array_equal(short, logit_gaps((rows + shift).astype(np.float32)))
    found = frequencies(short)
    expected = [[round(2 ** (16 - min(max(row) - v, 255) / 16)) for v in row] for row in rows.tolist()]
    assert found.dtype == np.float64 and found.tolist() == expected
    assert TABLE[-1] == 1 <= found.min() and (found.max(1) == TABLE[0]).all()
    for row in found:
        scale = (COUNTS - size) / row.sum()
        counts = [math.floor(float(row[:k].sum()) * scale) + k for k in range(size)] + [COUNTS]
        assert counts[0] == 0 and all(a < b for a, b in pairwise(counts))


def seeds() -> Iterator[bytes]:
    """Yield equal logits, steps of one, and distant values."""
    for values in ([0] * 8, range(40), [0, -(2**23), 2**23, 17], [5, 5, 260, 4]):
        yield bytes([6]) + np.array(list(values), "<i4").tobytes()
