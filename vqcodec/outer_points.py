"""Outer points: integer vectors beyond the codebooks, so that no latent is out of reach.

A codebook is finite, latents are not: what lies beyond it is coded as a point of ``Z^d``, in cells.  Its shell is known
from the prior: the bit length ``m`` of the largest coordinate.  At most ``precision`` bits of each coordinate are kept;
the rest, ``max(0, m - precision)`` bits, is zero.  The digits left are coded as in Exp-Golomb codes: each coordinate's
bit length with fixed frequencies, then sign and lower bits, which are uniform.

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


def length_frequencies(config: SliceConfig) -> NDArray[np.float64]:
    """Return the frequencies (precision + 1, precision + 1) of a coordinate's bit length ``l``.

    Rows are the bit length ``m`` of the largest coordinate's digits; the frequency is ``3 (d - 1) (l + 1)`` for
    ``l < m`` and ``2 m (m + 1)`` for ``l = m``, close to what latents of photographs and graphics have.
    """
    own = np.arange(config.precision + 1.0)
    most = own[:, None]
    below = np.where(own < most, 3 * (config.dim - 1) * (own + 1), 0)
    result: NDArray[np.float64] = np.where(own == most, 2 * most * (most + 1), below)
    return result


def digit_prices(config: SliceConfig) -> NDArray[np.float64]:
    """Return the code length in bits (precision, precision + 1) of a coordinate's digits.

    Rows are the bit length of the largest coordinate's digits, from 1 on; columns the coordinate's own.
    """
    table = length_frequencies(config)[1:]
    with np.errstate(divide="ignore"):
        prices = np.log2(table.sum(1, keepdims=True)) - np.log2(table)
    result: NDArray[np.float64] = prices + np.arange(table.shape[1])
    return result


def digit_bits(config: SliceConfig, indices: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the code length in bits of the digits of outer points (N,), without their shell."""
    prices = digit_prices(config)
    rows = largest_digit_bits(config)[outer_shell(config, indices)] - 1
    bits = np.zeros(len(indices))
    for digits in outer_digits(config, indices):
        bits += prices[rows, bit_length(np.abs(digits))]
    return bits


def largest_digit_bits(config: SliceConfig) -> NDArray[np.int32]:
    """Return the bit length of the largest coordinate's digits in each outer shell."""
    return np.minimum(config.outer_bits, config.precision).astype(np.int32)
