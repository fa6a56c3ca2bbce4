"""Draw indices from the prior: one more port of the walk, which sends no symbols and receives none.

Every symbol is drawn by the coder's own integer frequencies (Razavi et al. 2019, arXiv:1906.00446, section 3.3), so
that what is drawn costs its entropy when it is coded.  Random numbers come from Philox (Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", 2011), a counter-based generator whose raw output numpy keeps for ever, and all else is in
integers: the same seed draws the same indices on every machine, whatever else the call draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.frequencies import FREQUENCY_BITS, TABLE, TABLE_SIZE
from vqcodec.coding.integer_prior import SlicePrediction
from vqcodec.coding.slice_symbols import Indices, Parts, Rule, Symbols, code_slice
from vqcodec.coding.traversal import Wavefront

MOST_TEMPERATURE = 100.0
"""Beyond it all symbols are as good as equally likely."""
_STEPS = 1000
"""Steps of temperature per unit."""


@dataclass(frozen=True)
class GridSeed:
    """Names the random numbers of a grid."""

    seed: int
    """0 to 2^64 - 1."""
    picture: int
    """Number of the picture among those of the seed."""
    tile: int
    level: int

    def generator(self) -> np.random.Philox:
        """Return the grid's own generator."""
        key = np.array([self.seed, self.picture], np.uint64)
        return np.random.Philox(key=key, counter=np.array([0, 0, self.tile, self.level], np.uint64))


class IndexSampler:
    """An :class:`~vqcodec.coding.traversal.IndexPort` that draws the indices of each grid.

    Temperature 1 draws by the coder's frequencies.  Any other temperature T, in steps of 1/1000, divides each symbol's
    distance in bits from its row's most frequent one by T, rounded to 1/16 bit.  Temperature 0 takes the most frequent
    symbol each time, the first of several, and draws nothing.
    """

    def __init__(self, seeds: Sequence[GridSeed], temperature: float = 1.0):
        self._generators = [seed.generator() for seed in seeds]
        self._temperature = round(temperature * _STEPS)

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        return code_slice(self, wavefront.items, prediction, None)

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`; draws again what breaks the rule."""
        rows = _at_temperature(rows, self._temperature)
        drawn = self._draw(parts, rows)
        while rule is not None and not (kept := rule.holds(drawn)).all():
            if not self._temperature:  # the next most frequent one
                rows[~kept, drawn[~kept]] = 0
            drawn[~kept] = self._draw(_some_of(parts, ~kept), rows[~kept])
        return drawn

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        if not self._temperature:
            return np.zeros_like(sizes)
        drawn: Symbols = (self._random(parts, len(sizes)) & (sizes - 1).astype(np.uint64)).astype(np.int32)
        return drawn

    def _draw(self, parts: Parts, rows: NDArray[np.float64]) -> Symbols:
        """Return symbols (N,), each with the probability that its row of frequencies (N, K) gives, within 2^-36."""
        if not self._temperature:
            modes: Symbols = rows.argmax(1).astype(np.int32)
            return modes
        ends = np.cumsum(rows, 1)
        below = _high_product(self._random(parts, len(rows)), ends[:, -1].astype(np.uint64))
        drawn: Symbols = (ends <= below[:, None]).sum(1).astype(np.int32)
        return drawn

    def _random(self, parts: Parts, count: int) -> NDArray[np.uint64]:
        """Return random integers (N,) of 64 bits, those of each item from its own generator."""
        numbers = np.empty(count, np.uint64)
        for item, part in parts:
            numbers[part] = self._generators[item].random_raw(part.stop - part.start)
        return numbers


def _high_product(numbers: NDArray[np.uint64], below: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return ``floor(numbers * below / 2^64)`` for ``below`` up to 2^31: random integers below these."""
    half = np.uint64(32)
    high, low = numbers >> half, numbers & np.uint64(2**32 - 1)
    return (high * below + (low * below >> half)) >> half


def _some_of(parts: Parts, chosen: NDArray[np.bool_]) -> list[tuple[int, slice]]:
    """Return the ranges that items have among the chosen rows (N,)."""
    ends = np.cumsum([0, *(np.count_nonzero(chosen[part]) for _, part in parts)]).tolist()
    return [(item, slice(a, b)) for (item, _), a, b in zip(parts, ends, ends[1:], strict=False)]


def _at_temperature(rows: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return frequencies (N, K) at a temperature of so many steps; 0 leaves them as they are."""
    if steps in (0, _STEPS):
        return rows
    relative = rows * 2**FREQUENCY_BITS / rows.max(1, keepdims=True)
    gaps = TABLE_SIZE - np.searchsorted(TABLE[::-1], relative, "right")
    gaps = (2 * _STEPS * gaps + steps) // (2 * steps)
    return np.where(rows > 0, TABLE[np.minimum(gaps, TABLE_SIZE - 1)], 0)
