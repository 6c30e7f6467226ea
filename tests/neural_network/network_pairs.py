"""Pairs of estimators, fastfit's and scikit-learn's, and the comparison of their training runs."""

import warnings

import numpy as np
from sklearn import neural_network as theirs

from fastfit import neural_network as ours

RTOL = {np.float64: 1e-6, np.float32: 1e-3}


def data_for(kind, n_samples=90, n_features=7, dtype=np.float64, seed=0):
    """X and y of one kind of problem: what the last layer and the loss depend on."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)).astype(dtype)
    signal = X[:, 0] + 0.5 * rng.standard_normal(n_samples)
    y = {
        "binary": (signal > 0).astype(int),
        "multiclass": np.digitize(signal, [-0.5, 0.5]),
        "multilabel": np.column_stack([signal > 0, X[:, 1 % n_features] > 0, signal < 1]).astype(int),
        "one target": signal.astype(dtype),
        "targets": np.column_stack([signal, -2.0 * signal, X[:, -1]]).astype(dtype),
        "counts": rng.poisson(np.exp(0.3 * signal)).astype(dtype),
    }[kind]
    return X, y


def pair_for(kind, **params):
    """An unfitted estimator of either library for that kind of problem."""
    name = "MLPClassifier" if kind in ("binary", "multiclass", "multilabel") else "MLPRegressor"
    if kind == "counts":
        params = {"loss": "poisson", **params}
    return getattr(ours, name)(**params), getattr(theirs, name)(**params)


def quietly(function, *args, **kwargs):
    """Call without warnings: few epochs need not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def fit_pair(pair, X, y, **fit_arguments):
    """Fit both on the same data."""
    for estimator in pair:
        quietly(estimator.fit, X, y, **fit_arguments)
    return pair


def assert_same_run(mine, reference, rtol):
    """Compare all that a training run leaves behind."""
    assert mine.n_iter_ == reference.n_iter_
    assert mine.t_ == reference.t_
    assert mine.n_layers_ == reference.n_layers_
    assert mine.n_outputs_ == reference.n_outputs_
    assert mine.out_activation_ == reference.out_activation_
    assert mine._no_improvement_count == reference._no_improvement_count
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        expected = getattr(reference, name, None)
        if expected is None:
            assert getattr(mine, name, None) is None
        else:
            np.testing.assert_allclose(getattr(mine, name), expected, rtol=rtol, atol=1e-9, err_msg=name)
    assert_same_weights(mine, reference, rtol)


def assert_same_weights(mine, reference, rtol):
    """Compare the weights, each with the scale of its array."""
    for name in ("coefs_", "intercepts_"):
        arrays, expected = getattr(mine, name), getattr(reference, name)
        assert len(arrays) == len(expected)
        for array, other in zip(arrays, expected, strict=True):
            assert array.dtype == other.dtype
            assert array.shape == other.shape
            np.testing.assert_allclose(array, other, rtol=rtol, atol=rtol * np.abs(other).max(), err_msg=name)
