"""The walk and its ports with the compiled functions of ``kernels.py``: the same indices and bytes as in numpy.

Each class replaces one written in numpy, which it names.  Models that code every index with one symbol have no compiled
ports.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.arithmetic import ATTENTION_TAPS, LIMIT, PAST, PAST_AND_HERE, SQUARE
from vqcodec.coding import kernels
from vqcodec.coding.integer_prior import Array, Context, Head, IntegerLevelPrior, Linear, SlicePrediction
from vqcodec.coding.rans import payload, payload_words
from vqcodec.coding.slice_symbols import Indices, shell_table
from vqcodec.coding.symbols import Selector, SliceLatents, min_words
from vqcodec.coding.traversal import Wavefront, WavefrontLayout
from vqcodec.config import BIT_PRICE
from vqcodec.errors import CorruptStream
from vqcodec.outer_points import largest_digit_bits, range_count

_REASONS = {
    kernels.ZERO_LAST: "the last codebook of a slice has index zero",
    kernels.OUTSIDE_SHELL: "a codeword lies outside its shell",
    kernels.OUTSIDE_OUTER_SHELL: "an outer point lies outside its shell",
}


def _linear(linear: Linear) -> tuple[Array, Array]:
    return linear.weight, linear.bias


def _context(context: Context, indices: Indices) -> Array:
    """Do what calling ``context`` does."""
    groups, height, width = indices.shape
    channels = context.second.weight.shape[1]
    stride = width + 1  # the zeros at the end of a row are also to the left of the next
    y, x = np.divmod(np.arange(height * width), width)
    cells = (y + 1) * stride + x + 1
    offsets = np.array([dy * stride + dx for dy, dx in SQUARE])

    inside = np.zeros((height + 2) * stride + 1, bool)
    inside[cells] = True

    def apply(linear: Linear, values: Array) -> Array:
        x = np.zeros((len(inside), values.shape[1]), np.float32)
        x[cells] = values
        result = np.empty((len(cells), channels), np.float32)
        kernels.map_taps(x, inside, cells, offsets, _linear(linear), result)
        return result

    h = np.clip(apply(context.first, context.embedding(indices.reshape(groups, -1).T)), 0, LIMIT)
    h = np.clip(h + apply(context.second, h), 0, LIMIT)
    return context.upsample(h, height, width)


class CompiledTrunk:
    """:class:`~vqcodec.coding.traversal.NumpyTrunk`."""

    def __init__(
        self,
        prior: IntegerLevelPrior,
        layout: WavefrontLayout,
        coarse: Sequence[Indices] | None,
        quality: Sequence[int],
    ):
        self._prior, self._layout, self._steps = prior, layout, np.asarray(quality, np.int64)
        self._embedded = layout.buffer(prior.embedding.channels)
        self._occupied = np.zeros(layout.size, bool)
        self._inside = layout.inside()
        self._trunk = layout.buffer(prior.channels)
        self._groups = np.cumsum([0, *(head.config.groups for head in prior.heads)]).tolist()
        self._indices = np.zeros((layout.size, self._groups[-1]), np.int32)
        self._context = np.zeros((0, prior.channels), np.float32)
        if prior.context is not None:
            assert coarse is not None
            self._context = layout.spread([_context(prior.context, grid) for grid in coarse])
        self._past, self._near = layout.offsets(PAST), layout.offsets(PAST_AND_HERE)
        if prior.attention is not None:
            self._window = layout.offsets(ATTENTION_TAPS)
            self._keys = layout.buffer(prior.attention.width)
            self._values = layout.buffer(prior.attention.width)

    def start(self, wavefront: Wavefront) -> Array:
        """See :class:`~vqcodec.coding.traversal.Trunk`."""
        prior, cells = self._prior, wavefront.cells
        h = np.empty((len(cells), prior.channels), np.float32)
        kernels.trunk_start(
            self._embedded,
            self._occupied,
            cells,
            self._past,
            _linear(prior.past),
            prior.quality,
            self._steps[wavefront.items],
            self._context,
            prior.context is not None,
            h,
        )
        if prior.attention is not None:
            kernels.attend(
                _linear(prior.attention.project),
                prior.attention.bias,
                _linear(prior.attention.out),
                cells,
                self._window,
                self._inside,
                self._keys,
                self._values,
                h,
            )
        known = np.zeros((len(cells), prior.channels + prior.embedding.channels), np.float32)
        kernels.trunk_end(
            self._trunk, self._inside, cells, self._near, _linear(prior.near), _linear(prior.mix), h, known
        )
        return known

    def fill(self, wavefront: Wavefront, number: int, chosen: Indices, known: Array) -> None:
        """See :class:`~vqcodec.coding.traversal.Trunk`."""
        embedding, width = self._prior.embedding, self._prior.heads[number].inputs
        kernels.embed(
            chosen,
            embedding.tables[number],
            embedding.slices[number].dim,
            embedding.slices[number].precision,
            known,
            width,
            wavefront.cells,
            self._indices,
            self._groups[number],
        )

    def finish(self, wavefront: Wavefront, known: Array) -> None:
        """See :class:`~vqcodec.coding.traversal.Trunk`."""
        kernels.keep_embedded(known, self._prior.channels, wavefront.cells, self._embedded, self._occupied)

    def indices(self) -> list[Indices]:
        """See :class:`~vqcodec.coding.traversal.Trunk`."""
        return self._layout.collect(self._indices)


class _Slices:
    """The arrays of each slice's head, as the compiled functions take them."""

    def __init__(self, prior: IntegerLevelPrior):
        self.heads = [_head(head) for head in prior.heads]
        self.shells = [_shells(head) for head in prior.heads]


def _head(head: Head) -> tuple[object, ...]:
    assert head.shells is not None
    return (
        (np.ascontiguousarray(head.shells.length.weight.T), head.shells.length.bias),
        head.shells.length_quality,
        _linear(head.first),
        _linear(head.second),
        _linear(head.third),
        _linear(head.shells.shell),
        head.shells.shell_quality,
        _linear(head.coefficients),
        head.quality,
        head.features,
    )


def _shells(head: Head) -> tuple[object, ...]:
    assert head.shells is not None
    config, table = head.config, shell_table(head.config)
    return (
        table.starts,
        table.sizes,
        largest_digit_bits(config),
        head.shells.ranges,
        head.shells.ranges_quality,
        config.dim,
        config.precision,
    )


class CompiledDecoder:
    """:class:`~vqcodec.coding.symbols.IndexDecoder`."""

    def __init__(self, prior: IntegerLevelPrior, payloads: Sequence[bytes], shapes: Sequence[tuple[int, int]]):
        """See :class:`~vqcodec.coding.symbols.IndexDecoder`."""
        parts = [payload_words(data, min_words(shape)) for data, shape in zip(payloads, shapes, strict=True)]
        self._slices = _Slices(prior)
        ends = np.cumsum([len(part) for part in parts])
        states = np.zeros(len(parts), np.uint64)
        for i, part in enumerate(parts):
            taken = part[-2:].astype(np.uint64)
            ends[i] -= len(taken)
            for word in taken[::-1]:
                states[i] = states[i] << np.uint64(32) | word
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        self._payloads = np.concatenate(parts), starts, ends, states

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        chosen = np.zeros((prediction.count, prediction.head.config.groups), np.int32)
        status = kernels.decode_slice(
            prediction.known,
            prediction.head.inputs,
            wavefront.items,
            prediction.quality,
            self._slices.heads[number],
            self._slices.shells[number],
            self._payloads,
            chosen,
        )
        if status != kernels.OK:
            raise CorruptStream(_REASONS[status])
        return chosen

    def finish(self) -> None:
        """See :class:`~vqcodec.coding.symbols.IndexDecoder`."""
        _, starts, ends, states = self._payloads
        if states.any() or (ends != starts).any():
            raise CorruptStream("entropy-coded data does not end after the last symbol")


class _Symbols:
    """Growing arrays of symbols."""

    def __init__(self, *, frequencies: bool = False):
        self._frequencies = frequencies
        self.arrays: tuple[NDArray[Any], ...] = (
            np.empty(0, np.int32),
            np.empty(0, np.uint32),
            np.empty(0, np.uint32),
            np.empty(0, np.int32),
            np.empty(0, np.uint32),
            np.zeros(2, np.int64),
        )

    def reserve(self, symbols: int, alphabet: int) -> None:
        """Make room for more symbols with at most this many frequencies each."""
        used = self.arrays[-1]
        if used[0] + symbols > len(self.arrays[0]):
            room = int(2 * used[0]) + symbols
            self.arrays = (*(_grown(array, room) for array in self.arrays[:4]), *self.arrays[4:])
        if self._frequencies and used[1] + symbols * alphabet > len(self.arrays[4]):
            room = int(2 * used[1]) + symbols * alphabet
            self.arrays = (*self.arrays[:4], _grown(self.arrays[4], room), used)


def _grown(array: NDArray[np.generic], room: int) -> NDArray[np.generic]:
    grown = np.empty(room, array.dtype)
    grown[: len(array)] = array
    return grown


class CompiledEncoder:
    """:class:`~vqcodec.coding.symbols.IndexEncoder` with a :class:`~vqcodec.coding.symbols.RateDistortionSelector`."""

    def __init__(self, prior: IntegerLevelPrior, shapes: Sequence[tuple[int, int]], latents: Sequence[SliceLatents]):
        """``latents`` are those of each slice."""
        self._shapes, self._slices, self._symbols = shapes, _Slices(prior), _Symbols()
        self._latents: list[tuple[NDArray[np.float32] | float, ...]] = [
            (s.latents, s.codebooks, s.norms, s.least, BIT_PRICE * head.least_digit_bits)
            for s, head in zip(latents, prior.heads, strict=True)
        ]

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        chosen = np.zeros((prediction.count, prediction.head.config.groups), np.int32)
        _encode(self._slices, self._symbols, number, wavefront, prediction, self._latents[number], chosen)
        return chosen

    def to_bytes(self) -> list[bytes]:
        """Return the payload of each grid."""
        items, used = self._symbols.arrays[0], self._symbols.arrays[-1]
        counts = np.bincount(items[: used[0]], minlength=len(self._shapes))
        words = np.empty((len(self._shapes), int(counts.max()) + 2), np.uint32)
        lengths = np.zeros(len(self._shapes), np.int64)
        kernels.pack_symbols(self._symbols.arrays, np.zeros(len(self._shapes), np.uint64), words, lengths)
        return [
            payload(row[:length], min_words(shape))
            for row, length, shape in zip(words, lengths, self._shapes, strict=True)
        ]


class CompiledHasher:
    """:class:`~vqcodec.coding.fingerprint.FrequencyHasher`."""

    def __init__(self, prior: IntegerLevelPrior, items: int, known: Selector):
        self._items, self._known = items, known
        self._slices, self._symbols = _Slices(prior), _Symbols(frequencies=True)

    def exchange(self, number: int, wavefront: Wavefront, prediction: SlicePrediction) -> Indices:
        """See :class:`~vqcodec.coding.traversal.IndexPort`."""
        chosen = self._known(number, wavefront, prediction)
        _encode(self._slices, self._symbols, number, wavefront, prediction, _NO_LATENTS, chosen)
        return chosen

    def digests(self) -> list[bytes]:
        """See :class:`~vqcodec.coding.fingerprint.FrequencyHasher`."""
        items, _, _, sizes, rows, used = self._symbols.arrays
        owners = np.repeat(items[: used[0]], sizes[: used[0]])
        values = rows[: used[1]].astype("<u4")
        return [hashlib.sha256(values[owners == item].tobytes()).digest() for item in range(self._items)]


_NO_LATENTS: tuple[NDArray[np.float32] | float, ...] = (
    np.empty((0, 0), np.float32),
    np.empty((0, 0, 0), np.float32),
    np.empty((0, 0), np.float32),
    np.empty(0, np.float32),
    0.0,
)


def _encode(
    slices: _Slices,
    symbols: _Symbols,
    number: int,
    wavefront: Wavefront,
    prediction: SlicePrediction,
    latents: tuple[NDArray[np.float32] | float, ...],
    chosen: Indices,
) -> None:
    """Keep the symbols of a slice's indices ``chosen`` (N, G), which are chosen first if there are latents."""
    config = prediction.head.config
    most = prediction.count * (1 + 2 * config.groups * (1 + config.dim))
    symbols.reserve(most, max(config.groups + 1, config.shell_count, config.widest_shell, range_count(config)))
    kernels.encode_slice(
        prediction.known,
        prediction.head.inputs,
        wavefront.items,
        prediction.quality,
        slices.heads[number],
        slices.shells[number],
        latents is not _NO_LATENTS,
        wavefront.cells,
        latents,
        chosen,
        symbols.arrays,
    )
