"""Trees from bounds by histograms: scikit-learn's splits, or none where rounding would decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

from fastfit.kernels.tree_node import LEFT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD
from fastfit.training import bounded_growth
from fastfit.training.bounded_growth import BoundedGrowth, covers
from fastfit.training.tree_data import prepare_tree_data
from fastfit.training.tree_growth import GrowthOptions

OPTIONS = GrowthOptions("squared_error", "best", 3, 2, 1, 0.0, 0.0, -1, 1 << 30, None)


def grow(X, target, in_bag=None, n_threads=1, **changed):
    options = OPTIONS._replace(**changed)
    data = prepare_tree_data(np.asarray(X, np.float32), None, n_threads=1)
    scratch = np.empty((3, data.n_samples))
    return BoundedGrowth(data, options, scratch, n_threads).grow(np.asarray(target, float), in_bag)


def assert_same_tree(grown, X, target, in_bag=None, **params):
    weight = None if in_bag is None else in_bag.astype(float)
    expected = DecisionTreeRegressor(max_depth=3, random_state=0, **params).fit(X, target, weight).tree_
    np.testing.assert_array_equal(grown.nodes[:, LEFT_CHILD], expected.children_left)
    np.testing.assert_array_equal(grown.nodes[:, SPLIT_FEATURE], expected.feature)
    np.testing.assert_array_equal(grown.nodes.view(float)[:, SPLIT_THRESHOLD], expected.threshold)
    scale = np.abs(expected.value).max()
    np.testing.assert_allclose(grown.values, expected.value, rtol=1e-9, atol=1e-12 * scale)
    impurities = grown.nodes.view(float)[:, 4]
    np.testing.assert_allclose(impurities, expected.impurity, rtol=1e-6, atol=1e-9 * expected.impurity[0])
    assert grown.max_depth == expected.max_depth
    leaves = expected.apply(X)
    if in_bag is None:
        np.testing.assert_array_equal(grown.leaves, leaves)
        in_bag = np.ones(len(X), bool)
    for leaf in np.unique(leaves):
        rows = grown.rows[grown.starts[leaf] : grown.starts[leaf + 1]]
        np.testing.assert_array_equal(rows, np.flatnonzero((leaves == leaf) & in_bag))


TARGETS = {
    "two values": lambda rng, X: (X[:, 0] + rng.standard_normal(len(X)) > 0) - 0.3,
    "signal": lambda rng, X: X[:, 1] ** 2 + 0.1 * rng.standard_normal(len(X)),
    "noise": lambda rng, X: rng.standard_normal(len(X)),
    "heavy tails": lambda rng, X: rng.standard_cauchy(len(X)),
    "tiny": lambda rng, X: 1e-6 * rng.standard_normal(len(X)),
    "huge": lambda rng, X: 1e150 * rng.standard_normal(len(X)),
}


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", TARGETS)
def test_tree_is_scikit_learns(kind, n_threads):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((5000, 5)).astype(np.float32)
    target = TARGETS[kind](rng, X)
    if kind == "huge":
        target = target / 1e100
    # In nodes of a few samples many splits are equally good.
    grown = grow(X, target, n_threads=n_threads, min_samples_leaf=20)
    if kind == "tiny":
        # So small a variance may be rounding to scikit-learn.
        assert grown is None or grown.max_depth == 3
        return
    assert grown is not None
    assert_same_tree(grown, X, target, min_samples_leaf=20)


@pytest.mark.parametrize("min_samples_leaf", [10, 300])
def test_rows_that_are_left_out_do_not_count(min_samples_leaf):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((6000, 4)).astype(np.float32)
    target = X[:, 0] + rng.standard_normal(len(X))
    in_bag = rng.random(len(X)) < 0.7
    grown = grow(X, target, in_bag, min_samples_leaf=min_samples_leaf)
    assert grown.leaves is None
    assert_same_tree(grown, X, target, in_bag, min_samples_leaf=min_samples_leaf)


def test_tree_is_left_to_others_where_rounding_decides():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((3000, 3)).astype(np.float32)
    X[:, 2] = X[:, 0]
    assert grow(X, X[:, 0] + 0.1 * rng.standard_normal(3000)) is None
    assert grow(X, np.ones(3000)) is None


def test_least_decrease_is_kept():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((4000, 3)).astype(np.float32)
    target = (X[:, 0] > 0) + 0.1 * rng.standard_normal(4000)
    grown = grow(X, target, min_impurity_decrease=0.01)
    assert len(grown.nodes) == 3
    assert_same_tree(grown, X, target, min_impurity_decrease=0.01)


@given(seed=st.integers(0, 2**31), n_levels=st.sampled_from([2, 5, 300, 0]), n_features=st.integers(1, 4))
def test_any_data_give_scikit_learns_tree_or_none(seed, n_levels, n_features):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((1500, n_features)).astype(np.float32)
    if n_levels:
        X = np.floor(X * n_levels / 4)
    target = rng.standard_normal(1500) + 0.2 * X[:, 0]
    grown = grow(X, target)
    if grown is not None:
        assert_same_tree(grown, X, target)


def test_what_is_covered():
    assert covers(100_000, 20, OPTIONS)
    assert not covers(1000, 20, OPTIONS)
    assert not covers(100_000, 20, OPTIONS._replace(max_features=5))
    assert not covers(100_000, 20, OPTIONS._replace(max_leaf_nodes=8))
    assert not covers(100_000, 20, OPTIONS._replace(max_depth=20))
    assert not covers(bounded_growth.MAX_SAMPLES + 1, 20, OPTIONS)


@pytest.mark.plain_python
def test_a_small_tree_in_plain_python():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, 2)).astype(np.float32)
    target = X[:, 0] + 0.5 * rng.standard_normal(300)
    grown = grow(X, target)
    assert grown is not None
    assert_same_tree(grown, X, target)
