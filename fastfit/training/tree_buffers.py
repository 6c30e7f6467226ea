"""Buffers that every engine for trees needs: the table of nodes, the nodes that wait, and the limits."""

import numpy as np

from fastfit.kernels.best_first import Frontier
from fastfit.kernels.depth_first import STACK_FLOATS, STACK_INTS, Stack
from fastfit.kernels.tree_node import (
    DEEPEST,
    N_NODES,
    NODE_FIELDS,
    NODE_FLOATS,
    NODE_INTS,
    GrowthLimits,
    NodeTable,
)

# Values of X from which a tree may take so long that a user may want to interrupt it.
LONG_X = 500_000

NO_CONSTRAINTS = np.empty(0, np.int8)


def growth_limits(options, weighted_n_samples):
    """Return a tree's limits in the form that kernels take."""
    return GrowthLimits(
        options.max_depth,
        options.min_samples_split,
        options.min_samples_leaf,
        options.min_weight_leaf,
        options.min_impurity_decrease,
        options.max_leaf_nodes,
        options.max_features,
        float(weighted_n_samples),
        NO_CONSTRAINTS if options.monotonic_cst is None else options.monotonic_cst,
    )


def node_capacity(options, n_samples):
    """Return how many nodes a tree can have at most."""
    capacity = 2 * n_samples - 1
    if options.max_depth < 40:
        capacity = min(capacity, 2 ** (options.max_depth + 1) - 1)
    if options.max_leaf_nodes > 0:
        capacity = min(capacity, 2 * options.max_leaf_nodes - 1)
    return capacity


def node_table(capacity, n_threads=1):
    """Return an empty table of nodes. Memory that no node is written to is never taken from the system."""
    nodes = np.empty((capacity, NODE_FIELDS), np.int64)
    return NodeTable(nodes, nodes.view(np.float64), np.zeros((n_threads, 2), np.int64))


def waiting_nodes(options, n_samples, n_threads, n_tasks=0, n_features=0):
    """Return the buffer of nodes that wait: a `Stack`, or a `Frontier` if the number of leaves is bounded.

    A stack has room for ``n_tasks`` subtrees that are put off.
    """
    if options.max_leaf_nodes > 0:
        capacity = min(options.max_leaf_nodes, n_samples) + 1
        return Frontier(
            np.empty((n_threads, capacity, NODE_INTS), np.int64),
            np.empty((n_threads, capacity, NODE_FLOATS)),
            np.empty((n_threads, capacity), np.int64),
        )
    capacity = min(options.max_depth, n_samples) + 2
    return Stack(
        np.empty((n_threads, capacity, STACK_INTS), np.int64),
        np.empty((n_threads, capacity, STACK_FLOATS)),
        np.empty((n_tasks, STACK_INTS), np.int64),
        np.empty((n_tasks, STACK_FLOATS)),
        np.empty((n_tasks, n_features), np.int64),
        np.empty((n_tasks, 4), np.int64),
    )


def grown_nodes(table, values):
    """Return the nodes and values that were written, and the depth. scikit-learn's ``Tree`` copies them."""
    n_nodes = table.count[:, N_NODES].max()
    return table.ints[:n_nodes], values[:n_nodes], int(table.count[:, DEEPEST].max())
