"""Outer points: packing, rounding and code lengths."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny import random_outer_points
from vqcodec.config import SliceConfig
from vqcodec.model.quantizer import ProductQuantizer
from vqcodec.outer_points import (
    bit_length,
    largest_digit_bits,
    nearest,
    outer_digits,
    outer_points,
    outer_shell,
    outer_symbols,
    pack,
    positive_ranges,
    possible_ranges,
    range_bits,
    range_count,
    range_starts,
    ranges_of,
    start_of_ranges,
    uniform_bits,
    unsigned_range,
)

CONFIGS = st.builds(
    SliceConfig, st.just(1), st.integers(1, 8), st.sampled_from([3, 9, 24, 49, 96, 112, 256, 512, 1500])
)


@st.composite
def points(draw):
    """Draw a slice, the shell of one of its outer points and the point's digits."""
    config = draw(CONFIGS)
    shell = draw(st.integers(0, len(config.outer_bits) - 1))
    bits = int(largest_digit_bits(config)[shell])
    most = (1 << bits) - 1
    digits = draw(st.lists(st.integers(-most, most), min_size=config.dim, max_size=config.dim))
    largest = draw(st.integers(1 << bits - 1, most)) * draw(st.sampled_from([-1, 1]))
    digits[draw(st.integers(0, config.dim - 1))] = largest
    return config, shell, digits


def step_of(config, shell):
    """Return the cells per unit of the digits in an outer shell."""
    return 2 ** max(0, config.outer_bits[shell] - config.precision)


@given(points())
def test_packing_is_lossless(point):
    config, shell, digits = point
    index = pack(config, np.array([shell]), np.array([digits]))
    assert index.dtype == np.int32 and index[0] < 0
    assert outer_shell(config, index).tolist() == [shell]
    assert [int(part[0]) for part in outer_digits(config, index)] == digits
    as_tensor = torch.from_numpy(index).long()
    assert outer_shell(config, as_tensor).tolist() == [shell]
    assert [int(part[0]) for part in outer_digits(config, as_tensor)] == digits


@given(points())
def test_an_outer_point_is_nearest_to_itself(point):
    config, shell, digits = point
    index = pack(config, np.array([shell]), np.array([digits]))
    place = np.float32([digits]) * step_of(config, shell)
    np.testing.assert_array_equal(np.stack(outer_points(config, index), 1), place)
    found, where = nearest(config, place)
    assert found.tolist() == index.tolist()
    np.testing.assert_array_equal(where, place)


@given(CONFIGS, st.data())
def test_every_latent_is_within_half_a_step_of_its_outer_point(config, data):
    """Up to the largest coordinate that there is."""
    reach = (1 << config.precision) - 1 << 10 - config.precision
    latents = st.lists(st.floats(-reach, reach, width=32), min_size=config.dim, max_size=config.dim)
    z = np.float32([data.draw(latents)])
    index, point = nearest(config, z)
    if index[0] == 0:
        assert not point.any() and np.rint(np.abs(z).max()) < 1 << config.outer_bits[0] - 1
        return
    assert index[0] < 0
    shell = outer_shell(config, index)[0]
    digits = np.stack(outer_digits(config, index), 1)
    step = step_of(config, shell)
    np.testing.assert_array_equal(point, digits * step)
    assert bit_length(np.abs(digits).max(1))[0] == largest_digit_bits(config)[shell]
    assert bit_length(np.abs(point).max(1))[0] == config.outer_bits[shell]
    assert np.abs(point - z).max() <= step / 2


@pytest.mark.parametrize("value", [1023.0, 1e6, np.inf])
@pytest.mark.parametrize("dim", [1, 2, 4, 8])
def test_what_is_too_far_gets_the_farthest_point(dim, value):
    config = SliceConfig(1, dim, 24)
    most = (1 << config.precision) - 1
    z = np.zeros((2, dim), np.float32)
    z[0, 0], z[1, -1] = value, -value
    indices, place = nearest(config, z)
    assert (outer_shell(config, indices) == len(config.outer_bits) - 1).all()
    assert np.abs(place).max() == most * 2 ** (10 - config.precision)


@pytest.mark.parametrize("dim", [1, 2, 4, 8])
def test_every_number_is_in_its_range(dim):
    """One range for each: its sign, its bit length, and up to four parts of the largest bit length."""
    config = SliceConfig(1, dim, 24)
    for most in range(1, config.precision + 1):
        digits = np.arange(-(1 << most) + 1, 1 << most)
        ranges = ranges_of(config, digits, np.full(len(digits), most, np.int32))
        start, size = range_starts(config)[most, ranges], 1 << range_bits(config)[most, ranges]
        assert (start <= abs(digits)).all() and (abs(digits) < start + size).all()
        assert ((ranges > positive_ranges(config)) == (digits < 0)).all() and ranges.max() < range_count(config)
        magnitudes = unsigned_range(config, ranges)
        assert ((magnitudes >= most) == (bit_length(np.abs(digits)) == most)).all()
        counts = np.bincount(ranges, minlength=range_count(config))
        assert (counts[np.unique(ranges)] == 1 << range_bits(config)[most, np.unique(ranges)]).all()
        assert len(np.unique(ranges)) == 2 * (most - 1 + min(4, 1 << most - 1)) + 1


def test_ranges_of_digits_of_four_bits():
    """0, 1, 2-3, 4-7, then 8-9, 10-11, 12-13 and 14-15; below zero the same once more."""
    config = SliceConfig(1, 2, 24)
    digits, most = np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 13, 15, -1, -3, -8, -15]), np.full(15, 4)
    below = config.precision + 3
    expected = [0, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, below + 1, below + 2, below + 4, below + 7]
    assert ranges_of(config, digits, most).tolist() == expected


@given(points())
def test_symbols_are_possible(point):
    """A coordinate is coded in the state that earlier ones leave; all others have impossible ranges."""
    config, shell, digits = point
    symbols = outer_symbols(config, pack(config, np.array([shell]), np.array([digits])))
    most = int(largest_digit_bits(config)[shell])
    longest = [abs(value).bit_length() == most for value in digits]
    for i, state in enumerate(symbols.states[0]):
        assert state == (config.dim - 1 + i if any(longest[:i]) else i)
        assert possible_ranges(config)[shell, state, symbols.ranges[0, i]]
    assert symbols.shells.tolist() == [shell]
    assert symbols.place_bits.sum() <= uniform_bits(config, pack(config, np.array([shell]), np.array([digits])))[0]
    last = possible_ranges(config)[shell, config.dim - 1]  # the last coordinate, if none before was as long
    assert (unsigned_range(config, np.flatnonzero(last)) >= most).all()


def test_ranges_before_any_is_learned():
    """In two dimensions, of digits of up to four bits, of which four ranges are the longest."""
    config = SliceConfig(1, 2, 112)
    logits = start_of_ranges(config)[list(largest_digit_bits(config)).index(4)]
    below = config.precision + 3
    first, last, later = (np.exp2(row) for row in logits)
    assert first[:8].tolist() == [1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    np.testing.assert_array_equal(later[:8], [1, 0.5, 0.5, 0.5, 0.125, 0.125, 0.125, 0.125])
    np.testing.assert_array_equal(last[4:8], first[4:8])
    for row in (first, later):
        np.testing.assert_array_equal(row[1 + below : 8 + below], row[1:8])


@pytest.mark.parametrize("dim", [1, 2, 4, 8])
def test_the_quantizer_looks_up_outer_points(dim):
    config = SliceConfig(1, dim, 24)
    quantizer = ProductQuantizer(config, knots=2, entropy_constrained=True)
    outer = random_outer_points(config, 30, np.random.default_rng(1))
    indices = torch.from_numpy(np.concatenate([outer, np.arange(24, dtype=np.int32)])).long()[None]
    found = quantizer.lookup(indices)[0]
    np.testing.assert_array_equal(found[:30].numpy(), np.stack(outer_points(config, outer), 1))
    np.testing.assert_array_equal(found[30:].numpy(), quantizer.codebook[0].numpy())


@given(st.lists(st.integers(0, 2**40), min_size=1))
def test_bit_length(values):
    assert bit_length(np.array(values)).tolist() == [value.bit_length() for value in values]
