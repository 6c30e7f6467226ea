"""Columns that stay sorted: how they are made, binned, and divided."""

import numpy as np
import pytest

from fastfit.kernels import presorted_columns
from fastfit.kernels.presort_entries import LEFT_OUT, NEW_VALUE, NOT_NEW, fill_columns
from fastfit.kernels.presorted_columns import PADDING
from fastfit.runtime.compile import jit
from fastfit.runtime.threads import run_team
from fastfit.training.tree_data import prepare_tree_data

partition_distinct = presorted_columns.partition_distinct
partition_tied = presorted_columns.partition_tied
partition_plainly = presorted_columns._partition_one_by_one


@jit
def divide_distinct(column, start, end, words, left_bit, row_mask, buffer):
    partition_distinct(column, start, end, words, left_bit, row_mask, buffer)


@jit
def divide_tied(column, start, end, words, left_bit, row_mask, buffer):
    partition_tied(column, start, end, words, left_bit, row_mask, buffer)


@jit
def divide_plainly(column, start, end, words, left_bit, row_mask, buffer):
    partition_plainly(column, start, end, words, left_bit, row_mask, buffer)


def entries_of(values, order):
    is_new = np.concatenate([[True], values[order][1:] != values[order][:-1]])
    return order.astype(np.uint32) | np.where(is_new, NEW_VALUE, np.uint32(0))


def words_of(is_marked):
    bits = np.zeros(-(-len(is_marked) // 32) * 32, np.uint8)
    bits[: len(is_marked)] = is_marked
    return np.packbits(bits, bitorder="little").view(np.uint32)


@pytest.mark.plain_python
@pytest.mark.parametrize("n_values", [1, 3, 40, 10**6])
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 64, 150])
@pytest.mark.parametrize("left_bit", [0, 1])
def test_partition_is_stable_and_carries_new_values_on(n, n_values, left_bit):
    rng = np.random.default_rng(n + n_values)
    n_samples = n + 20
    values = rng.integers(0, n_values, n_samples) if n_values < 10**6 else rng.permutation(n_samples)
    order = np.argsort(values, kind="stable")
    column = np.append(entries_of(values, order), np.zeros(PADDING, np.uint32))
    start = 7
    inside = order[start : start + n]
    is_left = rng.random(n_samples) < 0.4
    words = words_of(is_left == left_bit)
    left, right = inside[is_left[inside]], inside[~is_left[inside]]
    distinct = [divide_distinct] if n_values == 10**6 else []
    for divide in [divide_tied, divide_plainly, *distinct]:
        divided = column.copy()
        buffer = np.zeros(n_samples + PADDING, np.uint32)
        divide(divided, start, start + n, words, np.uint32(1), NOT_NEW, buffer)
        expected_left, expected_right = (left, right) if left_bit else (right, left)
        rows = divided[start : start + n] & NOT_NEW
        np.testing.assert_array_equal(rows, np.concatenate([expected_left, expected_right]))
        for side, first in ((expected_left, start), (expected_right, start + len(expected_left))):
            is_new = (divided[first : first + len(side)] & NEW_VALUE) != 0
            # What the first entry of a node says about the one before is never read.
            np.testing.assert_array_equal(is_new[1:], values[side][1:] != values[side][:-1])
        # Other nodes are not touched.
        np.testing.assert_array_equal(divided[:start], column[:start])
        np.testing.assert_array_equal(divided[start + n :], column[start + n :])


def test_rows_that_are_left_out_pass_on_that_a_value_is_new():
    values = np.array([3, 1, 1, 2, 2, 3])
    rows = np.append(entries_of(values, np.argsort(values, kind="stable")), np.zeros(PADDING, np.uint32))
    payloads = np.array([8, LEFT_OUT, 8, LEFT_OUT, 16, 24], np.uint32)
    columns = np.zeros((1, 4 + PADDING), np.uint32)
    run_team(fill_columns, 1, rows[np.newaxis], payloads, columns, len(values))
    expected = [2 | 8 | NEW_VALUE, 4 | 16 | NEW_VALUE, 0 | 8 | NEW_VALUE, 5 | 24]
    np.testing.assert_array_equal(columns[0, :4], np.array(expected, np.uint32))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_sorted_rows(n_threads):
    X = np.random.default_rng(0).integers(-5, 5, (300, 4)).astype(np.float32)
    X[:, 3] = np.random.default_rng(1).permutation(300)
    X[5, 0] = -0.0
    rows, has_ties, is_close = prepare_tree_data(X, None, n_threads=n_threads).sorted_rows
    for feature in range(4):
        expected = entries_of(X[:, feature], np.argsort(X[:, feature], kind="stable"))
        np.testing.assert_array_equal(rows[feature, :300], expected)
    np.testing.assert_array_equal(has_ties, [1, 1, 1, 0])
    np.testing.assert_array_equal(is_close, 0)


def test_values_that_are_nearly_equal_are_found():
    X = np.array([[0.0, 0.0], [5e-8, 5e-7], [1.0, 1.0]], np.float32)
    data = prepare_tree_data(X, None, n_threads=1)
    np.testing.assert_array_equal(data.sorted_rows[2], [1, 0])
    np.testing.assert_array_equal(data.is_close, [1, 0])


@pytest.mark.parametrize("max_bins", [2, 7, 255])
def test_bins_part_values_at_cuts_into_equal_shares(max_bins):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=1000), rng.integers(0, 5, 1000), np.exp(3 * rng.normal(size=1000))])
    X = X.astype(np.float32)
    X[::10, 2] = np.nan
    data = prepare_tree_data(X, np.isnan(X).any(axis=0), n_threads=1, splitter="hist", max_bins=max_bins)
    for feature in range(3):
        values = X[:, feature]
        present = ~np.isnan(values)
        cuts = data.cuts[feature][np.isfinite(data.cuts[feature])]
        assert len(cuts) <= max_bins - 1
        np.testing.assert_array_equal(np.isnan(data.X_t[feature]), ~present)
        bins = data.X_t[feature][present]
        np.testing.assert_array_equal(bins, np.searchsorted(cuts, values[present], side="left"))
        if feature != 1:
            counts = np.bincount(bins.astype(int))
            assert counts.max() <= present.sum() / max_bins + 2
    n_values_of_second = min(5, max_bins)
    assert len(np.unique(data.X_t[1])) == n_values_of_second
