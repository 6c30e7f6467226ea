"""The memory of nodes: trees, leaves of rows, and what was looked for only once."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier as SklearnTree

from fastfit.training.tree_data import prepare_tree_data
from fastfit.training.tree_growth import GrowthOptions, Target
from fastfit.training.tree_memo import TreeMemory, covers
from fastfit.tree.tree_fitting import draw_seed

UNBOUNDED = np.iinfo(np.int32).max


def options(n_features, max_depth=UNBOUNDED, min_samples_split=2):
    return GrowthOptions(
        criterion="gini",
        splitter="best",
        max_depth=max_depth,
        min_samples_split=min_samples_split,
        min_samples_leaf=1,
        min_weight_leaf=0.0,
        min_impurity_decrease=0.0,
        max_leaf_nodes=-1,
        max_features=n_features,
        monotonic_cst=None,
    )


def small_data(n_samples=60, n_features=4, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    # Few different values, so that many splits are equally good.
    X = np.asfortranarray(rng.integers(0, 6, (n_samples, n_features)), dtype=np.float32)
    y = rng.integers(0, n_classes, n_samples)
    return X, y, Target(y.reshape(-1, 1).astype(np.float64), np.array([n_classes]))


@pytest.mark.plain_python
@pytest.mark.parametrize("n_classes", [2, 3])
def test_trees_and_leaves_are_scikit_learns(n_classes):
    X, y, target = small_data(n_classes=n_classes)
    data = prepare_tree_data(X, None, n_threads=1)
    assert covers(data, target, None, options(4))
    memory = TreeMemory(data, target, min_samples_leaf=1)
    for max_depth in (UNBOUNDED, 3, 1):
        for n in (2, 7):
            grown, leaves, is_bounded = memory.grow(options(4, max_depth, n), draw_seed(5), X.T.copy())
            theirs = SklearnTree(
                max_depth=None if max_depth == UNBOUNDED else max_depth, min_samples_split=n, random_state=5
            ).fit(X, y)
            nodes = theirs.tree_.__getstate__()["nodes"]
            assert grown.nodes.tobytes() == nodes.tobytes()
            np.testing.assert_array_equal(leaves, theirs.apply(X))
            assert is_bounded == (max_depth <= 3)


@pytest.mark.plain_python
def test_a_node_is_looked_into_once():
    X, _, target = small_data()
    memory = TreeMemory(prepare_tree_data(X, None, n_threads=1), target, min_samples_leaf=1)
    memory.grow(options(4), draw_seed(0))
    n_expanded = memory.n_expanded
    memory.grow(options(4), draw_seed(0))
    assert memory.n_expanded == n_expanded
    # Another seed decides otherwise between equally good splits, and comes to nodes that no tree had.
    memory.grow(options(4), draw_seed(1))
    assert n_expanded < memory.n_expanded < 2 * n_expanded


def test_what_is_not_covered():
    X, _, target = small_data()
    data = prepare_tree_data(X, None, n_threads=1)
    fine = options(4)
    assert covers(data, target, None, fine)
    assert not covers(data, target, np.ones(60), fine)
    for change in (
        {"criterion": "entropy"},
        {"max_features": 3},
        {"max_leaf_nodes": 5},
        {"splitter": "random"},
    ):
        assert not covers(data, target, None, fine._replace(**change))
