"""Gradients and hessians of a tree's samples as integers: words, pairs or wide ones, see `histogram_build`.

Each member of a team rounds its part, and all find the same powers of two, from magnitudes that each has found a part
of. Only the kind that a fit needs is compiled.
"""

import numpy as np

from fastfit.kernels.histogram_tree import begin_and_end
from fastfit.runtime.bits import bits_float, float_bits
from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.integer_pairs import nearest_int32
from fastfit.runtime.simd import element
from fastfit.runtime.team import barrier

# Samples whose gradients are added up one after the other, and then block by block: as any team adds them.
SUM_BLOCK = 4096
_LARGEST_EXPONENT = 100  # of a scale, so that it is a float32 whatever the gradients are
_ROUNDING = 6755399441055744.0  # 1.5 * 2**52: adding it leaves no digits behind the point


@jit(inline=True, internal=True)
def _bounded(exponent):
    """Return the exponent within what a float32 has."""
    exponent = exponent if exponent < _LARGEST_EXPONENT else _LARGEST_EXPONENT
    return exponent if exponent > -_LARGEST_EXPONENT else -_LARGEST_EXPONENT


@jit(internal=True)
def _power_for(greatest, n_bits):
    """Return the exponent of the power of two that takes a number below 2**n_bits, given the bits of a float32."""
    return _bounded(n_bits - ((greatest >> 23) & 0xFF) + 126)


@jit(inline=True, internal=True)
def _unit_of(power):
    """Return what an integer of 1 stands for, if numbers were multiplied by 2**power."""
    return 1.0 / np.float64(bits_float(np.uint32((power + 127) << 23)))


@jit(internal=True, fastmath=REASSOCIATE)
def _add_magnitudes(
    values,  # (2 * n,) float32: gradients and hessians in turn
    first,  # bounds of the blocks to add up
    last,
    sums,  # (n_blocks,) float64, out
):
    """Add up the magnitudes of gradients, block by block."""
    n_samples = len(values) // 2
    for block in range(first, last):
        start = block * SUM_BLOCK
        end = start + SUM_BLOCK if start + SUM_BLOCK < n_samples else n_samples
        total = 0.0
        for i in range(start, end):
            total += abs(np.float64(element(values, 2 * i)))
        sums[block] = total


@jit(internal=True)
def _find_greatest(
    words,  # (n,) int64: the bits of a float32 gradient below those of a float32 hessian
    start,
    end,
    greatest_out,  # (2,) int64: the bits of the greatest magnitudes
):
    """Find the greatest gradient and hessian of some samples: bits of positive floats are in the floats' order."""
    greatest_g = np.int64(0)
    greatest_h = np.int64(0)
    for i in range(start, end):
        word = element(words, i)
        g = word & 0x7FFFFFFF
        h = (word >> 32) & 0x7FFFFFFF
        greatest_g = g if g > greatest_g else greatest_g
        greatest_h = h if h > greatest_h else greatest_h
    greatest_out[0] = greatest_g
    greatest_out[1] = greatest_h


@jit(internal=True)
def _common_powers(
    control,
    team,
    words,  # (n_samples,) int64: the bits of a float32 gradient below those of a float32 hessian
    greatest,  # (n_threads, 8) int64, out
    units_out,  # (8,) float64: what one stands for
    limits,
):
    """Return the powers of two for gradients and hessians, and whether to go on."""
    thread_idx, n_threads = team
    start, end = begin_and_end(len(words), thread_idx, n_threads)
    _find_greatest(words, start, end, greatest[thread_idx])
    goes_on = barrier(control, n_threads)
    greatest_g = np.int64(0)
    greatest_h = np.int64(0)
    for member in range(n_threads):
        g = greatest[member, 0]
        h = greatest[member, 1]
        greatest_g = g if g > greatest_g else greatest_g
        greatest_h = h if h > greatest_h else greatest_h
    g_power = _power_for(greatest_g, limits.gradient_bits)
    h_power = _power_for(greatest_h, limits.hessian_bits)
    units_out[0] = _unit_of(g_power)
    units_out[1] = _unit_of(h_power)
    return g_power, h_power, goes_on


@jit(internal=True)
def round_to_pairs(control, team, values, words, wide, sums, greatest, units_out, limits):
    """Round gradients and hessians to integers of 32 bits, in place: gradients in the low half of a word."""
    g_power, h_power, goes_on = _common_powers(control, team, words, greatest, units_out, limits)
    if not goes_on:
        return
    start, end = begin_and_end(len(words), team[0], team[1])
    g_scale = bits_float(np.uint32((g_power + 127) << 23))
    h_scale = bits_float(np.uint32((h_power + 127) << 23))
    for i in range(start, end):
        g = nearest_int32(element(values, 2 * i) * g_scale)
        h = nearest_int32(element(values, 2 * i + 1) * h_scale)
        set_element(words, i, (np.int64(h) << 32) | (np.int64(g) & 0xFFFFFFFF))


@jit(internal=True)
def round_to_wide(control, team, values, words, wide, sums, greatest, units_out, limits):
    """Round gradients and hessians to integers of 64 bits, with what a sample counts added to the hessians."""
    _, _, goes_on = _common_powers(control, team, words, greatest, units_out, limits)
    if not goes_on:
        return
    start, end = begin_and_end(len(words), team[0], team[1])
    unit = np.int64(1) << limits.count_shift
    g_scale = 1.0 / units_out[0]
    h_scale = 1.0 / units_out[1]
    for i in range(start, end):
        g = (np.float64(element(values, 2 * i)) * g_scale + _ROUNDING) - _ROUNDING
        h = (np.float64(element(values, 2 * i + 1)) * h_scale + _ROUNDING) - _ROUNDING
        set_element(wide, 2 * i, np.int64(g))
        set_element(wide, 2 * i + 1, np.int64(h) + unit)


@jit(internal=True)
def round_to_words(
    control,
    team,  # (thread_idx, n_threads)
    values,  # (2 * n_samples,) float32: gradients and hessians in turn
    words,  # the same memory as int64, out but for wide ones
    wide,  # (2 * n_samples,) int64, out; (0,) if not wide
    sums,  # (n_blocks,) float64, scratch of all members
    greatest,  # (n_threads, 8) int64, scratch of all members
    units_out,  # (8,) float64: what one stands for, of gradients and of hessians
    limits,  # GrowthLimits
):
    """Round gradients to integers, in place: a count of 1 in the low bits of a word, the gradient above them."""
    thread_idx, n_threads = team
    first, last = begin_and_end(len(sums), thread_idx, n_threads)
    _add_magnitudes(values, first, last, sums)
    if not barrier(control, n_threads):
        return
    total = 0.0
    for block in range(len(sums)):
        total += sums[block]
    g_power = _power_for(np.int64(float_bits(np.float32(total))), limits.gradient_bits)
    units_out[0] = _unit_of(g_power)
    units_out[1] = 1.0
    g_scale = 1.0 / units_out[0]
    start, end = begin_and_end(len(words), thread_idx, n_threads)
    for i in range(start, end):
        rounded = (np.float64(element(values, 2 * i)) * g_scale + _ROUNDING) - _ROUNDING
        set_element(words, i, (np.int64(rounded) << limits.count_shift) + 1)
