"""Outer points: integer vectors beyond the codebooks, so that no latent is out of reach.

A codebook is finite, latents are not: what lies beyond it is coded as a point of ``Z^d``, in cells.  Its shell is known
from the prior: the bit length ``m`` of the largest coordinate.  At most ``precision`` bits of each coordinate are kept;
the rest, ``max(0, m - precision)`` bits, is zero.  The digits left are coded as in Exp-Golomb codes: each coordinate's
range, mostly its bit length, with fixed frequencies, then the sign and the place in the range, which are uniform.

An index below zero is the complement of a packed outer point: ``precision + 1`` bits for each coordinate's digits plus
``2^precision``, then the number of bits that are zero in all coordinates.
"""

import functools
import operator
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


def ranges_of(digits: NDArray[np.integer], largest: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the range (N,) of a coordinate's digits (N,), where the largest coordinate's have ``largest`` (N,) bits.

    A range is a bit length; that of the largest coordinate is cut in halves, of which the upper one comes last.
    """
    magnitudes = np.abs(digits)
    upper = (largest > 1) & (magnitudes >> np.maximum(largest - 2, 0) == 3)
    ranges: NDArray[np.int32] = bit_length(magnitudes) + upper
    return ranges


def range_sizes(config: SliceConfig) -> NDArray[np.int32]:
    """Return how many magnitudes each range has, (precision + 1, precision + 2); 0 for what is no range.

    Rows are the bit length of the largest coordinate's digits.  Ranges follow each other without gaps.
    """
    most, number = _range_numbers(config)
    sizes = np.where(number < most, 1 << np.maximum(number - 1, 0), 1 << np.maximum(most - 2, 0))
    result: NDArray[np.int32] = np.where(number <= most + (most > 1), sizes, 0).astype(np.int32)
    return result


def range_starts(config: SliceConfig) -> NDArray[np.int32]:
    """Return the least magnitude of each range, (precision + 1, precision + 2)."""
    sizes = range_sizes(config)
    starts: NDArray[np.int32] = np.cumsum(sizes, axis=1, dtype=np.int32) - sizes
    return starts


@functools.cache
def range_frequencies(config: SliceConfig) -> NDArray[np.float64]:
    """Return the frequencies of ranges, (d + 1, precision + 1, precision + 2).

    The first axis is the number of coordinates left, this one included, if none before is in the ranges of bit length
    ``m``, and 0 afterwards; the second axis is ``m``.  Bit lengths ``l < m`` have weights ``l + d - 1``.  Bit length
    ``m`` has three times their sum over twice the other coordinates left, and ``1 / m`` of their sum afterwards; its
    upper half has a third.  Close to what latents of photographs and graphics have.
    """
    most, number = _range_numbers(config)
    weights = np.where(number < most, number + config.dim - 1.0, 0.0)
    total = weights.sum(1)[:, None]
    halves = np.where(most > 1, 2 * (number == most) + (number == most + 1), 3 * (number == most))
    rows = [2 * i * weights + halves * np.maximum(total, 1) for i in range(config.dim)]
    result: NDArray[np.float64] = np.stack([6 * np.maximum(most, 1) * weights + 2 * halves * total, *rows])
    return result


def _range_numbers(config: SliceConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bit length of the largest coordinate's digits as a column, and the numbers of ranges as a row."""
    return np.arange(config.precision + 1)[:, None], np.arange(config.precision + 2)[None]


@functools.cache
def range_prices(config: SliceConfig) -> NDArray[np.float64]:
    """Return the code length in bits of a coordinate's digits, shaped as :func:`range_frequencies`."""
    table = range_frequencies(config)
    signs = np.arange(config.precision + 2) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        prices = np.log2(table.sum(2, keepdims=True)) - np.log2(table)
        prices += np.log2(range_sizes(config)) + signs
    result: NDArray[np.float64] = np.where(table > 0, prices, np.inf)
    return result


def digit_bits(config: SliceConfig, indices: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the code length in bits of the digits of outer points (N,), without their shell."""
    prices = range_prices(config)
    largest = largest_digit_bits(config)[outer_shell(config, indices)]
    left = np.full(len(indices), config.dim)
    bits = np.zeros(len(indices))
    for digits in outer_digits(config, indices):
        ranges = ranges_of(digits, largest)
        bits += prices[left, largest, ranges]
        left = coordinates_left(left, ranges, largest)
    return bits


def coordinates_left(
    left: NDArray[np.integer], ranges: NDArray[np.integer], largest: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return the first index (N,) into :func:`range_frequencies` after a coordinate whose was ``left`` (N,)."""
    return np.where(ranges < largest, np.maximum(left - 1, 0), 0)


def largest_digit_bits(config: SliceConfig) -> NDArray[np.int32]:
    """Return the bit length of the largest coordinate's digits in each outer shell."""
    return np.minimum(config.outer_bits, config.precision).astype(np.int32)
