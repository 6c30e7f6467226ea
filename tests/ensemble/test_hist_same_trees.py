"""Boosted trees are scikit-learn's, split for split but for near-ties: over the arguments and on real data."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from tests.ensemble.hist_pairs import CLASSIFIER, REGRESSOR, compare_rounds, fit_both

# Two gains that differ by less than this share of the tree's largest are a near-tie: either split may be taken.
# scikit-learn's gains carry the rounding of gradients to float32 (2**-24 each).
NEAR_TIE = 1e-5
# The values of leaves, relative to the largest of the tree.
CLOSE_VALUES = 2e-6


def noisy_table(n_samples=800, n_features=6, seed=0):
    """Columns of all kinds, and a target that depends on some: X, numbers, classes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    X[:, 1] = np.rint(2 * X[:, 1])  # few different values
    X[:, 2] = np.where(rng.random(n_samples) < 0.2, np.nan, X[:, 2])
    X[:, 3] = rng.integers(0, 9, n_samples)  # codes of categories
    numbers = X[:, 0] + np.abs(X[:, 1]) + np.nan_to_num(X[:, 2]) ** 2 + (X[:, 3] % 3 == 1)
    numbers = numbers + 0.3 * rng.standard_normal(n_samples)
    return X, numbers, np.searchsorted([0.5, 2.0], numbers)


X, NUMBERS, CLASSES = noisy_table()
WEIGHT = np.random.default_rng(1).uniform(0.1, 3.0, len(X))


def target_of(name, params):
    if name == CLASSIFIER:
        return CLASSES if params.get("n_classes", 3) == 3 else CLASSES > 0
    return np.exp(NUMBERS / 3) if params.get("loss") in ("gamma", "poisson") else NUMBERS


def assert_same_rounds(ours, theirs, n_rounds=None):
    """Check that trees are the same up to the first near-tie, and that near-ties are rare."""
    comparison = compare_rounds(ours, theirs, n_rounds)
    # Where features are drawn for each node, the first departure changes the draws of all nodes that come after it.
    worst = min if ours.max_features < 1.0 else max
    assert worst(comparison.departures, default=0.0) < NEAR_TIE, comparison
    if not comparison.departures:
        assert comparison.n_same == comparison.n_nodes
    else:
        assert comparison.n_same_trees >= comparison.n_trees - len(comparison.departures)
    assert comparison.value_gap < CLOSE_VALUES, comparison
    assert comparison.gain_gap < NEAR_TIE, comparison
    return comparison


LOSSES = [
    (CLASSIFIER, {}),
    (CLASSIFIER, {"n_classes": 2}),
    (REGRESSOR, {}),
    (REGRESSOR, {"loss": "absolute_error"}),
    (REGRESSOR, {"loss": "gamma"}),
    (REGRESSOR, {"loss": "poisson"}),
    (REGRESSOR, {"loss": "quantile", "quantile": 0.8}),
]
SETTINGS = [
    {},
    {"max_leaf_nodes": 5},
    {"max_leaf_nodes": None, "max_depth": 4},
    {"max_leaf_nodes": None, "min_samples_leaf": 1},
    {"min_samples_leaf": 90},
    {"l2_regularization": 5.0, "learning_rate": 0.5},
    {"max_features": 0.4},
    {"max_bins": 7},
    {"categorical_features": [3]},
    {"categorical_features": [1, 3], "max_features": 0.7, "max_bins": 30},
    {"monotonic_cst": [1, 0, -1, 0, 0, 1]},
    {"interaction_cst": [{0, 1, 3}, {2, 4}]},
    {"interaction_cst": "no_interactions", "max_features": 0.9},
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("name", "params"), LOSSES, ids=str)
def test_over_the_arguments(name, params, settings, weighted):
    if "monotonic_cst" in settings and params == {} and name == CLASSIFIER:
        pytest.skip("scikit-learn allows no monotonic constraints of several classes")
    y = target_of(name, params)
    of_both = {key: value for key, value in params.items() if key != "n_classes"}
    ours, theirs = fit_both(
        name, X, y, WEIGHT if weighted else None, max_iter=3, random_state=3, **of_both, **settings
    )
    assert ours._bin_mapper.missing_values_bin_idx_ == theirs._bin_mapper.missing_values_bin_idx_
    assert_same_rounds(ours, theirs)


REAL_DATA = {
    "iris": (CLASSIFIER, load_iris),
    "wine": (CLASSIFIER, load_wine),
    "breast cancer": (CLASSIFIER, load_breast_cancer),
    "digits": (CLASSIFIER, load_digits),
    "diabetes": (REGRESSOR, load_diabetes),
}


@pytest.mark.parametrize("data", REAL_DATA)
def test_on_real_data(data, record_property):
    name, load = REAL_DATA[data]
    X, y = load(return_X_y=True)
    ours, theirs = fit_both(name, X, y, max_iter=20, random_state=0)
    comparison = assert_same_rounds(ours, theirs)
    record_property("near-ties", len(comparison.departures))
    record_property("rounds that are the same", comparison.n_same_trees // ours.n_trees_per_iteration_)


@pytest.mark.parametrize("data", REAL_DATA)
def test_predictions_after_a_hundred_rounds(data):
    name, load = REAL_DATA[data]
    X, y = load(return_X_y=True)
    train = np.arange(len(X)) % 4 != 0
    ours, theirs = fit_both(name, X[train], y[train], max_iter=100, random_state=0)
    if name == REGRESSOR:
        a, b = ours.predict(X[~train]), theirs.predict(X[~train])
        assert r2_score(y[~train], a) == pytest.approx(r2_score(y[~train], b), abs=1e-4)
        return
    a, b = ours.predict_proba(X[~train]), theirs.predict_proba(X[~train])
    far = np.abs(a - b).max(axis=1) > 1e-3
    assert far.mean() <= 1e-3
    assert log_loss(y[~train], a) == pytest.approx(log_loss(y[~train], b), abs=1e-4)
    if a.shape[1] == 2:
        assert roc_auc_score(y[~train], a[:, 1]) == pytest.approx(roc_auc_score(y[~train], b[:, 1]), abs=1e-4)


@pytest.mark.slow
def test_predictions_on_many_rows():
    """Noise, and more rows than bins: where gains have no ties but by accident."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 10))
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.standard_normal(len(X)) > 0
    ours, theirs = fit_both(CLASSIFIER, X, y, max_iter=100, early_stopping=False)
    a, b = ours.predict_proba(X)[:, 1], theirs.predict_proba(X)[:, 1]
    assert np.mean(np.abs(a - b) > 1e-3) <= 1e-3
    assert roc_auc_score(y, a) == pytest.approx(roc_auc_score(y, b), abs=1e-4)


@pytest.mark.plain_python
def test_a_small_tree_in_plain_python():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = X[:, 0] + 0.1 * rng.standard_normal(60)
    ours, theirs = fit_both(REGRESSOR, X, y, max_iter=2, min_samples_leaf=5, max_bins=16)
    assert_same_rounds(ours, theirs)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)


@pytest.mark.plain_python
def test_a_small_tree_of_classes_in_plain_python():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 3))
    ours, theirs = fit_both(CLASSIFIER, X, X[:, 0] > 0.1, max_iter=2, min_samples_leaf=5, max_bins=16)
    assert_same_rounds(ours, theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_splits_of_equal_gain_on_few_samples(seed):
    """Features that part a small node alike: which one splits it is a matter of the last bit of a sum."""
    X, numbers = load_diabetes(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(X))[:200]
    y = np.searchsorted([100.0, 180.0], numbers[rows])
    ours, theirs = fit_both(CLASSIFIER, X[rows], y, max_iter=20, learning_rate=0.5, min_samples_leaf=3)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-4, atol=1e-6)
