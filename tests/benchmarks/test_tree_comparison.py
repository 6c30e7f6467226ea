"""The count of nodes that differ, on trees whose differences are known."""

import copy

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from benchmarks.tree_comparison import TreeComparison, compare_models, compare_trees

SAME = TreeComparison(9, 9, 0)


@pytest.fixture
def tree():
    X, y = load_iris(return_X_y=True)
    return DecisionTreeClassifier(random_state=0, max_leaf_nodes=5).fit(X, y).tree_


def changed(tree, change):
    """A copy of the tree after ``change(nodes, values)``."""
    state = tree.__getstate__()
    nodes, values = state["nodes"].copy(), state["values"].copy()
    change(nodes, values)
    other = Tree(tree.n_features, np.asarray(tree.n_classes), tree.n_outputs)
    other.__setstate__({**state, "nodes": nodes, "values": values})
    return other


def test_a_tree_is_the_same_as_itself(tree):
    comparison = compare_trees(copy.deepcopy(tree), tree)
    assert comparison == SAME
    assert comparison.share_different == 0.0


@pytest.mark.parametrize("field", ["n_node_samples", "impurity", "weighted_n_node_samples"])
@pytest.mark.parametrize("node", [0, 4, 8])
def test_one_changed_field_is_one_changed_node(tree, field, node):
    def change(nodes, values):
        nodes[field][node] += 1

    assert compare_trees(changed(tree, change), tree) == TreeComparison(9, 8, 0)


@pytest.mark.parametrize("field", ["feature", "threshold", "missing_go_to_left"])
def test_a_changed_split_parts_the_trees_there(tree, field):
    def change(nodes, values):
        nodes[field][2] = nodes[field][2] + 1 if field != "missing_go_to_left" else not nodes[field][2]

    # Iris' first split cuts off a leaf; node 2 holds everything else of the tree.
    assert compare_trees(changed(tree, change), tree) == TreeComparison(9, 2, 1)


def test_a_split_in_one_tree_only_parts_them(tree):
    X, y = load_iris(return_X_y=True)
    shallow = DecisionTreeClassifier(random_state=0, max_depth=1).fit(X, y).tree_
    for one, other in ((tree, shallow), (shallow, tree)):
        assert compare_trees(one, other) == TreeComparison(9, 2, 1)


def test_the_order_of_the_nodes_counts(tree):
    def change(nodes, values):
        is_leaf = nodes["left_child"] == -1
        both = is_leaf[nodes["left_child"]] & is_leaf[nodes["right_child"]] & ~is_leaf
        parent = nodes[np.flatnonzero(both)[0]]
        pair = [parent["left_child"], parent["right_child"]]
        nodes[pair], values[pair] = nodes[pair[::-1]], values[pair[::-1]]
        parent["left_child"], parent["right_child"] = pair[::-1]

    assert compare_trees(changed(tree, change), tree) == TreeComparison(9, 7, 0)


def test_rounding_is_forgiven_in_sums_only(tree):
    def nudge(nodes, values):
        nodes["impurity"] *= 1 + 1e-14
        values *= 1 - 1e-14

    nudged = changed(tree, nudge)
    assert compare_trees(nudged, tree).n_same < 9
    assert compare_trees(nudged, tree, rtol=1e-12) == SAME

    def move(nodes, values):
        nodes["threshold"][0] *= 1 + 1e-14

    assert compare_trees(changed(tree, move), tree, rtol=1e-12) == TreeComparison(9, 0, 1)


def test_not_a_number_is_equal_to_itself_and_to_nothing_else(tree):
    def change(nodes, values):
        values[3] = np.nan

    broken = changed(tree, change)
    assert compare_trees(broken, broken) == SAME
    assert compare_trees(broken, tree).n_same == 8


def test_other_classes_are_other_trees(tree):
    X, y = load_breast_cancer(return_X_y=True)
    other = DecisionTreeClassifier(max_depth=2).fit(X[:, :4], y).tree_
    assert compare_trees(other, tree).share_different == 1.0


def test_forests_are_the_sum_of_their_trees():
    X, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    n_nodes = sum(member.tree_.node_count for member in forest.estimators_)
    assert compare_models(forest, forest) == TreeComparison(n_nodes, n_nodes, 0)
    other = RandomForestClassifier(3, random_state=1).fit(X, y)
    assert 0.5 < compare_models(other, forest).share_different <= 1.0
    with pytest.raises(ValueError, match="longer"):
        compare_models(RandomForestClassifier(2, random_state=0).fit(X, y), forest)
