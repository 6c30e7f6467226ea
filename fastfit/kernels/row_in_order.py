"""What stochastic gradient descent does with one row, in the very order and precision of scikit-learn's loops.

Sums of float64 run from the first feature to the last, products of float32 are rounded before they are added, and no
multiplication is fused with an addition. ``kernels.sgd`` says when that matters. A dot product then takes the latency
of one addition a feature, 3 cycles on Zen 4; the products and the requests to the memory run in its shadow.
"""

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import (
    broadcast,
    element,
    lanes,
    load,
    maximum,
    minimum,
    reduce_add,
    store,
)


@jit(inline=True, internal=True)
def dot_row_in_order(X, start, n, w):
    """X[start : start + n] . w from left to right."""
    total = np.float64(0.0)
    for j in range(n):
        total += element(X, start + j) * element(w, j)
    return total


@jit(inline=True, internal=True)
def sum_squares_in_order(X, start, n):
    """Squared L2 norm of a row, from left to right."""
    total = np.float64(0.0)
    for j in range(n):
        total += np.float64(element(X, start + j)) * np.float64(element(X, start + j))
    return total


@jit(inline=True, internal=True)
def add_row_in_order(X, start, n, factor, w):
    """w += factor * X[start : start + n] in float64, rounded to w's dtype; returns the new squared norm of w."""
    width = lanes(np.float64)
    squares = broadcast(0.0, np.float64)
    factors = broadcast(np.float64(factor), np.float64)
    tail = 0.0
    j = 0
    while j + width <= n:
        updated = load(w, j, np.float64) + load(X, start + j, np.float64) * factors
        squares = squares + updated * updated
        store(w, j, updated)
        j += width
    while j < n:
        w[j] = np.float64(w[j]) + np.float64(element(X, start + j)) * np.float64(factor)
        tail += np.float64(w[j]) * np.float64(w[j])
        j += 1
    return reduce_add(squares) + tail


@jit(inline=True, internal=True)
def truncate_l1(
    low,
    high,
    credit,  # the L1 penalty that every weight should have received by now
    scale,  # the weights are scale * w
    w,
    paid,  # (len(w),) what each has received
):
    """Pull the weights low to high towards zero by the penalty that they still owe, never across zero."""
    for j in range(low, high):
        before = np.float64(w[j])
        positive = maximum(before - (credit + paid[j]) / scale, 0.0)
        negative = minimum(before + (credit - paid[j]) / scale, 0.0)
        after = positive if before > 0.0 else (negative if before < 0.0 else before)
        w[j] = after
        paid[j] += scale * (w[j] - before)
