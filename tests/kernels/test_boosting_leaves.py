"""Sums over leaves: NumPy's own, bit for bit."""

import numpy as np
import pytest

from fastfit.kernels.boosting_leaves import order_by_leaf, pairwise_sum
from fastfit.runtime.compile import jit
from fastfit.training.boosting_leaves import weighted_percentile


@jit
def add_up(values, start, n, sizes, sums):
    return pairwise_sum(values, start, n, sizes, sums)


@pytest.mark.plain_python
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 127, 128, 129, 136, 255, 257, 1000, 4099])
def test_sum_is_numpys(n):
    values = np.random.default_rng(n).standard_normal(n + 3) * 10.0 ** np.arange(-3, n).clip(-3, 9)
    total = add_up(values, 3, n, np.empty(64, np.int64), np.empty(64))
    assert total == values[3:].sum()


def test_rows_stand_by_their_leaves():
    rng = np.random.default_rng(0)
    leaves = rng.integers(0, 5, 100).astype(np.int32)
    in_bag = rng.integers(0, 2, 100).astype(np.uint8)
    for bag in (in_bag, np.empty(0, np.uint8)):
        starts, rows = np.empty(7, np.int64), np.empty(100, np.int32)
        order_by_leaf(leaves, bag, starts, rows)
        for leaf in range(5):
            is_inside = leaves == leaf if len(bag) == 0 else (leaves == leaf) & (bag == 1)
            np.testing.assert_array_equal(rows[starts[leaf] : starts[leaf + 1]], np.flatnonzero(is_inside))


@pytest.mark.parametrize("rank", [0.0, 1.0, 30.0, 50.0, 90.0, 100.0])
@pytest.mark.parametrize("n", [1, 2, 10, 101])
def test_percentile_is_scikit_learns(rank, n):
    from sklearn.utils.stats import _weighted_percentile

    rng = np.random.default_rng(n)
    values = rng.standard_normal(n)
    for weight in (np.ones(n), rng.uniform(size=n), rng.integers(0, 2, n).astype(float)):
        expected = _weighted_percentile(values, weight, rank)
        np.testing.assert_equal(weighted_percentile(values, weight, rank), expected)
        if (weight == 1.0).all():
            assert weighted_percentile(values, None, rank) == expected
