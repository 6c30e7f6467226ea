"""Split nodes by categories: the best of all ways to send some categories left and the others right.

With two classes, and for numbers, the best of the 2^(k - 1) - 1 ways to part k categories is among the k - 1 ways to
cut them in two when they are ordered by the mean of their targets, which is the share of class 1 (W. D. Fisher, "On
grouping for maximum homogeneity", Journal of the American Statistical Association 53, 1958; L. Breiman, J. Friedman,
R. Olshen and C. Stone, "Classification and regression trees", 1984, section 9.4). For the impurities of the children,
times their weights, add up to a concave function of the weight and the sum of targets on the left, but for a constant.
So the best of all ways is a corner of the polygon around the points (weight, sum) that can be had, and each corner is a
cut. That holds for Gini, entropy, squared errors and the Poisson deviance. Where children must have a least size, or a
mean above zero, cuts are the only ways that are looked at.

A node's samples are counted by category, which costs one pass; from there on only the categories that are present
matter. Missing values are a category of their own, behind the others.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.category_words import SET_IS_LIST, SET_OTHERS_LEFT, SET_SIZE_SHIFT
from fastfit.kernels.general_block import column_of
from fastfit.kernels.general_order import divide
from fastfit.kernels.general_problem import AHEAD, CODE_ABOVE, CODE_SHIFT, MAX_KEY, ROW_MASK, SPLIT_CODE
from fastfit.kernels.tree_node import (
    END,
    FEATURE,
    MISSING_LEFT,
    NODE_ID,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    WEIGHT,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element, prefetch

# Columns of CategoryBuffers.sums.
COUNT, OF_WEIGHT, OF_TARGET, MEAN = 0, 1, 2, 3
N_SUMS = 4
# Up to so many categories are sorted by insertion.
FEW_CATEGORIES = 24
# From this size on the samples of a node do not lie in the nearer caches.
LARGE_NODE = 4096


class CategoryBuffers(NamedTuple):
    """What the search by categories works in and writes; n_codes is one more than the greatest number of categories."""

    sums: (
        np.ndarray
    )  # (n_codes, N_SUMS) float64: COUNT, OF_WEIGHT and OF_TARGET are zero between two searches
    order: np.ndarray  # (n_codes + 1,) int64: the categories present
    best_order: (
        np.ndarray
    )  # (n_codes + 1,) int64: those of the best split so far; the first SPLIT_CODE of them go left
    set_start: np.ndarray  # (capacity,) int64, out: where a node's set begins in `words`, 0 for none
    words: np.ndarray  # (capacity of words,) uint32, out: see `fastfit.kernels.category_words`
    n_words: np.ndarray  # (1,) int64: how many are written


@jit(inline=True, internal=True)
def _comes_first(sums, a, b):
    mean_a, mean_b = sums[a, MEAN], sums[b, MEAN]
    return mean_a < mean_b or (mean_a == mean_b and a < b)


@jit(internal=True)
def _sink(order, position, n, sums):
    """Let the category at a position sink in the heap whose parents come last."""
    code = order[position]
    while 2 * position + 1 < n:
        child = 2 * position + 1
        if child + 1 < n and _comes_first(sums, order[child], order[child + 1]):
            child += 1
        if not _comes_first(sums, code, order[child]):
            break
        order[position] = order[child]
        position = child
    order[position] = code


@jit(internal=True)
def sort_categories(
    order,  # (>= n,) int64, in and out
    n,
    sums,  # (n_codes, N_SUMS) float64
):
    """Sort the first ``n`` categories by mean, equal ones by code: by insertion, or many of them as a heap."""
    if n <= FEW_CATEGORIES:
        for i in range(1, n):
            code = order[i]
            j = i
            while j > 0 and _comes_first(sums, code, order[j - 1]):
                order[j] = order[j - 1]
                j -= 1
            order[j] = code
        return
    for position in range(n // 2 - 1, -1, -1):
        _sink(order, position, n, sums)
    for last in range(n - 1, 0, -1):
        code = order[last]
        order[last] = order[0]
        order[0] = code
        _sink(order, 0, last, sums)


@jit(internal=True)
def _write_set(
    order,  # (n,) int64: the categories of the set; they are put in ascending order
    others_left,
    buffers,  # CategoryBuffers
):
    """Write a set of categories behind the others."""
    n = len(order)
    words, start = buffers.words, buffers.n_words[0]
    greatest = -1
    for i in range(n):
        greatest = order[i] if order[i] > greatest else greatest
        buffers.sums[order[i], MEAN] = 0.0
    size = (greatest + 32) >> 5
    flags = SET_OTHERS_LEFT if others_left else 0
    if n < size:
        sort_categories(order, n, buffers.sums)
        size = n
        flags |= SET_IS_LIST
        for i in range(n):
            words[start + 1 + i] = order[i]
    else:
        for i in range(size):
            words[start + 1 + i] = 0
        for i in range(n):
            words[start + 1 + (order[i] >> 5)] |= np.uint32(1) << np.uint32(order[i] & 31)
    words[start] = size << SET_SIZE_SHIFT | flags
    buffers.n_words[0] = start + 1 + size


@jit(internal=True)
def divide_by_categories(problem, work, node):
    """Order the node's samples by its split, and write the set of categories that go left."""
    buffers, keys = work.categories, work.keys
    start, end, feature = node.ints[START], node.ints[END], node.ints[FEATURE]
    n_left, n_present = work.marks[SPLIT_CODE], work.marks[CODE_ABOVE]
    order, sums = buffers.best_order, buffers.sums
    for i in range(n_left):
        sums[order[i], COUNT] = 1.0
    codes, first_row = column_of(problem, work, node, feature)
    low_bits = (1 << CODE_SHIFT) - 1
    for p in range(start, end):
        key = element(keys, p)
        is_right = sums[element(codes, (key & ROW_MASK) - first_row), COUNT] == 0.0
        keys[p] = np.int64(is_right) << CODE_SHIFT | (key & low_bits)
    for i in range(n_left):
        sums[order[i], COUNT] = 0.0
    divide(keys, start, end, low_bits, MAX_KEY)
    left_is_larger = 2 * node.ints[POSITION] > start + end
    of_set = order[n_left:n_present] if left_is_larger else order[:n_left]
    missing_left = left_is_larger
    for i in range(len(of_set)):
        if of_set[i] == problem.n_categories[feature]:
            missing_left = not left_is_larger
    node.ints[MISSING_LEFT] = missing_left
    node.floats[THRESHOLD] = np.nan
    buffers.set_start[node.ints[NODE_ID]] = buffers.n_words[0]
    _write_set(of_set, left_is_larger, buffers)


def make_evaluate_categories(criterion, has_classes):
    """Return the kernel ``evaluate`` of `make_try_features`, for features that are categories.

    Parameters
    ----------
    criterion : Criterion
        For one output, of two classes if it has classes.
    has_classes : bool
    """
    may_exceed, proxy = criterion.may_exceed, criterion.proxy

    if has_classes:

        @jit(inline=True, internal=True)
        def weighted_target(weight, moment):
            return weight * moment

        @jit(inline=True, internal=True)
        def state_of(weight, of_target):
            return weight, weight - of_target, of_target
    else:

        @jit(inline=True, internal=True)
        def weighted_target(weight, moment):
            return moment

        @jit(inline=True, internal=True)
        def state_of(weight, of_target):
            return weight, of_target

    @jit(internal=True)
    def order_categories(problem, work, node, feature):
        """Sum up the node's categories and put those present in order; return their number."""
        keys, moments = work.keys, problem.moments
        sums, order = work.categories.sums, work.categories.order
        start, end = node.ints[START], node.ints[END]
        codes, first_row = column_of(problem, work, node, feature)
        is_large = end - start > LARGE_NODE
        n_present = 0
        for p in range(start, end):
            row = element(keys, p) & ROW_MASK
            if is_large:
                row_ahead = element(keys, p + AHEAD) & ROW_MASK
                prefetch(moments, 2 * row_ahead)
            code = np.int64(element(codes, row - first_row))
            order[n_present] = code
            n_present += sums[code, COUNT] == 0.0
            weight = moments[row, 0]
            sums[code, COUNT] += 1.0
            sums[code, OF_WEIGHT] += weight
            sums[code, OF_TARGET] += weighted_target(weight, moments[row, 1])
        for i in range(n_present):
            weight = sums[order[i], OF_WEIGHT]
            sums[order[i], MEAN] = sums[order[i], OF_TARGET] / weight if weight != 0.0 else 0.0
        sort_categories(order, n_present, sums)
        return n_present

    @jit(internal=True)
    def evaluate(problem, work, node, feature):
        limits, sums, order = problem.limits, work.categories.sums, work.categories.order
        start, n_samples, weight = node.ints[START], node.ints[END] - node.ints[START], node.floats[WEIGHT]
        n_present = order_categories(problem, work, node, feature)
        best_proxy, best_position, best_cut = node.floats[PROXY], -1, 0
        n_left, weight_left, target_left = 0, 0.0, 0.0
        for i in range(n_present):
            of_category = sums[order[i]]
            n_left += np.int64(of_category[COUNT])
            weight_left += of_category[OF_WEIGHT]
            target_left += of_category[OF_TARGET]
            of_category[COUNT] = of_category[OF_WEIGHT] = of_category[OF_TARGET] = 0.0
            if n_left < limits.min_samples_leaf or n_samples - n_left < limits.min_samples_leaf:
                continue
            if weight_left < limits.min_weight_leaf or weight - weight_left < limits.min_weight_leaf:
                continue
            state = state_of(weight_left, target_left)
            if not may_exceed(problem, work, weight, state, best_proxy):
                continue
            current = proxy(problem, work, start, start + n_left, weight, state)
            if current > best_proxy:
                best_proxy, best_position, best_cut = current, start + n_left, i + 1
        if best_position >= 0:
            node.floats[PROXY] = best_proxy
            node.ints[FEATURE] = feature
            node.ints[POSITION] = best_position
            work.marks[SPLIT_CODE] = best_cut
            work.marks[CODE_ABOVE] = n_present
            for i in range(n_present):
                work.categories.best_order[i] = order[i]
        return n_present < 2

    return evaluate
