"""Hash of the prior's frequencies on fixed indices: checks that this machine computes the prior exactly.

The arithmetic is exact wherever float32 products and sums follow IEEE 754.  With a matrix library that trades precision
for speed every section would decode to garbage; the hash, stored in the weights file, detects it when weights load.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.frequencies import frequencies, logit_gaps
from vqcodec.coding.integer_prior import IntegerLevelPrior
from vqcodec.coding.symbols import FixedIndices, Selector
from vqcodec.coding.traversal import Indices, Wavefront, WavefrontLayout, walk

SHAPES = ((1, 1), (2, 7), (7, 1))
"""Rows and columns of the tiles' coarsest grids: large enough for the farthest taps, small enough for every load."""
QUALITIES = (0, 100, 255)
"""Quality step of each tile."""
_RATIO = 2654435769
"""2^32 over the golden ratio (Knuth, "The Art of Computer Programming", 6.4): its multiples modulo 2^32 spread well."""


class FrequencyHasher:
    """An :class:`~vqcodec.coding.traversal.IndexPort` with known indices that hashes each tile's frequencies."""

    def __init__(self, items: int, known: Selector):
        self._known = known
        self._hashes = [hashlib.sha256() for _ in range(items)]

    def exchange(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        rows = frequencies(logit_gaps(logits)).astype("<u4")
        for item, part in wavefront.parts:
            self._hashes[item].update(rows[:, part].tobytes())
        return self._known(number, wavefront, logits)

    def digests(self) -> list[bytes]:
        """Return the SHA-256 of each tile's frequencies, in the order of symbols."""
        return [item.digest() for item in self._hashes]


def fixed_indices(sizes: Sequence[int], shape: tuple[int, int], start: int) -> Indices:
    """Return fixed pseudo-random indices (G, H, W), each below its codebook's size in ``sizes`` (G,)."""
    count = len(sizes) * shape[0] * shape[1]
    spread = np.arange(start, start + count, dtype=np.uint64) * np.uint64(_RATIO) % np.uint64(2**32)
    limits = np.asarray(sizes, np.uint64)[:, None, None]
    return (spread.reshape(len(sizes), *shape) * limits >> np.uint64(32)).astype(np.int16)


def fingerprint(priors: Sequence[IntegerLevelPrior]) -> str:
    """Return the fingerprint (SHA-256 in hexadecimal) that ``docs/FORMAT.md`` defines, for the priors of all levels."""
    total = hashlib.sha256()
    coarse: list[Indices] | None = None
    start = 1
    for level, prior in enumerate(priors):
        slices = [head.config for head in prior.heads]
        sizes = [s.size for s in slices for _ in range(s.groups)]
        grids = []
        for height, width in SHAPES:
            grids.append(fixed_indices(sizes, (height << level, width << level), start))
            start += grids[-1].size
        layout = WavefrontLayout(prior, [grid.shape[1:] for grid in grids])
        hasher = FrequencyHasher(len(grids), FixedIndices(layout, grids, [s.groups for s in slices]))
        walk(prior, layout, coarse, QUALITIES, hasher)
        for digest in hasher.digests():
            total.update(digest)
        coarse = grids
    return total.hexdigest()
