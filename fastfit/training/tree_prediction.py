"""Apply trees and forests to data: a flat form of their nodes, made once, and walks of many rows at a time."""

import math

import numpy as np

from fastfit.kernels.traversal import (
    FIRST_NODE,
    FIRST_STEPS,
    LANES,
    N_SLOTS,
    N_STEPS,
    N_VALUES,
    NEXT_STEPS,
    SEEN_SIZE,
    TREE_FACTS,
    PackedForest,
    WalkPlan,
    copy_rows,
    pack_tree,
    walk_forest,
)
from fastfit.kernels.tree_node import N_NODE_SAMPLES, NODE_FIELDS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import CONTROL_SIZE, run_team, threads_for
from fastfit.training.category_prediction import pack_categories, walk_with_categories

# Of the rows that are walked down one tree after another. They need not stay in the second cache, since they pass
# through it in order; but nodes are read in random order, and the fewer the rows the dearer the first time.
BLOCK_BYTES = 1 << 20
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 2048, 16384
BLOCKS_PER_THREAD = 4  # at least, so that threads finish at about the same time
CHUNK_BYTES = 1 << 14  # of rows, which stay in the first cache while they walk down a tree
MIN_CHUNK_ROWS, MAX_CHUNK_ROWS = 32, 256
PASS_MARGIN = 4  # gathering walks anew costs about as much as so many steps

ROWS_AT_A_TIME = 1 << 16  # that are copied before they are walked

# Nanoseconds, roughly: a step, and the beginning and end of a walk.
STEP_WORK, WALK_WORK = 0.8, 4.0
SMALL_WORK = 100_000  # below, a call need not count in the budget of threads
LONG_WORK = 200_000_000  # from there on Ctrl-C must be heard

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_NO_LEAVES = np.empty(0, dtype=np.int64)
_NO_SUMS = np.empty(0)


class FlatForest:
    """The nodes of one or more trees, packed for prediction. Made by :func:`flatten_forest`; do not change it.

    Attributes
    ----------
    n_trees, n_features, n_outputs, n_classes : int
        `n_classes` is the greatest number of classes of an output, 1 for regression.
    n_nodes : ndarray of shape (n_trees,)
        Number of nodes of each tree.
    packed : PackedForest
        For sums of values.
    node_ids : ndarray of shape (n_slots,)
        The numbers of the packed nodes in their trees.
    column_bits : int
        Number of bits of a node that hold its column.
    row_work : float
        Nanoseconds, roughly, that one row takes.
    categories : CategoryForest or None
        Of trees that split by categories.
    """

    __slots__ = (
        "categories",
        "column_bits",
        "n_classes",
        "n_features",
        "n_nodes",
        "n_outputs",
        "n_trees",
        "node_ids",
        "packed",
        "row_work",
    )

    @property
    def nbytes(self):
        """Number of bytes of the packed arrays."""
        return self.node_ids.nbytes + sum(array.nbytes for array in self.packed)


def flatten_forest(node_tables, values, n_features, n_categories=None, category_sets=None):
    """Pack trees for prediction, in 16 to 20 bytes a node instead of 64 and its values.

    Parameters
    ----------
    node_tables : sequence of ndarray of shape (n_nodes,), one a tree
        scikit-learn's structured nodes, ``tree_.__getstate__()["nodes"]``, or the same memory as
        (n_nodes, 8) int64. Parents come before their children.
    values : sequence of ndarray of shape (n_nodes, n_outputs, n_classes), float64, one a tree
        ``tree_.__getstate__()["values"]``. They are copied.
    n_features : int
        Number of columns of the data to predict for.
    n_categories : ndarray of shape (n_features,), or None
        Number of categories of each column, 0 of numbers; None: all are numbers. Categories are 0, 1, …; whatever else
        a row has there is missing.
    category_sets : sequence of CategorySets or None, one a tree
        None where no node is split by categories. Only with ``n_categories``.

    Returns
    -------
    FlatForest

    Raises
    ------
    ValueError
        If a child has a lower number than its parent, a feature is not below `n_features`, or the nodes are
        otherwise not a tree.

    Notes
    -----
    Costs about 10 ns a node. For one tree and few rows scikit-learn's own ``tree_.apply`` is sooner done.

    Examples
    --------
    A stump that sends values up to 0.5 left, where the mean is 1, and others right, where it is 3:

    >>> import numpy as np
    >>> from fastfit.training.tree_prediction import flatten_forest, predict_forest
    >>> nodes = np.array([[1, 2, 0, 0, 0, 4, 4, 0], [-1, -1, -2, 0, 0, 2, 2, 0], [-1, -1, -2, 0, 0, 2, 2, 0]])
    >>> nodes.view(np.float64)[0, 3] = 0.5
    >>> stump = flatten_forest([nodes], [np.array([2.0, 1.0, 3.0]).reshape(3, 1, 1)], n_features=1)
    >>> predict_forest(stump, np.array([[0.5], [0.75]])).ravel()
    array([1., 3.])
    """
    tables = [as_readonly(table).view(np.int64).reshape(-1, NODE_FIELDS) for table in node_tables]
    n_nodes = np.array([len(table) for table in tables])
    n_outputs, n_classes = values[0].shape[1:]
    column_bits = (n_features - 1).bit_length()
    is_small = (int(n_nodes.max()) + 1) << (column_bits + 2) <= 1 << 32
    n_slots = int(n_nodes.sum()) + len(tables)
    n_parts = n_outputs * n_classes
    nodes = np.empty(2 * n_slots, dtype=np.uint32 if is_small else np.uint64)
    node_ids, value_idx = np.zeros((2, n_slots), dtype=np.int32)
    leaf_values = np.empty((n_slots // 2, n_parts))
    trees = np.zeros((len(tables), TREE_FACTS), dtype=np.int64)
    seen = np.zeros(SEEN_SIZE, dtype=np.int64)
    counts = np.zeros(2, dtype=np.int64)
    slots = np.empty((2, n_nodes.max()), dtype=np.int32)
    n_steps = 0.0
    start = 0
    for facts, table, tree_values in zip(trees, tables, values, strict=True):
        end = start + len(table) + 1
        depth = pack_tree(
            table,
            table.view(np.float64),
            as_readonly(tree_values).view(np.uint64).reshape(len(table), n_parts),
            n_features,
            column_bits,
            seen,
            counts,
            slots,
            nodes[2 * start : 2 * end],
            node_ids[start:end],
            value_idx[start:end],
            leaf_values.view(np.uint64),
        )
        if depth < 0:
            raise ValueError("The nodes are not a tree whose parents come before their children.")
        mean_depth = counts[N_STEPS] / max(table[0, N_NODE_SAMPLES], 1)
        facts[FIRST_NODE], facts[N_SLOTS] = start, end - start
        facts[FIRST_STEPS], facts[NEXT_STEPS] = _pass_steps(depth, mean_depth)
        n_steps += mean_depth
        start = end
    leaf_values = leaf_values[: counts[N_VALUES]].reshape(-1)
    if 2 * counts[N_VALUES] < n_slots // 2:
        leaf_values = leaf_values.copy()
    flat = FlatForest()
    flat.n_trees, flat.n_nodes, flat.n_features = len(tables), n_nodes, n_features
    flat.n_outputs, flat.n_classes = n_outputs, n_classes
    flat.column_bits = column_bits
    flat.row_work = STEP_WORK * n_steps + WALK_WORK * len(tables)
    flat.packed = PackedForest(nodes, value_idx, leaf_values, trees)
    flat.node_ids = node_ids
    flat.categories = None
    if n_categories is not None:
        flat.categories = pack_categories(flat, n_categories, category_sets)
    return flat


def _pass_steps(max_depth, mean_depth):
    """Return how many steps rows take before those that have not arrived are gathered: at first, and then, or 0."""
    if max_depth <= mean_depth + PASS_MARGIN:
        return max_depth, 0
    first = max(round(mean_depth), 1)
    return first, max(2, -(-(max_depth - first) // PASS_MARGIN))


def predict_forest(flat, X, *, mean=False, n_jobs=None, n_threads=None):
    """Sum the values of the leaves that each row of X reaches, over the trees in their order.

    Parameters
    ----------
    flat : FlatForest
    X : ndarray of shape (n_samples, n_features), float32 or float64
        In any memory order; may be read-only. C-contiguous float32 without missing values is used as it is,
        anything else is copied, some rows at a time. Of float64 the values rounded to float32 count. NaN goes
        where the tree sends missing values.
    mean : bool, default=False
        Divide the sums by the number of trees.
    n_jobs : int or None, default=None
        As for `fastfit.runtime.threads.threads_for`; small work stays on one thread.
    n_threads : int or None, default=None
        Exact number of threads, instead of `n_jobs`. The result does not depend on it.

    Returns
    -------
    out : ndarray of shape (n_samples, n_outputs, n_classes), float64, C-contiguous
        For one tree without `mean` the values themselves. Bit-equal to scikit-learn's with n_jobs=1.

    Raises
    ------
    ValueError
        If X has another shape or dtype.
    """
    shape = len(X), flat.n_outputs, flat.n_classes
    # The value of a single tree is what -0.0 + value is, even for -0.0; scikit-learn's sums begin with 0.0.
    out = np.zeros(shape) if mean or flat.n_trees > 1 else np.full(shape, -0.0)
    _walk(flat, X, (0, flat.n_trees), out.reshape(-1), None, n_jobs, n_threads)
    if mean:
        out /= flat.n_trees
    return out


def add_forest(flat, X, sums, *, trees=None, n_jobs=None, n_threads=None):
    """Add the values of the leaves that each row of X reaches to sums, in place, tree after tree.

    Parameters
    ----------
    flat, X, n_jobs, n_threads
        As for :func:`predict_forest`.
    sums : ndarray of shape (n_samples * n_outputs * n_classes,), float64, C-contiguous
    trees : (int, int) or None, default=None
        The first of the trees that count, and the one behind the last; None: all.
    """
    _walk(flat, X, (0, flat.n_trees) if trees is None else trees, sums, None, n_jobs, n_threads)


def apply_forest(flat, X, *, n_jobs=None, n_threads=None):
    """Return the leaf that each row of X reaches in each tree, in the tree's own numbering.

    Parameters
    ----------
    flat, X, n_jobs, n_threads
        As for :func:`predict_forest`.

    Returns
    -------
    leaves : ndarray of shape (n_samples, n_trees), int64, F-contiguous (as scikit-learn's)
    """
    leaves = np.empty((flat.n_trees, len(X)), dtype=np.int64)
    _walk(flat, X, (0, flat.n_trees), None, leaves.reshape(-1), n_jobs, n_threads)
    return leaves.T


def predict_tree_rows(flat, tree_idx, X, rows, out, *, n_jobs=None, n_threads=None):
    """Add the values that some rows of X get from one tree to those rows of `out`: ``out[rows] += …``.

    For out-of-bag estimates: one call a tree, with the rows that it was not trained on.

    Parameters
    ----------
    flat, X, n_jobs, n_threads
        As for :func:`predict_forest`.
    tree_idx : int
    rows : ndarray of shape (n_rows,), integer
        Distinct row numbers.
    out : ndarray of shape (n_samples, n_outputs, n_classes), float64
        Changed in place.
    """
    values = np.full((len(rows), *out.shape[1:]), -0.0)
    trees = tree_idx, tree_idx + 1
    _walk(flat, X.take(rows, axis=0), trees, values.reshape(-1), None, n_jobs, n_threads)
    out[rows] += values


def _walk(flat, X, trees, sums, leaves, n_jobs, n_threads):
    """Add to the sums, or else find the leaves, of the trees from one to another; copy X as far as necessary."""
    if X.ndim != 2 or X.shape[1] != flat.n_features or X.dtype not in _DTYPES:
        raise ValueError(
            f"Expected float32 or float64 X with {flat.n_features} columns, got {X.dtype} of shape {X.shape}."
        )
    if not 0 <= trees[0] <= trees[1] <= flat.n_trees:
        raise ValueError(
            f"Expected some of the {flat.n_trees} trees, got those from {trees[0]} to {trees[1]}."
        )
    n_rows, n_features = X.shape
    if n_rows == 0:
        return
    values, row_stride, column_stride = _as_vector(X)
    if flat.categories is not None:
        strides = row_stride, column_stride
        walk_with_categories(flat, values, strides, n_rows, trees, sums, leaves, n_jobs, n_threads)
        return
    has_missing = math.isnan(np.minimum.reduce(values))
    work = n_rows * flat.row_work * (trees[1] - trees[0]) / flat.n_trees
    if n_threads is None:
        n_threads = 1 if work < SMALL_WORK else threads_for(work, n_jobs)
    if column_stride == 1 and not has_missing:
        _walk_data(flat, values, n_rows, trees, sums, leaves, n_rows, n_threads)
        return
    second = (1 << flat.column_bits) if has_missing else 0
    n_parts = 0 if sums is None else len(sums) // n_rows
    for first in range(0, n_rows, ROWS_AT_A_TIME):
        copies = np.empty((min(ROWS_AT_A_TIME, n_rows - first), second + n_features), dtype=np.float32)
        run_team(copy_rows, n_threads, values, row_stride, column_stride, first, n_features, second, copies)
        own_sums = None if sums is None else sums[first * n_parts : (first + len(copies)) * n_parts]
        own_leaves = None if leaves is None else leaves[first:]
        data = as_readonly(copies.reshape(-1))
        _walk_data(flat, data, len(copies), trees, own_sums, own_leaves, n_rows, n_threads)


def _walk_data(flat, data, n_rows, trees, sums, leaves, leaf_stride, n_threads):
    """Run the kernel for rows that lie as it wants them; if they are twice as wide, values are missing."""
    stride = len(data) // n_rows
    n_trees = trees[1] - trees[0]
    block_rows, chunk_rows = _block_shape(n_rows, stride, n_threads)
    plan = WalkPlan(
        n_rows,
        stride,
        block_rows,
        chunk_rows,
        *trees,
        flat.column_bits + 2,
        (1 << (flat.column_bits + (stride > flat.n_features))) - 1,
        0 if sums is None else flat.n_outputs * flat.n_classes,
        leaf_stride,
    )
    packed = flat.packed if leaves is None else flat.packed._replace(targets=flat.node_ids)
    out = (_NO_SUMS if sums is None else sums, _NO_LEAVES if leaves is None else leaves)
    walks = np.empty((2, n_threads, chunk_rows + int(LANES)), dtype=np.uint32)
    work = n_rows * flat.row_work * n_trees / flat.n_trees
    if work < SMALL_WORK and n_threads == 1:
        walk_forest(np.zeros(CONTROL_SIZE, dtype=np.int64), 0, 1, data, plan, packed, walks, *out)
    else:
        run_team(walk_forest, n_threads, data, plan, packed, walks, *out, may_be_long=work > LONG_WORK)


def _as_vector(X):
    """Return float32 X as a read-only vector, and how far apart in it rows are, and columns."""
    if X.dtype != np.float32:
        with np.errstate(over="ignore"):
            X = X.astype(np.float32)
    if X.flags.c_contiguous:
        return as_readonly(X.reshape(-1)), X.shape[1], 1
    if X.flags.f_contiguous:
        return as_readonly(X.T.reshape(-1)), 1, X.shape[0]
    return as_readonly(np.ascontiguousarray(X).reshape(-1)), X.shape[1], 1


def _block_shape(n_rows, n_features, n_threads):
    """Return the number of rows that a thread takes at a time, and of those that walk down a tree at a time."""
    row_bytes = 4 * n_features
    chunk_rows = min(max(CHUNK_BYTES // row_bytes, MIN_CHUNK_ROWS), MAX_CHUNK_ROWS, n_rows)
    block_rows = min(max(BLOCK_BYTES // row_bytes, MIN_BLOCK_ROWS), MAX_BLOCK_ROWS, n_rows)
    if n_threads > 1:
        block_rows = min(block_rows, max(chunk_rows, -(-n_rows // (BLOCKS_PER_THREAD * n_threads))))
    return block_rows, chunk_rows
