"""Every score of a search is the one that a plain search finds; and the work was shared, counted by what was done."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit import ensemble, linear_model, neural_network, tree
from fastfit.model_selection import fit_many
from tests.model_selection.search_pairs import (
    assert_same_results,
    classification,
    noisy_classes,
    quietly,
    regression,
    search_twice,
)

TREES = {"n_estimators": [2, 5, 9]}
ROUNDS = {"max_iter": [1, 4, 9]}
LIMITS = {"max_depth": [1, 3, 5, None], "min_samples_split": [2, 9], "min_impurity_decrease": [0.0, 0.01]}

# Estimator, grid, data, fits that are run for each fold.
CASES = {
    "random forest": (ensemble.RandomForestClassifier(random_state=0), TREES, classification, 1),
    "random forest, depths": (
        ensemble.RandomForestClassifier(random_state=0),
        {**TREES, "max_depth": [2, None]},
        classification,
        2,
    ),
    "random forest, balanced": (
        ensemble.RandomForestClassifier(random_state=0, class_weight="balanced_subsample", max_samples=0.5),
        TREES,
        noisy_classes,
        1,
    ),
    "random forest, oob": (
        ensemble.RandomForestRegressor(random_state=0, oob_score=True),
        {"n_estimators": [20, 30]},
        regression,
        2,
    ),
    "random forest, numbers": (ensemble.RandomForestRegressor(random_state=0), TREES, regression, 1),
    "extra trees": (ensemble.ExtraTreesClassifier(random_state=0), TREES, noisy_classes, 1),
    "extra trees, numbers": (ensemble.ExtraTreesRegressor(random_state=0), TREES, regression, 1),
    "boosting": (ensemble.GradientBoostingClassifier(random_state=0), TREES, noisy_classes, 1),
    "boosting, subsample": (
        ensemble.GradientBoostingClassifier(random_state=0, subsample=0.5),
        {**TREES, "learning_rate": [0.1, 0.5]},
        classification,
        2,
    ),
    "boosting, early": (
        ensemble.GradientBoostingRegressor(random_state=0, n_iter_no_change=2, learning_rate=0.5),
        {"n_estimators": [2, 20, 60]},
        regression,
        1,
    ),
    "histogram boosting": (
        ensemble.HistGradientBoostingClassifier(random_state=0, min_samples_leaf=5),
        {**ROUNDS, "learning_rate": [0.1, 0.5]},
        noisy_classes,
        2,
    ),
    "histogram boosting, early": (
        ensemble.HistGradientBoostingRegressor(random_state=0, early_stopping=True, n_iter_no_change=2),
        {"max_iter": [2, 20, 60], "max_bins": [30, 255]},
        regression,
        2,
    ),
    "network": (
        neural_network.MLPClassifier(hidden_layer_sizes=(8,), random_state=0),
        {**ROUNDS, "learning_rate_init": [0.001, 0.01]},
        classification,
        2,
    ),
    "network, early": (
        neural_network.MLPClassifier(hidden_layer_sizes=(8,), random_state=0, early_stopping=True),
        {"max_iter": [2, 15, 60]},
        noisy_classes,
        1,
    ),
    "network, cosine": (
        neural_network.MLPRegressor(hidden_layer_sizes=(8,), random_state=0, learning_rate="cosine"),
        ROUNDS,
        regression,
        3,
    ),
    "network, adaptive": (
        neural_network.MLPRegressor(
            hidden_layer_sizes=(8,),
            random_state=0,
            solver="sgd",
            learning_rate="adaptive",
            learning_rate_init=1e-5,
        ),
        {"max_iter": [3, 30]},
        regression,
        1,
    ),
    "least squares": (
        linear_model.LinearRegression(momentum=0.5),
        {"learning_rate": [1.0, 50.0], "max_iter": [3, 40, 1000]},
        regression,
        2,
    ),
    "least squares, auto": (linear_model.LinearRegression(), {"fit_intercept": [True, False]}, regression, 2),
    "SGD": (
        linear_model.SGDClassifier(random_state=0),
        {"max_iter": [2, 500, 1000], "alpha": [0.01, 0.001]},
        classification,
        2,
    ),
    "SGD, classes": (
        linear_model.SGDClassifier(
            random_state=0, loss="log_loss", penalty="elasticnet", class_weight="balanced"
        ),
        {"alpha": [1.0, 0.01, 1e-5], "l1_ratio": [0.1, 0.9], "tol": [1e-3, 1e-2], "max_iter": [3, 100]},
        noisy_classes,
        12,
    ),
    "SGD, averages": (
        linear_model.SGDClassifier(random_state=0, average=True),
        {"max_iter": [2, 500, 1000], "alpha": [0.01, 0.001]},
        classification,
        4,
    ),
    "SGD, in order": (
        linear_model.SGDRegressor(shuffle=False, early_stopping=False),
        {"eta0": [0.01, 0.1], "power_t": [0.1, 0.5]},
        regression,
        4,
    ),
    "SGD, numbers": (
        linear_model.SGDRegressor(random_state=0, eta0=0.1, penalty="l1"),
        {"max_iter": [400, 500, 1000]},
        regression,
        1,
    ),
    "tree": (tree.DecisionTreeClassifier(random_state=0), LIMITS, noisy_classes, 1),
    "tree, leaves": (
        tree.DecisionTreeClassifier(random_state=1),
        {**LIMITS, "min_samples_leaf": [1, 3]},
        classification,
        2,
    ),
    "tree, pruned": (
        tree.DecisionTreeClassifier(random_state=0),
        {"ccp_alpha": [0.0, 0.001, 0.01, 0.1]},
        noisy_classes,
        1,
    ),
    "tree, best first": (
        tree.DecisionTreeRegressor(random_state=0, max_features=0.5),
        {"max_leaf_nodes": [2, 3, 9, 30, 1000]},
        regression,
        1,
    ),
    "tree, numbers": (tree.DecisionTreeRegressor(random_state=0), {"max_depth": [2, 4]}, regression, 2),
    "tree, drawn": (
        tree.DecisionTreeClassifier(random_state=0, max_features=2),
        {"max_depth": [2, 4]},
        noisy_classes,
        2,
    ),
    "extra tree": (tree.ExtraTreeClassifier(random_state=0), {"max_depth": [2, 4]}, noisy_classes, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_all_scores_are_those_of_a_plain_search(case):
    estimator, grid, data, n_fits = CASES[case]
    ours, theirs = search_twice(estimator, grid, *data())
    assert_same_results(ours, theirs)
    report = ours.sharing_report_
    n_candidates = len(theirs.cv_results_["params"])
    assert (report.n_candidates, report.n_fits_apart) == (n_candidates, 3 * n_candidates)
    assert report.n_fits == 3 * n_fits


@pytest.mark.parametrize("case", CASES)
def test_models_are_those_of_single_fits(case):
    estimator, grid, data, _ = CASES[case]
    X, y = data()
    from sklearn.base import clone
    from sklearn.model_selection import ParameterGrid

    settings = list(ParameterGrid(grid))
    models = quietly(fit_many, estimator, X, y, settings)
    for setting, model in zip(settings, models, strict=True):
        single = quietly(clone(estimator).set_params(**setting).fit, X, y)
        assert {k: repr(v) for k, v in model.get_params().items()} == {
            k: repr(v) for k, v in single.get_params().items()
        }
        np.testing.assert_array_equal(model.predict(X), single.predict(X))
        assert {name for name in vars(single) if name.endswith("_")} <= {
            name for name in vars(model) if name.endswith("_")
        }
        for name, learned in vars(single).items():
            if name.endswith("_") and isinstance(learned, (int, float, np.ndarray)):
                assert repr(getattr(model, name)) == repr(learned) or name == "estimators_", name


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [1, 6])
def test_trees_of_all_limits_are_grown_node_for_node(seed, decimals):
    X, y = noisy_classes()
    X = np.round(X, decimals)  # with ties between values, and between splits
    estimator = tree.DecisionTreeClassifier(random_state=seed)
    settings = [
        {"max_depth": depth, "min_samples_split": n, "min_impurity_decrease": least}
        for depth in (1, 2, 4, 7, 11, None)
        for n in (2, 3, 10, 0.1)
        for least in (0.0, 0.003)
    ]
    for setting, model in zip(settings, fit_many(estimator, X, y, settings), strict=True):
        single = tree.DecisionTreeClassifier(random_state=seed, **setting).fit(X, y)
        found, expected = model.tree_.__getstate__(), single.tree_.__getstate__()
        assert found["max_depth"] == expected["max_depth"]
        assert found["nodes"].tobytes() == expected["nodes"].tobytes()
        np.testing.assert_array_equal(found["values"], expected["values"])


def test_trees_share_columns_with_values_that_are_nearly_equal():
    X, y = noisy_classes()
    X[:200] = X[200:] + np.random.default_rng(0).uniform(-2e-7, 2e-7, size=(200, 1))
    ours, theirs = search_twice(tree.DecisionTreeClassifier(random_state=0), LIMITS, X, y)
    assert_same_results(ours, theirs)
    assert ours.sharing_report_.n_fits == 3


def test_a_memory_of_nodes_that_is_too_small_grows(monkeypatch):
    from fastfit.training import tree_memo

    X, y = noisy_classes()
    estimator = tree.DecisionTreeClassifier(random_state=0)
    settings = [{"max_depth": depth} for depth in (3, None)]
    expected = [model.tree_.node_count for model in fit_many(estimator, X, y, settings)]
    monkeypatch.setattr(tree_memo, "LEVELS_AT_FIRST", 1)
    assert [model.tree_.node_count for model in fit_many(estimator, X, y, settings)] == expected


@pytest.mark.parametrize(
    ("estimator", "name", "values"),
    [
        (ensemble.RandomForestClassifier(random_state=0), "n_estimators", [2, 6]),
        (ensemble.HistGradientBoostingClassifier(random_state=0), "max_iter", [2, 6]),
        (tree.DecisionTreeClassifier(random_state=0), "max_depth", [2, 6]),
    ],
)
def test_the_last_step_of_a_pipeline_shares_and_the_first_is_fitted_once_a_fold(estimator, name, values):
    fits = []

    class Counted(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y, sample_weight)

    X, y = classification()
    pipeline = make_pipeline(Counted(), estimator)
    step = pipeline.steps[-1][0]
    ours, theirs = search_twice(
        pipeline, {f"{step}__{name}": values, "counted__with_mean": [True, False]}, X, y, refit=False
    )
    assert_same_results_without_refit(ours, theirs)
    assert ours.sharing_report_.n_fits == 6
    # Fitted for 3 folds and 2 settings of its own here, and for each of 12 fits there.
    assert len(fits) == 6 + 12


def assert_same_results_without_refit(ours, theirs):
    for name in theirs.cv_results_:
        if "_test_" in name or "_train_" in name:
            np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])


@pytest.mark.parametrize("scoring", ["roc_auc", ["neg_log_loss", "accuracy", "f1"], None])
@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (ensemble.GradientBoostingClassifier(random_state=0), TREES),
        (tree.DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}),
        (ensemble.HistGradientBoostingClassifier(random_state=0), ROUNDS),
    ],
)
def test_all_metrics_are_the_same(estimator, grid, scoring):
    refit = "accuracy" if isinstance(scoring, list) else True
    ours, theirs = search_twice(estimator, grid, *classification(), scoring=scoring, refit=refit)
    assert_same_results(ours, theirs)
    assert ours.sharing_report_.n_fits == 3


def test_randomized_and_weighted():
    X, y = regression()
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    ours, theirs = search_twice(
        ensemble.HistGradientBoostingRegressor(random_state=0),
        {"max_iter": range(1, 30)},
        X,
        y,
        search="RandomizedSearchCV",
        n_iter=6,
        random_state=3,
        fit_params={"sample_weight": weight},
    )
    assert_same_results(ours, theirs)
    assert ours.sharing_report_.n_fits == 3
