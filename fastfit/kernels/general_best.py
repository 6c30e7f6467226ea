"""The best splitter of the general engine: sort a node's samples by each feature drawn, and try every split.

Where values are missing the feature is searched twice, with the missing ones to the right and to the left of all
splits; in the first search they are also tried alone on the right, above the threshold infinity. Features that are
categories are searched in a way of their own, see `fastfit.kernels.general_categories`.
"""

import numpy as np

from fastfit.kernels.feature_draw import make_try_features
from fastfit.kernels.general_block import column_of
from fastfit.kernels.general_common_value import divide_lopsided, sort_around_common, sort_around_known
from fastfit.kernels.general_introsort import introsort, splits_allowed
from fastfit.kernels.general_order import (
    divide,
    gather_codes,
    move_missing_left,
    move_missing_right,
    pack_codes,
    sort_by_code,
)
from fastfit.kernels.general_problem import (
    AHEAD,
    CODE_ABOVE,
    CODE_SHIFT,
    FEATURE_THRESHOLD,
    INDEXED_FROM,
    MAX_KEY,
    N_MISSING,
    ROW_MASK,
    SPLIT_CODE,
)
from fastfit.kernels.general_split import bind, is_monotone, make_node_kernels
from fastfit.kernels.tree_node import (
    END,
    FEATURE,
    MISSING_LEFT,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    WEIGHT,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element, prefetch

# From this size on the samples of a node do not lie in the nearer caches.
LARGE_NODE = 4096
# Samples of a code from which on scikit-learn's sort is done as it is.
TIES_OF_A_CODE = 8


@jit(inline=True, internal=True)
def _are_close(problem, feature, low, high):
    """Tell whether the values of two different codes are equal up to the threshold.

    Almost never are they, and a bit says that the next value is not, without a look at the values in memory.
    """
    ranked = problem.ranked
    if not ranked.is_close[feature] or not ranked.close_bits[feature, low >> 3] >> (low & 7) & 1:
        return False
    start = ranked.level_start[feature]
    return ranked.levels[start + high] <= ranked.levels[start + low] + FEATURE_THRESHOLD


@jit(inline=True, internal=True)
def _set_threshold(problem, work, node):
    """Set the threshold of the node's split from the codes on both sides of it."""
    if work.marks[CODE_ABOVE] < 0:
        node.floats[THRESHOLD] = np.inf
    else:
        levels, start = problem.ranked.levels, problem.ranked.level_start[node.ints[FEATURE]]
        below, above = levels[start + work.marks[SPLIT_CODE]], levels[start + work.marks[CODE_ABOVE]]
        node.floats[THRESHOLD] = np.float64(below) / 2.0 + np.float64(above) / 2.0


@jit(inline=True, internal=True)
def order_by_known(problem, work, feature, codes, first_row, start, end, keeps_ties):
    """Sort samples by a feature of which rare values were listed; return what `sort_around_common` does."""
    ranked = problem.ranked
    # Of a node that has been copied to the block the rows are others.
    common = ranked.common_code[feature] if first_row == 0 else np.int64(-1)
    rows = ranked.rare_rows[ranked.rare_start[feature] : ranked.rare_start[feature + 1]]
    missing_code = ranked.missing_code[feature]
    keys, unsigned_keys = work.keys, work.unsigned_keys
    marks, sorting = work.marks, work.sorting
    return sort_around_known(
        codes, missing_code, common, rows, keys, unsigned_keys, start, end, keeps_ties, marks, sorting
    )


def make_general_best(criterion, evaluate_categories=None, divide_by_categories=None):
    """Return the engine of the best splitter for a `Criterion`: (bind, begin_node, find_split).

    The kernels for features that are categories are only given, and compiled, if there are such features.
    """
    may_be_category = evaluate_categories is not None
    begin_walk, advance = criterion.begin_walk, criterion.advance
    may_exceed, proxy, child_values = criterion.may_exceed, criterion.proxy, criterion.child_values
    begin_node, end_search = make_node_kernels(criterion)

    @jit(inline=True, internal=True)
    def search(problem, work, node, feature, n_missing, missing_left, common):
        """Try all splits of a feature by which the samples are sorted, but for missing values on one side.

        ``common`` is a range of samples that have the same code, of which all but the first and the last are passed by.
        """
        keys, limits = work.keys, problem.limits
        start, end, weight = node.ints[START], node.ints[END], node.floats[WEIGHT]
        last = end if missing_left else end - n_missing
        p = start + n_missing if missing_left else start
        is_large = end - start > LARGE_NODE
        constraint = limits.monotonic_cst[feature] if problem.is_bounded else 0
        best_proxy, best_position = node.floats[PROXY], -1
        position, state = start, begin_walk(problem, work, start, end)
        code = element(keys, p) >> CODE_SHIFT
        while p < last:
            p += 1
            while p < last:
                previous = code
                p = common[1] - 1 if p == common[0] + 1 else p
                code = element(keys, p) >> CODE_SHIFT
                if code != previous and not _are_close(problem, feature, previous, code):
                    break
                p += 1
            if p == end or end - p < limits.min_samples_leaf:
                break
            if p - start < limits.min_samples_leaf:
                continue
            if is_large:
                row_ahead = element(keys, p + AHEAD) & ROW_MASK
                prefetch(problem.moments, row_ahead * problem.moments.shape[1])
            state = advance(problem, work, end, position, p, weight, state)
            position = p
            if constraint != 0:
                left, right = child_values(problem, work, start, position, weight, state)
                if not is_monotone(node, constraint, left, right):
                    continue
            if state[0] < limits.min_weight_leaf or weight - state[0] < limits.min_weight_leaf:
                continue
            if not may_exceed(problem, work, weight, state, best_proxy):
                continue
            current = proxy(problem, work, start, position, weight, state)
            if current > best_proxy:
                best_proxy, best_position = current, position
        if best_position >= 0:
            node.floats[PROXY] = best_proxy
            node.ints[FEATURE] = feature
            node.ints[POSITION] = best_position
            node.ints[MISSING_LEFT] = missing_left if n_missing > 0 else 2 * best_position > start + end
            # With missing values alone on the right the last known code is the one below, and none is above.
            is_beyond = best_position == end - n_missing and not missing_left
            work.marks[N_MISSING] = n_missing
            work.marks[SPLIT_CODE] = keys[best_position - 1] >> CODE_SHIFT
            work.marks[CODE_ABOVE] = -1 if is_beyond else keys[best_position] >> CODE_SHIFT

    @jit(inline=True, internal=True)
    def evaluate(problem, work, node, feature):
        if may_be_category and problem.n_categories[feature] > 0:
            work.marks[INDEXED_FROM] = -1
            return evaluate_categories(problem, work, node, feature)
        keys = work.keys
        start, end = node.ints[START], node.ints[END]
        missing_code = problem.ranked.missing_code[feature]
        codes, first_row = column_of(problem, work, node, feature)
        keeps_ties = problem.ranked.keeps_ties[feature] != 0
        common = order_by_known(problem, work, feature, codes, first_row, start, end, keeps_ties)
        if common[0] < 0:
            gather_codes(codes, first_row, keys, start, end, work.gathered)
            common = sort_around_common(
                work.gathered, missing_code, keys, work.unsigned_keys, start, end, keeps_ties, work.sorting
            )
            work.marks[INDEXED_FROM] = -1
        if common[1] > common[0]:
            low, high, n_missing = keys[start] >> CODE_SHIFT, keys[end - 1] >> CODE_SHIFT, 0
        else:
            low, high, n_missing = pack_codes(work.gathered, missing_code, keys, start, end)
            if n_missing > 0:
                move_missing_right(keys, start, end, missing_code)
            if low < high:
                last = end - n_missing
                n_splits = splits_allowed(last - start)
                # Where nearly all are tied, a faster sort would have most of its work done again.
                if keeps_ties and (high - low) * TIES_OF_A_CODE < last - start:
                    introsort(keys, start, last, work.sorting.stack)
                else:
                    sort_by_code(keys, work.unsigned_keys, start, last, keeps_ties, n_splits, work.sorting)
        if low > high or (n_missing == 0 and (low == high or _are_close(problem, feature, low, high))):
            return True
        for missing_left in range(2 if n_missing > 0 else 1):
            if missing_left == 1:
                move_missing_left(keys, start, end, n_missing, work.sorting.unsorted)
            search(problem, work, node, feature, n_missing, missing_left, common)
        return False

    try_features = make_try_features(evaluate)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        start, end = node.ints[START], node.ints[END]
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = end
        work.marks[INDEXED_FROM] = -1
        try_features(problem, work, node, limits.max_features)
        is_divided = node.ints[POSITION] >= end
        if may_be_category and not is_divided and problem.n_categories[node.ints[FEATURE]] > 0:
            divide_by_categories(problem, work, node)
            is_divided = True
        if not is_divided:
            feature = node.ints[FEATURE]
            missing_code = problem.ranked.missing_code[feature]
            codes, first_row = column_of(problem, work, node, feature)
            gather_codes(codes, first_row, work.keys, start, end, work.gathered)
            if work.marks[N_MISSING] == 0:
                split_code, position = work.marks[SPLIT_CODE], node.ints[POSITION]
                rare = work.sorting.rare
                is_divided = divide_lopsided(work.gathered, split_code, work.keys, start, end, position, rare)
            if not is_divided:
                pack_codes(work.gathered, missing_code, work.keys, start, end)
                greatest = ((work.marks[SPLIT_CODE] + 1) << CODE_SHIFT) - 1
                smallest_missing = missing_code << CODE_SHIFT if node.ints[MISSING_LEFT] else MAX_KEY
                divide(work.keys, start, end, greatest, smallest_missing)
            _set_threshold(problem, work, node)
        end_search(problem, work, node, limits)
        return True

    return bind, begin_node, find_split
