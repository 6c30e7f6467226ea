"""Apply trees that split by categories to data."""

import numpy as np

from fastfit.kernels.traversal import FIRST_NODE
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team, threads_for

# Of rows that walk at a time: their walks stay in the first cache.
CHUNK_ROWS = 256
# Nanoseconds for each that a walk of numbers alone takes.
WORK_FACTOR = 4.0
LONG_WORK = 200_000_000  # from there on Ctrl-C must be heard

_NO_LEAVES = np.empty(0, dtype=np.int64)
_NO_SUMS = np.empty(0)


def pack_categories(flat, n_categories, category_sets):
    """Let the nodes that are split by categories refer to their sets.

    Parameters
    ----------
    flat : FlatForest
        Changed in place: the second word of those nodes is where their set begins.
    n_categories : ndarray of shape (n_features,)
    category_sets : sequence of CategorySets or None, one a tree

    Returns
    -------
    CategoryForest
    """
    from fastfit.kernels.category_traversal import CategoryForest

    words = []
    n_words = 0
    second_words = flat.packed.nodes[1::2]
    for facts, n_nodes, sets in zip(flat.packed.trees, flat.n_nodes, category_sets, strict=True):
        if sets is None:
            continue
        # A tree has one slot more than nodes, which is the second.
        slots = facts[FIRST_NODE] + np.delete(np.arange(n_nodes + 1), 1)
        start = sets.start[flat.node_ids[slots]]
        is_by_category = start > 0
        second_words[slots[is_by_category]] = n_words + start[is_by_category]
        words.append(sets.words)
        n_words += len(sets.words)
    all_words = np.concatenate(words) if words else np.empty(0, np.uint32)
    return CategoryForest(as_readonly(np.asarray(n_categories, np.int64)), as_readonly(all_words))


def walk_with_categories(flat, values, strides, n_rows, trees, sums, leaves, n_jobs, n_threads):
    """Add to the sums, or else find the leaves, of the trees from one to another.

    Parameters
    ----------
    flat : FlatForest
        With ``categories``.
    values : ndarray of shape (n_rows * n_features,) of float32, read-only
    strides : (int, int)
        How far apart rows are in it, and columns.
    n_rows : int
    trees : (int, int)
    sums : ndarray of shape (n_rows * n_parts,) of float64, or None
    leaves : ndarray of shape (n_rows * n_trees,) of int64, or None
    n_jobs, n_threads : int or None
        As for :func:`fastfit.training.tree_prediction.predict_forest`.
    """
    from fastfit.kernels.category_traversal import CategoryPlan, walk_categories

    work = WORK_FACTOR * n_rows * flat.row_work * (trees[1] - trees[0]) / flat.n_trees
    if n_threads is None:
        n_threads = threads_for(work, n_jobs)
    packed = flat.packed if leaves is None else flat.packed._replace(targets=flat.node_ids)
    chunk_rows = min(CHUNK_ROWS, n_rows)
    plan = CategoryPlan(
        n_rows,
        *strides,
        chunk_rows,
        *trees,
        flat.column_bits,
        0 if sums is None else flat.n_outputs * flat.n_classes,
        n_rows,
    )
    walks = np.empty((2, n_threads, chunk_rows), dtype=np.uint32)
    out = (_NO_SUMS if sums is None else sums, _NO_LEAVES if leaves is None else leaves)
    run_team(
        walk_categories,
        n_threads,
        values,
        plan,
        packed,
        flat.categories,
        walks,
        *out,
        may_be_long=work > LONG_WORK,
    )
