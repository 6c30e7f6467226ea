"""Fits of exact gradient boosting: scikit-learn's trees, scores and predictions, bit for bit."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_classification,
    make_regression,
)
from sklearn.linear_model import LinearRegression, LogisticRegression

import fastfit
from fastfit.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, boosting_fitting
from fastfit.training import small_boosting
from tests.ensemble.boosting_pairs import CLASSIFIER, REGRESSOR, assert_same_ensemble, fit_both, make_both

IRIS = load_iris(return_X_y=True)
CANCER = tuple(array[::4] for array in load_breast_cancer(return_X_y=True))
DIABETES = tuple(array[::3] for array in load_diabetes(return_X_y=True))
WEIGHTS = {
    "no weights": lambda n: None,
    "repetitions": lambda n: np.random.default_rng(0).integers(0, 3, n).astype(float),
    "fractions": lambda n: np.random.default_rng(0).uniform(size=n),
}
SETTINGS = [
    {},
    {"subsample": 0.6},
    {"subsample": 0.6, "max_features": "sqrt", "min_samples_leaf": 3},
    {"max_leaf_nodes": 5, "max_depth": None},
    {"min_weight_fraction_leaf": 0.1, "subsample": 0.8},
    {"min_impurity_decrease": 1e-3, "min_samples_split": 0.2},
    {"ccp_alpha": 1e-2},
    {"n_iter_no_change": 2, "tol": 1e-2, "n_estimators": 30},
    {"init": "zero", "learning_rate": 1.0, "max_depth": 1},
]
LOSSES = [
    (CLASSIFIER, IRIS, {}),
    (CLASSIFIER, CANCER, {}),
    (CLASSIFIER, CANCER, {"loss": "exponential"}),
    (REGRESSOR, DIABETES, {}),
    (REGRESSOR, DIABETES, {"loss": "absolute_error"}),
    (REGRESSOR, DIABETES, {"loss": "huber", "alpha": 0.7}),
    (REGRESSOR, DIABETES, {"loss": "quantile", "alpha": 0.3}),
]


@pytest.fixture(params=["one call a round", "one call a tree"])
def engine(request, monkeypatch):
    """Do rounds both as for small tables and as for larger ones."""
    if request.param == "one call a tree":
        monkeypatch.setattr(small_boosting, "SMALL_X", 0)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("name", "data", "loss"), LOSSES)
def test_same_as_scikit_learn(name, data, loss, settings, engine):
    X, y = data
    assert_same_ensemble(*fit_both(name, X, y, **loss, **settings), X)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("name", "data", "loss"), LOSSES)
def test_same_with_weights(name, data, loss, kind, engine):
    X, y = data
    weight = WEIGHTS[kind](len(y))
    assert_same_ensemble(*fit_both(name, X, y, weight, subsample=0.7, **loss), X)


@pytest.mark.parametrize("init", [LogisticRegression(max_iter=500), "zero"])
def test_same_with_an_init_for_classes(init):
    X, y = IRIS
    ours, theirs = fit_both(CLASSIFIER, X, y, init=init)
    assert_same_ensemble(ours, theirs, X)


def test_same_with_an_init_for_numbers():
    X, y = DIABETES
    assert_same_ensemble(*fit_both(REGRESSOR, X, y, init=LinearRegression()), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_same_for_any_layout_of_X(dtype, order):
    X, y = DIABETES
    X = np.asarray(X, dtype=dtype, order=order)
    assert_same_ensemble(*fit_both(REGRESSOR, X, y), X)


def many_rows(kind):
    """Return (class, X, y) with nodes so large that histograms bound what splits gain."""
    rng = np.random.default_rng(0)
    if kind == "classes":
        return CLASSIFIER, *make_classification(5000, 6, n_informative=4, random_state=0)
    if kind == "three classes":
        return CLASSIFIER, *make_classification(5000, 6, n_informative=4, n_classes=3, random_state=0)
    X, y = make_regression(5000, 5, noise=20.0, random_state=0)
    if kind == "heavy tails":
        y = y + 100.0 * rng.standard_cauchy(len(y))
    if kind == "few values":
        X = np.floor(3.0 * X)
    if kind == "mostly constant":
        X[rng.random(X.shape) < 0.95] = 0.0
    if kind == "a column twice":
        X[:, 3] = X[:, 2]
    return REGRESSOR, X, y


LARGE = [
    "classes",
    "three classes",
    "numbers",
    "heavy tails",
    "few values",
    "mostly constant",
    "a column twice",
]


@pytest.mark.parametrize(
    "settings", [{}, {"subsample": 0.7}, {"min_samples_leaf": 0.05, "max_depth": 2}], ids=str
)
@pytest.mark.parametrize("kind", LARGE)
def test_same_splits_on_many_rows(kind, settings):
    name, X, y = many_rows(kind)
    X = X.astype(np.float32)
    assert_same_ensemble(*fit_both(name, X, y, n_estimators=3, **settings), X, exact=False)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_number_of_threads_does_not_matter(kind):
    name, X, y = many_rows(kind)
    states = []
    for n_threads in (1, 2, 3, 8):
        with fastfit.config_context(n_threads=n_threads):
            model = getattr(fastfit.ensemble, name)(n_estimators=4, n_jobs=n_threads, random_state=0)
            model.fit(X, y)
        trees = [tree.tree_.__getstate__() for tree in model.estimators_.ravel()]
        nodes = b"".join(tree["nodes"].tobytes() + tree["values"].tobytes() for tree in trees)
        states.append((nodes, model.train_score_.tobytes(), model.predict(X).tobytes()))
    assert len(set(states)) == 1


@pytest.mark.parametrize(("name", "data"), [(CLASSIFIER, IRIS), (REGRESSOR, DIABETES)])
@pytest.mark.parametrize("subsample", [1.0, 0.5])
def test_a_prefix_of_rounds_is_a_shorter_fit(name, data, subsample):
    long, short = (
        make_both(name, n_estimators=n, subsample=subsample, random_state=3)[0].fit(*data) for n in (8, 5)
    )
    np.testing.assert_array_equal(long.train_score_[:5], short.train_score_)
    long.estimators_ = long.estimators_[:5]
    np.testing.assert_array_equal(long.predict(data[0]), short.predict(data[0]))


@pytest.mark.parametrize("subsample", [1.0, 0.5])
def test_warm_start_goes_on_as_scikit_learn_does(subsample, engine):
    X, y = DIABETES
    models = make_both(REGRESSOR, n_estimators=3, subsample=subsample, warm_start=True, random_state=0)
    for model in models:
        model.fit(X, y).set_params(n_estimators=7).fit(X, y)
    assert_same_ensemble(*models, X)


def test_integer_weights_are_repetitions():
    X, y = DIABETES
    counts = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = GradientBoostingRegressor(n_estimators=5).fit(X, y, counts.astype(float))
    repeated = GradientBoostingRegressor(n_estimators=5).fit(
        np.repeat(X, counts, axis=0), np.repeat(y, counts)
    )
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X))


def test_monitor_sees_the_rounds_and_can_stop():
    X, y = DIABETES
    seen = []

    def monitor(i, estimator, variables):
        assert variables["raw_predictions"].shape == (len(y), 1)
        seen.append((i, estimator.train_score_[i]))
        return i == 3

    model = GradientBoostingRegressor(n_estimators=10).fit(X, y, monitor=monitor)
    assert [i for i, _ in seen] == [0, 1, 2, 3]
    assert model.n_estimators_ == len(model.estimators_) == len(model.train_score_) == 4


def test_ctrl_c_between_rounds_keeps_the_former_fit():
    X, y = IRIS
    model = GradientBoostingClassifier(n_estimators=2).fit(X, y)
    former = model.predict_proba(X)

    def interrupt(i, estimator, variables):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(X[50:], y[50:], monitor=interrupt)
    np.testing.assert_array_equal(model.predict_proba(X), former)


def test_verbose_prints_what_scikit_learn_prints(capsys):
    X, y = DIABETES
    printed = []
    for model in make_both(REGRESSOR, n_estimators=12, subsample=0.5, verbose=1, random_state=0):
        model.fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        # The last column is a time.
        printed.append([line.split()[:3] for line in lines])
    assert printed[0] == printed[1]


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array])
def test_sparse_X_is_left_to_scikit_learn(make):
    X, y = DIABETES
    ours, theirs = make_both(REGRESSOR, n_estimators=3, random_state=0)
    with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="do not cover sparse X"):
        ours.fit(make(X), y)
    assert ours.fit_engine_ == "scikit-learn"
    np.testing.assert_array_equal(ours.predict(X), theirs.fit(make(X), y).predict(X))
    np.testing.assert_array_equal(ours.predict(make(X)), theirs.predict(make(X)))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([[np.nan], [1.0]], [0, 1], "contains NaN"),
        ([[np.inf], [1.0]], [0, 1], "infinity"),
        ([[0.0], [1.0]], [1, 1], "1 class"),
        ([[0.0], [1.0]], [0, 1, 1], "inconsistent numbers"),
    ],
)
def test_bad_input_is_an_error_and_keeps_the_former_fit(X, y, message):
    model = GradientBoostingClassifier(n_estimators=2).fit(*IRIS)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert model.score(*IRIS) > 0.9


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
@pytest.mark.parametrize("y", [np.full(30, 2.5), np.r_[np.zeros(29), 1e12]])
def test_odd_targets(loss, y):
    X = np.arange(60.0).reshape(30, 2)
    assert_same_ensemble(*fit_both(REGRESSOR, X, y, loss=loss), X)


def test_constant_columns_leave_single_leaves():
    X, y = np.ones((40, 3)), np.arange(40) % 2
    ours, theirs = fit_both(CLASSIFIER, X, y)
    assert_same_ensemble(ours, theirs, X)
    assert ours.estimators_[0, 0].tree_.node_count == 1


def test_deprecated_criterion_warns_and_changes_nothing():
    X, y = DIABETES
    with pytest.warns(FutureWarning, match="criterion"):
        model = GradientBoostingRegressor(n_estimators=3, criterion="friedman_mse", random_state=0).fit(X, y)
    expected = GradientBoostingRegressor(n_estimators=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


def test_pickles_and_clones():
    X, y = IRIS
    model = GradientBoostingClassifier(n_estimators=3, n_jobs=2, random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert clone(model).get_params() == model.get_params()


@pytest.mark.plain_python
def test_a_few_rounds_in_plain_python():
    X, y = IRIS
    X, y = X[::5], y[::5]
    assert_same_ensemble(*fit_both(CLASSIFIER, X, y, n_estimators=2, max_depth=2), X)


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_numbers_of_double_precision_are_kept_in_columns_alone(order):
    X = np.asarray(np.random.default_rng(0).normal(size=(boosting_fitting.LARGE_X // 7, 8)), order=order)
    columns = boosting_fitting._in_columns(X)
    assert columns.flags.f_contiguous
    np.testing.assert_array_equal(columns, X.astype(np.float32))
    y = X[:, 0] + X[:, 1] * X[:, 2]
    ours, theirs = fit_both(REGRESSOR, X, y, n_estimators=2)
    assert_same_ensemble(ours, theirs, X, exact=False)
    X[3, 5] = 1e39
    with pytest.raises(ValueError, match="infinity"):
        ours.fit(X, y)
    assert_same_ensemble(ours, theirs, np.nan_to_num(X[:3]), exact=False)


@pytest.mark.parametrize("n_samples", [10, 149, 1001])
@pytest.mark.parametrize(("name", "data", "loss"), LOSSES)
def test_same_dummy(name, data, loss, n_samples):
    rng = np.random.default_rng(n_samples)
    X, y = rng.normal(size=(n_samples, 2)), rng.choice(data[1], n_samples)
    y[:3] = np.unique(data[1])[:3] if name == REGRESSOR or len(np.unique(data[1])) > 2 else [0, 1, 0]
    ours, theirs = fit_both(name, X, y, n_estimators=1, **loss)
    own, reference = vars(ours.init_), vars(theirs.init_)
    assert own.keys() == reference.keys()
    for attribute, value in reference.items():
        np.testing.assert_array_equal(own[attribute], value)
        assert np.asarray(own[attribute]).dtype == np.asarray(value).dtype
        assert np.shape(own[attribute]) == np.shape(value)


def test_rounds_at_once_are_the_same_as_one_by_one():
    X, y = IRIS
    at_once = GradientBoostingClassifier(n_estimators=5, random_state=np.random.RandomState(3)).fit(X, y)
    one_by_one = GradientBoostingClassifier(n_estimators=5, random_state=np.random.RandomState(3))
    seen = []
    one_by_one.fit(X, y, monitor=lambda i, model, variables: seen.append(i))
    assert seen == [0, 1, 2, 3, 4]
    assert_same_ensemble(at_once, one_by_one, X)
    # Both have drawn as many numbers.
    assert at_once.random_state.randint(1 << 30) == one_by_one.random_state.randint(1 << 30)
