"""Payloads of a slice's indices -> indices, through symbols and rANS: each grid has exactly one payload."""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from tests.support.independent_decoder import Rans, Slice
from tests.support.tiny import random_head, random_outer_points, random_prediction
from vqcodec.coding.integer_prior import Head, SlicePrediction
from vqcodec.coding.slice_symbols import Indices
from vqcodec.coding.symbols import IndexDecoder, IndexEncoder
from vqcodec.coding.traversal import Wavefront
from vqcodec.config import SliceConfig
from vqcodec.errors import CorruptStream, MalformedStream
from vqcodec.outer_points import outer_digits, outer_shell

ALLOWED = (CorruptStream, MalformedStream)
SLICES = tuple(SliceConfig(*shape) for shape in ((3, 1, 32), (2, 2, 112), (1, 2, 4), (2, 4, 49), (3, 8, 9), (2, 1, 3)))
STRENGTHS = (0.0, 0.05, 1.0, 30.0)
"""From nearly uniform distributions to certain symbols."""
OUTER_POINTS = 256
SLOW = 16
"""Positions of which the plain decoder, which is slow, decodes no more."""
HEADER = 7
"""Number of bytes before the payload of an input."""


@functools.cache
def head(number: int) -> Head:
    """Return a head for a slice of one kind, with shells or without, more or less certain."""
    number, by_shells = divmod(number, 4)
    shape, strength = divmod(number, len(STRENGTHS))
    return random_head(
        SLICES[shape % len(SLICES)], by_shells=by_shells > 0, strength=STRENGTHS[strength], seed=number % 7
    )


@functools.cache
def outer_points(config: SliceConfig) -> Indices:
    """Return outer points of a slice."""
    return random_outer_points(config, OUTER_POINTS, np.random.default_rng(0))


def check(data: bytes) -> None:
    """Check that decoded indices encode to the same payload, and encoded ones decode to the same indices."""
    if len(data) < HEADER:
        return
    kind, count, cut, zeros, seed, length, room = data[:HEADER]
    count = 1 + count % 64
    prediction = random_prediction(head(kind % (4 * len(STRENGTHS) * len(SLICES))), count, seed)
    wavefront = Wavefront(np.arange(count), np.sort(np.arange(count) < cut % count).astype(np.intp))
    shapes = [(8, room)] * (int(wavefront.items.max()) + 1)  # decides how short a payload may be
    rest = data[HEADER:]
    _there_and_back(prediction, wavefront, shapes, _indices(prediction, rest, zeros))
    payloads = [rest[: 4 * length], rest[4 * length :]] if len(shapes) == 2 else [rest]
    try:
        reader = IndexDecoder(payloads, shapes)
        chosen = reader.exchange(0, wavefront, prediction)
        reader.finish()
    except ALLOWED:
        return
    config = prediction.head.config
    assert chosen.shape == (count, config.groups) and chosen.max() < config.size
    outer = chosen[chosen < 0]
    assert prediction.head.shells is not None or not len(outer)
    assert (outer_shell(config, outer) < len(config.outer_bits)).all()
    assert _encode(prediction, wavefront, shapes, chosen) == payloads


def _indices(prediction: SlicePrediction, data: bytes, zeros: int) -> Indices:
    """Make indices (N, G) of bytes: two for each."""
    config = prediction.head.config
    values = np.resize(np.frombuffer(data + bytes(2 + len(data) % 2), "<u2"), (prediction.count, config.groups))
    if prediction.head.shells is None:
        return (values % config.size).astype(np.int32)
    indices = np.where(values & 1, outer_points(config)[values >> 8], (values >> 1) % config.size)
    return np.where((values >> 4) % 16 < zeros % 17, 0, indices).astype(np.int32)


def _there_and_back(
    prediction: SlicePrediction, wavefront: Wavefront, shapes: Sequence[tuple[int, int]], indices: Indices
) -> None:
    payloads = _encode(prediction, wavefront, shapes, indices)
    reader = IndexDecoder(payloads, shapes)
    assert (reader.exchange(0, wavefront, prediction) == indices).all()
    reader.finish()
    if prediction.count > SLOW:
        return
    config = prediction.head.config
    part = Slice({"groups": config.groups, "dim": config.dim, "size": config.size})
    for item, payload in enumerate(payloads):
        plain = Rans(payload, math.prod(shapes[item]) // 256)
        places = np.flatnonzero(wavefront.items == item).tolist()
        code = part.code_plainly if prediction.head.shells is None else part.code
        for (group, place), found in code(plain, Rows(prediction), places, None).items():
            assert found == _spelled_out(config, indices[place, group : group + 1])
        plain.finish()


class Rows:
    """The logits of a prediction, as the plain decoder wants them."""

    def __init__(self, prediction: SlicePrediction):
        everything = prediction.at(np.arange(prediction.count))
        self.words = everything.words().transpose(1, 0, 2).__getitem__
        if prediction.head.shells is not None:
            self.lengths, self.shells = prediction.lengths().__getitem__, everything.shells().__getitem__
            self.ranges = lambda *place: everything.ranges(*(np.array([n]) for n in place))[0]


def _spelled_out(config: SliceConfig, index: Indices) -> int | tuple[int, ...]:
    if index[0] >= 0:
        return int(index[0])
    return (int(outer_shell(config, index)[0]), *(int(digits[0]) for digits in outer_digits(config, index)))


def _encode(
    prediction: SlicePrediction, wavefront: Wavefront, shapes: Sequence[tuple[int, int]], indices: Indices
) -> list[bytes]:
    writer = IndexEncoder(shapes, lambda *_: indices)
    writer.exchange(0, wavefront, prediction)
    return writer.to_bytes()


def seeds() -> Iterator[bytes]:
    """Yield payloads of no word, one and several, padded and not, for every head and many indices."""
    for kind in range(0, 4 * len(STRENGTHS) * len(SLICES), 3):
        yield bytes([kind, 20, 9, 17, 1, 0, 0])
        yield bytes([kind, 5, 0, 8, 2, 1, 64]) + b"\1\0\0\0" + bytes(4)
        yield bytes([kind, 40, 30, 4, 3, 2, 3]) + bytes(range(1, 25))
        yield bytes([kind, 3, 0, 0, 3, 2, 3]) + np.random.default_rng(kind).bytes(24)
