"""Trees of one boosting run: the same columns, another target each round."""

from typing import NamedTuple

import numpy as np

from fastfit.training.boosting_leaves import LeafRows, leaf_of_rows
from fastfit.training.tree_growth import Target, grow_tree, prepare_tree_data

__all__ = ["BoostedTree", "BoostedTrees"]

# Trees that may be tried in vain before that is a habit.
MAX_IN_VAIN = 3


class BoostedTree(NamedTuple):
    """A finished tree, and where its rows are."""

    nodes: np.ndarray  # (n_nodes, 8) int64: scikit-learn's nodes, byte for byte
    values: np.ndarray  # (n_nodes, 1, 1) float64
    max_depth: int
    leaves: np.ndarray | None  # (n_samples,) int32: leaf of each row, if it is known
    leaf_rows: LeafRows | None  # the rows of each leaf, if they are known


class BoostedTrees:
    """Grows the trees of one run on data that were sorted once.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) of float32
        Without missing values.
    options : GrowthOptions
        For a tree of all samples; weights may change what is a least weight.
    n_rows : int
        Samples that each tree is grown from.
    has_weights : bool
        Whether samples have other weights than one, and zero for those that are not in the bag.
    n_threads : int
        Threads that share the work on one tree; no tree depends on it.

    Attributes
    ----------
    data : TreeData
    scratch : ndarray of shape (3, n_samples) of float64
        What it holds between two calls is of no use.
    n_tried, n_left_to_others : int
        Trees that `bounded_growth` was asked for, and those that it has left to other engines, since rounding would
        have decided about them.
    """

    def __init__(self, X, options, n_rows, has_weights, n_threads):
        self.n_threads = n_threads
        self.data = prepare_tree_data(X, None, n_threads=n_threads)
        self.scratch = np.empty((3, len(X)))
        self.n_left_to_others = self.n_tried = 0
        self.bounded = self.frequent = None
        from fastfit.training import frequent_growth

        if frequent_growth.covers(X, options):
            self.frequent = frequent_growth.FrequentGrowth(self.data)
        if not has_weights and (self.frequent is None or X.size > frequent_growth.SMALL_X):
            from fastfit.training import bounded_growth

            if bounded_growth.covers(n_rows, X.shape[1], options):
                self.bounded = bounded_growth.BoundedGrowth(self.data, options, self.scratch, n_threads)

    def grow(self, target, in_bag, weight, options, seed):
        """Grow the tree that scikit-learn grows.

        Parameters
        ----------
        target : ndarray of shape (n_samples,) of float64
        in_bag : ndarray of shape (n_samples,) of bool, or None
            Samples that the tree is grown from; None: all.
        weight : ndarray of shape (n_samples,) of float64, or None
            Weights of the samples, zero for those that are not in the bag.
        options : GrowthOptions
        seed : int
            State of scikit-learn's generator at the start.

        Returns
        -------
        tree : BoostedTree
        """
        if self.bounded is not None and not self._bounds_fail():
            self.n_tried += 1
            grown = self.bounded.grow(target, in_bag)
            if grown is not None:
                leaf_rows = LeafRows.of_known(grown.nodes, grown.starts, grown.rows)
                return BoostedTree(grown.nodes, grown.values, grown.max_depth, grown.leaves, leaf_rows)
            self.n_left_to_others += 1
        if self.frequent is not None:
            grown = self.frequent.grow(target, weight, options, seed)
            return BoostedTree(grown.nodes, grown.values, grown.max_depth, None, None)
        y = Target(target.reshape(-1, 1), None)
        grown = grow_tree(self.data, y, weight, options, seed, n_threads=self.n_threads)
        return BoostedTree(grown.nodes, grown.values, grown.max_depth, None, None)

    def _bounds_fail(self):
        """Tell whether so many trees had to be left to other engines that trying goes on in vain."""
        return self.n_left_to_others > max(MAX_IN_VAIN, self.n_tried // 2)

    def find_leaves(self, nodes):
        """Return the leaf of each sample in a tree of these nodes, (n_samples,) int32."""
        return leaf_of_rows(self.data.X_t, nodes)
