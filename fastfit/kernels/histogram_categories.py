"""The best split by a categorical feature: categories in the order of their values, the first or last go left.

As scikit-learn does it (after Fisher, "On grouping for maximum homogeneity", 1958, and LightGBM): categories are
sorted by G / (H + 10); those with too small a hessian always go right; missing values are a category, too. Splits are
tried from both ends up to the middle, so that what goes left is at most half of the categories. Equal values come out
last first, as the C library's merge sort leaves them with scikit-learn's comparison.
"""

import numpy as np

from fastfit.kernels.histogram_split import enter_split, gain_of, slot_sums, thresholded
from fastfit.kernels.histogram_tree import (
    BITSET_WORDS,
    LOWER,
    R_GAIN,
    R_IS_CATEGORICAL,
    R_MISSING_LEFT,
    SUM_G,
    SUM_H,
    UPPER,
    VALUE,
)
from fastfit.runtime.compile import jit

# Samples' worth of hessian that a category must have to be sorted, and that smooths its value.
MIN_SUPPORT = 10.0


@jit(internal=True)
def _sort_categories(
    histogram,  # int64: the feature's slots from start on
    start,
    shape,  # (n_bins, has_missing, missing_bin)
    scales,  # (g_unit, h_unit)
    factor,  # samples of the node to its hessian
    order,  # (row,) int64, out: bins with support, by value
    values,  # the same memory as float64 from row on: their values
    row,
    limits,
):
    """Sort the categories that have support by value; return their number."""
    n_bins, has_missing, missing_bin = shape
    hessian_mask = (np.int64(1) << limits.count_shift) - 1
    n_used = 0
    for i in range(n_bins + has_missing):
        b = i if i < n_bins else missing_bin
        slot_g, slot_h = slot_sums(histogram, start + b * limits.n_words, limits)
        h = (slot_h & hessian_mask) * scales[1]
        if h * factor < MIN_SUPPORT:
            continue
        value = slot_g * scales[0] / (h + MIN_SUPPORT)
        place = n_used
        while place > 0 and values[row + place - 1] >= value:
            values[row + place] = values[row + place - 1]
            order[place] = order[place - 1]
            place -= 1
        values[row + place] = value
        order[place] = b
        n_used += 1
    return n_used


@jit(internal=True)
def _fill_bitset(order, n_used, place, direction, bitset):
    """Set the bits of the categories up to a place from the left, or from the right."""
    for word in range(BITSET_WORDS):
        bitset[word] = np.uint32(0)
    first = 0 if direction == 1 else place
    last = place + 1 if direction == 1 else n_used
    for i in range(first, last):
        b = order[i]
        bitset[b >> 5] |= np.uint32(1) << np.uint32(b & 31)


@jit(internal=True)
def _scan_direction(histogram, start, order, n_used, direction, node, n_node, scales, limits, best):
    """Return the best split with the categories from one end on the left, as ``(gain, place, g, h, n)``."""
    middle = (n_used + 1) // 2 if direction == 1 else (n_used + 1) // 2 - 1
    mask = (np.int64(1) << limits.count_shift) - 1
    bounds = (node[LOWER], node[UPPER])
    loss = thresholded(node[SUM_G], limits.reg_alpha) * node[VALUE]
    g = np.int64(0)
    word = np.int64(0)
    for i in range(middle):
        place = i if direction == 1 else n_used - 1 - i
        slot_g, slot_h = slot_sums(histogram, start + order[place] * limits.n_words, limits)
        g += slot_g
        word += slot_h
        n_left = word >> limits.count_shift
        left_g = g * scales[0]
        left_h = (word & mask) * scales[1]
        if n_left < limits.min_samples_leaf or left_h < limits.min_hessian:
            continue
        if n_node - n_left < limits.min_samples_leaf or node[SUM_H] - left_h < limits.min_hessian:
            break
        gain = gain_of((left_g, left_h), (node[SUM_G], node[SUM_H], loss), bounds, limits, 0.0)
        if gain > best[0] and gain > limits.min_gain:
            best = (gain, place, left_g, left_h, n_left)
    return best


@jit(internal=True)
def scan_categories(
    histogram,  # int64: the feature's slots from start on
    start,
    shape,  # (feature, n_bins, has_missing, missing_bin)
    node,  # (NODE_FLOATS,) float64
    n_node,
    scales,
    limits,
    order,  # (3 * row,) int64, scratch
    values,  # the same memory as float64
    results,  # (result_ints, result_floats): the best split so far, in and out
    bitset,  # (BITSET_WORDS,) uint32: categories that go left in it, out
):
    """Look for a better split of the node by this feature."""
    feature, n_bins, has_missing, missing_bin = shape
    result_ints, result_floats = results
    row = len(order) // 3
    factor = n_node / node[SUM_H]
    columns = (n_bins, has_missing, missing_bin)
    n_used = _sort_categories(histogram, start, columns, scales, factor, order, values, row, limits)
    if n_used <= 1:
        return
    best = (-1.0, np.int64(0), 0.0, 0.0, np.int64(0))
    goes_back = False
    for direction in range(1, -2, -2):
        found = _scan_direction(
            histogram, start, order, n_used, direction, node, n_node, scales, limits, best
        )
        goes_back = direction == -1 and found[0] > best[0]
        best = found
    if not best[0] > result_floats[R_GAIN]:
        return
    enter_split(feature, (best[0], 0, 0), (best[2], best[3], best[4]), result_ints, result_floats)
    result_ints[R_IS_CATEGORICAL] = 1
    _fill_bitset(order, n_used, best[1], -1 if goes_back else 1, bitset)
    if has_missing:
        result_ints[R_MISSING_LEFT] = (bitset[missing_bin >> 5] >> np.uint32(missing_bin & 31)) & np.uint32(1)
