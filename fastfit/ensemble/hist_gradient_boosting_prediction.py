"""Predictions of boosted trees: one walk through all of them."""

import weakref

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastfit.ensemble.hist_gradient_boosting_labels import encode_classes

PLAIN_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

# Packed trees by estimator. Kept beside the estimators instead of in them: predicting changes no attribute, and
# pickles, copies and clones know nothing of it.
_packed_by_estimator = weakref.WeakKeyDictionary()


class BoostingPrediction:
    """Mixin: what classifiers and regressors share."""

    def _raw_predict(self, X, n_threads=None):
        """Return the baseline and the values of all trees, summed: shape (n_samples, n_trees_per_iteration)."""
        fitted = self.__dict__
        if "_predictors" not in fitted:
            check_is_fitted(self)
        of_binned = fitted.get("_in_fit")
        if of_binned is not None:
            return of_binned.of(X)
        from fastfit.training.boosting_prediction import predict_raw

        X = self._features_to_predict(X)
        return predict_raw(self._packed_trees(), X, self._baseline_prediction, n_jobs=self.n_jobs)

    def _staged_raw_predict(self, X):
        """Yield the raw predictions after each round."""
        check_is_fitted(self)
        from fastfit.training.boosting_prediction import predict_raw

        X = self._features_to_predict(X)
        raw = self._baseline_prediction
        for of_round in self._predictors:
            # The sums so far stand in for the baseline, so that they are added up as in `_raw_predict`.
            raw = predict_raw(self._pack([of_round]), X, raw, n_jobs=self.n_jobs)
            yield raw.copy(order="F")

    def _features_to_predict(self, X):
        """Return X checked, as floats; without scikit-learn's checks if it is beyond doubt what they accept."""
        fitted = self.__dict__
        if (
            type(X) is np.ndarray
            and X.dtype in PLAIN_DTYPES
            and X.ndim == 2
            and X.shape[1] == fitted["n_features_in_"]
            and X.shape[0] > 0
            and fitted["_preprocessor"] is None
            and "feature_names_in_" not in fitted
        ):
            return X.astype(np.float64, copy=False)
        return self._preprocess_X(X, reset=False)

    def _packed_trees(self):
        """Return the trees packed for prediction, made anew when they are not the ones packed last.

        Rounds are told apart by identity: 1 us for 100 of them.
        """
        predictors = self._predictors
        kept = _packed_by_estimator.get(self)
        if kept is not None and kept[0] == predictors:
            return kept[1]
        packed = self._pack(predictors)
        _packed_by_estimator[self] = list(predictors), packed
        return packed

    def _pack(self, predictors):
        """Return these rounds of trees packed."""
        from fastfit.training.boosting_prediction import pack_trees

        bitsets, positions = self._bin_mapper.make_known_categories_bitsets()
        return pack_trees(predictors, self._n_features, known_cat_bitsets=bitsets, f_idx_map=positions)


class ClassifierPrediction(BoostingPrediction):
    """Mixin before scikit-learn's class for classification."""

    def _encode_y(self, y):
        """Return the classes as codes, and learn how many trees a round has."""
        self._label_encoder, codes = encode_classes(y)
        self.classes_ = self._label_encoder.classes_
        n_classes = len(self.classes_)
        self.n_trees_per_iteration_ = 1 if n_classes <= 2 else n_classes
        return codes


class RegressorPrediction(BoostingPrediction):
    """Mixin before scikit-learn's class for regression."""
