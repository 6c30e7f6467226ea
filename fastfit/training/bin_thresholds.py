"""Find the thresholds between bins: scikit-learn's, bit for bit, all columns at once on several threads."""

import numpy as np

from fastfit.kernels.bin_columns import gather_columns, sort_columns, take_distinct
from fastfit.kernels.node_sort import BUFFER_SPARE, SCRATCH_SIZE
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.simd_sort import CAN_COMPRESS
from fastfit.runtime.threads import map_threads, run_team, threads_for

# scikit-learn keeps thresholds finite, for infinity means a split between missing values and all others.
ALMOST_INFINITY = 1e300

# Nanoseconds that gathering and sorting a value takes, and bytes of columns that are copied at a time.
_VALUE_WORK = 12.0
_COPIED_BYTES = 32 << 20
# Values of a column from which it is worth compiling a copy, and a sort that is four times as fast as NumPy's on some
# CPUs.
_MANY_VALUES = 100_000


def find_bin_thresholds(
    X, max_bins, *, columns=None, subset=None, sample_weight=None, n_jobs=None, n_threads=None
):
    """Return the thresholds between the bins of each column, as scikit-learn's ``_BinMapper`` finds them.

    Up to `max_bins` distinct values have the middles between neighbours for thresholds; more have the quantiles at
    1 / max_bins, 2 / max_bins, ..., of the averaged inverted distribution function, without repetition.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64
        In any memory order. NaN is left out.
    max_bins : int
        Bins for values that are not missing, 2 to 255.
    columns : sequence of int or None, default=None
        The columns to do; None for all.
    subset : ndarray of int or None, default=None
        The rows to look at, in any order, with repetitions; None for all.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights for the quantiles; rows of weight 0 are left out. Not together with `subset`.
    n_jobs : int or None, default=None
        As for :func:`fastfit.runtime.threads.threads_for`.
    n_threads : int or None, default=None
        Exact number of threads, in place of `n_jobs`.

    Returns
    -------
    thresholds : list of ndarray of float64
        For each of the columns, in ascending order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.bin_thresholds import find_bin_thresholds
    >>> find_bin_thresholds(np.array([[1.0], [3.0], [np.nan], [7.0]]), 255)
    [array([2., 5.])]
    """
    columns = np.arange(X.shape[1]) if columns is None else np.asarray(columns)
    rows = np.arange(len(X)) if subset is None else np.sort(subset)
    if n_threads is None:
        n_threads = threads_for(_VALUE_WORK * len(rows) * len(columns), n_jobs)
    if sample_weight is not None:
        return map_threads(
            lambda column: _thresholds(*_sorted_with_weights(X[:, column], sample_weight), max_bins),
            columns,
            n_threads,
        )
    thresholds = []
    per_copy = max(n_threads, _COPIED_BYTES // (8 * max(len(rows), 1)))
    for run in _runs(columns, per_copy):
        copies = _copy_columns(X, rows, run, n_threads)
        _sort_columns(copies, n_threads)
        thresholds += map_threads(
            lambda column, copies=copies: _thresholds(_numbers(copies[column]), None, max_bins),
            range(len(run)),
            n_threads,
        )
    return thresholds


def _copy_columns(X, rows, run, n_threads):
    """Return some neighbouring columns of some rows, so that a column's values are neighbours."""
    if len(rows) < _MANY_VALUES:  # NumPy is fast enough where all fits a cache, and needs no compiler
        return np.ascontiguousarray(X[rows, run[0] : run[-1] + 1].T, dtype=np.float64)
    copies = np.empty((len(run), len(rows)))
    values, row_step, column_step = as_vector(X)
    run_team(gather_columns, n_threads, values, row_step, column_step, rows, int(run[0]), copies)
    return copies


def as_vector(X):
    """Return float64 X as a read-only vector, and how far apart in it rows are, and columns."""
    if X.flags.c_contiguous:
        return as_readonly(X.reshape(-1)), X.shape[1], 1
    if X.flags.f_contiguous:
        return as_readonly(X.T.reshape(-1)), 1, X.shape[0]
    return as_readonly(np.ascontiguousarray(X).reshape(-1)), X.shape[1], 1


def _runs(columns, size):
    """Cut the columns into runs of neighbours, none longer than ``size``."""
    runs = np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1) if len(columns) else []
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


def _sort_columns(copies, n_threads):
    """Sort each row in place, NaN to the end."""
    n_values = copies.shape[1]
    if not CAN_COMPRESS or n_values < _MANY_VALUES:
        map_threads(lambda column: copies[column].sort(), range(len(copies)), n_threads)
        return
    buffers = np.empty((n_threads, n_values + BUFFER_SPARE), np.uint64)
    scratch = np.empty((n_threads, SCRATCH_SIZE), np.uint64)
    run_team(sort_columns, n_threads, copies, copies.view(np.int64), copies.view(np.uint64), buffers, scratch)


def _numbers(values):
    """Return those of sorted values that are not NaN, which come first."""
    return values[: np.searchsorted(values, np.nan)] if len(values) and np.isnan(values[-1]) else values


def _sorted_with_weights(values, weights):
    """Return values that count, sorted, and their weights; equal ones in the order in which NumPy leaves them."""
    counts = ~np.isnan(values) & (weights != 0)
    values, weights = values[counts], weights[counts]
    order = np.argsort(values)
    return values[order], weights[order]


def _thresholds(values, weights, max_bins):
    """Return a column's thresholds, given its values in ascending order."""
    if len(values) < _MANY_VALUES:  # NumPy needs no compiler
        distinct = values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values
        n_distinct = len(distinct)
    else:
        distinct = np.empty(max_bins)
        n_distinct = take_distinct(values, distinct)
    if n_distinct == 1:
        return np.asarray([])
    if n_distinct <= max_bins:
        distinct = distinct[:n_distinct]
        thresholds = (distinct[:-1] + distinct[1:]) / 2
    elif weights is None:
        thresholds = _quantiles(values, max_bins)
    else:
        thresholds = _weighted_quantiles(values, weights, max_bins)
    thresholds = np.unique(thresholds)
    return np.clip(thresholds, None, ALMOST_INFINITY, out=thresholds)


def _percentiles(max_bins):
    return np.linspace(0, 100, num=max_bins + 1)[1:-1]


def _quantiles(values, max_bins):
    """Return ``np.percentile(values, ..., method="averaged_inverted_cdf")`` of sorted values: its own arithmetic."""
    positions = len(values) * np.true_divide(_percentiles(max_bins), 100.0) - 1
    before = np.floor(positions)
    share = np.where(positions - before == 0, 0.5, 1.0)
    before = before.astype(np.intp)
    # Beyond either end NumPy takes the value at that end twice.
    is_last = positions >= len(values) - 1
    left = np.where(is_last, -1, np.where(positions < 0, 0, before))
    right = np.where(is_last, -1, np.where(positions < 0, 0, before + 1))
    with np.errstate(invalid="ignore"):
        return values[right] - (values[right] - values[left]) * (1 - share)


def _weighted_quantiles(values, weights, max_bins):
    """Return scikit-learn's averaged weighted percentiles of values in ascending order, none of weight 0."""
    order = np.argsort(values.reshape(-1, 1), axis=0)[:, 0]  # once more, as equal values may change places
    values, weights = values[order], weights[order]
    cumulated = np.cumsum(weights)
    wanted = _percentiles(max_bins) / 100 * cumulated[-1]
    wanted = np.where(wanted == 0, np.nextafter(wanted, wanted + 1), wanted)
    place = np.clip(np.searchsorted(cumulated, wanted), 0, len(values) - 1)
    after = np.clip(place + 1, 0, len(values) - 1)
    is_above = cumulated[place] - wanted > np.finfo(np.float64).eps
    with np.errstate(invalid="ignore"):
        return np.where(is_above, values[place], (values[place] + values[after]) / 2)
