"""The best split of a node by one feature, from its histogram.

Gains and values are those of scikit-learn's histogram boosting (Chen and Guestrin, "XGBoost", 2016, equations 5 to
7): a child with sums G and H has the value -G / (H + l2), within the bounds that monotonic constraints set, and
lowers the loss by -G times that; with ``reg_alpha``, G is moved towards 0 by as much, or to 0. Where scikit-learn
skips a bin (too few samples or too small a hessian on the left) or stops (on the right), gains here are -1: both sums
only grow from bin to bin.

Passes over the bins of a feature: running sums of integers, a test in vectors whether any gains more than the best
split so far (of few features one does), and then the gains in vectors and the first of the greatest.
"""

import numpy as np

from fastfit.kernels.histogram_tree import (
    LOWER,
    R_BIN,
    R_FEATURE,
    R_GAIN,
    R_IS_CATEGORICAL,
    R_LEFT_G,
    R_LEFT_H,
    R_MISSING_LEFT,
    R_N_LEFT,
    SUM_G,
    SUM_H,
    UPPER,
    VALUE,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.simd import element

# What scikit-learn adds to a hessian so that no division is by zero.
TINY = 1e-15
# More than the share that rounding takes of a gain.
ROUNDING = 1e-11


@jit(inline=True, internal=True)
def slot_sums(histogram, place, limits):
    """Return a slot's sum of gradients, and its number of samples above its sum of hessians."""
    word = element(histogram, place)
    if limits.n_words == 1:  # the number is the sum of hessians, too
        count = word & ((np.int64(1) << limits.count_shift) - 1)
        return word >> limits.count_shift, (count << limits.count_shift) | count
    return word, element(histogram, place + 1)


@jit(inline=True, internal=True)
def thresholded(gradient, reg_alpha):
    """Return the gradient moved towards 0 by reg_alpha, or 0: the derivative of what an L1 penalty leaves."""
    less = abs(gradient) - reg_alpha
    less = less if less > 0.0 else 0.0
    return less if gradient > 0.0 else -less


@jit(inline=True, internal=True)
def node_value(gradient, hessian, l2_regularization, lower, upper):
    """Return the value of a node, within bounds, given its sums (of gradients, the thresholded one)."""
    value = -gradient / (hessian + l2_regularization + TINY)
    value = value if value > lower else lower
    return value if value < upper else upper


@jit(internal=True)
def gain_of(sums, node_sums, bounds, limits, monotonic):
    """Return the gain of a split with the sums (gradient, hessian) on the left, -1 if it breaks the constraint."""
    left_g = thresholded(sums[0], limits.reg_alpha)
    right_g = thresholded(node_sums[0] - sums[0], limits.reg_alpha)
    left = node_value(left_g, sums[1], limits.l2_regularization, bounds[0], bounds[1])
    right = node_value(right_g, node_sums[1] - sums[1], limits.l2_regularization, bounds[0], bounds[1])
    gain = node_sums[2] - left_g * left - right_g * right
    return -1.0 if monotonic * (left - right) > 0.0 else gain


@jit(internal=True)
def fill_sums(
    histogram,  # int64: the feature's slots from slot on
    slot,
    step,  # words from slot to slot, negative if bins are taken from the right
    n_candidates,
    limits,
    row,
    sums,  # (3 * row,) int64, out: running sums of gradients, then of hessians and counts, a candidate each
):
    """Add up a feature's slots from bin to bin."""
    if limits.n_words == 1:
        total = np.int64(0)
        mask = (np.int64(1) << limits.count_shift) - 1
        for b in range(n_candidates):
            total += element(histogram, slot)
            count = total & mask
            set_element(sums, b, total >> limits.count_shift)
            set_element(sums, row + b, (count << limits.count_shift) | count)
            slot += step
        return
    g = np.int64(0)
    h = np.int64(0)
    for b in range(n_candidates):
        g += element(histogram, slot)
        h += element(histogram, slot + 1)
        set_element(sums, b, g)
        set_element(sums, row + b, h)
        slot += step


@jit(internal=True)
def gains_more(sums, row, n_candidates, node, n_node, scales, limits, least):
    """Return whether a candidate may gain more than ``least``: without a division, and sometimes in vain.

    The gain is the loss of the node and, of either child, G**2 / (H + l2), if nothing bounds its value. Where the
    two add up to no more than what is left of ``least``, none of the exact gains is needed.
    """
    mask = (np.int64(1) << limits.count_shift) - 1
    node_g = node[SUM_G]
    node_h = node[SUM_H]
    l2 = limits.l2_regularization + TINY
    loss = node_g * node[VALUE]
    needed = least - loss
    needed -= ROUNDING * (abs(least) + abs(loss))
    n_more = np.int64(0)
    for b in range(n_candidates):
        word = element(sums, row + b)
        count = word >> limits.count_shift
        own_g = element(sums, b) * scales[0]
        own_h = (word & mask) * scales[1]
        other_g = node_g - own_g
        other_h = node_h - own_h
        own = own_h + l2
        other = other_h + l2
        excess = own_g * own_g * other + other_g * other_g * own - needed * (own * other)
        is_split = (count >= limits.min_samples_leaf) & (n_node - count >= limits.min_samples_leaf)
        n_more += (excess > 0.0) & is_split
    return n_more > 0


@jit(internal=True)
def fill_gains(
    sums,  # (3 * row,) int64: running sums of gradients, then of hessians and counts, a bin each
    row,
    n_candidates,
    node,  # (NODE_FLOATS,) float64
    n_node,  # samples of the node
    scales,  # (g_unit, h_unit) float64: what one of an integer stands for
    monotonic,  # 1.0, 0.0 or -1.0
    limits,
    from_right,  # 1 if the sums are those of the right child
    gains,  # (3 * row,) float64: the third row is set
):
    """Compute the gain of each candidate, -1 where a child would be too small."""
    count_shift = limits.count_shift
    hessian_mask = (np.int64(1) << count_shift) - 1
    node_g = node[SUM_G]
    node_h = node[SUM_H]
    lower = node[LOWER]
    upper = node[UPPER]
    loss = thresholded(node_g, limits.reg_alpha) * node[VALUE]
    for b in range(n_candidates):
        word = element(sums, row + b)
        count = word >> count_shift
        own_g = element(sums, b) * scales[0]
        own_h = (word & hessian_mask) * scales[1]
        # In scikit-learn's order, whichever side the sums are of: it rounds the gains of mirrored splits apart, and
        # so decides between them.
        left_g = node_g - own_g if from_right == 1 else own_g
        left_h = node_h - own_h if from_right == 1 else own_h
        right_g = own_g if from_right == 1 else node_g - own_g
        right_h = own_h if from_right == 1 else node_h - own_h
        smaller = left_h if left_h < right_h else right_h
        left_t = thresholded(left_g, limits.reg_alpha)
        right_t = thresholded(right_g, limits.reg_alpha)
        left_value = node_value(left_t, left_h, limits.l2_regularization, lower, upper)
        right_value = node_value(right_t, right_h, limits.l2_regularization, lower, upper)
        gain = loss - left_t * left_value - right_t * right_value
        slope = monotonic * (left_value - right_value)
        fewest = count if count < n_node - count else n_node - count
        is_split = (fewest >= limits.min_samples_leaf) & (smaller >= limits.min_hessian) & (slope <= 0.0)
        set_element(gains, 2 * row + b, gain if is_split else -1.0)


@jit(internal=True)
def best_of(
    gain_bits,  # int64: the bits of float64, from first on; those of a negative number are less than a positive one's
    first,
    n_candidates,
):
    """Return the place of the greatest gain, the first of several; negative ones all count as equal."""
    greatest = np.int64(-1)
    for b in range(n_candidates):
        bits = element(gain_bits, first + b)
        greatest = bits if bits > greatest else greatest
    if greatest < 0:
        return 0
    place = n_candidates
    for b in range(n_candidates):
        candidate = b if element(gain_bits, first + b) == greatest else n_candidates
        place = candidate if candidate < place else place
    return place


@jit(internal=True)
def enter_split(
    feature,
    choice,  # (gain, bin, 1 if missing values go left)
    left,  # (gradient, hessian, n_samples) of the left child
    result_ints,  # (RESULT_INTS,) int64
    result_floats,  # (RESULT_FLOATS,) float64
):
    """Report a split that is better than those before."""
    result_ints[R_FEATURE] = feature
    result_ints[R_BIN] = choice[1]
    result_ints[R_MISSING_LEFT] = choice[2]
    result_ints[R_N_LEFT] = left[2]
    result_ints[R_IS_CATEGORICAL] = 0
    result_floats[R_GAIN] = choice[0]
    result_floats[R_LEFT_G] = left[0]
    result_floats[R_LEFT_H] = left[1]


@jit(internal=True)
def scan_feature(
    histogram,  # int64: the feature's slots from start on
    start,
    shape,  # (feature, n_bins, has_missing, monotonic) of the feature
    node,  # (NODE_FLOATS,) float64
    n_node,
    scales,
    limits,
    scan_ints,  # (3 * row,) int64, scratch
    gains,  # the same memory as float64
    results,  # (result_ints, result_floats): the best split so far, in and out
):
    """Look for a better split of the node by this feature, missing values to the right and then to the left."""
    feature, n_bins, has_missing, monotonic = shape
    result_ints, result_floats = results
    row = len(gains) // 3
    mask = (np.int64(1) << limits.count_shift) - 1
    is_free = monotonic == 0 and limits.reg_alpha == 0.0 and node[LOWER] == -np.inf and node[UPPER] == np.inf
    for from_right in range(1 + has_missing):
        # From the right, candidate b has the bins behind n_bins - 2 - b on the right, and missing ones on the left.
        n_candidates = n_bins - 1 if from_right == 1 else n_bins - 1 + has_missing
        if n_candidates <= 0:
            continue
        step = -limits.n_words if from_right == 1 else limits.n_words
        slot = start + (n_bins - 1) * limits.n_words if from_right == 1 else start
        fill_sums(histogram, slot, step, n_candidates, limits, row, scan_ints)
        if is_free:
            least = result_floats[R_GAIN] if result_floats[R_GAIN] > limits.min_gain else limits.min_gain
            if not gains_more(scan_ints, row, n_candidates, node, n_node, scales, limits, least):
                continue
        fill_gains(scan_ints, row, n_candidates, node, n_node, scales, monotonic, limits, from_right, gains)
        b = best_of(scan_ints, 2 * row, n_candidates)
        gain = gains[2 * row + b]
        if gain > result_floats[R_GAIN] and gain > limits.min_gain:
            g_sum = scan_ints[b] * scales[0]
            h_sum = (scan_ints[row + b] & mask) * scales[1]
            count = scan_ints[row + b] >> limits.count_shift
            if from_right == 1:
                left = (node[SUM_G] - g_sum, node[SUM_H] - h_sum, n_node - count)
                enter_split(feature, (gain, n_bins - 2 - b, 1), left, result_ints, result_floats)
            else:
                enter_split(feature, (gain, b, 0), (g_sum, h_sum, count), result_ints, result_floats)
