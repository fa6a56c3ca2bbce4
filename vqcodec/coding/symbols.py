"""Entropy-decode indices, or choose and encode them, during the traversal of the grids."""

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

    def exchange(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        groups, count, size = logits.shape
        gaps = logit_gaps(logits)
        chosen = np.empty((count, groups), np.int16)
        for item, part in wavefront.parts:
            symbols = self._decoders[item].pop(frequencies(gaps[:, part].reshape(-1, size)))
            chosen[part] = symbols.reshape(groups, -1).T
        return chosen

    def finish(self) -> None:
        """Raise :class:`~vqcodec.errors.CorruptStream` unless every payload ends with its last index."""
        for decoder in self._decoders:
            decoder.finish()


class Selector(Protocol):
    """Returns the indices (N, G) of slice ``number`` at a wavefront, given integer logits (G, N, K)."""

    def __call__(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices: ...


class FixedIndices:
    """Selects given indices."""

    def __init__(self, layout: WavefrontLayout, grids: Sequence[Indices], groups: Sequence[int]):
        """``grids`` (G, H, W) per item, ``groups`` codebooks of each slice."""
        spread = layout.spread([grid.transpose(1, 2, 0) for grid in grids]).astype(np.int16)
        self._slices = np.split(spread, np.cumsum(groups)[:-1], axis=1)

    def __call__(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`Selector`."""
        return self._slices[number][wavefront.cells]


class RateDistortionSelector:
    """Selects the codeword with the least squared error + :data:`BIT_PRICE` * bits (Chou et al. 1989).

    An encoder may choose any indices, so this arithmetic need not be exact.
    """

    def __init__(
        self, layout: WavefrontLayout, latents: Sequence[NDArray[np.float32]], codebooks: Sequence[NDArray[np.float32]]
    ):
        """``latents`` (D, H, W) per item, in codebook cells; ``codebooks`` (G, K, d) per slice."""
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
        chosen: Indices = costs.argmin(2).T.astype(np.int16)
        return chosen


@dataclass(frozen=True)
class _Entry:
    item: int
    symbols: Indices
    gaps: NDArray[np.uint8]


class IndexEncoder:
    """Lets a selector choose indices, and entropy-codes them afterwards."""

    def __init__(self, shapes: Sequence[tuple[int, int]], select: Selector):
        """Prepare to encode one payload per grid; ``shapes`` are ``(rows, columns)``."""
        self._shapes, self._select = shapes, select
        self._entries: list[_Entry] = []

    def exchange(self, number: int, wavefront: Wavefront, logits: NDArray[np.float32]) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        chosen = self._select(number, wavefront, logits)
        gaps = logit_gaps(logits)
        for item, part in wavefront.parts:
            rows = gaps[:, part].reshape(-1, logits.shape[2])
            self._entries.append(_Entry(item, chosen[part].T.reshape(-1), rows))
        return chosen

    def to_bytes(self) -> list[bytes]:
        """Return the payload of each grid."""
        encoders = [AnsEncoder() for _ in self._shapes]
        for entry in reversed(self._entries):
            encoders[entry.item].push(entry.symbols, frequencies(entry.gaps))
        return [encoder.to_bytes(min_words(shape)) for encoder, shape in zip(encoders, self._shapes, strict=True)]
