"""What both splitters of the general engine share: the start of a node, the end of its split, and the constraints."""

from typing import Any, NamedTuple

from fastfit.kernels.general_block import enter_block
from fastfit.kernels.tree_node import (
    END,
    IMPROVEMENT,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    LOWER_BOUND,
    MIDDLE_VALUE,
    NO_PARENT,
    NODE_ID,
    PARENT,
    POSITION,
    START,
    UPPER_BOUND,
    WEIGHT,
)
from fastfit.runtime.compile import jit


class Criterion(NamedTuple):
    """The kernels of a criterion.

    They deal with a split of the samples [start, end) of a node, whose first samples up to ``position`` go left. Its
    ``state`` is a tuple of float64, of which the first is the weight of the left child; what does not fit is in
    ``work.sums``. Impurities and values are pairs, of the left and of the right child.
    """

    measure: Any  # (problem, work, start, end) -> weight of the node, whose sums it makes
    store_value: Any  # (problem, work, value (n_outputs, max_n_classes), weight)
    begin: Any  # (problem, work) -> state of position = start, where nothing is walked
    # (problem, work, start, end) -> state of position = start. Samples are in the order of a feature.
    begin_walk: Any
    # (problem, work, end, position, next_position, weight, state) -> state of next_position
    advance: Any
    # (problem, work, start, end, position, weight) -> state of position, for samples in any order
    split_at: Any
    # (problem, work, weight, state, best) -> False if proxy is certainly below best; to save the time of computing it
    may_exceed: Any
    proxy: Any  # (problem, work, start, position, weight, state) -> number that is greater for better splits
    impurities: Any  # (problem, work, start, end, position, weight, state) -> impurities
    child_values: Any  # (problem, work, start, position, weight, state) -> values of the first output
    # Whether the value depends on the order of the samples, so that it is stored again after the search for a split.
    value_depends_on_order: bool


@jit(inline=True, internal=True)
def bind(control, thread_idx, n_threads, problem, scratch, limits):
    """Return the scratch and its node: one member works alone."""
    return scratch, scratch.node


@jit(inline=True, internal=True)
def is_monotone(node, constraint, left, right):
    """Tell whether the values of two children are within the node's bounds and in the order of the constraint."""
    lower, upper = node.floats[LOWER_BOUND], node.floats[UPPER_BOUND]
    return (
        left >= lower
        and right >= lower
        and left <= upper
        and right <= upper
        and (left - right) * constraint <= 0
    )


def make_node_kernels(criterion):
    """Return the kernels ``begin_node(problem, work, node)`` and ``end_search(problem, work, node, limits)``.

    The first is the engine's; the second computes what NodeState holds of a split, after the samples were ordered by
    it.
    """
    measure, store_value = criterion.measure, criterion.store_value
    begin, split_at = criterion.begin, criterion.split_at
    impurities, child_values = criterion.impurities, criterion.child_values
    value_depends_on_order = criterion.value_depends_on_order

    @jit(inline=True, internal=True)
    def store_bounded_value(problem, work, node):
        value = problem.values[node.ints[NODE_ID]]
        store_value(problem, work, value, node.floats[WEIGHT])
        if problem.is_bounded:
            if value[0, 0] < node.floats[LOWER_BOUND]:
                value[0, 0] = node.floats[LOWER_BOUND]
            elif value[0, 0] > node.floats[UPPER_BOUND]:
                value[0, 0] = node.floats[UPPER_BOUND]
            if problem.n_classes[0] == 2:
                value[0, 1] = 1 - value[0, 0]

    @jit(inline=True, internal=True)
    def begin_node(problem, work, node):
        start, end = node.ints[START], node.ints[END]
        enter_block(problem, work, node)
        weight = measure(problem, work, start, end)
        node.floats[WEIGHT] = weight
        if node.ints[PARENT] == NO_PARENT:
            state = begin(problem, work)
            node.floats[IMPURITY] = impurities(problem, work, start, end, start, weight, state)[1]
        store_bounded_value(problem, work, node)

    @jit(inline=True, internal=True)
    def end_search(problem, work, node, limits):
        start, end, position = node.ints[START], node.ints[END], node.ints[POSITION]
        if position < end:
            weight = node.floats[WEIGHT]
            state = split_at(problem, work, start, end, position, weight)
            weight_left = state[0]
            weight_right = weight - weight_left
            left, right = impurities(problem, work, start, end, position, weight, state)
            node.floats[IMPURITY_LEFT] = left
            node.floats[IMPURITY_RIGHT] = right
            node.floats[IMPROVEMENT] = (weight / limits.weighted_n_samples) * (
                node.floats[IMPURITY] - (weight_right / weight * right) - (weight_left / weight * left)
            )
            if problem.is_bounded:
                left, right = child_values(problem, work, start, position, weight, state)
                node.floats[MIDDLE_VALUE] = left / 2 + right / 2
        if value_depends_on_order:
            store_bounded_value(problem, work, node)

    return begin_node, end_search
