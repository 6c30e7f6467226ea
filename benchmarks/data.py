"""Data for the workloads: generated sets of any size, and iris."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_iris, make_classification, make_regression

_N_TEST_MAX = 20_000
_BLOCK_ROWS = 65_536
# Numbers of categories of the first columns of `labelled_rows`.
CATEGORIES_OF_COLUMNS = (10, 30, 80, 200)


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


def clusters(n_samples, n_features, *, n_classes=2, columns="continuous", seed=0):
    """Classes of several clusters each, half of the columns informative: work for a tree, not for a linear model."""
    X, y = make_classification(
        n_samples + _n_test(n_samples),
        n_features,
        n_informative=n_features // 2,
        n_classes=n_classes,
        n_clusters_per_class=2 if n_classes == 2 else 1,
        random_state=seed,
    )
    return _split(COLUMNS[columns](X, np.random.default_rng(seed)), y, n_samples)


def noisy_numbers(n_samples, n_features, *, n_targets=1, columns="continuous", positive=False, seed=0):
    """A linear signal in half of the columns, with noise; `positive` makes it a rate, for Poisson."""
    X, y = make_regression(
        n_samples + _n_test(n_samples),
        n_features,
        n_informative=n_features // 2,
        n_targets=n_targets,
        noise=10.0,
        random_state=seed,
    )
    if positive:
        y = np.exp(y / np.abs(y).max())
    return _split(COLUMNS[columns](X, np.random.default_rng(seed)), y, n_samples)


def labelled_rows(n_samples, n_features, *, seed=0):
    """Classes that depend on the categories of the first columns, whose numbers have no order, and on numbers."""
    rng = np.random.default_rng(seed)
    n_rows = n_samples + _n_test(n_samples)
    X = rng.standard_normal((n_rows, n_features))
    signal = X[:, len(CATEGORIES_OF_COLUMNS) :].sum(axis=1)
    for column, n_categories in enumerate(CATEGORIES_OF_COLUMNS):
        X[:, column] = rng.integers(0, n_categories, n_rows)
        signal += rng.standard_normal(n_categories)[X[:, column].astype(int)]
    return _split(X, (signal + rng.standard_normal(n_rows) > 0).astype(int), n_samples)


def _levels(X, n_levels):
    """Columns as whole numbers, of about as many levels: what codes of a category or counts are."""
    low, high = X.min(axis=0), X.max(axis=0)
    return np.floor((X - low) / (high - low) * (n_levels - 1))


def _mostly_constant(X, rng):
    return np.where(rng.random(X.shape) < 0.98, 0.0, X)


def _with_missing(X, rng):
    """A tenth of the entries in every other column."""
    missing = rng.random(X.shape) < 0.1
    missing[:, 1::2] = False
    return np.where(missing, np.nan, X)


# What columns are like decides what a tree's search costs: kinds that every sort and scan has to meet.
COLUMNS = {
    "continuous": lambda X, rng: X,
    "high cardinality": lambda X, rng: _levels(X, len(X) // 4),
    "heavily tied": lambda X, rng: _levels(X, 12),
    "mostly constant": _mostly_constant,
    "missing values": _with_missing,
}


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


def largest_of(n_samples, n_features, *, n_classes=10, dtype=np.float32, seed=0):
    """Which of the first columns is the largest in absolute value: classes that a network has to bend for."""
    rng = np.random.default_rng(seed)
    n_rows = n_samples + _n_test(n_samples)
    X = normal_matrix(rng, n_rows, n_features, dtype)
    y = np.abs(X[:, :n_classes]).argmax(axis=1)
    y[:n_classes] = np.arange(min(n_classes, n_features)).repeat(n_classes)[:n_classes]
    return _split(X, y, n_samples)


def digits(n_samples=1400, n_features=64):
    """Images of digits, the rows and pixels ahead of which are fitted."""
    X, y = load_digits(return_X_y=True)
    return _split(X[:, :n_features] / 16.0, y, n_samples)
