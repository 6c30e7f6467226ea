"""Columns that hold one value nearly everywhere: the trees are scikit-learn's."""

import numpy as np
import pytest
from sklearn import tree

import fastfit.tree
from fastfit.training.tree_data import prepare_tree_data
from tests.tree.test_same_trees import assert_same_tree, fit_both

N_SAMPLES = 1500


def rare_values(share, seed=0, n_samples=N_SAMPLES):
    """X of which a share is not zero, and numbers that depend on it."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n_samples, 8)) < share, rng.normal(size=(n_samples, 8)), 0.0)
    X[:, 0] = X[:, 0] != 0.0
    return X, X @ np.arange(8) + 0.1 * rng.normal(size=n_samples)


SETTINGS = [
    ("DecisionTreeRegressor", {}),
    ("DecisionTreeRegressor", {"max_features": 3, "min_samples_leaf": 2}),
    ("DecisionTreeRegressor", {"criterion": "poisson", "max_depth": 30}),
    ("DecisionTreeRegressor", {"criterion": "absolute_error", "max_depth": 6}),
    ("DecisionTreeRegressor", {"max_leaf_nodes": 60}),
    ("DecisionTreeRegressor", {"monotonic_cst": [1, -1, 0, 0, 1, 0, 0, 0]}),
    ("DecisionTreeClassifier", {}),
    ("DecisionTreeClassifier", {"max_features": 3}),
    ("DecisionTreeClassifier", {"criterion": "entropy"}),
    ("DecisionTreeClassifier", {"max_leaf_nodes": 60, "min_samples_leaf": 3}),
]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25])
@pytest.mark.parametrize("weights", ["none", "fractional"])
@pytest.mark.parametrize(("name", "params"), SETTINGS)
def test_trees_of_rare_values_are_the_same(name, params, weights, share):
    X, numbers = rare_values(share)
    target = np.exp(numbers) if params.get("criterion") == "poisson" else numbers
    if name == "DecisionTreeClassifier":
        target = np.searchsorted([-1.0, 0.0, 1.0], numbers)
    sample_weight = None
    if weights == "fractional":
        sample_weight = np.random.default_rng(1).uniform(0.5, 2.0, N_SAMPLES)
    assert_same_tree(*fit_both(name, X, target, sample_weight, random_state=0, **params))


@pytest.mark.parametrize("name", ["DecisionTreeRegressor", "DecisionTreeClassifier"])
def test_rare_values_beside_missing_ones(name):
    X, numbers = rare_values(0.1)
    X[::9, ::2] = np.nan
    target = np.rint(10 * numbers) if name == "DecisionTreeRegressor" else numbers > 0
    assert_same_tree(*fit_both(name, X, target, random_state=0))


def test_two_targets_of_rare_values():
    X, numbers = rare_values(0.1)
    target = np.column_stack([numbers, numbers**2])
    assert_same_tree(*fit_both("DecisionTreeRegressor", X, target, random_state=0))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_forests_of_rare_values_are_the_same(n_classes):
    from sklearn import ensemble

    import fastfit.ensemble

    X, numbers = rare_values(0.05)
    classes = np.searchsorted(np.quantile(numbers, np.arange(1, n_classes) / n_classes), numbers)
    ours = fastfit.ensemble.RandomForestClassifier(4, random_state=0, n_jobs=1).fit(X, classes)
    theirs = ensemble.RandomForestClassifier(4, random_state=0, n_jobs=1).fit(X, classes)
    for found, expected in zip(ours.estimators_, theirs.estimators_, strict=True):
        assert_same_tree(found, expected)


@pytest.mark.parametrize(("share", "expected"), [(0.05, True), (0.5, False), (1.0, False)])
def test_common_values_are_noticed(share, expected):
    X = np.asfortranarray(rare_values(share)[0], dtype=np.float32)
    data = prepare_tree_data(X, None, n_threads=1)
    assert data.has_common_values is expected
    # When ranks have taken the place of the values, too.
    shared = prepare_tree_data(X.copy(), None, n_threads=1)
    assert shared.codes.max() > 0
    assert shared.has_common_values is expected


def test_few_rows_are_not_looked_at():
    X = np.asfortranarray(rare_values(0.05, n_samples=200)[0], dtype=np.float32)
    assert prepare_tree_data(X, None, n_threads=1).has_common_values is False


@pytest.mark.plain_python
def test_a_small_tree_of_rare_values_is_the_same():
    X, numbers = rare_values(0.1, n_samples=120)
    settings = {"criterion": "entropy", "max_depth": 3, "random_state": 0}
    ours = fastfit.tree.DecisionTreeClassifier(**settings).fit(X, numbers > 0)
    assert_same_tree(ours, tree.DecisionTreeClassifier(**settings).fit(X, numbers > 0))
