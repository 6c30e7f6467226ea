"""A regression tree on a small table, depth first, in few lines: scikit-learn's own steps, in its order.

A small table has no use for columns that are sorted ahead, for threads, blocks and prefetching, and an engine that has
them takes three times as long to compile. Entries of ``keys`` are packed as in
:mod:`fastfit.kernels.general_problem`: the code of a sample's value above its row.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import draw_int
from fastfit.kernels.general_introsort import introsort
from fastfit.kernels.general_order import divide
from fastfit.kernels.general_problem import CODE_SHIFT, FEATURE_THRESHOLD, MAX_KEY, ROW_MASK
from fastfit.kernels.tree_node import (
    DEEPEST,
    IMPURITY_EPSILON,
    LEAF_CHILD,
    LEAF_FEATURE,
    LEFT_CHILD,
    MISSING_GO_LEFT,
    N_NODE_SAMPLES,
    N_NODES,
    NODE_IMPURITY,
    NODE_WEIGHT,
    RIGHT_CHILD,
    SPLIT_FEATURE,
    SPLIT_THRESHOLD,
    GrowthLimits,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element

# Picking a node's samples from all in order pays where those are at most so many times as many.
PICK_SHARE = 8

# Entries of SmallTable.stack: a node that waits.
START, END, DEPTH, PARENT, SIDE, CONSTANTS = 0, 1, 2, 3, 4, 5
STACK_FIELDS = 6
# Entries of SmallTable.best and SmallTable.best_floats: the best split of the node so far. POSITION below 0: none.
FEATURE, POSITION, GREATEST = 0, 1, 2
PROXY, THRESHOLD = 0, 1
# Entries of SmallTable.sums: of the node and of its left child, and the impurities of the children.
WEIGHT, TOTAL, SQUARES, WEIGHT_LEFT, TOTAL_LEFT, IMPURITY_LEFT, IMPURITY_RIGHT = 0, 1, 2, 3, 4, 5, 6


class SmallTable(NamedTuple):
    """What trees are grown from and in."""

    X_t: np.ndarray  # (n_features, n_samples) float32, without missing values
    codes: np.ndarray  # (n_features, n_samples) int64: ranks of the values, shifted to where keys have them
    in_order: np.ndarray  # (n_features, n_samples) int64: keys of all samples by ascending value
    has_ties: np.ndarray  # (n_features,) bool: whether a value occurs twice
    moments: np.ndarray  # (n_samples, 3) float64: weight, weight * target, target
    rows: np.ndarray  # (n_rows,) int64: samples that trees are grown from
    keys: np.ndarray  # (n_samples + 1,) int64, scratch
    is_inside: np.ndarray  # (n_samples,) uint8, scratch: whether samples are in the node; zero at first
    features: np.ndarray  # (n_features,) int64: permutation of the draws
    constants: np.ndarray  # (n_features,) int64, scratch
    random_state: np.ndarray  # (1,) int64: of scikit-learn's generator
    stack: np.ndarray  # (capacity, STACK_FIELDS) int64, scratch
    impurities: np.ndarray  # (capacity,) float64: of the nodes that wait
    sorting: np.ndarray  # (128, 3) int64, scratch
    best: np.ndarray  # (3,) int64, scratch
    best_floats: np.ndarray  # (2,) float64, scratch
    sums: np.ndarray  # (7,) float64, scratch
    limits: GrowthLimits


@jit(internal=True)
def _measure(table, start, end):
    weight, total, squares = 0.0, 0.0, 0.0
    for p in range(start, end):
        row = element(table.keys, p) & ROW_MASK
        weight += table.moments[row, 0]
        total += table.moments[row, 1]
        squares += table.moments[row, 1] * table.moments[row, 2]
    table.sums[WEIGHT] = weight
    table.sums[TOTAL] = total
    table.sums[SQUARES] = squares


@jit(inline=True, internal=True)
def _advance(table, end, position, next_position, weight_left, total_left):
    """Return weight and total of the left child as a split moves on: summed from the side that is nearer."""
    if next_position - position <= end - next_position:
        for p in range(position, next_position):
            row = element(table.keys, p) & ROW_MASK
            weight_left += table.moments[row, 0]
            total_left += table.moments[row, 1]
    else:
        weight_left, total_left = table.sums[WEIGHT], table.sums[TOTAL]
        for p in range(end - 1, next_position - 1, -1):
            row = element(table.keys, p) & ROW_MASK
            weight_left -= table.moments[row, 0]
            total_left -= table.moments[row, 1]
    return weight_left, total_left


@jit(internal=True)
def _search(table, start, end, feature):
    """Try all splits of a feature that the samples are sorted by."""
    keys, limits, X = table.keys, table.limits, table.X_t[feature]
    weight, total = table.sums[WEIGHT], table.sums[TOTAL]
    best_proxy, best_position = table.best_floats[PROXY], -1
    weight_left, total_left, position = 0.0, 0.0, start
    key = element(keys, start)
    for p in range(start + 1, end - limits.min_samples_leaf + 1):
        previous, key = key, element(keys, p)
        if (previous ^ key) >> CODE_SHIFT == 0 or p - start < limits.min_samples_leaf:
            continue
        if X[key & ROW_MASK] <= X[previous & ROW_MASK] + FEATURE_THRESHOLD:
            continue
        weight_left, total_left = _advance(table, end, position, p, weight_left, total_left)
        position = p
        weight_right = weight - weight_left
        if weight_left < limits.min_weight_leaf or weight_right < limits.min_weight_leaf:
            continue
        total_right = total - total_left
        proxy = total_left * total_left / weight_left + total_right * total_right / weight_right
        if proxy > best_proxy:
            best_proxy, best_position = proxy, p
    if best_position >= 0:
        below, above = keys[best_position - 1], keys[best_position]
        table.best[FEATURE] = feature
        table.best[POSITION] = best_position
        table.best[GREATEST] = below | ROW_MASK
        table.best_floats[PROXY] = best_proxy
        middle = np.float64(X[below & ROW_MASK]) / 2.0 + np.float64(X[above & ROW_MASK]) / 2.0
        table.best_floats[THRESHOLD] = middle


@jit(internal=True)
def _try_feature(table, start, end, feature):
    """Enter the best split of a feature if it is better than the best so far; return True if it is constant."""
    keys, codes, X = table.keys, table.codes[feature], table.X_t[feature]
    in_order = table.in_order[feature]
    if not table.has_ties[feature] and len(in_order) <= PICK_SHARE * (end - start):
        # Without ties there is one order only: that of all samples, less those that are elsewhere.
        p = start
        for i in range(len(in_order)):
            keys[p] = in_order[i]
            p += table.is_inside[in_order[i] & ROW_MASK]
            if p == end:
                break
    else:
        for p in range(start, end):
            row = element(keys, p) & ROW_MASK
            keys[p] = codes[row] | row
        introsort(keys, start, end, table.sorting)
    if X[keys[end - 1] & ROW_MASK] <= X[keys[start] & ROW_MASK] + FEATURE_THRESHOLD:
        return True
    _search(table, start, end, feature)
    return False


@jit(internal=True)
def _try_features(table, start, end, n_known):
    """Draw features and try them, as in :mod:`fastfit.kernels.feature_draw`; return how many are known as constant."""
    features, constants, random_state = table.features, table.constants, table.random_state
    max_features = table.limits.max_features
    n_drawn, n_found, n_visited, n_total = 0, 0, 0, n_known
    last = len(features)
    for p in range(start, end):
        table.is_inside[table.keys[p] & ROW_MASK] = 1
    while last > n_total and (n_visited < max_features or n_visited <= n_found + n_drawn):
        n_visited += 1
        drawn = draw_int(random_state, n_drawn, last - n_found)
        if drawn < n_known:
            feature = features[drawn]
            features[drawn] = features[n_drawn]
            features[n_drawn] = feature
            n_drawn += 1
            continue
        drawn += n_found
        feature = features[drawn]
        if _try_feature(table, start, end, feature):
            features[drawn] = features[n_total]
            features[n_total] = feature
            n_found += 1
            n_total += 1
            continue
        last -= 1
        features[drawn] = features[last]
        features[last] = feature
    for p in range(start, end):
        table.is_inside[table.keys[p] & ROW_MASK] = 0
    for i in range(n_known):
        features[i] = constants[i]
    for i in range(n_known, n_total):
        constants[i] = features[i]
    return n_total


@jit(internal=True)
def _divide_samples(table, start, end, impurity):
    """Order the samples by the best split, measure its children, and return the improvement."""
    keys, codes = table.keys, table.codes[table.best[FEATURE]]
    for p in range(start, end):
        row = element(keys, p) & ROW_MASK
        keys[p] = codes[row] | row
    divide(keys, start, end, table.best[GREATEST], MAX_KEY)
    position = table.best[POSITION]
    weight, total = table.sums[WEIGHT], table.sums[TOTAL]
    weight_left, total_left = _advance(table, end, start, position, 0.0, 0.0)
    squares = 0.0
    for p in range(start, position):
        row = element(keys, p) & ROW_MASK
        squares += table.moments[row, 1] * table.moments[row, 2]
    weight_right = weight - weight_left
    mean_left, mean_right = total_left / weight_left, (total - total_left) / weight_right
    left = squares / weight_left - mean_left * mean_left
    right = (table.sums[SQUARES] - squares) / weight_right - mean_right * mean_right
    table.sums[IMPURITY_LEFT] = left
    table.sums[IMPURITY_RIGHT] = right
    share = weight / table.limits.weighted_n_samples
    return share * (impurity - (weight_right / weight * right) - (weight_left / weight * left))


@jit(internal=True)
def _write_node(table, ints, floats, node, impurity, is_leaf, n):
    floats[node, NODE_IMPURITY] = impurity
    ints[node, N_NODE_SAMPLES] = n
    floats[node, NODE_WEIGHT] = table.sums[WEIGHT]
    if is_leaf:
        ints[node, LEFT_CHILD] = ints[node, RIGHT_CHILD] = LEAF_CHILD
        ints[node, SPLIT_FEATURE] = LEAF_FEATURE
        floats[node, SPLIT_THRESHOLD] = LEAF_FEATURE
        ints[node, MISSING_GO_LEFT] = 0


@jit(internal=True)
def _push_children(table, ints, floats, node, start, end, depth, n_waiting, n_constants):
    """Write the split of a node, and let its children wait, the left one on top."""
    position = table.best[POSITION]
    ints[node, SPLIT_FEATURE] = table.best[FEATURE]
    floats[node, SPLIT_THRESHOLD] = table.best_floats[THRESHOLD]
    ints[node, MISSING_GO_LEFT] = 2 * position > start + end
    for is_left in range(2):
        waiting = table.stack[n_waiting + is_left]
        waiting[START] = start if is_left else position
        waiting[END] = position if is_left else end
        waiting[DEPTH] = depth + 1
        waiting[PARENT] = node
        waiting[SIDE] = LEFT_CHILD if is_left else RIGHT_CHILD
        waiting[CONSTANTS] = n_constants
        table.impurities[n_waiting + is_left] = table.sums[IMPURITY_LEFT if is_left else IMPURITY_RIGHT]


@jit(internal=True)
def _begin_tree(table, seed):
    for i in range(len(table.rows)):
        table.keys[i] = table.rows[i]
    for i in range(len(table.features)):
        table.features[i] = i
        table.constants[i] = 0
    table.random_state[0] = seed
    for i in range(STACK_FIELDS):
        table.stack[0, i] = 0
    table.stack[0, END] = len(table.rows)


@jit(internal=True)
def grow_small_tree(
    table,  # SmallTable, moments filled in
    seed,
    ints,  # (capacity, NODE_FIELDS) int64, out
    floats,  # (capacity, NODE_FIELDS) float64, the same memory
    values,  # (capacity, 1, 1) float64, out
    count,  # (1, 2) int64, out, as in NodeTable
):
    """Grow a tree."""
    limits = table.limits
    _begin_tree(table, seed)
    n_waiting, n_nodes, deepest = 1, 0, 0
    while n_waiting > 0:
        n_waiting -= 1
        waiting = table.stack[n_waiting]
        start, end, depth, n_constants = waiting[START], waiting[END], waiting[DEPTH], waiting[CONSTANTS]
        n = end - start
        _measure(table, start, end)
        weight = table.sums[WEIGHT]
        mean = table.sums[TOTAL] / weight
        values[n_nodes, 0, 0] = mean
        impurity = table.impurities[n_waiting]
        if n_nodes == 0:
            impurity = table.sums[SQUARES] / weight - mean * mean
        else:
            ints[waiting[PARENT], waiting[SIDE]] = n_nodes
        deepest = depth if depth > deepest else deepest
        is_leaf = depth >= limits.max_depth or n < limits.min_samples_split or n < 2 * limits.min_samples_leaf
        is_leaf |= weight < 2 * limits.min_weight_leaf or impurity <= IMPURITY_EPSILON
        if not is_leaf:
            table.best[POSITION] = -1
            table.best_floats[PROXY] = -np.inf
            n_constants = _try_features(table, start, end, n_constants)
            is_leaf = table.best[POSITION] < 0
        if not is_leaf:
            improvement = _divide_samples(table, start, end, impurity)
            is_leaf = improvement + IMPURITY_EPSILON < limits.min_impurity_decrease
        _write_node(table, ints, floats, n_nodes, impurity, is_leaf, n)
        if not is_leaf:
            _push_children(table, ints, floats, n_nodes, start, end, depth, n_waiting, n_constants)
            n_waiting += 2
        n_nodes += 1
    count[0, N_NODES] = n_nodes
    count[0, DEEPEST] = deepest
