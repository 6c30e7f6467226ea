"""From sorted columns of X to the columns that one tree is grown from.

Sorted rows, with a bit where a new value begins, are kept for all trees of a forest; a tree adds the class and the
weight of each row, and leaves out the rows that have no weight in it.
"""

import numpy as np

from fastfit.kernels.presort import HALF, sort_words
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next

NEW_VALUE = np.uint32(0x80000000)
NOT_NEW = np.uint32(0x7FFFFFFF)
# Says that the value differs from the next lower one of the whole column by no more than the threshold of equality.
NEARLY_EQUAL = np.uint32(0x40000000)
ROW_BITS = np.uint32(0x3FFFFFFF)
# What stands for a row without weight among the payloads.
LEFT_OUT = np.uint32(0xFFFFFFFF)
FEATURE_THRESHOLD = np.float32(1e-7)


@jit(internal=True)
def _write_rows(words, values, rows_out):
    """Write sorted rows with their bits; return whether values are tied, and whether some are nearly so."""
    former_key = np.uint64(0)
    former = np.float32(-np.inf)
    has_ties = False
    is_close = False
    nearly_equal = np.uint32(0)
    for i in range(len(words)):
        key = words[i] >> HALF
        row = np.uint32(words[i])
        is_new = key != former_key or i == 0
        value = values[row]
        has_ties |= not is_new
        if is_new:
            nearly_equal = NEARLY_EQUAL if i > 0 and value <= former + FEATURE_THRESHOLD else np.uint32(0)
            is_close |= nearly_equal != 0
        rows_out[i] = row | nearly_equal | (NEW_VALUE if is_new else np.uint32(0))
        former_key = key
        former = value
    return has_ties, is_close


@jit
def sort_rows(
    control,
    thread_idx,
    n_threads,
    X_t,  # (n_features, n_samples) float32; NaN comes last
    words,  # (n_threads, 2, n_samples) uint64 buffer
    counts,  # (n_threads, COUNTS_SIZE) uint32 buffer
    rows_out,  # (n_features, n_samples + padding) uint32
    has_ties_out,  # (n_features,) uint8
    is_close_out,  # (n_features,) uint8
):
    """Sort the rows of every column by a radix sort; members of a team take columns in turn."""
    feature = take_next(control, 0)
    while feature < X_t.shape[0] and not stop_requested(control):
        values = X_t[feature]
        first = words[thread_idx, 0]
        second = words[thread_idx, 1]
        is_in_second = sort_words(values, first, second, counts[thread_idx])
        has_ties, is_close = _write_rows(second if is_in_second else first, values, rows_out[feature])
        has_ties_out[feature] = has_ties
        is_close_out[feature] = is_close
        feature = take_next(control, 0)


@jit(internal=True)
def _bin_column(values, rows, n_samples, n_bins, cuts_out, bins_out):
    """Number the bins of one sorted column, and leave the bit of a new value where a new bin begins.

    A bin ends with the value that fills its share of the samples; if there are no more values than bins, each has one.
    """
    n_present = n_samples
    while n_present > 0 and np.isnan(values[rows[n_present - 1] & ROW_BITS]):
        n_present -= 1
        bins_out[rows[n_present] & ROW_BITS] = np.nan
    n_values = 0
    for i in range(n_present):
        n_values += np.int64(rows[i] >> np.uint32(31))
    bin_idx = 0
    for i in range(n_present):
        row = rows[i] & ROW_BITS
        is_full = n_values <= n_bins or i * n_bins >= (bin_idx + 1) * n_present
        begins = rows[i] & NEW_VALUE != 0 and is_full and i > 0
        if begins:
            below = np.float64(values[rows[i - 1] & ROW_BITS])
            cuts_out[bin_idx] = below / 2.0 + np.float64(values[row]) / 2.0
            bin_idx += 1
        bins_out[row] = bin_idx
        rows[i] = row | (NEW_VALUE if begins or i == 0 else np.uint32(0))


@jit
def bin_columns(
    control,
    thread_idx,
    n_threads,
    X_t,  # (n_features, n_samples) float32
    rows,  # (n_features, n_samples + padding) uint32 of sort_rows, changed in place
    n_bins,
    cuts_out,  # (n_features, n_bins) float64: between the bins, ascending
    bins_out,  # (n_features, n_samples) float32: number of the bin, NaN for NaN
):
    """Sort the values of every column into bins of about equal size; members of a team take columns in turn."""
    feature = take_next(control, 0)
    while feature < X_t.shape[0] and not stop_requested(control):
        _bin_column(X_t[feature], rows[feature], X_t.shape[1], n_bins, cuts_out[feature], bins_out[feature])
        feature = take_next(control, 0)


@jit
def fill_columns(
    control,
    thread_idx,
    n_threads,
    rows,  # (n_features, n_samples + padding) uint32 of sort_rows
    payloads,  # (n_samples,) uint32: an entry's class and weight, or LEFT_OUT
    columns_out,  # (n_features, at least n_samples left + padding) uint32, may be rows itself
    n_samples,
):
    """Write one tree's columns: rows that are left out pass their bit of a new value on to the next."""
    feature = take_next(control, 0)
    while feature < len(rows) and not stop_requested(control):
        source = rows[feature]
        target = columns_out[feature]
        n_kept = 0
        is_new = np.uint32(0)
        for i in range(n_samples):
            entry = element(source, i)
            payload = payloads[entry & ROW_BITS]
            is_new |= entry & NEW_VALUE
            if payload != LEFT_OUT:
                target[n_kept] = (entry & NOT_NEW) | payload | is_new
                n_kept += 1
                is_new = np.uint32(0)
        feature = take_next(control, 0)
