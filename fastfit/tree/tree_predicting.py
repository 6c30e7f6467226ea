"""Predictions of trees, without scikit-learn's general validation for the arrays that need none."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastfit.tree.plain_arrays import take_plain_features

# It pays to pack the nodes for the kernel that walks many rows at a time where there are more rows than this, more rows
# than nodes, and more levels than this. Otherwise scikit-learn's own loop has finished before.
FEW_ROWS = 8000
FEW_LEVELS = 6


class TreePredicting:
    """Mixin before scikit-learn's class: the same predictions with less to do before and after the tree."""

    def apply(self, X, check_input=True):
        """Return the leaf of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        check_input : bool, default=True
            False skips all checks but that of the number of features; X must be float32 then.

        Returns
        -------
        leaves : ndarray of shape (n_samples,) of intp
            The number of the node in ``tree_`` in which each sample ends.
        """
        X = self._features_to_predict(X, check_input)
        leaves = self._find_many_leaves(X)
        return self.tree_.apply(X) if leaves is None else leaves

    def _features_to_predict(self, X, check_input):
        """Return X as the tree needs it, or raise what scikit-learn does."""
        if "tree_" not in self.__dict__:
            check_is_fitted(self)
        return self._validate_X_predict(X, check_input)

    def _validate_X_predict(self, X, check_input):
        plain = self._plain_features(X, check_input)
        return super()._validate_X_predict(X, check_input) if plain is None else plain

    def _plain_features(self, X, check_input):
        """Return X as float32 if it is an array that needs none of scikit-learn's checks, else None."""
        fitted = self.__dict__
        if type(X) is not np.ndarray or X.ndim != 2 or X.shape[1] != fitted.get("n_features_in_"):
            return None
        if not check_input:
            return X
        if "feature_names_in_" in fitted:
            return None
        plain = take_plain_features(X, self._allows_nan)
        return None if plain is None else plain[0]

    def _value_of_leaves(self, X, of_values):
        """Return ``of_values``, a function of nodes' values, of the leaf of each sample.

        The function gets the values of some nodes, of shape (n, max_n_classes) for one output and else
        (n, n_outputs, max_n_classes), and returns an array of n rows.
        """
        leaves = self._find_many_leaves(X)
        if leaves is None:
            return of_values(self.tree_.predict(X))
        values = self.tree_.value
        return of_values(values[:, 0] if self.n_outputs_ == 1 else values).take(leaves, axis=0)

    def _find_many_leaves(self, X):
        """Return the leaf of each sample, or None where scikit-learn has to look at X or is not slower."""
        if not isinstance(X, np.ndarray) or X.dtype != np.float32:
            return None
        tree = self.tree_
        if len(X) < max(FEW_ROWS, tree.node_count) or tree.max_depth <= FEW_LEVELS:
            return None
        from fastfit.training.tree_prediction import apply_forest, flatten_forest

        state = tree.__getstate__()
        flat = flatten_forest([state["nodes"]], [state["values"]], self.n_features_in_)
        return apply_forest(flat, X, n_jobs=self.n_jobs)[:, 0]
