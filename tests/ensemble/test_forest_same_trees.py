"""Forests hold scikit-learn's trees over the grid of arguments that decide what each tree sees."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import fastfit
from fastfit.ensemble import ExtraTreesRegressor, RandomForestClassifier
from tests.ensemble.forest_pairs import (
    CLASSIFIERS,
    FORESTS,
    REGRESSORS,
    assert_same_attributes,
    assert_same_forest,
    fit_both,
    make_both,
)

SMALL = {"n_estimators": 6, "random_state": 7}
IRIS = load_iris(return_X_y=True)
CANCER = tuple(part[::3] for part in load_breast_cancer(return_X_y=True))
# Whole numbers, so that sums of targets do not round.
DIABETES = tuple(part[::3] for part in load_diabetes(return_X_y=True))


def data_of(name):
    return IRIS if name in CLASSIFIERS else DIABETES


def whole_weights(n_samples):
    return np.random.default_rng(3).integers(0, 4, n_samples).astype(np.float64)


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"max_features": None, "max_depth": 3},
        {"max_features": 0.5, "min_samples_leaf": 3, "min_samples_split": 9},
        {"max_leaf_nodes": 7},
        {"max_features": "log2", "min_impurity_decrease": 0.01, "min_weight_fraction_leaf": 0.02},
        {"ccp_alpha": 0.01},
    ],
    ids=str,
)
def test_arguments_of_trees(name, bootstrap, params):
    ours, theirs = fit_both(name, *data_of(name), bootstrap=bootstrap, **SMALL, **params)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)
    assert_same_attributes(ours, theirs)


@pytest.mark.plain_python
def test_smallest_forest():
    X, y = IRIS[0][::6], IRIS[1][::6]
    ours, theirs = fit_both("RandomForestClassifier", X, y, n_estimators=2, random_state=0)
    assert_same_forest(ours, theirs)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_samples", [None, 1, 40, 500, 0.3, 1.0, 2.5])
def test_size_of_bootstrap_samples(name, weighted, max_samples):
    X, y = data_of(name)
    sample_weight = whole_weights(len(y)) if weighted else None
    ours, theirs = fit_both(name, X, y, sample_weight, bootstrap=True, max_samples=max_samples, **SMALL)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)
    assert_same_attributes(ours, theirs)
    for drawn, expected in zip(ours.estimators_samples_, theirs.estimators_samples_, strict=True):
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("name", FORESTS)
def test_sample_weight_without_bootstrap(name):
    X, y = data_of(name)
    ours, theirs = fit_both(name, X, y, whole_weights(len(y)), bootstrap=False, **SMALL)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "class_weight", ["balanced", "balanced_subsample", {0: 1.0, 1: 3.0, 2: 2.0}], ids=str
)
def test_class_weight(name, bootstrap, weighted, class_weight):
    X, y = IRIS[0][:130], IRIS[1][:130]
    sample_weight = whole_weights(len(y)) if weighted else None
    ours, theirs = fit_both(
        name, X, y, sample_weight, class_weight=class_weight, bootstrap=bootstrap, max_depth=4, **SMALL
    )
    assert_same_forest(ours, theirs, exact=False)
    assert_same_attributes(ours, theirs)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    "class_weight", [None, "balanced_subsample", [{0: 1, 1: 2, 2: 1}, {0: 3, 1: 1}]], ids=str
)
def test_several_outputs_of_classes(name, class_weight):
    X, y = IRIS
    y = np.column_stack([y, np.arange(len(y)) % 2])
    ours, theirs = fit_both(name, X, y, bootstrap=True, class_weight=class_weight, max_depth=5, **SMALL)
    assert_same_forest(ours, theirs, exact=class_weight is None)
    assert_same_attributes(ours, theirs)


@pytest.mark.parametrize("name", REGRESSORS)
def test_several_outputs_of_numbers(name):
    X, y = DIABETES
    ours, theirs = fit_both(name, X, np.column_stack([y, y[::-1]]), **SMALL)
    assert_same_forest(ours, theirs, exact=False)
    assert_same_attributes(ours, theirs)


@pytest.mark.parametrize("name", FORESTS)
def test_missing_values(name):
    X, y = data_of(name)
    X = X.copy()
    X[::5, 1] = np.nan
    X[::7, 3] = np.nan
    ours, theirs = fit_both(name, X, y, **SMALL)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


@pytest.mark.parametrize("name", FORESTS)
def test_monotonic_constraints(name):
    X, y = CANCER if name in CLASSIFIERS else DIABETES
    constraints = np.resize([1, 0, -1], X.shape[1])
    ours, theirs = fit_both(name, X, y, monotonic_cst=constraints, **SMALL)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)


@pytest.mark.parametrize("criterion", ["entropy", "log_loss"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_criteria_of_classification(name, criterion):
    ours, theirs = fit_both(name, *IRIS, criterion=criterion, **SMALL)
    assert_same_forest(ours, theirs, exact=False)


@pytest.mark.parametrize("criterion", ["absolute_error", "poisson"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_criteria_of_regression(name, criterion):
    X, y = DIABETES
    ours, theirs = fit_both(name, X[::2], y[::2], criterion=criterion, max_depth=4, **SMALL)
    assert_same_forest(ours, theirs, exact=False)


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_kinds_of_arrays(name, order, dtype):
    X, y = data_of(name)
    X = np.rint(X * 10).astype(dtype)
    X = np.repeat(X, 2, axis=1)[:, ::2] if order == "strided" else np.asarray(X, order=order)
    X.flags.writeable = False
    ours, theirs = fit_both(name, X, y, **SMALL)
    assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("random_state", [3, None, "generator"])
def test_random_states_are_drawn_from_alike(name, random_state):
    after = []
    forests = make_both(name, n_estimators=3)
    for forest in forests:
        np.random.seed(11)  # noqa: NPY002
        generator = np.random.RandomState(5) if random_state == "generator" else random_state
        forest.set_params(random_state=generator).fit(*data_of(name))
        drawn_from = generator if random_state == "generator" else np.random
        after.append(drawn_from.randint(2**31 - 1))
    assert_same_forest(*forests, exact=name in CLASSIFIERS)
    assert after[0] == after[1]


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
@pytest.mark.parametrize("name", FORESTS)
def test_number_of_threads_does_not_matter(name):
    X, y = data_of(name)
    X, y = np.tile(X, (12, 1)), np.tile(y, 12)
    X = X + np.random.default_rng(0).normal(size=X.shape)
    forests = []
    for n_threads in (1, 2, 3, 8):
        with fastfit.config_context(n_threads=n_threads):
            forest = getattr(fastfit.ensemble, name)(
                n_estimators=5, n_jobs=n_threads, random_state=0, bootstrap=True, oob_score=True
            )
            forests.append(forest.fit(X, y))
    for forest in forests[1:]:
        assert_same_forest(forest, forests[0])
        assert forest.oob_score_ == forests[0].oob_score_
        np.testing.assert_array_equal(forest.predict(X), forests[0].predict(X))
        np.testing.assert_array_equal(forest.feature_importances_, forests[0].feature_importances_)


@pytest.mark.parametrize("n_estimators", [1, 2, 3, 7])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_trees_and_threads_in_any_number(monkeypatch, n_estimators, n_threads):
    # More threads than this machine has are asked for beneath the budget.
    from fastfit.ensemble import forest_fitting

    monkeypatch.setattr(forest_fitting, "thread_budget", lambda n_jobs: n_threads)
    monkeypatch.setattr(forest_fitting, "WORK_OF_SMALL_TREE", 0)
    ours, theirs = fit_both("RandomForestClassifier", *CANCER, n_estimators=n_estimators, random_state=1)
    assert_same_forest(ours, theirs)


def test_trees_are_what_scikit_learn_would_have_made():
    params = {"max_depth": 3, "min_samples_leaf": 2, "max_features": 0.7, **SMALL}
    ours, theirs = fit_both("RandomForestClassifier", *IRIS, **params)
    for tree, expected in zip(ours.estimators_, theirs.estimators_, strict=True):
        assert type(tree) is fastfit.tree.DecisionTreeClassifier
        assert expected.get_params().items() <= tree.get_params().items()
        for name in ("classes_", "n_classes_", "n_features_in_", "n_outputs_", "max_features_"):
            np.testing.assert_equal(getattr(tree, name), getattr(expected, name))
            assert type(getattr(tree, name)) is type(getattr(expected, name))
    assert type(ours.estimator_) is type(ours.estimator)
    assert ours.estimators_[0].__dict__ is not ours.estimators_[1].__dict__


def test_trees_of_extra_trees_draw_their_thresholds():
    forest = ExtraTreesRegressor(n_estimators=2, random_state=0).fit(*DIABETES)
    assert type(forest.estimators_[0]) is fastfit.tree.ExtraTreeRegressor
    assert {tree.splitter for tree in forest.estimators_} == {"random"}


@pytest.mark.parametrize("name", ["RandomForestClassifier", "RandomForestRegressor"])
def test_histograms_with_a_bin_for_each_value_find_the_same_trees(name):
    X, y = data_of(name)
    X = np.rint(X * 100) // 10
    ours, theirs = make_both(name, **SMALL)
    ours.set_params(splitter="hist").fit(X, y)
    theirs.fit(X, y)
    predictions, expected = ours.predict(X), theirs.predict(X)
    np.testing.assert_allclose(predictions, expected, rtol=1e-9)
    assert {tree.splitter for tree in ours.estimators_} == {"hist"}


def test_fewer_bins_make_other_trees():
    X, y = CANCER
    few = RandomForestClassifier(splitter="hist", max_bins=3, **SMALL).fit(X, y)
    many = RandomForestClassifier(splitter="hist", **SMALL).fit(X, y)
    thresholds = [
        {float(t) for tree in forest.estimators_ for t in tree.tree_.threshold[tree.tree_.feature == 0]}
        for forest in (few, many)
    ]
    assert len(thresholds[0]) <= 2 < len(thresholds[1])
    assert few.score(X, y) > 0.9
