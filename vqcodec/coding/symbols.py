"""Entropy-decode indices, or choose and encode them, during the traversal of the grids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import LOGIT_UNIT
from vqcodec.coding.integer_prior import IndexPrediction, SlicePrediction
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.coding.slice_symbols import Indices, Parts, Symbols, code_slice, shell_table
from vqcodec.coding.traversal import Wavefront, WavefrontLayout
from vqcodec.config import BIT_PRICE, LEAST_OUTER_COST
from vqcodec.outer_points import digit_bits, nearest, outer_shell

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

    def categorical(self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None) -> Symbols:
        """See :class:`~vqcodec.coding.slice_symbols.SymbolCoder`."""
        return _gather([self._decoders[item].pop(rows[part]) for item, part in parts])

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
        self._slices = np.split(spread, np.cumsum(groups)[:-1], axis=1)

    def __call__(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`Selector`."""
        return self._slices[number][wavefront.cells]


class RateDistortionSelector:
    """Selects the indices with the least squared error + :data:`BIT_PRICE` * bits (Chou et al. 1989).

    Codebook by codebook the best codeword or outer point is found, then the slice's length.  An encoder may choose any
    indices, so this arithmetic need not be exact.
    """

    def __init__(
        self, layout: WavefrontLayout, latents: Sequence[NDArray[np.float32]], codebooks: Sequence[NDArray[np.float32]]
    ):
        """``latents`` (D, H, W) per item, in codebook cells; ``codebooks`` (G, K, d) per slice."""
        spread = layout.spread([z.transpose(1, 2, 0) for z in latents])
        ends = np.cumsum([c.shape[0] * c.shape[2] for c in codebooks])[:-1]
        self._latents = np.split(spread, ends, axis=1)
        self._codebooks = [-2 * c.transpose(0, 2, 1) for c in codebooks]
        self._norms = [np.square(c).sum(2) for c in codebooks]
        # Latents nearer to zero than this are nearest to the zero codeword.
        self._least = [norms[:, 1:].min(1, initial=np.inf) / 4 for norms in self._norms]

    def __call__(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`Selector`."""
        words = self._codebooks[number]
        z = self._latents[number][wavefront.cells].reshape(-1, len(words), words.shape[1])
        if prediction.head.shells is None:
            costs = self._distances(number, z)
            costs -= prediction.at(np.arange(len(z))).words() * np.float32(BIT_PRICE / LOGIT_UNIT)
            nearest_words: Indices = costs.argmin(2).T.astype(np.int32)
            return nearest_words
        chosen = np.zeros(z.shape[:2], np.int32)
        power = np.einsum("ngd,ngd->ng", z, z)
        apart = power > self._least[number]  # the others are plainly zero
        rows = np.flatnonzero(apart.any(1))
        if not len(rows):
            return chosen
        logits = prediction.at(rows)
        shell_bits = _bits(logits.shells())
        places, groups = np.nonzero(apart[rows])
        best, costs = self._best_nonzero(number, z[rows], power[rows], places, groups, logits, shell_bits)
        lengths = _bits(prediction.lengths()[rows])
        used = _choose_used(shell_bits[:, :, 0], lengths, (places, groups), costs)
        found = np.zeros((len(rows), len(words)), np.int32)
        found[places, groups] = best
        chosen[rows] = np.where(used, found, 0)
        return chosen

    def _distances(self, number: int, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return squared distances (G, n, K) of ``z`` (n, G, d) to all codewords, less the squared norm of ``z``."""
        distances: NDArray[np.float32] = np.ascontiguousarray(z.transpose(1, 0, 2)) @ self._codebooks[number]
        distances += self._norms[number][:, None]
        return distances

    def _best_nonzero(
        self,
        number: int,
        z: NDArray[np.float32],
        power: NDArray[np.float32],
        places: NDArray[np.intp],
        groups: NDArray[np.intp],
        logits: IndexPrediction,
        shell_bits: NDArray[np.float32],
    ) -> tuple[Indices, NDArray[np.float32]]:
        """Return the best indices (M,) other than zero, and their costs (M,) without what zero costs."""
        config = logits.config
        table = shell_table(config)
        own_shells = shell_bits[places, groups]
        values = logits.words()[groups, places]
        values = np.maximum(values - values.max(1, keepdims=True), -100 * LOGIT_UNIT) * np.float32(1 / LOGIT_UNIT)
        sums = np.log2(np.add.reduceat(np.exp2(values), table.starts, 1))
        prices = (own_shells[:, : table.count] + sums)[:, table.of_word] - values
        costs = self._distances(number, z)[groups, places] + np.float32(BIT_PRICE) * prices
        costs[:, 0] = np.inf
        best = costs.argmin(1).astype(np.int32)
        least = costs[np.arange(len(best)), best]
        far = np.flatnonzero(least + power[places, groups] > LEAST_OUTER_COST)
        if len(far):
            latents = z[places[far], groups[far]]
            outer, points = nearest(config, latents)
            known = outer < 0
            far, latents, points, outer = far[known], latents[known], points[known], outer[known]
            bits = own_shells[far, table.count + outer_shell(config, outer)] + digit_bits(config, outer)
            outer_costs = np.square(latents - points).sum(1) - np.square(latents).sum(1) + BIT_PRICE * bits
            better = outer_costs < least[far]
            best[far[better]], least[far[better]] = outer[better], outer_costs[better]
        return best, least


def _bits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the code length in bits of each symbol of integer logits (..., K)."""
    values = np.maximum(logits - logits.max(-1, keepdims=True), -100 * LOGIT_UNIT) * np.float32(1 / LOGIT_UNIT)
    bits: NDArray[np.float32] = np.log2(np.exp2(values).sum(-1, keepdims=True)) - values
    return bits


def _choose_used(
    zero_bits: NDArray[np.float32],
    length_bits: NDArray[np.float32],
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    costs: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return which indices (n, G) are not zero at the least cost over all lengths.

    ``zero_bits`` (n, G) is the price of shell 0, ``length_bits`` (n, G + 1) that of each length, ``costs`` (M,) the
    cost of the best index other than zero at ``places``; the cost of index zero is its price.
    """
    zero = np.float32(BIT_PRICE) * zero_bits
    other = np.full_like(zero, np.inf)
    other[places] = costs
    inner = np.minimum(zero, other)
    # The last codebook in use is known not to be zero, which takes the price of that off.
    known = -np.log2(np.maximum(1 - np.exp2(-zero_bits), 1e-9))
    total = np.float32(BIT_PRICE) * length_bits
    total[:, 1:] += np.cumsum(inner, 1) - inner + other - np.float32(BIT_PRICE) * known
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

    def categorical(self, parts: Parts, rows: NDArray[np.float64], symbols: Symbols | None) -> Symbols:
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
