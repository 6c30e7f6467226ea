"""Numbers to bins: every value's place among the thresholds of its column, in rows and in columns.

Bin b of a column holds what is above threshold b - 1 and not above threshold b. The thresholds of a column are padded with
infinity to one less than a power of two, so that a search takes as many steps for every value of it, without a branch: the
searches of neighbours overlap, and a value costs a tenth of what its search takes from end to end.
"""

import numpy as np

from fastfit.kernels.histogram_tree import begin_and_end
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next

# Rows that are binned at a time, all columns, so that the values of a row are read from memory once.
BLOCK_ROWS = 128


@jit(internal=True)
def bin_values(
    values,  # float64: the column's values from first on, step apart
    first,
    step,
    n_rows,
    thresholds,  # float64: padded thresholds of all columns
    start,  # of this column's
    n_steps,  # there are 2**n_steps - 1
    missing,  # (bin of missing values, 1 if values below 0 are missing)
    bins,  # uint8: the column's bins from place on, out
    place,
):
    """Bin some rows of a column; return how many of them are missing."""
    missing_bin, from_zero = missing
    n_missing = 0
    for i in range(n_rows):
        value = element(values, first + i * step)
        position = 0
        for step_bits in range(n_steps - 1, -1, -1):
            # A shift, not a choice: LLVM makes a branch of that, which is wrong every second time.
            is_above = value > element(thresholds, start + position + (1 << step_bits) - 1)
            position += np.int64(is_above) << step_bits
        is_missing = (value != value) | ((from_zero != 0) & (value < 0.0))
        n_missing += is_missing
        bins[place + i] = np.uint8(missing_bin if is_missing else position)
    return n_missing


@jit
def bin_columns(
    control,
    thread_idx,
    n_threads,
    values,  # float64, flat: the data
    steps,  # (n_rows, n_columns, from row to row, from column to column)
    thresholds,  # float64: padded thresholds of all columns in turn
    table,  # (3, n_columns) int64: where a column's 2**k - 1 thresholds begin, k, 1 if categorical
    missing_bin,
    columns,  # (n_columns * n_rows) uint8, out; or a block of BLOCK_ROWS rows for each member
    keeps_columns,
    rows,  # (n_rows * n_columns + padding) uint8, out
    n_missing,  # (n_threads, n_columns) int64, out
):
    """Bin all values, a block of rows at a time by whoever is free."""
    n_rows, n_columns, row_step, column_step = steps
    n_blocks = (n_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    block = take_next(control, 0)
    while block < n_blocks and not stop_requested(control):
        first = block * BLOCK_ROWS
        n_block = n_rows - first if n_rows - first < BLOCK_ROWS else BLOCK_ROWS
        for column in range(n_columns):
            place = (
                column * n_rows + first if keeps_columns else (thread_idx * n_columns + column) * BLOCK_ROWS
            )
            start = first * row_step + column * column_step
            missing = (missing_bin, table[2, column])
            at = table[0, column]
            n_steps = table[1, column]
            n_missing[thread_idx, column] += bin_values(
                values, start, row_step, n_block, thresholds, at, n_steps, missing, columns, place
            )
        for column in range(n_columns):
            place = (
                column * n_rows + first if keeps_columns else (thread_idx * n_columns + column) * BLOCK_ROWS
            )
            for i in range(n_block):
                rows[(first + i) * n_columns + column] = element(columns, place + i)
        block = take_next(control, 0)


@jit
def gather_columns(
    control,
    thread_idx,
    n_threads,
    values,  # float64, flat: the data
    row_step,
    column_step,
    rows,  # (n_taken,) int64: the rows to take, in ascending order
    first,  # the first of the columns to take
    out,  # (n_columns, n_taken) float64
):
    """Copy some columns of some rows, so that a column's values are neighbours, each member a part of the rows."""
    start, end = begin_and_end(len(rows), thread_idx, n_threads)
    for i in range(start, end):
        place = rows[i] * row_step + first * column_step
        for column in range(len(out)):
            out[column, i] = element(values, place + column * column_step)


@jit
def take_distinct(
    values,  # (n,) float64, sorted, none missing
    distinct,  # (capacity,) float64, out
):
    """Write down the distinct values, as many as fit; return how many there are, or one more than fit."""
    n_distinct = 0
    for i in range(len(values)):
        if i == 0 or values[i] != values[i - 1]:
            if n_distinct == len(distinct):
                return n_distinct + 1
            distinct[n_distinct] = values[i]
            n_distinct += 1
    return n_distinct
