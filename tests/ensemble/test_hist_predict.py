"""Predictions of boosted trees are scikit-learn's own predictions with the same trees, bit for bit."""

import numpy as np
import pytest
from sklearn import ensemble as sklearn_ensemble
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence

import fastfit
from fastfit.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.ensemble.hist_pairs import BOTH, CLASSIFIER, REGRESSOR, fit_both, make_ours

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)


def in_scikit_learn(model):
    """Return scikit-learn's estimator with what ours has learned."""
    theirs = object.__new__(getattr(sklearn_ensemble, type(model).__name__))
    theirs.__dict__.update(model.__dict__)
    return theirs


def holes(table, seed=0):
    """The table with missing values and infinities."""
    rng = np.random.default_rng(seed)
    table = table.copy()
    table[rng.random(table.shape) < 0.1] = np.nan
    table[rng.random(table.shape) < 0.02] = np.inf
    table[rng.random(table.shape) < 0.02] = -np.inf
    return table


CODES = np.rint(20 * np.abs(X[:, 1])) + np.arange(len(X)) % 40
WITH_CODES = np.column_stack([holes(X), CODES])
TARGETS = [(CLASSIFIER, CLASSES), (CLASSIFIER, CLASSES > 0), (REGRESSOR, NUMBERS)]
# Name, target, table and parameters.
MODELS = [
    *((name, y, X, {"max_iter": 7}) for name, y in TARGETS),
    *((name, y, holes(X), {"max_iter": 5}) for name, y in TARGETS),
    *((name, y, WITH_CODES, {"max_iter": 5, "categorical_features": [10]}) for name, y in TARGETS),
    *(
        (REGRESSOR, NUMBERS, X, {"loss": loss, "max_iter": 4})
        for loss in ("poisson", "gamma", "absolute_error")
    ),
    (REGRESSOR, NUMBERS, X, {"max_leaf_nodes": None, "min_samples_leaf": 1, "max_iter": 3}),
    (REGRESSOR, np.ones(len(X)), X, {"max_iter": 2}),
]


@pytest.mark.parametrize(("name", "y", "table", "params"), MODELS)
def test_the_same_bits_as_scikit_learn_with_these_trees(name, y, table, params):
    model = make_ours(name, **params).fit(table, y)
    theirs = in_scikit_learn(model)
    methods = ["predict", "staged_predict"]
    if isinstance(model, HistGradientBoostingClassifier):
        methods += ["predict_proba", "decision_function", "staged_predict_proba", "staged_decision_function"]
    strange = table + 0.01
    strange[::7] = np.nan
    for rows in (table, table[:1], table[:17], np.asfortranarray(table), table[::3], strange):
        for method in methods:
            a, b = getattr(model, method)(rows), getattr(theirs, method)(rows)
            if method.startswith("staged"):
                a, b = list(a), list(b)
                assert len(a) == len(b) == model.n_iter_
            np.testing.assert_array_equal(a, b, err_msg=method)
            assert np.asarray(a).dtype == np.asarray(b).dtype
    as_float32 = table.astype(np.float32)
    np.testing.assert_array_equal(model.predict(as_float32), theirs.predict(as_float32))
    np.testing.assert_array_equal(model.predict(table.tolist()), theirs.predict(table.tolist()))


def test_unknown_categories_go_where_missing_values_go():
    codes = np.arange(len(X)) % 5
    table = np.column_stack([codes, X[:, 2]]).astype(float)
    table[::6, 0] = np.nan
    y = NUMBERS + 100.0 * (codes == 2)
    ours, theirs = fit_both(REGRESSOR, table, y, categorical_features=[0], max_iter=10)
    values = [[99.0, 0.0], [-1.0, 0.0], [np.nan, 0.0], [2.5, 0.0], [2.0, 0.0]]
    a, b = ours.predict(values), theirs.predict(values)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    assert a[0] == a[2] != a[4]


@pytest.mark.parametrize("name", BOTH)
def test_many_rows_on_threads(name):
    y = CLASSES if name == CLASSIFIER else NUMBERS
    model = make_ours(name, max_iter=5).fit(X, y)
    many = np.random.default_rng(0).standard_normal((30_000, X.shape[1])) * X.std(axis=0)
    np.testing.assert_array_equal(model._raw_predict(many), in_scikit_learn(model)._raw_predict(many))
    with fastfit.config_context(n_threads=1):
        one_thread = model._raw_predict(many)
    np.testing.assert_array_equal(model._raw_predict(many), one_thread)


def test_predictions_follow_the_trees():
    model = HistGradientBoostingRegressor(max_iter=5, warm_start=True).fit(X, NUMBERS)
    first = model.predict(X)
    model.set_params(max_iter=6).fit(X, NUMBERS)
    assert not np.array_equal(model.predict(X), first)
    model._predictors = model._predictors[:5]
    np.testing.assert_array_equal(model.predict(X), first)
    model.fit(X[::-1], NUMBERS)
    np.testing.assert_array_equal(model.predict(X), in_scikit_learn(model).predict(X))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("method", ["recursion", "brute"])
def test_partial_dependence(name, method):
    y = CLASSES > 0 if name == CLASSIFIER else NUMBERS
    ours, theirs = fit_both(name, X, y, max_iter=10)
    response = "decision_function" if name == CLASSIFIER else "auto"
    options = {"features": [2, 8], "grid_resolution": 5, "method": method, "response_method": response}
    a, b = (partial_dependence(model, X, **options) for model in (ours, theirs))
    np.testing.assert_allclose(a["average"], b["average"], rtol=1e-6, atol=1e-6)


def test_partial_dependence_by_recursion_knows_no_weights():
    model = HistGradientBoostingRegressor(max_iter=3).fit(X, NUMBERS, np.ones(len(X)))
    with pytest.raises(NotImplementedError, match="does not support partial dependence"):
        partial_dependence(model, X, features=[0], method="recursion")
    model.fit(X, NUMBERS)
    partial_dependence(model, X, features=[0], method="recursion")


@pytest.mark.parametrize("name", BOTH)
def test_bad_input_to_predict(name):
    model = make_ours(name, max_iter=2)
    for method in ("predict", "_raw_predict"):
        with pytest.raises(NotFittedError):
            getattr(model, method)(X)
    with pytest.raises(NotFittedError):
        next(model.staged_predict(X))
    model.fit(X, CLASSES)
    for bad, message in (
        (X[:, :-1], "X has 9 features, but .* is expecting 10 features"),
        (X[0], "Expected 2D array, got 1D array instead"),
        (X[:0], "Found array with 0 sample"),
        (np.full((2, 10), "word"), "could not convert string to float"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(bad)
