"""Predictions of forests: scikit-learn's in every bit, for all kinds of input, from the trees there are now."""

import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.inspection import partial_dependence
from sklearn.tree import DecisionTreeClassifier as SklearnTree

import fastfit
from fastfit.ensemble import RandomForestClassifier, RandomForestRegressor
from tests.ensemble.forest_pairs import CLASSIFIERS, FORESTS, REGRESSORS, fit_both, make_both

SMALL = {"n_estimators": 7, "random_state": 3}
X, CLASSES = load_iris(return_X_y=True)
WIDE, NUMBERS = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def fitted_pair(name, n_outputs=1, **params):
    """Two forests with the same trees: scikit-learn's has ours, so that only the predictions can differ."""
    data, y = (X, NAMES[CLASSES]) if name in CLASSIFIERS else (WIDE, NUMBERS)
    if n_outputs > 1:
        y = np.column_stack([y, y[::-1], np.roll(y, 50)][:n_outputs])
        if name in CLASSIFIERS:
            y[y[:, 1] == "virginica", 1] = "setosa"
    ours, theirs = fit_both(name, data, y, **SMALL, **params)
    theirs.estimators_ = ours.estimators_
    return ours, theirs, data


def assert_same_predictions(ours, theirs, data):
    for method in ("predict", "predict_proba", "predict_log_proba", "apply"):
        if not hasattr(theirs, method):
            continue
        with np.errstate(divide="ignore"):
            values, expected = getattr(ours, method)(data), getattr(theirs, method)(data)
        assert type(values) is type(expected)
        for value, wanted in zip(*map(as_list, (values, expected)), strict=True):
            np.testing.assert_array_equal(value, wanted, err_msg=method)
            assert value.dtype == wanted.dtype
            assert value.flags.c_contiguous == wanted.flags.c_contiguous
            assert value.flags.writeable


def as_list(values):
    return values if isinstance(values, list) else [values]


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize("n_rows", [1, 2, 33, 150])
def test_predictions_are_the_same(name, n_outputs, n_rows):
    ours, theirs, data = fitted_pair(name, n_outputs)
    assert_same_predictions(ours, theirs, data[:n_rows])


@pytest.mark.plain_python
def test_smallest_predictions():
    ours, theirs = fit_both("RandomForestRegressor", X[::9], CLASSES[::9], n_estimators=2, random_state=0)
    theirs.estimators_ = ours.estimators_
    assert_same_predictions(ours, theirs, X[:5])


@pytest.mark.parametrize("name", FORESTS)
def test_many_rows(name):
    ours, theirs, data = fitted_pair(name)
    rows = np.random.default_rng(0).integers(0, len(data), 20_000)
    noise = np.random.default_rng(1).normal(size=(len(rows), data.shape[1]))
    assert_same_predictions(ours, theirs, data[rows] + 0.2 * noise)


@pytest.mark.parametrize("name", FORESTS)
def test_decision_path(name):
    ours, theirs, data = fitted_pair(name)
    (path, start), (expected, expected_start) = ours.decision_path(data), theirs.decision_path(data)
    assert (path != expected).nnz == 0
    np.testing.assert_array_equal(start, expected_start)


KINDS_OF_DATA = {
    "float32": lambda data: data.astype(np.float32),
    "float32 in columns": lambda data: np.asfortranarray(data, dtype=np.float32),
    "float64 in columns": np.asfortranarray,
    "every other column": lambda data: np.repeat(data, 2, axis=1)[:, ::2],
    "backwards": lambda data: data[::-1],
    "integers": lambda data: np.rint(10 * data).astype(int),
    "lists": lambda data: data.tolist(),
    "a data frame": pd.DataFrame,
    "a subclass": lambda data: data.view(np.memmap),
    "big-endian": lambda data: data.astype(">f8"),
    "float16": lambda data: data.astype(np.float16),
    "missing values": lambda data: np.where(data > np.median(data), np.nan, data),
    "very large": lambda data: data * 1e37,
}


@pytest.mark.parametrize("kind", KINDS_OF_DATA)
@pytest.mark.parametrize("name", FORESTS)
def test_kinds_of_data(name, kind):
    ours, theirs, data = fitted_pair(name)
    assert_same_predictions(ours, theirs, KINDS_OF_DATA[kind](data[:40]))


def test_read_only_data():
    ours, theirs, data = fitted_pair("RandomForestClassifier")
    data = data.astype(np.float32)
    data.flags.writeable = False
    assert_same_predictions(ours, theirs, data)


BAD_DATA = {
    "too few columns": lambda data: data[:, :2],
    "one dimension": lambda data: data[0],
    "three dimensions": lambda data: data[np.newaxis],
    "no rows": lambda data: data[:0],
    "infinity": lambda data: np.where(data == data[0, 0], np.inf, data),
    "minus infinity": lambda data: np.where(data == data[0, 0], -np.inf, data).astype(np.float32),
    "both infinities": lambda data: np.where(
        data == data[0, 0], [-np.inf] + [np.inf] * (data.shape[1] - 1), data
    ),
    "too large for float32": lambda data: np.where(data == data[0, 0], 1e39, data),
    "text": lambda data: np.full(data.shape, "a"),
    "complex": lambda data: data.astype(complex),
    "None": lambda data: None,
}


@pytest.mark.parametrize("kind", BAD_DATA)
@pytest.mark.parametrize("name", FORESTS)
def test_bad_data_have_scikit_learn_s_message(name, kind):
    ours, theirs, data = fitted_pair(name)
    bad = BAD_DATA[kind](data)
    for method in ("predict", "apply"):
        with pytest.raises((ValueError, TypeError)) as expected:
            getattr(theirs, method)(bad)
        with pytest.raises((ValueError, TypeError)) as raised:
            getattr(ours, method)(bad)
        assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("name", FORESTS)
def test_names_of_features(name):
    ours, theirs = make_both(name, **SMALL)
    frame = pd.DataFrame(X, columns=list("abcd"))
    for forest in (ours, theirs):
        forest.fit(frame, CLASSES)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            forest.predict(X)
        with pytest.raises(ValueError, match="The feature names should match"):
            forest.predict(frame[list("abdc")])
    theirs.estimators_ = ours.estimators_
    assert_same_predictions(ours, theirs, frame)


@pytest.mark.parametrize("name", FORESTS)
def test_predictions_follow_the_trees(name):
    ours, theirs, data = fitted_pair(name)
    assert_same_predictions(ours, theirs, data)
    del ours.estimators_[2:5]
    assert_same_predictions(ours, theirs, data)
    ours.estimators_.append(ours.estimators_[0])
    assert_same_predictions(ours, theirs, data)
    ours.estimators_[1].fit(data, ours.predict(data[::-1]) if name in REGRESSORS else CLASSES[::-1])
    theirs.estimators_ = ours.estimators_ = ours.estimators_[::-1]
    assert_same_predictions(ours, theirs, data)
    ours.fit(data[::2], ours.predict(data[::2]))
    theirs.estimators_ = ours.estimators_
    if name in REGRESSORS:
        assert_same_predictions(ours, theirs, data)


def test_trees_changed_in_place_are_seen_when_the_list_is_set():
    ours, theirs, data = fitted_pair("RandomForestRegressor")
    ours.predict(data)
    for estimator in ours.estimators_:
        estimator.tree_.value[:] += 5.0
    ours.estimators_ = list(ours.estimators_)
    assert_same_predictions(ours, theirs, data)


def test_trees_changed_in_place_before_the_first_prediction_are_seen():
    settings = {"n_estimators": 40, "random_state": 0, "oob_score": True}
    ours, theirs = fit_both("RandomForestRegressor", WIDE, NUMBERS, **settings)
    theirs.estimators_ = ours.estimators_
    for estimator in ours.estimators_:
        estimator.tree_.value[:] += 5.0
    assert_same_predictions(ours, theirs, WIDE)


def test_trees_of_scikit_learn_can_be_put_in():
    ours, theirs, data = fitted_pair("RandomForestClassifier")
    ours.estimators_[3] = SklearnTree(max_depth=1).fit(data, CLASSES.astype(float))
    assert_same_predictions(ours, theirs, data)


class Shy(SklearnTree):
    """Is never sure of a class."""

    def predict_proba(self, X, check_input=True):
        return 0.5 * super().predict_proba(X, check_input)


def test_trees_that_predict_otherwise_are_asked():
    ours, theirs, data = fitted_pair("RandomForestClassifier")
    ours.estimators_[3] = Shy().fit(data, CLASSES)
    assert_same_predictions(ours, theirs, data)
    assert ours.predict_proba(data).sum() < 0.95 * len(data)


def test_trees_of_other_shapes_are_an_error_as_in_scikit_learn():
    ours, theirs, data = fitted_pair("RandomForestClassifier")
    ours.estimators_[3] = SklearnTree().fit(data, CLASSES > 1)
    for forest in (ours, theirs):
        with pytest.raises(ValueError, match="broadcast"):
            forest.predict(data)


def test_predictions_change_no_attribute():
    ours, _, data = fitted_pair("RandomForestClassifier")
    before = dict(vars(ours))
    ours.predict(data)
    ours.apply(data)
    assert vars(ours) == before


def test_a_forgotten_forest_leaves_nothing_behind():
    import gc

    from fastfit.ensemble.forest_prediction import _packed_forests

    ours, _, data = fitted_pair("RandomForestClassifier")
    ours.predict(data)
    gc.collect()
    n_kept = len(_packed_forests)
    del ours
    gc.collect()
    assert len(_packed_forests) == n_kept - 1


@pytest.mark.parametrize("name", FORESTS)
def test_number_of_threads_does_not_matter(name):
    ours, _, data = fitted_pair(name)
    rows = np.resize(data, (30_000, data.shape[1])) + np.random.default_rng(0).normal(size=(30_000, 1))
    results = []
    for n_threads in (1, 2, 3, 8):
        with fastfit.config_context(n_threads=n_threads):
            ours.set_params(n_jobs=n_threads)
            results.append((ours.predict(rows), ours.apply(rows)))
    for result in results[1:]:
        np.testing.assert_array_equal(result[0], results[0][0])
        np.testing.assert_array_equal(result[1], results[0][1])


def test_many_threads_may_predict_at_once():
    ours, theirs, data = fitted_pair("RandomForestClassifier")
    expected = theirs.predict_proba(data)
    results = []
    threads = [threading.Thread(target=lambda: results.append(ours.predict_proba(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_partial_dependence_by_recursion():
    ours, theirs, data = fitted_pair("RandomForestRegressor", max_depth=3)
    arguments = {"features": [2], "method": "recursion", "kind": "average", "grid_resolution": 5}
    np.testing.assert_array_equal(
        partial_dependence(ours, data, **arguments)["average"],
        partial_dependence(theirs, data, **arguments)["average"],
    )


def test_a_tree_has_what_explainers_read():
    forest = RandomForestRegressor(**SMALL).fit(X, CLASSES)
    for estimator in forest:
        tree = estimator.tree_
        leaves = tree.apply(X.astype(np.float32))
        np.testing.assert_array_equal(tree.value[leaves, 0, 0], estimator.predict(X))
        assert (tree.children_left[leaves] == -1).all()
        assert tree.weighted_n_node_samples[0] == len(X)
    assert len(forest) == 7
    assert forest[0] is forest.estimators_[0]


def test_one_class():
    forest = RandomForestClassifier(**SMALL).fit(X, np.full(len(X), "only"))
    assert set(forest.predict(X)) == {"only"}
    np.testing.assert_array_equal(forest.predict_proba(X), np.ones((len(X), 1)))
