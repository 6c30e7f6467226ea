"""Errors, interruption, memory, threads, callbacks, halving, curves and the report."""

import gc
import weakref

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier as SklearnForest
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GroupKFold
from sklearn.model_selection import validation_curve as sklearn_validation_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from fastfit.linear_model import LinearRegression
from fastfit.model_selection import (
    GridSearchCV,
    SharingReport,
    cross_validate_many,
    fit_many,
    validation_curve,
)
from fastfit.model_selection.plan import plan
from fastfit.neural_network import MLPClassifier, MLPRegressor
from fastfit.runtime.reuse import SharedWork, reuse
from fastfit.training import gram
from fastfit.tree import DecisionTreeClassifier
from tests.model_selection.search_pairs import (
    assert_same_results,
    classification,
    noisy_classes,
    regression,
    search_twice,
)

FOREST = RandomForestClassifier(random_state=0)
SIZES = {"n_estimators": [2, 4]}


def test_an_error_in_one_candidate_hurts_no_other():
    grid = {"n_estimators": [3, -1, 5], "max_depth": [2, "deep"]}
    with pytest.warns(FitFailedWarning):
        ours, theirs = search_twice(
            FOREST, grid, *classification(), error_score=-7.0, return_train_score=False
        )
    assert_same_results(ours, theirs)
    assert (ours.cv_results_["mean_test_score"] == -7.0).sum() == 4
    with pytest.raises(ValueError, match="n_estimators"):
        GridSearchCV(FOREST, grid, error_score="raise").fit(*classification())


def test_an_error_of_the_data_is_raised_as_scikit_learn_does():
    X, y = classification()
    X = X.copy()
    X[:, 0] = np.inf
    with pytest.raises(ValueError, match="All the 10 fits failed"):
        GridSearchCV(FOREST, SIZES).fit(X, y)


def test_ctrl_c_ends_the_search(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastfit.ensemble.ensemble_sharing.ForestSharing.cut", interrupted)
    search = GridSearchCV(FOREST, SIZES, n_jobs=1)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*classification())
    assert not hasattr(search, "cv_results_")


def test_models_are_dropped_once_they_are_scored():
    alive, most = weakref.WeakSet(), []

    def score(model, X, y):
        alive.add(model)
        gc.collect()
        most.append(len(alive))
        return model.score(X, y)

    grid = {"n_estimators": list(range(1, 9))}
    GridSearchCV(FOREST, grid, scoring=score, cv=2, n_jobs=1, refit=False).fit(*classification())
    assert len(most) == 16
    assert max(most) <= 2


@pytest.mark.parametrize("options", [{"n_jobs": 1}, {"n_jobs": 2}, {}])
def test_threads_and_backends_do_not_matter(options):
    expected = GridSearchCV(FOREST, SIZES, cv=3).fit(*classification()).cv_results_["mean_test_score"]
    search = GridSearchCV(FOREST, SIZES, cv=3, **options).fit(*classification())
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
    with parallel_config(backend="threading", n_jobs=2):
        search = GridSearchCV(FOREST, SIZES, cv=3, **options).fit(*classification())
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
    assert search.sharing_report_.n_fits == 3


def test_a_backend_of_processes_is_honoured():
    with parallel_config(backend="loky", n_jobs=2):
        search = GridSearchCV(FOREST, SIZES, cv=2).fit(*classification())
    assert search.sharing_report_.n_fits == 2


def test_groups_and_callable_refit():
    X, y = noisy_classes()
    groups = np.arange(len(y)) % 5

    def last(results):
        return len(results["params"]) - 1

    def fit(search):
        return search.fit(X, y, groups=groups)

    search = fit(
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 5]}, cv=GroupKFold(5))
    )
    assert search.n_splits_ == 5
    search = fit(
        GridSearchCV(
            DecisionTreeClassifier(random_state=0), {"max_depth": [5, 1]}, cv=GroupKFold(5), refit=last
        )
    )
    assert search.best_params_ == {"max_depth": 1}
    assert search.best_estimator_.get_depth() == 1


def test_other_estimators_are_searched_as_ever():
    ours, theirs = search_twice(SklearnForest(random_state=0), SIZES, *classification())
    assert_same_results(ours, theirs)
    assert ours.sharing_report_.n_fits == ours.sharing_report_.n_fits_apart == 6


def test_verbose_fits_one_by_one(capsys):
    search = GridSearchCV(FOREST, SIZES, cv=2, verbose=2).fit(*classification())
    assert capsys.readouterr().out.count("[CV] END") == 4
    assert search.sharing_report_.n_fits == 4


def test_the_plan_keeps_every_setting_once_and_tells_apart_what_differs():
    settings = [{"n_estimators": n, "max_depth": d} for n in (1, 2, 3) for d in (1, None)]
    settings += [{"n_estimators": 4, "oob_score": True}, {"nonsense": 1}, {"n_estimators": 0}]
    planned = plan(FOREST, settings)
    positions = sorted(p for group in planned.groups for p in group.positions) + planned.others
    assert sorted(positions) == list(range(len(settings)))
    assert [group.positions for group in planned.groups] == [[0, 2, 4], [1, 3, 5], [6], [8]]
    assert planned.others == [7]


def test_seeds_that_are_generators_are_copied():
    forest = RandomForestClassifier(random_state=np.random.RandomState(3))
    ours, theirs = search_twice(forest, SIZES, *classification())
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert ours.sharing_report_.n_fits == 3


def test_the_gram_matrix_is_made_once_a_fold(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "fastfit.training.least_squares.centred_gram",
        lambda *args: calls.append(1) or gram.centred_gram(*args),
    )
    grid = {"learning_rate": [1.0, 10.0, 50.0], "max_iter": [5, 50]}
    GridSearchCV(LinearRegression(), grid, cv=3, refit=False, n_jobs=1).fit(*regression())
    assert len(calls) == 3


def test_bins_are_made_once_a_fold_for_each_max_bins(monkeypatch):
    from fastfit.training import bin_thresholds

    calls = []
    found = bin_thresholds.find_bin_thresholds
    monkeypatch.setattr(
        bin_thresholds,
        "find_bin_thresholds",
        lambda *args, **options: calls.append(1) or found(*args, **options),
    )
    grid = {"learning_rate": [0.1, 0.2, 0.3], "max_bins": [20, 200], "max_iter": [3]}
    GridSearchCV(HistGradientBoostingRegressor(), grid, cv=3, refit=False).fit(*regression())
    assert len(calls) == 6


def test_trees_are_counted_as_the_plan_says(monkeypatch):
    from fastfit.ensemble import forest_fitting

    grown = []
    grow = forest_fitting.grow_into
    monkeypatch.setattr(
        forest_fitting, "grow_into", lambda *args, **options: grown.append(1) or grow(*args, **options)
    )
    search = GridSearchCV(FOREST, {"n_estimators": [2, 5, 7]}, cv=3, refit=False).fit(*classification())
    assert len(grown) == search.sharing_report_.work["trees"] == 3 * 7
    assert search.sharing_report_.work_apart["trees"] == 3 * (2 + 5 + 7)


@pytest.mark.parametrize(
    ("estimator", "resource", "grid", "data"),
    [
        (FOREST, "n_estimators", {"max_depth": [1, 2, 3, None]}, classification),
        (
            GradientBoostingRegressor(random_state=0, subsample=0.7),
            "n_estimators",
            {"learning_rate": [0.03, 0.1, 0.3, 1.0]},
            regression,
        ),
        (
            HistGradientBoostingRegressor(random_state=0, early_stopping=False),
            "max_iter",
            {"learning_rate": [0.03, 0.1, 0.3, 1.0]},
            regression,
        ),
        (
            MLPRegressor(hidden_layer_sizes=(8,), random_state=0),
            "max_iter",
            {"learning_rate_init": [0.001, 0.003, 0.01, 0.03]},
            regression,
        ),
        (
            MLPClassifier(hidden_layer_sizes=(8,), random_state=0, solver="sgd", learning_rate="invscaling"),
            "max_iter",
            {"learning_rate_init": [0.001, 0.003, 0.01, 0.03]},
            classification,
        ),
        (
            DecisionTreeClassifier(random_state=0),
            "max_depth",
            {"min_samples_split": [2, 5, 9, 20]},
            noisy_classes,
        ),
        (DecisionTreeClassifier(random_state=0), "n_samples", {"max_depth": [2, 5, 9, 20]}, noisy_classes),
    ],
)
def test_halving_has_the_same_scores_and_survivors_go_on(estimator, resource, grid, data):
    limits = {} if resource == "n_samples" else {"max_resources": 12}
    ours, theirs = search_twice(
        estimator,
        grid,
        *data(),
        search="HalvingGridSearchCV",
        resource=resource,
        factor=2,
        random_state=0,
        **limits,
    )
    assert_same_results(ours, theirs)
    assert ours.n_resources_ == theirs.n_resources_
    report = ours.sharing_report_
    if resource in ("n_estimators", "max_iter"):
        assert ours.n_resources_ == [3, 6, 12]
        (unit,) = report.work
        # 4 candidates for 3 steps, 2 for 6 and 1 for 12, on 3 folds; survivors only do what is new.
        assert report.work_apart[unit] == 3 * (4 * 3 + 2 * 6 + 12)
        assert report.work[unit] == 3 * (4 * 3 + 2 * 3 + 6)
    if resource == "max_depth":
        # One memory of nodes for each fold serves all depths.
        assert report.n_fits == 3


def test_validation_curve_is_scikit_learns():
    X, y = regression()
    options = {"param_name": "n_estimators", "param_range": [1, 5, 9], "cv": 3}
    ours = validation_curve(GradientBoostingRegressor(random_state=0), X, y, **options)
    theirs = sklearn_validation_curve(GradientBoostingRegressor(random_state=0), X, y, **options)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_cross_validate_many_has_an_entry_for_each_fold():
    X, y = classification()
    settings = [{"n_estimators": 2}, {"n_estimators": 5}]
    results = cross_validate_many(FOREST, X, y, settings, cv=3, scoring=["accuracy", "roc_auc"])
    assert [sorted(result) for result in results] == [
        ["fit_time", "score_time", "test_accuracy", "test_roc_auc"]
    ] * 2
    assert all(values.shape == (3,) for result in results for values in result.values())


def test_fit_many_of_a_pipeline_with_weights():
    X, y = classification()
    weight = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    pipeline = make_pipeline(StandardScaler(), FOREST)
    settings = [{"randomforestclassifier__n_estimators": n} for n in (2, 5)]
    for setting, model in zip(
        settings, fit_many(pipeline, X, y, settings, sample_weight=weight), strict=True
    ):
        single = clone(pipeline).set_params(**setting)
        single.fit(X, y, randomforestclassifier__sample_weight=weight)
        np.testing.assert_array_equal(model.predict_proba(X), single.predict_proba(X))


def test_fit_many_raises_what_a_fit_raises():
    with pytest.raises(ValueError, match="max_depth"):
        fit_many(FOREST, *classification(), [{"max_depth": 3}, {"max_depth": -3}])


def test_shared_work_is_made_once_and_errors_are_not_kept():
    work = SharedWork()

    def fail():
        raise ValueError("no room")

    with work.used():
        with pytest.raises(ValueError, match="no room"):
            reuse(lambda: "key", fail)
        assert [reuse(lambda: "key", lambda: 5) for _ in range(3)] == [5, 5, 5]
    assert reuse(lambda: "key", lambda: 6) == 6
    assert (work.n_made, work.n_reused) == (1, 2)


def test_the_report_can_be_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    ax = SharingReport(2, 10, 5, seconds_saved=1.5).plot()
    assert [bar.get_width() for bar in ax.patches] == [10, 5]
    assert "1.5 s" in ax.get_title()
