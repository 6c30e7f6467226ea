"""Grow a tree depth first, left child before right, as scikit-learn does when the number of leaves is not bounded.

The path of nodes still to do is kept in an array, so that a tree may be as deep as it has samples.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import skip_draws
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    FEATURE,
    IMPROVEMENT,
    IMPURITY,
    IMPURITY_EPSILON,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    IS_LEFT,
    LOWER_BOUND,
    MIDDLE_VALUE,
    N_CONSTANTS,
    N_NODES,
    NO_PARENT,
    NODE_ID,
    PARENT,
    POSITION,
    SOURCE,
    SQUARES,
    START,
    UPPER_BOUND,
    WEIGHT,
    WEIGHT_LEFT,
    WEIGHT_RIGHT,
    add_node,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.team import barrier, stop_requested, take_next

# Entries of a waiting node: the first of NodeState, in the same order.
STACK_INTS = SOURCE + 1
STACK_FLOATS = SQUARES + 1


# Entries of Stack.task_draws: numbers of a subtree's first node and of the first behind it, and random states there.
FIRST_ID, LAST_ID, FIRST_STATE, LAST_STATE = 0, 1, 2, 3
# What stands for the number of nodes if a subtree differs from what was foretold.
FORETOLD_WRONGLY = 1 << 62


class Stack(NamedTuple):
    """Nodes that wait for their turn; one is needed for each thread."""

    ints: np.ndarray  # (n_threads, capacity, STACK_INTS) int64
    floats: np.ndarray  # (n_threads, capacity, STACK_FLOATS) float64
    task_ints: np.ndarray  # (n_tasks, STACK_INTS) int64: roots of subtrees that were put off
    task_floats: np.ndarray  # (n_tasks, STACK_FLOATS) float64
    task_features: np.ndarray  # (n_tasks, n_features) int64: the permutation that their draws begin with
    task_draws: np.ndarray  # (n_tasks, 4) int64: FIRST_ID, LAST_ID, FIRST_STATE, LAST_STATE


@jit(internal=True)
def _load(ints, floats, node):
    for i in range(STACK_INTS):
        node.ints[i] = ints[i]
    for i in range(STACK_FLOATS):
        node.floats[i] = floats[i]


@jit(internal=True)
def _push_root(ints, floats, n_samples):
    for i in range(STACK_INTS):
        ints[i] = 0
    ints[END] = n_samples
    ints[PARENT] = NO_PARENT
    floats[IMPURITY] = np.inf
    floats[LOWER_BOUND] = -np.inf
    floats[UPPER_BOUND] = np.inf


@jit(internal=True)
def _push_child(ints, floats, node, is_left):
    """Store a child of the node that has just been split."""
    ints[START] = node.ints[START] if is_left else node.ints[POSITION]
    ints[END] = node.ints[POSITION] if is_left else node.ints[END]
    ints[DEPTH] = node.ints[DEPTH] + 1
    ints[PARENT] = node.ints[NODE_ID]
    ints[IS_LEFT] = is_left
    ints[N_CONSTANTS] = node.ints[N_CONSTANTS]
    ints[SOURCE] = node.ints[FEATURE]
    floats[IMPURITY] = node.floats[IMPURITY_LEFT if is_left else IMPURITY_RIGHT]
    floats[LOWER_BOUND] = node.floats[LOWER_BOUND]
    floats[UPPER_BOUND] = node.floats[UPPER_BOUND]
    sums = WEIGHT_LEFT if is_left else WEIGHT_RIGHT
    for i in range(SQUARES - WEIGHT + 1):
        floats[WEIGHT + i] = node.floats[sums + i]


@jit(internal=True)
def bound_child(floats, node, is_left, monotonic_cst):
    """Narrow the bounds of a child's value where the split is on a constrained feature.

    With an increasing constraint the left child's value may not exceed the middle between the children's values, and
    the right child's may not fall below it; with a decreasing one the other way round.
    """
    if len(monotonic_cst) == 0:
        return
    constraint = monotonic_cst[node.ints[FEATURE]]
    if constraint == 0:
        return
    if (constraint > 0) == is_left:
        floats[UPPER_BOUND] = node.floats[MIDDLE_VALUE]
    else:
        floats[LOWER_BOUND] = node.floats[MIDDLE_VALUE]


@jit(inline=True, internal=True)
def must_be_leaf(node, limits):
    """Tell whether the limits end the tree at this node before a split is looked for."""
    n_samples = node.ints[END] - node.ints[START]
    return (
        node.ints[DEPTH] >= limits.max_depth
        or n_samples < limits.min_samples_split
        or n_samples < 2 * limits.min_samples_leaf
        or node.floats[WEIGHT] < 2 * limits.min_weight_leaf
        or node.floats[IMPURITY] <= IMPURITY_EPSILON
    )


@jit(inline=True, internal=True)
def split_is_too_poor(node, limits):
    """Tell whether no split was found, or one that improves too little."""
    return (
        node.ints[POSITION] >= node.ints[END]
        or node.floats[IMPROVEMENT] + IMPURITY_EPSILON < limits.min_impurity_decrease
    )


@jit(inline=True, internal=True)
def _ends_as_foretold(stack, task, node_id, draw):
    draws = stack.task_draws
    return draws[task, LAST_ID] == node_id and draws[task, LAST_STATE] == draw.random_state[0]


@jit(internal=True)
def _store_task(stack, task, node, n_nodes, draw):
    """Put off a subtree, with the state of the draws in which it begins."""
    for i in range(STACK_INTS):
        stack.task_ints[task, i] = node.ints[i]
    for i in range(STACK_FLOATS):
        stack.task_floats[task, i] = node.floats[i]
    for feature in range(len(draw.features)):
        stack.task_features[task, feature] = draw.features[feature]
    stack.task_draws[task, FIRST_ID] = node.ints[NODE_ID]
    stack.task_draws[task, LAST_ID] = node.ints[NODE_ID] + n_nodes
    stack.task_draws[task, FIRST_STATE] = draw.random_state[0]


@jit(internal=True)
def _load_task(stack, task, ints, floats, draw):
    """Make a subtree that was put off the only node that waits; return the number of its root."""
    for i in range(STACK_INTS):
        ints[i] = stack.task_ints[task, i]
    for i in range(STACK_FLOATS):
        floats[i] = stack.task_floats[task, i]
    for feature in range(len(draw.features)):
        draw.features[feature] = stack.task_features[task, feature]
    draw.random_state[0] = stack.task_draws[task, FIRST_STATE]
    return stack.task_draws[task, FIRST_ID]


@jit(inline=True, internal=True)
def _foretell_nothing(problem, node):
    return 0


@jit(inline=True, internal=True)
def _go_alone(work, thread_idx):
    pass


ALONE = _foretell_nothing, _go_alone


def make_grow_depth_first(bind, begin_node, find_split, team=ALONE):
    """Return the kernel ``grow(control, thread_idx, n_threads, problem, scratch, stack, limits, table)``.

    Every member of a team runs it and takes the same decisions; how members share the search is the engine's affair.
    Only the first writes the table. Small subtrees that can be foretold, in their number of nodes and of draws, are put
    off to the end, and there each is grown by one member alone. Should a subtree turn out otherwise, N_NODES of the
    member that grew it is FORETOLD_WRONGLY, and the tree is to be grown again without foretelling.

    Parameters
    ----------
    bind : kernel
        ``bind(control, thread_idx, n_threads, problem, scratch, limits)`` returns (work, node): the member's own
        scratch and its `NodeState`.
    begin_node : kernel
        ``begin_node(problem, work, node)`` sets the node's WEIGHT, the root's IMPURITY too, and stores its value.
    find_split : kernel
        ``find_split(problem, work, node, limits)`` finds the best split, orders the samples by it, and sets what
        NodeState holds of a split. False if the team was told to stop.
    team : tuple of kernels, default=ALONE
        For engines whose members share the work on a node: ``foretell(problem, node)`` returns the number of nodes of a
        subtree that is too small to share the work on, or 0 for others; each of its splits must try every feature and
        find none constant. ``go_alone(work, thread_idx)`` makes a member the only one that works on its nodes.
    """
    foretell, go_alone = team

    @jit
    def grow(control, thread_idx, n_threads, problem, scratch, stack, limits, table):
        work, node = bind(control, thread_idx, n_threads, problem, scratch, limits)
        ints = stack.ints[thread_idx]
        floats = stack.floats[thread_idx]
        _push_root(ints[0], floats[0], problem.n_root_samples)
        node_id = 0
        n_waiting = 1
        n_tasks = 0
        task = np.int64(-1)
        while n_waiting > 0:
            if stop_requested(control):
                return
            n_waiting -= 1
            _load(ints[n_waiting], floats[n_waiting], node)
            node.ints[NODE_ID] = node_id
            n_foretold = foretell(problem, node) if n_threads > 1 and task < 0 else 0
            is_leaf = True
            if n_foretold > 0:
                if thread_idx == 0:
                    _store_task(stack, n_tasks, node, n_foretold, work.draw)
                skip_draws(work.draw, n_foretold // 2)
                if thread_idx == 0:
                    stack.task_draws[n_tasks, LAST_STATE] = work.draw.random_state[0]
                n_tasks += 1
                node_id += n_foretold
            else:
                node_id += 1
                begin_node(problem, work, node)
                is_leaf = must_be_leaf(node, limits)
                if not is_leaf:
                    if not find_split(problem, work, node, limits):
                        return
                    is_leaf = split_is_too_poor(node, limits)
                if thread_idx == 0 or task >= 0:
                    add_node(table, node, is_leaf, thread_idx)
            if not is_leaf:
                for is_left in range(2):
                    _push_child(ints[n_waiting], floats[n_waiting], node, is_left)
                    bound_child(floats[n_waiting], node, is_left == 1, limits.monotonic_cst)
                    n_waiting += 1
            elif n_waiting == 0 and n_tasks > 0:
                if task < 0 and not barrier(control, n_threads):
                    return
                if task >= 0 and not _ends_as_foretold(stack, task, node_id, work.draw):
                    table.count[thread_idx, N_NODES] = FORETOLD_WRONGLY
                    return
                go_alone(work, thread_idx)
                task = take_next(control, 0)
                if task < n_tasks:
                    node_id = _load_task(stack, task, ints[0], floats[0], work.draw)
                    n_waiting = 1

    return grow
