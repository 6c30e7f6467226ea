"""What gradient boosting on histograms does around its trees: stopping, warm starts, weights, bad input, messages."""

import copy
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn._loss.loss import AbsoluteError, HalfBinomialLoss
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score

import fastfit
from fastfit.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.ensemble.hist_pairs import (
    BOTH,
    CLASSIFIER,
    REGRESSOR,
    compare_rounds,
    fit_both,
    make_both,
    make_ours,
)

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)
WEIGHT = np.random.default_rng(0).uniform(0.2, 2.0, len(X))
SMALL = {"max_iter": 6, "random_state": 7}


def target_of(name):
    return CLASSES if name == CLASSIFIER else NUMBERS


def assert_same_model(ours, theirs):
    comparison = compare_rounds(ours, theirs)
    assert len(ours._predictors) == len(theirs._predictors)
    assert not comparison.departures
    assert comparison.value_gap < 1e-6


def assert_equal_trees(one, other):
    """Check that two of our models have the same bits."""
    assert len(one._predictors) == len(other._predictors)
    for trees, others in zip(one._predictors, other._predictors, strict=True):
        for a, b in zip(trees, others, strict=True):
            assert a.nodes.tobytes() == b.nodes.tobytes()
            np.testing.assert_array_equal(a.raw_left_cat_bitsets, b.raw_left_cat_bitsets)


# -------------------------------------------------------------------------------------- early stopping


SCORINGS = {
    CLASSIFIER: ["loss", "accuracy", "neg_log_loss", None, get_scorer("neg_log_loss")],
    REGRESSOR: ["loss", "neg_median_absolute_error", None, get_scorer("r2")],
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("validation_fraction", [0.2, 60, None])
@pytest.mark.parametrize(
    ("name", "scoring"), [(name, scoring) for name in BOTH for scoring in SCORINGS[name]], ids=str
)
def test_scores_of_early_stopping(name, scoring, validation_fraction, weighted):
    ours, theirs = fit_both(
        name,
        X,
        target_of(name),
        WEIGHT if weighted else None,
        early_stopping=True,
        scoring=scoring,
        validation_fraction=validation_fraction,
        n_iter_no_change=3,
        max_iter=12,
        learning_rate=0.5,
        random_state=2,
    )
    assert ours.n_iter_ == theirs.n_iter_
    assert len(ours.train_score_) == ours.n_iter_ + 1
    for attribute in ("train_score_", "validation_score_"):
        a, b = getattr(ours, attribute), getattr(theirs, attribute)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=attribute)
    assert ours.do_early_stopping_ is True
    assert not hasattr(ours, "_in_fit")


@pytest.mark.parametrize("name", BOTH)
def test_early_stopping_ends_the_fit(name):
    ours, theirs = fit_both(
        name,
        X,
        target_of(name),
        early_stopping=True,
        n_iter_no_change=2,
        tol=1e-2,
        max_iter=500,
        learning_rate=0.5,
        random_state=0,
    )
    assert ours.n_iter_ == theirs.n_iter_ < 100
    assert_same_model(ours, theirs)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("scoring", ["loss", None])
def test_validation_data_of_the_user(name, scoring):
    y = target_of(name)
    given = {"X_val": X[:100], "y_val": y[:100], "sample_weight_val": WEIGHT[:100]}
    params = {"early_stopping": True, "scoring": scoring, **SMALL}
    ours, theirs = fit_both(name, X[100:], y[100:], WEIGHT[100:], fit_params=given, **params)
    assert_same_model(ours, theirs)
    np.testing.assert_allclose(ours.validation_score_, theirs.validation_score_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.train_score_, theirs.train_score_, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_early_stopping_of_many_rows(scoring):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((14_000, 3))
    y = np.array(["no", "yes"])[(X[:, 0] + rng.standard_normal(len(X)) > 0).astype(int)]
    ours, theirs = fit_both(CLASSIFIER, X, y, max_iter=5, random_state=4, scoring=scoring)
    assert ours.do_early_stopping_
    np.testing.assert_allclose(ours.validation_score_, theirs.validation_score_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.train_score_, theirs.train_score_, rtol=1e-6)
    np.testing.assert_array_equal(ours._bin_mapper.bin_thresholds_, theirs._bin_mapper.bin_thresholds_)


def test_a_scorer_may_predict_for_other_data():
    seen = []

    def score(estimator, X_binned, y):
        seen.append(estimator.predict(X_binned[:10]))
        return len(seen)

    ours, theirs = make_both(REGRESSOR, early_stopping=True, scoring=score, **SMALL)
    ours.fit(X, NUMBERS)
    ours_seen, seen[:] = list(seen), []
    theirs.fit(X, NUMBERS)
    np.testing.assert_allclose(ours_seen, seen, rtol=1e-6)


# ---------------------------------------------------------------------------------- rounds and loss curve


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("params", [{}, {"max_features": 0.5}, {"subsample": 0.6}, {"loss": "last"}], ids=str)
def test_a_prefix_of_the_rounds_is_a_shorter_fit(name, params):
    params = dict(params)
    if params.pop("loss", None):
        params = {"loss": "poisson"} if name == REGRESSOR else {"class_weight": "balanced"}
    long = make_ours(name, max_iter=9, random_state=3)
    long.set_params(**params).fit(X, target_of(name))
    short = clone(long).set_params(max_iter=4).fit(X, target_of(name))
    long._predictors = long._predictors[:4]
    assert_equal_trees(long, short)
    np.testing.assert_array_equal(long.loss_curve_[:4], short.loss_curve_)


@pytest.mark.parametrize("name", BOTH)
def test_the_loss_curve_is_the_training_loss_before_each_round(name):
    model = make_ours(name, max_iter=5, early_stopping=True, validation_fraction=None)
    model.fit(X, target_of(name), WEIGHT)
    np.testing.assert_allclose(model.loss_curve_, -model.train_score_[:-1], rtol=1e-12)
    assert np.all(np.diff(model.loss_curve_) < 0)
    unwatched = clone(model).set_params(early_stopping=False).fit(X, target_of(name), WEIGHT)
    np.testing.assert_allclose(unwatched.loss_curve_, model.loss_curve_, rtol=1e-12)
    assert len(unwatched.train_score_) == len(unwatched.validation_score_) == 0


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "params",
    [{}, {"early_stopping": True}, {"max_features": 0.5, "subsample": 0.7, "colsample_bytree": 0.6}],
    ids=str,
)
def test_warm_start_goes_on_where_the_fit_ended(name, params):
    y = target_of(name)
    warm = make_ours(name, max_iter=3, warm_start=True, random_state=5)
    warm.set_params(n_iter_no_change=50, **params).fit(X, y)
    former = warm._predictors
    warm.set_params(max_iter=8).fit(X, y)
    assert all(a is b for a, b in zip(former, warm._predictors, strict=False))
    assert len(former) == 3
    cold = clone(warm).set_params(warm_start=False).fit(X, y)
    assert_equal_trees(warm, cold)
    np.testing.assert_allclose(warm.loss_curve_, cold.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(warm.train_score_, cold.train_score_, rtol=1e-12)
    np.testing.assert_allclose(warm.validation_score_, cold.validation_score_, rtol=1e-12)


def test_warm_start_with_fewer_rounds_is_an_error():
    for model in make_both(REGRESSOR, warm_start=True, **SMALL):
        model.fit(X, NUMBERS).set_params(max_iter=5)
        message = "max_iter=5 must be larger than or equal to n_iter_=6 when warm_start==True"
        with pytest.raises(ValueError, match=message):
            model.fit(X, NUMBERS)


# --------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("name", BOTH)
def test_whole_weights_stand_for_repetitions(name):
    rng = np.random.default_rng(1)
    # Few values of each feature, all of them present: then bins do not depend on the weights.
    X = rng.integers(0, 12, (150, 4)).astype(float)
    X = np.concatenate([X, X])
    y = target_of(name)[: len(X)]
    counts = rng.integers(1, 4, len(X))
    params = {"max_iter": 5, "min_samples_leaf": 1, "max_leaf_nodes": 8}
    weighted = make_ours(name, **params)
    repeated = clone(weighted).fit(X.repeat(counts, axis=0), y.repeat(counts))
    weighted.fit(X, y, counts)
    # The first sums of the weighted fit carry the rounding of float32 gradients times weights.
    np.testing.assert_allclose(weighted._raw_predict(X), repeated._raw_predict(X), rtol=1e-5, atol=1e-6)


def test_weights_of_zero_leave_rows_out():
    weight = np.where(np.arange(len(X)) % 3 == 0, 0.0, 1.0)
    y = np.where(weight == 0.0, 1e4, NUMBERS)
    ours, theirs = fit_both(REGRESSOR, X, y, weight, **SMALL)
    assert_same_model(ours, theirs)
    assert np.abs(ours.predict(X)).max() < 1e3


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights(class_weight, weighted):
    weight = WEIGHT if weighted else None
    ours, theirs = fit_both(CLASSIFIER, X, CLASSES, weight, class_weight=class_weight, **SMALL)
    assert_same_model(ours, theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5)


# ----------------------------------------------------------------------------------- own hyperparameters


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize(
    "params",
    [{}, {"max_features": 0.5, "subsample": 0.8}, {"monotonic_cst": "any", "categorical_features": [1]}],
    ids=str,
)
def test_the_number_of_threads_changes_no_bit(monkeypatch, name, n_threads, params):
    from fastfit.training import histogram_boosting

    params = dict(params)
    y = target_of(name)
    if params.pop("monotonic_cst", None):
        y = y if name == REGRESSOR else y > 0
        params["monotonic_cst"] = {0: 1, 2: -1}
        params["monotonic_cst"] = [1, 0, -1, *[0] * 7]

    class Booster(histogram_boosting.HistogramBooster):
        """With as many threads as the test wants, on however few rows."""

        n_threads = 1

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs, n_threads=Booster.n_threads)

    monkeypatch.setattr(histogram_boosting, "HistogramBooster", Booster)
    model = make_ours(name, max_iter=5, random_state=0, **params)
    one = copy.deepcopy(model.fit(X, y))
    Booster.n_threads = n_threads
    assert_equal_trees(one, model.fit(X, y))
    np.testing.assert_array_equal(one.loss_curve_, model.loss_curve_)


@pytest.mark.parametrize(("n_samples", "n_features"), [(20_000, 12), (70_000, 3), (20_000, 40)])
@pytest.mark.parametrize("loss", ["log_loss_binary", "squared_error", "quantile"])
def test_a_team_that_shares_rows_grows_the_same_trees(loss, n_samples, n_features):
    """Nodes of more rows than `SAMPLES_TO_SHARE`, with few features: each member adds up its own rows."""
    from fastfit.training.bin_thresholds import find_bin_thresholds
    from fastfit.training.binned_data import bin_data
    from fastfit.training.histogram_boosting import GrowthOptions, HistogramBooster

    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    y = (X[:, 0] + rng.standard_normal(n_samples) > 0).astype(float)
    bins = bin_data(X, find_bin_thresholds(X, 255), np.zeros(n_features, np.uint8), 255)
    grown = []
    for n_threads in (1, 2, 6):
        raw = np.zeros((n_samples, 1), order="F")
        booster = HistogramBooster(
            bins, loss, y, None, raw, GrowthOptions(), quantile=0.4, n_threads=n_threads
        )
        trees = [tree for trees in booster.boost(2) for tree in trees]
        grown.append([*(tree.ints.tobytes() + tree.floats.tobytes() for tree in trees), raw.tobytes()])
    assert grown[0] == grown[1] == grown[2]


@pytest.mark.parametrize("name", BOTH)
def test_subsample_grows_trees_to_a_share_of_the_rows(name):
    model = make_ours(name, subsample=0.4, **SMALL)
    model.fit(X, target_of(name))
    roots = [tree.nodes[0]["count"] for trees in model._predictors for tree in trees]
    assert set(roots) == {int(0.4 * len(X))}
    # Rows that were not drawn are moved as well: the raw predictions of the fit are those of its trees.
    whole = clone(model).set_params(max_iter=1, subsample=1.0).fit(X, target_of(name))
    assert whole._predictors[0][0].nodes[0]["count"] == len(X)
    assert np.all(np.diff(model.loss_curve_) < 0)
    other = clone(model).set_params(random_state=8).fit(X, target_of(name))
    assert not np.array_equal(other._predictors[0][0].nodes, model._predictors[0][0].nodes)


def test_colsample_bytree_draws_features_for_each_round():
    model = HistGradientBoostingRegressor(colsample_bytree=0.3, max_iter=20, random_state=0).fit(X, NUMBERS)
    used = [{*tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0]} for (tree,) in model._predictors]
    assert all(0 < len(features) <= 3 for features in used)
    assert len(set().union(*used)) > 6


def test_reg_alpha_moves_the_sum_of_gradients_towards_zero():
    params = {"max_iter": 1, "learning_rate": 1.0, "max_leaf_nodes": 2}
    plain = HistGradientBoostingRegressor(**params).fit(X, NUMBERS)
    alpha = 40.0
    penalised = clone(plain).set_params(reg_alpha=alpha).fit(X, NUMBERS)
    nodes, moved = plain._predictors[0][0].nodes, penalised._predictors[0][0].nodes
    assert nodes["num_threshold"][0] == moved["num_threshold"][0]
    leaves = nodes["is_leaf"] == 1
    sums = nodes["value"][leaves] * nodes["count"][leaves]
    expected = np.sign(sums) * np.maximum(np.abs(sums) - alpha, 0.0) / nodes["count"][leaves]
    np.testing.assert_allclose(moved["value"][leaves], expected, rtol=1e-6)
    nothing = clone(plain).set_params(reg_alpha=1e9, max_iter=3).fit(X, NUMBERS)
    assert np.ptp(nothing.predict(X)) == 0.0


def test_min_gain_to_split_is_the_least_gain():
    free = HistGradientBoostingRegressor(max_iter=1).fit(X, NUMBERS)
    nodes = free._predictors[0][0].nodes
    gains = np.sort(nodes["gain"][nodes["is_leaf"] == 0])
    bound = gains[len(gains) // 2]
    bounded = clone(free).set_params(min_gain_to_split=bound).fit(X, NUMBERS)
    nodes = bounded._predictors[0][0].nodes
    kept = nodes["gain"][nodes["is_leaf"] == 0]
    assert 0 < len(kept) < len(gains)
    assert kept.min() >= bound


@pytest.mark.parametrize("kind", ["gain", "split"])
def test_feature_importances(kind):
    table = np.column_stack([np.random.default_rng(0).standard_normal(len(X)), X[:, [2, 8]]])
    model = HistGradientBoostingRegressor(importance_type=kind, max_iter=10).fit(table, NUMBERS)
    importances = model.feature_importances_
    assert importances.sum() == pytest.approx(1.0)
    expected = np.zeros(3)
    for (tree,) in model._predictors:
        for node in tree.nodes[tree.nodes["is_leaf"] == 0]:
            expected[node["feature_idx"]] += node["gain"] if kind == "gain" else 1.0
    np.testing.assert_allclose(importances, expected / expected.sum())
    if kind == "gain":
        assert importances.argmin() == 0


def test_feature_importances_of_categories_stand_in_their_columns():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((400, 3))
    table[:, 2] = rng.integers(0, 5, 400)
    y = 10.0 * (table[:, 2] == 2) + table[:, 0]
    model = HistGradientBoostingRegressor(categorical_features=[2], max_iter=5).fit(table, y)
    assert model.feature_importances_.argmax() == 2
    assert model.feature_importances_[1] < 0.05


def test_feature_importances_without_splits():
    constant = HistGradientBoostingRegressor(max_iter=3).fit(X, np.ones(len(X)))
    np.testing.assert_array_equal(constant.feature_importances_, np.zeros(X.shape[1]))
    with pytest.raises(NotFittedError):
        HistGradientBoostingRegressor().feature_importances_  # noqa: B018


# ------------------------------------------------------------------------------------------ categories


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize("name", BOTH)
def test_categories(name, as_frame):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 30, len(X)).astype(float)
    codes[rng.random(len(X)) < 0.1] = np.nan
    table = np.column_stack([X[:, 2], codes, X[:, 8]])
    params = {"categorical_features": [1]}
    if as_frame:
        table = pd.DataFrame(table, columns=["bmi", "kind", "s5"])
        table["kind"] = table["kind"].map(lambda code: f"kind {code}", na_action="ignore").astype("category")
        params = {}
    y = target_of(name) if name == CLASSIFIER else NUMBERS + 50.0 * (codes % 3 == 1)
    ours, theirs = fit_both(name, table, y, max_iter=10, **params)
    assert_same_model(ours, theirs)
    np.testing.assert_allclose(ours._raw_predict(table), theirs._raw_predict(table), rtol=1e-6, atol=1e-6)
    assert any(tree.nodes["is_categorical"].any() for trees in ours._predictors for tree in trees)


def test_more_categories_than_bins():
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.arange(900), rng.zipf(1.5, 4000) % 900])
    table = np.column_stack([codes, rng.standard_normal(len(codes))]).astype(float)
    y = (codes % 2) + 0.1 * table[:, 1]
    plain = HistGradientBoostingRegressor(categorical_features=[0], max_iter=30)
    with pytest.raises(ValueError, match="at index 0 is expected to have a cardinality <= 255"):
        plain.fit(table, y)
    grouped = plain.set_params(group_rare_categories=True).fit(table, y)
    assert grouped.fit_engine_ == "fastfit"
    frequent = np.isin(codes, np.argsort(-np.bincount(codes))[:200])
    residual = np.abs(grouped.predict(table[frequent]) - y[frequent])
    assert np.mean(residual) < 0.15
    # All rare categories are predicted alike, and an unknown one like a missing value.
    rare = np.flatnonzero(np.bincount(codes) == 1)[-3:].astype(float)
    predictions = grouped.predict(np.column_stack([rare, np.zeros(3)]))
    assert np.ptp(predictions) == 0.0
    unknown = grouped.predict([[5000.0, 0.0], [np.nan, 0.0]])
    assert unknown[0] == unknown[1]
    few = clone(grouped).set_params(max_iter=3).fit(table[:, :] % 7, y)
    assert_equal_trees(few, clone(few).set_params(group_rare_categories=False).fit(table % 7, y))


def test_polars():
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(
        {"a": X[:, 2], "b": polars.Series(CLASSES.astype(str), dtype=polars.Categorical)}
    )
    ours, theirs = fit_both(REGRESSOR, table, NUMBERS, max_iter=5)
    assert_same_model(ours, theirs)


# ------------------------------------------------------------------------------------------- bad input


def assert_same_error(name, X, y, fit_params=None, **params):
    ours, theirs = make_both(name, **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, TypeError)) as expected:
            theirs.fit(X, y, **(fit_params or {}))
        with pytest.raises(expected.type, match=re.escape(str(expected.value)[:60])):
            ours.fit(X, y, **(fit_params or {}))
    assert not hasattr(ours, "fit_engine_")


BAD_INPUT = {
    "negative for poisson": (REGRESSOR, X, NUMBERS - 200.0, {"loss": "poisson"}),
    "zeros for poisson": (REGRESSOR, X, 0 * NUMBERS, {"loss": "poisson"}),
    "zero for gamma": (REGRESSOR, X, np.where(NUMBERS > 100, NUMBERS, 0.0), {"loss": "gamma"}),
    "NaN in y": (REGRESSOR, X, np.where(NUMBERS > 100, NUMBERS, np.nan), {}),
    "infinity in y": (REGRESSOR, X, np.where(NUMBERS > 100, NUMBERS, np.inf), {}),
    "numbers as classes": (CLASSIFIER, X, NUMBERS + 0.5, {}),
    "too few y": (REGRESSOR, X, NUMBERS[:-1], {}),
    "no rows": (REGRESSOR, X[:0], NUMBERS[:0], {}),
    "three dimensions": (REGRESSOR, X[:, :, np.newaxis], NUMBERS, {}),
    "words": (REGRESSOR, np.array([["a", "b"]] * 30), NUMBERS[:30], {}),
    "learning rate": (REGRESSOR, X, NUMBERS, {"learning_rate": 0.0}),
    "quantile missing": (REGRESSOR, X, NUMBERS, {"loss": "quantile"}),
    "monotonic category": (
        REGRESSOR,
        np.abs(X.round(1)),
        NUMBERS,
        {"monotonic_cst": [1] * 10, "categorical_features": [0]},
    ),
    "monotonic of classes": (CLASSIFIER, X, CLASSES, {"monotonic_cst": [1] * 10}),
    "interaction of unknown feature": (REGRESSOR, X, NUMBERS, {"interaction_cst": [[0, 99]]}),
    "early stopping of one row of a class": (
        CLASSIFIER,
        X,
        np.append(np.zeros(len(X) - 1), 1.0),
        {"early_stopping": True},
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_refused_as_by_scikit_learn(case):
    name, X, y, params = BAD_INPUT[case]
    assert_same_error(name, X, y, **params)


def test_half_of_validation_data_is_refused():
    for given in ({"X_val": X}, {"y_val": NUMBERS}):
        assert_same_error(REGRESSOR, X, NUMBERS, given)
    assert_same_error(REGRESSOR, X, NUMBERS, {"X_val": X, "y_val": NUMBERS}, early_stopping=False)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("subsample", 0.0),
        ("subsample", 1.5),
        ("colsample_bytree", 0.0),
        ("reg_alpha", -1.0),
        ("min_gain_to_split", -1.0),
        ("n_jobs", 1.5),
        ("importance_type", "cover"),
    ],
)
def test_own_arguments_are_checked(argument, value):
    with pytest.raises(ValueError, match=f"The '{argument}' parameter of HistGradientBoostingRegressor must"):
        HistGradientBoostingRegressor(**{argument: value}).fit(X, NUMBERS)


@pytest.mark.parametrize("name", BOTH)
def test_one_class_and_constant_targets(name):
    y = np.ones(len(X), dtype=int)
    ours, theirs = fit_both(name, X, y, **SMALL)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))
    assert all(len(tree.nodes) == 1 for trees in ours._predictors for tree in trees)
    for (one,), (other,) in zip(ours._predictors, theirs._predictors, strict=True):
        assert one.nodes["value"] == other.nodes["value"] == 0.0
        assert one.nodes["count"] == other.nodes["count"]


@pytest.mark.parametrize("name", BOTH)
def test_infinite_and_missing_values_of_features(name):
    table = X.copy()
    rng = np.random.default_rng(0)
    table[rng.random(X.shape) < 0.1] = np.nan
    table[rng.random(X.shape) < 0.05] = np.inf
    table[rng.random(X.shape) < 0.05] = -np.inf
    ours, theirs = fit_both(name, table, target_of(name), max_iter=10)
    assert_same_model(ours, theirs)
    np.testing.assert_allclose(ours._raw_predict(table), theirs._raw_predict(table), rtol=1e-6, atol=1e-6)


def test_few_rows():
    for n_samples in (1, 2, 3, 40, 41):
        ours, theirs = fit_both(REGRESSOR, X[:n_samples], NUMBERS[:n_samples], max_iter=3)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)


def test_a_failed_fit_keeps_the_former_one():
    model = HistGradientBoostingRegressor(warm_start=True, **SMALL).fit(X, NUMBERS)
    before = model.predict(X)
    n_trees = len(model._predictors)

    def interrupt(estimator, X, y):
        if len(estimator._predictors) == 8:
            raise KeyboardInterrupt
        return 0.0

    model.set_params(max_iter=20, early_stopping=True, scoring=interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, NUMBERS)
    assert len(model._predictors) == n_trees
    assert not hasattr(model, "_in_fit")
    np.testing.assert_array_equal(model.predict(X), before)


# -------------------------------------------------------------------------------- loss objects, messages


def test_a_loss_object():
    y = CLASSES > 0
    model = HistGradientBoostingClassifier(loss=HalfBinomialLoss(), max_iter=5).fit(X, y)
    named = HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    assert model.fit_engine_ == "fastfit"
    np.testing.assert_allclose(model.predict_proba(X), named.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(model.loss_curve_, named.loss_curve_, rtol=1e-5)


def test_a_loss_object_that_is_not_differentiable_falls_back():
    model = HistGradientBoostingRegressor(loss=AbsoluteError(), max_iter=5)
    with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="not differentiable"):
        model.fit(X, NUMBERS)
    assert model.fit(X, NUMBERS).fit_engine_ == "scikit-learn"
    named = HistGradientBoostingRegressor(loss="absolute_error", max_iter=5).fit(X, NUMBERS)
    np.testing.assert_allclose(model.predict(X), named.predict(X), rtol=1e-5)
    with pytest.raises(ValueError, match=r"subsample=0\.5 does not work with a loss object"):
        model.set_params(subsample=0.5).fit(X, NUMBERS)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_messages(capsys, verbose):
    texts = []
    for model in make_both(REGRESSOR, verbose=verbose, early_stopping=True, max_iter=2, random_state=0):
        model.fit(X, NUMBERS)
        # The seconds differ; and scikit-learn tells what its parts took.
        text = re.sub(r"\d+\.\d+ ?s", "_ s", capsys.readouterr().out)
        texts.append([line for line in text.splitlines() if not line.startswith("Time spent")])
    assert texts[0] == texts[1]
    assert len(texts[0]) == (0, 4, 6)[verbose]


@pytest.mark.parametrize("name", BOTH)
def test_in_cross_validation(name):
    data = load_iris if name == CLASSIFIER else load_breast_cancer
    table, y = data(return_X_y=True)
    ours, theirs = make_both(name, max_iter=10)
    np.testing.assert_allclose(cross_val_score(ours, table, y), cross_val_score(theirs, table, y), atol=1e-6)
