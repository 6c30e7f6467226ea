"""Sums over trees of three levels: the same bits as tree after tree by scikit-learn."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from fastfit.kernels.tree_node import SPLIT_THRESHOLD
from fastfit.training.complete_trees import add_complete_trees, complete_trees


def grow(max_depth, n_trees=9, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, n_features)).astype(np.float32)
    trees = []
    for k in range(n_trees):
        y = rng.normal(size=len(X)) + X[:, k % n_features] ** 2
        # Few leaves, so that some lie higher than others.
        trees.append(
            DecisionTreeRegressor(max_depth=max_depth, max_leaf_nodes=5, random_state=k).fit(X, y).tree_
        )
    return trees


def pack(trees):
    states = [tree.__getstate__() for tree in trees]
    return complete_trees([state["nodes"] for state in states], [state["values"] for state in states])


def sums_of(trees, X, sums):
    for tree in trees:
        sums = sums + tree.predict(X)[:, 0]
    return sums


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_rows", [1, 15, 512, 513, 2000])
@pytest.mark.parametrize("max_depth", [1, 2, 3])
def test_same_sums(max_depth, n_rows, order):
    trees = grow(max_depth)
    X = np.random.default_rng(1).normal(size=(n_rows, 5)).astype(np.float32, order=order)
    expected = sums_of(trees, X, np.full(n_rows, 0.3))
    for n_threads in (1, 2, 3, 8):
        sums = np.full(n_rows, 0.3)
        add_complete_trees(pack(trees), X, sums, n_threads=n_threads)
        np.testing.assert_array_equal(sums, expected)
    sums = np.full(len(X[::3]), 0.3)
    add_complete_trees(pack(trees), X[::3], sums)
    np.testing.assert_array_equal(sums, expected[::3])


@pytest.mark.plain_python
def test_values_at_the_thresholds():
    trees = grow(3, n_trees=3)
    thresholds = np.concatenate([tree.threshold[tree.feature >= 0] for tree in trees])
    near = thresholds.astype(np.float32)
    values = np.concatenate([np.nextafter(near, np.float32(-9)), near, np.nextafter(near, np.float32(9))])
    X = np.ascontiguousarray(np.repeat(values[:, np.newaxis], 5, axis=1))
    assert (near > thresholds).any()
    assert (near < thresholds).any()
    sums = np.zeros(len(X))
    add_complete_trees(pack(trees), X, sums)
    np.testing.assert_array_equal(sums, sums_of(trees, X, np.zeros(len(X))))


def test_trees_without_a_split_and_trees_that_are_too_deep():
    X = np.zeros((20, 2), np.float32)
    leaf = DecisionTreeRegressor().fit(X, np.full(20, 2.5)).tree_
    sums = np.ones(20)
    add_complete_trees(pack([leaf, leaf]), X, sums)
    np.testing.assert_array_equal(sums, 6.0)
    X = np.arange(20, dtype=np.float32).reshape(-1, 1)
    deep = DecisionTreeRegressor(max_depth=4).fit(X, np.sin(X[:, 0])).tree_
    with pytest.raises(ValueError, match="3 levels"):
        pack([deep])


def test_thresholds_are_not_rounded_up():
    nodes = np.array([[1, 2, 0, 0, 0, 4, 4, 0], [-1, -1, -2, 0, 0, 2, 2, 0], [-1, -1, -2, 0, 0, 2, 2, 0]])
    nodes.view(np.float64)[0, SPLIT_THRESHOLD] = np.nextafter(np.float64(np.float32(0.1)), -1)
    stump = complete_trees([nodes], [np.array([2.0, 1.0, 3.0]).reshape(3, 1, 1)])
    sums = np.zeros(1)
    add_complete_trees(stump, np.full((1, 1), 0.1, np.float32), sums)
    assert sums[0] == 3.0
