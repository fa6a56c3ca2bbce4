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
    digit_bits,
    largest_digit_bits,
    nearest,
    outer_digits,
    outer_points,
    outer_shell,
    pack,
    range_frequencies,
    range_sizes,
    range_starts,
    ranges_of,
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
def test_every_magnitude_is_in_its_range(dim):
    config = SliceConfig(1, dim, 24)
    starts, sizes = range_starts(config), range_sizes(config)
    for most in range(1, config.precision + 1):
        magnitudes = np.arange(1 << most)
        ranges = ranges_of(magnitudes, np.full(len(magnitudes), most, np.int32))
        first, size = starts[most, ranges], sizes[most, ranges]
        assert (first <= magnitudes).all() and (magnitudes < first + size).all()
        assert np.bincount(ranges, minlength=config.precision + 2).tolist() == sizes[most].tolist()
        assert ((ranges >= most) == (bit_length(magnitudes) == most)).all()


def test_frequencies_of_ranges():
    """In two dimensions, of digits of up to three bits: 0, 1, 2-3, 4-5 and 6-7."""
    table = range_frequencies(SliceConfig(1, 2, 24))[:, 3]
    weights = np.array([1, 2, 3])  # 6 in all
    two_left = [*2 * weights, 12, 6]  # the longest: 3/5
    longest_known = [*18 * weights, 24, 12]  # 1/4
    last_must_be_longest = [0, 0, 0, 12, 6]
    assert table[:, :5].tolist() == [longest_known, last_must_be_longest, two_left]
    assert not table[:, 5:].any()


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6, 7, 8])
def test_the_code_length_of_digits(dim):
    """Ranges by their frequencies, then the sign and the place in the range."""
    config = SliceConfig(1, dim, 24)
    indices = random_outer_points(config, 200, np.random.default_rng(0))
    table = range_frequencies(config)
    expected = []
    for index in indices:
        m = int(largest_digit_bits(config)[outer_shell(config, index)])
        bits, left = 0.0, dim
        for digits in outer_digits(config, index):
            length = int(abs(digits)).bit_length()
            upper = length == m > 1 and bool(abs(digits) >> m - 2 & 1)
            row = table[left, m]
            bits += np.log2(row.sum() / row[length + upper])
            bits += length - (length == m > 1)
            left = 0 if length == m or not left else left - 1
        assert left == 0
        expected.append(bits)
    assert digit_bits(config, indices) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 4, 8])
def test_the_quantizer_looks_up_outer_points(dim):
    config = SliceConfig(1, dim, 24)
    quantizer = ProductQuantizer(config, knots=2, pin_zero=True)
    outer = random_outer_points(config, 30, np.random.default_rng(1))
    indices = torch.from_numpy(np.concatenate([outer, np.arange(24, dtype=np.int32)])).long()[None]
    found = quantizer.lookup(indices)[0]
    np.testing.assert_array_equal(found[:30].numpy(), np.stack(outer_points(config, outer), 1))
    np.testing.assert_array_equal(found[30:].numpy(), quantizer.codebook[0].numpy())


@given(st.lists(st.integers(0, 2**40), min_size=1))
def test_bit_length(values):
    assert bit_length(np.array(values)).tolist() == [value.bit_length() for value in values]
