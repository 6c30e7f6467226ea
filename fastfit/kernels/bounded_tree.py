"""Grow a tree of large nodes level by level, by a team; see :mod:`fastfit.kernels.bounded_columns`.

At every level each member makes the histograms of its own features for all nodes, bounds what their splits gain, and
lists those that may be the best. Then the rows are parted in chunks: every node keeps its rows in ascending order.
Nodes are numbered as in a heap, and only at the end as scikit-learn does, depth first.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.boosting_leaves import pairwise_sum
from fastfit.kernels.bounded_columns import N_BINS
from fastfit.kernels.bounded_split import (
    END,
    FEATURE,
    GREATEST,
    IS_OPEN,
    LEAST,
    N_LEFT,
    POSITION,
    START,
    SUM_LEFT,
    TOTAL,
    SearchState,
    bound_from_below,
    build_histogram,
    choose_candidate,
    facts_of,
    search_feature,
    unpack,
)
from fastfit.kernels.presort_entries import ROW_BITS
from fastfit.kernels.tree_node import (
    LEAF_CHILD,
    LEAF_FEATURE,
    LEFT_CHILD,
    MISSING_GO_LEFT,
    N_NODE_SAMPLES,
    NODE_IMPURITY,
    NODE_WEIGHT,
    RIGHT_CHILD,
    SPLIT_FEATURE,
    SPLIT_THRESHOLD,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import barrier, stop_requested, take_next

# Rows that a member parts at a time.
CHUNK = 4096
# Entries of BoundedWork.state: whether the tree is given up, how many nodes it has, its depth, which order of the rows
# is the last, and what `_choose_level` has returned. The last has a place of its own: it is read when others go on.
GIVEN_UP, N_NODES, DEEPEST, SIDE, ANY_SPLIT = 0, 1, 2, 3, 4
# Relative differences up to this may be rounding.
NEARLY = 1e-7
# Least variance and least improvement that are certainly not zero but for rounding.
LEAST_VARIANCE, RELATIVE_VARIANCE = 1e-15, 1e-9


class BoundedLimits(NamedTuple):
    """What bounds the tree."""

    max_depth: int
    min_samples_split: int
    min_samples_leaf: int
    min_impurity_decrease: float


class BoundedWork(NamedTuple):
    """The target of one tree, and buffers."""

    target: np.ndarray  # (n_samples,) float64
    packed: np.ndarray  # (n_samples,) int64: the target in units, and 1 << shift
    shift: int
    unit: float
    greatest: float  # absolute value of a target
    n_rows: int  # that are in the tree; the first of order[0], ascending
    order: np.ndarray  # (2, n_samples) int32: rows by node, of this level and of the next
    node_of: np.ndarray  # (n_samples,) uint8: number of the node in the heap, 0 for rows that are left out
    goes_left: np.ndarray  # (n_samples,) uint8, by position in the order
    chunks: np.ndarray  # (n_chunks, 5) int64: rows that go left; least and greatest target of both sides
    histograms: (
        np.ndarray
    )  # (2, n_slots, n_groups * group_size * N_BINS) int64: of this level and of the one before
    nodes: np.ndarray  # (2 ** (max_depth + 1), NODE_FACTS) int64
    thresholds: np.ndarray  # (2 ** (max_depth + 1),) float64
    state: np.ndarray  # (5,) int64
    numbers: np.ndarray  # (64,) int64: nodes that wait for their number
    search_floats: np.ndarray  # (n_threads, 4, 2 ** (max_depth + 1)) float64: see SearchState
    search_ints: np.ndarray  # (n_threads, 4, 2 ** (max_depth + 1)) int64
    values: np.ndarray  # (2, n_samples) float64: scratch for sums of leaves
    sizes: np.ndarray  # (n_threads, 64) int64
    sums: np.ndarray  # (n_threads, 64) float64


class BoundedTree(NamedTuple):
    """The finished tree."""

    ints: np.ndarray  # (capacity, NODE_FIELDS) int64
    floats: np.ndarray  # (capacity, NODE_FIELDS) float64, the same memory
    values: np.ndarray  # (capacity, 1, 1) float64
    starts: np.ndarray  # (capacity + 2,) int64: rows of leaf i are the order from starts[i] to starts[i + 1]
    squares: np.ndarray  # (capacity,) float64: sums of squares of targets
    id_of: np.ndarray  # (2 ** (max_depth + 1),) int32: number in the tree by number in the heap


@jit(internal=True)
def _make_histograms(columns, work, level, group):
    """Make the histograms of a group of features for all nodes of a level: one of two siblings by subtraction."""
    group_size = columns.bins.shape[2]
    size = group_size * N_BINS
    first = 1 << level
    side = level & 1
    rows = work.order[side]
    for number in range(first, 2 * first):
        if work.nodes[number, IS_OPEN] == 0:
            continue
        own = work.histograms[side, number - first, group * size : (group + 1) * size]
        start, end = work.nodes[number, START], work.nodes[number, END]
        sibling = number ^ 1
        other_n = work.nodes[sibling, END] - work.nodes[sibling, START] if level > 0 else 0
        if level > 0 and (other_n < end - start or (other_n == end - start and number & 1)):
            parent = work.histograms[
                1 - side, (number >> 1) - (first >> 1), group * size : (group + 1) * size
            ]
            other = work.histograms[side, sibling - first, group * size : (group + 1) * size]
            if work.nodes[sibling, IS_OPEN] == 0 or sibling > number:
                build_histogram(
                    columns.bins[group],
                    rows,
                    work.nodes[sibling, START],
                    work.nodes[sibling, END],
                    work.packed,
                    other,
                )
            for i in range(size):
                own[i] = parent[i] - other[i]
        elif level == 0 or sibling > number or work.nodes[sibling, IS_OPEN] == 0:
            build_histogram(columns.bins[group], rows, start, end, work.packed, own)


@jit(internal=True)
def _bound_level(columns, work, limits, candidates, thread_idx, n_threads, level):
    """Make this member's histograms, and note the best splits between bins."""
    n_groups, _, group_size = columns.bins.shape
    first, side = 1 << level, level & 1
    for number in range(first, 2 * first):
        candidates.bounds[thread_idx, number] = -np.inf
        candidates.n[thread_idx, number, 0] = 0
    for group in range(thread_idx, n_groups, n_threads):
        _make_histograms(columns, work, level, group)
        for number in range(first, 2 * first):
            if work.nodes[number, IS_OPEN]:
                node = facts_of(work, number, limits)
                for feature in range(group * group_size, (group + 1) * group_size):
                    if feature < len(columns.n_bins):
                        histogram = work.histograms[side, number - first, feature * N_BINS :]
                        bound = bound_from_below(node, histogram, columns.n_bins[feature], work.shift)
                        if bound > candidates.bounds[thread_idx, number]:
                            candidates.bounds[thread_idx, number] = bound


@jit(internal=True)
def _search_level(columns, work, limits, candidates, thread_idx, n_threads, level):
    """List the splits of this member's features that may be the best of their nodes."""
    n_groups, _, group_size = columns.bins.shape
    first = 1 << level
    state = SearchState(
        work.search_floats[thread_idx, 0],
        work.search_floats[thread_idx, 1],
        work.search_floats[thread_idx, 2],
        work.search_floats[thread_idx, 3],
        work.search_ints[thread_idx, 0],
        work.search_ints[thread_idx, 1],
        work.search_ints[thread_idx, 2],
        work.search_ints[thread_idx, 3],
    )
    # Rows that are in no node of this level are counted in entries that nobody reads.
    state.bound[:first] = np.inf
    for number in range(first, 2 * first):
        state.best[number] = -np.inf
        for thread in range(n_threads):
            if candidates.bounds[thread, number] > state.best[number]:
                state.best[number] = candidates.bounds[thread, number]
        state.total[number] = work.nodes[number, TOTAL]
        state.n[number] = work.nodes[number, END] - work.nodes[number, START]
    for group in range(thread_idx, n_groups, n_threads):
        for feature in range(group * group_size, (group + 1) * group_size):
            if feature < len(columns.n_bins):
                search_feature(
                    columns,
                    work,
                    limits,
                    candidates,
                    state,
                    thread_idx,
                    first,
                    feature,
                    work.histograms[level & 1],
                )


@jit(internal=True)
def _set_threshold(columns, work, number):
    """Set a node's threshold between the values on both sides of its split."""
    facts = work.nodes[number]
    rows = columns.rows[facts[FEATURE]]
    below = facts[POSITION] - 1
    while work.node_of[rows[below] & ROW_BITS] != number:
        below -= 1
    above = facts[POSITION]
    while work.node_of[rows[above] & ROW_BITS] != number:
        above += 1
    X_f = columns.X_t[facts[FEATURE]]
    low, high = np.float64(X_f[rows[below] & ROW_BITS]), np.float64(X_f[rows[above] & ROW_BITS])
    work.thresholds[number] = low / 2.0 + high / 2.0


@jit(internal=True)
def _choose_level(columns, work, limits, candidates, n_threads, level):
    """Choose the splits of a level's nodes; return whether any is to be split, or -1 if rounding would decide."""
    first = 1 << level
    any_split = 0
    for number in range(first, 2 * first):
        facts = work.nodes[number]
        if facts[IS_OPEN] == 0:
            continue
        node = facts_of(work, number, limits)
        gain = choose_candidate(node, columns, work, candidates, n_threads, facts, work.order[level & 1])
        if gain != gain:
            return -1
        facts[IS_OPEN] = 0
        if gain > -np.inf:
            total = np.float64(node.total)
            improvement = (gain - total * total / node.n) * work.unit * work.unit / work.n_rows
            least = limits.min_impurity_decrease
            if abs(improvement - least) <= NEARLY * (improvement + least) + LEAST_VARIANCE:
                return -1
            if improvement > least:
                facts[IS_OPEN] = 1
                _set_threshold(columns, work, number)
                any_split = 1
    return any_split


@jit(internal=True)
def _mark_chunks(columns, work, thread_idx, n_threads, level):
    """Tell for this member's chunks of rows which go left."""
    first = 1 << level
    order = work.order[level & 1]
    chunk = 0
    for number in range(first, 2 * first):
        facts = work.nodes[number]
        if facts[IS_OPEN] == 0:
            continue
        X_f = columns.X_t[facts[FEATURE]]
        threshold = work.thresholds[number]
        for start in range(facts[START], facts[END], CHUNK):
            if chunk % n_threads == thread_idx:
                end = start + CHUNK if facts[END] - start > CHUNK else facts[END]
                n_left = 0
                least_left = least_right = np.int64(1) << 62
                greatest_left = greatest_right = -least_left
                for p in range(start, end):
                    row = element(order, p)
                    is_left = np.float64(element(X_f, row)) <= threshold
                    target, _ = unpack(element(work.packed, row), work.shift)
                    work.goes_left[p] = is_left
                    n_left += np.int64(is_left)
                    least_left = target if is_left and target < least_left else least_left
                    greatest_left = target if is_left and target > greatest_left else greatest_left
                    least_right = target if not is_left and target < least_right else least_right
                    greatest_right = target if not is_left and target > greatest_right else greatest_right
                facts_of_chunk = work.chunks[chunk]
                facts_of_chunk[0] = n_left
                facts_of_chunk[1], facts_of_chunk[2] = least_left, greatest_left
                facts_of_chunk[3], facts_of_chunk[4] = least_right, greatest_right
            chunk += 1


@jit(internal=True)
def _move_chunks(work, thread_idx, n_threads, level):
    """Move this member's chunks of rows to the order of the next level."""
    first = 1 << level
    order, order_out = work.order[level & 1], work.order[1 - (level & 1)]
    chunk = 0
    for number in range(1, 2 * first):
        facts = work.nodes[number]
        is_leaf = facts[IS_OPEN] == 0 and facts[END] > facts[START]
        if is_leaf and number % n_threads == thread_idx:
            for p in range(facts[START], facts[END]):
                order_out[p] = order[p]
        if facts[IS_OPEN] == 0 or number < first:
            continue
        left, right = facts[START], facts[START] + facts[N_LEFT]
        for start in range(facts[START], facts[END], CHUNK):
            end = start + CHUNK if facts[END] - start > CHUNK else facts[END]
            n_left = work.chunks[chunk, 0]
            if chunk % n_threads == thread_idx:
                for p in range(start, end):
                    row = element(order, p)
                    is_left = np.int64(work.goes_left[p])
                    order_out[left if is_left else right] = row
                    work.node_of[row] = 2 * number + 1 - is_left
                    left += is_left
                    right += 1 - is_left
            else:
                left += n_left
                right += end - start - n_left
            chunk += 1


@jit(internal=True)
def _begin_children(work, limits, level):
    """Set what is known of the nodes of the next level; return False if the tree is to be given up."""
    first = 1 << level
    chunk = 0
    for number in range(first, 2 * first):
        facts = work.nodes[number]
        left, right = work.nodes[2 * number], work.nodes[2 * number + 1]
        left[START] = left[END] = right[START] = right[END] = left[IS_OPEN] = right[IS_OPEN] = 0
        if facts[IS_OPEN] == 0:
            continue
        left[LEAST] = right[LEAST] = np.int64(1) << 62
        left[GREATEST] = right[GREATEST] = -(np.int64(1) << 62)
        n_left = 0
        for _ in range(facts[START], facts[END], CHUNK):
            of_chunk = work.chunks[chunk]
            n_left += of_chunk[0]
            left[LEAST] = of_chunk[1] if of_chunk[1] < left[LEAST] else left[LEAST]
            left[GREATEST] = of_chunk[2] if of_chunk[2] > left[GREATEST] else left[GREATEST]
            right[LEAST] = of_chunk[3] if of_chunk[3] < right[LEAST] else right[LEAST]
            right[GREATEST] = of_chunk[4] if of_chunk[4] > right[GREATEST] else right[GREATEST]
            chunk += 1
        left[START], left[END] = facts[START], facts[START] + n_left
        right[START], right[END] = left[END], facts[END]
        left[TOTAL], right[TOTAL] = facts[SUM_LEFT], facts[TOTAL] - facts[SUM_LEFT]
        is_sure = _open_node(work, left, limits, level + 1) and _open_node(work, right, limits, level + 1)
        if n_left != facts[N_LEFT] or not is_sure:
            return False
    return True


@jit(internal=True)
def _open_node(work, facts, limits, level):
    """Decide whether a split of a node is looked for; return False if that may hang on rounding."""
    n = facts[END] - facts[START]
    facts[IS_OPEN] = (
        level < limits.max_depth and n >= limits.min_samples_split and n >= 2 * limits.min_samples_leaf
    )
    spread = np.float64(facts[GREATEST] - facts[LEAST]) * work.unit
    bound = RELATIVE_VARIANCE * work.greatest * work.greatest + LEAST_VARIANCE
    return facts[IS_OPEN] == 0 or spread * spread / (2 * n) > bound


@jit(internal=True)
def _number_nodes(work, tree):
    """Write the tree's nodes, depth first and left before right, all but their values; return their number."""
    waiting = work.numbers
    waiting[0] = 1
    n_waiting, n_nodes, deepest = 1, 0, 0
    while n_waiting > 0:
        n_waiting -= 1
        number = waiting[n_waiting]
        facts = work.nodes[number]
        ints, floats = tree.ints[n_nodes], tree.floats[n_nodes]
        tree.id_of[number] = n_nodes
        tree.starts[n_nodes] = facts[START]
        if number > 1:
            parent = tree.ints[tree.id_of[number >> 1]]
            parent[RIGHT_CHILD if number & 1 else LEFT_CHILD] = n_nodes
        n = facts[END] - facts[START]
        ints[N_NODE_SAMPLES] = n
        floats[NODE_WEIGHT] = n
        ints[MISSING_GO_LEFT] = 0
        if facts[IS_OPEN]:
            ints[SPLIT_FEATURE] = facts[FEATURE]
            floats[SPLIT_THRESHOLD] = work.thresholds[number]
            ints[MISSING_GO_LEFT] = 2 * facts[N_LEFT] > n
            waiting[n_waiting] = 2 * number + 1
            waiting[n_waiting + 1] = 2 * number
            n_waiting += 2
        else:
            ints[LEFT_CHILD] = ints[RIGHT_CHILD] = LEAF_CHILD
            ints[SPLIT_FEATURE] = LEAF_FEATURE
            floats[SPLIT_THRESHOLD] = LEAF_FEATURE
            depth = 0
            while number >> (depth + 1) > 0:
                depth += 1
            deepest = depth if depth > deepest else deepest
        n_nodes += 1
    tree.starts[n_nodes] = work.n_rows
    work.state[N_NODES] = n_nodes
    work.state[DEEPEST] = deepest


@jit(internal=True)
def _measure_leaves(control, work, tree, order, thread_idx):
    """Add up the targets of every leaf and their squares, in the order of the rows."""
    node = take_next(control, 0)
    while node < work.state[N_NODES] and not stop_requested(control):
        if tree.ints[node, LEFT_CHILD] == LEAF_CHILD:
            start, n = tree.starts[node], tree.ints[node, N_NODE_SAMPLES]
            sizes, sums = work.sizes[thread_idx], work.sums[thread_idx]
            for p in range(start, start + n):
                target = work.target[element(order, p)]
                work.values[0, p] = target
                work.values[1, p] = target * target
            tree.values[node, 0, 0] = pairwise_sum(work.values[0], start, n, sizes, sums)
            tree.squares[node] = pairwise_sum(work.values[1], start, n, sizes, sums)
        node = take_next(control, 0)


@jit(internal=True)
def _measure_nodes(work, tree):
    """Set values and impurities of all nodes from the sums of the leaves."""
    for node in range(work.state[N_NODES] - 1, -1, -1):
        left, right = tree.ints[node, LEFT_CHILD], tree.ints[node, RIGHT_CHILD]
        if left >= 0:
            tree.values[node, 0, 0] = tree.values[left, 0, 0] + tree.values[right, 0, 0]
            tree.squares[node] = tree.squares[left] + tree.squares[right]
    for node in range(work.state[N_NODES]):
        n = tree.floats[node, NODE_WEIGHT]
        mean = tree.values[node, 0, 0] / n
        tree.values[node, 0, 0] = mean
        impurity = tree.squares[node] / n - mean * mean
        tree.floats[node, NODE_IMPURITY] = impurity


@jit
def grow_bounded(control, thread_idx, n_threads, columns, work, limits, candidates, tree):
    """Grow a tree; ``work.state[GIVEN_UP]`` is 1 if rounding would decide about it."""
    if not _open_node(work, work.nodes[1], limits, 0):
        work.state[GIVEN_UP] = 1
        return
    level = 0
    goes_on = work.nodes[1, IS_OPEN] != 0
    while goes_on:
        _bound_level(columns, work, limits, candidates, thread_idx, n_threads, level)
        if not barrier(control, n_threads):
            return
        _search_level(columns, work, limits, candidates, thread_idx, n_threads, level)
        if not barrier(control, n_threads):
            return
        if thread_idx == 0:
            work.state[ANY_SPLIT] = _choose_level(columns, work, limits, candidates, n_threads, level)
        if not barrier(control, n_threads):
            return
        any_split = work.state[ANY_SPLIT]
        if any_split < 0:
            work.state[GIVEN_UP] = 1
            return
        if any_split == 0:
            break
        _mark_chunks(columns, work, thread_idx, n_threads, level)
        if not barrier(control, n_threads):
            return
        _move_chunks(work, thread_idx, n_threads, level)
        if thread_idx == 0 and not _begin_children(work, limits, level):
            work.state[GIVEN_UP] = 1
        if not barrier(control, n_threads) or work.state[GIVEN_UP] != 0:
            return
        level += 1
        goes_on = level < limits.max_depth
    if thread_idx == 0:
        _number_nodes(work, tree)
        work.state[SIDE] = level & 1
    if not barrier(control, n_threads):
        return
    _measure_leaves(control, work, tree, work.order[level & 1], thread_idx)
    if barrier(control, n_threads) and thread_idx == 0:
        _measure_nodes(work, tree)
