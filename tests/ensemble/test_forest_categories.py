"""Forests whose trees split by categories."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score

from fastfit.ensemble import RandomForestClassifier, RandomForestRegressor
from tests.tree.test_category_splits import make_table, walk

FORESTS = [RandomForestClassifier, RandomForestRegressor]
FEW = {"n_estimators": 8, "random_state": 0, "categorical_features": [0, 1]}


def values_of(forest, X):
    return forest.predict_proba(X) if hasattr(forest, "predict_proba") else forest.predict(X)


@pytest.mark.parametrize("forest_class", FORESTS)
class TestForest:
    def test_predictions_are_those_of_the_trees(self, forest_class):
        X, y, weight = make_table(500, 60, 0, missing=0.05)
        forest = forest_class(**FEW, min_samples_leaf=3).fit(X, y, sample_weight=weight)
        expected = np.mean([values_of(tree, X) for tree in forest.estimators_], axis=0)
        np.testing.assert_allclose(values_of(forest, X), expected, rtol=1e-12)
        np.testing.assert_array_equal(
            forest.apply(X), np.stack([walk(t, X) for t in forest.estimators_], axis=1)
        )
        assert all(np.isnan(tree.tree_.threshold).any() for tree in forest.estimators_)
        paths, ends = forest.decision_path(X)
        assert paths.shape == (500, ends[-1])
        np.testing.assert_array_equal(paths[:, ends[2] :][:, forest.apply(X)[0, 2]].toarray()[0], 1)

    def test_out_of_bag(self, forest_class):
        X, y, _ = make_table(400, 30, 1)
        forest = forest_class(**FEW | {"n_estimators": 40}, oob_score=True).fit(X, y)
        plain = forest_class(**FEW | {"n_estimators": 40, "categorical_features": None}, oob_score=True).fit(
            X, y
        )
        assert plain.oob_score_ + 0.05 < forest.oob_score_ < 1.0
        sums, n_trees = 0.0, 0
        for tree, rows in zip(forest.estimators_, forest.estimators_samples_, strict=True):
            unseen = ~np.isin(np.arange(400), rows)
            values = values_of(tree, X)
            sums = sums + np.where(unseen[:, np.newaxis] if values.ndim == 2 else unseen, values, 0.0)
            n_trees = n_trees + unseen
        if forest_class is RandomForestClassifier:
            np.testing.assert_allclose(forest.oob_decision_function_, sums / n_trees[:, np.newaxis])
            assert forest.oob_score_ == accuracy_score(y, sums.argmax(axis=1))
        else:
            np.testing.assert_allclose(forest.oob_prediction_, sums / n_trees)

    def test_threads_pickles_and_clones(self, forest_class):
        X, y, _ = make_table(300, 300, 2)
        forest = forest_class(**FEW, max_leaf_nodes=20, n_jobs=1).fit(X, y)
        expected = values_of(forest, X)
        np.testing.assert_array_equal(values_of(clone(forest).set_params(n_jobs=3).fit(X, y), X), expected)
        np.testing.assert_array_equal(values_of(pickle.loads(pickle.dumps(forest)), X), expected)

    def test_warm_start_keeps_the_codes(self, forest_class):
        X, y, _ = make_table(300, 20, 3)
        whole = forest_class(**FEW).fit(X, y)
        grown = (
            forest_class(**FEW | {"n_estimators": 3}, warm_start=True)
            .fit(X, y)
            .set_params(n_estimators=8)
            .fit(X, y)
        )
        np.testing.assert_array_equal(values_of(grown, X), values_of(whole, X))
        # Of data with other categories the former ones keep their codes.
        some = X[:, 0] > 4
        grown.set_params(n_estimators=10).fit(X[some], y[some])
        expected = np.mean([values_of(tree, X) for tree in grown.estimators_], axis=0)
        np.testing.assert_allclose(values_of(grown, X), expected, rtol=1e-12)
        np.testing.assert_array_equal(grown.apply(X)[:, 9], walk(grown.estimators_[9], X))
        for other in ([0], None):
            with pytest.raises(ValueError, match=r"categorical_features=.*warm_start=True"):
                grown.set_params(n_estimators=12, categorical_features=other).fit(X, y)
        fresh = grown.set_params(warm_start=False).fit(X, y)
        assert not hasattr(fresh, "is_categorical_")
        assert fresh.predict(X).shape == (300,)

    def test_frames(self, forest_class):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_table(200, 9, 4)
        frame = pandas.DataFrame(X, columns=list("abc")).astype({"a": "category", "b": "category"})
        of_frame = forest_class(**FEW | {"categorical_features": "from_dtype"}).fit(frame, y)
        np.testing.assert_array_equal(values_of(of_frame, frame), values_of(forest_class(**FEW).fit(X, y), X))
        assert of_frame.feature_names_in_.tolist() == ["a", "b", "c"]

    def test_bad_settings(self, forest_class):
        X, y, _ = make_table(60, 4, 0)
        with pytest.raises(ValueError, match=r"categorical_features=\[0, 1\].*splitter='hist'"):
            forest_class(**FEW, splitter="hist").fit(X, y)
        with pytest.raises(ValueError, match=r"\[0, n_features - 1\].*\[5\]"):
            forest_class(categorical_features=[5]).fit(X, y)
        with pytest.raises(ValueError, match="2 outputs"):
            forest_class(**FEW).fit(X, np.c_[y, y])
        sparse = pytest.importorskip("scipy.sparse").csc_matrix(X)
        with pytest.raises(ValueError, match=r"categorical_features=\[0, 1\].*sparse X"):
            forest_class(**FEW).fit(sparse, y)


def test_more_classes_than_two_are_refused():
    X, _, _ = make_table(60, 4, 0)
    with pytest.raises(ValueError, match=r"categorical_features=\[0, 1\].*3 classes"):
        RandomForestClassifier(**FEW).fit(X, np.arange(60) % 3)
