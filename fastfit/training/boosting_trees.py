"""Trees of one boosting run: the same columns, another target each round."""

import numpy as np

from fastfit.training.boosting_leaves import leaf_of_rows
from fastfit.training.tree_growth import Target, grow_tree, prepare_tree_data

__all__ = ["BoostedTrees"]


class BoostedTrees:
    """Grows the trees of one run on data that were sorted once.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) of float32
        Without missing values.
    n_threads : int
        Threads that share the work on one tree; no tree depends on it.

    Attributes
    ----------
    data : TreeData
    """

    def __init__(self, X, n_threads):
        self.n_threads = n_threads
        self.data = prepare_tree_data(X, None, n_threads=n_threads)

    def grow(self, target, weight, options, seed):
        """Grow a tree.

        Parameters
        ----------
        target : ndarray of shape (n_samples,) of float64
        weight : ndarray of shape (n_samples,) of float64, or None
        options : GrowthOptions
        seed : int

        Returns
        -------
        grown : GrownTree
        """
        y = Target(np.ascontiguousarray(target).reshape(-1, 1), None)
        return grow_tree(self.data, y, weight, options, seed, n_threads=self.n_threads)

    def leaves(self, nodes):
        """Return the leaf of each sample, (n_samples,) int32."""
        return leaf_of_rows(self.data.X_t, nodes)
