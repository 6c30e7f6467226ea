"""``splitter="hist"``: few thresholds, and scikit-learn's partition where every value has a bin of its own."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import cross_val_score

from fastfit import tree as fastfit_tree
from fastfit.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tests.tree.decision_tree_data import CLASSIFIERS, NAMES, make_data

CRITERIA = [
    *[(DecisionTreeClassifier, criterion) for criterion in ("gini", "entropy", "log_loss")],
    *[(DecisionTreeRegressor, criterion) for criterion in ("squared_error", "absolute_error", "poisson")],
]


@pytest.mark.parametrize("max_bins", [2, 3, 16])
@pytest.mark.parametrize("name", NAMES)
def test_a_feature_has_fewer_thresholds_than_bins(name, max_bins):
    X, y, _ = make_data(300, 3)
    model = getattr(fastfit_tree, name)(splitter="hist", max_bins=max_bins, max_features=None).fit(X, y)
    split_features, thresholds = model.tree_.feature, model.tree_.threshold
    n_thresholds = [len(np.unique(thresholds[split_features == feature])) for feature in range(3)]
    assert max(n_thresholds) < max_bins
    assert min(n_thresholds) >= min(max_bins - 1, 2)
    # Rows go where they went when the tree was grown.
    is_leaf = model.tree_.children_left == -1
    arrived = np.bincount(model.apply(X), minlength=model.tree_.node_count)
    np.testing.assert_array_equal(arrived[is_leaf], model.tree_.n_node_samples[is_leaf])
    assert model.fit_engine_ == "fastfit"


@pytest.mark.parametrize(("tree", "criterion"), CRITERIA)
@pytest.mark.parametrize(
    "parameters", [{}, {"max_features": 2}, {"max_leaf_nodes": 12}, {"max_depth": 3}], ids=str
)
def test_with_a_bin_for_each_value_the_partition_is_that_of_the_best_splitter(tree, criterion, parameters):
    X, y, weight = make_data(250, 5)
    X = np.round(3 * X)
    for sample_weight in (None, np.round(2 * weight)):
        best, binned = (
            tree(criterion=criterion, splitter=splitter, random_state=0, **parameters).fit(
                X, y, sample_weight
            )
            for splitter in ("best", "hist")
        )
        np.testing.assert_array_equal(binned.tree_.children_left, best.tree_.children_left)
        np.testing.assert_array_equal(binned.tree_.feature, best.tree_.feature)
        np.testing.assert_array_equal(binned.tree_.n_node_samples, best.tree_.n_node_samples)
        np.testing.assert_array_equal(binned.predict(X), best.predict(X))


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "DecisionTreeRegressor"])
def test_missing_values_several_outputs_and_constraints(name):
    X, y, _ = make_data(250, 4)
    tree = getattr(fastfit_tree, name)
    with_nan = np.round(3 * np.where(X < -1.0, np.nan, X))
    two = np.column_stack([y, X[:, 1] > 0])
    for data, target, parameters in (
        (with_nan, y, {}),
        (np.round(3 * X), two, {}),
        (np.round(3 * X), y, {"monotonic_cst": [1, 0, -1, 0]}),
    ):
        best, binned = (
            tree(splitter=splitter, random_state=0, **parameters).fit(data, target)
            for splitter in ("best", "hist")
        )
        np.testing.assert_array_equal(binned.tree_.n_node_samples, best.tree_.n_node_samples)
        np.testing.assert_array_equal(binned.predict(data), best.predict(data))


def test_bins_cost_little_accuracy():
    for tree, data in (
        (DecisionTreeClassifier, load_digits(return_X_y=True)),
        (DecisionTreeRegressor, load_diabetes(return_X_y=True)),
    ):
        exact, binned = (
            cross_val_score(tree(splitter=splitter, max_depth=6, max_bins=31, random_state=0), *data).mean()
            for splitter in ("best", "hist")
        )
        assert binned > exact - 0.05


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_bins_do_not_depend_on_the_order_of_rows(name):
    X, y, _ = make_data(200, 3)
    order = np.random.default_rng(1).permutation(200)
    parameters = {"splitter": "hist", "max_bins": 7, "max_features": None, "random_state": 0}
    first = getattr(fastfit_tree, name)(**parameters).fit(X, y)
    second = getattr(fastfit_tree, name)(**parameters).fit(X[order], y[order])
    np.testing.assert_array_equal(first.tree_.threshold, second.tree_.threshold)
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
