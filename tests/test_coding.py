"""Grids <-> bytes: the integer prior equals its training form, decoding inverts encoding, batches change nothing."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch

from tests.support.tiny import PLAIN, TINY, random_grids, tiny_network
from vqcodec.coding.frequencies import TABLE, frequencies, logit_gaps
from vqcodec.coding.integer_prior import read_prior
from vqcodec.coding.likelihood import CodeLength
from vqcodec.coding.rans import AnsDecoder, AnsEncoder
from vqcodec.coding.symbols import FixedIndices, IndexDecoder, IndexEncoder
from vqcodec.coding.traversal import WavefrontLayout, walk
from vqcodec.errors import CorruptStream, InvalidWeights, MalformedStream
from vqcodec.model.prior import slice_bits
from vqcodec.model.prior_arrays import integer_prior

SHAPE = [(5, 7), (10, 14)]


@pytest.fixture(scope="module", params=[TINY, PLAIN], ids=["by-shells", "plain"])
def network(request):
    return tiny_network(config=request.param)


@pytest.fixture(scope="module")
def config(network):
    return network.vqvae.config


@pytest.fixture(scope="module")
def priors(network, config):
    return read_prior(integer_prior(network.prior), config)


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
    """A stand-in for the entropy coder that knows the indices and records the logits of every slice by cell."""

    def __init__(self, known):
        self.known, self.logits = known, {}

    def exchange(self, number, wavefront, prediction):
        whole = prediction.at(np.arange(prediction.count))
        logits = [*whole.words().transpose(1, 0, 2).reshape(prediction.count, -1)]
        if prediction.head.shells is not None:
            parts = [logits, prediction.lengths(), whole.shells().reshape(prediction.count, -1)]
            logits = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
        for cell, row in zip(wavefront.cells, logits, strict=True):
            self.logits[number, int(cell)] = row
        return self.known(number, wavefront, prediction)


def walk_known(prior, grid, coarse, quality, make_port):
    """Walk a grid with known indices; return the layout and the port."""
    layout = WavefrontLayout(prior, [grid.shape[1:]])
    port = make_port(FixedIndices(layout, [grid], [h.config.groups for h in prior.heads]))
    walk(prior, layout, None if coarse is None else [coarse], [quality], port)
    return layout, port


def cross_entropy(prior, grid, coarse=None, quality=100):
    """Return the bits of a grid's indices under the prior's frequencies."""
    return walk_known(prior, grid, coarse, quality, partial(CodeLength, 1))[1].bits[0]


def tensors(grids, level):
    """Return the indices of a level and of the next coarser one, for the training form."""
    own, coarse = (torch.from_numpy(grids[i])[None].long() if i >= 0 else None for i in (level, level - 1))
    return own, coarse


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("quality", [0, 100, 255])
def test_the_integer_prior_equals_its_training_form(network, priors, config, level, quality):
    grids = random_grids(SHAPE, config=config)
    position = torch.tensor([config.knot_position(quality)])
    with torch.no_grad():
        expected = network.prior[level](*tensors(grids, level), position)
    layout, recorder = walk_known(priors[level], grids[level], grids[0] if level else None, quality, Recorder)
    for number, prediction in enumerate(expected):
        parts = [prediction.words().transpose(0, 1).flatten(1)]
        if config.entropy_constrained:
            parts += [prediction.lengths, prediction.shells.transpose(0, 1).flatten(1)]
        integers = torch.round(torch.cat(parts, 1) / math.log(2) * 16).numpy()
        walked = np.stack([recorder.logits[number, int(c)] for c in layout.cells_of[0]])
        if level:
            np.testing.assert_array_equal(walked, integers)
        else:  # attention: the table of powers of two differs from exp in the last bits
            assert np.mean(walked != integers) < 0.15
            assert np.abs(walked - integers).max() <= 16


@pytest.mark.parametrize("zeros", [0.0, 0.6, 1.0])
def test_training_computes_the_code_length(config, zeros):
    """Up to the rounding of frequencies; none is below 1 / 65536 of the largest, hence the moderate prior."""
    grids = random_grids(SHAPE, 3, config, zeros)
    network = tiny_network(config=config, strength=0.05)
    for level, prior in enumerate(read_prior(integer_prior(network.prior), config)):
        own, coarse = tensors(grids, level)
        with torch.no_grad():
            bits = sum(slice_bits(network.prior[level](own, coarse, torch.tensor([config.knot_position(100)])), own))
        assert float(bits) == pytest.approx(cross_entropy(prior, grids[level], grids[0] if level else None), rel=2e-3)


@pytest.mark.parametrize("zeros", [0.0, 0.6, 1.0])
def test_walk_inverts_itself_for_one_and_for_many(priors, config, zeros):
    shapes = [SHAPE, [(1, 1), (2, 2)], [(3, 9), (6, 18)]]
    batch = [random_grids(s, seed, config, zeros) for seed, s in enumerate(shapes)]
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


@pytest.mark.parametrize("zeros", [0.0, 0.6, 0.95])
def test_file_size_is_the_cross_entropy(priors, config, zeros):
    grids = random_grids([(12, 16), (24, 32)], 0, config, zeros)
    (payload,) = encode(priors[1], [grids[1]], [grids[0]]).to_bytes()
    ideal = cross_entropy(priors[1], grids[1], grids[0])
    assert ideal - 64 <= 8 * len(payload) <= ideal * 1.01 + 64  # the coder starts from nothing, and ends with a word


def test_batches_may_mix_qualities(priors, config):
    grids = [random_grids(SHAPE, seed, config)[0] for seed in (1, 2)]
    layout = WavefrontLayout(priors[0], [SHAPE[0]] * 2)
    writer = IndexEncoder(layout.shapes, FixedIndices(layout, grids, [h.config.groups for h in priors[0].heads]))
    walk(priors[0], layout, None, [10, 200], writer)
    assert writer.to_bytes() == [
        encode(priors[0], [grid], quality=q).to_bytes()[0] for grid, q in zip(grids, (10, 200), strict=True)
    ]


def test_leftover_or_missing_data_is_reported(priors, config):
    grid = random_grids(SHAPE, config=config)[0]
    payload = encode(priors[0], [grid]).to_bytes()[0]
    with pytest.raises(CorruptStream):
        decode(priors[0], [b"\1\0\0\0" * 2 + payload], [SHAPE[0]])
    with pytest.raises(CorruptStream):
        decode(priors[0], [payload[:-1]], [SHAPE[0]])


@pytest.mark.parametrize("shape", [(1, 300), (24, 40)])
def test_a_grid_has_a_least_payload(network, config, shape):
    """Short payloads are padded with zeros, only at the end and only to the least length."""
    arrays = integer_prior(network.prior)
    flat = {name: array if "embedding" in name else np.zeros_like(array) for name, array in arrays.items()}
    for number, part in enumerate(config.levels[0].slices):  # a prior that is certain of zeros
        name = f"0.heads.{number}"
        if config.entropy_constrained:
            flat[f"{name}.shells.length_quality"][:, 0] = 4096
        else:
            flat[f"{name}.features"][:, 0, 0] = 1023
            flat[f"{name}.quality"][:, :: part.rank] = 1023
    prior = read_prior(flat, config)[0]
    least = shape[0] * shape[1] // 256
    empty = np.zeros((config.levels[0].groups, *shape), np.int32)
    (payload,) = encode(prior, [empty]).to_bytes()
    assert payload == bytes(4 * least)
    np.testing.assert_array_equal(decode(prior, [payload], [shape])[0], empty)
    with pytest.raises(MalformedStream, match=f"{4 * least - 4} bytes .* data: at least {4 * least} are needed"):
        decode(prior, [payload[:-4]], [shape])
    for wrong in (payload + bytes(4), bytes(4 * least) + b"\1\0\0\0"):
        with pytest.raises(CorruptStream):
            decode(prior, [wrong], [shape])


def test_weights_that_could_overflow_are_refused(network, config):
    arrays = integer_prior(network.prior)
    arrays["0.past.bias"] = np.full_like(arrays["0.past.bias"], 2**24)
    with pytest.raises(InvalidWeights, match=r"0\.past"):
        read_prior(arrays, config)
    del arrays["0.past.bias"]
    with pytest.raises(InvalidWeights, match=r"0\.past\.bias"):
        read_prior(arrays, config)


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

    for config in (*PRESETS.values(), TINY, PLAIN):
        assert from_json(to_json(config)) == config
        assert dataclasses.replace(config) == config
