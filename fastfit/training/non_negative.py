"""Least squares with coefficients that may not be negative."""

import numpy as np
from scipy.optimize import nnls

from fastfit.kernels.non_negative import MIN_PIVOT_RATIO, ActiveSetBuffers, solve_non_negative
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import map_threads, run_team
from fastfit.training.least_squares import LeastSquaresFit, factor_columns, has_few_rows, summarise
from fastfit.training.triangular_factor import cholesky_factor, nonzero_columns

# Changes of the active set, for each coefficient, as in scipy.optimize.nnls.
CHANGES_PER_COEF = 3
# More coefficients than this may take a second.
LONG_N_FEATURES = 500


def fit_non_negative(data, max_iter):
    """Find the least-squares solution with non-negative coefficients, by the active-set method.

    Parameters
    ----------
    data : LeastSquaresData
    max_iter : int or None
        Limit of the changes of the active set; None for three times the number of coefficients.

    Returns
    -------
    LeastSquaresFit

    Raises
    ------
    NotFiniteError
    """
    summary = summarise(data)
    n_features, n_targets = summary.cross.shape
    kept = nonzero_columns(summary.gram)
    if not has_few_rows(data) and cholesky_factor(summary.gram, kept) is None:
        return _fit_on_factor(data, summary)
    gram = as_readonly(summary.gram)
    max_iter = max_iter or max(CHANGES_PER_COEF * n_features, 1)
    rounding = 10 * n_features * np.finfo(np.float64).eps * np.sqrt(np.maximum(gram.diagonal(), 0.0))

    def solve(target):
        coef = np.zeros(n_features)
        losses = np.empty(max_iter)
        status = np.zeros(2)
        thresholds = rounding * np.sqrt(summary.y_sum_squares[target])
        cross = as_readonly(np.ascontiguousarray(summary.cross[:, target]))
        buffers = _make_buffers(n_features)
        arrays = (gram, cross, thresholds, buffers, coef, losses, status)
        run_team(solve_non_negative, 1, *arrays, may_be_long=n_features > LONG_N_FEATURES)
        n_iter = abs(int(status[0]))
        return coef, losses[:n_iter], status[0] >= 0, status[1]

    solutions = map_threads(solve, range(n_targets), data.n_threads)
    coef = np.array([solution[0] for solution in solutions])
    if min(solution[3] for solution in solutions) < MIN_PIVOT_RATIO:
        # Columns of wide data that the Gram matrix cannot tell apart.
        return _fit_on_factor(data, summary)
    n_iter = max(1, max(len(solution[1]) for solution in solutions))
    curves = [_extend(solution[1], n_iter) for solution in solutions]
    losses = (0.5 * summary.y_sum_squares[:, None] + np.array(curves)) / summary.sum_weights
    losses = np.maximum(losses, 0.0).mean(axis=0).tolist()
    converged = all(solution[2] for solution in solutions)
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, losses, converged)


def _make_buffers(m):
    return ActiveSetBuffers(
        factor=np.empty((m, m)),
        free=np.empty(m, dtype=np.int64),
        solution=np.empty(m),
        gradient=np.empty(m),
        is_barred=np.empty(m, dtype=np.bool_),
    )


def _extend(losses, n_iter):
    """Repeat the last loss of a target that was done before the others."""
    last = losses[-1] if len(losses) else 0.0
    return np.append(losses, np.full(n_iter - len(losses), last))


def _fit_on_factor(data, summary):
    """Solve with the triangular factor of X, whose condition number is not squared."""
    factor, projection = factor_columns(data, summary, None)
    n_rows = min(data.X.shape)
    triangle = np.ascontiguousarray(factor.triangle[:n_rows])
    solutions = [nnls(triangle, target) for target in projection[:n_rows].T]
    coef = np.array([solution[0] for solution in solutions])
    squares = (
        summary.y_sum_squares
        - (projection[:n_rows] ** 2).sum(axis=0)
        + np.array([s[1] ** 2 for s in solutions])
    )
    loss = 0.5 * float(np.maximum(squares, 0.0).mean()) / summary.sum_weights
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, [loss])
