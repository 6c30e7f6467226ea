"""Predict with boosted histogram trees, given as scikit-learn's ``TreePredictor`` holds them."""

import numpy as np

from fastfit.kernels.boosting_prediction import (
    CATEGORY,
    LEAF,
    MISSING_CODE,
    N_BITSET,
    N_FEATURE,
    N_KIND,
    N_LEFT_CHILD,
    N_MISSING_LEFT,
    N_RIGHT_CHILD,
    NODE_FIELDS,
    NUMBER,
    S_BITSET,
    S_FEATURE,
    S_IS_CATEGORY,
    S_LEFT,
    S_LIMIT,
    S_NODE,
    S_RIGHT,
    S_SHIFT,
    SPLIT_FIELDS,
    SWEEP_ROWS,
    TreesToSweep,
    TreesToWalk,
    sweep_binned,
    sweep_raw,
    walk_binned,
    walk_raw,
)
from fastfit.kernels.histogram_tree import (
    T_BIN,
    T_BITSET,
    T_FEATURE,
    T_IS_CATEGORICAL,
    T_IS_LEAF,
    T_LEFT,
    T_MISSING_LEFT,
    T_RIGHT,
    T_VALUE,
)
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import CONTROL_SIZE, run_team, threads_for
from fastfit.training.bin_thresholds import as_vector
from fastfit.training.binned_data import threshold_blocks

# A tree that rows can sweep through has at most as many nodes, and a feature at most as many thresholds.
_MAX_NODES = 256
_MAX_THRESHOLDS = MISSING_CODE - 1
# Up to so many rows walk: a block of rows costs as much however few are in it.
_FEW_ROWS = 8
# Nanoseconds of a row in a tree, and of coding a value.
_SWEEP_WORK = 2.5
_WALK_WORK = 60.0
_CODE_WORK = 6.0
_LONG_WORK = 1e9

_FIELDS = (
    "feature_idx",
    "left",
    "right",
    "missing_go_to_left",
    "is_leaf",
    "is_categorical",
    "bitset_idx",
    "bin_threshold",
)


class PackedTrees:
    """Trees in the forms that kernels take; made by :func:`pack_trees`, and as good as its trees do not change."""

    def __init__(self, n_features, n_outputs, columns, values, thresholds, starts, sets, known_sets):
        self.n_features = n_features
        self.n_outputs = n_outputs
        self.n_trees = len(starts) - 1
        self.columns = columns
        self.values = values
        self.thresholds = thresholds
        self.starts = starts
        self.bitset_starts, self.raw_sets, self.binned_sets = sets
        self.known_sets = known_sets
        self.forms = {}

    def to_walk(self, is_binned, missing_bin=-1):
        """Return the trees for rows that walk, over bins or raw values."""
        key = ("walk", is_binned, missing_bin)
        if key not in self.forms:
            columns = self.columns
            nodes = np.empty((len(self.values), NODE_FIELDS), np.int32)
            nodes[:, N_FEATURE] = columns["feature_idx"]
            nodes[:, N_LEFT_CHILD] = columns["left"]
            nodes[:, N_RIGHT_CHILD] = columns["right"]
            nodes[:, N_MISSING_LEFT] = columns["missing_go_to_left"]
            kind = np.where(columns["is_categorical"] != 0, CATEGORY, NUMBER)
            nodes[:, N_KIND] = np.where(columns["is_leaf"] != 0, LEAF, kind)
            nodes[:, N_BITSET] = columns["bitset_idx"]
            thresholds = columns["bin_threshold"].astype(np.float64) if is_binned else self.thresholds
            sets = self.binned_sets if is_binned else self.raw_sets
            self.forms[key] = TreesToWalk(
                nodes,
                thresholds,
                self.values,
                self.starts,
                self.bitset_starts,
                sets,
                self.known_sets,
                missing_bin,
            )
        return self.forms[key]

    def to_sweep(self, is_binned):
        """Return the trees for rows that sweep, or None if they are too large for that."""
        key = ("sweep", is_binned)
        if key not in self.forms:
            self.forms[key] = self._to_sweep(is_binned)
        return self.forms[key]

    def _to_sweep(self, is_binned):
        columns = self.columns
        sizes = np.diff(self.starts)
        if len(sizes) and sizes.max() > _MAX_NODES:
            return None
        tree_of = np.repeat(np.arange(self.n_trees), sizes)
        is_split = columns["is_leaf"] == 0
        features = columns["feature_idx"][is_split]
        used, positions = np.unique(features, return_inverse=True)
        is_category = columns["is_categorical"][is_split] != 0
        is_categorical = np.zeros(len(used), np.uint8)
        is_categorical[positions[is_category]] = 1
        if is_binned:
            limits = np.minimum(columns["bin_threshold"][is_split].astype(np.int64), _MAX_THRESHOLDS)
            threshold_starts, blocks = np.zeros(len(used)), np.zeros(1)
        else:
            coded = _code_thresholds(self.thresholds[is_split], positions, is_category, len(used))
            if coded is None:
                return None
            limits, threshold_starts, blocks = coded
        splits = np.empty((len(features), SPLIT_FIELDS), np.int32)
        missing_left = columns["missing_go_to_left"][is_split]
        splits[:, S_NODE] = (np.arange(len(tree_of)) - self.starts[tree_of])[is_split]
        splits[:, S_FEATURE] = positions
        splits[:, S_SHIFT] = missing_left
        splits[:, S_LIMIT] = limits + missing_left
        splits[:, S_LEFT] = columns["left"][is_split]
        splits[:, S_RIGHT] = columns["right"][is_split]
        splits[:, S_IS_CATEGORY] = is_category
        splits[:, S_BITSET] = columns["bitset_idx"][is_split] + self.bitset_starts[tree_of[is_split]]
        split_starts = np.concatenate([[0], np.cumsum(is_split)])[self.starts]
        return TreesToSweep(
            splits,
            split_starts,
            self.values,
            self.starts,
            self.binned_sets if is_binned else self.raw_sets,
            self.known_sets,
            blocks,
            np.stack([used, threshold_starts]).astype(np.int64),
            is_categorical,
        )


def _code_thresholds(thresholds, positions, is_category, n_used):
    """Return each threshold's code, where each feature's blocks of thresholds begin, and those; or None."""
    limits = np.zeros(len(thresholds), np.int64)
    columns = []
    for position in range(n_used):
        own = np.flatnonzero((positions == position) & ~is_category)
        distinct = np.unique(thresholds[own])
        finite = distinct[distinct < np.inf]
        if len(finite) > _MAX_THRESHOLDS:
            return None
        limits[own] = np.where(
            thresholds[own] < np.inf, np.searchsorted(finite, thresholds[own]), _MAX_THRESHOLDS
        )
        columns.append(finite)
    blocks, starts = threshold_blocks(columns)
    return limits, starts, blocks


def pack_trees(predictors, n_features, *, known_cat_bitsets=None, f_idx_map=None):
    """Gather trees into the arrays that :func:`predict_raw` and :func:`predict_binned` take.

    Parameters
    ----------
    predictors : list of lists of objects
        For each iteration the tree of each output, with ``nodes``, ``raw_left_cat_bitsets`` and
        ``binned_left_cat_bitsets`` as scikit-learn's ``TreePredictor`` has them.
    n_features : int
    known_cat_bitsets, f_idx_map : ndarray or None, default=None
        What ``_BinMapper.make_known_categories_bitsets`` returns; needed for categorical splits.

    Returns
    -------
    packed : PackedTrees
    """
    trees = [tree for iteration in predictors for tree in iteration]
    n_outputs = len(predictors[0]) if predictors else 1
    nodes = np.concatenate([tree.nodes for tree in trees]) if trees else np.zeros(0)
    starts = np.concatenate([[0], np.cumsum([len(tree.nodes) for tree in trees])]).astype(np.int64)
    if trees:
        columns = {name: np.ascontiguousarray(nodes[name]).astype(np.int64) for name in _FIELDS}
        values, thresholds = nodes["value"].copy(), nodes["num_threshold"].copy()
    else:
        columns = {name: np.zeros(0, np.int64) for name in _FIELDS}
        values = thresholds = np.zeros(0)
    known = np.zeros((n_features, 8), np.uint32)
    if known_cat_bitsets is not None and len(known_cat_bitsets):
        is_categorical = np.zeros(n_features, bool)
        is_categorical[columns["feature_idx"][columns["is_categorical"] != 0]] = True
        known[is_categorical] = np.asarray(known_cat_bitsets)[np.asarray(f_idx_map)[is_categorical]]
    sets = _gather_sets([tree.raw_left_cat_bitsets for tree in trees])
    binned = _gather_sets([tree.binned_left_cat_bitsets for tree in trees])
    n_sets = [len(tree.raw_left_cat_bitsets) for tree in trees]
    set_starts = np.concatenate([[0], np.cumsum(n_sets)]).astype(np.int64)
    return PackedTrees(
        n_features, n_outputs, columns, values, thresholds, starts, (set_starts, sets, binned), known
    )


def _gather_sets(sets):
    return np.concatenate(
        [*(np.asarray(s, np.uint32).reshape(-1, 8) for s in sets), np.zeros((1, 8), np.uint32)]
    )


def predict_raw(packed, X, baseline, *, n_iterations=None, n_jobs=None, n_threads=None):
    """Return the baseline and, added to it tree after tree, the values of the leaves that rows of X reach.

    Parameters
    ----------
    packed : PackedTrees
    X : ndarray of shape (n_samples, n_features), float64
        In any memory order; with NaN and categories as scikit-learn's trees take them.
    baseline : ndarray of shape (1, n_outputs), or float
    n_iterations : int or None, default=None
        Use the trees of so many iterations only.
    n_jobs : int or None, default=None
        As for :func:`fastfit.runtime.threads.threads_for`.
    n_threads : int or None, default=None
        Exact number of threads, in place of `n_jobs`. The result does not depend on it.

    Returns
    -------
    raw : ndarray of shape (n_samples, n_outputs), float64, F-contiguous
    """
    n_trees = packed.n_trees if n_iterations is None else n_iterations * packed.n_outputs
    out = _baseline(len(X), packed.n_outputs, baseline)
    sums = out.T.reshape(-1)
    values, row_step, column_step = as_vector(X)
    steps = (len(X), row_step, column_step)
    trees = packed.to_sweep(False) if len(X) > _FEW_ROWS else None
    if trees is None:
        trees = packed.to_walk(False)
        _walk(walk_raw, values, steps, trees, n_trees, packed.n_outputs, sums, n_jobs, n_threads)
    else:
        _sweep(sweep_raw, values, steps, trees, n_trees, packed.n_outputs, sums, n_jobs, n_threads)
    return out


def predict_binned(
    packed, X_binned, missing_bin, baseline, *, n_iterations=None, n_jobs=None, n_threads=None
):
    """Return what :func:`predict_raw` does, for binned data: (n_samples, n_features) uint8."""
    n_trees = packed.n_trees if n_iterations is None else n_iterations * packed.n_outputs
    out = _baseline(len(X_binned), packed.n_outputs, baseline)
    _add_binned(packed, X_binned, int(missing_bin), n_trees, out.T.reshape(-1), n_jobs, n_threads)
    return out


def add_tree_binned(tree, X_binned, missing_bin, out, *, n_jobs=None, n_threads=None):
    """Add to `out`, (n_samples,) float64, what one grown tree predicts for binned data, (n_samples, n_features) uint8.

    Parameters
    ----------
    tree : fastfit.training.histogram_growth.GrownTree
    X_binned, missing_bin, n_jobs, n_threads
        As for :func:`predict_binned`.
    out : ndarray
        Changed in place.
    """
    fields = (T_FEATURE, T_LEFT, T_RIGHT, T_MISSING_LEFT, T_IS_LEAF, T_IS_CATEGORICAL, T_BITSET, T_BIN)
    columns = {name: tree.ints[:, field] for name, field in zip(_FIELDS, fields, strict=True)}
    values = np.ascontiguousarray(tree.floats[:, T_VALUE])
    sets = (
        np.array([0, len(tree.raw_left_cat_bitsets)]),
        _gather_sets([tree.raw_left_cat_bitsets]),
        _gather_sets([tree.binned_left_cat_bitsets]),
    )
    starts = np.array([0, len(values)])
    packed = PackedTrees(
        X_binned.shape[1], 1, columns, values, values, starts, sets, np.zeros((1, 8), np.uint32)
    )
    _add_binned(packed, X_binned, int(missing_bin), 1, out, n_jobs, n_threads)


def _baseline(n_samples, n_outputs, baseline):
    out = np.empty((n_samples, n_outputs), order="F")
    out[:] = baseline
    return out


def _add_binned(packed, X_binned, missing_bin, n_trees, sums, n_jobs, n_threads):
    n_rows, n_features = X_binned.shape
    bins = as_readonly(np.ascontiguousarray(X_binned).reshape(-1))
    trees = packed.to_sweep(True) if n_rows > _FEW_ROWS else None
    if trees is None:
        trees = packed.to_walk(True, missing_bin)
        steps = (n_rows, n_features, 1)
        _walk(walk_binned, bins, steps, trees, n_trees, packed.n_outputs, sums, n_jobs, n_threads)
    else:
        steps = (n_rows, n_features, missing_bin)
        _sweep(sweep_binned, bins, steps, trees, n_trees, packed.n_outputs, sums, n_jobs, n_threads)


def _walk(kernel, data, steps, trees, n_trees, n_outputs, sums, n_jobs, n_threads):
    work = _WALK_WORK * steps[0] * n_trees
    if n_threads is None and steps[0] <= _FEW_ROWS:
        kernel(np.zeros(CONTROL_SIZE, np.int64), 0, 1, data, steps, trees, n_trees, n_outputs, sums)
        return
    if n_threads is None:
        n_threads = threads_for(work, n_jobs)
    run_team(kernel, n_threads, data, steps, trees, n_trees, n_outputs, sums, may_be_long=work > _LONG_WORK)


def _sweep(kernel, data, steps, trees, n_trees, n_outputs, sums, n_jobs, n_threads):
    n_used = trees.columns.shape[1]
    work = steps[0] * (_SWEEP_WORK * n_trees + _CODE_WORK * n_used)
    if n_threads is None:
        n_threads = threads_for(work, n_jobs)
    scratch = np.zeros((n_threads, (n_used + 1) * SWEEP_ROWS), np.uint8)
    run_team(
        kernel,
        n_threads,
        data,
        steps,
        trees,
        n_trees,
        n_outputs,
        scratch,
        sums,
        may_be_long=work > _LONG_WORK,
    )
