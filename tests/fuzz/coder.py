"""Payloads of level sections -> indices, through rANS: each grid has exactly one payload."""

import math
from collections.abc import Iterator

import numpy as np

from tests.support.independent_decoder import Rans
from vqcodec.coding.frequencies import frequencies, logit_gaps
from vqcodec.coding.symbols import IndexDecoder, IndexEncoder
from vqcodec.coding.traversal import Wavefront
from vqcodec.errors import CorruptStream, MalformedStream

ALLOWED = (CorruptStream, MalformedStream)
GROUPS = 2
HEAD = 7
"""Number of bytes before the payload of an input."""


def check(data: bytes) -> None:
    """Check that decoded indices encode to the same payload, and encoded ones decode to the same indices."""
    if len(data) < HEAD:
        return
    size, count, cut, style, seed, length, room = data[:HEAD]
    size, count = 2 + 2 * size, 1 + count % 64
    logits = _logits(style, seed, (GROUPS, count, size))
    wavefront = Wavefront(np.arange(count), np.sort(np.arange(count) < cut % count).astype(np.intp))
    shapes = [(8, room)] * (int(wavefront.items.max()) + 1)  # decides how short a payload may be
    rest = data[HEAD:]
    wanted = np.resize(np.frombuffer(rest + b"\0", np.uint8).astype(np.int32), (count, GROUPS)) % size
    _there_and_back(logits, wavefront, shapes, wanted)
    payloads = [rest[: 4 * length], rest[4 * length :]] if len(shapes) == 2 else [rest]
    try:
        reader = IndexDecoder(payloads, shapes)
        chosen = reader.exchange(0, wavefront, logits)
        reader.finish()
    except ALLOWED:
        return
    assert chosen.shape == (count, GROUPS) and chosen.min() >= 0 and chosen.max() < size
    assert _encode(logits, wavefront, shapes, chosen) == payloads


def _there_and_back(logits, wavefront, shapes, indices):
    payloads = _encode(logits, wavefront, shapes, indices)
    reader = IndexDecoder(payloads, shapes)
    assert (reader.exchange(0, wavefront, logits) == indices).all()
    reader.finish()
    if logits.shape[2] > 32:  # the plain decoder is slow
        return
    for item, part in wavefront.parts:
        plain = Rans(payloads[item], math.prod(shapes[item]) // 256)
        for group in range(GROUPS):
            for place in range(part.start, part.stop):
                row = frequencies(logit_gaps(logits[group, place][None]))[0]
                assert plain.symbol([int(f) for f in row], place) == indices[place, group]
        plain.finish()


def _encode(logits, wavefront, shapes, indices):
    writer = IndexEncoder(shapes, lambda *_: indices)
    writer.exchange(0, wavefront, logits)
    return writer.to_bytes()


def _logits(style: int, seed: int, shape: tuple[int, int, int]):
    """Return integer logits in float32, from one certain symbol to a uniform distribution."""
    spread = (1, 16, 300, 2**23)[style % 4]
    values = np.random.default_rng(seed).integers(-spread, spread, shape)
    if style & 4:
        values[..., seed % shape[2]] += 4096  # one symbol is nearly certain
    if style & 8:
        values[..., 0] += 4096
    return values.astype(np.float32)


def seeds() -> Iterator[bytes]:
    """Yield payloads of no word, one and several, padded and not, with several kinds of tables."""
    for style in range(0, 16, 3):
        yield bytes([3, 20, 9, style, 1, 0, 0])
        yield bytes([15, 5, 0, style, 2, 1, 64]) + b"\1\0\0\0" + bytes(4)
        yield bytes([255, 40, 30, style, 3, 2, 3]) + bytes(range(1, 25))
