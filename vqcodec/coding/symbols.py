"""Entropy-decode indices, or choose and encode them, during the traversal of the grids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import LOGIT_UNIT
from vqcodec.coding.frequencies import code_lengths, frequencies, log2, logit_gaps
from vqcodec.coding.integer_prior import IndexPrediction, SlicePrediction
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.coding.slice_symbols import Indices, Parts, Rule, Symbols, code_slice, shell_table
from vqcodec.coding.traversal import Wavefront, WavefrontLayout
from vqcodec.config import BIT_PRICE, LEAST_OUTER_COST
from vqcodec.outer_points import nearest, outer_shell, outer_symbols

POSITIONS_PER_WORD = 256
"""A payload has at least one word per this many positions: 1/8 bit each, about the cost of the flattest content.

Without this minimum, a few bytes could make a decoder traverse a grid of any size.
"""


def min_words(shape: tuple[int, int]) -> int:
    """Return the least number of words in the payload of a grid with ``shape = (rows, columns)``."""
    return shape[0] * shape[1] // POSITIONS_PER_WORD


class IndexDecoder:
    """Entropy-decodes the indices of each grid from its payload."""

    def __init__(self, payloads: Sequence[bytes], shapes: Sequence[tuple[int, int]]):
        """Prepare to decode one payload per grid; ``shapes`` are ``(rows, columns)``.

        Raises :class:`~vqcodec.errors.MalformedStream` for a payload that is too short for its grid.  Construct this
        before allocating anything of the grid's size.
        """
        self._decoders = [
            AnsDecoder(payload, min_words(shape)) for payload, shape in zip(payloads, shapes, strict=True)
        ]

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        return code_slice(self, wavefront.items, prediction, None)

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        found = _gather([self._decoders[item].pop(rows[part]) for item, part in parts])
        if rule is not None:
            rule.check(found)
        return found

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        return _gather([self._decoders[item].pop_uniform(sizes[part]) for item, part in parts])

    def finish(self) -> None:
        """Raise :class:`~vqcodec.errors.CorruptStream` unless every payload ends with its last index."""
        for decoder in self._decoders:
            decoder.finish()


def _gather(parts: list[Symbols]) -> Symbols:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


class Selector(Protocol):
    """Returns the indices (N, G) of slice ``number`` at a wavefront, given the prior's prediction of them."""

    def __call__(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices: ...


class FixedIndices:
    """Selects given indices."""

    def __init__(self, layout: WavefrontLayout, grids: Sequence[Indices], groups: Sequence[int]):
        """``grids`` (G, H, W) per item, ``groups`` codebooks of each slice."""
        spread = layout.spread([grid.transpose(1, 2, 0) for grid in grids]).astype(np.int32)
        self._slices = [np.ascontiguousarray(part) for part in np.split(spread, np.cumsum(groups)[:-1], axis=1)]

    def __call__(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`Selector`."""
        return self._slices[number].take(wavefront.cells, 0)


@dataclass(frozen=True)
class SliceLatents:
    """The latents of a slice, and what choosing its indices needs to know of its codebooks."""

    latents: NDArray[np.float32]
    """(cells, G * d) in codebook cells."""
    codebooks: NDArray[np.float32]
    """-2 * codewords, (G, d, K)."""
    norms: NDArray[np.float32]
    """(G, K) squared norm of each codeword."""
    least: NDArray[np.float32]
    """(G,) latents of a squared norm up to this are nearest to the zero codeword."""

    @classmethod
    def of(cls, latents: NDArray[np.float32], codebooks: NDArray[np.float32]) -> "SliceLatents":
        """Prepare latents (cells, G * d) for ``codebooks`` (G, K, d)."""
        norms = np.square(codebooks).sum(2)
        return cls(
            np.ascontiguousarray(latents),
            np.ascontiguousarray(-2 * codebooks.transpose(0, 2, 1)),
            norms,
            norms[:, 1:].min(1, initial=np.inf) / 4,
        )

    def at(self, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the latents (N, G, d) at cells."""
        return self.latents.take(cells, 0).reshape(len(cells), *self.codebooks.shape[:2])

    def distances(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return squared distances (G, N, K) of ``z`` (N, G, d) to all codewords, less the squared norm of ``z``."""
        distances: NDArray[np.float32] = np.ascontiguousarray(z.transpose(1, 0, 2)) @ self.codebooks
        distances += self.norms[:, None]
        return distances


def slice_latents(
    layout: WavefrontLayout, latents: Sequence[NDArray[np.float32]], codebooks: Sequence[NDArray[np.float32]]
) -> list[SliceLatents]:
    """Return the latents of each slice from those of each item (D, H, W), given ``codebooks`` (G, K, d) per slice."""
    spread = layout.spread([z.transpose(1, 2, 0) for z in latents])
    ends = np.cumsum([c.shape[0] * c.shape[2] for c in codebooks])[:-1]
    return [SliceLatents.of(*both) for both in zip(np.split(spread, ends, axis=1), codebooks, strict=True)]


class RateDistortionSelector:
    """Selects the indices with the least squared error + :data:`BIT_PRICE` * bits (Chou et al. 1989).

    Codebook by codebook the best codeword or outer point is found, then the slice's length.  ``kernels.py`` does the
    same, operation by operation, so that streams are the same with and without it.
    """

    def __init__(self, slices: Sequence[SliceLatents]):
        self._slices = slices

    def __call__(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`Selector`."""
        own = self._slices[number]
        z = own.at(wavefront.cells)
        if prediction.head.shells is None:
            distances = own.distances(z)
            distances -= prediction.at(np.arange(len(z))).words() * np.float32(BIT_PRICE / LOGIT_UNIT)
            return np.ascontiguousarray(distances.argmin(2).T, np.int32)
        chosen = np.zeros(z.shape[:2], np.int32)
        power = _power(z)
        apart = power > own.least  # the others are plainly zero
        rows = np.flatnonzero(apart.any(1))
        if not len(rows):
            return chosen
        logits = prediction.at(rows)
        shell_logits = logits.shells()
        shell_bits = code_lengths(shell_logits)
        places, groups = np.nonzero(apart[rows])
        best, costs = _best_nonzero(
            own,
            z[rows[places], groups],
            power[rows[places], groups],
            places,
            groups,
            logits,
            shell_bits[places, groups],
        )
        used = _choose_used(
            BIT_PRICE * shell_bits[:, :, 0],
            BIT_PRICE * _bits_without_first(shell_logits),
            BIT_PRICE * code_lengths(prediction.lengths()[rows]),
            (places, groups),
            costs,
        )
        found = np.zeros((len(rows), z.shape[1]), np.int32)
        found[places, groups] = best
        chosen[rows] = np.where(used, found, 0)
        return chosen


def _power(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared norms (...) of vectors (..., d), summed in order."""
    power: NDArray[np.float32] = z[..., 0] * z[..., 0]
    for d in range(1, z.shape[-1]):
        power += z[..., d] * z[..., d]
    return power


def _best_nonzero(
    own: SliceLatents,
    z: NDArray[np.float32],
    power: NDArray[np.float32],
    places: NDArray[np.intp],
    groups: NDArray[np.intp],
    logits: IndexPrediction,
    shell_bits: NDArray[np.float64],
) -> tuple[Indices, NDArray[np.float64]]:
    """Return the best indices (M,) other than zero, and their costs (M,) without what zero costs.

    ``z`` (M, d), ``power`` (M,) and ``shell_bits`` (M, shells) are those of the codebooks ``groups`` (M,) at the rows
    ``places`` (M,) of ``logits``.
    """
    config = logits.config
    table = shell_table(config)
    words = logits.words()[groups, places]
    prices = [
        bits[:, None] + code_lengths(words[:, start : start + size])
        for bits, start, size in zip(shell_bits.T, table.starts.tolist(), table.sizes.tolist(), strict=False)
    ]
    distances = own.norms[groups]
    for d in range(z.shape[1]):
        distances += z[:, d, None] * own.codebooks[groups, d]
    costs = distances + BIT_PRICE * np.concatenate(prices, 1)
    costs[:, 0] = np.inf
    best = costs.argmin(1).astype(np.int32)
    least = costs[np.arange(len(best)), best]
    far = np.flatnonzero(least + power > LEAST_OUTER_COST)
    if len(far):
        outer, points = nearest(config, z[far])
        beyond = outer < 0
        far, points, outer = far[beyond], points[beyond], outer[beyond]
        bits = shell_bits[far, table.count + outer_shell(config, outer)]
        bits = bits + _digit_bits(logits, places[far], groups[far], outer)
        outer_costs = (_power(z[far] - points) - power[far]) + BIT_PRICE * bits
        better = outer_costs < least[far]
        best[far[better]], least[far[better]] = outer[better], outer_costs[better]
    return best, least


def _digit_bits(
    logits: IndexPrediction, rows: NDArray[np.intp], groups: NDArray[np.intp], outer: Indices
) -> NDArray[np.float64]:
    """Return the code length in bits of the digits of outer points (N,), of these rows and codebooks (N,)."""
    points, bits = outer_symbols(logits.config, outer), np.zeros(len(outer))
    for states, ranges, place_bits in zip(points.states.T, points.ranges.T, points.place_bits.T, strict=True):
        prices = code_lengths(logits.ranges(rows, groups, points.shells, states))
        bits += prices[np.arange(len(outer)), ranges] + place_bits
    return bits


def _bits_without_first(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the code length in bits of the event that a symbol of logits (..., K) is not the first."""
    counts = frequencies(logit_gaps(logits))
    total = counts.sum(-1)
    return log2(total) - log2(total - counts[..., 0])


def _choose_used(
    zero: NDArray[np.float64],
    apart: NDArray[np.float64],
    lengths: NDArray[np.float64],
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    costs: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which indices (n, G) are not zero at the least cost over all lengths.

    ``zero`` (n, G) is the cost of shell 0, ``apart`` (n, G) that of all others together, ``lengths`` (n, G + 1) that
    of each length, ``costs`` (M,) that of the best index other than zero at ``places``.
    """
    other = np.full_like(zero, np.inf)
    other[places] = costs
    inner = np.minimum(zero, other)
    total = lengths.copy()
    # The last codebook in use is known not to be zero, which takes the price of that off.
    total[:, 1:] += np.cumsum(inner, 1) - inner + other - apart
    length = total.argmin(1)[:, None]
    numbers = np.arange(1, zero.shape[1] + 1)
    used: NDArray[np.bool_] = (numbers < length) & (other < zero) | (numbers == length)
    return used


@dataclass(frozen=True)
class _Entry:
    """Symbols of one item, and their frequencies: tabulated ones or the sizes of uniform alphabets."""

    item: int
    symbols: Symbols
    model: NDArray[np.float32] | Symbols


class IndexEncoder:
    """Lets a selector choose indices, and entropy-codes them afterwards."""

    def __init__(self, shapes: Sequence[tuple[int, int]], select: Selector):
        """Prepare to encode one payload per grid; ``shapes`` are ``(rows, columns)``."""
        self._shapes, self._select = shapes, select
        self._entries: list[_Entry] = []

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        return code_slice(self, wavefront.items, prediction, self._select(number, wavefront, prediction))

    def categorical(
        self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None, rule: Rule | None = None
    ) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        return self._keep(parts, rows.astype(np.float32), symbols)

    def uniform(self, parts: Parts, sizes: Symbols, symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        return self._keep(parts, sizes, symbols)

    def _keep(self, parts: Parts, model: NDArray[np.float32] | Symbols, symbols: Symbols | None) -> Symbols:
        assert symbols is not None
        self._entries += [_Entry(item, symbols[part], model[part]) for item, part in parts]
        return symbols

    def to_bytes(self) -> list[bytes]:
        """Return the payload of each grid."""
        encoders = [AnsEncoder() for _ in self._shapes]
        for entry in reversed(self._entries):
            if entry.model.ndim == 2:
                encoders[entry.item].push(entry.symbols, entry.model.astype(np.float64))
            else:
                encoders[entry.item].push_uniform(entry.symbols, entry.model.astype(np.int32))
        return [encoder.to_bytes(min_words(shape)) for encoder, shape in zip(encoders, self._shapes, strict=True)]
