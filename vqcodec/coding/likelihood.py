"""The prior's probability of given indices: a port of the walk that adds up code lengths."""

import numpy as np
from numpy.typing import NDArray

from vqcodec.coding.integer_prior import SlicePrediction
from vqcodec.coding.slice_symbols import Indices, Parts, Rule, Symbols, code_slice
from vqcodec.coding.symbols import Selector
from vqcodec.coding.traversal import Wavefront


class CodeLength:
    """An :class:`~vqcodec.coding.traversal.IndexPort` with known indices that adds up the code length of each item."""

    def __init__(self, items: int, known: Selector):
        self._known = known
        self.bits = np.zeros(items)
        """``-log2 p`` of each item's indices, by the coder's integer frequencies."""

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        return code_slice(self, wavefront.items, prediction, self._known(number, wavefront, prediction))

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        assert symbols is not None
        prices = np.log2(rows.sum(1) / rows[np.arange(len(rows)), symbols])
        for item, part in parts:
            self.bits[item] += prices[part].sum()
        return symbols

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        assert symbols is not None
        for item, part in parts:
            self.bits[item] += np.log2(sizes[part]).sum()
        return symbols
