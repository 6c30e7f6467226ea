"""Packed trees against scikit-learn's own: the same leaves, and values that are equal bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from fastfit.training import tree_prediction
from fastfit.training.tree_prediction import apply_forest, flatten_forest, predict_forest, predict_tree_rows
from tests.training.random_trees import make_rows, make_tree, state_of

# Without the compiler NumPy says so when a threshold beyond float32 is rounded to one.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")


def pack(trees):
    return flatten_forest(*state_of(trees), trees[0].n_features)


def leaves_of(trees, X):
    return np.array([tree.apply(X) for tree in trees]).T


def sums_of(trees, X):
    """Sums in scikit-learn's order: zeros, and then tree after tree."""
    sums = np.zeros((len(X), *trees[0].value.shape[1:]))
    for tree in trees:
        sums += tree.value.take(tree.apply(X), axis=0)
    return sums


def assert_bits_equal(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.plain_python
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("n_rows", [1, 3, 40])
def test_random_trees(rng, n_rows, missing):
    trees = [make_tree(rng, n_splits) for n_splits in (0, 1, 9, 4)]
    X = make_rows(rng, n_rows, missing=missing)
    flat = pack(trees)
    assert_bits_equal(apply_forest(flat, X), leaves_of(trees, X))
    assert_bits_equal(predict_forest(flat, X), sums_of(trees, X))
    assert_bits_equal(predict_forest(flat, X, mean=True), sums_of(trees, X) / len(trees))


@given(
    seed=st.integers(0, 2**32 - 1),
    n_trees=st.integers(1, 5),
    n_splits=st.integers(0, 60),
    n_rows=st.integers(1, 300),
    n_features=st.integers(1, 9),
    n_outputs=st.integers(1, 2),
    n_classes=st.integers(1, 9),
    missing=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_any_trees_and_rows(seed, n_trees, n_splits, n_rows, n_features, n_outputs, n_classes, missing):
    rng = np.random.default_rng(seed)
    trees = [make_tree(rng, n_splits, n_features, n_outputs, n_classes) for _ in range(n_trees)]
    X = make_rows(rng, n_rows, n_features, missing)
    flat = pack(trees)
    assert_bits_equal(apply_forest(flat, X), leaves_of(trees, X))
    assert_bits_equal(predict_forest(flat, X, mean=True), sums_of(trees, X) / n_trees)


@pytest.mark.parametrize("shape", ["left", "right"])
@pytest.mark.parametrize("n_rows", [2, 70])
def test_deep_chains(rng, shape, n_rows):
    deep, shallow = make_tree(rng, 5000, shape=shape), make_tree(rng, 20)
    node_tables, values = state_of([deep, shallow])
    # A chain that rows do go down to its end.
    node_tables[0]["threshold"][node_tables[0]["left_child"] >= 0] = np.inf if shape == "left" else -np.inf
    X = make_rows(rng, n_rows, missing=0.0)
    X[np.isneginf(X)] = 0.0
    X[0] = -np.inf
    flat = flatten_forest(node_tables, values, 3)
    deep.__setstate__({**deep.__getstate__(), "nodes": node_tables[0]})
    assert deep.decision_path(X).sum(axis=1).max() == 5001
    assert_bits_equal(apply_forest(flat, X), leaves_of([deep, shallow], X))


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("n_rows", [5, 5000])
def test_any_memory_order_and_dtype(rng, n_rows, missing):
    trees = [make_tree(rng, 30) for _ in range(3)]
    flat = pack(trees)
    X = make_rows(rng, n_rows, missing=missing)
    expected = sums_of(trees, X)
    wide = np.zeros((2 * n_rows, 6), dtype=np.float32)
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    for version in (np.asfortranarray(X), wide[::2, ::2], wide.T[::2, ::2].T, read_only, X[::-1][::-1]):
        assert_bits_equal(predict_forest(flat, version), expected)
    for order in "CF":
        assert_bits_equal(predict_forest(flat, X.astype(np.float64, order=order)), expected)


def test_float64_counts_as_the_nearest_float32(rng):
    trees = [make_tree(rng, 30) for _ in range(20)]
    X = (make_rows(rng, 200, missing=0.1).astype(np.float64) * (1 + 1e-9 * rng.normal(size=(200, 3)))).clip(
        -1e38, 1e38
    )
    X[0] = 1e300
    with np.errstate(over="ignore"):
        expected = leaves_of(trees, X.astype(np.float32))
    assert_bits_equal(apply_forest(pack(trees), X), expected)


def test_the_result_does_not_depend_on_the_number_of_threads(rng):
    trees = [make_tree(rng, 200, n_classes=3) for _ in range(4)]
    flat = pack(trees)
    for X in (make_rows(rng, 9000, missing=0.0), make_rows(rng, 9000)):
        expected, leaves = sums_of(trees, X) / 4, leaves_of(trees, X)
        for n_threads in (1, 2, 3, 8):
            assert_bits_equal(predict_forest(flat, X, mean=True, n_threads=n_threads), expected)
            assert_bits_equal(apply_forest(flat, X, n_threads=n_threads), leaves)
        assert_bits_equal(predict_forest(flat, X, mean=True, n_jobs=-1), expected)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_rows_are_taken_in_several_steps(rng, monkeypatch, missing):
    sizes = {"ROWS_AT_A_TIME": 200, "MIN_BLOCK_ROWS": 90, "MAX_BLOCK_ROWS": 90, "MAX_CHUNK_ROWS": 40}
    for name, size in sizes.items():
        monkeypatch.setattr(tree_prediction, name, size)
    trees = [make_tree(rng, 50) for _ in range(3)]
    X = make_rows(rng, 533, missing=missing)
    flat = pack(trees)
    assert_bits_equal(predict_forest(flat, X), sums_of(trees, X))
    assert_bits_equal(apply_forest(flat, X), leaves_of(trees, X))


@pytest.mark.plain_python
def test_values_of_some_rows_are_added(rng):
    trees = [make_tree(rng, 10, n_outputs=2, n_classes=3) for _ in range(3)]
    X = make_rows(rng, 50)
    flat = pack(trees)
    rows = rng.permutation(50)[:20]
    out = rng.normal(size=(50, 2, 3))
    expected = out.copy()
    expected[rows] += trees[1].value.take(trees[1].apply(X[rows]), axis=0)
    predict_tree_rows(flat, 1, X, rows, out)
    assert_bits_equal(out, expected)
    predict_tree_rows(flat, 1, X, rows[:0], out)
    assert_bits_equal(out, expected)


def test_zeros_keep_their_sign_as_in_scikit_learn():
    tree = make_tree(np.random.default_rng(0), 0, n_classes=1)
    node_tables, values = state_of([tree])
    X = np.zeros((2, 3), dtype=np.float32)
    zero = -np.zeros_like(values[0])
    one_tree = predict_forest(flatten_forest(node_tables, [zero], 3), X)
    assert np.signbit(one_tree).all()  # the tree's own value
    two_trees = predict_forest(flatten_forest(node_tables * 2, [zero, zero], 3), X)
    assert not np.signbit(two_trees).any()  # 0.0 + -0.0 + -0.0


def test_a_tree_with_more_nodes_than_32_bits_hold_with_the_column(rng, monkeypatch):
    tree = make_tree(rng, 40, n_features=3)
    X = make_rows(rng, 60)
    node_tables, values = state_of([tree])
    n_features = 1 << 25
    flat = flatten_forest(node_tables, values, n_features)
    assert flat.packed.nodes.dtype == np.uint64
    # The same nodes, with rows no wider than they need to be.
    for name, value in (("n_features", 3), ("column_bits", 25)):
        setattr(flat, name, value)
    assert_bits_equal(
        predict_forest(flat, X[~np.isnan(X).any(axis=1)]), tree.predict(X[~np.isnan(X).any(axis=1)])[:, None]
    )


def test_many_classes_and_few_values_are_kept_once(rng):
    X = rng.normal(size=(400, 5)).astype(np.float32)
    y = rng.integers(12, size=400)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    flat = pack([tree.tree_ for tree in forest.estimators_])
    assert_bits_equal(predict_forest(flat, X, mean=True)[:, 0], forest.predict_proba(X))
    assert len(flat.packed.leaf_values) < 30 * 12 < sum(flat.n_nodes)


@pytest.mark.parametrize("with_missing", [False, True])
def test_trained_trees(rng, with_missing):
    X = rng.normal(size=(600, 6)).astype(np.float32)
    X[:, 2] = np.round(X[:, 2])
    if with_missing:
        X[rng.random(X.shape) < 0.2] = np.nan
    y = np.nan_to_num(X[:, 0]) + rng.normal(size=600)
    for tree in (
        DecisionTreeRegressor(random_state=0),
        DecisionTreeClassifier(max_leaf_nodes=40, random_state=0),
    ):
        tree.fit(X, y if isinstance(tree, DecisionTreeRegressor) else y > 0)
        flat = pack([tree.tree_])
        assert_bits_equal(predict_forest(flat, X)[:, 0], tree.tree_.predict(X))
        assert_bits_equal(apply_forest(flat, X)[:, 0], tree.apply(X))
    forest = RandomForestRegressor(20, random_state=0).fit(X, np.c_[y, -y])
    flat = pack([tree.tree_ for tree in forest.estimators_])
    for n_rows in (1, 20, 600):
        assert_bits_equal(predict_forest(flat, X[:n_rows], mean=True)[:, :, 0], forest.predict(X[:n_rows]))
    assert_bits_equal(apply_forest(flat, X), forest.apply(X))


def test_no_rows(rng):
    flat = pack([make_tree(rng, 5)])
    X = np.empty((0, 3), dtype=np.float32)
    assert predict_forest(flat, X).shape == (0, 1, 2)
    assert apply_forest(flat, X).shape == (0, 1)


def test_packed_trees_are_small(rng):
    trees = [make_tree(rng, 500) for _ in range(10)]
    flat = pack(trees)
    assert flat.nbytes < 0.25 * sum(tree.node_count * 64 + tree.value.nbytes for tree in trees)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 4), dtype=np.float32),
        np.zeros(3, dtype=np.float32),
        np.zeros((2, 3), dtype=np.int64),
        np.zeros((2, 3), dtype=">f4"),
    ],
)
def test_other_data_is_refused(rng, X):
    flat = pack([make_tree(rng, 5)])
    with pytest.raises(ValueError, match="Expected float32 or float64 X with 3 columns"):
        predict_forest(flat, X)


def test_trees_that_are_not_there_are_refused():
    from sklearn.datasets import load_iris

    from fastfit.ensemble import RandomForestClassifier
    from fastfit.training.tree_prediction import add_forest

    X, y = load_iris(return_X_y=True)
    packed = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, y)._packed_trees()
    with pytest.raises(ValueError, match="some of the 3 trees, got those from 0 to 5"):
        add_forest(packed, X, np.zeros(len(X) * 3), trees=(0, 5))
