"""Predictions of exact gradient boosting."""

import copy

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LogisticRegression

from fastfit.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from tests.ensemble.boosting_pairs import CLASSIFIER, REGRESSOR, fit_both

DATA = {
    "three classes": (CLASSIFIER, load_iris(return_X_y=True), {}),
    "two classes": (CLASSIFIER, load_breast_cancer(return_X_y=True), {}),
    "exponential": (CLASSIFIER, load_breast_cancer(return_X_y=True), {"loss": "exponential"}),
    "init": (CLASSIFIER, load_iris(return_X_y=True), {"init": LogisticRegression(max_iter=500)}),
    "zero": (REGRESSOR, load_diabetes(return_X_y=True), {"init": "zero"}),
    "numbers": (REGRESSOR, load_diabetes(return_X_y=True), {}),
    "quantile": (REGRESSOR, load_diabetes(return_X_y=True), {"loss": "quantile"}),
}


@pytest.fixture(params=DATA)
def fitted(request):
    name, (X, y), settings = DATA[request.param]
    return *fit_both(name, X, y, **settings), X


def test_every_prediction_is_scikit_learns(fitted):
    ours, theirs, X = fitted
    names = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
    for name in names:
        if hasattr(theirs, name):
            for rows in (X, X[:1], X[::2], np.asfortranarray(X), X.astype(np.float32), X.tolist()):
                np.testing.assert_array_equal(getattr(ours, name)(rows), getattr(theirs, name)(rows))
    np.testing.assert_array_equal(ours.apply(X), theirs.apply(X))
    assert ours.apply(X).dtype == theirs.apply(X).dtype


def test_every_stage_is_scikit_learns(fitted):
    ours, theirs, X = fitted
    for name in ("staged_predict", "staged_predict_proba", "staged_decision_function"):
        if hasattr(theirs, name):
            stages, expected = list(getattr(ours, name)(X)), list(getattr(theirs, name)(X))
            assert len(stages) == len(expected)
            np.testing.assert_array_equal(stages, expected)


def test_partial_dependence_is_scikit_learns():
    X, y = load_diabetes(return_X_y=True)
    ours, theirs = fit_both(REGRESSOR, X, y)
    for method in ("recursion", "brute"):
        values = [partial_dependence(model, X, [0, 2], method=method)["average"] for model in (ours, theirs)]
        np.testing.assert_allclose(*values)


def test_other_trees_are_seen():
    X, y = load_diabetes(return_X_y=True)
    model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, y)
    stages = list(model.staged_predict(X))
    model.estimators_ = model.estimators_[:3]
    np.testing.assert_array_equal(model.predict(X), stages[2])
    model.learning_rate = 0.0
    np.testing.assert_allclose(model.predict(X), y.mean())
    model.fit(X, -y)
    assert model.predict(X).mean() < 0.0


def test_a_copy_predicts_by_itself():
    X, y = load_diabetes(return_X_y=True)
    model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, y)
    expected = model.predict(X)
    twin = copy.deepcopy(model)
    model.fit(X, y[::-1])
    np.testing.assert_array_equal(twin.predict(X), expected)


def test_bad_X_is_an_error():
    X, y = load_iris(return_X_y=True)
    model = GradientBoostingClassifier(n_estimators=2)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((1, 4), np.nan))
    with pytest.raises(ValueError, match="3 features"):
        model.predict(X[:, :3])


def test_names_of_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = GradientBoostingClassifier(n_estimators=2, random_state=0).fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("max_depth", [2, 3, 4])
def test_many_rows_are_predicted_as_few(max_depth):
    X, y = load_iris(return_X_y=True)
    many = np.random.default_rng(0).normal(size=(1000, 4)) + X.mean(axis=0)
    ours, theirs = fit_both(CLASSIFIER, X, y, max_depth=max_depth, n_estimators=12)
    expected = theirs.decision_function(many)
    np.testing.assert_array_equal(ours.decision_function(many), expected)
    np.testing.assert_array_equal(ours.decision_function(many[:20]), expected[:20])
    # Other trees than those that were packed.
    ours.set_params(n_estimators=15, warm_start=True).fit(X, y)
    theirs.set_params(n_estimators=15, warm_start=True).fit(X, y)
    np.testing.assert_array_equal(ours.decision_function(many), theirs.decision_function(many))
