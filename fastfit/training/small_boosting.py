"""Rounds of boosting on small tables: the engine's buffers are made once, and a round is one call of a kernel."""

import numpy as np

from fastfit.kernels.boosting_leaves import BINOMIAL, EXPONENTIAL
from fastfit.kernels.boosting_round import KEEP_MEANS, LEAVE_TO_OTHERS, SmallRound, small_round
from fastfit.kernels.boosting_small_tree import STACK_FIELDS, SmallTable, grow_small_tree
from fastfit.kernels.general_problem import CODE_SHIFT
from fastfit.kernels.tree_node import DEEPEST, N_NODES, NODE_FIELDS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.far_call import address_of_kernel
from fastfit.runtime.threads import run_team
from fastfit.training.boosting_leaves import LeafRows
from fastfit.training.boosting_trees import BoostedTree
from fastfit.training.tree_buffers import growth_limits, node_capacity

# Values of X up to which the calls of a round would take longer than its kernels.
SMALL_X = 30_000
# The same for trees of this depth, and deeper ones, that try every feature of columns without ties: such columns are
# sorted once for all nodes of all trees.
SHALLOW, SHALLOW_X, DEEP_X = 4, 7_000, 3_000
# How many columns are looked at for ties, and which share of a column's values makes many.
COLUMNS_LOOKED_AT, MANY_TIES = 4, 0.1
_KINDS = {"binomial": BINOMIAL, "exponential": EXPONENTIAL, "mean": KEEP_MEANS, None: LEAVE_TO_OTHERS}
_EVERY_ROW = np.empty(0, np.uint8)

_addresses = {}


def covers(X, options, ccp_alpha):
    """Tell whether rounds can be done so, and that pays: a small table, and trees that grow depth first."""
    if X.size > SMALL_X or options.max_leaf_nodes > 0 or ccp_alpha != 0.0:
        return False
    may_be_sorted_ahead = options.max_features >= X.shape[1] and X.size > (
        SHALLOW_X if options.max_depth <= SHALLOW else DEEP_X
    )
    return not may_be_sorted_ahead or _has_ties(X)


def _has_ties(X):
    """Tell whether most columns have many ties: there the other engines have to sort at every node, too."""
    columns = np.sort(X[:, :: max(X.shape[1] // COLUMNS_LOOKED_AT, 1)], axis=0)
    return bool((columns[1:] == columns[:-1]).mean() > MANY_TIES)


def _rank(X_t):
    """Return codes, keys in order, and which features have ties: see `SmallTable`."""
    order = X_t.argsort(axis=1)
    in_order = np.take_along_axis(X_t, order, axis=1)
    is_new = in_order[:, 1:] != in_order[:, :-1]
    ranks = np.zeros(X_t.shape, np.int64)
    is_new.cumsum(axis=1, out=ranks[:, 1:])
    ranks <<= CODE_SHIFT
    codes = np.empty_like(ranks)
    np.put_along_axis(codes, order, ranks, axis=1)
    return as_readonly(codes), as_readonly(ranks | order), as_readonly(~is_new.all(axis=1))


class SmallBoosting:
    """Does the rounds of one run.

    Parameters
    ----------
    X_t : ndarray of shape (n_features, n_samples) of float32, read-only
        Without missing values.
    y : ndarray of shape (n_trees, n_samples) of float64
        What each tree of a round is to predict; for classes 0 or 1.
    raw : ndarray of shape (n_samples, n_trees) of float64
        Predictions, changed in place.
    weight : ndarray of shape (n_samples,) of float64
    options : GrowthOptions
        For which `covers` is true.
    kind : {"binomial", "exponential", "mean"} or None
        How steps are computed: see :func:`fastfit.training.boosting_leaves.newton_steps`; "mean" takes the means of
        the leaves. None: the caller computes them, and adds them to ``raw``.
    factor : float
        What numerators of steps are multiplied by.
    learning_rate : float
    """

    def __init__(self, X_t, y, raw, weight, options, kind, factor, learning_rate):
        n_trees, n_samples = y.shape
        n_features = len(X_t)
        capacity = node_capacity(options, n_samples)
        rows = np.flatnonzero(weight)
        depth = min(options.max_depth, n_samples) + 2
        codes, in_order, has_ties = _rank(X_t)
        self.table = SmallTable(
            X_t=X_t,
            codes=codes,
            in_order=in_order,
            has_ties=has_ties,
            moments=np.empty((n_samples, 3)),
            rows=rows,
            keys=np.zeros(n_samples + 1, np.int64),
            is_inside=np.zeros(n_samples, np.uint8),
            features=np.empty(n_features, np.int64),
            constants=np.empty(n_features, np.int64),
            random_state=np.empty(1, np.int64),
            stack=np.empty((depth, STACK_FIELDS), np.int64),
            impurities=np.empty(depth),
            sorting=np.empty((128, 3), np.int64),
            best=np.empty(3, np.int64),
            best_floats=np.empty(2),
            sums=np.empty(7),
            limits=growth_limits(options, np.add.accumulate(weight)[-1]),
        )
        ints = np.zeros((n_trees, capacity, NODE_FIELDS), np.int64)
        self.work = SmallRound(
            y=as_readonly(y),
            gradient=np.empty((n_samples, n_trees)),
            raw=raw,
            weight=weight,
            in_bag=_EVERY_ROW,
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
        self.sizes = self.work.counts[:, 0]  # N_NODES and DEEPEST
        self.grow = self._address()

    def _address(self):
        """Return where the kernel for trees is; it takes the same types in every run."""
        if "grow" not in _addresses:
            work = self.work
            of_tree = work.ints[0], work.floats[0], work.values[0], work.counts[0]
            _addresses["grow"] = address_of_kernel(grow_small_tree, self.table, 1, *of_tree)
        return _addresses["grow"]

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
        limits = growth_limits(options, np.add.accumulate(weight)[-1])
        self.table = self.table._replace(limits=limits, rows=np.flatnonzero(weight))
        self.work = self.work._replace(in_bag=in_bag.view(np.uint8), weight=weight)

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
        self.run(seeds)
        return [self._tree(k) for k in range(len(self.work.seeds))]

    def run(self, seeds):
        """Do a round, leave its trees in ``work``, and return for each how many nodes it has and how deep it is."""
        self.work.seeds[:] = seeds
        run_team(small_round, 1, self.table, self.work, self.grow)
        return self.sizes.tolist()

    def _tree(self, k):
        work = self.work
        n_nodes = work.counts.item(k, 0, N_NODES)
        nodes = work.ints[k, :n_nodes].copy()
        leaf_rows = None
        if work.kind == LEAVE_TO_OTHERS:
            leaf_rows = LeafRows(work.leaves[k], nodes, work.in_bag.view(bool) if len(work.in_bag) else None)
        values = work.values[k, :n_nodes].copy()
        return BoostedTree(nodes, values, work.counts.item(k, 0, DEEPEST), work.leaves[k], leaf_rows)
