"""The best splitter for columns of :mod:`fastfit.kernels.frequent_columns`: scikit-learn's splits, but for the run of
the frequent value, over which it steps at once."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.best_first import make_grow_best_first
from fastfit.kernels.depth_first import make_grow_depth_first
from fastfit.kernels.feature_draw import DrawState, make_try_features
from fastfit.kernels.frequent_columns import (
    FrequentBuffers,
    FrequentColumns,
    are_close,
    divide_samples,
    place_samples,
    sort_samples,
)
from fastfit.kernels.general_problem import CODE_SHIFT, Sums
from fastfit.kernels.general_regression import make_squared_error
from fastfit.kernels.general_split import bind
from fastfit.kernels.tree_node import (
    END,
    FEATURE,
    IMPROVEMENT,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    MISSING_LEFT,
    NO_PARENT,
    NODE_ID,
    PARENT,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    WEIGHT,
    GrowthLimits,
    NodeState,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element

# Entries of FrequentScratch.marks: codes below and above the best split so far.
CODE_BELOW, CODE_ABOVE = 0, 1


class FrequentProblem(NamedTuple):
    """What one tree is grown from; the last four fields are as in `GeneralProblem`."""

    columns: FrequentColumns
    n_root_samples: int
    moments: np.ndarray  # (n_samples, 2) float64: the weight, and weight * y
    y: np.ndarray  # (n_samples, 1) float64
    limits: GrowthLimits
    values: np.ndarray  # (capacity, 1, 1) float64


class FrequentScratch(NamedTuple):
    """Buffers of one tree."""

    node: NodeState
    draw: DrawState
    keys: np.ndarray  # (n_root_samples + 1,) int64
    buffers: FrequentBuffers
    marks: np.ndarray  # (2,) int64
    sums: Sums


def make_frequent_engine():
    """Return (bind, begin_node, find_split) for the squared error of one output; any weights."""
    criterion = make_squared_error(True)
    measure, impurities, split_at = criterion.measure, criterion.impurities, criterion.split_at
    begin_walk, advance, proxy = criterion.begin_walk, criterion.advance, criterion.proxy

    @jit(internal=True)
    def begin_node(problem, work, node):
        start, end = node.ints[START], node.ints[END]
        weight = measure(problem, work, start, end)
        node.floats[WEIGHT] = weight
        if node.ints[PARENT] == NO_PARENT:
            mean = work.sums.total[0] / weight
            node.floats[IMPURITY] = work.sums.squares[0] / weight - mean * mean
        problem.values[node.ints[NODE_ID], 0, 0] = work.sums.total[0] / weight

    @jit(inline=True, internal=True)
    def code_at(problem, work, feature, p, equal, greater):
        if equal <= p < greater:
            return problem.columns.frequent[feature]
        return element(work.keys, p) >> CODE_SHIFT

    @jit(internal=True)
    def search(problem, work, node, feature, equal, greater):
        """Try all splits; samples are sorted, and those from ``equal`` to ``greater`` have the frequent value."""
        columns, limits = problem.columns, problem.limits
        start, end, weight = node.ints[START], node.ints[END], node.floats[WEIGHT]
        best_proxy, best_position = node.floats[PROXY], -1
        position, state = start, begin_walk(problem, work, start, end)
        p, code = start, code_at(problem, work, feature, start, equal, greater)
        while p < end:
            p += 1
            while p < end:
                if equal < p < greater:
                    p = greater
                    continue
                previous = code
                code = code_at(problem, work, feature, p, equal, greater)
                if code != previous and not are_close(columns, feature, previous, code):
                    break
                p += 1
            if p >= end or end - p < limits.min_samples_leaf:
                break
            if p - start < limits.min_samples_leaf:
                continue
            state = advance(problem, work, end, position, p, weight, state)
            position = p
            if state[0] < limits.min_weight_leaf or weight - state[0] < limits.min_weight_leaf:
                continue
            current = proxy(problem, work, start, position, weight, state)
            if current > best_proxy:
                best_proxy, best_position = current, position
        if best_position >= 0:
            node.floats[PROXY] = best_proxy
            node.ints[FEATURE] = feature
            node.ints[POSITION] = best_position
            node.ints[MISSING_LEFT] = 2 * best_position > start + end
            work.marks[CODE_BELOW] = code_at(problem, work, feature, best_position - 1, equal, greater)
            work.marks[CODE_ABOVE] = code_at(problem, work, feature, best_position, equal, greater)

    @jit(internal=True)
    def evaluate(problem, work, node, feature):
        start, end = node.ints[START], node.ints[END]
        equal, greater = sort_samples(problem.columns, work.buffers, work.keys, start, end, feature)
        low = code_at(problem, work, feature, start, equal, greater)
        high = code_at(problem, work, feature, end - 1, equal, greater)
        if are_close(problem.columns, feature, low, high):
            return True
        search(problem, work, node, feature, equal, greater)
        return False

    try_features = make_try_features(evaluate)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        columns = problem.columns
        start, end = node.ints[START], node.ints[END]
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = end
        try_features(problem, work, node, limits.max_features)
        position = node.ints[POSITION]
        if position >= end:
            place_samples(work.buffers, work.keys, start, end)
            return True
        feature = node.ints[FEATURE]
        below, above = work.marks[CODE_BELOW], work.marks[CODE_ABOVE]
        divide_samples(columns, work.buffers, work.keys, start, end, feature, below)
        place_samples(work.buffers, work.keys, start, end)
        first = columns.level_start[feature]
        low, high = columns.levels[first + below], columns.levels[first + above]
        node.floats[THRESHOLD] = np.float64(low) / 2.0 + np.float64(high) / 2.0
        weight = node.floats[WEIGHT]
        state = split_at(problem, work, start, end, position, weight)
        left, right = impurities(problem, work, start, end, position, weight, state)
        weight_left, weight_right = state[0], weight - state[0]
        node.floats[IMPURITY_LEFT] = left
        node.floats[IMPURITY_RIGHT] = right
        node.floats[IMPROVEMENT] = (weight / limits.weighted_n_samples) * (
            node.floats[IMPURITY] - (weight_right / weight * right) - (weight_left / weight * left)
        )
        return True

    return bind, begin_node, find_split


def make_grow_frequent(best_first):
    """Return the kernel that grows a tree, best first or depth first; see `make_grow_depth_first`."""
    make_grow = make_grow_best_first if best_first else make_grow_depth_first
    return make_grow(*make_frequent_engine())
