"""Outer points: integer vectors beyond the codebooks, so that no latent is out of reach.

A codebook is finite, latents are not: what lies beyond it is coded as a point of ``Z^d``, in cells.  Its shell is known
from the prior: the bit length ``m`` of the largest coordinate.  At most ``precision`` bits of each coordinate are kept;
the rest, ``max(0, m - precision)`` bits, is zero.  The digits left are coded as in Exp-Golomb codes: each coordinate's
range, which is its sign and mostly its bit length, then the place in the range, which is uniform.  The prior has
learned tables of the logits of ranges (``Shells`` in ``integer_prior.py``).

An index below zero is the complement of a packed outer point: ``precision + 1`` bits for each coordinate's digits plus
``2^precision``, then the number of bits that are zero in all coordinates.
"""

import functools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.config import SliceConfig

if TYPE_CHECKING:  # the coding of indices works without torch
    from torch import Tensor

Integers = TypeVar("Integers", NDArray[np.int32], "Tensor")


def outer_shell(config: SliceConfig, indices: Integers) -> Integers:
    """Return the number of the outer shell, counted from 0, of each index below zero; others give any number."""
    bits = _scale_bits(config, indices)
    magnitudes = functools.reduce(operator.or_, map(abs, outer_digits(config, indices)))
    for i in range(config.precision):  # the bit length of the largest
        bits = bits + (magnitudes >> i > 0)
    return bits - config.outer_bits[0]


def _scale_bits(config: SliceConfig, indices: Integers) -> Integers:
    """Return the number of bits that are zero in all coordinates."""
    return ~indices >> (config.precision + 1) * config.dim


def outer_digits(config: SliceConfig, indices: Integers) -> list[Integers]:
    """Return the digits of each coordinate of indices below zero: one array for each of the ``d`` dimensions."""
    width, offset = config.precision + 1, 1 << config.precision
    packed = ~indices
    return [(packed >> width * i & (1 << width) - 1) - offset for i in range(config.dim)]


def outer_points(config: SliceConfig, indices: Integers) -> list[Integers]:
    """Return each coordinate, in cells, of indices below zero: one array for each of the ``d`` dimensions."""
    bits = _scale_bits(config, indices)
    return [digits << bits for digits in outer_digits(config, indices)]


def pack(config: SliceConfig, shell: NDArray[np.integer], digits: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the indices (N,) of outer points with ``digits`` (N, d) in outer shells ``shell`` (N,)."""
    width, offset = config.precision + 1, 1 << config.precision
    scale_bits = np.maximum(np.take(config.outer_bits, shell) - config.precision, 0)
    packed = scale_bits.astype(np.int32) << width * config.dim
    for i in range(config.dim):
        packed |= (digits[:, i].astype(np.int32) + offset) << width * i
    result: NDArray[np.int32] = ~packed
    return result


def nearest(config: SliceConfig, z: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the index (N,) of an outer point for each latent ``z`` (N, d), and the points (N, d) in cells.

    The largest coordinate decides the shell and thus the step of all coordinates; each is rounded to the nearest step.
    Where the nearest integer vector is nearer than all outer shells, both are zero.
    """
    largest = float((1 << config.outer_bits[-1]) - 1)
    inside = np.clip(z, -largest, largest)
    farthest = np.abs(inside).max(1)
    bits = bit_length(np.rint(farthest))
    step = _step(config, bits)
    bits = np.minimum(bit_length(np.rint(farthest / step) * step), config.outer_bits[-1])  # rounded up, the next shell
    step = _step(config, bits)[:, None]
    shell = bits - config.outer_bits[0]
    most = (1 << config.precision) - 1
    digits = np.clip(np.rint(inside / step), -most, most)
    known = shell >= 0
    indices = np.where(known, pack(config, np.maximum(shell, 0), digits), 0).astype(np.int32)
    return indices, np.where(known[:, None], digits * step, 0).astype(np.float32)


def _step(config: SliceConfig, bits: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the cells per unit of the digits where the largest coordinate has ``bits`` bits."""
    step: NDArray[np.float32] = np.ldexp(np.float32(1), np.maximum(0, bits - config.precision))
    return step


def bit_length(values: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the bit length of integers of at least zero."""
    lengths: NDArray[np.int32] = np.where(values > 0, np.frexp(values)[1], 0).astype(np.int32)
    return lengths


def positive_ranges(config: SliceConfig) -> int:
    """Return the number of ranges above zero.  Range 0 is zero alone; as many below zero follow."""
    return config.precision + 3


def range_count(config: SliceConfig) -> int:
    """Return the number of ranges."""
    return 2 * positive_ranges(config) + 1


def range_states(config: SliceConfig) -> int:
    """Return the number of states in which ranges are coded: see :func:`range_state`."""
    return 2 * config.dim - 1


def range_state(config: SliceConfig, coordinate: int, reached: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the state (N,) in which the range of a coordinate is coded.

    ``reached`` (N,) tells whether one of the coordinates before is as long as the largest: 0 to ``dim - 1`` count the
    coordinates where none is, ``dim`` to ``2 dim - 2`` those from the second on where one is.
    """
    return np.where(reached, config.dim - 1 + coordinate, coordinate)


def ranges_of(config: SliceConfig, digits: NDArray[np.integer], largest: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the range (N,) of a coordinate's digits (N,), where the largest coordinate's have ``largest`` (N,) bits.

    The ranges of one sign are the bit lengths from 1 on; that of the largest coordinate is cut in up to four parts.
    """
    magnitudes = np.abs(digits)
    lengths = bit_length(magnitudes)
    part = (magnitudes >> np.maximum(largest - 3, 0)) - (1 << np.minimum(largest - 1, 2))
    ranges = lengths + np.where(lengths == largest, part, 0) + np.where(digits < 0, positive_ranges(config), 0)
    result: NDArray[np.int32] = ranges.astype(np.int32)
    return result


def reaches_largest(
    config: SliceConfig, ranges: NDArray[np.integer], largest: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Return whether digits in these ranges (N,) are as long as the largest coordinate's."""
    return unsigned_range(config, ranges) >= largest


def unsigned_range(config: SliceConfig, ranges: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the ranges (N,) of the magnitudes of digits in these ranges (N,)."""
    positive = positive_ranges(config)
    return np.where(ranges > positive, ranges - positive, ranges)


@functools.cache
def range_starts(config: SliceConfig) -> NDArray[np.int32]:
    """Return the least magnitude of each range, (precision + 1, ranges): rows are the largest coordinate's bits."""
    most, number = _range_numbers(config)
    part = (4 + number - most) << np.maximum(most - 3, 0)
    part = np.where(most < 3, (1 << np.maximum(most - 1, 0)) + number - most, part)
    starts: NDArray[np.int32] = np.where(number < most, 1 << number >> 1, part).astype(np.int32)
    return starts


@functools.cache
def range_bits(config: SliceConfig) -> NDArray[np.int32]:
    """Return the bits of the place in each range, (precision + 1, ranges), as for :func:`range_starts`."""
    most, number = _range_numbers(config)
    bits: NDArray[np.int32] = np.maximum(np.where(number < most, number - 1, most - 3), 0).astype(np.int32)
    return bits


@functools.cache
def possible_ranges(config: SliceConfig) -> NDArray[np.bool_]:
    """Return which ranges a coordinate can have, (outer shells, states, ranges)."""
    most = largest_digit_bits(config)[:, None, None]
    number = unsigned_range(config, np.arange(range_count(config)))
    within = number < most + np.minimum(1 << most - 1, 4)
    last_chance = np.arange(range_states(config))[:, None] == config.dim - 1
    possible: NDArray[np.bool_] = within & (~last_chance | (number >= most))
    return possible


def start_of_ranges(config: SliceConfig) -> NDArray[np.float32]:
    """Return logits to base 2 of ranges before any is learned, (outer shells, states, ranges).

    All bit lengths are alike, but the largest, ``m``, counts ``m``-fold until a coordinate has it.
    """
    most = largest_digit_bits(config)[:, None, None]
    number = unsigned_range(config, np.arange(range_count(config)))
    before = np.arange(range_states(config))[:, None] < config.dim
    longest = np.log2(np.where(before, most, 1) / np.minimum(1 << most - 1, 4))
    logits = np.where(number >= most, longest, 0) - (number > 0)  # both signs alike
    result: NDArray[np.float32] = np.where(possible_ranges(config), logits, 0).astype(np.float32)
    return result


def _range_numbers(config: SliceConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bit length of the largest coordinate's digits as a column, and the ranges of magnitudes as a row."""
    number = unsigned_range(config, np.arange(range_count(config)))
    return np.arange(config.precision + 1)[:, None], number[None].astype(np.int64)


@dataclass(frozen=True)
class OuterSymbols:
    """The symbols of outer points; see docs/FORMAT.md."""

    shells: NDArray[np.int64]
    """(N,) outer shell, counted from 0."""
    states: NDArray[np.int64]
    """(N, d) state in which each coordinate's range is coded."""
    ranges: NDArray[np.int64]
    """(N, d) range of each coordinate."""
    place_bits: NDArray[np.int64]
    """(N, d) bits of the place in each range."""


def outer_symbols(config: SliceConfig, indices: NDArray[np.int32]) -> OuterSymbols:
    """Return the symbols of outer points (N,)."""
    shells = outer_shell(config, indices)
    largest = largest_digit_bits(config)[shells]
    states, ranges = (np.empty((len(indices), config.dim), np.int64) for _ in range(2))
    reached = np.zeros(len(indices), bool)
    for i, digits in enumerate(outer_digits(config, indices)):
        states[:, i] = range_state(config, i, reached)
        ranges[:, i] = ranges_of(config, digits, largest)
        reached |= reaches_largest(config, ranges[:, i], largest)
    bits = range_bits(config)[largest[:, None], ranges]
    return OuterSymbols(shells.astype(np.int64), states, ranges, bits.astype(np.int64))


def uniform_bits(config: SliceConfig, indices: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the code length in bits of the digits of outer points (N,) if all digits were alike."""
    return (largest_digit_bits(config)[outer_shell(config, indices)] + 1) * config.dim


def largest_digit_bits(config: SliceConfig) -> NDArray[np.int32]:
    """Return the bit length of the largest coordinate's digits in each outer shell."""
    return np.minimum(config.outer_bits, config.precision).astype(np.int32)
