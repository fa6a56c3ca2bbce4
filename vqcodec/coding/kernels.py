"""The prior and the symbols of slices as compiled functions, for speed alone: each does what numpy code does elsewhere.

The only module with functions that numba compiles.  ``compiled.py`` calls them and names the numpy code that each one
replaces.  Importing this module compiles everything, or loads it from numba's cache, which notices changes of the file
with the function that is called only: therefore one long module.

All sums of float32 products are sums of integers (times a power of two per column) that stay in the range in which
float32 is exact, so products may be added in any order, fused or not; only the functions of such sums relax the rules
of floating point.  Everything else follows IEEE 754 operation by operation.
"""

import math

import numpy as np
from numba import njit
from numba.core import types

from vqcodec.arithmetic import (
    ATTENTION_RATIO,
    FINE_LIMIT,
    HEAD_DIM,
    LIMIT,
    MAX_LOGIT,
    RANGE_QUALITIES,
    SCORE_SHIFT,
)
from vqcodec.coding.frequencies import BITS_TABLE, LEAST_LOGIT, LOG2_STEPS, LOG2_TABLE, TABLE, TABLE_SIZE
from vqcodec.config import BIT_PRICE, LEAST_OUTER_COST, MAX_OUTER_BITS, QUALITY_STEPS

PRECISION = 24
"""Cumulative counts are out of two to this power."""

OK, ZERO_LAST, OUTSIDE_SHELL, OUTSIDE_OUTER_SHELL = range(4)
"""Results of :func:`decode_slice`: symbols that an encoder writes, or the reason why not."""

_f1, _f2, _f3 = types.float32[::1], types.float32[:, ::1], types.float32[:, :, ::1]
_f4 = types.float32[:, :, :, ::1]
_i1, _i2, _n1 = types.int32[::1], types.int32[:, ::1], types.int64[::1]
_u1, _u2, _b1, _int = types.uint32[::1], types.uint32[:, ::1], types.boolean[::1], types.int64

_LINEAR = types.Tuple((_f2, _f1))
_HEAD = types.Tuple((_LINEAR, _f2, _LINEAR, _LINEAR, _LINEAR, _LINEAR, _f2, _LINEAR, _f2, _f3))
"""length (its weights transposed), length_quality, first, second, third, shell, shell_quality, coefficients, quality,
features."""
_SHELLS = types.Tuple((_i1, _i1, _i1, _f4, _f4, _int, _int))
"""First codeword and size of each shell; bit length of digits in each outer shell; ranges, ranges_quality; dimensions;
precision."""
_PAYLOADS = types.Tuple((_u1, _n1, _n1, types.uint64[::1]))
"""All words; of each item its first word, the end of those left, and the state of its coder."""
_SYMBOLS = types.Tuple((_i1, _u1, _u1, _i1, _u1, _n1))
"""Item, cumulative count, count and alphabet (0: uniform) of each symbol; the frequencies of all, in an array of no
elements if they are not wanted; how many symbols and how many frequencies there are."""
_CHOICE = types.Tuple((_f2, _f3, _f2, _f1, types.float64))
"""The arrays of ``SliceLatents`` in order, and the least cost of an outer point's digits."""

_OPTIONS = {"nogil": True, "error_model": "numpy"}
_compiled = njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)
_exact_sums = njit(
    **_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"reassoc", "contract", "nnan", "nsz"}
)


def _entry(*arguments, returns=types.void):
    """Compile a function for arguments of these types when this module is imported."""
    return njit(returns(*arguments), **_OPTIONS, cache=True)


# ---- Linear maps


@_compiled
def _list_inputs(x, base, rows, values, count):
    """Append the inputs ``x`` (inputs,) other than zero and their numbers, from ``base`` on; return the new count."""
    for j in range(len(x)):
        rows[count] = base + j
        values[count] = x[j]
        count += x[j] != 0
    return count


@_exact_sums
def _add_products(rows, values, count, weight, first, y):
    """Add the columns of ``weight`` from ``first`` on, times the listed inputs, to ``y``."""
    n, start = np.uint64(len(y)), np.uint64(first)  # unsigned: no test for negative indices in the inner loop
    for p in range(count, count + 7):  # fill the last eight up
        rows[p], values[p] = 0, 0
    p = 0
    while p < count:
        x0, x1, x2, x3 = values[p], values[p + 1], values[p + 2], values[p + 3]
        x4, x5, x6, x7 = values[p + 4], values[p + 5], values[p + 6], values[p + 7]
        w0, w1, w2, w3 = weight[rows[p]], weight[rows[p + 1]], weight[rows[p + 2]], weight[rows[p + 3]]
        w4, w5, w6, w7 = weight[rows[p + 4]], weight[rows[p + 5]], weight[rows[p + 6]], weight[rows[p + 7]]
        for j in range(n):
            k = start + j
            y[j] += (
                x0 * w0[k] + x1 * w1[k] + x2 * w2[k] + x3 * w3[k] + x4 * w4[k] + x5 * w5[k] + x6 * w6[k] + x7 * w7[k]
            )
        p += 8


@_exact_sums
def _add_bias(bias, first, y):
    """Add the bias from ``first`` on to ``y`` and round down."""
    start = np.uint64(first)
    for j in range(np.uint64(len(y))):
        y[j] = np.floor(y[j] + bias[start + j])


@_compiled
def _map_inputs(rows, values, count, linear, first, y):
    """Set ``y`` to the outputs of a linear map from ``first`` on, for the listed inputs."""
    for j in range(len(y)):
        y[j] = 0
    _add_products(rows, values, count, linear[0], first, y)
    _add_bias(linear[1], first, y)


@_compiled
def _map(x, linear, y, rows, values):
    """Set ``y`` (outputs,) to a linear map of ``x`` (inputs,)."""
    _map_inputs(rows, values, _list_inputs(x, 0, rows, values, 0), linear, 0, y)


@_exact_sums
def _clip(y, least, most):
    for j in range(len(y)):
        value = least if y[j] < least else y[j]
        y[j] = most if value > most else value


@_compiled
def _activate(y):
    _clip(y, np.float32(0), np.float32(LIMIT))


@_compiled
def _room(size):
    """Return arrays for the numbers and values of up to ``size`` inputs."""
    return np.empty(size + 8, np.int64), np.empty(size + 8, np.float32)


@_compiled
def _map_taps(x, occupied, cells, offsets, linear, y):
    """Set ``y`` (N, outputs) to a linear map over taps of ``x`` (cells, channels), zero where not ``occupied``.

    Tap by tap, so that its weights stay in the cache.
    """
    channels = x.shape[1]
    rows, values = _room(channels)
    for i in range(len(cells)):
        for j in range(y.shape[1]):
            y[i, j] = 0
    for t in range(len(offsets)):
        for i in range(len(cells)):
            cell = cells[i] + offsets[t]
            if occupied[cell]:
                count = _list_inputs(x[cell], t * channels, rows, values, 0)
                _add_products(rows, values, count, linear[0], 0, y[i])
    for i in range(len(cells)):
        _add_bias(linear[1], 0, y[i])


# ---- The trunk


@_entry(_f2, _b1, _n1, _n1, _LINEAR, _f2, _n1, _f2, types.boolean, _f2)
def trunk_start(embedded, occupied, cells, offsets, past, quality, steps, context, has_context, h):
    """Set ``h`` (N, C) to the first features of the trunk."""
    _map_taps(embedded, occupied, cells, offsets, past, h)
    for i in range(len(cells)):
        y, added = h[i], quality[steps[i]]
        for j in range(len(y)):
            y[j] += added[j]
        if has_context:
            own = context[cells[i]]
            for j in range(len(y)):
                y[j] += own[j]
        _activate(y)


@_entry(_f2, _b1, _n1, _n1, _LINEAR, _LINEAR, _f2, _f2)
def trunk_end(trunk, inside, cells, offsets, near, mix, h, known):
    """Keep ``h`` (N, C) in ``trunk`` and set the first channels of ``known`` (N, C + E) to the trunk's output."""
    n, channels = h.shape
    rows, values = _room(channels)
    for i in range(n):
        trunk[cells[i]] = h[i]
    middle = np.empty((n, channels), np.float32)
    _map_taps(trunk, inside, cells, offsets, near, middle)
    for i in range(n):
        _activate(middle[i])
        y, own = known[i, :channels], h[i]
        _map(middle[i], mix, y, rows, values)
        for j in range(channels):
            y[j] += own[j]
        _activate(y)


@_exact_sums
def _product(x, y):
    total = np.float32(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@_entry(_LINEAR, _f2, _LINEAR, _n1, _n1, _b1, _f2, _f2, _f2)
def attend(project, bias, out, cells, offsets, inside, keys, values, h):
    """Add the attended values to ``h`` (N, C), which is changed, and keep keys and values (cells, width)."""
    heads, taps = bias.shape[0], len(offsets)
    n, channels = h.shape
    width = keys.shape[1]
    rows, inputs = _room(max(channels, width))
    projected = np.empty((n, 3 * width), np.float32)
    for i in range(n):
        _map(h[i], project, projected[i], rows, inputs)
        _clip(projected[i], np.float32(-LIMIT), np.float32(LIMIT))
        keys[cells[i]] = projected[i, width : 2 * width]
        values[cells[i]] = projected[i, 2 * width :]
    scores = np.empty(taps, np.float32)
    attended = np.empty(width, np.float32)
    change = np.empty(channels, np.float32)
    summed = np.empty(HEAD_DIM, np.float64)
    for i in range(n):
        for head in range(heads):
            a, b = head * HEAD_DIM, (head + 1) * HEAD_DIM
            query = projected[i, a:b]
            largest = bias[head, 0]
            for t in range(taps):
                cell = cells[i] + offsets[t]
                if inside[cell]:
                    score = _product(query, keys[cell, a:b]) * np.float32(2.0**-SCORE_SHIFT)
                    scores[t] = np.floor(score) + bias[head, 1 + t]
                    largest = max(largest, scores[t])
            total = TABLE[np.int64(min(largest - bias[head, 0], np.float32(TABLE_SIZE - 1)))]
            summed[:] = 0
            for t in range(taps):
                cell = cells[i] + offsets[t]
                if inside[cell]:
                    weight = TABLE[np.int64(min(largest - scores[t], np.float32(TABLE_SIZE - 1)))]
                    total += weight
                    for j in range(HEAD_DIM):
                        summed[j] += weight * values[cell, a + j]
            for j in range(HEAD_DIM):
                attended[a + j] = np.floor(summed[j] * ATTENTION_RATIO / total)
        _map(attended, out, change, rows, inputs)
        y = h[i]
        for j in range(channels):
            y[j] += change[j]
        _activate(y)


@_compiled
def _digit(index, d, precision):
    """Return the digits of a coordinate of an outer point."""
    return (~np.int64(index) >> (precision + 1) * d & (1 << precision + 1) - 1) - (1 << precision)


@_compiled
def _bit_length(value):
    length = 0
    while value:
        value >>= 1
        length += 1
    return length


@_compiled
def _range(digit, most, precision):
    """Return the range of digits where the largest coordinate's have ``most`` bits."""
    magnitude = abs(digit)
    number = _bit_length(magnitude)
    if number == most:
        number += (magnitude >> max(most - 3, 0)) - (1 << min(most - 1, 2))
    return number + precision + 3 if digit < 0 else number


@_compiled
def _unsigned_range(number, precision):
    """Return the range of the magnitudes of digits in a range."""
    return number - (precision + 3) if number > precision + 3 else number


@_compiled
def _range_start(number, most):
    """Return the least magnitude of a range of magnitudes."""
    if number < most:
        return 1 << number >> 1
    return (1 << min(most - 1, 2)) + number - most << max(most - 3, 0)


@_compiled
def _place_bits(number, most):
    """Return the bits of the place in a range of magnitudes."""
    return max(number - 1 if number < most else most - 3, 0)


@_compiled
def _set_ranges(group, shell, coordinate, reached, step, shells, logits):
    """Set ``logits`` to those of the ranges of a coordinate; ``reached``: one before is as long as the largest."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    state = dim - 1 + coordinate if reached else coordinate
    own, added = ranges[group, shell, state], ranges_quality[step // (QUALITY_STEPS // RANGE_QUALITIES), shell, state]
    for k in range(len(logits)):
        logits[k] = own[k] + added[k]


@_compiled
def _outer_bits(index, dim, precision):
    """Return the bit length of the largest coordinate, in cells, of an outer point."""
    magnitudes = 0
    for d in range(dim):
        magnitudes |= abs(_digit(index, d, precision))
    return _bit_length(magnitudes) + (~np.int64(index) >> (precision + 1) * dim)


@_compiled
def _pack(digits, bits, dim, precision):
    """Return the index of an outer point from its packed digits and the bit length of its largest coordinate."""
    return ~(digits | max(0, bits - precision) << (precision + 1) * dim)


@_entry(_i2, _f3, _int, _int, _f2, _int, _n1, _i2, _int)
def embed(chosen, table, dim, precision, known, width, cells, indices, group):
    """Write a slice's indices (N, G) and their embeddings, from channel ``width`` and codebook ``group`` on."""
    n, groups = chosen.shape
    channels = table.shape[2]
    for i in range(n):
        for g in range(groups):
            index = chosen[i, g]
            if index != 0:
                indices[cells[i], group + g] = index
                row = np.int64(index)
                if row < 0:  # outer shells are the last rows
                    row = table.shape[1] - 1 - MAX_OUTER_BITS + _outer_bits(index, dim, precision)
                for j in range(channels):
                    known[i, width + g * channels + j] = table[g, row, j]


@_entry(_f2, _int, _n1, _f2, _b1)
def keep_embedded(known, channels, cells, embedded, occupied):
    """Keep the embeddings of finished positions, which follow the first ``channels`` of ``known``."""
    for i in range(len(cells)):
        own = known[i, channels:]
        for j in range(len(own)):
            if own[j] != 0:
                embedded[cells[i]] = own
                occupied[cells[i]] = True
                break


@_entry(_f2, _b1, _n1, _n1, _LINEAR, _f2)
def map_taps(x, inside, cells, offsets, linear, y):
    """Set ``y`` (N, outputs) to a linear map over taps of ``x`` (cells, channels)."""
    _map_taps(x, inside, cells, offsets, linear, y)


# ---- Frequencies and rANS


@_exact_sums
def _largest(logits):
    largest = logits[0]
    for k in range(1, len(logits)):
        largest = logits[k] if logits[k] > largest else largest
    return largest


@_exact_sums
def _set_frequencies(logits, frequencies):
    """Set ``frequencies`` from ``logits`` and return their sum."""
    largest, total = _largest(logits), 0.0
    for k in range(len(logits)):
        below = np.int32(largest - logits[k])
        frequencies[k] = TABLE[np.uint64(below if below < TABLE_SIZE else TABLE_SIZE - 1)]
        total += frequencies[k]
    return total


@_compiled
def _scale(total, count):
    return ((1 << PRECISION) - count) / total


@_compiled
def _take(payloads, item, left, count):
    """Advance a coder whose next symbol has ``count`` from ``left`` on."""
    words, starts, ends, states = payloads
    state = states[item]
    low = state & np.uint64((1 << PRECISION) - 1)
    state = (state >> np.uint64(PRECISION)) * np.uint64(count) + (low - np.uint64(left))
    if state < np.uint64(1 << 32) and ends[item] > starts[item]:
        ends[item] -= 1
        state = state << np.uint64(32) | np.uint64(words[ends[item]])
    states[item] = state


@_compiled
def _pop(payloads, item, frequencies, size, total):
    """Return the next symbol of an item, given frequencies, of which those from ``size`` on are zero."""
    value = np.int64(payloads[3][item] & np.uint64((1 << PRECISION) - 1))
    scale = _scale(total, len(frequencies))
    before, left, k = 0.0, 0, 0
    while True:
        if k < size:
            before += frequencies[k]
        right = np.int64(np.floor(before * scale)) + k + 1 if k + 1 < len(frequencies) else 1 << PRECISION
        if value < right:
            break
        left = right
        k += 1
    _take(payloads, item, left, right - left)
    return k


@_compiled
def _pop_uniform(payloads, item, bits):
    """Return the next symbol of an item, uniform below ``2^bits``."""
    value = np.int64(payloads[3][item] & np.uint64((1 << PRECISION) - 1)) >> (PRECISION - bits)
    _take(payloads, item, value << (PRECISION - bits), 1 << (PRECISION - bits))
    return value


@_compiled
def _append(symbols, item, left, count, size):
    items, lefts, counts, sizes, rows, used = symbols
    n = used[0]
    items[n], lefts[n], counts[n], sizes[n] = item, left, count, size
    used[0] = n + 1


@_compiled
def _push(symbols, item, frequencies, size, total, symbol):
    """Append a symbol of an item, given frequencies, of which those from ``size`` on are zero."""
    scale = _scale(total, len(frequencies))
    before = 0.0
    for k in range(symbol):
        before += frequencies[k]
    left = np.int64(np.floor(before * scale)) + symbol
    right = 1 << PRECISION
    if symbol + 1 < len(frequencies):
        if symbol < size:
            before += frequencies[symbol]
        right = np.int64(np.floor(before * scale)) + symbol + 1
    _append(symbols, item, left, right - left, len(frequencies))
    rows, used = symbols[4], symbols[5]
    if len(rows):
        for k in range(len(frequencies)):
            rows[used[1] + k] = np.uint32(frequencies[k]) if k < size else np.uint32(0)
        used[1] += len(frequencies)


@_compiled
def _push_uniform(symbols, item, bits, symbol):
    """Append a symbol of an item, uniform below ``2^bits``."""
    _append(symbols, item, symbol << (PRECISION - bits), 1 << (PRECISION - bits), 0)


@_entry(_SYMBOLS, types.uint64[::1], _u2, _n1)
def pack_symbols(symbols, states, words, used):
    """Encode all symbols, last first: fill row by row of ``words`` (items, M), ``used`` (items,) of each."""
    items, lefts, counts, sizes, rows, numbers = symbols
    for s in range(numbers[0] - 1, -1, -1):
        item, count = items[s], np.uint64(counts[s])
        state = states[item]
        if state >> np.uint64(64 - PRECISION) >= count:
            words[item, used[item]] = np.uint32(state & np.uint64(0xFFFFFFFF))
            used[item] += 1
            state = state >> np.uint64(32)
        states[item] = (state // count << np.uint64(PRECISION)) | (state % count + np.uint64(lefts[s]))
    for item in range(len(states)):
        state = states[item]
        while state:
            words[item, used[item]] = np.uint32(state & np.uint64(0xFFFFFFFF))
            used[item] += 1
            state = state >> np.uint64(32)


# ---- The symbols of a slice


@_compiled
def _set_lengths(known, width, steps, head, logits):
    """Set ``logits`` (N, G + 1) to those of lengths."""
    weight, bias = head[0]
    for i in range(len(logits)):
        x, added = known[i, :width], head[1][steps[i]]
        for k in range(len(bias)):
            logits[i, k] = np.floor(_product(x, weight[k]) + bias[k]) + added[k]


@_compiled
def _map_rows(x, used, linear, y):
    """Set the rows of ``y`` that are in use to a linear map of those of ``x``, whose other channels are not read."""
    width = linear[0].shape[0]
    rows, values = _room(width)
    for i in range(len(used)):
        if used[i]:
            _map(x[i, :width], linear, y[i], rows, values)


@_compiled
def _set_shells(known, steps, head, used, u, logits):
    """Set ``u`` (N, hidden) to the hidden features and ``logits`` (N, G * shells) to those of shells.

    Only for the first ``used`` (N,) codebooks of each position.  Layer by layer, so that weights stay in the cache.
    """
    count = logits.shape[1] // (head[1].shape[1] - 1)
    rows, values = _room(u.shape[1])
    middle, change = np.empty_like(u), np.empty_like(u)
    _map_rows(known, used, head[2], u)
    for i in range(len(used)):
        if used[i]:
            _activate(u[i])
    _map_rows(u, used, head[3], middle)
    for i in range(len(used)):
        if used[i]:
            _activate(middle[i])
    _map_rows(middle, used, head[4], change)
    for i in range(len(used)):
        if used[i]:
            own = u[i]
            for j in range(len(own)):
                own[j] += change[i, j]
            _activate(own)
            part, added = logits[i, : used[i] * count], head[6][steps[i]]
            _map(own, head[5], part, rows, values)
            for k in range(len(part)):
                part[k] += added[k]


@_compiled
def _list_coefficients(u, step, head, group, p, rows, values):
    """Set ``p`` (rank,) to the coefficients of a codebook; list them, and return how many are not zero."""
    first = group * len(p)
    _map_inputs(rows, values, _list_inputs(u, 0, rows, values, 0), head[7], first, p)
    added = head[8][step]
    for r in range(len(p)):
        p[r] += added[first + r]
    _clip(p, np.float32(-FINE_LIMIT), np.float32(FINE_LIMIT))
    return _list_inputs(p, 0, rows, values, 0)


@_exact_sums
def _set_words(rows, values, count, features, first, logits):
    """Set ``logits`` to those of a codebook's codewords from ``first`` on, given the listed coefficients."""
    for k in range(len(logits)):
        logits[k] = 0
    _add_products(rows, values, count, features, first, logits)
    for k in range(len(logits)):
        logits[k] = np.floor(logits[k])


@_compiled
def _decode_outer(items, steps, found, outer, shells, payloads, chosen):
    """Decode the outer points where ``found`` (groups, N) are outer shells."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    places, own_shell = np.empty((outer, 2), np.int64), np.empty(outer, np.int64)
    m = 0
    for g in range(found.shape[0]):
        for i in range(found.shape[1]):
            if found[g, i] >= len(sizes):
                places[m, 0], places[m, 1] = i, g
                own_shell[m] = found[g, i] - len(sizes)
                m += 1
    numbers, reached = np.empty((outer, dim), np.int64), np.zeros(outer, np.bool_)
    logits, frequencies = np.empty(ranges.shape[3], np.float32), np.empty(ranges.shape[3], np.float64)
    for d in range(dim):
        for m in range(outer):
            i, g = places[m]
            _set_ranges(g, own_shell[m], d, reached[m], steps[i], shells, logits)
            number = _pop(payloads, items[i], frequencies, len(logits), _set_frequencies(logits, frequencies))
            if logits[number] < -MAX_LOGIT:
                return OUTSIDE_OUTER_SHELL
            numbers[m, d] = number
            reached[m] |= _unsigned_range(number, precision) >= largest[own_shell[m]]
    for m in range(outer):
        i, g = places[m]
        packed = 0
        for d in range(dim):
            number, most = _unsigned_range(numbers[m, d], precision), largest[own_shell[m]]
            digit, bits = _range_start(number, most), _place_bits(number, most)
            if bits:
                digit += _pop_uniform(payloads, items[i], bits)
            if number < numbers[m, d]:
                digit = -digit
            packed |= digit + (1 << precision) << (precision + 1) * d
        length = MAX_OUTER_BITS - len(largest) + 1 + own_shell[m]
        chosen[i, g] = _pack(packed, length, dim, precision)
    return OK


@_entry(_f2, _int, _n1, _n1, _HEAD, _SHELLS, _PAYLOADS, _i2, returns=_int)
def decode_slice(known, width, items, steps, head, shells, payloads, chosen):
    """Decode the indices ``chosen`` (N, G), zero before, given the first channels of ``known`` (N, C + E)."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    n, groups = chosen.shape
    count = head[6].shape[1] // groups
    lengths = np.empty(n, np.int64)
    frequencies = np.empty(max(count, groups + 1), np.float64)
    logits = np.empty((n, groups + 1), np.float32)
    _set_lengths(known, width, steps, head, logits)
    used = 0
    for i in range(n):
        own = frequencies[: groups + 1]
        lengths[i] = _pop(payloads, items[i], own, len(own), _set_frequencies(logits[i], own))
        used = max(used, lengths[i])
    if not used:
        return OK
    u = np.empty((n, head[3][0].shape[0]), np.float32)
    shell_logits = np.empty((n, groups * count), np.float32)
    _set_shells(known, steps, head, lengths, u, shell_logits)
    found = np.zeros((groups, n), np.int64)
    status = OK
    for g in range(used):
        for i in range(n):
            if g < lengths[i]:
                row = shell_logits[i, g * count : (g + 1) * count]
                if g == lengths[i] - 1:
                    row[0] = LEAST_LOGIT
                own = frequencies[:count]
                found[g, i] = _pop(payloads, items[i], own, count, _set_frequencies(row, own))
                if g == lengths[i] - 1 and not found[g, i]:
                    status = ZERO_LAST
    if status != OK:
        return status
    widest = sizes.max()
    frequencies = np.empty(widest, np.float64)
    words = np.empty(widest, np.float32)
    rows, values = _room(max(u.shape[1], head[9].shape[1]))
    p = np.empty(head[9].shape[1], np.float32)
    outer = 0
    for g in range(used):
        for i in range(n):
            shell = found[g, i]
            if shell >= len(sizes):
                outer += 1
            elif shell:
                size = sizes[shell]
                row = words[:size]
                listed = _list_coefficients(u[i], steps[i], head, g, p, rows, values)
                _set_words(rows, values, listed, head[9][g], starts[shell], row)
                total = _set_frequencies(row, frequencies)
                word = _pop(payloads, items[i], frequencies, size, total)
                if word >= size:
                    status = OUTSIDE_SHELL
                chosen[i, g] = starts[shell] + word
    if status == OK and outer:
        status = _decode_outer(items, steps, found[:used], outer, shells, payloads, chosen)
    return status


@_compiled
def _shell(index, shells):
    """Return the shell of an index."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    if index < 0:
        return len(sizes) + _outer_bits(index, dim, precision) - (MAX_OUTER_BITS - len(largest) + 1)
    shell = 0
    while index >= sizes[shell]:
        index -= sizes[shell]
        shell += 1
    return shell


# ---- The encoder's choice


_MARGIN = 1e-3
"""Added to bounds of costs for the errors of rounding and of ``LOG2_TABLE``."""


@_compiled
def _log2(total):
    mantissa, exponent = math.frexp(total)
    return LOG2_TABLE[np.int64(mantissa * (2 * LOG2_STEPS)) - LOG2_STEPS] + exponent


@_compiled
def _set_bits(logits, bits):
    """Set ``bits`` to the code length of each symbol; return the bits of their sum without the first."""
    total = _set_frequencies(logits, bits)
    whole, rest = _log2(total), total - bits[0]
    largest = logits[0]
    for k in range(1, len(logits)):
        largest = max(largest, logits[k])
    for k in range(len(logits)):
        bits[k] = whole - BITS_TABLE[np.int64(min(largest - logits[k], np.float32(TABLE_SIZE - 1)))]
    return whole - _log2(rest)


@_compiled
def _set_distances(z, g, dim, choice, costs):
    """Set ``costs`` (K,) to the squared distances of a latent to all codewords, less its squared norm."""
    codebooks, norms = choice[1], choice[2]
    for k in range(len(costs)):
        costs[k] = norms[g, k]
    for d in range(dim):
        x, words = z[g * dim + d], codebooks[g, d]
        for k in range(len(costs)):
            costs[k] += x * words[k]


@_compiled
def _may_be_used(z, shells, choice, length_logits, power):
    """Set ``power`` (G,) to the squared norms of latents (G * d); return whether the least cost may not be at zero.

    A lower bound of the cost at each length is its price and the distances: an index other than zero costs at least as
    much as it is known not to be zero.
    """
    dim = shells[5]
    groups = len(power)
    apart = False
    for g in range(groups):
        total = z[g * dim] * z[g * dim]
        for d in range(1, dim):
            total += z[g * dim + d] * z[g * dim + d]
        power[g] = total
        apart = apart or total > choice[3][g]
    if not apart:
        return False
    bits = np.empty(groups + 1)
    _set_bits(length_logits, bits)
    distances = np.empty(choice[2].shape[1], np.float32)
    for exactly in range(2):
        gain = 0.0
        may = False
        for g in range(groups):
            if power[g] > choice[3][g]:
                if exactly:
                    _set_distances(z, g, dim, choice, distances)
                    gain += max(-_least(distances[1:]), power[g] - choice[4], 0.0)
                else:
                    gain += power[g]
                if BIT_PRICE * (bits[0] - bits[g + 1]) + gain > -_MARGIN:
                    may = True
                    break
        if not may:
            return False
    return True


@_exact_sums
def _least(distances):
    least = distances[0]
    for k in range(1, len(distances)):
        least = distances[k] if distances[k] < least else least
    return least


@_compiled
def _nearest_outer(z, power, group, step, shells, shell_bits):
    """Return the outer point nearest to ``z`` (d,) and its cost without the squared norm of ``z``."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    limit = np.float32((1 << MAX_OUTER_BITS) - 1)
    peak = np.float32(0)
    for d in range(dim):
        peak = max(peak, min(abs(z[d]), limit))
    length = _bit_length(np.int64(np.rint(peak)))
    scale = np.float32(1 << max(0, length - precision))
    length = min(_bit_length(np.int64(np.rint(peak / scale) * scale)), MAX_OUTER_BITS)
    shell = length - (MAX_OUTER_BITS - len(largest) + 1)
    if shell < 0:
        return 0, np.inf
    scale = np.float32(1 << max(0, length - precision))
    most = np.float32((1 << precision) - 1)
    logits, prices = np.empty(ranges.shape[3], np.float32), np.empty(ranges.shape[3], np.float64)
    packed, distance, bits, reached = 0, np.float32(0), 0.0, False
    for d in range(dim):
        digit = min(max(np.rint(min(max(z[d], -limit), limit) / scale), -most), most)
        distance += (z[d] - digit * scale) * (z[d] - digit * scale)
        number = _range(np.int64(digit), largest[shell], precision)
        _set_ranges(group, shell, d, reached, step, shells, logits)
        _set_bits(logits, prices)
        magnitude = _unsigned_range(number, precision)
        bits += prices[number] + _place_bits(magnitude, largest[shell])
        reached |= magnitude >= largest[shell]
        packed |= np.int64(digit) + (1 << precision) << (precision + 1) * d
    return _pack(packed, length, dim, precision), (distance - power) + BIT_PRICE * (
        shell_bits[len(sizes) + shell] + bits
    )


@_compiled
def _choose(z, power, u, step, head, shells, choice, length_logits, shell_logits, chosen):
    """Set ``chosen`` (G,) to the indices of a position."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    latents, codebooks, norms, least, _ = choice
    groups = len(chosen)
    count = len(shell_logits) // groups
    bits = np.empty(max(count, groups + 1), np.float64)
    costs = np.empty(norms.shape[1], np.float32)
    words = np.empty(sizes.max(), np.float32)
    p = np.empty(head[9].shape[1], np.float32)
    frequencies = np.empty(sizes.max(), np.float64)
    rows, values = _room(max(len(u), head[9].shape[1]))
    zero, other, apart = np.empty(groups), np.empty(groups), np.empty(groups)
    for g in range(groups):
        own = bits[:count]
        apart[g] = BIT_PRICE * _set_bits(shell_logits[g * count : (g + 1) * count], own)
        zero[g] = BIT_PRICE * own[0]
        other[g] = np.inf
        if power[g] <= least[g]:
            continue
        _set_distances(z, g, dim, choice, costs)
        listed = _list_coefficients(u, step, head, g, p, rows, values)
        best = 0
        for shell in range(1, len(sizes)):
            a, b = starts[shell], starts[shell] + sizes[shell]
            if BIT_PRICE * own[shell] + _least(costs[a:b]) > other[g] + _MARGIN:
                continue  # farther than the best one, at any price within the shell
            row = words[: b - a]
            _set_words(rows, values, listed, head[9][g], a, row)
            whole = own[shell] + _log2(_set_frequencies(row, frequencies))
            top = _largest(row)
            for k in range(b - a):
                price = whole - BITS_TABLE[np.int64(min(top - row[k], np.float32(TABLE_SIZE - 1)))]
                cost = costs[a + k] + BIT_PRICE * price
                if cost < other[g]:
                    other[g], best = cost, a + k
        chosen[g] = best
        if other[g] + power[g] > LEAST_OUTER_COST:
            index, cost = _nearest_outer(z[g * dim : (g + 1) * dim], power[g], g, step, shells, own)
            if cost < other[g]:
                other[g], chosen[g] = cost, index
    own = bits[: groups + 1]
    _set_bits(length_logits, own)
    length, lowest, before = 0, BIT_PRICE * own[0], 0.0
    for g in range(groups):
        inner = min(zero[g], other[g])
        before += inner
        cost = BIT_PRICE * own[g + 1] + (before - inner + other[g] - apart[g])
        if cost < lowest:
            length, lowest = g + 1, cost
    for g in range(groups):
        if g >= length or (g < length - 1 and not other[g] < zero[g]):
            chosen[g] = 0


# ---- Encoding


@_compiled
def _encode_outer(items, steps, used, outer, shells, chosen, symbols):
    """Append the symbols of the outer points among ``chosen`` (N, G), in the first ``used`` codebooks."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    places, own_shell = np.empty((outer, 2), np.int64), np.empty(outer, np.int64)
    m = 0
    for g in range(used):
        for i in range(len(chosen)):
            if chosen[i, g] < 0:
                places[m, 0], places[m, 1] = i, g
                own_shell[m] = _shell(np.int64(chosen[i, g]), shells) - len(sizes)
                m += 1
    reached = np.zeros(outer, np.bool_)
    logits, frequencies = np.empty(ranges.shape[3], np.float32), np.empty(ranges.shape[3], np.float64)
    for d in range(dim):
        for m in range(outer):
            i, g = places[m]
            most = largest[own_shell[m]]
            number = _range(_digit(chosen[i, g], d, precision), most, precision)
            _set_ranges(g, own_shell[m], d, reached[m], steps[i], shells, logits)
            total = _set_frequencies(logits, frequencies)
            _push(symbols, items[i], frequencies, len(logits), total, number)
            reached[m] |= _unsigned_range(number, precision) >= most
    for m in range(outer):
        i, g = places[m]
        most = largest[own_shell[m]]
        for d in range(dim):
            digit = _digit(chosen[i, g], d, precision)
            number = _unsigned_range(_range(digit, most, precision), precision)
            bits = _place_bits(number, most)
            if bits:
                _push_uniform(symbols, items[i], bits, abs(digit) - _range_start(number, most))


@_entry(_f2, _int, _n1, _n1, _HEAD, _SHELLS, types.boolean, _n1, _CHOICE, _i2, _SYMBOLS)
def encode_slice(known, width, items, steps, head, shells, choosing, cells, choice, chosen, symbols):
    """Append the symbols of the indices ``chosen`` (N, G), which are chosen first if ``choosing``."""
    starts, sizes, largest, ranges, ranges_quality, dim, precision = shells
    n, groups = chosen.shape
    count = head[6].shape[1] // groups
    frequencies = np.empty(max(count, groups + 1), np.float64)
    length_logits = np.empty((n, groups + 1), np.float32)
    _set_lengths(known, width, steps, head, length_logits)
    u = np.empty((n, head[3][0].shape[0]), np.float32)
    shell_logits = np.empty((n, groups * count), np.float32)
    lengths = np.zeros(n, np.int64)
    if choosing:
        power = np.empty((n, groups), np.float32)
        for i in range(n):
            if _may_be_used(choice[0][cells[i]], shells, choice, length_logits[i], power[i]):
                lengths[i] = groups
        _set_shells(known, steps, head, lengths, u, shell_logits)
        for i in range(n):
            if lengths[i]:
                z = choice[0][cells[i]]
                _choose(z, power[i], u[i], steps[i], head, shells, choice, length_logits[i], shell_logits[i], chosen[i])
    used = 0
    for i in range(n):
        length = groups
        while length and not chosen[i, length - 1]:
            length -= 1
        own = frequencies[: groups + 1]
        _push(symbols, items[i], own, len(own), _set_frequencies(length_logits[i], own), length)
        lengths[i] = length
        used = max(used, length)
    if used and not choosing:
        _set_shells(known, steps, head, lengths, u, shell_logits)
    for g in range(used):
        for i in range(n):
            if g < lengths[i]:
                row = shell_logits[i, g * count : (g + 1) * count]
                if g == lengths[i] - 1:
                    row[0] = LEAST_LOGIT
                own = frequencies[:count]
                total = _set_frequencies(row, own)
                _push(symbols, items[i], own, count, total, _shell(np.int64(chosen[i, g]), shells))
    widest = sizes.max()
    frequencies = np.empty(widest, np.float64)
    words = np.empty(widest, np.float32)
    rows, values = _room(max(u.shape[1], head[9].shape[1]))
    p = np.empty(head[9].shape[1], np.float32)
    for g in range(used):
        for i in range(n):
            index = np.int64(chosen[i, g])
            if index > 0:
                shell = _shell(index, shells)
                row = words[: sizes[shell]]
                listed = _list_coefficients(u[i], steps[i], head, g, p, rows, values)
                _set_words(rows, values, listed, head[9][g], starts[shell], row)
                total = _set_frequencies(row, frequencies)
                _push(symbols, items[i], frequencies, len(row), total, index - starts[shell])
    outer = 0
    for g in range(used):
        for i in range(n):
            outer += chosen[i, g] < 0
    if outer:
        _encode_outer(items, steps, used, outer, shells, chosen, symbols)
