"""The indices of a slice <-> symbols and their frequencies, in the order of the stream.

Most indices are zero, so symbols say where the others are (docs/FORMAT.md, "Symbols of a slice"):

1. the slice's length at each position: codebooks from there on have index zero;
2. the shell of each codebook within the length (hierarchical softmax: Morin & Bengio 2005), where the last one is not
   zero;
3. the codeword within its shell;
4. for an outer point, the digits of its coordinates: their ranges, then the places in these (``outer_points.py``).

A model with ``entropy_constrained`` false has one symbol for each index instead.

:func:`code_slice` is the same code in both directions: a :class:`SymbolCoder` returns the symbols that it is given
(encoding), or those that it decodes or draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import MAX_LOGIT
from vqcodec.coding.frequencies import LEAST_LOGIT, frequencies, logit_gaps
from vqcodec.coding.integer_prior import IndexPrediction, SlicePrediction
from vqcodec.config import SliceConfig
from vqcodec.errors import CorruptStream
from vqcodec.outer_points import (
    largest_digit_bits,
    outer_digits,
    outer_shell,
    pack,
    positive_ranges,
    range_bits,
    range_starts,
    range_state,
    ranges_of,
    reaches_largest,
)

Indices = NDArray[np.int32]
"""Numbers of codewords, or packed outer points (below zero)."""
Symbols = NDArray[np.int32]
Parts = Sequence[tuple[int, slice]]
"""Items of a batch, each with its range of rows."""


@dataclass(frozen=True)
class Rule:
    """A condition on symbols that all encoders keep, although other symbols have frequencies above zero, too."""

    broken: str
    """The message where it does not hold."""
    holds: Callable[[Symbols], NDArray[np.bool_]]
    """Returns for each of the symbols (N,) whether it does."""

    def check(self, symbols: Symbols) -> None:
        """Raise :class:`CorruptStream` unless it holds for all symbols (N,)."""
        if not self.holds(symbols).all():
            raise CorruptStream(self.broken)


class SymbolCoder(Protocol):
    """Codes symbols of one or more items; rows of an item are consecutive."""

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """Return ``symbols`` (N,), or if None new ones that keep the rule, given their frequencies ``rows`` (N, K)."""
        ...

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """Return ``symbols`` (N,), or if None new ones, uniform below ``sizes`` (N,), powers of two."""
        ...


def parts_of(items: NDArray[np.intp]) -> list[tuple[int, slice]]:
    """Return each item in ascending ``items`` (N,), with its range."""
    if not len(items):
        return []
    if items[0] == items[-1]:
        return [(int(items[0]), slice(0, len(items)))]
    starts = [0, *(np.flatnonzero(np.diff(items)) + 1).tolist()]
    return [(int(items[a]), slice(a, b)) for a, b in zip(starts, [*starts[1:], len(items)], strict=True)]


@dataclass(frozen=True)
class Places:
    """Indices of a slice, ordered by item, codebook and position."""

    items: NDArray[np.intp]
    """(M,) item of each."""
    groups: NDArray[np.intp]
    """(M,) codebook of each."""
    rows: NDArray[np.intp]
    """(M,) position of each."""

    @classmethod
    def where(cls, mask: NDArray[np.bool_], items: NDArray[np.intp]) -> "Places":
        """Return the places in ``mask`` (G, N), for positions of ``items`` (N,)."""
        groups, rows = np.nonzero(mask)
        owners = items[rows]
        if len(items) and items[0] != items[-1]:
            order = np.argsort(owners, kind="stable")
            groups, rows, owners = groups[order], rows[order], owners[order]
        return cls(owners, groups, rows)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Places":
        """Return the places in a mask (M,)."""
        return Places(self.items[chosen], self.groups[chosen], self.rows[chosen])

    @property
    def parts(self) -> list[tuple[int, slice]]:
        """Each item, with its range of places."""
        return parts_of(self.items)


@dataclass(frozen=True)
class ShellTable:
    """The shells of a slice's codebooks as arrays."""

    starts: NDArray[np.int32]
    """First codeword of each shell."""
    sizes: NDArray[np.int32]
    """Codewords of each shell."""
    of_word: NDArray[np.int32]
    """(K,) shell of each codeword."""

    @property
    def count(self) -> int:
        """Number of shells that hold codewords; outer shells follow."""
        return len(self.sizes)


@cache
def shell_table(config: SliceConfig) -> ShellTable:
    """Return the shells of a slice's codebooks."""
    sizes = np.array(config.shells, np.int32)
    starts = np.cumsum(sizes, dtype=np.int32) - sizes
    return ShellTable(starts, sizes, np.repeat(np.arange(len(sizes), dtype=np.int32), sizes))


def shells_of(config: SliceConfig, indices: Indices) -> Symbols:
    """Return the shell of each index."""
    table = shell_table(config)
    shells: Symbols = table.of_word[np.maximum(indices, 0)]
    if indices.min(initial=0) < 0:
        shells = np.where(indices < 0, table.count + outer_shell(config, indices), shells)
    return shells


def lengths_of(indices: Indices) -> Symbols:
    """Return the length (N,) of a slice's indices (N, G): the number of codebooks up to the last one not zero."""
    used = indices != 0
    groups = indices.shape[1]
    lengths: Symbols = np.where(used.any(1), groups - used[:, ::-1].argmax(1), 0).astype(np.int32)
    return lengths


def code_slice(
    coder: SymbolCoder, items: NDArray[np.intp], prediction: SlicePrediction, known: Indices | None
) -> Indices:
    """Code the indices (N, G) of a slice at the positions of a wavefront, of ``items`` (N,) each.

    ``known`` holds the indices to encode; None decodes or draws them.  Raises :class:`CorruptStream` for decoded
    symbols that no encoder writes.
    """
    config = prediction.head.config
    chosen = np.zeros((prediction.count, config.groups), np.int32)
    if prediction.head.shells is None:
        _code_plainly(coder, items, prediction, known, chosen)
        return chosen
    lengths = coder.categorical(
        parts_of(items),
        frequencies(logit_gaps(prediction.lengths())),
        None if known is None else lengths_of(known),
    )
    rows = np.flatnonzero(lengths)
    if not len(rows):
        return chosen
    logits = prediction.at(rows)
    lengths = lengths[rows]
    places = Places.where(np.arange(config.groups)[:, None] < lengths, items[rows])
    last = places.groups == lengths[places.rows] - 1
    shell_logits = logits.shells()[places.rows, places.groups]
    shell_logits[last, 0] = LEAST_LOGIT
    wanted = None if known is None else known[rows[places.rows], places.groups]
    shells = coder.categorical(
        places.parts,
        frequencies(logit_gaps(shell_logits)),
        None if wanted is None else shells_of(config, wanted),
        Rule("the last codebook of a slice has index zero", lambda shells: (shells > 0) | ~last),
    )
    table = shell_table(config)
    for code, where in ((_code_words, (shells > 0) & (shells < table.count)), (_code_outer, shells >= table.count)):
        if where.any():
            some = places[where]
            found = code(coder, config, some, shells[where], logits, None if wanted is None else wanted[where])
            chosen[rows[some.rows], some.groups] = found
    return chosen


def _code_plainly(
    coder: SymbolCoder, items: NDArray[np.intp], prediction: SlicePrediction, known: Indices | None, chosen: Indices
) -> None:
    """Code every index with one symbol."""
    words = prediction.at(np.arange(prediction.count)).words()
    places = Places.where(np.ones(words.shape[:2], bool), items)
    rows = frequencies(logit_gaps(words[places.groups, places.rows]))
    wanted = None if known is None else known[places.rows, places.groups]
    chosen[places.rows, places.groups] = coder.categorical(places.parts, rows, wanted)


def _code_words(
    coder: SymbolCoder,
    config: SliceConfig,
    places: Places,
    shells: Symbols,
    logits: IndexPrediction,
    wanted: Indices | None,
) -> Indices:
    """Code which codeword of its shell each index is."""
    table = shell_table(config)
    starts, sizes = table.starts[shells, None], table.sizes[shells, None]
    columns = np.arange(config.widest_shell, dtype=np.int32)
    inside = columns < sizes
    values = logits.words()[places.groups[:, None], places.rows[:, None], np.minimum(starts + columns, config.size - 1)]
    values[~inside] = LEAST_LOGIT
    rows = frequencies(logit_gaps(values))
    rows[~inside] = 0
    symbols = coder.categorical(
        places.parts,
        rows,
        None if wanted is None else wanted - starts[:, 0],
        Rule("a codeword lies outside its shell", lambda symbols: symbols < sizes[:, 0]),
    )
    return symbols + starts[:, 0]


def _code_outer(
    coder: SymbolCoder,
    config: SliceConfig,
    places: Places,
    shells: Symbols,
    logits: IndexPrediction,
    wanted: Indices | None,
) -> Indices:
    """Code the digits of outer points: coordinate by coordinate all ranges, then all places in a range."""
    shell = shells - shell_table(config).count
    largest = largest_digit_bits(config)[shell]
    digits = None if wanted is None else np.stack(outer_digits(config, wanted), 1)
    ranges, reached = np.empty((len(shell), config.dim), np.int32), np.zeros(len(shell), bool)
    for i in range(config.dim):
        rows = logits.ranges(places.rows, places.groups, shell, range_state(config, i, reached))
        known = None if digits is None else ranges_of(config, digits[:, i], largest)
        ranges[:, i] = coder.categorical(places.parts, frequencies(logit_gaps(rows)), known, _within_shell(rows))
        reached |= reaches_largest(config, ranges[:, i], largest)
    which = largest[:, None], ranges
    starts, bits = range_starts(config)[which], range_bits(config)[which]
    cut = np.nonzero(bits)
    wanted_rest = None if digits is None else (np.abs(digits) - starts)[cut]
    found = starts.copy()
    found[cut] += coder.uniform(parts_of(places.items[cut[0]]), 1 << bits[cut], wanted_rest)
    return pack(config, shell, np.where(ranges > positive_ranges(config), -found, found))


def _within_shell(rows: NDArray[np.float32]) -> Rule:
    """Return the rule for ranges with logits ``rows`` (N, ranges)."""

    def holds(ranges: Symbols) -> NDArray[np.bool_]:
        possible: NDArray[np.bool_] = np.take_along_axis(rows, ranges[:, None], 1)[:, 0] >= -MAX_LOGIT
        return possible

    return Rule("an outer point lies outside its shell", holds)
