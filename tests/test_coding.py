"""Grids <-> bytes: the integer prior equals its training form, decoding inverts encoding, batches change nothing."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.support.tiny import TINY, random_grids, tiny_network
from vqcodec.coding.frequencies import TABLE, frequencies, logit_gaps
from vqcodec.coding.integer_prior import read_prior
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.coding.symbols import FixedIndices, IndexDecoder, IndexEncoder
from vqcodec.coding.traversal import WavefrontLayout, walk
from vqcodec.errors import CorruptStream, InvalidWeights, MalformedStream
from vqcodec.training.export import integer_prior

SHAPE = [(5, 7), (10, 14)]


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def priors(network):
    arrays = integer_prior(network.prior)
    return read_prior(arrays, TINY)


def encode(prior, grids, coarse=None, quality=100):
    layout = WavefrontLayout(prior, [g.shape[1:] for g in grids])
    writer = IndexEncoder(layout.shapes, FixedIndices(layout, grids, [h.config.groups for h in prior.heads]))
    walk(prior, layout, coarse, [quality] * len(grids), writer)
    return writer


def decode(prior, payloads, shapes, coarse=None, quality=100):
    reader = IndexDecoder(payloads, shapes)
    grids = walk(prior, WavefrontLayout(prior, shapes), coarse, [quality] * len(shapes), reader)
    reader.finish()
    return grids


class Recorder:
    """A stand-in for the entropy coder that knows the indices and records the logits."""

    def __init__(self, known):
        self.known, self.logits = known, {}

    def exchange(self, number, wavefront, logits):
        for i, cell in enumerate(wavefront.cells):
            self.logits[number, int(cell)] = logits[:, i]
        return self.known(number, wavefront, logits)


def cross_entropy(prior, grid, coarse, quality=100):
    """Return the bits of a grid's indices under the prior's frequencies."""
    layout = WavefrontLayout(prior, [grid.shape[1:]])
    recorder = Recorder(FixedIndices(layout, [grid], [h.config.groups for h in prior.heads]))
    walk(prior, layout, [coarse], [quality], recorder)
    bits, first = 0.0, 0
    for number, head in enumerate(prior.heads):
        last = first + head.config.groups
        for cell, chosen in zip(layout.cells_of[0], grid[first:last].reshape(last - first, -1).T, strict=True):
            rows = frequencies(logit_gaps(recorder.logits[number, int(cell)]))
            bits += np.log2(rows.sum(1) / rows[np.arange(len(rows)), chosen]).sum()
        first = last
    return bits


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("quality", [0, 100, 255])
def test_the_integer_prior_equals_its_training_form(network, priors, level, quality):
    grids = random_grids(SHAPE)
    position = torch.tensor([TINY.knot_positions(quality)])
    coarse = torch.from_numpy(grids[0])[None].long() if level else None
    with torch.no_grad():
        expected = network.prior[level](torch.from_numpy(grids[level])[None].long(), coarse, position)
    layout = WavefrontLayout(priors[level], [SHAPE[level]])
    known = FixedIndices(layout, [grids[level]], [s.groups for s in TINY.levels[level].slices])
    recorder = Recorder(known)
    walk(priors[level], layout, [grids[0]] if level else None, [quality], recorder)
    for number, logits in enumerate(expected):
        integers = torch.round(logits / math.log(2) * 16).numpy()
        walked = np.stack([recorder.logits[number, int(c)] for c in layout.cells_of[0]], 1)
        if level:
            np.testing.assert_array_equal(walked, integers)
        else:  # attention: the table of powers of two differs from exp in the last bits
            assert np.mean(walked != integers) < 0.1
            assert np.abs(walked - integers).max() <= 16


def test_walk_inverts_itself_for_one_and_for_many(priors):
    shapes = [SHAPE, [(1, 1), (2, 2)], [(3, 9), (6, 18)]]
    batch = [random_grids(s, seed) for seed, s in enumerate(shapes)]
    for level, prior in enumerate(priors):
        grids = [g[level] for g in batch]
        coarse = [g[0] for g in batch] if level else None
        together = encode(prior, grids, coarse).to_bytes()
        alone = [
            encode(prior, [g], [c] if level else None).to_bytes()[0]
            for g, c in zip(grids, coarse or grids, strict=True)
        ]
        assert together == alone
        back = decode(prior, together, [g.shape[1:] for g in grids], coarse)
        for a, b in zip(grids, back, strict=True):
            np.testing.assert_array_equal(a, b)


def test_file_size_is_the_cross_entropy(priors):
    shape = [(12, 16), (24, 32)]
    grids = random_grids(shape)
    (payload,) = encode(priors[1], [grids[1]], [grids[0]]).to_bytes()
    ideal = cross_entropy(priors[1], grids[1], grids[0])
    assert ideal <= 8 * len(payload) <= ideal * 1.002 + 64


def test_batches_may_mix_qualities(priors):
    grids = [random_grids(SHAPE, seed)[0] for seed in (1, 2)]
    layout = WavefrontLayout(priors[0], [SHAPE[0]] * 2)
    writer = IndexEncoder(layout.shapes, FixedIndices(layout, grids, [h.config.groups for h in priors[0].heads]))
    walk(priors[0], layout, None, [10, 200], writer)
    assert writer.to_bytes() == [
        encode(priors[0], [grid], quality=q).to_bytes()[0] for grid, q in zip(grids, (10, 200), strict=True)
    ]


def test_leftover_or_missing_data_is_reported(priors):
    grid = random_grids(SHAPE)[0]
    payload = encode(priors[0], [grid]).to_bytes()[0]
    with pytest.raises(CorruptStream):
        decode(priors[0], [b"\1\0\0\0" * 2 + payload], [SHAPE[0]])
    with pytest.raises(CorruptStream):
        decode(priors[0], [payload[:-1]], [SHAPE[0]])


def test_a_grid_has_a_least_payload(priors):
    """Short payloads are padded with zeros, only at the end and only to the least length."""
    shape = (24, 40)
    empty = np.zeros((sum(s.groups for s in TINY.levels[0].slices), *shape), np.int32)
    (payload,) = encode(priors[0], [empty]).to_bytes()
    assert payload == bytes(12)
    np.testing.assert_array_equal(decode(priors[0], [payload], [shape])[0], empty)
    with pytest.raises(MalformedStream, match="8 bytes of entropy-coded data: at least 12 are needed"):
        decode(priors[0], [payload[:-4]], [shape])
    for wrong in (payload + bytes(4), bytes(12) + b"\1\0\0\0"):
        with pytest.raises(CorruptStream):
            decode(priors[0], [wrong], [shape])


def test_weights_that_could_overflow_are_refused(network):
    arrays = integer_prior(network.prior)
    arrays["0.past.bias"] = np.full_like(arrays["0.past.bias"], 2**24)
    with pytest.raises(InvalidWeights, match=r"0\.past"):
        read_prior(arrays, TINY)
    del arrays["0.past.bias"]
    with pytest.raises(InvalidWeights, match=r"0\.past\.bias"):
        read_prior(arrays, TINY)


def test_frequencies_are_integers_and_never_zero():
    assert TABLE[0] == 65536 and TABLE[16] == 32768 and TABLE[255] == 1
    assert np.array_equal(TABLE, np.round(TABLE))
    logits = np.float32([[5, -4000, 5, 0]])
    np.testing.assert_array_equal(logit_gaps(logits), [[0, 255, 0, 5]])
    assert frequencies(logit_gaps(logits)).min() == 1


def test_rans_bytes_are_frozen():
    rows = frequencies(np.array([[0, 16, 255], [0, 0, 0], [255, 3, 0]], np.uint8))
    pusher = AnsEncoder()
    pusher.push(np.array([1, 2, 0]), rows)
    data = pusher.to_bytes()
    assert data.hex() == "a7aaaa02" == pusher.to_bytes(1).hex()
    assert pusher.to_bytes(3) == data + bytes(8)
    for popper in (AnsDecoder(data), AnsDecoder(data, 1), AnsDecoder(data + bytes(8), 3)):
        np.testing.assert_array_equal(popper.pop(rows), [1, 2, 0])
        popper.finish()


def test_configuration_survives_json():
    from vqcodec.config import PRESETS, from_json, to_json

    for config in (*PRESETS.values(), TINY):
        assert from_json(to_json(config)) == config
        assert dataclasses.replace(config) == config
