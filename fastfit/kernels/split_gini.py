"""The best split by the Gini impurity, for classes with unit or integer weights.

Class counts are integers, so that all is exact but for scikit-learn's own last formula, which decides between
candidates: it is evaluated for those alone that are the best so far by a cheaper measure, within rounding.
"""

import numpy as np

from fastfit.kernels.presorted_columns import MEMBER, NEARLY_EQUAL, NEW_VALUE, SLOT
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    LEFT_BIT,
    NODE_ID,
    POSITION,
    SOURCE,
    SPLIT_COLUMN,
    START,
    SUM,
    SUM_LEFT,
    SUM_RIGHT,
    WEIGHT,
    WEIGHT_LEFT,
    WEIGHT_RIGHT,
    may_be_split,
    set_improvement,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import any_lane, element, select, store
from fastfit.runtime.simd_integers import (
    add_uint32,
    field,
    has_bits,
    is_below,
    lane_numbers,
    last_lane,
    load_uint32,
    lower_float64,
    lower_mask,
    multiply_uint32,
    sums_before,
    upper_float64,
    upper_mask,
)

# Candidates whose measure is lower than the best by more than this share, and by more than the rounding of
# scikit-learn's formula for a whole node, cannot be better by that formula.
NEARLY_AS_GOOD = 1.0 - 1e-9
ROUNDING = 1e-14

NODE, LEFT, SCAN = 0, 1, 2
# Up to this many samples are looked at one by one: a vector of 16 costs as much as 6 of them.
FEW = 6


@jit(internal=True)
def gini(counts, weight):
    """Gini impurity of class counts that sum to ``weight``."""
    squares = 0.0
    for k in range(len(counts)):
        count = np.float64(counts[k])
        squares += count * count
    return 1.0 - squares / (weight * weight)


@jit(internal=True)
def gini_of_rest(counts, counts_left, weight):
    """Gini impurity of what is left of class counts."""
    squares = 0.0
    for k in range(len(counts)):
        count = np.float64(counts[k] - counts_left[k])
        squares += count * count
    return 1.0 - squares / (weight * weight)


@jit(internal=True)
def _count_classes(problem, column, start, end, counts):
    """Count the classes of a range of entries."""
    layout = problem.layout
    for k in range(len(counts)):
        counts[k] = 0
    for p in range(start, end):
        entry = element(column, p)
        weight = np.int64((entry >> layout.weight_shift) & layout.weight_mask) + 1
        counts[np.int64((entry >> layout.class_shift) & layout.class_mask)] += weight


@jit(inline=True, internal=True)
def begin_node(problem, work, node):
    """Count the node's classes, unless there are two and its parent's split has told."""
    counts = work.counts[NODE]
    if len(counts) == 2 and node.ints[DEPTH] > 0:
        counts[1] = np.int64(node.floats[SUM])
        counts[0] = np.int64(node.floats[WEIGHT]) - counts[1]
    else:
        column = work.columns[node.ints[SOURCE]]
        _count_classes(problem, column, node.ints[START], node.ints[END], counts)
        total = 0
        for k in range(len(counts)):
            total += counts[k]
        node.floats[WEIGHT] = total
        node.floats[SUM] = counts[len(counts) - 1]
    if node.ints[DEPTH] == 0:
        node.floats[IMPURITY] = gini(counts, node.floats[WEIGHT])
    if work.team[MEMBER] == 0:
        for k in range(len(counts)):
            problem.values[node.ints[NODE_ID], 0, k] = counts[k] / node.floats[WEIGHT]


@jit(internal=True)
def _exact_proxy(counts, counts_left, weight_left, weight_right):
    impurity_left = gini(counts_left, weight_left)
    impurity_right = gini_of_rest(counts, counts_left, weight_right)
    return -weight_right * impurity_right - weight_left * impurity_left


@jit(inline=True, internal=True)
def _proxy_of_two(left, ones, n, n_ones):
    """The proxy of scikit-learn's criterion for two classes, in its order of operations."""
    right = n - left
    zeros = left - ones
    ones_right = n_ones - ones
    zeros_right = right - ones_right
    impurity_left = 1.0 - (zeros * zeros + ones * ones) / (left * left)
    impurity_right = 1.0 - (zeros_right * zeros_right + ones_right * ones_right) / (right * right)
    return -right * impurity_right - left * impurity_left


def make_scan_two_classes(values_differ):
    """Return the kernel that finds a feature's best split between two classes.

    Parameters
    ----------
    values_differ : kernel
        ``values_differ(problem, work, node, column, feature, position)`` tells whether the values before and at a
        position of the column differ by more than the threshold of equality; asked only where ``problem.is_close``.
    """

    @jit(inline=True, internal=True)
    def _scan_few(problem, work, node, limits, feature, column):
        """Do what `scan_two_classes` does, one sample after the other."""
        layout = problem.layout
        n = node.floats[WEIGHT]
        n_ones = node.floats[SUM]
        first = node.ints[START] + limits.min_samples_leaf
        left = 0.0
        ones = 0.0
        best = -np.inf
        for p in range(node.ints[START], node.ints[END] - limits.min_samples_leaf + 1):
            entry = element(column, p)
            if p >= first and entry & NEW_VALUE != 0:
                proxy = _proxy_of_two(left, ones, n, n_ones)
                if proxy > best and (
                    entry & NEARLY_EQUAL == 0 or values_differ(problem, work, node, column, feature, p)
                ):
                    best = proxy
                    work.best_position[work.team[SLOT], feature] = p
            weight = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
            ones += weight * np.float64((entry >> layout.class_shift) & layout.class_mask)
            left += weight
        work.best_proxy[work.team[SLOT], feature] = best

    @jit(inline=True, internal=True)
    def scan_two_classes(problem, work, node, limits, feature, column):
        """Find the best split of one feature between two classes: the proxies before a vector of entries at a time."""
        if node.ints[END] - node.ints[START] <= FEW:
            _scan_few(problem, work, node, limits, feature, column)
            return
        layout = problem.layout
        proxies = work.block[0]
        n = node.floats[WEIGHT]
        n_ones = node.floats[SUM]
        first = node.ints[START] + limits.min_samples_leaf
        stop = node.ints[END] - limits.min_samples_leaf + 1
        step = np.int64(lanes(np.uint32))
        half = np.int64(lanes(np.float64))
        n_left = 0.0
        n_ones_left = 0.0
        best = -np.inf
        for p in range(node.ints[START], stop, step):
            entries = load_uint32(column, p)
            inside = is_below(lane_numbers(), stop - p) & ~is_below(lane_numbers(), first - p)
            is_new = has_bits(entries, NEW_VALUE) & inside
            weight = add_uint32(field(entries, layout.weight_shift, layout.weight_mask), np.uint32(1))
            ones = multiply_uint32(field(entries, layout.class_shift, layout.class_mask), weight)
            left = sums_before(weight)
            ones_left = sums_before(ones)
            lower = _proxy_of_two(
                lower_float64(left) + n_left, lower_float64(ones_left) + n_ones_left, n, n_ones
            )
            upper = _proxy_of_two(
                upper_float64(left) + n_left, upper_float64(ones_left) + n_ones_left, n, n_ones
            )
            lower = select(lower_mask(is_new), lower, -np.inf)
            upper = select(upper_mask(is_new), upper, -np.inf)
            if any_lane((lower > best) | (upper > best)):
                store(proxies, 0, lower)
                store(proxies, half, upper)
                for i in range(step):
                    if proxies[i] > best and (
                        element(column, p + i) & NEARLY_EQUAL == 0
                        or values_differ(problem, work, node, column, feature, p + i)
                    ):
                        best = proxies[i]
                        work.best_position[work.team[SLOT], feature] = p + i
            n_left += np.float64(last_lane(left)) + np.float64(last_lane(weight))
            n_ones_left += np.float64(last_lane(ones_left)) + np.float64(last_lane(ones))
        work.best_proxy[work.team[SLOT], feature] = best

    return scan_two_classes


def make_scan_classes(values_differ):
    """Return the kernel that does the same between any number of classes."""

    @jit(inline=True, internal=True)
    def scan_classes(problem, work, node, limits, feature, column):
        """Find the best split of one feature between any number of classes.

        The impurity falls most where ``sum_k l_k^2 / l + sum_k r_k^2 / r`` is largest; the sums of squares are integers
        that are kept up to date.
        """
        layout = problem.layout
        counts = work.counts[NODE]
        counts_left = work.counts[SCAN]
        n = np.int64(0)
        squares_right = np.int64(0)
        for k in range(len(counts)):
            counts_left[k] = 0
            n += counts[k]
            squares_right += counts[k] * counts[k]
        slack = ROUNDING * np.float64(n)
        first = node.ints[START] + limits.min_samples_leaf
        last = node.ints[END] - limits.min_samples_leaf
        best = -np.inf
        bound = -1.0
        n_left = np.int64(0)
        squares_left = np.int64(0)
        for p in range(node.ints[START], last + 1):
            entry = element(column, p)
            left = np.float64(n_left)
            right = np.float64(n - n_left)
            measure = np.float64(squares_left) * right + np.float64(squares_right) * left
            if measure >= bound * (left * right) and entry & NEW_VALUE != 0 and p >= first:
                proxy = _exact_proxy(counts, counts_left, left, right)
                if proxy > best and (
                    entry & NEARLY_EQUAL == 0 or values_differ(problem, work, node, column, feature, p)
                ):
                    best = proxy
                    work.best_position[work.team[SLOT], feature] = p
                    bound = measure / (left * right) * NEARLY_AS_GOOD - slack
            weight = np.int64((entry >> layout.weight_shift) & layout.weight_mask) + 1
            label = np.int64((entry >> layout.class_shift) & layout.class_mask)
            count = counts_left[label]
            squares_left += weight * (2 * count + weight)
            squares_right -= weight * (2 * (counts[label] - count) - weight)
            counts_left[label] = count + weight
            n_left += weight
        work.best_proxy[work.team[SLOT], feature] = best

    return scan_classes


@jit(internal=True)
def _count_left(problem, work, node):
    """Count the classes of the samples that go left, and return their weight; the smaller side is looked at."""
    column = work.columns[node.ints[SPLIT_COLUMN]]
    counts = work.counts[NODE]
    counts_left = work.counts[LEFT]
    position = node.ints[POSITION]
    if node.ints[LEFT_BIT]:
        _count_classes(problem, column, node.ints[START], position, counts_left)
    else:
        _count_classes(problem, column, position, node.ints[END], counts_left)
    n_left = np.int64(0)
    for k in range(len(counts)):
        if not node.ints[LEFT_BIT]:
            counts_left[k] = counts[k] - counts_left[k]
        n_left += counts_left[k]
    return np.float64(n_left)


@jit(inline=True, internal=True)
def measure_children(problem, work, node, limits, last):
    """Set the children's counts and impurity; tell whether some child may be split."""
    weight_left = _count_left(problem, work, node)
    weight_right = node.floats[WEIGHT] - weight_left
    node.floats[WEIGHT_LEFT] = weight_left
    node.floats[WEIGHT_RIGHT] = weight_right
    node.floats[SUM_LEFT] = work.counts[LEFT, problem.n_classes - 1]
    node.floats[SUM_RIGHT] = node.floats[SUM] - node.floats[SUM_LEFT]
    node.floats[IMPURITY_LEFT] = gini(work.counts[LEFT], weight_left)
    node.floats[IMPURITY_RIGHT] = gini_of_rest(work.counts[NODE], work.counts[LEFT], weight_right)
    set_improvement(node, limits, weight_left, weight_right)
    n_left = node.ints[POSITION] - node.ints[START]
    n_right = node.ints[END] - node.ints[POSITION]
    return may_be_split(n_left, node.floats[IMPURITY_LEFT], limits) or may_be_split(
        n_right, node.floats[IMPURITY_RIGHT], limits
    )


@jit(internal=True)
def take_children(work, node, limits):
    """Do nothing: every member has counted for itself."""
