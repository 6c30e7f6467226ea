"""Predictions of trees: scikit-learn's, for every form of X, and its errors."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastfit.tree import tree_predicting
from tests.tree.decision_tree_data import (
    CLASSIFIERS,
    NAMES,
    assert_same_error,
    assert_same_tree,
    both,
    make_data,
)


@pytest.fixture(params=["one by one", "many at a time"])
def rows_walk(request, monkeypatch):
    """Send rows down the tree by scikit-learn's loop or by the kernel."""
    if request.param == "many at a time":
        monkeypatch.setattr(tree_predicting, "FEW_ROWS", 0)
        monkeypatch.setattr(tree_predicting, "FEW_LEVELS", -1)


@pytest.mark.usefixtures("rows_walk")
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_scikit_learn(name):
    X, y, _ = make_data()
    theirs, ours = (e.fit(X, y) for e in both(name, random_state=0))
    many = np.tile(X, (30, 1)) + np.linspace(0, 1, 30 * 60)[:, None]
    methods = [
        "predict",
        "apply",
        *(["predict_proba", "predict_log_proba"] if name in CLASSIFIERS else []),
    ]
    datasets = [X, X[:1], X[::2, :], X[:, ::-1], np.asfortranarray(X), X.astype(np.float32), X.tolist()]
    datasets += [many, many.astype(np.float32), np.asfortranarray(many), many[::-1].tolist()]
    with np.errstate(divide="ignore"):
        for method in methods:
            for data in datasets:
                expected, found = getattr(theirs, method)(data), getattr(ours, method)(data)
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == expected.dtype


@pytest.mark.usefixtures("rows_walk")
@pytest.mark.parametrize("name", NAMES)
def test_many_rows_of_several_outputs_and_missing_values(name):
    X, y, _ = make_data()
    parameters = {"splitter": "random", "random_state": 0}
    with_nan = np.where(X < -1.0, np.nan, X)
    target = np.column_stack([y, np.arange(60) % 3])
    many = np.tile(with_nan, (20, 1))
    for data, labels in ((with_nan, y), (X, target), (with_nan, target)):
        theirs, ours = (e.fit(data, labels) for e in both(name, **parameters))
        for rows in (with_nan, many):
            np.testing.assert_array_equal(ours.predict(rows), theirs.predict(rows))
            if name in CLASSIFIERS:
                found, expected = ours.predict_proba(rows), theirs.predict_proba(rows)
                for ours_k, theirs_k in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(ours_k, theirs_k)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_errors_are_those_of_scikit_learn(name):
    X, y, _ = make_data()
    theirs, ours = (e.fit(X, y) for e in both(name, splitter="best", random_state=0))
    bad = [np.where(X > 1, value, X) for value in (np.inf, -np.inf, 1e300)]
    if name.startswith("Extra"):
        bad.append(np.where(X > 1, np.nan, X))
    bad += [X[:, :2], X[0], X[:0], X[None], X.astype(str) + "a", X.astype(complex)]
    for method in ("predict", "apply", "decision_path"):
        for data in bad:
            assert_same_error(
                lambda e=theirs, x=data, m=method: getattr(e, m)(x),
                lambda e=ours, x=data, m=method: getattr(e, m)(x),
            )
        for data in (X, X[:, :2].astype(np.float32)):
            assert_same_error(
                lambda e=theirs, x=data, m=method: getattr(e, m)(x, check_input=False),
                lambda e=ours, x=data, m=method: getattr(e, m)(x, check_input=False),
            )
    for method in ("predict", "apply"):
        with pytest.raises(NotFittedError):
            getattr(clone(ours), method)(X)


def test_sums_that_overflow_are_no_infinity():
    X = np.array([[3e38], [3e38], [-3e38], [1.0]] * 5)
    y = np.arange(20) % 4
    for name in NAMES:
        theirs, ours = (e.fit(X, y) for e in both(name, splitter="best", random_state=0))
        assert_same_tree(ours.tree_, theirs.tree_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
