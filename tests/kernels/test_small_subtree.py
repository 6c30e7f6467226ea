"""Subtrees grown on orders in words: the same as those grown on columns, and as scikit-learn's."""

import numpy as np
import pytest

from fastfit.kernels.small_subtree import MAX_SAMPLES, order_members
from fastfit.runtime.compile import jit
from fastfit.runtime.simd_nibbles import HAS_NIBBLES
from fastfit.training import presorted_growth
from fastfit.training.tree_growth import GrowthOptions, Target, grow_tree, prepare_tree_data

needs_nibbles = pytest.mark.skipif(not HAS_NIBBLES, reason="needs vectors of 512 bits")

OPTIONS = GrowthOptions("squared_error", "best", 2**31 - 1, 2, 1, 0.0, 0.0, -1, 0, None)


def grow(X, y, weights=None, n_threads=1, **options):
    data = prepare_tree_data(np.asarray(X, np.float32), None, n_threads=n_threads, is_shared=False)
    options = OPTIONS._replace(max_features=X.shape[1], **options)
    return grow_tree(data, Target(y.reshape(-1, 1), None), weights, options, 7, n_threads=n_threads)


@pytest.fixture
def on_columns_only(monkeypatch):
    """Return ``grow`` with small subtrees left to the columns."""

    def grow_on_columns(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(presorted_growth, "_SMALL", {})
            patch.setattr(presorted_growth, "_kernel", presorted_growth._kernel.__wrapped__)
            return grow(*args, **kwargs)

    return grow_on_columns


@jit
def ordered(order, n_samples, goes_left):
    return order_members(order, n_samples, goes_left)


def exchange(order, goes_left):
    """Part a list as scikit-learn does."""
    order = list(order)
    front, back = 0, len(order)
    while front < back:
        if order[front] in goes_left:
            front += 1
        else:
            back -= 1
            order[front], order[back] = order[back], order[front]
    return order


@pytest.mark.plain_python
@pytest.mark.parametrize("n_samples", [2, 3, 9, 16])
def test_samples_are_left_in_scikit_learn_s_order(n_samples):
    rng = np.random.default_rng(n_samples)
    for _ in range(20):
        order = rng.permutation(n_samples)
        goes_left = set(rng.choice(n_samples, rng.integers(1, n_samples), replace=False).tolist())
        word = np.uint64(sum(int(sample) << 4 * i for i, sample in enumerate(order)))
        result = int(ordered(word, n_samples, np.uint64(sum(1 << sample for sample in goes_left))))
        assert [result >> 4 * i & 15 for i in range(n_samples)] == exchange(order, goes_left)


@needs_nibbles
@pytest.mark.parametrize("n_samples", [2, MAX_SAMPLES - 1, MAX_SAMPLES, MAX_SAMPLES + 1, 300])
@pytest.mark.parametrize(
    "options",
    [{}, {"max_depth": 3}, {"min_samples_leaf": 3, "min_samples_split": 7}, {"min_impurity_decrease": 1e-3}],
    ids=["pure", "depth", "leaf", "improvement"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_same_as_on_columns(on_columns_only, n_samples, options, weighted):
    rng = np.random.default_rng(n_samples)
    X = rng.normal(size=(n_samples, 11))
    X[:, 4] = 1.0
    y = rng.normal(size=n_samples)
    weights = rng.integers(0, 4, n_samples).astype(float) if weighted else None
    if weighted:
        weights[:2] = 1.0
    expected = on_columns_only(X, y, weights, **options)
    for n_threads in (1, 2):
        grown = grow(X, y, weights, n_threads, **options)
        np.testing.assert_array_equal(grown.nodes, expected.nodes)
        np.testing.assert_array_equal(grown.values, expected.values)


@needs_nibbles
def test_samples_with_equal_values_are_left_to_the_columns(on_columns_only):
    rng = np.random.default_rng(0)
    # Whole targets: their sums do not depend on the order, so that ties of X are allowed at all.
    X = np.column_stack([rng.integers(0, 40, 200), rng.normal(size=200), 1e-7 * rng.normal(size=200)])
    y = rng.integers(0, 9, 200).astype(float)
    grown, expected = grow(X, y), on_columns_only(X, y)
    np.testing.assert_array_equal(grown.nodes, expected.nodes)
    np.testing.assert_array_equal(grown.values, expected.values)


@needs_nibbles
@pytest.mark.plain_python
# Kernels divide by zero as C does, and NumPy's scalars warn of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_plainly(on_columns_only):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    np.testing.assert_array_equal(grow(X, y).nodes, on_columns_only(X, y).nodes)
