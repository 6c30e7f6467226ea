"""Sums over boosted trees of at most three levels, for many rows."""

import numpy as np

from fastfit.kernels.complete_trees import N_LEAVES, N_QUESTIONS, CompleteTrees, sweep_complete
from fastfit.kernels.tree_node import LEFT_CHILD, NODE_FIELDS, RIGHT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team, threads_for

__all__ = ["MAX_DEPTH", "add_complete_trees", "complete_trees"]

MAX_DEPTH = 3
# Bytes of the columns of a chunk, which are to stay in the nearer caches, and bounds of its rows.
CHUNK_BYTES = 1 << 16
MIN_CHUNK, MAX_CHUNK = 64, 512
# Nanoseconds, roughly: a tree and row, and a value that is read.
TREE_WORK, VALUE_WORK = 0.7, 0.5
LONG_WORK = 200_000_000


def complete_trees(node_tables, values):
    """Fill trees up to three levels.

    Parameters
    ----------
    node_tables : sequence of ndarray of shape (n_nodes,), one a tree
        scikit-learn's structured nodes, or the same memory as (n_nodes, 8) int64; no tree is deeper than `MAX_DEPTH`.
    values : sequence of ndarray of shape (n_nodes, 1, 1), float64, one a tree

    Returns
    -------
    trees : CompleteTrees

    Raises
    ------
    ValueError
        If a tree is deeper.
    """
    tables = [as_readonly(table).view(np.int64).reshape(-1, NODE_FIELDS) for table in node_tables]
    starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
    ints = np.concatenate(tables)
    floats = ints.view(np.float64)
    own = np.empty((len(tables), N_QUESTIONS + N_LEAVES), np.int64)
    own[:, 0] = starts
    for k in range(N_QUESTIONS):
        node = own[:, k]
        is_leaf = ints[node, LEFT_CHILD] < 0
        own[:, 2 * k + 1] = np.where(is_leaf, node, starts + ints[node, LEFT_CHILD])
        own[:, 2 * k + 2] = np.where(is_leaf, node, starts + ints[node, RIGHT_CHILD])
    if (ints[own[:, N_QUESTIONS:], LEFT_CHILD] >= 0).any():
        raise ValueError(f"A tree has more than {MAX_DEPTH} levels of splits.")
    questions = own[:, :N_QUESTIONS]
    is_leaf = ints[questions, LEFT_CHILD] < 0
    thresholds = floats[questions, SPLIT_THRESHOLD]
    # A float32 exceeds the threshold if it exceeds the greatest float32 that does not.
    rounded = thresholds.astype(np.float32)
    rounded = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    features = np.where(is_leaf, ints[starts, SPLIT_FEATURE][:, np.newaxis], ints[questions, SPLIT_FEATURE])
    # A tree that is a leaf asks for no column, but has to name one.
    used, columns = np.unique(np.maximum(features, 0), return_inverse=True)
    return CompleteTrees(
        as_readonly(used.astype(np.int64)),
        as_readonly(columns.reshape(questions.shape).astype(np.int64)),
        as_readonly(np.where(is_leaf, np.float32(np.inf), rounded)),
        as_readonly(np.concatenate(values)[own[:, N_QUESTIONS:], 0, 0]),
    )


def add_complete_trees(trees, X, sums, *, n_jobs=None, n_threads=None):
    """Add the values of the leaves that each row of X reaches to sums, in place, tree after tree.

    Parameters
    ----------
    trees : CompleteTrees
    X : ndarray of shape (n_samples, n_features) of float32
        Without missing values.
    sums : ndarray of shape (n_samples,) of float64, C-contiguous
    n_jobs, n_threads
        As for :func:`fastfit.training.tree_prediction.predict_forest`. The result does not depend on them.

    Examples
    --------
    A stump that sends values up to 0.5 left, where the value is 1, and others right, where it is 3:

    >>> import numpy as np
    >>> from fastfit.training.complete_trees import add_complete_trees, complete_trees
    >>> nodes = np.array([[1, 2, 0, 0, 0, 4, 4, 0], [-1, -1, -2, 0, 0, 2, 2, 0], [-1, -1, -2, 0, 0, 2, 2, 0]])
    >>> nodes.view(np.float64)[0, 3] = 0.5
    >>> stump = complete_trees([nodes], [np.array([2.0, 1.0, 3.0]).reshape(3, 1, 1)])
    >>> sums = np.zeros(2)
    >>> add_complete_trees(stump, np.array([[0.5], [0.75]], dtype=np.float32), sums)
    >>> sums
    array([1., 3.])
    """
    if not (X.flags.c_contiguous or X.flags.f_contiguous):
        X = np.ascontiguousarray(X)
    n_used = len(trees.used)
    n_chunk = min(max(CHUNK_BYTES // (4 * n_used) // MIN_CHUNK * MIN_CHUNK, MIN_CHUNK), MAX_CHUNK)
    work = len(X) * (TREE_WORK * len(trees.columns) + VALUE_WORK * n_used)
    if n_threads is None:
        n_threads = threads_for(work, n_jobs)
    is_by_rows = X.flags.c_contiguous
    run_team(
        sweep_complete,
        n_threads,
        as_readonly((X if is_by_rows else X.T).reshape(-1)),
        (len(X), X.shape[1], 1) if is_by_rows else (len(X), 1, len(X)),
        trees,
        n_chunk,
        np.zeros((n_threads, n_used * n_chunk), np.float32),
        np.zeros((n_threads, n_chunk)),
        sums,
        may_be_long=work > LONG_WORK,
    )
