"""What a linear model does with a row of X and with its weights: dot product, addition, norms.

X comes as one flat array, and a row as the position of its first value, so that a kernel for shuffled rows has one
array to index. The values of a row that do not fill a vector are taken one by one: a masked load would wait for the
cache line behind the row, which nobody has asked for (49 ns a row of 400 bytes in random order instead of 39), and a
masked store would keep the next row's loads waiting.
"""

import numpy as np

from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.memory import CACHE_LINE_BYTES
from fastfit.runtime.simd import (
    broadcast,
    element,
    fma,
    lanes,
    load,
    prefetch,
    reduce_add,
    store,
)


@jit(inline=True, internal=True)
def dot_row(X, start, n, w):
    """X[start : start + n] . w, summed in two interleaved chains of vectors."""
    width = lanes(w.dtype)
    even = broadcast(0.0, w.dtype)
    odd = broadcast(0.0, w.dtype)
    tail = 0.0
    j = 0
    while j + 2 * width <= n:
        even = fma(load(X, start + j), load(w, j), even)
        odd = fma(load(X, start + j + width), load(w, j + width), odd)
        j += 2 * width
    if j + width <= n:
        even = fma(load(X, start + j), load(w, j), even)
        j += width
    while j < n:
        tail += element(X, start + j) * element(w, j)
        j += 1
    return np.float64(reduce_add(even + odd)) + tail


@jit(inline=True, internal=True)
def prefetch_row(X, start, n):
    """Ask for every cache line of a row, into the second-level cache, some rows ahead of its use.

    Rows in random order are beyond the hardware's prefetcher. Requests wait for a free miss buffer, and what follows
    them waits too, so they belong behind the arithmetic that they should overlap with.
    """
    per_line = CACHE_LINE_BYTES // X.itemsize
    j = 0
    while j < n:
        prefetch(X, start + j)
        j += per_line
    prefetch(X, start + n - 1)


@jit(inline=True, internal=True)
def add_four_rows(X, starts, factors, n, w):
    """w[:n] += the sum of factors[i] * X[starts[i] : starts[i] + n] over four rows: w is loaded and stored once."""
    width = lanes(w.dtype)
    start_0, start_1, start_2, start_3 = starts[0], starts[1], starts[2], starts[3]
    factor_0, factor_1 = broadcast(factors[0], w.dtype), broadcast(factors[1], w.dtype)
    factor_2, factor_3 = broadcast(factors[2], w.dtype), broadcast(factors[3], w.dtype)
    j = 0
    while j + width <= n:
        total = fma(factor_0, load(X, start_0 + j), load(w, j))
        total = fma(factor_1, load(X, start_1 + j), total)
        total = fma(factor_2, load(X, start_2 + j), total)
        store(w, j, fma(factor_3, load(X, start_3 + j), total))
        j += width
    while j < n:
        w[j] += factors[0] * element(X, start_0 + j) + factors[1] * element(X, start_1 + j)
        w[j] += factors[2] * element(X, start_2 + j) + factors[3] * element(X, start_3 + j)
        j += 1


@jit(inline=True, internal=True)
def sum_magnitudes(w, n):
    """L1 norm of w[:n], in float64."""
    width = lanes(np.float64)
    total = broadcast(0.0, np.float64)
    tail = np.float64(0.0)
    j = 0
    while j + width <= n:
        total = total + abs(load(w, j, np.float64))
        j += width
    while j < n:
        tail += np.float64(abs(element(w, j)))
        j += 1
    return reduce_add(total) + tail


@jit(inline=True, internal=True, fastmath=REASSOCIATE)
def sum_row_squares(X, start, n):
    """Squared L2 norm of X[start : start + n]."""
    total = 0.0
    for j in range(n):
        total += element(X, start + j) * element(X, start + j)
    return total
