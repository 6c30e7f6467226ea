"""The packed form of trees: thresholds, the places of nodes, and what is no tree."""

import numpy as np
import pytest

from fastfit.kernels.traversal import N_STEPS, N_VALUES, SEEN_SIZE, pack_tree
from tests.training.random_trees import THRESHOLDS, make_tree, state_of

COLUMN_BITS = 2

# Without the compiler NumPy says so when a threshold beyond float32 is rounded to one.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")


def pack(node_table, values, n_features=3):
    """Pack one tree; return its depth and the filled arrays by name."""
    n_nodes = len(node_table)
    ints = node_table.view(np.int64).reshape(n_nodes, 8)
    out = {
        "counts": np.zeros(2, dtype=np.int64),
        "slots": np.zeros((2, n_nodes), dtype=np.int32),
        "nodes": np.zeros(2 * (n_nodes + 1), dtype=np.uint32),
        "node_ids": np.full(n_nodes + 1, -1, dtype=np.int32),
        "value_idx": np.full(n_nodes + 1, -1, dtype=np.int32),
        "leaf_value_bits": np.zeros(values[:, 0].shape, dtype=np.uint64),
    }
    seen = np.zeros(SEEN_SIZE, dtype=np.int64)
    value_bits = values[:, 0].copy().view(np.uint64)
    depth = pack_tree(ints, ints.view(np.float64), value_bits, n_features, COLUMN_BITS, seen, *out.values())
    return depth, out


def packed_random_tree(seed=0, n_splits=30):
    tree = make_tree(np.random.default_rng(seed), n_splits)
    node_tables, values = state_of([tree])
    return tree, node_tables[0], values[0]


@pytest.mark.plain_python
def test_nodes_hold_what_the_tree_does():
    tree, node_table, values = packed_random_tree()
    depth, out = pack(node_table, values)
    words, thresholds = out["nodes"][::2].astype(np.int64), out["nodes"][1::2].view(np.float32)
    slot_of = {node: slot for slot, node in enumerate(out["node_ids"]) if node >= 0}
    assert sorted(slot_of) == list(range(tree.node_count))
    assert slot_of[0] == 0
    leaf_values = out["leaf_value_bits"].view(np.float64)
    for node, slot in slot_of.items():
        child = words[slot] >> (COLUMN_BITS + 2)
        assert (words[slot] >> (COLUMN_BITS + 1)) & 1 == (tree.children_left[node] < 0)
        if tree.children_left[node] < 0:
            assert child == slot
            assert thresholds[slot] == np.inf
            assert np.array_equal(leaf_values[out["value_idx"][slot]], values[node, 0])
        else:
            assert child == slot_of[tree.children_left[node]]
            assert child + 1 == slot_of[tree.children_right[node]]
            assert words[slot] & 3 == tree.feature[node]
            assert (words[slot] >> COLUMN_BITS) & 1 == tree.missing_go_to_left[node]
    assert depth == len(tree.decision_path(np.zeros((1, 3), dtype=np.float32)).indices) - 1 or depth > 0
    assert out["counts"][N_STEPS] == tree.n_node_samples[tree.children_left >= 0].sum()
    distinct = np.unique(values[tree.children_left < 0, 0], axis=0)
    assert out["counts"][N_VALUES] == len(distinct)


@pytest.mark.plain_python
def test_depth_is_that_of_the_deepest_leaf():
    for shape, expected in (("left", 7), ("right", 7)):
        tree = make_tree(np.random.default_rng(0), 7, shape=shape)
        node_tables, values = state_of([tree])
        assert pack(node_tables[0], values[0])[0] == expected


def test_a_threshold_becomes_the_greatest_float32_that_does_not_exceed_it():
    rng = np.random.default_rng(0)
    near = rng.choice(THRESHOLDS[np.isfinite(THRESHOLDS)], 300).clip(-1e38, 1e38) * (
        1 + 1e-8 * rng.normal(size=300)
    )
    for threshold in (*THRESHOLDS, *near, *rng.normal(size=300)):
        tree = make_tree(rng, 1)
        node_tables, values = state_of([tree])
        node_tables[0]["threshold"][0] = threshold
        packed = pack(node_tables[0], values[0])[1]["nodes"][1:2].view(np.float32)[0]
        assert packed <= threshold or (packed == threshold == np.inf)
        if packed < np.finfo(np.float32).max:
            assert np.float64(np.nextafter(packed, np.float32(np.inf))) > threshold


def test_padding_beside_the_flag_for_missing_values_is_ignored():
    _, node_table, values = packed_random_tree()
    expected = pack(node_table, values)[1]["nodes"]
    node_table = node_table.copy()
    node_table.view(np.uint8).reshape(-1, 64)[:, 57:] = 0xAB
    assert np.array_equal(pack(node_table, values)[1]["nodes"], expected)


@pytest.mark.plain_python
@pytest.mark.parametrize(
    ("field", "node", "value"),
    [
        ("left_child", 0, 0),
        ("right_child", 1, 1),
        ("left_child", 0, 1 << 40),
        ("right_child", 0, -1),
        ("feature", 0, 3),
        ("feature", 0, -1),
        ("left_child", 0, -1),
        ("left_child", "last leaf", 60),
    ],
)
def test_what_is_no_tree_is_refused(field, node, value):
    tree, node_table, values = packed_random_tree()
    assert tree.node_count == 61
    node_table = node_table.copy()
    node = tree.node_count - 1 if node == "last leaf" else node
    node_table[field][node] = value
    assert pack(node_table, values)[0] == -1
