"""Trees on columns most of whose values are one and the same: scikit-learn's, bit for bit."""

import numpy as np
import pytest

from fastfit.training import bounded_growth, frequent_growth, small_boosting
from fastfit.training.tree_growth import GrowthOptions
from tests.ensemble.boosting_pairs import CLASSIFIER, REGRESSOR, assert_same_ensemble, fit_both

N_SAMPLES = 1500
SETTINGS = [
    {},
    {"subsample": 0.5},
    {"max_features": "sqrt", "subsample": 0.7},
    {"max_depth": 8},
    {"max_leaf_nodes": 9, "max_depth": None},
    {"min_samples_leaf": 12},
    {"min_weight_fraction_leaf": 0.01, "subsample": 0.8},
    {"loss": "huber"},
]


def make_columns(kind, n_samples=N_SAMPLES, n_features=6):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    is_other = rng.random(X.shape) < 0.05
    if kind == "real numbers":
        X = np.where(is_other, X, 0.0)
    elif kind == "dummies":
        X = is_other.astype(np.float32)
    elif kind == "counts":
        X = rng.poisson(0.08, size=X.shape).astype(np.float32)
    elif kind == "rounded":
        X = np.where(is_other, np.rint(3 * X), 0.0)
    elif kind == "beside others":
        X[:, 1:] = np.where(is_other, X, 7.0)[:, 1:]
    elif kind == "nearly equal":
        X = np.where(is_other, np.rint(X) + 5e-8, 0.0)
    X = X.astype(np.float32)
    y = X.sum(axis=1) + X[:, 0] * X[:, 2] + rng.normal(size=n_samples)
    return X, y


KINDS = ["real numbers", "dummies", "counts", "rounded", "beside others", "nearly equal"]


@pytest.fixture(autouse=True)
def _only_this_engine(monkeypatch):
    monkeypatch.setattr(small_boosting, "SMALL_X", 0)
    monkeypatch.setattr(frequent_growth, "LEAST_X", 0)
    monkeypatch.setattr(bounded_growth, "SAMPLES_PER_LEAF", 1 << 40)

    def refuse(*args, **kwargs):
        raise AssertionError("another engine was asked")

    monkeypatch.setattr("fastfit.training.boosting_trees.grow_tree", refuse)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_same_as_scikit_learn(kind, settings):
    X, y = make_columns(kind)
    assert_same_ensemble(*fit_both(REGRESSOR, X, y, **settings), X)


@pytest.mark.parametrize("kind", KINDS)
def test_same_with_weights(kind):
    X, y = make_columns(kind)
    weight = np.random.default_rng(0).uniform(size=len(y))
    weight[::7] = 0.0
    assert_same_ensemble(*fit_both(REGRESSOR, X, y, weight, max_depth=5), X)


@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
def test_same_for_classes(loss):
    X, y = make_columns("counts")
    assert_same_ensemble(*fit_both(CLASSIFIER, X, (y > 0).astype(int), loss=loss, max_depth=4), X)


@pytest.mark.plain_python
def test_same_in_few_rows():
    X, y = make_columns("real numbers", n_samples=120, n_features=3)
    assert_same_ensemble(*fit_both(REGRESSOR, X, y, n_estimators=2), X)


def test_columns_of_many_values_are_left_to_others():
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    of_trees = GrowthOptions("squared_error", "best", 3, 2, 1, 0.0, 0.0, -1, 3, None)
    assert not frequent_growth.covers(X, of_trees)
    assert frequent_growth.covers(np.where(X > 1.5, X, 0.0), of_trees)
    assert not frequent_growth.covers(np.where(X > 1.5, X, 0.0), of_trees._replace(criterion="poisson"))


def test_small_tables_are_left_to_others(monkeypatch):
    X, _ = make_columns("counts")
    options = GrowthOptions("squared_error", "best", 3, 2, 1, 0.0, 0.0, -1, 6, None)
    monkeypatch.setattr(frequent_growth, "LEAST_X", X.size)
    assert frequent_growth.covers(X, options)
    assert not frequent_growth.covers(X[:-1], options)
    assert frequent_growth.covers(X[:-1], options._replace(max_leaf_nodes=4))
