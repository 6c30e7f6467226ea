"""Rounds of boosting on small tables: the engine's buffers are made once, and a round is one call of a kernel."""

import functools

import numpy as np

from fastfit.kernels.boosting_leaves import BINOMIAL, EXPONENTIAL
from fastfit.kernels.boosting_round import KEEP_MEANS, LEAVE_TO_OTHERS, SmallRound, make_small_round
from fastfit.kernels.general_engine import general_kernel
from fastfit.kernels.tree_node import DEEPEST, N_NODES, NODE_FIELDS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team
from fastfit.training import general_growth
from fastfit.training.boosting_leaves import LeafRows
from fastfit.training.boosting_trees import BoostedTree
from fastfit.training.tree_buffers import growth_limits, node_capacity, waiting_nodes
from fastfit.training.tree_growth import Target

# Values of X up to which the calls of a round would take longer than its kernels.
SMALL_X = 30_000
_KINDS = {"binomial": BINOMIAL, "exponential": EXPONENTIAL, "mean": KEEP_MEANS, None: LEAVE_TO_OTHERS}
_EVERY_ROW = np.empty(0, np.uint8)


@functools.cache
def _kernel(best_first):
    return make_small_round(general_kernel("squared_error", "best", True, best_first))


class SmallBoosting:
    """Does the rounds of one run.

    Parameters
    ----------
    data : TreeData
        Without missing values, of at most SMALL_X values.
    y : ndarray of shape (n_trees, n_samples) of float64
        What each tree of a round is to predict; for classes 0 or 1.
    raw : ndarray of shape (n_samples, n_trees) of float64
        Predictions, changed in place.
    weight : ndarray of shape (n_samples,) of float64
    options : GrowthOptions
    kind : {"binomial", "exponential", "mean"} or None
        How steps are computed: see :func:`fastfit.training.boosting_leaves.newton_steps`; "mean" takes the means of
        the leaves. None: the caller computes them, and adds them to ``raw``.
    factor : float
        What numerators of steps are multiplied by.
    learning_rate : float
    """

    def __init__(self, data, y, raw, weight, options, kind, factor, learning_rate):
        n_trees, n_samples = y.shape
        self.options = options
        capacity = node_capacity(options, n_samples)
        # Targets of no particular kind, so that the engine supposes nothing about their sums.
        target = Target(np.full((n_samples, 1), 0.1), None)
        self.limits = growth_limits(options, np.add.accumulate(weight)[-1])
        values = np.empty((capacity, 1, 1))
        problem = general_growth._make_problem(data, target, weight, options, self.limits, 0, values)
        rows = np.arange(n_samples)
        self.problem = problem._replace(n_root_samples=n_samples)
        self.scratch = general_growth._make_scratch(self.problem, rows, options.criterion, 0, 0)
        self.waiting = waiting_nodes(options, n_samples, 1)
        self.kernel = _kernel(options.max_leaf_nodes > 0)
        ints = np.zeros((n_trees, capacity, NODE_FIELDS), np.int64)
        self.work = SmallRound(
            X_t=data.X_t,
            y=as_readonly(y),
            gradient=np.empty((n_samples, n_trees)),
            raw=raw,
            weight=weight,
            in_bag=_EVERY_ROW,
            rows=np.flatnonzero(weight),
            seeds=np.empty(n_trees, np.int64),
            ints=ints,
            floats=ints.view(np.float64),
            counts=np.zeros((n_trees, 1, 2), np.int64),
            values=np.empty((n_trees, capacity, 1, 1)),
            leaves=np.empty((n_trees, n_samples), np.int32),
            starts=np.empty(capacity + 2, np.int64),
            leaf_rows=np.empty(n_samples, np.int32),
            neg_gradient=np.empty(n_samples),
            products=np.empty((3, n_samples)),
            sizes=np.empty(64, np.int64),
            sums=np.empty((2, 64)),
            learning_rate=float(learning_rate),
            kind=_KINDS[kind],
            factor=float(factor),
        )
        self._set_rows()

    @property
    def gradient(self):
        """Where the gradients of the next round are to be written, (n_samples, n_trees) float64."""
        return self.work.gradient

    def set_bag(self, in_bag, weight, options):
        """Take another bag.

        Parameters
        ----------
        in_bag : ndarray of shape (n_samples,) of bool
        weight : ndarray of shape (n_samples,) of float64
            Zero for samples that are not in the bag.
        options : GrowthOptions
            Whose least weight of a leaf fits these weights.
        """
        self.limits = growth_limits(options, np.add.accumulate(weight)[-1])
        self.problem = self.problem._replace(limits=self.limits)
        self.work = self.work._replace(
            in_bag=in_bag.view(np.uint8), weight=weight, rows=np.flatnonzero(weight)
        )
        self._set_rows()

    def _set_rows(self):
        self.problem = self.problem._replace(n_root_samples=len(self.work.rows))

    def do_round(self, seeds):
        """Do a round from the gradients that were written.

        Parameters
        ----------
        seeds : sequence of int

        Returns
        -------
        trees : list of BoostedTree
            Their values are the steps, unless the caller computes these. Rows of leaves are known only for him.
        """
        work = self.work
        work.seeds[:] = seeds
        run_team(self.kernel, 1, self.problem, self.scratch, self.waiting, self.limits, work)
        return [self._tree(k) for k in range(len(work.seeds))]

    def _tree(self, k):
        work = self.work
        n_nodes = work.counts.item(k, 0, N_NODES)
        nodes = work.ints[k, :n_nodes].copy()
        leaf_rows = None
        if work.kind == LEAVE_TO_OTHERS:
            leaf_rows = LeafRows(work.leaves[k], nodes, work.in_bag.view(bool) if len(work.in_bag) else None)
        values = work.values[k, :n_nodes].copy()
        return BoostedTree(nodes, values, work.counts.item(k, 0, DEEPEST), work.leaves[k], leaf_rows)
