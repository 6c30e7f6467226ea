"""Histograms of gradients and hessians: sums over the samples of a node, for each bin of each feature.

A sample's gradient and hessian are rounded to 32-bit integers once a tree: gradients to multiples of 2**-30 of the
power of two above the greatest, finer than float32 in the six uppermost powers of two, hessians likewise to as many
bits as leave room for the sum over all samples and for their number in one int64. Rounded so, sums are exact.

Rows of bins are read whole, features of a row after each other, each of which adds the pair of int64 to its slot:
0.35 to 0.5 ns. Below the root rows lie far apart; without asking for them ahead, each costs a miss of the cache that
the 28 updates of a row do not hide (4.9 ns an update instead of 0.6).

A team splits the work by features if there are many (nothing to merge then), and by rows.
"""

import numpy as np

from fastfit.kernels.histogram_tree import WORDS
from fastfit.runtime.bits import bits_float
from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.integer_pairs import add_pair, ask_for_line, load_four_bytes, load_pair, nearest_int32
from fastfit.runtime.simd import element

# Rows asked for ahead; the buffer of samples is as much longer.
ROWS_AHEAD = 16
_LARGEST_EXPONENT = 100  # of a scale, so that it is a float32 whatever the gradients are


@jit(internal=True)
def power_for(greatest, n_bits):
    """Return the exponent of the power of two that takes a number below 2**n_bits, given the bits of a float32."""
    exponent = n_bits - ((greatest >> 23) & 0xFF) + 126
    if exponent > _LARGEST_EXPONENT:
        return _LARGEST_EXPONENT
    return exponent if exponent > -_LARGEST_EXPONENT else -_LARGEST_EXPONENT


@jit(internal=True)
def find_greatest(
    bits,  # (2 * n,) int32: the bits of float32, gradients and hessians in turn
    start,
    end,
    greatest_out,  # (2,) int64: the bits of the greatest magnitudes
):
    """Find the greatest gradient and hessian of some samples: bits of positive floats are in the floats' order."""
    greatest_g = np.int32(0)
    greatest_h = np.int32(0)
    for i in range(start, end):
        g = element(bits, 2 * i) & np.int32(0x7FFFFFFF)
        h = element(bits, 2 * i + 1) & np.int32(0x7FFFFFFF)
        greatest_g = g if g > greatest_g else greatest_g
        greatest_h = h if h > greatest_h else greatest_h
    greatest_out[0] = greatest_g
    greatest_out[1] = greatest_h


@jit(internal=True)
def round_to_integers(
    values,  # (2 * n,) float32: gradients and hessians in turn
    integers,  # the same memory as int32
    start,
    end,
    g_power,
    h_power,
):
    """Multiply gradients and hessians by powers of two and round them to integers, in place."""
    g_scale = bits_float(np.uint32((g_power + 127) << 23))
    h_scale = bits_float(np.uint32((h_power + 127) << 23))
    for i in range(start, end):
        g = nearest_int32(element(values, 2 * i) * g_scale)
        h = nearest_int32(element(values, 2 * i + 1) * h_scale)
        set_element(integers, 2 * i, g)
        set_element(integers, 2 * i + 1, h)


@jit(inline=True, internal=True)
def unit_of(power):
    """Return what an integer of 1 stands for, if numbers were multiplied by 2**power."""
    return 1.0 / np.float64(bits_float(np.uint32((power + 127) << 23)))


@jit(internal=True)
def add_rows(
    rows,  # (n_samples * n_features + padding,) uint8: a row's bins are neighbours
    shape,  # (n_features, slots of a feature, first and last of the features to add)
    samples,  # (n_samples + padding,) uint32
    bounds,  # (start, end) of the samples to add
    integers,  # (2 * n_samples,) int32: gradients and hessians in turn
    unit,  # what one sample adds to the second word
    histogram,  # int64: from offset on, a histogram
    offset,
):
    """Set the histograms of some features to the sums over some samples."""
    n_features, n_slots, first, last = shape
    width = WORDS * n_slots
    for slot in range(offset + first * width, offset + last * width):
        set_element(histogram, slot, 0)
    n_fours = (last - first) // 4
    n_rest = last - first - 4 * n_fours
    for position in range(bounds[0], bounds[1]):
        ahead = np.int64(element(samples, position + ROWS_AHEAD))
        ask_for_line(rows, ahead * n_features + first)
        ask_for_line(rows, ahead * n_features + last - 1)
        ask_for_line(integers, 2 * ahead)
        sample = np.int64(element(samples, position))
        pair = load_pair(integers, 2 * sample, unit)
        place = sample * n_features + first
        slot = offset + first * width
        for _ in range(n_fours):
            bins = load_four_bytes(rows, place)
            add_pair(histogram, slot + np.int64(bins & np.uint32(0xFF)) * WORDS, pair)
            slot += width
            add_pair(histogram, slot + np.int64((bins >> np.uint32(8)) & np.uint32(0xFF)) * WORDS, pair)
            slot += width
            add_pair(histogram, slot + np.int64((bins >> np.uint32(16)) & np.uint32(0xFF)) * WORDS, pair)
            slot += width
            add_pair(histogram, slot + np.int64(bins >> np.uint32(24)) * WORDS, pair)
            slot += width
            place += 4
        if n_rest > 0:
            add_pair(histogram, slot + np.int64(element(rows, place)) * WORDS, pair)
        if n_rest > 1:
            add_pair(histogram, slot + width + np.int64(element(rows, place + 1)) * WORDS, pair)
        if n_rest > 2:
            add_pair(histogram, slot + 2 * width + np.int64(element(rows, place + 2)) * WORDS, pair)


@jit(internal=True)
def merge_parts(
    parts,  # ((n_row_parts - 1) * size,) int64
    shape,  # (n_row_parts, size of a histogram)
    start,  # bounds of what to merge, within a histogram
    end,
    histogram,  # int64: from offset on, the histogram of the first part of the rows
    offset,
):
    """Add the histograms of the other parts of the rows to that of the first."""
    n_parts, size = shape
    for part in range(n_parts - 1):
        for i in range(start, end):
            total = element(histogram, offset + i) + element(parts, part * size + i)
            set_element(histogram, offset + i, total)


@jit(internal=True)
def subtract(
    histogram,  # int64: minuend and result from `parent` on, subtrahend from `child` on
    parent,
    child,
    size,
):
    """Take the histogram of a child from that of its parent: what is left is the other child's."""
    for i in range(size):
        rest = element(histogram, parent + i) - element(histogram, child + i)
        set_element(histogram, parent + i, rest)
