"""Losses of the data alone, without penalty, and their slopes, as the estimators define them."""

import numpy as np
from sklearn.base import is_classifier

from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor

__all__ = ["data_loss", "output_slopes"]


def _hinge(threshold):
    def loss(margin):
        return np.maximum(0.0, threshold - margin)

    def slope(margin):
        return np.where(margin <= threshold, -1.0, 0.0)

    return loss, slope


# Of classes: functions of the margin, the score times -1 or 1.
MARGIN_LOSSES = {
    "hinge": _hinge(1.0),
    "perceptron": _hinge(0.0),
    "squared_hinge": (
        lambda m: np.maximum(0.0, 1.0 - m) ** 2,
        lambda m: -2.0 * np.maximum(0.0, 1.0 - m),
    ),
    "log_loss": (
        lambda m: np.logaddexp(0.0, -m),
        lambda m: -np.exp(-np.logaddexp(0.0, m)),
    ),
    "modified_huber": (
        lambda m: np.where(m >= -1.0, np.maximum(0.0, 1.0 - m) ** 2, -4.0 * m),
        lambda m: np.where(m >= -1.0, -2.0 * np.maximum(0.0, 1.0 - m), -4.0),
    ),
}
# Of numbers: functions of the error, prediction minus target, and of the hyperparameter epsilon.
ERROR_LOSSES = {
    "squared_error": (lambda e, epsilon: 0.5 * e**2, lambda e, epsilon: e),
    "huber": (
        lambda e, epsilon: np.where(np.abs(e) <= epsilon, 0.5 * e**2, epsilon * (np.abs(e) - 0.5 * epsilon)),
        lambda e, epsilon: np.clip(e, -epsilon, epsilon),
    ),
    "epsilon_insensitive": (
        lambda e, epsilon: np.maximum(0.0, np.abs(e) - epsilon),
        lambda e, epsilon: np.sign(e) * (np.abs(e) > epsilon),
    ),
    "squared_epsilon_insensitive": (
        lambda e, epsilon: np.maximum(0.0, np.abs(e) - epsilon) ** 2,
        lambda e, epsilon: 2.0 * np.sign(e) * np.maximum(0.0, np.abs(e) - epsilon),
    ),
}


def data_loss(estimator, X, y):
    """Return the mean loss of a fitted estimator on data, without its penalty.

    Parameters
    ----------
    estimator : SGDRegressor, SGDClassifier, LinearRegression, MLPRegressor or MLPClassifier
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

    Returns
    -------
    loss : float
        Of several outputs, the mean; of one-versus-all classifiers, the mean over the classifiers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(estimator, SGDClassifier | SGDRegressor | LinearRegression):
            return float(np.mean(_linear_values(estimator, X, y)[0]))
        if is_classifier(estimator):
            return _cross_entropy(estimator, X, y)
        prediction, y = estimator.predict(X), np.asarray(y, dtype=np.float64)
        if estimator.loss == "poisson":
            return float(np.mean(prediction - y * np.log(prediction)))
        return 0.5 * float(np.mean((prediction.reshape(y.shape) - y) ** 2))


def output_slopes(estimator, X, y):
    """Return the derivative of each sample's loss by each output of a linear model: (n_samples, n_outputs)."""
    return _linear_values(estimator, X, y)[1]


def _linear_values(estimator, X, y):
    """Return losses and slopes of the samples, both of shape (n_samples, n_outputs)."""
    if isinstance(estimator, SGDClassifier):
        scores = estimator.decision_function(X).reshape(len(X), -1).astype(np.float64)
        classes = estimator.classes_[1:] if scores.shape[1] == 1 else estimator.classes_
        sign = np.where(np.asarray(y)[:, None] == classes, 1.0, -1.0)
        if estimator.loss in MARGIN_LOSSES:
            value, slope = MARGIN_LOSSES[estimator.loss]
            return value(sign * scores), sign * slope(sign * scores)
        return _error_values(estimator, scores - sign)
    prediction = np.asarray(estimator.predict(X), dtype=np.float64).reshape(len(X), -1)
    return _error_values(estimator, prediction - np.asarray(y, dtype=np.float64).reshape(prediction.shape))


def _error_values(estimator, error):
    value, slope = ERROR_LOSSES[getattr(estimator, "loss", "squared_error")]
    epsilon = getattr(estimator, "epsilon", 0.0)
    return value(error, epsilon), slope(error, epsilon)


def _cross_entropy(estimator, X, y):
    probability = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    tiny = np.finfo(estimator.coefs_[0].dtype).eps
    probability = np.clip(probability, tiny, 1.0 - tiny)
    y = np.asarray(y)
    if y.ndim == 2:  # many labels a sample
        return float(-np.mean(np.sum(y * np.log(probability) + (1 - y) * np.log(1.0 - probability), axis=1)))
    codes = np.searchsorted(estimator.classes_, y)
    return float(-np.mean(np.log(probability[np.arange(len(y)), codes])))
