"""Hash of the prior's frequencies on fixed indices: checks that this machine computes the prior exactly.

The arithmetic is exact wherever float32 products and sums follow IEEE 754.  With a matrix library that trades precision
for speed every section would decode to garbage; the hash, stored in the weights file, detects it when weights load.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.integer_prior import Head, IntegerLevelPrior, SlicePrediction
from vqcodec.coding.slice_symbols import Indices, Parts, Rule, Symbols, code_slice
from vqcodec.coding.symbols import FixedIndices, Selector
from vqcodec.coding.traversal import IndexPort, NumpyTrunk, Trunk, Wavefront, WavefrontLayout, walk
from vqcodec.outer_points import largest_digit_bits, pack

SHAPES = ((1, 1), (2, 7), (7, 1))
"""Rows and columns of the tiles' coarsest grids: large enough for the farthest taps, small enough for every load."""
QUALITIES = (0, 100, 255)
"""Quality step of each tile."""
_RATIO = 2654435769
"""2^32 over the golden ratio (Knuth, "The Art of Computer Programming", 6.4): its multiples modulo 2^32 spread well."""


class FrequencyHasher:
    """An :class:`~vqcodec.coding.traversal.IndexPort` with known indices that hashes each tile's frequencies."""

    def __init__(self, prior: IntegerLevelPrior, items: int, known: Selector):
        self._known = known
        self._hashes = [hashlib.sha256() for _ in range(items)]

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        return code_slice(self, wavefront.items, prediction, self._known(number, wavefront, prediction))

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        assert symbols is not None
        for item, part in parts:
            self._hashes[item].update(rows[part].astype("<u4").tobytes())
        return symbols

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        assert symbols is not None
        return symbols

    def digests(self) -> list[bytes]:
        """Return the SHA-256 of each tile's frequencies, in the order of symbols."""
        return [item.digest() for item in self._hashes]


def fixed_indices(heads: Sequence[Head], shape: tuple[int, int], start: int) -> Indices:
    """Return fixed pseudo-random indices (G, H, W) of a level: with shells, half of them zero, some outer points."""
    slices = [
        (head.config, len(head.config.outer_bits) if head.shells else 0)
        for head in heads
        for _ in range(head.config.groups)
    ]
    spread = np.arange(start, start + len(slices) * math.prod(shape), dtype=np.uint64)
    spread = spread * np.uint64(_RATIO) % np.uint64(2**32)
    result = []
    for numbers, (config, outer) in zip(spread.reshape(len(slices), -1), slices, strict=True):
        drawn = (numbers * np.uint64(config.size * (2 if outer else 1) + outer) >> np.uint64(32)).astype(np.int32)
        chosen = np.where(drawn < config.size, drawn, 0)
        if outer:
            shell = np.maximum(drawn - 2 * config.size, 0)
            digits = np.zeros((len(drawn), config.dim), np.int32)
            digits[:, 0] = -(1 << largest_digit_bits(config)[shell] - 1)
            chosen = np.where(drawn < 2 * config.size, chosen, pack(config, shell, digits))
        result.append(chosen.reshape(shape))
    return np.stack(result)


class Hasher(IndexPort, Protocol):
    """Hashes each tile's frequencies."""

    def __init__(self, prior: IntegerLevelPrior, items: int, known: Selector): ...

    def digests(self) -> list[bytes]: ...


def fingerprint(
    priors: Sequence[IntegerLevelPrior],
    hasher_type: type[Hasher] = FrequencyHasher,
    trunk_type: type[Trunk] = NumpyTrunk,
) -> str:
    """Return the fingerprint (SHA-256 in hexadecimal) that ``docs/FORMAT.md`` defines, for the priors of all levels."""
    total = hashlib.sha256()
    coarse: list[Indices] | None = None
    start = 1
    for level, prior in enumerate(priors):
        grids = []
        for height, width in SHAPES:
            grids.append(fixed_indices(prior.heads, (height << level, width << level), start))
            start += grids[-1].size
        layout = WavefrontLayout(prior, [grid.shape[1:] for grid in grids])
        known = FixedIndices(layout, grids, [head.config.groups for head in prior.heads])
        hasher = hasher_type(prior, len(grids), known)
        walk(prior, layout, coarse, QUALITIES, hasher, trunk_type)
        for digest in hasher.digests():
            total.update(digest)
        coarse = grids
    return total.hexdigest()
