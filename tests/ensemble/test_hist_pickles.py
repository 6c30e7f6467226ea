"""Pickles and copies of boosted trees: of scikit-learn's structures, and of a tenth of the size."""

import copy
import pickle

import numpy as np
import pytest
from sklearn import ensemble as sklearn_ensemble
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from fastfit.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from fastfit.ensemble import hist_gradient_boosting_pickling as pickling

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)


def mixed_table():
    rng = np.random.default_rng(0)
    table = X.copy()
    table[rng.random(X.shape) < 0.1] = np.nan
    table[:, 3] = rng.integers(0, 20, len(X))
    table[:, 4] = np.where(rng.random(len(X)) < 0.5, np.nan, 1.0)  # its only split is on missing values
    y = NUMBERS + 40 * (table[:, 3] % 3 == 0) + 40 * np.isnan(table[:, 4])
    return table, y


def _fit_regressor_of_all_kinds(params):
    table, y = mixed_table()
    return HistGradientBoostingRegressor(**params).fit(table, y), table


def _fit_classifier_of_all_kinds(params):
    table, y = mixed_table()
    return HistGradientBoostingClassifier(**params).fit(table, np.searchsorted([100, 180], y)), table


def _fit_constant(params):
    return HistGradientBoostingRegressor(**params).fit(X, np.ones(len(X))), X


WITH_CATEGORIES = {"max_iter": 8, "categorical_features": [3, 4], "min_samples_leaf": 5}
MODELS = {
    "regressor": (_fit_regressor_of_all_kinds, WITH_CATEGORIES),
    "three rounds": (_fit_regressor_of_all_kinds, {"max_iter": 3}),
    "classifier": (_fit_classifier_of_all_kinds, WITH_CATEGORIES),
    "constant": (_fit_constant, {"max_iter": 2}),
}


@pytest.fixture(params=MODELS)
def fitted(request):
    """Return a fitted model and its table."""
    fit, params = MODELS[request.param]
    return fit(params)


def test_plain_pickles_and_copies_keep_every_bit(fitted):
    model, table = fitted
    expected = model._raw_predict(table)
    for copied in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        np.testing.assert_array_equal(copied._raw_predict(table), expected)
    theirs = object.__new__(getattr(sklearn_ensemble, type(model).__name__))
    theirs.__setstate__({key: value for key, value in model.__getstate__().items() if key != "fit_engine_"})
    np.testing.assert_array_equal(theirs._raw_predict(table), expected)


def test_compact_pickles(fitted):
    model, table = fitted
    model.compact_pickle = True
    loaded = pickle.loads(pickle.dumps(model))
    assert "_compact_trees" in model.__getstate__()
    assert loaded.__dict__.keys() == model.__dict__.keys()
    scale = max(np.abs(model._raw_predict(table)).max(), 1e-300)
    assert np.abs(loaded._raw_predict(table) - model._raw_predict(table)).max() <= 1e-6 * scale
    for trees, others in zip(model._predictors, loaded._predictors, strict=True):
        for tree, other in zip(trees, others, strict=True):
            assert type(other) is TreePredictor
            for name in pickling.EXACT_FIELDS:
                np.testing.assert_array_equal(tree.nodes[name], other.nodes[name], err_msg=name)
            np.testing.assert_array_equal(tree.raw_left_cat_bitsets, other.raw_left_cat_bitsets)
            np.testing.assert_array_equal(tree.binned_left_cat_bitsets, other.binned_left_cat_bitsets)
    np.testing.assert_allclose(loaded.feature_importances_, model.feature_importances_, rtol=0.01, atol=1e-12)
    for of_feature, thin in zip(
        model._bin_mapper.bin_thresholds_, loaded._bin_mapper.bin_thresholds_, strict=True
    ):
        kept = ~np.isnan(thin)
        np.testing.assert_array_equal(of_feature[kept], thin[kept])
    # A pickle of the loaded model, a copy, and a fit that goes on.
    again = pickle.loads(pickle.dumps(loaded))
    np.testing.assert_array_equal(again._raw_predict(table), loaded._raw_predict(table))
    np.testing.assert_array_equal(copy.deepcopy(model)._raw_predict(table), model._raw_predict(table))


def test_a_compact_pickle_is_a_tenth_of_the_plain_one():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((5000, 28))
    y = table[:, 0] + table[:, 1] * table[:, 2] + rng.standard_normal(5000) > 0
    model = HistGradientBoostingClassifier(early_stopping=False).fit(table, y)
    plain = len(pickle.dumps(model))
    model.compact_pickle = True
    assert len(pickle.dumps(model)) < 0.115 * plain


def test_a_loaded_model_can_go_on():
    model = HistGradientBoostingRegressor(max_iter=3, warm_start=True, compact_pickle=True)
    model.fit(X, NUMBERS)
    loaded = pickle.loads(pickle.dumps(model)).set_params(max_iter=6).fit(X, NUMBERS)
    model.set_params(max_iter=6).fit(X, NUMBERS)
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-5)


def test_an_unfitted_model_has_nothing_to_compact():
    model = HistGradientBoostingRegressor(compact_pickle=True, max_iter=3)
    assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params() == clone(model).get_params()


def test_trees_that_are_numbered_otherwise_are_pickled_as_they_are():
    model = HistGradientBoostingRegressor(max_iter=1, max_leaf_nodes=2, compact_pickle=True).fit(X, NUMBERS)
    nodes = model._predictors[0][0].nodes
    nodes["left"][0], nodes["right"][0] = 2, 1
    state = model.__getstate__()
    assert "_compact_trees" not in state
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
