"""The indices of a slice <-> symbols: every index comes back, whatever its neighbours; damaged symbols are refused."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny import random_head, random_outer_points, random_prediction
from vqcodec.coding import slice_symbols
from vqcodec.coding.likelihood import CodeLength
from vqcodec.coding.symbols import IndexDecoder, IndexEncoder
from vqcodec.coding.traversal import Wavefront
from vqcodec.config import PRESETS, SliceConfig
from vqcodec.errors import CorruptStream
from vqcodec.model import quantizer
from vqcodec.outer_points import largest_digit_bits, pack

SLICES = (
    SliceConfig(4, 1, 32),
    SliceConfig(3, 2, 16),
    SliceConfig(1, 4, 49),
    SliceConfig(2, 8, 9),
    SliceConfig(2, 1, 3),
)
HEADS = {
    (config, by_shells): random_head(config, by_shells=by_shells) for config in SLICES for by_shells in (True, False)
}


def wavefront(items):
    return Wavefront(np.arange(len(items)), np.asarray(items, np.intp))


def chosen(indices, *_):
    """A selector, once ``indices`` are bound."""
    return indices


def encode(head, indices, items, encoder=IndexEncoder):
    """Return the payload of each item with ``indices`` (N, G) at positions of ``items`` (N,)."""
    writer = encoder([(1, 1)] * (max(items, default=0) + 1), partial(chosen, indices))
    writer.exchange(0, wavefront(items), random_prediction(head, len(indices)))
    return writer.to_bytes()


def decode(head, payloads, items):
    reader = IndexDecoder(payloads, [(1, 1)] * len(payloads))
    found = reader.exchange(0, wavefront(items), random_prediction(head, len(items)))
    reader.finish()
    return found


def check(head, indices, items):
    """Encode and decode; each item alone has the same payload as among the others."""
    payloads = encode(head, indices, items)
    np.testing.assert_array_equal(decode(head, payloads, items), indices)
    whole = random_prediction(head, len(indices))
    for item in set(items):
        rows = np.flatnonzero(np.asarray(items) == item)
        writer = IndexEncoder([(1, 1)], partial(chosen, indices[rows]))
        writer.exchange(0, wavefront([0] * len(rows)), head.predict(whole.known[rows], whole.quality[rows]))
        assert writer.to_bytes() == [payloads[item]]


def every_index(config, by_shells):
    """Return the first and the last codeword of every shell, and outer points of every bit length."""
    if not by_shells:
        return np.arange(config.size)
    ends = np.cumsum(config.shells)
    found = [ends - 1, ends - config.shells]
    for shell, bits in enumerate(largest_digit_bits(config)):
        for place, other, sign in itertools.product(range(config.dim), range(bits + 1), (-1, 1)):
            for largest in (1 << bits - 1, (1 << bits) - 1):
                digits = np.full((1, config.dim), -sign * (1 << other >> 1))
                digits[0, place] = sign * largest
                found.append(pack(config, np.array([shell]), digits))
    return np.unique(np.concatenate(found))


@pytest.mark.parametrize("by_shells", [True, False])
@pytest.mark.parametrize("config", SLICES, ids=str)
@pytest.mark.parametrize("items", [1, 3])
def test_every_index_comes_back(config, by_shells, items):
    """Every index in every codebook, alone in its slice and as the last one of every length."""
    values = every_index(config, by_shells)
    rows = np.zeros((config.groups, config.groups, len(values), config.groups), np.int32)
    for place, length in itertools.product(range(config.groups), repeat=2):
        rows[place, length, :, length] = 1
        rows[place, length, :, place] = values
    rows = rows.reshape(-1, config.groups)
    check(HEADS[config, by_shells], rows, np.sort(np.arange(len(rows)) % items))


@pytest.mark.parametrize("config", SLICES, ids=str)
@pytest.mark.parametrize("count", [1, 40])
def test_zeros_come_back(config, count):
    for items in ([0] * count, list(range(count))):
        check(HEADS[config, True], np.zeros((count, config.groups), np.int32), items)


@given(
    st.sampled_from(SLICES),
    st.booleans(),
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.integers(0, 2**32),
    st.floats(0, 1),
)
def test_any_indices_come_back(config, by_shells, items, seed, zeros):
    rng = np.random.default_rng(seed)
    shape = (len(items), config.groups)
    indices = rng.integers(config.size, size=shape).astype(np.int32)
    if by_shells:
        outer = random_outer_points(config, indices.size, rng).reshape(shape)
        indices = np.where(rng.random(shape) < 0.3, outer, indices)
        indices = np.where(rng.random(shape) < zeros, 0, indices)
    check(HEADS[config, by_shells], indices, sorted(items))


@pytest.mark.parametrize("by_shells", [True, False])
@pytest.mark.parametrize("config", SLICES, ids=str)
def test_the_size_of_a_payload_is_the_cross_entropy(config, by_shells):
    rng = np.random.default_rng(2)
    indices = rng.choice(every_index(config, by_shells), (2000, config.groups)).astype(np.int32)
    indices[rng.random(indices.shape) < 0.4] = 0
    (payload,) = encode(HEADS[config, by_shells], indices, [0] * len(indices))
    counter = CodeLength(1, partial(chosen, indices))
    counter.exchange(0, wavefront([0] * len(indices)), random_prediction(HEADS[config, by_shells], len(indices)))
    assert counter.bits[0] - 64 <= 8 * len(payload) <= counter.bits[0] * 1.01 + 64


SMALL = SliceConfig(2, 2, 15)
OUTER = int(pack(SMALL, np.array([2]), np.array([[5, 0]]))[0])
"""Its digits have three bits and none."""
LATER = int(pack(SMALL, np.array([2]), np.array([[0, 5]]))[0])
LENGTHS, SHELLS, WORDS, FIRST_RANGE, SECOND_RANGE = range(5)
"""Steps of a slice's code."""


@pytest.mark.parametrize(
    ("index", "step", "symbols", "message"),
    [
        (5, SHELLS, [1, 0], "the last codebook of a slice has index zero"),
        (5, WORDS, [0, 6], "a codeword lies outside its shell"),  # six codewords, eight in the widest shell
        (5, WORDS, [0, 7], "a codeword lies outside its shell"),
        (OUTER, FIRST_RANGE, [7], "an outer point lies outside its shell"),  # longer than three bits
        (OUTER, SECOND_RANGE, [20], "an outer point lies outside its shell"),  # the same below zero
        (LATER, SECOND_RANGE, [2], "an outer point lies outside its shell"),  # no digits of three bits
    ],
)
def test_symbols_that_no_encoder_writes_are_refused(index, step, symbols, message):
    head = random_head(SMALL)
    indices = np.array([[0, 0], [1, index]], np.int32)
    assert SMALL.shells == (1, 6, 8)

    class Forger(IndexEncoder):
        steps = 0

        def categorical(self, parts, rows, known, rule=None):
            forged = known
            if self.steps == step:
                assert len(known) == len(symbols)
                forged = np.array(symbols, np.int32)
            self.steps += 1
            super().categorical(parts, rows, forged, rule)
            return known

    honest = encode(head, indices, [0, 0])
    np.testing.assert_array_equal(decode(head, honest, [0, 0]), indices)
    (payload,) = encode(head, indices, [0, 0], Forger)
    assert payload != honest[0]
    with pytest.raises(CorruptStream, match=message):
        decode(head, [payload], [0, 0])


ALL_SLICES = sorted(
    {s for config in PRESETS.values() if config.entropy_constrained for level in config.levels for s in level.slices}
    | {SliceConfig(1, dim, size) for dim in range(1, 9) for size in (3, 4, 7, 30, 112, 500, 1500)},
    key=str,
)


@pytest.mark.parametrize("config", ALL_SLICES, ids=str)
def test_shells_divide_the_codebook(config):
    assert sum(config.shells) == config.size and min(config.shells) >= 1
    assert config.shells[0] == 1 and len(config.shells) > 1
    assert config.widest_shell == max(config.shells)
    assert config.outer_bits == tuple(range(config.outer_bits[0], 11))
    words = np.arange(config.size, dtype=np.int32)
    expected = np.repeat(np.arange(len(config.shells)), config.shells)
    np.testing.assert_array_equal(slice_symbols.shells_of(config, words), expected)
    outer = random_outer_points(config, 50, np.random.default_rng(0))
    for indices in (words, outer):
        by_model = quantizer.shells_of(config, torch.from_numpy(indices).long())
        np.testing.assert_array_equal(slice_symbols.shells_of(config, indices), by_model.numpy())
    assert slice_symbols.shells_of(config, outer).min() >= len(config.shells)
    assert slice_symbols.shells_of(config, outer).max() < config.shell_count


def test_the_example_of_the_specification():
    assert SliceConfig(1, 2, 112).shells == (1, 6, 6, 12, 24, 63)


@given(st.lists(st.lists(st.sampled_from([0, 3, -17]), min_size=3, max_size=3), min_size=1))
def test_the_length_ends_at_the_last_index_that_is_not_zero(rows):
    expected = [len("".join("x" if v else " " for v in row).rstrip()) for row in rows]
    assert slice_symbols.lengths_of(np.array(rows, np.int32)).tolist() == expected
    assert quantizer.lengths_of(torch.tensor(rows).T).tolist() == expected
