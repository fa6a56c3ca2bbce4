"""Who stands at the side of the walk: a reader that decodes indices, a writer that chooses and encodes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import LOGIT_UNIT
from vqcodec.coding.frequencies import frequencies, logit_gaps
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.coding.traversal import Indices, Wavefront, WavefrontLayout
from vqcodec.config import BIT_PRICE

POSITIONS_PER_WORD = 256
"""A payload has at least a word for so many positions: an eighth of a bit each, about what the flattest content costs.

Without it, zeros could be had for nothing, and a few bytes would make a decoder walk a grid of any size.
"""


def min_words(shape: tuple[int, int]) -> int:
    """Words of the shortest payload for a grid of that many rows and columns."""
    return shape[0] * shape[1] // POSITIONS_PER_WORD


class IndexDecoder:
    """Pops the indices of each item from its own bytes."""

    def __init__(self, payloads: Sequence[bytes], shapes: Sequence[tuple[int, int]]):
        """``shapes`` holds ``(rows, columns)`` of each item's grid.

        Raises :class:`~vqcodec.errors.MalformedStream` for a payload that is too short for its grid: to be made before
        anything of the grid's size is.
        """
        self._poppers = [AnsDecoder(payload, min_words(shape)) for payload, shape in zip(payloads, shapes, strict=True)]

    def exchange(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        groups, count, size = logits.shape
        short = logit_gaps(logits)
        chosen = np.empty((count, groups), np.int16)
        for item, part in wavefront.parts:
            symbols = self._poppers[item].pop(frequencies(short[:, part].reshape(-1, size)))
            chosen[part] = symbols.reshape(groups, -1).T
        return chosen

    def finish(self) -> None:
        """Raise :class:`~vqcodec.errors.CorruptStream` unless every payload is used up."""
        for popper in self._poppers:
            popper.finish()


class Selector(Protocol):
    """Chooses indices for a slice at a wavefront, given integer logits (G, N, K) -> (N, G)."""

    def __call__(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices: ...


class FixedIndices:
    """Indices that are known already: (G, H, W) per item."""

    def __init__(self, layout: WavefrontLayout, grids: Sequence[Indices], groups: Sequence[int]):
        spread = layout.spread([grid.transpose(1, 2, 0) for grid in grids]).astype(np.int16)
        self._slices = np.split(spread, np.cumsum(groups)[:-1], axis=1)

    def __call__(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`Selector`."""
        return self._slices[number][wavefront.cells]


class RateDistortionSelector:
    """Entropy-constrained choice: the least squared error plus what the bits are worth (Chou et al. 1989).

    This is the encoder's freedom: nothing here needs to be exact.
    """

    def __init__(
        self, layout: WavefrontLayout, latents: Sequence[NDArray[np.float32]], codebooks: Sequence[NDArray[np.float32]]
    ):
        """``latents`` (D, H, W) per item, in cells; ``codebooks`` (G, K, d) per slice."""
        spread = layout.spread([z.transpose(1, 2, 0) for z in latents])
        ends = np.cumsum([c.shape[0] * c.shape[2] for c in codebooks])[:-1]
        self._latents = np.split(spread, ends, axis=1)
        self._codebooks = [-2 * c.transpose(0, 2, 1) for c in codebooks]
        self._norms = [np.square(c).sum(2)[:, None] for c in codebooks]

    def __call__(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`Selector`."""
        words = self._codebooks[number]
        z = self._latents[number][wavefront.cells].reshape(-1, len(words), words.shape[1]).transpose(1, 0, 2)
        costs = np.ascontiguousarray(z) @ words
        costs += self._norms[number]
        costs -= logits * np.float32(BIT_PRICE / LOGIT_UNIT)
        return costs.argmin(2).T.astype(np.int16)


@dataclass(frozen=True)
class _Entry:
    item: int
    symbols: Indices
    short: NDArray[np.uint8]


class IndexEncoder:
    """Lets a selector choose and remembers what it takes to encode the choice."""

    def __init__(self, shapes: Sequence[tuple[int, int]], select: Selector):
        """``shapes`` holds ``(rows, columns)`` of each item's grid."""
        self._shapes, self._select = shapes, select
        self._entries: list[_Entry] = []

    def exchange(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        chosen = self._select(number, wavefront, logits)
        short = logit_gaps(logits)
        for item, part in wavefront.parts:
            rows = short[:, part].reshape(-1, logits.shape[2])
            self._entries.append(_Entry(item, chosen[part].T.reshape(-1), rows))
        return chosen

    def to_bytes(self) -> list[bytes]:
        """The payload of each item."""
        pushers = [AnsEncoder() for _ in self._shapes]
        for entry in reversed(self._entries):
            pushers[entry.item].push(entry.symbols, frequencies(entry.short))
        return [pusher.to_bytes(min_words(shape)) for pusher, shape in zip(pushers, self._shapes, strict=True)]

    def ideal_bits(self) -> float:
        """Cross-entropy of the choice under the prior's frequencies, all items together."""
        total = 0.0
        for entry in self._entries:
            rows = frequencies(entry.short)
            chosen = rows[np.arange(len(rows)), entry.symbols]
            total += float(np.log2(rows.sum(1) / chosen).sum())
        return total
