"""The compiled walk does what the one in numpy does, bit for bit; numba may be missing."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.tiny import TINY, tiny_network
from vqcodec.coding import grids
from vqcodec.coding.fingerprint import fingerprint, fixed_indices
from vqcodec.coding.integer_prior import read_prior
from vqcodec.coding.symbols import FixedIndices, IndexDecoder, IndexEncoder, RateDistortionSelector, slice_latents
from vqcodec.coding.traversal import NumpyTrunk, WavefrontLayout, walk
from vqcodec.errors import CorruptStream, MalformedStream
from vqcodec.model.prior_arrays import integer_prior

pytest.importorskip("numba")
from vqcodec.coding import compiled

SHAPES = ([(3, 5), (6, 2), (1, 1)], [(6, 10), (12, 4), (2, 2)])
STEPS = (10, 130, 255)


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def priors(network):
    return read_prior(integer_prior(network.prior), TINY)


@pytest.fixture(params=[0, 1], ids=["coarsest", "finest"])
def case(request, priors):
    """A prior, its coarser grids, its shapes, and indices of three grids with zeros and outer points."""
    level = request.param

    def indices(level):
        return [fixed_indices(priors[level].heads, shape, 7 * i) for i, shape in enumerate(SHAPES[level])]

    return priors[level], indices(0) if level else None, SHAPES[level], indices(level)


def encode(prior, coarse, shapes, port, trunk):
    found = walk(prior, WavefrontLayout(prior, shapes), coarse, STEPS, port, trunk)
    return found, port.to_bytes()


def reference(prior, coarse, shapes, indices):
    known = FixedIndices(WavefrontLayout(prior, shapes), indices, [h.config.groups for h in prior.heads])
    return encode(prior, coarse, shapes, IndexEncoder(shapes, known), NumpyTrunk)[1]


def decode(prior, coarse, shapes, payloads, port_type, trunk):
    port = port_type(payloads)
    found = walk(prior, WavefrontLayout(prior, shapes), coarse, STEPS, port, trunk)
    port.finish()
    return found


def both(prior, coarse, shapes, payloads):
    """Return what each decoder gives: indices, or the text of its error."""
    results = []
    for port_type, trunk in (
        (lambda given: IndexDecoder(given, shapes), NumpyTrunk),
        (lambda given: compiled.CompiledDecoder(prior, given, shapes), compiled.CompiledTrunk),
    ):
        try:
            results.append(decode(prior, coarse, shapes, payloads, port_type, trunk))
        except (CorruptStream, MalformedStream) as error:
            results.append(str(error))
    return results


def test_the_fingerprint_is_the_same(priors):
    assert fingerprint(priors) == fingerprint(priors, compiled.CompiledHasher, compiled.CompiledTrunk)


def test_the_fingerprint_covers_outer_points(priors):
    assert all((fixed_indices(prior.heads, (8, 8), 1) < 0).any() for prior in priors)


def test_known_indices_decode_the_same(case):
    prior, coarse, shapes, indices = case
    payloads = reference(prior, coarse, shapes, indices)
    for found in both(prior, coarse, shapes, payloads):
        for a, b in zip(found, indices, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spread", [0.5, 2.0, 60.0])
def test_chosen_indices_and_their_bytes_are_the_same(case, network, spread):
    """With small latents most indices are zero, with large ones there are outer points."""
    prior, coarse, shapes, _ = case
    level = 0 if coarse is None else 1
    rng = np.random.default_rng(level)
    latents = [rng.laplace(0, spread, (TINY.levels[level].latents, *shape)).astype(np.float32) for shape in shapes]
    codebooks = codebooks_of(level)
    slices = slice_latents(WavefrontLayout(prior, shapes), latents, codebooks)
    port = IndexEncoder(shapes, RateDistortionSelector(slices))
    indices, payloads = encode(prior, coarse, shapes, port, NumpyTrunk)
    port = compiled.CompiledEncoder(prior, shapes, slices)
    again, others = encode(prior, coarse, shapes, port, compiled.CompiledTrunk)
    assert payloads == others
    for a, b in zip(indices, again, strict=True):
        np.testing.assert_array_equal(a, b)
    every = np.concatenate([grid.ravel() for grid in indices])
    assert (every < 0).any() if spread == 60 else (every == 0).any() and (every > 0).any()


def codebooks_of(level):
    """Return random codebooks, ordered by norm, the first codeword zero."""
    result = []
    for number, s in enumerate(TINY.levels[level].slices):
        words = np.random.default_rng(number).normal(0, 2, (s.groups, s.size, s.dim)).astype(np.float32)
        words[:, 0] = 0
        order = np.square(words).sum(2).argsort(1)
        result.append(np.take_along_axis(words, order[:, :, None], 1))
    return result


def test_damaged_payloads_give_the_same_error_or_indices(case):
    prior, coarse, shapes, indices = case
    payloads = reference(prior, coarse, shapes, indices)
    rng = np.random.default_rng(0)
    errors = set()
    for trial in range(32):
        damaged = list(payloads)
        item = trial % 3
        data = bytearray(damaged[item])
        if trial % 4 == 0:
            data = data[: 4 * rng.integers(len(data) // 4 + 1)]
        elif trial % 4 == 1:
            data += rng.bytes(4)
        elif data:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        damaged[item] = bytes(data)
        one, other = both(prior, coarse, shapes, damaged)
        if isinstance(one, str):
            errors.add(one)
            assert one == other
        else:
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)
    assert "entropy-coded data does not end after the last symbol" in errors


@pytest.mark.parametrize("payload", [b"", b"\xff" * 4, b"\xff" * 64, b"\x01\x00\x00\x00" * 40])
def test_hostile_payloads_give_the_same_error_or_indices(case, payload):
    prior, coarse, shapes, _ = case
    one, other = both(prior, coarse, shapes, [payload] * len(shapes))
    assert type(one) is type(other)
    np.testing.assert_equal(one, other)


def test_an_item_decodes_alone_as_in_a_batch(case):
    prior, coarse, shapes, indices = case
    payloads = reference(prior, coarse, shapes, indices)
    for i, shape in enumerate(shapes):
        port = compiled.CompiledDecoder(prior, payloads[i : i + 1], [shape])
        own = None if coarse is None else coarse[i : i + 1]
        (found,) = walk(prior, WavefrontLayout(prior, [shape]), own, STEPS[i : i + 1], port, compiled.CompiledTrunk)
        np.testing.assert_array_equal(found, indices[i])


@pytest.fixture
def fresh(monkeypatch):
    """The state of a process that has walked nothing yet."""
    state = grids._Compiled()
    monkeypatch.setattr(grids, "_compiled", state)
    return state


def test_compiled_functions_are_loaded_once_it_pays(fresh):
    assert fresh.get(grids.LOAD_AFTER - 1) is None
    assert fresh.get(1) is compiled
    assert fresh.get(1) is compiled


@pytest.mark.parametrize("reason", ["missing", "cannot compile", "turned off"])
def test_without_numba_the_walk_is_in_numpy(fresh, monkeypatch, capfd, tiny_codec, reason):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    monkeypatch.setattr(grids, "LOAD_AFTER", 1)
    with_numba = tiny_codec.encode(image)
    assert fresh.get(0) is compiled
    other = grids._Compiled()
    monkeypatch.setattr(grids, "_compiled", other)
    if reason == "missing":
        monkeypatch.setitem(sys.modules, "numba", None)
    elif reason == "turned off":
        monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    else:
        monkeypatch.setitem(sys.modules, "vqcodec.coding.compiled", None)
        monkeypatch.delattr("vqcodec.coding.compiled")
    assert tiny_codec.encode(image) == with_numba
    assert other.get(0) is None
    np.testing.assert_array_equal(tiny_codec.decode(with_numba), tiny_codec.decode(with_numba))
    assert capfd.readouterr() == ("", "")


def test_importing_the_package_does_not_import_numba():
    code = "import sys, vqcodec.codec.codec, vqcodec.cli.main; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
