"""Sums over trees of at most three levels, as boosting grows them: every row answers all questions of a tree.

A walk down such a tree waits for three loads in a row. All its seven questions are independent of each other, and for
a vector of rows each is one comparison with a column; the leaf's value is then chosen in seven selections. That is 35
instructions a tree for sixteen rows where vectors have 512 bits, a fifth of what walks take, and none waits for memory
that another has named.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, element, load, select, store
from fastfit.runtime.simd_integers import lower_mask, upper_mask
from fastfit.runtime.team import stop_requested, take_next

# Questions and leaves of a complete tree of three levels.
N_QUESTIONS, N_LEAVES = 7, 8


class CompleteTrees(NamedTuple):
    """Trees filled up to three levels: question k has the children 2 k + 1 and 2 k + 2; leaves from left to right."""

    used: np.ndarray  # (n_used,) int64: columns of X that any tree asks for
    columns: np.ndarray  # (n_trees, N_QUESTIONS) int64: which of these
    thresholds: np.ndarray  # (n_trees, N_QUESTIONS) float32; infinity where there is no question
    values: np.ndarray  # (n_trees, N_LEAVES) float64


@jit(inline=True, internal=True)
def _leaf_value(m0, m1, m2, m3, m4, m5, m6, values):
    v0, v1, v2, v3, v4, v5, v6, v7 = values
    left = select(m1, select(m4, v3, v2), select(m3, v1, v0))
    right = select(m2, select(m6, v7, v6), select(m5, v5, v4))
    return select(m0, right, left)


@jit(internal=True)
def _sweep_tree(columns, thresholds, values, n_chunk, rows, sums):
    """Add one tree's values to the sums of a chunk of rows, whose columns begin ``n_chunk`` after each other."""
    c0, c1, c2, c3 = columns[0] * n_chunk, columns[1] * n_chunk, columns[2] * n_chunk, columns[3] * n_chunk
    c4, c5, c6 = columns[4] * n_chunk, columns[5] * n_chunk, columns[6] * n_chunk
    t0, t1, t2 = broadcast(thresholds[0]), broadcast(thresholds[1]), broadcast(thresholds[2])
    t3, t4, t5 = broadcast(thresholds[3]), broadcast(thresholds[4]), broadcast(thresholds[5])
    t6 = broadcast(thresholds[6])
    v0, v1, v2, v3 = broadcast(values[0]), broadcast(values[1]), broadcast(values[2]), broadcast(values[3])
    v4, v5, v6, v7 = broadcast(values[4]), broadcast(values[5]), broadcast(values[6]), broadcast(values[7])
    v = v0, v1, v2, v3, v4, v5, v6, v7
    half = np.int64(lanes(np.float64))
    for i in range(0, n_chunk, np.int64(lanes(np.float32))):
        m0, m1, m2 = load(rows, c0 + i) > t0, load(rows, c1 + i) > t1, load(rows, c2 + i) > t2
        m3, m4, m5 = load(rows, c3 + i) > t3, load(rows, c4 + i) > t4, load(rows, c5 + i) > t5
        m6 = load(rows, c6 + i) > t6
        l0, l1, l2, l3 = lower_mask(m0), lower_mask(m1), lower_mask(m2), lower_mask(m3)
        low = _leaf_value(l0, l1, l2, l3, lower_mask(m4), lower_mask(m5), lower_mask(m6), v)
        u0, u1, u2, u3 = upper_mask(m0), upper_mask(m1), upper_mask(m2), upper_mask(m3)
        high = _leaf_value(u0, u1, u2, u3, upper_mask(m4), upper_mask(m5), upper_mask(m6), v)
        store(sums, i, load(sums, i) + low)
        store(sums, i + half, load(sums, i + half) + high)


@jit
def sweep_complete(
    control,
    thread_idx,
    n_threads,
    data,  # flat float32, read-only, without missing values
    steps,  # (n_rows, from row to row, from column to column)
    trees,  # CompleteTrees
    n_chunk,  # rows that are taken at a time, a multiple of a vector's
    rows,  # (n_threads, n_used * n_chunk) float32, scratch
    chunk_sums,  # (n_threads, n_chunk) float64, scratch
    sums,  # (n_rows,) float64, in and out
):
    """Add the values of all trees to the sums of all rows, tree after tree."""
    n_rows, row_step, column_step = steps
    own, own_sums = rows[thread_idx], chunk_sums[thread_idx]
    while not stop_requested(control):
        first = take_next(control, 0) * n_chunk
        if first >= n_rows:
            return
        n = n_chunk if n_rows - first > n_chunk else n_rows - first
        for j in range(len(trees.used)):
            start = first * row_step + trees.used[j] * column_step
            for i in range(n):
                own[j * n_chunk + i] = element(data, start + i * row_step)
        for i in range(n):
            own_sums[i] = sums[first + i]
        for tree in range(len(trees.columns)):
            columns, thresholds, values = trees.columns[tree], trees.thresholds[tree], trees.values[tree]
            _sweep_tree(columns, thresholds, values, n_chunk, own, own_sums)
        for i in range(n):
            sums[first + i] = own_sums[i]
