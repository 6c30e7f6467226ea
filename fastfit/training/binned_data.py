"""Data as bins, in rows for histograms and in columns for sorting samples out."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.bin_columns import BLOCK_ROWS, BLOCK_THRESHOLDS, bin_columns
from fastfit.kernels.histogram_tree import BinnedColumns, slots_per_feature
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team, threads_for
from fastfit.training.bin_thresholds import as_vector

# Nanoseconds that binning a value takes, and values from which it may take so long that a user may interrupt it.
_VALUE_WORK = 3.0
_LONG_VALUES = 50_000_000

# Bytes behind the last row: kernels read a row's bins four at a time.
_PADDING = 64


class BinnedData(NamedTuple):
    """Binned samples, and what is known of each feature."""

    rows: np.ndarray
    """(n_samples, n_features) uint8, C-contiguous."""
    kernel_data: BinnedColumns | None
    """What kernels take; None if the data is not for growing trees."""
    has_missing: np.ndarray
    """(n_features,) uint8."""
    n_bins_non_missing: np.ndarray
    """(n_features,) uint32."""
    is_categorical: np.ndarray
    """(n_features,) uint8."""
    missing_bin: int
    """The bin of missing values, of all features."""
    thresholds: list
    """Of each feature an ndarray of float64; for categorical ones the categories."""


def bin_data(X, thresholds, is_categorical, missing_bin, *, for_growth=True, n_jobs=None, n_threads=None):
    """Return every value's bin: the number of its column's thresholds that are below it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64
        In any memory order.
    thresholds : list of ndarray
        For each column thresholds in ascending order, at most 255; for a categorical one its categories.
    is_categorical : ndarray of shape (n_features,)
        Values below 0 of categorical columns count as missing.
    missing_bin : int
        The bin of NaN.
    for_growth : bool, default=True
        Keep what growing a tree needs: the bins column by column, too.
    n_jobs : int or None, default=None
        As for :func:`fastfit.runtime.threads.threads_for`.
    n_threads : int or None, default=None
        Exact number of threads, in place of `n_jobs`. The result does not depend on it.

    Returns
    -------
    data : BinnedData

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.binned_data import bin_data
    >>> bin_data(np.array([[1.0], [3.0], [np.nan]]), [np.array([2.0])], np.zeros(1, np.uint8), 255).rows.ravel()
    array([  0,   1, 255], dtype=uint8)
    """
    n_samples, n_features = X.shape
    is_categorical = np.asarray(is_categorical, dtype=np.uint8)
    if n_threads is None:
        n_threads = threads_for(_VALUE_WORK * X.size, n_jobs)
    values, row_step, column_step = as_vector(X)
    blocks, starts = threshold_blocks(thresholds)
    flat_rows = np.empty(X.size + _PADDING, np.uint8)
    flat_rows[X.size :] = 0
    columns = np.empty(X.size if for_growth else n_threads * n_features * BLOCK_ROWS, np.uint8)
    n_missing = np.zeros((n_threads, n_features), np.int64)
    run_team(
        bin_columns,
        n_threads,
        values,
        (n_samples, n_features, row_step, column_step),
        blocks,
        np.stack([starts, is_categorical]).astype(np.int64),
        int(missing_bin),
        columns,
        bool(for_growth),
        flat_rows,
        n_missing,
        may_be_long=X.size > _LONG_VALUES,
    )
    n_bins = np.array([len(t) + (not c) for t, c in zip(thresholds, is_categorical, strict=True)], np.uint32)
    has_missing = (n_missing.sum(axis=0) > 0).astype(np.uint8)
    data = BinnedData(
        flat_rows[: X.size].reshape(X.shape),
        None,
        has_missing,
        n_bins,
        is_categorical,
        int(missing_bin),
        thresholds,
    )
    return data._replace(kernel_data=_kernel_data(data, flat_rows, columns)) if for_growth else data


def threshold_blocks(thresholds):
    """Return thresholds as :func:`fastfit.kernels.bin_columns.bin_values` takes them.

    Parameters
    ----------
    thresholds : list of ndarray of float64
        Of each column, in ascending order.

    Returns
    -------
    blocks : ndarray of float64
    starts : ndarray of int64
        Where each column's blocks begin.
    """
    # No value is above all blocks: behind the last threshold there is infinity, of 256 thresholds as of 255.
    n_blocks = np.array([len(t) for t in thresholds], np.int64) // BLOCK_THRESHOLDS + 1
    starts = np.concatenate([[0], np.cumsum((n_blocks + 1) * BLOCK_THRESHOLDS)])
    blocks = np.full(starts[-1], np.inf)
    for start, column in zip(starts, thresholds, strict=False):
        first = start + BLOCK_THRESHOLDS
        blocks[first : first + len(column)] = column
        # A threshold of NaN (between infinities) comes last, and scikit-learn takes nothing to be at or below it: what
        # is above the one before is above it, too.
        if len(column) and np.isnan(column[-1]):
            blocks[first + len(column) - 1] = column[-2] if len(column) > 1 else -np.inf
        last_ones = blocks[first + BLOCK_THRESHOLDS - 1 : first + len(column) : BLOCK_THRESHOLDS]
        blocks[start : start + len(last_ones)] = last_ones
    return blocks, starts[:-1]


def _kernel_data(data, flat_rows, columns):
    n_samples, n_features = data.rows.shape
    starts = np.concatenate([[0], np.cumsum([len(t) for t in data.thresholds])]).astype(np.int64)
    n_slots = data.missing_bin + 1 if data.has_missing.any() else int(data.n_bins_non_missing.max())
    return BinnedColumns(
        rows=as_readonly(flat_rows),
        columns=as_readonly(columns),
        n_samples=n_samples,
        n_features=n_features,
        n_bins=data.n_bins_non_missing.astype(np.int64),
        has_missing=data.has_missing,
        is_categorical=data.is_categorical,
        missing_bin=data.missing_bin,
        n_slots=slots_per_feature(n_slots),
        threshold_start=starts,
        thresholds=np.concatenate([*data.thresholds, np.zeros(1)]).astype(np.float64),
    )
