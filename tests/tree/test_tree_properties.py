"""What holds for trees and forests on any data: weights are repetitions, columns have no order and no scale."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import ensemble, tree

import fastfit
import fastfit.ensemble
from fastfit.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
)

# What a split is, whatever the weights are counted as.
SHAPE_FIELDS = ("children_left", "children_right", "feature", "threshold")
N_LEVELS = 2500

seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(2, 40), st.integers(1, 5))


@st.composite
def tables(draw, low=-4, high=4):
    """Columns of a few whole numbers, so that ties and constant columns are common."""
    return draw(arrays(np.int64, draw(sizes), elements=st.integers(low, high))).astype(np.float64)


@st.composite
def labelled_tables(draw, n_labels=4):
    """A table and a whole number for each row: a class, or a target whose sums are exact."""
    X = draw(tables())
    return X, draw(arrays(np.int64, len(X), elements=st.integers(0, n_labels - 1)))


def fields_of(fitted, names):
    return {name: getattr(fitted.tree_, name) for name in names}


def assert_equal_fields(one, other, names, rtol=0.0):
    for name, values in fields_of(other, names).items():
        np.testing.assert_allclose(getattr(one.tree_, name), values, rtol=rtol, atol=rtol, err_msg=name)


# ------------------------------------------------------------------------------------------------- weights


@given(labelled_tables(), st.data(), seeds)
@pytest.mark.parametrize(
    ("estimator_class", "params", "rtol"),
    [
        (DecisionTreeClassifier, {}, 0.0),
        (DecisionTreeClassifier, {"criterion": "entropy", "max_features": 1}, 0.0),
        (DecisionTreeClassifier, {"max_leaf_nodes": 5}, 0.0),
        (ExtraTreeClassifier, {}, 0.0),
        (DecisionTreeRegressor, {}, 0.0),
        (DecisionTreeRegressor, {"splitter": "random"}, 0.0),
        (DecisionTreeRegressor, {"criterion": "absolute_error"}, 1e-12),
        (DecisionTreeRegressor, {"criterion": "poisson"}, 1e-12),
    ],
    ids=str,
)
def test_whole_weights_are_repetitions(estimator_class, params, rtol, table, data, seed):
    X, y = table
    if params.get("criterion") == "poisson":
        y = y + 1
    weights = data.draw(arrays(np.int64, len(X), elements=st.integers(0, 3)), label="weights")
    weights[0] += weights.sum() == 0
    weighted = estimator_class(random_state=seed, **params).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(len(X)), weights)
    repeated = estimator_class(random_state=seed, **params)
    # A class of weight zero is still a class; a row of it that is given no weight keeps it known.
    missing = np.setdiff1d(np.unique(y), y[rows]) if hasattr(weighted, "classes_") else []
    extra = [int(np.flatnonzero(y == label)[0]) for label in missing]
    kept = np.concatenate([rows, np.array(extra, dtype=rows.dtype)])
    repeated.fit(X[kept], y[kept], sample_weight=np.r_[np.ones(len(rows)), np.zeros(len(extra))])
    assert_equal_fields(weighted, repeated, (*SHAPE_FIELDS, "weighted_n_node_samples"))
    assert_equal_fields(weighted, repeated, ("impurity", "value"), rtol)


@given(labelled_tables(), seeds)
def test_scaled_weights_are_the_same_tree(table, seed):
    X, y = table
    plain = DecisionTreeClassifier(random_state=seed).fit(X, y)
    scaled = DecisionTreeClassifier(random_state=seed).fit(X, y, sample_weight=np.full(len(X), 4.0))
    assert_equal_fields(scaled, plain, (*SHAPE_FIELDS, "n_node_samples", "impurity", "value"))


# ------------------------------------------------------------------------------------------------- columns


def decrease_at_the_root(fitted):
    """The weighted decrease of impurity that the root's split brings; 0 for a leaf."""
    if fitted.tree_.node_count == 1:
        return 0.0
    weight, impurity = fitted.tree_.weighted_n_node_samples, fitted.tree_.impurity
    children = [fitted.tree_.children_left[0], fitted.tree_.children_right[0]]
    return impurity[0] - np.sum(weight[children] * impurity[children]) / weight[0]


@given(labelled_tables(), st.data(), seeds)
@pytest.mark.parametrize("estimator_class", [DecisionTreeClassifier, DecisionTreeRegressor])
def test_order_of_columns_leaves_the_best_decrease_as_it_is(estimator_class, table, data, seed):
    X, y = table
    order = data.draw(st.permutations(range(X.shape[1])), label="order")
    plain = estimator_class(max_depth=1, random_state=seed).fit(X, y)
    permuted = estimator_class(max_depth=1, random_state=seed).fit(X[:, order], y)
    assert decrease_at_the_root(permuted) == pytest.approx(decrease_at_the_root(plain), abs=1e-12)


@given(seeds)
def test_order_of_columns_leaves_the_partition_as_it_is_where_no_splits_tie(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 4))
    y = X @ [1.0, -2.0, 0.5, 0.1] + rng.normal(size=200)
    order = rng.permutation(4)
    params = {"max_depth": 4, "min_samples_leaf": 10, "random_state": seed}
    plain = DecisionTreeRegressor(**params).fit(X, y)
    permuted = DecisionTreeRegressor(**params).fit(X[:, order], y)
    assert np.array_equal(plain.apply(X), permuted.apply(X[:, order]))
    inner = plain.tree_.feature >= 0
    assert np.array_equal(plain.tree_.feature[inner], order[permuted.tree_.feature[inner]])


@given(labelled_tables(), st.data(), seeds)
@pytest.mark.parametrize("estimator_class", [DecisionTreeClassifier, DecisionTreeRegressor])
@pytest.mark.parametrize("params", [{}, {"max_features": 2}, {"max_leaf_nodes": 6}], ids=str)
def test_rising_transforms_leave_the_partition_as_it_is(estimator_class, params, table, data, seed):
    X, y = table
    # The numbers -4 .. 4 become others in the same order.
    levels = data.draw(st.lists(st.integers(-1000, 1000), min_size=9, max_size=9, unique=True).map(sorted))
    transformed = np.array(levels, dtype=np.float64)[X.astype(np.int64) + 4] / 8
    params = {**params, "max_features": min(X.shape[1], params.get("max_features", X.shape[1]))}
    plain = estimator_class(random_state=seed, **params).fit(X, y)
    other = estimator_class(random_state=seed, **params).fit(transformed, y)
    names = ("children_left", "children_right", "feature", "n_node_samples", "impurity", "value")
    assert_equal_fields(other, plain, names)
    assert np.array_equal(other.apply(transformed), plain.apply(X))


@given(labelled_tables(), seeds)
def test_a_constant_column_more_changes_no_prediction(table, seed):
    X, y = table
    wider = np.column_stack([X, np.full(len(X), 3.0)])
    plain = DecisionTreeClassifier(max_depth=1, random_state=seed).fit(X, y)
    other = DecisionTreeClassifier(max_depth=1, random_state=seed).fit(wider, y)
    assert decrease_at_the_root(other) == pytest.approx(decrease_at_the_root(plain), abs=1e-12)
    assert (other.tree_.feature < X.shape[1]).all()


@given(labelled_tables(), seeds)
def test_a_tree_grown_to_purity_knows_its_rows(table, seed):
    X, y = table
    fitted = DecisionTreeClassifier(random_state=seed).fit(X, y)
    for row in X:
        shares = [np.mean(y[(row == X).all(axis=1)] == label) for label in fitted.classes_]
        assert fitted.predict_proba(row[None])[0].tolist() == shares


# --------------------------------------------------------------------------------------------- deep trees


def comb(n_rows):
    """Alternating classes along one column: the best split always cuts off one row, so the tree is a chain."""
    return np.arange(float(n_rows))[:, None], np.arange(n_rows) % 2


def assert_same_nodes(ours, theirs):
    assert ours.tree_.max_depth == theirs.tree_.max_depth
    for name in (*SHAPE_FIELDS, "n_node_samples", "impurity", "value", "missing_go_to_left"):
        assert np.array_equal(getattr(ours.tree_, name), getattr(theirs.tree_, name)), name


@pytest.mark.parametrize("params", [{}, {"max_leaf_nodes": N_LEVELS}], ids=["depth first", "best first"])
@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "DecisionTreeRegressor"])
def test_a_tree_thousands_of_levels_deep(name, params):
    X, y = comb(N_LEVELS)
    with fastfit.config_context(fallback="error"):
        ours = getattr(fastfit.tree, name)(random_state=0, **params).fit(X, y)
    assert ours.get_depth() == N_LEVELS - 1
    assert_same_nodes(ours, getattr(tree, name)(random_state=0, **params).fit(X, y))
    assert np.array_equal(ours.predict(X), y)
    assert ours.apply(X).shape == (N_LEVELS,)
    assert ours.decision_path(X[-1:]).nnz >= 2
    assert np.array_equal(pickle.loads(pickle.dumps(ours)).predict(X), y)


def test_a_tree_ten_thousand_levels_deep():
    X, y = comb(10_000)
    fitted = DecisionTreeClassifier(random_state=0).fit(X, y)
    assert fitted.get_depth() == 9999
    assert np.array_equal(fitted.predict(X), y)


def test_a_forest_thousands_of_levels_deep():
    X, y = comb(N_LEVELS)
    params = {"n_estimators": 2, "bootstrap": False, "random_state": 0}
    with fastfit.config_context(fallback="error"):
        ours = fastfit.ensemble.RandomForestClassifier(**params).fit(X, y)
    theirs = ensemble.RandomForestClassifier(**params).fit(X, y)
    for one, other in zip(ours.estimators_, theirs.estimators_, strict=True):
        assert one.get_depth() == N_LEVELS - 1
        assert_same_nodes(one, other)
    assert np.array_equal(ours.predict(X), y)


@pytest.mark.parametrize(
    "name", ["RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"]
)
def test_forests_have_the_same_bits_for_any_number_of_jobs(name):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 6))
    y = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    forests = [
        getattr(fastfit.ensemble, name)(n_estimators=7, random_state=0, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2, 3, 8, None)
    ]
    for forest in forests[1:]:
        for one, other in zip(forest.estimators_, forests[0].estimators_, strict=True):
            assert_same_nodes(one, other)
        assert forest.predict(X).tobytes() == forests[0].predict(X).tobytes()


@given(labelled_tables(), st.data(), seeds)
def test_a_forest_without_bootstrap_takes_whole_weights_as_repetitions(table, data, seed):
    X, y = table
    weights = data.draw(arrays(np.int64, len(X), elements=st.integers(1, 3)), label="weights")
    params = {"n_estimators": 2, "bootstrap": False, "random_state": seed}
    weighted = fastfit.ensemble.RandomForestClassifier(**params).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(len(X)), weights)
    repeated = fastfit.ensemble.RandomForestClassifier(**params).fit(X[rows], y[rows])
    for one, other in zip(weighted.estimators_, repeated.estimators_, strict=True):
        assert_equal_fields(one, other, (*SHAPE_FIELDS, "weighted_n_node_samples", "impurity", "value"))
