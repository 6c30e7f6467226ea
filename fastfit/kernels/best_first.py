"""Grow a tree best first: of all nodes at its edge split the one whose split improves most, up to a number of leaves.

Which of two equally good nodes comes first is part of the model, since it numbers the nodes. scikit-learn leaves that
to the heap of its C++ library, so the heap here makes the same moves (``push_heap`` and ``pop_heap`` of libstdc++,
after Williams, "Algorithm 232: Heapsort", Communications of the ACM 7(6), 1964).
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.depth_first import must_be_leaf, split_is_too_poor
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    FEATURE,
    IMPROVEMENT,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    IS_LEFT,
    LEAF_CHILD,
    LEAF_FEATURE,
    LEFT_CHILD,
    LOWER_BOUND,
    MIDDLE_VALUE,
    N_CONSTANTS,
    NO_PARENT,
    NODE_ID,
    PARENT,
    POSITION,
    RIGHT_CHILD,
    SOURCE,
    SPLIT_FEATURE,
    SPLIT_THRESHOLD,
    SQUARES,
    START,
    UPPER_BOUND,
    WEIGHT,
    WEIGHT_LEFT,
    WEIGHT_RIGHT,
    add_node,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.team import stop_requested


class Frontier(NamedTuple):
    """The nodes at the tree's edge, whose splits are known; one frontier is needed for each thread."""

    ints: np.ndarray  # (n_threads, capacity, NODE_INTS) int64: NodeState.ints of each node
    floats: np.ndarray  # (n_threads, capacity, NODE_FLOATS) float64: NodeState.floats of each node
    heap: np.ndarray  # (n_threads, capacity) int64: slots of the above, the best at the top


@jit(internal=True)
def _sift_up(heap, gains, position, slot):
    """Move a hole up to where ``slot`` belongs, and fill it."""
    while position > 0:
        parent = (position - 1) // 2
        if not gains[heap[parent], IMPROVEMENT] < gains[slot, IMPROVEMENT]:
            break
        heap[position] = heap[parent]
        position = parent
    heap[position] = slot


@jit(internal=True)
def _pop(heap, gains, size):
    """Take the best slot out of a heap of ``size``: the hole sinks to the bottom before the last slot fills it."""
    top = heap[0]
    size -= 1
    slot = heap[size]
    hole = 0
    while 2 * hole + 2 < size:
        child = 2 * hole + 2
        if gains[heap[child], IMPROVEMENT] < gains[heap[child - 1], IMPROVEMENT]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if 2 * hole + 2 == size:
        heap[hole] = heap[2 * hole + 1]
        hole = 2 * hole + 1
    if size > 0:
        _sift_up(heap, gains, hole, slot)
    return top


@jit(internal=True)
def _enter_child(ints, floats, node, is_left, monotonic_cst):
    """Make ``node`` a child of the node in ``ints, floats``, which was split."""
    node.ints[START] = ints[START] if is_left else ints[POSITION]
    node.ints[END] = ints[POSITION] if is_left else ints[END]
    node.ints[DEPTH] = ints[DEPTH] + 1
    node.ints[PARENT] = ints[NODE_ID]
    node.ints[IS_LEFT] = is_left
    node.ints[SOURCE] = ints[FEATURE]
    node.floats[IMPURITY] = floats[IMPURITY_LEFT if is_left else IMPURITY_RIGHT]
    node.floats[LOWER_BOUND] = floats[LOWER_BOUND]
    node.floats[UPPER_BOUND] = floats[UPPER_BOUND]
    sums = WEIGHT_LEFT if is_left else WEIGHT_RIGHT
    for i in range(SQUARES - WEIGHT + 1):
        node.floats[WEIGHT + i] = floats[sums + i]
    if len(monotonic_cst) > 0 and monotonic_cst[ints[FEATURE]] != 0:
        if (monotonic_cst[ints[FEATURE]] > 0) == (is_left == 1):
            node.floats[UPPER_BOUND] = floats[MIDDLE_VALUE]
        else:
            node.floats[LOWER_BOUND] = floats[MIDDLE_VALUE]


@jit(internal=True)
def _make_leaf(table, node_id):
    table.ints[node_id, LEFT_CHILD] = LEAF_CHILD
    table.ints[node_id, RIGHT_CHILD] = LEAF_CHILD
    table.ints[node_id, SPLIT_FEATURE] = LEAF_FEATURE
    table.floats[node_id, SPLIT_THRESHOLD] = LEAF_FEATURE


def make_grow_best_first(bind, begin_node, find_split):
    """Return the kernel ``grow(control, thread_idx, n_threads, problem, scratch, frontier, limits, table)``.

    Arguments as in :func:`fastfit.kernels.depth_first.make_grow_depth_first`. A node's split is
    found, and the node gets its number, when its parent is split; the split is kept until it is the best of all.
    """

    @jit(internal=True)
    def enter(problem, work, node, limits, table, thread_idx, ints, floats):
        """Find the split of ``node``, add it to the tree, and keep it in its slot. False if told to stop."""
        node.ints[N_CONSTANTS] = 0
        begin_node(problem, work, node)
        is_leaf = must_be_leaf(node, limits)
        if not is_leaf:
            if not find_split(problem, work, node, limits):
                return False
            is_leaf = split_is_too_poor(node, limits)
        if thread_idx == 0:
            add_node(table, node, is_leaf, thread_idx)
        if is_leaf:
            node.ints[POSITION] = node.ints[END]
            node.floats[IMPROVEMENT] = 0.0
        for i in range(len(node.ints)):
            ints[i] = node.ints[i]
        for i in range(len(node.floats)):
            floats[i] = node.floats[i]
        return True

    @jit
    def grow(control, thread_idx, n_threads, problem, scratch, frontier, limits, table):
        work, node = bind(control, thread_idx, n_threads, problem, scratch, limits)
        ints = frontier.ints[thread_idx]
        floats = frontier.floats[thread_idx]
        heap = frontier.heap[thread_idx]
        node.ints[START] = 0
        node.ints[END] = problem.n_root_samples
        node.ints[DEPTH] = 0
        node.ints[PARENT] = NO_PARENT
        node.ints[IS_LEFT] = 0
        node.ints[SOURCE] = 0
        node.floats[IMPURITY] = np.inf
        node.floats[LOWER_BOUND] = -np.inf
        node.floats[UPPER_BOUND] = np.inf
        # Slot 0 takes the root; each split puts one child into its own slot and one into a new one.
        n_slots = 0
        slot = 0
        n_waiting = 0
        n_splits_left = limits.max_leaf_nodes - 1
        for node_id in range(2 * limits.max_leaf_nodes - 1):
            if stop_requested(control):
                return
            node.ints[NODE_ID] = node_id
            is_left = node_id & 1
            if node_id == 0 or is_left == 1:
                target = n_slots
                n_slots += 1
            else:
                target = slot
            if node_id > 0:
                _enter_child(ints[slot], floats[slot], node, is_left, limits.monotonic_cst)
            if not enter(problem, work, node, limits, table, thread_idx, ints[target], floats[target]):
                return
            if is_left == 1:
                continue
            if node_id > 0:
                _sift_up(heap, floats, n_waiting, n_slots - 1)
                n_waiting += 1
            _sift_up(heap, floats, n_waiting, target)
            n_waiting += 1
            # Take the best of what waits until one can be split; what cannot is a leaf already.
            found = False
            while n_waiting > 0 and not found:
                slot = _pop(heap, floats, n_waiting)
                n_waiting -= 1
                found = ints[slot, POSITION] < ints[slot, END] and n_splits_left > 0
                if not found and thread_idx == 0:
                    _make_leaf(table, ints[slot, NODE_ID])
            if not found:
                return
            n_splits_left -= 1

    return grow
