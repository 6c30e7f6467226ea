"""A whole round of boosting on a small table in one kernel: a call from Python takes as long as a small tree."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.boosting_leaves import order_by_leaf, sum_leaf
from fastfit.kernels.tree_node import LEFT_CHILD, N_NODES, RIGHT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD
from fastfit.runtime.compile import jit
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.team import stop_requested

# Kinds of steps beside those of boosting_leaves: leaves keep their means, or somebody else computes the steps.
KEEP_MEANS, LEAVE_TO_OTHERS = -1, -2
# Denominators that stand for zero.
TINY = 1e-150


class SmallRound(NamedTuple):
    """The state of a run, and the trees of one round."""

    y: np.ndarray  # (n_trees, n_samples) float64: for two or more classes 0 or 1
    gradient: np.ndarray  # (n_samples, n_trees) float64: of the loss, for this round
    raw: np.ndarray  # (n_samples, n_trees) float64: predictions, in and out
    weight: np.ndarray  # (n_samples,) float64: weights, 0 for samples that are not in the bag
    in_bag: np.ndarray  # (n_samples,) uint8, or (0,): all are
    seeds: np.ndarray  # (n_trees,) int64
    ints: np.ndarray  # (n_trees, capacity, NODE_FIELDS) int64, out
    floats: np.ndarray  # (n_trees, capacity, NODE_FIELDS) float64, the same memory
    counts: np.ndarray  # (n_trees, 1, 2) int64, out, as in NodeTable
    values: np.ndarray  # (n_trees, capacity, 1, 1) float64, out
    leaves: np.ndarray  # (n_trees, n_samples) int32, out
    starts: np.ndarray  # (capacity + 2,) int64, scratch
    leaf_rows: np.ndarray  # (n_samples,) int32, scratch
    neg_gradient: np.ndarray  # (n_samples,) float64, scratch
    products: np.ndarray  # (3, n_samples) float64, scratch
    sizes: np.ndarray  # (64,) int64, scratch
    sums: np.ndarray  # (2, 64) float64, scratch
    learning_rate: float
    kind: int
    factor: float  # what numerators of steps are multiplied by


_grow_small_tree = make_far_call()


@jit(internal=True)
def _set_target(table, work, k):
    for i in range(len(work.leaf_rows)):
        step = -work.gradient[i, k]
        work.neg_gradient[i] = step
        table.moments[i, 0] = work.weight[i]
        table.moments[i, 1] = work.weight[i] * step
        table.moments[i, 2] = step


@jit(internal=True)
def _find_leaves(table, work, k):
    for i in range(len(work.leaf_rows)):
        node = 0
        while work.ints[k, node, LEFT_CHILD] >= 0:
            x = table.X_t[work.ints[k, node, SPLIT_FEATURE], i]
            goes_left = x <= work.floats[k, node, SPLIT_THRESHOLD]
            node = work.ints[k, node, LEFT_CHILD if goes_left else RIGHT_CHILD]
        work.leaves[k, i] = node


@jit(internal=True)
def _take_steps(work, k, n_nodes):
    """Set the values of the leaves to Newton's steps."""
    starts = work.starts[: n_nodes + 2]
    order_by_leaf(work.leaves[k], work.in_bag, starts, work.leaf_rows)
    sums_out = work.sums[1]
    for node in range(n_nodes):
        if work.ints[k, node, LEFT_CHILD] < 0:
            sum_leaf(
                work.kind,
                starts[node],
                starts[node + 1] - starts[node],
                work.leaf_rows,
                work.y[k],
                work.neg_gradient,
                work.weight,
                work.products,
                work.sizes,
                work.sums[0],
                sums_out,
            )
            numerator = sums_out[1] / sums_out[0] * work.factor
            denominator = sums_out[2] / sums_out[0]
            work.values[k, node, 0, 0] = 0.0 if abs(denominator) < TINY else numerator / denominator


@jit
def small_round(
    control,
    thread_idx,
    n_threads,
    table,  # SmallTable
    work,  # SmallRound
    grow,  # address of grow_small_tree, which so is not optimised again with everything here
):
    """Grow the trees of a round, one for each column of the gradients, and add their steps to the predictions."""
    for k in range(len(work.seeds)):
        if stop_requested(control):
            return
        _set_target(table, work, k)
        of_tree = (table, work.seeds[k], work.ints[k], work.floats[k], work.values[k], work.counts[k])
        _grow_small_tree(grow, of_tree)
        n_nodes = work.counts[k, 0, N_NODES]
        _find_leaves(table, work, k)
        if work.kind >= 0:
            _take_steps(work, k, n_nodes)
        # All gradients were taken before the round.
        for i in range(len(work.leaf_rows) if work.kind >= KEEP_MEANS else 0):
            work.raw[i, k] += work.learning_rate * work.values[k, work.leaves[k, i], 0, 0]
