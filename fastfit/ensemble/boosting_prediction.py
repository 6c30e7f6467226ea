"""Predictions of exact gradient boosting: one walk through all trees, or scikit-learn's own where that does not fit."""

import weakref
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble._gb import _init_raw_predictions
from sklearn.utils.validation import check_is_fitted, validate_data

from fastfit.ensemble.forest_prediction import KNOWN_TREES
from fastfit.tree.plain_arrays import take_plain_features

# Strategies of scikit-learn's dummies that predict the same for every sample.
CONSTANT_STRATEGIES = ("prior", "mean", "quantile", "median", "constant")

# Rows from which it pays to answer all questions of trees of so many levels at most; see complete_trees.
MANY_ROWS, MAX_DEPTH = 256, 3

# Packed trees by ensemble, beside the estimators instead of in them: predicting changes no attribute.
_packed_rounds = weakref.WeakKeyDictionary()


class PackedRounds(NamedTuple):
    """Trees packed for prediction, and what tells whether they are still the ensemble's."""

    trees: list  # of scikit-learn's Tree, round by round
    shape: tuple  # (n_rounds, n_trees_per_iteration)
    learning_rate: float
    init: object
    # For each of the trees of a round, once they are needed; values are steps times the learning rate.
    forests: list  # of FlatForest
    complete: list  # of CompleteTrees
    first: (
        np.ndarray | None
    )  # (n_trees_per_iteration,) float64: prediction before the first round, if it is constant


class BoostingPrediction:
    """Mixin: what classifiers and regressors share."""

    def apply(self, X):
        """Return the leaf that each sample ends in, for each tree.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        Returns
        -------
        X_leaves : ndarray of shape (n_samples, n_estimators, n_trees_per_iteration)
            Numbers of the leaves within their trees.
        """
        check_is_fitted(self)
        packed = self._pack_rounds()
        checked = None if packed is None else self.estimators_[0, 0]._validate_X_predict(X, check_input=True)
        if checked is None or sp.issparse(checked):
            return super().apply(X)
        from fastfit.training.tree_prediction import apply_forest

        leaves = np.zeros((checked.shape[0], *self.estimators_.shape))
        for k, forest in enumerate(self._forests(packed)):
            leaves[:, :, k] = apply_forest(forest, checked, n_jobs=self.n_jobs)
        return leaves

    def _checked_raw_predict(self, X):
        """Return the raw predictions for X as the user gave it, (n_samples, n_trees_per_iteration)."""
        fitted = self.__dict__
        if (
            "feature_names_in_" not in fitted
            and getattr(X, "ndim", 0) == 2
            and X.shape[1] == fitted.get("n_features_in_")
            and "estimators_" in fitted
        ):
            plain = take_plain_features(X, lambda: False)
            if plain is not None:
                return self._raw_predict(plain[0])
        X = validate_data(self, X, dtype=np.float32, order="C", accept_sparse="csr", reset=False)
        return self._raw_predict(X)

    def _raw_predict(self, X):
        """Return the raw predictions for X that is checked already; scikit-learn's ``fit`` calls this, too."""
        if "estimators_" not in self.__dict__:
            check_is_fitted(self)
        packed = None if sp.issparse(X) else self._pack_rounds()
        if packed is None:
            return super()._raw_predict(X)
        if packed.first is None:
            raw = self._raw_predict_init(X)
        else:
            raw = np.empty((X.shape[0], len(packed.first)))
            raw[:] = packed.first
        complete = self._complete_trees(packed) if len(X) >= MANY_ROWS else None
        if complete is not None:
            from fastfit.training.complete_trees import add_complete_trees as add
        else:
            from fastfit.training.tree_prediction import add_forest as add
        for k, trees in enumerate(self._forests(packed) if complete is None else complete):
            column = np.ascontiguousarray(raw[:, k])
            add(trees, X, column, n_jobs=self.n_jobs)
            raw[:, k] = column
        return raw

    def _forests(self, packed):
        """Return the trees packed for walks."""
        if not packed.forests:
            from fastfit.training.tree_prediction import flatten_forest

            nodes, steps = self._nodes_and_steps(packed.trees)
            n_columns = packed.shape[1]
            packed.forests[:] = [
                flatten_forest(nodes[k::n_columns], steps[k::n_columns], self.n_features_in_)
                for k in range(n_columns)
            ]
        return packed.forests

    def _complete_trees(self, packed):
        """Return the trees of three levels at most for predictions of many rows, or None if any is deeper."""
        if max(tree.max_depth for tree in packed.trees) > MAX_DEPTH:
            return None
        if not packed.complete:
            from fastfit.training.complete_trees import complete_trees

            nodes, steps = self._nodes_and_steps(packed.trees)
            n_columns = packed.shape[1]
            packed.complete[:] = [
                complete_trees(nodes[k::n_columns], steps[k::n_columns]) for k in range(n_columns)
            ]
        return packed.complete

    def _nodes_and_steps(self, trees):
        states = [tree.__getstate__() for tree in trees]
        return [state["nodes"] for state in states], [
            self.learning_rate * state["values"] for state in states
        ]

    def _staged_raw_predict(self, X, check_input=True):
        """Yield the raw predictions after each round."""
        packed = self._pack_rounds() if "estimators_" in self.__dict__ else None
        if packed is None or sp.issparse(X):
            yield from super()._staged_raw_predict(X, check_input)
            return
        if check_input:
            X = validate_data(self, X, dtype=np.float32, order="C", accept_sparse="csr", reset=False)
        from fastfit.training.tree_prediction import add_forest

        raw = self._raw_predict_init(X)
        forests = self._forests(packed)
        columns = [np.ascontiguousarray(raw[:, k]) for k in range(raw.shape[1])]
        for i in range(self.estimators_.shape[0]):
            for forest, column in zip(forests, columns, strict=True):
                add_forest(forest, X, column, trees=(i, i + 1), n_jobs=self.n_jobs)
            yield np.stack(columns, axis=1)

    def _pack_rounds(self):
        """Return the trees packed for prediction, made anew when they are not the ones packed last; or None."""
        estimators = self.estimators_
        of_rounds = estimators.ravel().tolist()
        try:
            trees = [estimator.tree_ for estimator in of_rounds]
        except AttributeError:  # rounds that are still to be done
            return None
        kept = _packed_rounds.get(self)
        facts = trees, estimators.shape, self.learning_rate, self.init_
        if kept is not None and kept[0] == trees and kept[1:3] == facts[1:3] and kept[3] is self.init_:
            return kept
        if not trees or not KNOWN_TREES.issuperset(map(type, of_rounds)):
            return None
        packed = PackedRounds(*facts, [], [], self._constant_init())
        _packed_rounds[self] = packed
        return packed

    def _constant_init(self):
        """Return the raw prediction before the first round if it is the same for all samples, else None."""
        init = self.init_
        if isinstance(init, str):
            return np.zeros(self.n_trees_per_iteration_)
        if type(init) not in (DummyClassifier, DummyRegressor) or init.strategy not in CONSTANT_STRATEGIES:
            return None
        row = np.zeros((1, self.n_features_in_), dtype=np.float32)
        return _init_raw_predictions(row, init, self._loss, is_classifier(self))[0]


class ClassifierPrediction(BoostingPrediction):
    """Mixin before scikit-learn's class for classification."""

    def decision_function(self, X):
        """Return the raw predictions: the sums of the steps of all rounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        Returns
        -------
        score : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one number, which is positive for the second class; else one for each class, in the order
            of `classes_`.
        """
        raw = self._checked_raw_predict(X)
        return raw.ravel() if raw.shape[1] == 1 else raw


class RegressorPrediction(BoostingPrediction):
    """Mixin before scikit-learn's class for regression."""

    def predict(self, X):
        """Predict the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values.
        """
        return self._checked_raw_predict(X).ravel()

    def apply(self, X):
        """Return the leaf that each sample ends in, for each tree.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        Returns
        -------
        X_leaves : ndarray of shape (n_samples, n_estimators)
            Numbers of the leaves within their trees.
        """
        leaves = super().apply(X)
        return leaves.reshape(leaves.shape[0], self.estimators_.shape[0])
