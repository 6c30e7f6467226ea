"""Data for the tests of linear regression."""

import numpy as np


def make_data(n_samples, n_features, n_targets=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) + rng.normal(size=n_features)
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    y = X @ rng.normal(size=shape)
    return X, y + rng.normal(size=y.shape) + 3.0, rng.uniform(0.1, 2.0, size=n_samples)


def with_condition(n_samples, n_features, condition, seed=0):
    rng = np.random.default_rng(seed)
    m = min(n_samples, n_features)
    left, _ = np.linalg.qr(rng.normal(size=(n_samples, m)))
    right, _ = np.linalg.qr(rng.normal(size=(n_features, m)))
    return left * np.logspace(0, -np.log10(condition), m) @ right.T


def loss(estimator, X, y, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    return 0.5 * np.average((estimator.predict(X) - y) ** 2, axis=0, weights=weight).mean()
