"""Subtrees of at most 16 samples: a feature's order is one 64-bit word, and a split handles eight features at once.

Most nodes of a tree are small: of those with two samples or more, four in five have at most eight. On columns each
costs some 150 ns a feature, however few its samples, in starts of loops and in branches that nobody can foresee. Here
the samples of a small node get numbers from 0 to 15; the order of each feature is a word of 16 nibbles, made once from
its column. Scanning for splits takes the words of eight features in a vector, and looks up weights and targets in
registers; a split takes the nibbles of either side out of each word by one instruction. Columns are neither read nor
written again below the node where this begins.

It takes part where no two samples of the node have values of a feature that are equal up to scikit-learn's threshold;
elsewhere the node is split on its columns.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.presort_entries import NEARLY_EQUAL, NEW_VALUE
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    FEATURE,
    IS_LEFT,
    MISSING_LEFT,
    N_CONSTANTS,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    may_be_split,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import element, prefetch
from fastfit.runtime.simd_nibbles import load_words, nibbles_of, store_words, take_bits

MAX_SAMPLES = 16
# Two for each level below the root of such a subtree: the node that is a left child (or the root), and the right child.
N_SLOTS = 2 * MAX_SAMPLES
# Rows of SmallWork.tables, indexed by the sample's number.
WEIGHTS, WEIGHTED, TARGETS = 0, 1, 2
# Entries of SmallWork.state: where the subtree begins and ends, the depth of its root, the node's slot, and the number
# of samples to the left of the split that was chosen.
FIRST, LAST, ROOT_DEPTH, SLOT = 0, 1, 2, 3
N_STATES = 4
# Words of features that fill whole vectors.
WORDS_AT_ONCE = lanes("float64")


class SmallScratch(NamedTuple):
    """Buffers; the first axis is that of the team's members."""

    orders: np.ndarray  # (n_threads, N_SLOTS, n_words) uint64: of each feature, by ascending value
    mask: np.ndarray  # (n_threads, n_words) uint64
    numbers: np.ndarray  # (n_threads, n_samples) uint8: of the rows in the subtree
    rows: np.ndarray  # (n_threads, 16) uint32: of the numbers
    tables: np.ndarray  # (n_threads, 3, 16) float64
    proxies: np.ndarray  # (n_threads, n_words) float64: of the best split of each feature
    positions: np.ndarray  # (n_threads, n_words) float64: samples to the left of it
    state: np.ndarray  # (n_threads, N_STATES) int64


class SmallWork(NamedTuple):
    """One member's part of the scratch."""

    orders: np.ndarray
    mask: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray
    tables: np.ndarray
    proxies: np.ndarray
    positions: np.ndarray
    state: np.ndarray


@jit(inline=True, internal=True)
def bind_small(scratch, thread_idx):
    """Return one member's part of a `SmallScratch`."""
    scratch.state[thread_idx, LAST] = -1
    return SmallWork(
        scratch.orders[thread_idx],
        scratch.mask[thread_idx],
        scratch.numbers[thread_idx],
        scratch.rows[thread_idx],
        scratch.tables[thread_idx],
        scratch.proxies[thread_idx],
        scratch.positions[thread_idx],
        scratch.state[thread_idx],
    )


@jit(inline=True, internal=True)
def thing_at(word, position):
    """Return the number at a position of an order."""
    return np.int64((word >> np.uint64(4 * position)) & np.uint64(15))


@jit(inline=True, internal=True)
def _bits_up_to(n_bits):
    """Return a word with its lowest bits set, any number of them but all 64."""
    return (np.uint64(1) << np.uint64(n_bits)) - np.uint64(1)


@jit(inline=True, internal=True)
def order_members(order, n_samples, goes_left):
    """Return the order in which scikit-learn leaves samples after a split.

    It finds them by ascending value of the feature tried last, and exchanges from both ends: a sample that goes left
    stays where it is, one that goes right changes places with the last one that has not been looked at.
    """
    front = 0
    back = n_samples
    result = np.uint64(0)
    sample = thing_at(order, 0)
    while front < back:
        is_left = (goes_left >> np.uint64(sample)) & np.uint64(1)
        place = front if is_left else back - 1
        result |= np.uint64(sample) << np.uint64(4 * place)
        front += np.int64(is_left)
        back -= 1 - np.int64(is_left)
        sample = thing_at(order, front) if is_left else thing_at(order, back)
    return result


def make_small_subtrees(target_of, scan, measure_children, values_differ, make_try_features):
    """Return (enter, find_split) for a criterion.

    ``enter(problem, work, node)`` tells whether the node belongs to a small subtree, and begins one where it can;
    ``find_split(problem, work, node, limits)`` then does what that of :mod:`fastfit.kernels.depth_first` does.

    Parameters
    ----------
    target_of : kernel
        ``target_of(problem, entry)`` returns the target, or the number of the class, of a column's entry.
    scan : kernel
        ``scan(work, node, limits, orders, n_samples)`` stores the best proxy and position of each feature.
    measure_children : kernel
        ``measure_children(work, node, limits, order, n_left, goes_left)`` sets what NodeState holds of the children,
        given the order of the feature that was tried last and the bits of the samples that go left.
    values_differ : kernel
        As of :mod:`fastfit.kernels.presorted_columns`.
    make_try_features : callable
        As of :mod:`fastfit.kernels.feature_draw`.
    """

    @jit(inline=True, internal=True)
    def order_of(problem, work, node, feature, column, n_samples):
        """Return the word of a feature's order, or 0 if values are equal (of two samples none is 0)."""
        small = work.small
        start = node.ints[START]
        row_mask = problem.layout.row_mask
        word = np.uint64(small.numbers[element(column, start) & row_mask])
        is_new = NEW_VALUE
        is_near = np.uint32(0)
        for i in range(1, n_samples):
            entry = element(column, start + i)
            is_new &= entry
            is_near |= entry
            word |= np.uint64(small.numbers[entry & row_mask]) << np.uint64(4 * i)
        if is_new == 0:
            return np.uint64(0)
        if is_near & NEARLY_EQUAL != 0:
            for i in range(1, n_samples):
                if element(column, start + i) & NEARLY_EQUAL != 0 and not values_differ(
                    problem, work, node, column, feature, start + i
                ):
                    return np.uint64(0)
        return word

    @jit(inline=True, internal=True)
    def number_samples(problem, work, node, column):
        """Give the samples numbers, and write what is known of them to tables."""
        small = work.small
        layout = problem.layout
        for i in range(node.ints[END] - node.ints[START]):
            entry = element(column, node.ints[START] + i)
            row = entry & layout.row_mask
            small.numbers[row] = i
            small.rows[i] = row
            weight = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
            target = target_of(problem, entry)
            small.tables[WEIGHTS, i] = weight
            small.tables[WEIGHTED, i] = weight * target
            small.tables[TARGETS, i] = target

    @jit(internal=True)
    def begin(problem, work, node):
        """Make the words of a node's features; False if some feature has equal values."""
        small = work.small
        n_samples = node.ints[END] - node.ints[START]
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 1
        is_numbered = False
        is_distinct = True
        for feature in range(len(work.columns)):
            if work.marks[1 + feature] == 0 and is_distinct:
                if not is_numbered:
                    number_samples(problem, work, node, work.columns[feature])
                    is_numbered = True
                word = order_of(problem, work, node, feature, work.columns[feature], n_samples)
                small.orders[0, feature] = word
                is_distinct = word != 0
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 0
        small.state[FIRST] = node.ints[START]
        small.state[LAST] = node.ints[END] if is_distinct else -1
        small.state[ROOT_DEPTH] = node.ints[DEPTH]
        return is_distinct

    @jit(inline=True, internal=True)
    def enter(problem, work, node):
        if node.ints[END] - node.ints[START] > MAX_SAMPLES:
            return False
        state = work.small.state
        if node.ints[START] >= state[FIRST] and node.ints[END] <= state[LAST]:
            is_right = node.ints[DEPTH] > state[ROOT_DEPTH] and node.ints[IS_LEFT] == 0
            state[SLOT] = 2 * (node.ints[DEPTH] - state[ROOT_DEPTH]) + np.int64(is_right)
            return True
        state[SLOT] = 0
        return begin(problem, work, node)

    @jit(internal=True)
    def evaluate(problem, work, node, feature):
        work.marks[0] = feature
        proxy = element(work.small.proxies, feature)
        if proxy > node.floats[PROXY]:
            node.floats[PROXY] = proxy
            node.ints[FEATURE] = feature
        return False

    try_features = make_try_features(evaluate)

    @jit(inline=True, internal=True)
    def divide_orders(work, n_samples, goes_left):
        """Write the children's words."""
        small = work.small
        orders = small.orders[small.state[SLOT]]
        below = 2 * (small.state[SLOT] // 2) + 2
        left = small.orders[below]
        right = small.orders[below + 1]
        everything = _bits_up_to(4 * n_samples) if n_samples < MAX_SAMPLES else ~np.uint64(0)
        for i in range(0, len(orders), WORDS_AT_ONCE):
            store_words(small.mask, i, nibbles_of(load_words(orders, i), goes_left))
        for feature in range(len(work.columns)):
            word = element(orders, feature)
            mask = element(small.mask, feature) & everything
            left[feature] = take_bits(word, mask)
            right[feature] = take_bits(word, everything ^ mask)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        small = work.small
        start = node.ints[START]
        n_samples = node.ints[END] - start
        orders = small.orders[small.state[SLOT]]
        scan(work, node, limits, orders, n_samples)
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = node.ints[END]
        try_features(problem, work, node, limits.max_features)
        if node.floats[PROXY] == -np.inf:
            return
        feature = node.ints[FEATURE]
        n_left = np.int64(small.positions[feature])
        node.ints[POSITION] = start + n_left
        order = orders[feature]
        values = problem.X_t[feature]
        row_below = small.rows[thing_at(order, n_left - 1)]
        row_above = small.rows[thing_at(order, n_left)]
        # The values come from far away, and are needed only at the end.
        prefetch(values, row_below)
        prefetch(values, row_above)
        node.ints[MISSING_LEFT] = n_left > n_samples - n_left
        goes_left = np.uint64(0)
        for i in range(n_left):
            goes_left |= np.uint64(1) << np.uint64(thing_at(order, i))
        measure_children(work, node, limits, orders[work.marks[0]], n_left, goes_left)
        goes_on = may_be_split(n_left, 1.0, limits) or may_be_split(n_samples - n_left, 1.0, limits)
        if goes_on and node.ints[DEPTH] + 1 < limits.max_depth:
            divide_orders(work, n_samples, goes_left)
        node.floats[THRESHOLD] = np.float64(values[row_below]) / 2.0 + np.float64(values[row_above]) / 2.0

    return enter, find_split
