"""What stochastic gradient descent does with a row of X and the weights of a pack: a vector holds one of each setting.

A descent by itself sums along the features in vectors: each lane a sum of its own, then the halves of the vector are
added until one lane is left. Here each of these sums is a vector of settings, and the result has the same bits. Weights
come as one flat array, those of all settings for one feature beside each other, ``base`` being the first of the pack.
"""

import numpy as np

from fastfit.kernels.loss import (
    LOSS_EPSILON_INSENSITIVE,
    LOSS_HINGE,
    LOSS_HUBER,
    LOSS_MODIFIED_HUBER,
    LOSS_SQUARED_ERROR,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import broadcast, element, fma, lanes, load, maximum, minimum, select, store


@jit(inline=True, internal=True)
def zeros():
    """A zero for each lane of a vector of features; at most eight of them."""
    zero = broadcast(0.0, np.float64)
    return zero, zero, zero, zero, zero, zero, zero, zero


@jit(inline=True, internal=True)
def reduce_lanes(v):
    """Add the upper half to the lower until one is left, as ``reduce_add``; lanes that there are not are zero."""
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))


@jit(inline=True, internal=True)
def _dot_lane(X, at, w, base, lane, total):
    if lane >= lanes(np.float64):
        return total
    x = broadcast(element(X, at + lane), np.float64)
    return fma(x, load(w, base + lane * lanes(np.float64)), total)


@jit(inline=True, internal=True)
def _dot_lanes(X, at, w, base, v):
    """Add the products of as many features as a vector has lanes, each to a sum of its own."""
    return (
        _dot_lane(X, at, w, base, 0, v[0]),
        _dot_lane(X, at, w, base, 1, v[1]),
        _dot_lane(X, at, w, base, 2, v[2]),
        _dot_lane(X, at, w, base, 3, v[3]),
        _dot_lane(X, at, w, base, 4, v[4]),
        _dot_lane(X, at, w, base, 5, v[5]),
        _dot_lane(X, at, w, base, 6, v[6]),
        _dot_lane(X, at, w, base, 7, v[7]),
    )


@jit(inline=True, internal=True)
def dot_pack(X, start, n, w, base):
    """X[start : start + n] . w of each setting, summed as ``kernels.row.dot_row`` does."""
    width = lanes(np.float64)
    even, odd = zeros(), zeros()
    j = 0
    while j + 2 * width <= n:
        even = _dot_lanes(X, start + j, w, base + j * width, even)
        odd = _dot_lanes(X, start + j + width, w, base + (j + width) * width, odd)
        j += 2 * width
    if j + width <= n:
        even = _dot_lanes(X, start + j, w, base + j * width, even)
        j += width
    tail = broadcast(0.0, np.float64)
    while j < n:
        tail = tail + broadcast(element(X, start + j), np.float64) * load(w, base + j * width)
        j += 1
    both = (
        even[0] + odd[0],
        even[1] + odd[1],
        even[2] + odd[2],
        even[3] + odd[3],
        even[4] + odd[4],
        even[5] + odd[5],
        even[6] + odd[6],
        even[7] + odd[7],
    )
    return reduce_lanes(both) + tail


@jit(inline=True, internal=True)
def dot_pack_in_order(X, start, n, w, base):
    """X[start : start + n] . w of each setting, from left to right."""
    width = lanes(np.float64)
    total = broadcast(0.0, np.float64)
    for j in range(n):
        total = total + broadcast(element(X, start + j), np.float64) * load(w, base + j * width)
    return total


@jit(inline=True, internal=True)
def _add_lane(X, at, factor, w, base, lane, total):
    if lane >= lanes(np.float64):
        return total
    place = base + lane * lanes(np.float64)
    updated = load(w, place) + broadcast(element(X, at + lane), np.float64) * factor
    store(w, place, updated)
    return total + updated * updated


@jit(inline=True, internal=True)
def add_pack(X, start, n, factor, w, base):
    """w += factor * X[start : start + n] for each setting; returns the new squared norms of w.

    They are summed as ``kernels.row_in_order.add_row_in_order`` does.
    """
    width = lanes(np.float64)
    v = zeros()
    j = 0
    while j + width <= n:
        at, place = start + j, base + j * width
        v = (
            _add_lane(X, at, factor, w, place, 0, v[0]),
            _add_lane(X, at, factor, w, place, 1, v[1]),
            _add_lane(X, at, factor, w, place, 2, v[2]),
            _add_lane(X, at, factor, w, place, 3, v[3]),
            _add_lane(X, at, factor, w, place, 4, v[4]),
            _add_lane(X, at, factor, w, place, 5, v[5]),
            _add_lane(X, at, factor, w, place, 6, v[6]),
            _add_lane(X, at, factor, w, place, 7, v[7]),
        )
        j += width
    tail = broadcast(0.0, np.float64)
    while j < n:
        updated = load(w, base + j * width) + broadcast(element(X, start + j), np.float64) * factor
        tail = tail + updated * updated
        store(w, base + j * width, updated)
        j += 1
    return reduce_lanes(v) + tail


@jit(inline=True, internal=True)
def truncate_pack(n, credit, scale, w, paid, base):
    """Pull the weights of each setting towards zero by the L1 penalty that they owe.

    See ``kernels.row_in_order.truncate_l1``.
    """
    width = lanes(np.float64)
    zero = broadcast(0.0, np.float64)
    for j in range(n):
        place = base + j * width
        before, was_paid = load(w, place), load(paid, place)
        positive = maximum(before - (credit + was_paid) / scale, zero)
        negative = minimum(before + (credit - was_paid) / scale, zero)
        after = select(before > 0.0, positive, select(before < 0.0, negative, before))
        store(w, place, after)
        store(paid, place, was_paid + scale * (after - before))


@jit(inline=True, internal=True)
def _magnitude(w, base, lane, total):
    if lane >= lanes(np.float64):
        return total
    return total + abs(load(w, base + lane * lanes(np.float64)))


@jit(inline=True, internal=True)
def sum_pack_magnitudes(n, w, base):
    """L1 norm of the weights of each setting, summed as ``kernels.row.sum_magnitudes`` does."""
    width = lanes(np.float64)
    v = zeros()
    j = 0
    while j + width <= n:
        place = base + j * width
        v = (
            _magnitude(w, place, 0, v[0]),
            _magnitude(w, place, 1, v[1]),
            _magnitude(w, place, 2, v[2]),
            _magnitude(w, place, 3, v[3]),
            _magnitude(w, place, 4, v[4]),
            _magnitude(w, place, 5, v[5]),
            _magnitude(w, place, 6, v[6]),
            _magnitude(w, place, 7, v[7]),
        )
        j += width
    tail = broadcast(0.0, np.float64)
    while j < n:
        tail = tail + abs(load(w, base + j * width))
        j += 1
    return reduce_lanes(v) + tail


@jit(inline=True, internal=True)
def pack_losses(code, parameter, y, prediction):
    """Loss of each setting's prediction for one sample; ``parameter`` has one number for each."""
    zero = broadcast(0.0, np.float64)
    if code >= LOSS_HINGE:
        margin = prediction * y
        threshold = broadcast(1.0, np.float64) if code == LOSS_MODIFIED_HUBER else parameter
        shortfall = maximum(threshold - margin, zero)
        if code == LOSS_HINGE:
            return shortfall
        squared = shortfall * shortfall
        if code == LOSS_MODIFIED_HUBER:
            return select(margin < -1.0, margin * -4.0, squared)
        return squared
    error = abs(broadcast(y, np.float64) - prediction)
    squared = error * 0.5 * error
    if code == LOSS_SQUARED_ERROR:
        return squared
    if code == LOSS_HUBER:
        return select(error <= parameter, squared, parameter * (error - parameter * 0.5))
    excess = maximum(error - parameter, zero)
    return excess if code == LOSS_EPSILON_INSENSITIVE else excess * excess


@jit(inline=True, internal=True)
def pack_gradients(code, parameter, y, prediction):
    """Derivative of the loss of each setting's prediction for one sample."""
    zero = broadcast(0.0, np.float64)
    if code >= LOSS_HINGE:
        margin = prediction * y
        if code == LOSS_HINGE:
            return select(margin <= parameter, broadcast(-y, np.float64), zero)
        threshold = broadcast(1.0, np.float64) if code == LOSS_MODIFIED_HUBER else parameter
        slope = maximum(threshold - margin, zero) * (-2.0 * y)
        if code == LOSS_MODIFIED_HUBER:
            return select(margin < -1.0, broadcast(-4.0 * y, np.float64), slope)
        return slope
    error = prediction - broadcast(y, np.float64)
    if code == LOSS_SQUARED_ERROR:
        return error
    if code == LOSS_HUBER:
        return minimum(maximum(error, -parameter), parameter)
    excess = maximum(abs(error) - parameter, zero)
    sign = select(error > 0.0, broadcast(1.0, np.float64), broadcast(-1.0, np.float64))
    if code == LOSS_EPSILON_INSENSITIVE:
        return select(excess > 0.0, sign, zero)
    return sign * 2.0 * excess
