"""Data for the workloads: generated sets of any size, and iris."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_iris

_N_TEST_MAX = 20_000
_BLOCK_ROWS = 65_536


class Data(NamedTuple):
    """One data set: rows to fit and held-out rows to score."""

    X: np.ndarray  # (n_samples, n_features)
    y: np.ndarray  # (n_samples,) or (n_samples, n_targets)
    X_test: np.ndarray
    y_test: np.ndarray


def normal_matrix(rng, n_rows, n_columns, dtype):
    """Standard normal numbers, drawn in blocks so that a large matrix needs no second one beside it."""
    matrix = np.empty((n_rows, n_columns), dtype=dtype)
    for start in range(0, n_rows, _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        block[:] = rng.standard_normal(block.shape)
    return matrix


def _split(X, y, n_samples):
    return Data(X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:])


def _n_test(n_samples):
    return min(max(n_samples // 5, 30), _N_TEST_MAX)


def regression(n_samples, n_features, *, n_targets=None, dtype=np.float64, noise=1.0, seed=0):
    """A linear signal with unit-variance columns and Gaussian noise."""
    rng = np.random.default_rng(seed)
    n_rows = n_samples + _n_test(n_samples)
    X = normal_matrix(rng, n_rows, n_features, dtype)
    X += np.linspace(-1.0, 1.0, n_features, dtype=dtype)
    shape = (n_features,) if n_targets is None else (n_features, n_targets)
    weights = rng.standard_normal(shape) / np.sqrt(n_features)
    signal = X @ weights.astype(dtype) + 3.0
    y = (signal + noise * rng.standard_normal(signal.shape)).astype(dtype)
    return _split(X, y, n_samples)


def classification(n_samples, n_features, *, n_classes=2, dtype=np.float64, seed=0):
    """Classes that a linear model separates to about nine rows in ten; every class occurs."""
    rng = np.random.default_rng(seed)
    n_rows = n_samples + _n_test(n_samples)
    X = normal_matrix(rng, n_rows, n_features, dtype)
    weights = rng.standard_normal((n_features, n_classes)) / np.sqrt(n_features)
    y = np.argmax(4.0 * (X @ weights.astype(dtype)) + rng.gumbel(size=(n_rows, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)
    return _split(X, y, n_samples)


def iris_classes(n_samples=150, n_features=4):
    """Iris, the sizes ignored: the smallest data people fit, where fixed costs decide."""
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return Data(X, y, X, y)


def iris_petal_width(n_samples=150, n_features=3):
    """Iris as a regression: petal width from the other three columns."""
    X, _ = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X, y = np.ascontiguousarray(X[:, :3]), X[:, 3].copy()
    return Data(X, y, X, y)
