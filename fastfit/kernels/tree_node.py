"""Where the facts of a tree's nodes stand: in the finished tree, and in the one that is being split.

A node of the finished tree is eight numbers of eight bytes, laid out as scikit-learn's ``Node`` is, so that the table
becomes the state of a ``sklearn.tree._tree.Tree`` without a conversion. Integers and floats share the memory.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import jit

# Columns of NodeTable.ints and NodeTable.floats.
LEFT_CHILD, RIGHT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD = 0, 1, 2, 3
NODE_IMPURITY, N_NODE_SAMPLES, NODE_WEIGHT, MISSING_GO_LEFT = 4, 5, 6, 7
NODE_FIELDS = 8
# Entries of NodeTable.count of each thread.
N_NODES, DEEPEST = 0, 1

NO_PARENT = -2
LEAF_CHILD = -1
LEAF_FEATURE = -2

# Entries of NodeState.ints: what the node is (SOURCE: the feature that its parent was split on) ...
START, END, DEPTH, PARENT, IS_LEFT, NODE_ID, N_CONSTANTS, SOURCE = 0, 1, 2, 3, 4, 5, 6, 7
# ... and how it is split. POSITION == END says that no split was found; LEFT_BIT and SPLIT_COLUMN
# (the column whose range is ordered by the split) are the engines' own.
FEATURE, POSITION, MISSING_LEFT, LEFT_BIT, SPLIT_COLUMN = 8, 9, 10, 11, 12
NODE_INTS = 16
# Entries of NodeState.floats: what the node is; SUM and SQUARES are for engines that know its sums before it is begun,
# weighted sums of y and of y * y ...
IMPURITY, LOWER_BOUND, UPPER_BOUND, WEIGHT, SUM, SQUARES = 0, 1, 2, 3, 4, 5
# ... and how it is split.
PROXY, THRESHOLD, IMPROVEMENT, IMPURITY_LEFT, IMPURITY_RIGHT, MIDDLE_VALUE = 8, 9, 10, 11, 12, 13
WEIGHT_LEFT, SUM_LEFT, SQUARES_LEFT, WEIGHT_RIGHT, SUM_RIGHT, SQUARES_RIGHT = 14, 15, 16, 17, 18, 19
NODE_FLOATS = 20

# Impurities up to this are zero but for rounding; scikit-learn's trees use the same bound.
IMPURITY_EPSILON = float(np.finfo(np.float64).eps)


class NodeTable(NamedTuple):
    """The nodes of one finished tree."""

    ints: np.ndarray  # (capacity, NODE_FIELDS) int64
    floats: np.ndarray  # (capacity, NODE_FIELDS) float64, the same memory
    count: (
        np.ndarray
    )  # (n_threads, 2) int64: nodes up to the last one that a thread has written, and its deepest


class NodeState(NamedTuple):
    """The node that is being split, with START and END in the order of the samples, and its split."""

    ints: np.ndarray  # (NODE_INTS,) int64
    floats: np.ndarray  # (NODE_FLOATS,) float64


class GrowthLimits(NamedTuple):
    """What bounds a tree; numbers are of scikit-learn's hyperparameters, resolved to counts and weights."""

    max_depth: int
    min_samples_split: int
    min_samples_leaf: int
    min_weight_leaf: float
    min_impurity_decrease: float
    max_leaf_nodes: int  # -1: grown depth first, without a bound
    max_features: int
    weighted_n_samples: float
    monotonic_cst: np.ndarray  # (n_features,) int8, or (0,) without constraints


@jit(inline=True, internal=True)
def add_node(table, node, is_leaf, thread_idx):
    """Write the node to the table, and make it known to its parent."""
    node_id = node.ints[NODE_ID]
    parent = node.ints[PARENT]
    if parent != NO_PARENT:
        table.ints[parent, LEFT_CHILD if node.ints[IS_LEFT] else RIGHT_CHILD] = node_id
    table.floats[node_id, NODE_IMPURITY] = node.floats[IMPURITY]
    table.ints[node_id, N_NODE_SAMPLES] = node.ints[END] - node.ints[START]
    table.floats[node_id, NODE_WEIGHT] = node.floats[WEIGHT]
    if is_leaf:
        table.ints[node_id, LEFT_CHILD] = LEAF_CHILD
        table.ints[node_id, RIGHT_CHILD] = LEAF_CHILD
        table.ints[node_id, SPLIT_FEATURE] = LEAF_FEATURE
        table.floats[node_id, SPLIT_THRESHOLD] = LEAF_FEATURE
        table.ints[node_id, MISSING_GO_LEFT] = 0
    else:
        table.ints[node_id, SPLIT_FEATURE] = node.ints[FEATURE]
        table.floats[node_id, SPLIT_THRESHOLD] = node.floats[THRESHOLD]
        table.ints[node_id, MISSING_GO_LEFT] = node.ints[MISSING_LEFT]
    table.count[thread_idx, N_NODES] = node_id + 1
    if node.ints[DEPTH] > table.count[thread_idx, DEEPEST]:
        table.count[thread_idx, DEEPEST] = node.ints[DEPTH]


@jit(inline=True, internal=True)
def set_improvement(node, limits, weight_left, weight_right):
    """Set the improvement of a split: how much it lowers the impurity, weighted by the node's share of all samples."""
    weight = node.floats[WEIGHT]
    node.floats[IMPROVEMENT] = (weight / limits.weighted_n_samples) * (
        node.floats[IMPURITY]
        - (weight_right / weight * node.floats[IMPURITY_RIGHT])
        - (weight_left / weight * node.floats[IMPURITY_LEFT])
    )


@jit(inline=True, internal=True)
def may_be_split(n_samples, impurity, limits):
    """Tell whether a child is large and impure enough to be split in its turn."""
    return (
        n_samples >= limits.min_samples_split
        and n_samples >= 2 * limits.min_samples_leaf
        and impurity > IMPURITY_EPSILON
    )
