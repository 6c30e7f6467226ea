"""The triangular factor of a tall matrix A, A'A = R'R, from its Gram matrix or, where that is too coarse,
from A itself.

The Cholesky factor of A'A costs one threaded pass and squares the condition number; rounding is then as if
the columns of A had been scaled to unit length (van der Sluis, "Condition numbers and equilibration of
matrices", Numer. Math. 14, 1969). So the condition of the scaled factor decides whether its digits suffice,
and Householder elimination of the rows of A takes over where they do not. Whether A has full rank is a
question about A as it stands, unscaled.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastfit.kernels.householder import eliminate_rows
from fastfit.kernels.triangular import factor_cholesky, solve_triangle
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import map_threads, run_team

# With scaled columns of condition 1e4 or better, the normal equations give 8 digits or more.
MIN_SCALED_RCOND = 1e-4
# The condition estimate is nearly always within a factor of 3: past this margin the singular values decide.
RANK_MARGIN = 10.0
# Columns this much shorter than the longest are what rounding leaves of a constant.
NEGLIGIBLE_COLUMN = 16 * np.finfo(np.float64).eps

# Up to this size one thread solves in 10 ms what LAPACK may or may not be faster at.
MAX_SMALL_SYSTEM = 512

ROWS_READ_AT_ONCE = 2048
MAX_GROUPS = 8


class TriangularFactor(NamedTuple):
    """R and what goes with it, for the columns that are not constant.

    Attributes
    ----------
    triangle : ndarray of shape (m, m)
        R, upper triangular; entries below the diagonal are zero.
    kept : ndarray of shape (m,) or None
        Positions of the columns that R stands for; None if it stands for all.
    rcond : float
        Estimate of the reciprocal condition number of R in the 1-norm; 0 where it is not known.
    """

    triangle: np.ndarray
    kept: np.ndarray | None
    rcond: float


def nonzero_columns(gram):
    """Return the positions of the columns that are longer than rounding errors, or None if all are."""
    lengths = np.sqrt(np.maximum(gram.diagonal(), 0.0))
    is_kept = lengths > NEGLIGIBLE_COLUMN * lengths.max(initial=0.0)
    return None if is_kept.all() else np.flatnonzero(is_kept)


def cholesky_factor(gram, kept):
    """Factor a Gram matrix.

    Parameters
    ----------
    gram : ndarray of shape (n_columns, n_columns)
        A'A.
    kept : ndarray of shape (m,) or None
        From :func:`nonzero_columns`.

    Returns
    -------
    factor : TriangularFactor or None
        None where A'A does not tell enough about A.
    """
    if kept is not None:
        gram = gram[np.ix_(kept, kept)]
    if gram.shape[0] == 0:
        return TriangularFactor(gram, kept, 1.0)
    triangle = _factor_or_none(gram)
    if triangle is None or _rcond(triangle / np.sqrt(gram.diagonal())) < MIN_SCALED_RCOND:
        return None
    return TriangularFactor(triangle, kept, _rcond(triangle))


def _factor_or_none(gram):
    if gram.shape[0] <= MAX_SMALL_SYSTEM:
        triangle = gram.copy()
        return triangle if factor_cholesky(triangle) else None
    # What LAPACK takes for the lower triangle, column by column, is the upper one row by row.
    lower, info = lapack.dpotrf(gram.T, lower=1, clean=1)
    return lower.T if info == 0 else None


def _rcond(triangle):
    """Estimate the reciprocal condition number of R' in the 1-norm (Higham, ACM TOMS 14(4), 1988)."""
    return lapack.dtrcon(triangle.T, uplo="L")[0]


def solve_systems(triangle, right_sides, transposed=False):
    """Solve R x = b, or R'x = b, for the columns b of ``right_sides``."""
    if triangle.shape[0] > MAX_SMALL_SYSTEM:
        return lapack.dtrtrs(triangle.T, right_sides, lower=1, trans=int(not transposed))[0]
    systems = np.array(right_sides.T, order="C")
    solve_triangle(as_readonly(triangle), transposed, systems)
    return systems.T


def householder_factor(read_rows, n_rows, n_columns, kept, n_threads):
    """Factor a tall matrix by eliminating its rows, a few at a time.

    Parameters
    ----------
    read_rows : callable
        ``read_rows(start, stop)`` returns those rows as an array of shape (stop - start, n_columns + n_more),
        where the columns behind A are right-hand sides.
    n_rows, n_columns : int
        Shape of A with its right-hand sides, the columns not kept left out.
    kept : ndarray or None
        Passed on.
    n_threads : int
        How many groups of rows may be in work at once. The groups themselves are set by the shape.

    Returns
    -------
    factor : TriangularFactor
        With the right-hand sides as its last columns.
    """
    n_groups = int(np.clip(n_rows // (8 * n_columns), 1, MAX_GROUPS))
    bounds = [n_rows * group // n_groups for group in range(n_groups + 1)]

    def reduce_group(group):
        triangle = np.zeros((n_columns, n_columns))
        for start in range(bounds[group], bounds[group + 1], ROWS_READ_AT_ONCE):
            stop = min(start + ROWS_READ_AT_ONCE, bounds[group + 1])
            rows_t = np.ascontiguousarray(read_rows(start, stop).T, dtype=np.float64)
            run_team(eliminate_rows, 1, triangle, rows_t)
        return triangle

    triangles = map_threads(reduce_group, range(n_groups), n_threads)
    for other in triangles[1:]:
        run_team(eliminate_rows, 1, triangles[0], np.ascontiguousarray(np.triu(other).T))
    return TriangularFactor(np.triu(triangles[0]), kept, 0.0)


def is_surely_full_rank(factor, tol):
    """Tell, by the condition estimate, whether no singular value is at or below ``tol`` times the largest."""
    return factor.rcond > RANK_MARGIN * tol


def singular_values(triangle, n_values):
    """Return the singular values of R in descending order, with zeros up to ``n_values`` of them."""
    values = np.zeros(n_values)
    if triangle.shape[0]:
        values[: triangle.shape[0]] = np.linalg.svd(triangle, compute_uv=False)
    return values
