"""Exact splits from histograms: the columns in bins, and what one tree of large nodes is grown from.

A histogram says what a split between two bins would gain, and bounds what any split inside of a bin can gain. Where
that bound is below the best gain known, nobody looks at the samples in the bin; with 256 bins of equal size that is
nearly everywhere, and a tree costs what a tree on histograms costs: one addition a value and level. The few bins that
are left are scanned in the sorted columns, value by value.

Gains are differences of sums, and what is known of them exactly is an interval. Where the intervals of two splits
overlap after sums of full precision, rounding would decide, and the tree is left to engines that round as scikit-learn
does. So the tree is scikit-learn's, node for node.

Sums of targets are integers: a target is a multiple of a unit, packed below a count of one into 64 bits, so that one
addition counts and adds, and no order of additions and no number of threads changes a result.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.presort_entries import NEARLY_EQUAL, NEW_VALUE, ROW_BITS
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next

N_BINS = 256
# So many values of a column at most are frequent.
MAX_FREQUENT = 32


class BinnedColumns(NamedTuple):
    """The columns of one fit."""

    X_t: np.ndarray  # (n_features, n_samples) float32
    rows: np.ndarray  # (n_features, n_samples + padding) uint32 of sort_rows
    bins: np.ndarray  # (n_groups, n_samples, group_size) uint8: features in groups, each by rows
    bin_start: np.ndarray  # (n_features, N_BINS + 1) int64: where a bin begins in its sorted column
    n_bins: np.ndarray  # (n_features,) int64
    is_divisible: np.ndarray  # (n_features, N_BINS) uint8: whether a bin has more than one value


@jit(inline=True, internal=True)
def _end_of_value(rows, n_samples, start):
    """Return where the samples of the value that begins here end."""
    end = start + 1
    while end < n_samples and element(rows, end) & NEW_VALUE == 0:
        end += 1
    return end


@jit(internal=True)
def _choose_share(rows, n_samples):
    """Return how many samples a bin needs before the next may begin, and from how many on a value has its own.

    A column that is zero but for one in fifty has as many bins for those as any other column for all of its samples.
    """
    n_values, n_frequent, n_rest, start = 0, 0, n_samples, 0
    frequent = (n_samples + MAX_FREQUENT - 1) // MAX_FREQUENT
    while start < n_samples:
        end = _end_of_value(rows, n_samples, start)
        n_values += 1
        if end - start >= frequent:
            n_frequent += 1
            n_rest -= end - start
        start = end
    # A frequent value may cut a bin short before it.
    n_bins = N_BINS - 2 * n_frequent - 1
    return (1 if n_values <= N_BINS else (n_rest + n_bins - 1) // n_bins), frequent


@jit(internal=True)
def _cut_column(rows, n_samples, bin_start, is_divisible):
    """Begin a bin at the first value after each share of the samples; return the number of bins.

    No bin begins with a value that is nearly equal to another one: a split between bins is always allowed.
    """
    share, frequent = _choose_share(rows, n_samples)
    bin_idx, start = -1, 0
    while start < n_samples:
        end = _end_of_value(rows, n_samples, start)
        is_apart = bin_idx < 0 or element(rows, start) & NEARLY_EQUAL == 0
        if is_apart and (bin_idx < 0 or start - bin_start[bin_idx] >= share or end - start >= frequent):
            bin_idx += 1
            bin_start[bin_idx] = start
            is_divisible[bin_idx] = 0
        else:
            is_divisible[bin_idx] = 1
        start = end
    bin_start[bin_idx + 1] = n_samples
    return bin_idx + 1


@jit
def cut_columns(
    control,
    thread_idx,
    n_threads,
    columns,  # BinnedColumns, whose last four fields are written
):
    """Cut every sorted column into bins; members of a team take groups of features in turn."""
    n_features, n_samples = columns.X_t.shape
    n_groups, _, group_size = columns.bins.shape
    group = take_next(control, 0)
    while group < n_groups and not stop_requested(control):
        bins = columns.bins[group]
        first = group * group_size
        last = first + group_size if n_features - first > group_size else n_features
        for feature in range(first, last):
            rows = columns.rows[feature]
            start = columns.bin_start[feature]
            n_bins = _cut_column(rows, n_samples, start, columns.is_divisible[feature])
            columns.n_bins[feature] = n_bins
            for b in range(n_bins):
                for i in range(start[b], start[b + 1]):
                    bins[element(rows, i) & ROW_BITS, feature - first] = b
        group = take_next(control, 0)


@jit
def pack_targets(
    control,
    thread_idx,
    n_threads,
    target,  # (n_samples,) float64
    scale,  # a power of two: units in one
    shift,
    packed_out,  # (n_samples,) int64
):
    """Round targets to units, and pack each above nothing and below a count of one."""
    n_samples = len(target)
    start = thread_idx * n_samples // n_threads
    end = (thread_idx + 1) * n_samples // n_threads
    one = np.int64(1) << shift
    for i in range(start, end):
        packed_out[i] = np.int64(np.rint(target[i] * scale)) + one
