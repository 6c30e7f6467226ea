"""Scores of a growing model, on the training data and on data kept back, and when they say that it is enough."""

import numpy as np
from sklearn.ensemble._hist_gradient_boosting import gradient_boosting as sklearn_module
from sklearn.metrics._scorer import _SCORERS
from sklearn.model_selection import train_test_split

# Codes of so many classes fit into integers that NumPy sorts by their digits.
MAX_SHORT_CODE = np.iinfo(np.int16).max


def split_rows(n_samples, y, *, validation_fraction, stratify, seed):
    """Return the rows to train with and those to validate with: the ones that scikit-learn draws.

    Parameters
    ----------
    n_samples : int
    y : ndarray of shape (n_samples,), float64
    validation_fraction : float or int
    stratify : bool
        Whether y are codes of classes, whose shares both parts are to keep.
    seed : int

    Returns
    -------
    train_rows, validation_rows : ndarray of int
    """
    codes = None
    if stratify:
        codes = y if len(y) < 1000 or y.max() > MAX_SHORT_CODE else y.astype(np.int16)
    return train_test_split(
        np.arange(n_samples), test_size=validation_fraction, stratify=codes, random_state=seed
    )


class BinnedPredictions:
    """What ``_raw_predict`` returns during a fit, when a scorer asks for predictions of binned data.

    The predictions of the data that are scored are kept up to date by the rounds; they are found by the identity of
    the array that the scorer passes on.
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.known = {}

    def keep(self, X_binned, read):
        """Remember where the predictions of these data stand: what ``read()`` returns."""
        self.known[id(X_binned)] = X_binned, read

    def of(self, X_binned):
        """Return the raw predictions of binned data, of shape (n_samples, n_trees_per_iteration)."""
        known, read = self.known.get(id(X_binned), (None, None))
        if known is X_binned and known is not None:
            return read()
        from fastfit.training.boosting_prediction import predict_binned

        estimator = self.estimator
        return predict_binned(
            estimator._pack(estimator._predictors),
            np.ascontiguousarray(X_binned, dtype=np.uint8),
            estimator._bin_mapper.missing_values_bin_idx_,
            estimator._baseline_prediction,
            n_jobs=estimator.n_jobs,
        )


class EarlyStopping:
    """Appends to ``train_score_`` and ``validation_score_`` of the estimator, and tells when to stop.

    Parameters
    ----------
    estimator : HistGradientBoostingFitting
    rounds : Rounds
        Knows the raw predictions.
    training, validation : Part
        The latter None to look at the training data.
    """

    def __init__(self, estimator, rounds, training, validation):
        self.estimator = estimator
        self.rounds = rounds
        self.training = training
        self.validation = validation
        self.by_loss = estimator.scoring == "loss"
        if not self.by_loss:
            self._prepare_scorer()

    def score(self):
        """Score the model as it is; return whether to stop."""
        if not self.by_loss:
            return self._score_by_scorer()
        estimator, rounds = self.estimator, self.rounds
        estimator.train_score_.append(-rounds.training_loss())
        if self.validation is None:
            return estimator._should_stop(estimator.train_score_)
        estimator.validation_score_.append(-rounds.validation_loss())
        return estimator._should_stop(estimator.validation_score_)

    def _prepare_scorer(self):
        estimator, training, rounds = self.estimator, self.training, self.rounds
        if estimator._scorer is None:
            # By way of its module: its tests put another one there.
            estimator._scorer = sklearn_module.check_scoring(estimator, estimator.scoring)
        # scikit-learn patches its predictions for scorers with a name, and calls the method for others.
        self.has_name = estimator.scoring in _SCORERS
        *self.small, self.small_rows = estimator._get_small_trainset(
            training.bins.rows, training.y, training.sample_weight, estimator._random_seed
        )
        predictions = BinnedPredictions(estimator)
        predictions.keep(self.small[0], self._small_predictions)
        if self.validation is not None:
            predictions.keep(self.validation.bins.rows, lambda: rounds.raw_validation)
        estimator._in_fit = predictions

    def _small_predictions(self):
        return self.rounds.raw_training[self.small_rows]

    def _score_by_scorer(self):
        validation = (None, None, None)
        raw_small = raw_validation = None
        if self.validation is not None:
            bins, *rest = self.validation
            validation = (bins.rows, *rest)
        if self.has_name:
            raw_small = self._small_predictions()
            raw_validation = self.rounds.raw_validation
        return self.estimator._check_early_stopping_scorer(
            *self.small,
            *validation,
            raw_predictions_small_train=raw_small,
            raw_predictions_val=raw_validation,
        )
