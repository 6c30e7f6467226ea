"""Predictions of a forest: one walk through all of its trees, and scikit-learn's own where that does not fit."""

import warnings
import weakref

import numpy as np
import scipy.sparse as sp
from sklearn import tree as sklearn_tree
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from fastfit import tree as fastfit_tree
from fastfit.ensemble.caller import stacklevel_of_caller
from fastfit.ensemble.progress import Progress
from fastfit.runtime.threads import map_threads, thread_budget
from fastfit.tree.category_splits import refuse_recursion
from fastfit.tree.plain_arrays import take_plain_features

# Trees whose predictions are what their nodes say. A class that extends them may predict something else.
KNOWN_TREES = frozenset(
    getattr(module, name) for module in (fastfit_tree, sklearn_tree) for name in fastfit_tree.__all__
)

# Out-of-bag rows are found for so many trees at a time, which bounds the memory that they take.
TREES_AT_A_TIME = 16

# Packed trees by forest. Kept beside the estimators instead of in them: predicting changes no attribute, and pickles,
# copies and clones know nothing of it.
_packed_forests = weakref.WeakKeyDictionary()


class ForestPrediction:
    """Mixin: what classifiers and regressors share."""

    def apply(self, X):
        """Return the leaf that each sample ends in, for each tree.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to float32.

        Returns
        -------
        X_leaves : ndarray of shape (n_samples, n_estimators) of int64
            Numbers of the leaves within their trees.
        """
        X, packed = self._prepare_prediction(X)
        if packed is None:
            return super().apply(X)
        from fastfit.training.tree_prediction import apply_forest

        with Progress(self, len(self.estimators_)):
            return apply_forest(packed, X, n_jobs=self.n_jobs)

    def _prepare_prediction(self, X):
        """Return (X, packed trees): X checked, or as it is beside None where scikit-learn has to predict."""
        fitted = self.__dict__
        if "estimators_" not in fitted:
            check_is_fitted(self)
        packed = self._packed_trees()
        if packed is None:
            return X, None
        if (
            "feature_names_in_" not in fitted
            and fitted.get("_category_encoding") is None
            and getattr(X, "ndim", 0) == 2
            and X.shape[1] == fitted["n_features_in_"]
        ):
            plain = take_plain_features(X, lambda: self.estimators_[0]._support_missing_values(X))
            if plain is not None:
                return plain[0], packed
        checked = self._validate_X_predict(X)
        return (X, None) if sp.issparse(checked) else (checked, packed)

    def _validate_X_predict(self, X):
        encoding = self.__dict__.get("_category_encoding")
        if encoding is None:
            return super()._validate_X_predict(X)
        check_is_fitted(self)
        return encoding.encode(self, X, self.estimators_[0]._support_missing_values(X))

    def _packed_trees(self):
        """Return the trees packed for prediction, made anew when they are not the ones packed last; or None.

        Trees and the list of them are told apart by identity: 3 us for 100 trees.
        """
        estimators = self.estimators_
        try:
            trees = [estimator.tree_ for estimator in estimators]
        except AttributeError:
            return None
        kept = _packed_forests.get(self)
        if kept is not None and kept[0] is estimators and kept[1] == trees:
            return kept[2]
        packed = self._pack(trees) if trees and KNOWN_TREES.issuperset(map(type, estimators)) else None
        _packed_forests[self] = estimators, trees, packed
        return packed

    def _pack(self, trees):
        from fastfit.training.tree_prediction import flatten_forest

        states = [tree.__getstate__() for tree in trees]
        values = [state["values"] for state in states]
        if len({of_tree.shape[1:] for of_tree in values}) > 1:
            return None
        nodes = [state["nodes"] for state in states]
        encoding = self.__dict__.get("_category_encoding")
        if encoding is None:
            return flatten_forest(nodes, values, self.n_features_in_)
        sets = [estimator.__dict__.get("_category_sets") for estimator in self.estimators_]
        return flatten_forest(nodes, values, self.n_features_in_, encoding.n_categories, sets)

    def _compute_partial_dependence_recursion(self, grid, target_features):
        refuse_recursion(self)
        return super()._compute_partial_dependence_recursion(grid, target_features)

    def _mean_values(self, X):
        """Return the values of the leaves, averaged over the trees: (n_samples, n_outputs, n_classes); or None."""
        X, packed = self._prepare_prediction(X)
        if packed is None:
            return None
        from fastfit.training.tree_prediction import predict_forest

        with Progress(self, len(self.estimators_), least_jobs=True):
            return predict_forest(packed, X, mean=True, n_jobs=self.n_jobs)

    def _out_of_bag_means(self, X):
        """Return for each sample the mean value of the trees that did not see it, zeros if there is none.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), float32
            The training data.

        Returns
        -------
        means : ndarray of shape (n_samples, n_outputs, n_classes), or None
            None where scikit-learn has to predict.
        """
        if sp.issparse(X) or not KNOWN_TREES.issuperset(map(type, self.estimators_)):
            return None
        from fastfit.training.tree_prediction import predict_tree_rows

        # Not kept: a forest that was packed now would not hear of leaves that are changed before they predict.
        packed = self._pack([estimator.tree_ for estimator in self.estimators_])
        if packed is None:
            return None
        draws = self._draws()
        sums = np.zeros((len(X), packed.n_outputs, packed.n_classes))
        n_unseen = np.zeros(len(X), dtype=np.int64)
        n_threads = thread_budget(self.n_jobs)

        def unseen_rows(estimator):
            return np.flatnonzero(draws.counts(estimator.random_state) == 0)

        for start in range(0, len(self.estimators_), TREES_AT_A_TIME):
            some = self.estimators_[start : start + TREES_AT_A_TIME]
            for tree_idx, rows in enumerate(map_threads(unseen_rows, some, n_threads), start):
                predict_tree_rows(packed, tree_idx, X, rows, sums, n_jobs=self.n_jobs)
                n_unseen[rows] += 1
        if not n_unseen.all():
            warnings.warn(
                "Some inputs do not have OOB scores. This probably means too few trees were used to compute any "
                "reliable OOB estimates.",
                UserWarning,
                stacklevel=stacklevel_of_caller(),
            )
            n_unseen[n_unseen == 0] = 1
        sums /= n_unseen[:, np.newaxis, np.newaxis]
        return sums


class ClassifierPrediction(ForestPrediction):
    """Mixin before scikit-learn's class of a forest for classification."""

    def predict(self, X):
        """Predict the class of each sample: the one with the highest mean probability over the trees.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to float32.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Classes.
        """
        probabilities = self.predict_proba(X)
        if self.n_outputs_ == 1:
            return self.classes_.take(probabilities.argmax(axis=1), axis=0)
        predictions = np.empty((len(probabilities[0]), self.n_outputs_), dtype=self.classes_[0].dtype)
        for k, (classes, of_output) in enumerate(zip(self.classes_, probabilities, strict=True)):
            predictions[:, k] = classes.take(of_output.argmax(axis=1), axis=0)
        return predictions

    def predict_proba(self, X):
        """Predict the probabilities of the classes: the mean of those that the trees predict.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to float32.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes), or list of them
            Probabilities in the order of `classes_`; for several outputs a list with those of each.
        """
        values = self._mean_values(X)
        if values is None:
            return super().predict_proba(X)
        if self.n_outputs_ == 1:
            return values[:, 0, :]
        return [np.ascontiguousarray(values[:, k, :n_classes]) for k, n_classes in enumerate(self.n_classes_)]

    def _set_oob_score_and_attributes(self, X, y, scoring_function=None):
        means = self._out_of_bag_means(X)
        if means is None:
            super()._set_oob_score_and_attributes(X, y, scoring_function)
            return
        of_outputs = (
            means[:, 0, :] if self.n_outputs_ == 1 else np.ascontiguousarray(means.transpose(0, 2, 1))
        )
        self.oob_decision_function_ = of_outputs
        self.oob_score_ = (scoring_function or accuracy_score)(y, np.argmax(of_outputs, axis=1))


class RegressorPrediction(ForestPrediction):
    """Mixin before scikit-learn's class of a forest for regression."""

    def predict(self, X):
        """Predict the target of each sample: the mean of what the trees predict.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to float32.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted values.
        """
        values = self._mean_values(X)
        if values is None:
            return super().predict(X)
        return values[:, 0, 0] if self.n_outputs_ == 1 else values[:, :, 0]

    def _set_oob_score_and_attributes(self, X, y, scoring_function=None):
        means = self._out_of_bag_means(X)
        if means is None:
            super()._set_oob_score_and_attributes(X, y, scoring_function)
            return
        self.oob_prediction_ = means[:, 0, 0] if self.n_outputs_ == 1 else means[:, :, 0]
        self.oob_score_ = (scoring_function or r2_score)(y, self.oob_prediction_)
