"""Grow trees on columns most of whose values are one and the same, many trees on the same columns."""

import functools

import numpy as np

from fastfit.kernels.feature_draw import DrawState
from fastfit.kernels.frequent_best import FrequentProblem, FrequentScratch, make_grow_frequent
from fastfit.kernels.frequent_columns import FrequentBuffers, FrequentColumns
from fastfit.kernels.general_problem import CODE_SHIFT, Sums
from fastfit.kernels.tree_node import NODE_FLOATS, NODE_INTS, NodeState
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team
from fastfit.training.tree_buffers import (
    LONG_X,
    grown_nodes,
    growth_limits,
    node_capacity,
    node_table,
    waiting_nodes,
)

# Values of X from which these kernels are sooner done than those for small tables, which grow trees depth first.
LEAST_X = 8000
# Values of X up to which these kernels grow all trees, scikit-learn's in every bit, as those for small tables do;
# `bounded_growth` adds up leaves in another order.
SMALL_X = 30_000
# Rows that are looked at to find out how many values are the frequent ones of their columns.
ROWS_LOOKED_AT = 1000
# Least share of values that are the frequent ones of their columns, in the mean over the columns.
LEAST_SHARE = 0.75

_kernel = functools.cache(make_grow_frequent)


def covers(X, options):
    """Tell whether these kernels grow trees with such options best: most columns are mostly one value."""
    if X.size < LEAST_X and options.max_leaf_nodes <= 0:
        return False
    if (
        options.criterion != "squared_error"
        or options.splitter != "best"
        or options.monotonic_cst is not None
    ):
        return False
    rows = np.sort(X[:: -(-len(X) // ROWS_LOOKED_AT)], axis=0)
    # What more than half of the values are is the middle one.
    return bool((rows == rows[len(rows) // 2]).mean() >= LEAST_SHARE)


def _keys_of_others(codes, frequent):
    """Return code and row of the samples with another code, packed and by ascending code."""
    rows = np.flatnonzero(codes != frequent)
    return np.sort(codes[rows].astype(np.int64) << CODE_SHIFT | rows)


class FrequentGrowth:
    """Grows the trees of one fit.

    Parameters
    ----------
    data : TreeData
        Without missing values.
    """

    def __init__(self, data):
        codes = data.codes
        frequent = np.array([np.bincount(column).argmax() for column in codes])
        others = [_keys_of_others(*pair) for pair in zip(codes, frequent, strict=True)]
        starts = np.zeros(len(codes) + 1, np.int64)
        starts[1:] = np.cumsum([len(keys) for keys in others])
        has_ties = [bool((np.diff(keys >> CODE_SHIFT) == 0).any()) for keys in others]
        self.columns = FrequentColumns(
            codes=as_readonly(codes),
            levels=as_readonly(data.levels),
            level_start=as_readonly(data.level_start),
            is_close=as_readonly(data.is_close),
            n_levels=as_readonly(data.n_levels),
            frequent=as_readonly(frequent),
            others=as_readonly(np.concatenate(others)),
            others_start=as_readonly(starts),
            has_ties=as_readonly(np.array(has_ties)),
        )
        self.scratch = _make_scratch(*codes.shape)
        self.moments = np.empty((codes.shape[1], 2))

    def grow(self, target, weight, options, seed):
        """Grow the tree that scikit-learn grows.

        Parameters
        ----------
        target : ndarray of shape (n_samples,) of float64
        weight : ndarray of shape (n_samples,) of float64, or None
            Samples of weight zero are left out.
        options : GrowthOptions
            For which `covers` is true.
        seed : int

        Returns
        -------
        tree : GrownTree
        """
        from fastfit.training.tree_growth import GrownTree

        n_samples = len(target)
        moments = self.moments
        moments[:, 0] = 1.0 if weight is None else weight
        moments[:, 1] = target if weight is None else weight * target
        rows = np.arange(n_samples) if weight is None else np.flatnonzero(weight)
        total = n_samples if weight is None else np.add.accumulate(weight)[-1]
        capacity = node_capacity(options, len(rows))
        table = node_table(capacity)
        problem = FrequentProblem(
            columns=self.columns,
            n_root_samples=len(rows),
            moments=moments,
            y=as_readonly(target.reshape(-1, 1)),
            limits=growth_limits(options, total),
            values=np.empty((capacity, 1, 1)),
        )
        run_team(
            _kernel(options.max_leaf_nodes > 0),
            1,
            problem,
            self._begin(rows, seed),
            waiting_nodes(options, len(rows), 1),
            problem.limits,
            table,
            may_be_long=self.columns.codes.size > LONG_X,
        )
        return GrownTree(*grown_nodes(table, problem.values))

    def _begin(self, rows, seed):
        """Return the scratch, ready for a tree of these rows."""
        scratch = self.scratch
        scratch.keys[: len(rows)] = rows
        place_of = scratch.buffers.place_of
        place_of.fill(-1)
        place_of[rows] = np.arange(len(rows))
        scratch.buffers.state.fill(1)
        scratch.draw.features[:] = np.arange(len(self.columns.frequent))
        scratch.draw.constants.fill(0)
        scratch.draw.random_state[0] = seed
        return scratch


def _make_scratch(n_features, n_samples):
    return FrequentScratch(
        node=NodeState(np.zeros(NODE_INTS, np.int64), np.zeros(NODE_FLOATS)),
        draw=DrawState(*np.zeros((2, n_features), np.int64), np.zeros(1, np.int64)),
        keys=np.zeros(n_samples + 1, np.int64),
        buffers=FrequentBuffers(
            place_of=np.empty(n_samples, np.int64),
            words=np.zeros(n_samples // 64 + 1, np.uint64),
            found=np.empty(n_samples + 1, np.int64),
            listed=np.empty(n_samples + 1, np.int64),
            sorting=np.empty((128, 3), np.int64),
            state=np.ones(2, np.int64),
        ),
        marks=np.empty(2, np.int64),
        sums=Sums(*np.zeros((3, 1)), squares=np.zeros(1)),
    )
