"""Histograms of gradients and hessians: sums over the samples of a node, for each bin of each feature.

A sample's gradient and hessian are rounded to integers once a tree, so that sums are exact. A slot of a histogram has
two words of 64 bits: the sum of gradients, multiples of 2**-30 of the power of two above the greatest (finer than
float32 in the six uppermost powers of two), and the sum of hessians, to as many bits as leave room for the number of
samples above it. Where all hessians are 1 the number is their sum, and a slot is one word: the number in the low
bits, the sum of gradients above it, in units that let the magnitudes of all gradients together fill what is left (24
bits for a mean gradient of 400 000). That is 0.36 ns an update, against 0.55 ns for two words.

Of few samples each has 64 bits for its gradient and as many for its hessian. Then sums are exact, as scikit-learn's in
float64 mostly are, and splits of equal gain are decided alike: on few samples different features often part them alike.

Rows of bins are read whole, features of a row after each other. Below the root rows lie far apart; without asking for
them ahead, each costs a miss of the cache that the 28 updates of a row do not hide (4.9 ns an update instead of 0.6).

A team splits the work by features if there are many or samples are few (nothing to merge then), or else by rows.
"""

import functools

import numpy as np

from fastfit.runtime.bits import bits_float
from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.integer_pairs import add_to_slots, ask_for_line, load_pair, load_two, nearest_int32
from fastfit.runtime.simd import address_of, element

# Rows asked for ahead; the buffer of samples is as much longer.
ROWS_AHEAD = 16
# Slots of a feature where there are 256 bins: known when kernels are compiled, it saves an addition an update.
COMMON_SLOTS = 260
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
def power_for(greatest, n_bits):
    """Return the exponent of the power of two that takes a number below 2**n_bits, given the bits of a float32."""
    return _bounded(n_bits - ((greatest >> 23) & 0xFF) + 126)


@jit(internal=True)
def power_for_sum(total, n_bits):
    """Return the exponent of the power of two that takes a sum below 2**n_bits, and 0 below it, too."""
    exponent = n_bits
    while exponent < _LARGEST_EXPONENT and total < 0.5:
        total *= 2.0
        exponent += 1
    while exponent > -_LARGEST_EXPONENT and total >= 1.0:
        total *= 0.5
        exponent -= 1
    return exponent


@jit(internal=True, fastmath=REASSOCIATE)
def add_magnitudes(
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
def find_greatest(
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
def round_to_pairs(
    values,  # (2 * n,) float32: gradients and hessians in turn
    words,  # the same memory as int64, out: gradients in the low half, hessians in the high one
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
        set_element(words, i, (np.int64(h) << 32) | (np.int64(g) & 0xFFFFFFFF))


@jit(internal=True)
def round_to_wide(
    values,  # (2 * n,) float32: gradients and hessians in turn
    wide,  # (2 * n,) int64, out: the same as integers below 2**51, and a unit added to the hessians
    start,
    end,
    powers,  # those of two that gradients and hessians are multiplied by
    unit,
):
    """Multiply gradients and hessians by powers of two and round them to integers of 64 bits."""
    g_scale = 1.0 / unit_of(powers[0])
    h_scale = 1.0 / unit_of(powers[1])
    for i in range(start, end):
        g = (np.float64(element(values, 2 * i)) * g_scale + _ROUNDING) - _ROUNDING
        h = (np.float64(element(values, 2 * i + 1)) * h_scale + _ROUNDING) - _ROUNDING
        set_element(wide, 2 * i, np.int64(g))
        set_element(wide, 2 * i + 1, np.int64(h) + unit)


@jit(internal=True)
def round_to_words(
    values,  # (2 * n,) float32: gradients and hessians in turn
    words,  # the same memory as int64, out: a count of 1 in the low bits, the gradient above them
    start,
    end,
    g_power,
    count_bits,
):
    """Multiply gradients by a power of two and round them to integers, in place."""
    g_scale = 1.0 / unit_of(g_power)
    for i in range(start, end):
        rounded = (np.float64(element(values, 2 * i)) * g_scale + _ROUNDING) - _ROUNDING
        set_element(words, i, (np.int64(rounded) << count_bits) + 1)


@jit(inline=True, internal=True)
def unit_of(power):
    """Return what an integer of 1 stands for, if numbers were multiplied by 2**power."""
    return 1.0 / np.float64(bits_float(np.uint32((power + 127) << 23)))


@jit(inline=True, internal=True)
def _ask_for_row(rows, words, sample, n_features, first, last):
    """Ask for what a sample adds, ahead of its turn."""
    ask_for_line(rows, sample * n_features + first)
    ask_for_line(rows, sample * n_features + last - 1)
    ask_for_line(words, sample)


@jit(inline=True, internal=True)
def _load_pair(words, sample, unit):
    """Return what a sample adds to a slot of two words."""
    return load_two(words, 2 * sample) if unit == 0 else load_pair(words, sample, unit)


@jit(inline=True, internal=True)
def _load_word(words, sample, unit):
    """Return what a sample adds to a slot of one word."""
    return element(words, sample)


@functools.cache
def rows_adder(n_words, has_common_slots):
    """Return the kernel that adds samples to histograms of so many words a slot, with COMMON_SLOTS slots or others."""
    known_slots = COMMON_SLOTS if has_common_slots else 0
    load = _load_word if n_words == 1 else _load_pair

    @jit(internal=True)
    def add_rows(
        rows,  # (n_samples * n_features + padding,) uint8: a row's bins are neighbours
        features,  # (n_features, first and last of those to add, whether rows lie apart)
        n_slots,  # of a feature
        samples,  # (n_samples + padding,) uint32
        bounds,  # (start, end) of the samples to add
        words,  # (n_samples,) int64: gradients and hessians, rounded; or (2 * n_samples,), see round_to_wide
        unit,  # what one sample adds to the second of two words; 0 for wide ones, which have it
        histogram,  # int64: from offset on, a histogram
        offset,
    ):
        """Add some samples to the histograms of some features."""
        n_features, first, last, is_sparse = features
        width = 8 * n_words * (known_slots if known_slots > 0 else n_slots)
        n_eights = (last - first) // 8
        n_rest = last - first - 8 * n_eights
        begin = address_of(histogram, offset) + first * width
        for position in range(bounds[0], bounds[1]):
            if is_sparse:
                ahead = np.int64(element(samples, position + ROWS_AHEAD))
                _ask_for_row(rows, words, ahead, n_features, first, last)
            sample = np.int64(element(samples, position))
            added = load(words, sample, unit)
            place = sample * n_features + first
            slot = begin
            for _ in range(n_eights):
                add_to_slots(rows, place, 8, slot, width, added)
                slot += 8 * width
                place += 8
            if n_rest & 4:
                add_to_slots(rows, place, 4, slot, width, added)
                slot += 4 * width
                place += 4
            if n_rest & 2:
                add_to_slots(rows, place, 2, slot, width, added)
                slot += 2 * width
                place += 2
            if n_rest & 1:
                add_to_slots(rows, place, 1, slot, width, added)

    return add_rows


@jit(internal=True)
def clear(histogram, start, end):
    """Set a part of a histogram to 0."""
    for slot in range(start, end):
        set_element(histogram, slot, 0)


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
