"""Sorted columns against NumPy's stable sort and unique."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastfit.kernels import presort
from fastfit.kernels.presort import (
    COUNTS_SIZE,
    PresortScratch,
    SortedColumns,
    presort_columns,
    transpose_rows,
    transpose_to_columns,
)
from fastfit.runtime.threads import run_team


def sort_columns(X, n_threads=1):
    """Sort the columns of X, (n_samples, n_features)."""
    X_t = np.ascontiguousarray(X.T, dtype=np.float32)
    d, n = X_t.shape
    columns = SortedColumns(
        codes=np.full((d, n), 2**32 - 1, np.uint32),
        levels=np.full((d, n), -1.5, np.float32),
        n_levels=np.full(d, -1, np.int64),
        is_close=np.full(d, 7, np.uint8),
    )
    scratch = PresortScratch(
        np.ones((n_threads, 2, n), np.uint64), np.ones((n_threads, COUNTS_SIZE), np.uint32)
    )
    run_team(presort_columns, n_threads, X_t, columns, scratch)
    return columns


def check_column(x, columns, f):
    is_missing = np.isnan(x)
    levels, codes = np.unique(x[~is_missing], return_inverse=True)
    n_levels = len(levels)
    assert columns.n_levels[f] == n_levels
    np.testing.assert_array_equal(columns.levels[f, :n_levels], levels)
    assert not np.signbit(columns.levels[f, :n_levels][levels == 0]).any()
    expected = np.full(len(x), n_levels)
    expected[~is_missing] = codes
    np.testing.assert_array_equal(columns.codes[f], expected)
    # Values can be told from ranks and levels again, missing ones too.
    np.testing.assert_array_equal(columns.levels[f][columns.codes[f]], x)
    assert columns.is_close[f] == (levels[1:] <= levels[:-1] + np.float32(1e-7)).any()


AWKWARD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, 1.0000001, 5e-8, 2.5]


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 3)),
        elements=st.one_of(st.sampled_from(AWKWARD), st.floats(width=32)).map(np.float32),
    )
)
def test_sorts_any_floats(X):
    columns = sort_columns(X)
    for f in range(X.shape[1]):
        check_column(X[:, f], columns, f)


@pytest.mark.plain_python
def test_sorts_a_few_columns():
    X = np.array([[3, 0.0, np.nan], [-1, -0.0, np.nan], [3, 0.0, np.nan], [np.nan, -2, np.nan]], np.float32)
    X_t = np.empty((3, 4), np.float32)
    run_team(transpose_rows, 2, X, X_t)
    np.testing.assert_array_equal(X_t, X.T)
    columns = sort_columns(X)
    for f in range(3):
        check_column(X[:, f], columns, f)
    assert columns.codes[0].tolist() == [1, 0, 1, 2]
    assert columns.n_levels.tolist() == [2, 2, 0]


# Narrow and wide digits, one pass to four, and no pass.
@pytest.mark.parametrize("n", [300, presort.SMALL_COLUMN + 50, presort.LARGE_COLUMN + 7])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_sorts_columns_of_every_kind(n, n_threads):
    rng = np.random.default_rng(n)
    kinds = [
        rng.normal(size=n),
        rng.integers(-500, 500, n),
        rng.integers(0, 2, n),
        np.full(n, -4.25),
        np.where(rng.random(n) < 0.1, np.nan, rng.exponential(size=n) ** 9),
        rng.integers(0, 2**31, n).astype(np.uint32).view(np.float32),
        np.linspace(-1, 1, n),
    ]
    X = np.stack([kind.astype(np.float32) for kind in kinds], axis=1)
    columns = sort_columns(X, n_threads)
    for f in range(X.shape[1]):
        check_column(X[:, f], columns, f)


def test_levels_may_replace_the_values():
    x = np.random.default_rng(0).integers(-9, 9, 100).astype(np.float32)
    apart = sort_columns(x[:, np.newaxis])
    X_t = x[np.newaxis].copy()
    within = apart._replace(levels=X_t, codes=np.zeros((1, 100), np.uint32))
    scratch = PresortScratch(np.ones((1, 2, 100), np.uint64), np.ones((1, COUNTS_SIZE), np.uint32))
    run_team(presort_columns, 1, X_t, within, scratch)
    n_levels = within.n_levels[0]
    np.testing.assert_array_equal(X_t[0, :n_levels], np.unique(x))
    check_column(x, within, 0)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 33), (100, 5), (3000, 20)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_transposes(shape, n_threads):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    X_t = np.zeros(shape[::-1], np.float32)
    run_team(transpose_rows, n_threads, X, X_t)
    np.testing.assert_array_equal(X_t, X.T)


def test_transposes_only_the_rows_asked_for():
    X = np.arange(60.0, dtype=np.float32).reshape(20, 3)
    X_t = np.full((3, 20), -1, np.float32)
    transpose_to_columns(X, X_t, 2, 19)
    np.testing.assert_array_equal(X_t[:, 2:19], X.T[:, 2:19])
    assert (X_t[:, [0, 1, 19]] == -1).all()
