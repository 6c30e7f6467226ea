"""Non-negative least squares on the normal equations, with an active set and an updated Cholesky factor.

Minimises w'Gw / 2 - c'w over w >= 0: the algorithm of Lawson and Hanson ("Solving Least Squares Problems", 1974,
chapter 23), which visits the same sets on the Gram matrix as on the data (Bro and De Jong, "A fast
non-negativity-constrained least squares algorithm", J. Chemometrics 11, 1997). Entering and leaving a set
costs p^2 flops for p free coefficients, for the factor of the free block of G is carried along.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.team import stop_requested

# A pivot this small against its diagonal means that half of the digits, or more, are lost.
MIN_PIVOT_RATIO = 1e-8


class ActiveSetBuffers(NamedTuple):
    """Scratch for m coefficients."""

    factor: np.ndarray  # (m, m) float64: lower triangle L, L L' = G[free, free]
    free: np.ndarray  # (m,) int64: the first p are the free coefficients, in the order of the factor
    solution: np.ndarray  # (m,) float64: of the free coefficients without the constraint
    gradient: np.ndarray  # (m,) float64: c - Gw
    is_barred: np.ndarray  # (m,) bool: may not enter now


@jit(internal=True, fastmath=REASSOCIATE)
def _dot(a, b, n):
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@jit(internal=True)
def _append_row(
    gram,  # (m, m) float64
    free,  # (m,) int64: the first p are the free coefficients, in the order of the factor
    p,
    factor,  # (m, m) float64: lower triangle L, L L' = G[free, free]
    candidate,
):
    """Extend the factor by one coefficient, unless the pivot is not positive; return its share of the diagonal."""
    row = factor[p]
    for i in range(p):
        row[i] = (gram[candidate, free[i]] - _dot(factor[i], row, i)) / factor[i, i]
    squared_pivot = gram[candidate, candidate] - _dot(row, row, p)
    ratio = squared_pivot / gram[candidate, candidate]
    if ratio > 0.0:
        row[p] = np.sqrt(squared_pivot)
        free[p] = candidate
    return ratio


@jit(internal=True)
def _remove_row(
    free,  # (m,) int64
    p,
    factor,  # (m, m) float64
    position,
):
    """Take one coefficient out of the factor: its row goes, and Givens rotations restore the triangle."""
    for i in range(position, p - 1):
        free[i] = free[i + 1]
        for j in range(i + 2):
            factor[i, j] = factor[i + 1, j]
    for j in range(position, p - 1):
        a = factor[j, j]
        b = factor[j, j + 1]
        length = np.hypot(a, b)
        cosine = a / length
        sine = b / length
        factor[j, j] = length
        for i in range(j + 1, p - 1):
            left = factor[i, j]
            right = factor[i, j + 1]
            factor[i, j] = cosine * left + sine * right
            factor[i, j + 1] = cosine * right - sine * left


@jit(internal=True)
def _solve_free(
    free,  # (m,) int64
    p,
    factor,  # (m, m) float64
    cross,  # (m,) float64
    solution_out,  # (m,) float64: in the order of the factor
):
    """Solve G[free, free] s = c[free]."""
    for i in range(p):
        solution_out[i] = (cross[free[i]] - _dot(factor[i], solution_out, i)) / factor[i, i]
    for i in range(p - 1, -1, -1):
        solution_out[i] /= factor[i, i]
        for j in range(i):
            solution_out[j] -= factor[i, j] * solution_out[i]


@jit(internal=True)
def _shorten_step(
    free,  # (m,) int64
    p,
    coef,  # (m,) float64, updated
    solution,  # (m,) float64
):
    """Move to the solution, or towards it until one coefficient is zero: then True is returned."""
    length = 2.0
    blocking = -1
    for i in range(p):
        if solution[i] <= 0.0:
            ratio = coef[free[i]] / (coef[free[i]] - solution[i])
            if ratio < length:
                length = ratio
                blocking = i
    for i in range(p):
        if blocking < 0:
            coef[free[i]] = solution[i]
        else:
            coef[free[i]] += length * (solution[i] - coef[free[i]])
    if blocking >= 0:
        coef[free[blocking]] = 0.0
    return blocking >= 0


@jit(internal=True)
def _choose_entering(
    gradient,  # (m,) float64: c - Gw
    is_barred,  # (m,) bool
    thresholds,  # (m,) float64
):
    """Return the coefficient whose increase lowers the loss fastest, or -1 at the minimum."""
    best = -1
    for j in range(gradient.size):
        if not is_barred[j] and gradient[j] > thresholds[j] and (best < 0 or gradient[j] > gradient[best]):
            best = j
    return best


@jit(internal=True, fastmath=REASSOCIATE)
def _update_gradient(
    gram,  # (m, m) float64
    cross,  # (m,) float64
    free,  # (m,) int64
    p,
    coef,  # (m,) float64
    buffers,
):
    """Write c - Gw, and bar the coefficients that are free already from entering."""
    gradient = buffers.gradient
    for j in range(cross.size):
        gradient[j] = cross[j]
        buffers.is_barred[j] = False
    for i in range(p):
        row = gram[free[i]]
        w = coef[free[i]]
        buffers.is_barred[free[i]] = True
        for j in range(row.size):
            gradient[j] -= w * row[j]


@jit(internal=True)
def _enter(
    gram,  # (m, m) float64
    cross,  # (m,) float64
    thresholds,  # (m,) float64
    p,
    buffers,
    status_out,  # (2,) float64: the smallest pivot ratio is kept
):
    """Add the most promising coefficient to the free ones; return False at the minimum."""
    while True:
        candidate = _choose_entering(buffers.gradient, buffers.is_barred, thresholds)
        if candidate < 0:
            return False
        ratio = _append_row(gram, buffers.free, p, buffers.factor, candidate)
        status_out[1] = min(status_out[1], ratio)
        buffers.is_barred[candidate] = True
        if ratio > 0.0:
            _solve_free(buffers.free, p + 1, buffers.factor, cross, buffers.solution)
            # Rounding may deny what the sign of the gradient has promised: without this test the sets could
            # cycle.
            if buffers.solution[p] > 0.0:
                return True


@jit(internal=True)
def _leave(
    p,
    coef,  # (m,) float64
    buffers,
):
    """Take the coefficients that are zero out of the free ones; return how many are left."""
    i = 0
    while i < p:
        if coef[buffers.free[i]] <= 0.0:
            coef[buffers.free[i]] = 0.0
            _remove_row(buffers.free, p, buffers.factor, i)
            p -= 1
        else:
            i += 1
    return p


@jit
def solve_non_negative(
    control,
    thread_idx,
    n_threads,
    gram,  # (m, m) float64, C
    cross,  # (m,) float64
    thresholds,  # (m,) float64: rounding errors of the gradient
    buffers,
    coef_out,  # (m,) float64, zero on entry
    losses_out,  # (max_iter,) float64: w'Gw / 2 - c'w after each change of the active set
    status_out,  # (2,) float64: number of iterations (negative if it was the limit), smallest pivot ratio
):
    """Find the minimum over w >= 0, changing the active set until the Karush-Kuhn-Tucker conditions hold."""
    m = cross.size
    p = 0
    status_out[0] = 0.0
    status_out[1] = 1.0
    _update_gradient(gram, cross, buffers.free, p, coef_out, buffers)
    for n_iter in range(losses_out.size):
        if stop_requested(control) or not _enter(gram, cross, thresholds, p, buffers, status_out):
            return
        p += 1
        while p > 0 and _shorten_step(buffers.free, p, coef_out, buffers.solution):
            p = _leave(p, coef_out, buffers)
            _solve_free(buffers.free, p, buffers.factor, cross, buffers.solution)
        _update_gradient(gram, cross, buffers.free, p, coef_out, buffers)
        losses_out[n_iter] = -0.5 * (_dot(coef_out, cross, m) + _dot(coef_out, buffers.gradient, m))
        status_out[0] = n_iter + 1
    status_out[0] = -status_out[0]
