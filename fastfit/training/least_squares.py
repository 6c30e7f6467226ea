"""The least-squares solution by preconditioned gradient descent on the normal equations, or by conjugate
gradients.

With A the centred, weighted data (or its transpose where A has fewer rows than columns) and R its triangular
factor, the gradient preconditioned by (R'R)^-1 points straight at the minimum, and one step from zero reaches
it. Directions that belong to singular values at or below ``tol`` times the largest are left at zero, as by
scikit-learn, so the solution is the one of least norm. Where the Gram matrix would take too much memory,
conjugate gradients pass over X instead.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.reuse import fingerprint, reuse
from fastfit.training.gram import centred_gram, residual_gradient, row_gram
from fastfit.training.triangular_factor import (
    cholesky_factor,
    householder_factor,
    is_surely_full_rank,
    nonzero_columns,
    solve_systems,
)

# A Gram matrix may take this much memory, or this share of X's.
FREE_GRAM_BYTES = 1 << 28
GRAM_SHARE = 0.25

BLOCK_BYTES = 1 << 21

# Conjugate gradients stop when the gradient is this small against the one at the start: its error is that
# times cond(X)^2.
CONJUGATE_TOL = 1e-13
CONJUGATE_STEPS_PER_RESTART = 50


class LeastSquaresData(NamedTuple):
    """Data that have been validated.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        float32 or float64, C- or F-contiguous; never written to.
    Y : ndarray of shape (n_samples, n_targets)
        float64, C-contiguous.
    sample_weight : ndarray of shape (n_samples,) or None
        float64.
    fit_intercept : bool
        Whether X and Y are to be centred.
    n_threads : int
        Size of the teams.
    """

    X: np.ndarray
    Y: np.ndarray
    sample_weight: np.ndarray | None
    fit_intercept: bool
    n_threads: int


class LeastSquaresFit(NamedTuple):
    """What a descent found; all arrays are float64.

    Attributes
    ----------
    coef : ndarray of shape (n_targets, n_features)
    x_mean : ndarray of shape (n_features,)
    y_mean : ndarray of shape (n_targets,)
    losses : list of float
        Half the (weighted) mean squared error, averaged over targets, after each iteration.
    converged : bool
    learning_rate : float or None
        None where the step lengths come from the method.
    rank : int or None
        None where the method does not find it.
    triangle : ndarray or None
        A matrix whose singular values, with zeros appended, are those of X.
    """

    coef: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    losses: list
    converged: bool = True
    learning_rate: float | None = None
    rank: int | None = None
    triangle: np.ndarray | None = None


class NotFiniteError(ArithmeticError):
    """X or y has NaN or infinite values, or values whose squares overflow."""


def has_few_rows(data):
    """Tell whether X, once centred, has fewer rows that count than columns."""
    n_samples, n_features = data.X.shape
    return n_samples - data.fit_intercept < n_features


def gram_fits(data, n_columns):
    """Tell whether a Gram matrix of ``n_columns`` columns is small enough to be made."""
    return 8 * n_columns**2 <= max(FREE_GRAM_BYTES, GRAM_SHARE * data.X.nbytes)


def check_finite(*arrays):
    """Raise NotFiniteError unless all elements are finite: what is not finite in X or y shows in the sums."""
    with np.errstate(all="ignore"):
        is_finite = [np.isfinite(array.sum()) for array in arrays]
    if not all(is_finite):
        raise NotFiniteError


def summarise(data):
    """Return the :class:`GramSummary` of the data, or raise NotFiniteError."""
    return reuse(lambda: _key_of_summary(data), lambda: _summarise(data))


def _key_of_summary(data):
    # By what it is rather than by where: the next fit's arrays may lie where the last one's were.
    return (
        "gram",
        *map(fingerprint, (data.X, data.Y, data.sample_weight)),
        data.fit_intercept,
    )


def _summarise(data):
    summary = centred_gram(data.X, data.Y, data.sample_weight, data.fit_intercept, data.n_threads)
    check_finite(summary.gram.diagonal(), summary.cross)
    return summary


def fit_least_squares(data, tol, max_iter):
    """Find the least-squares solution of least norm.

    Parameters
    ----------
    data : LeastSquaresData
    tol : float
        Singular values of the centred X at or below ``tol`` times the largest count as zero.
    max_iter : int or None
        Limit of conjugate gradient steps, where these are used; None for four times the smaller side of X.

    Returns
    -------
    LeastSquaresFit

    Raises
    ------
    NotFiniteError
    """
    if not gram_fits(data, min(data.X.shape)):
        return _fit_by_conjugate_gradients(data, max_iter)
    if has_few_rows(data):
        return _fit_in_row_space(data, tol)
    return _fit_on_columns(data, tol)


def _fit_on_columns(data, tol):
    summary = summarise(data)
    kept = nonzero_columns(summary.gram)
    factor = cholesky_factor(summary.gram, kept)
    if factor is None:
        factor, projection = factor_columns(data, summary, kept)
    else:
        cross = summary.cross if kept is None else summary.cross[kept]
        projection = solve_systems(factor.triangle, cross, transposed=True)
    solution, explained, rank = _solve_by_factor(factor, projection, tol)
    coef = solution.T
    if kept is not None:
        coef = np.zeros(summary.cross.shape[::-1])
        coef[:, kept] = solution.T
    losses = np.maximum(summary.y_sum_squares - explained, 0.0)
    loss = 0.5 * float(losses.mean()) / summary.sum_weights
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, [loss], rank=rank, triangle=factor.triangle)


def factor_columns(data, summary, kept):
    """Return the factor R of the centred, weighted X, and Q'y, by elimination of the rows of X."""
    X, Y = data.X, data.Y
    x_mean = summary.x_mean if kept is None else summary.x_mean[kept]

    def read_rows(start, stop):
        rows = X[start:stop] if kept is None else X[start:stop, kept]
        block = np.hstack([rows - x_mean, Y[start:stop] - summary.y_mean])
        if data.sample_weight is not None:
            block *= np.sqrt(data.sample_weight[start:stop, None])
        return block

    m = x_mean.size
    factor = householder_factor(read_rows, X.shape[0], m + Y.shape[1], kept, data.n_threads)
    triangle = factor.triangle
    return factor._replace(triangle=np.ascontiguousarray(triangle[:m, :m])), triangle[:m, m:]


def _solve_by_factor(factor, projection, tol):
    """Minimise |R x - z| with the small singular values of R cut off.

    Returns x, the sum of squares that it explains for each target, and the rank.
    """
    triangle = factor.triangle
    if is_surely_full_rank(factor, tol):
        solution = solve_systems(triangle, projection)
        return solution, np.einsum("ij,ij->j", projection, projection), triangle.shape[0]
    left, values, right = np.linalg.svd(triangle)
    rank = _count_above(values, tol)
    projection = left[:, :rank].T @ projection
    solution = right[:rank].T @ (projection / values[:rank, None])
    return solution, np.einsum("ij,ij->j", projection, projection), rank


def _count_above(values, tol):
    return int(np.count_nonzero(values > tol * values.max(initial=0.0)))


def _fit_in_row_space(data, tol):
    """Solve with the matrix of the products of rows: the solution of least norm combines rows of X."""
    summary = row_summary(data)
    scale = 1.0 if data.sample_weight is None else np.sqrt(data.sample_weight)[:, None]
    targets = scale * (data.Y - summary.y_mean)
    reflection = _Reflection(data) if data.fit_intercept else _NoReflection
    factor = cholesky_factor(reflection.reduce_matrix(summary.gram), None)
    is_coarse = factor is None
    if is_coarse:
        factor = _factor_rows(data, summary.x_mean, scale, reflection)

    def fit_targets(targets):
        combination, explained, rank = _combine_rows(factor, reflection.reduce(targets), tol)
        coef = multiply_transposed(data, scale * reflection.restore(combination), summary.x_mean)
        return coef, explained, rank

    coef, explained, rank = fit_targets(targets)
    if is_coarse:
        # X'u has rounding errors of the size of X times u, and u is large: one correction takes them away
        # (Bjorck, "Stability analysis of the method of seminormal equations", Linear Algebra Appl. 88, 1987).
        coef += fit_targets(targets - scale * multiply_rows(data, coef, summary.x_mean))[0]
    losses = np.maximum(np.einsum("ij,ij->j", targets, targets) - explained, 0.0)
    loss = 0.5 * float(losses.mean()) / summary.sum_weights
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, [loss], rank=rank, triangle=factor.triangle)


def _combine_rows(factor, right_side, tol):
    """Solve R'R u = y with the small singular values of R cut off; X'u is then the solution of least norm."""
    triangle = factor.triangle
    if is_surely_full_rank(factor, tol):
        combination = solve_systems(triangle, solve_systems(triangle, right_side, transposed=True))
        return combination, np.einsum("ij,ij->j", right_side, right_side), triangle.shape[0]
    _, values, right = np.linalg.svd(triangle)
    rank = _count_above(values, tol)
    projection = right[:rank] @ right_side
    combination = right[:rank].T @ (projection / values[:rank, None] ** 2)
    return combination, np.einsum("ij,ij->j", projection, projection), rank


class _Reflection:
    """The Householder reflection that takes centred rows to one row of zeros and n - 1 that are free.

    Centring makes the rows, weighted by s = sqrt(weights), add up to nothing along s. Reflecting s on the
    first axis and leaving that axis out removes the one singular value that is zero for this reason alone.
    """

    def __init__(self, data):
        n_samples = data.X.shape[0]
        direction = np.ones(n_samples) if data.sample_weight is None else np.sqrt(data.sample_weight)
        direction /= np.linalg.norm(direction)
        direction[0] += 1.0
        self.direction = direction
        self.factor = 2.0 / (direction @ direction)

    def reduce(self, rows):
        """Reflect rows and drop the first."""
        return rows[1:] - self.direction[1:, None] * (self.factor * (self.direction @ rows))

    def reduce_matrix(self, gram):
        """Reflect a symmetric matrix from both sides and drop its first row and column."""
        product = self.factor * (gram @ self.direction)
        product -= (0.5 * self.factor * (product @ self.direction)) * self.direction
        update = np.outer(self.direction[1:], product[1:])
        return gram[1:, 1:] - update - update.T

    def restore(self, rows):
        """Undo :meth:`reduce` for rows in the space that it leaves."""
        rows = np.vstack([np.zeros((1, rows.shape[1])), rows])
        return rows - self.direction[:, None] * (self.factor * (self.direction @ rows))


def _factor_rows(data, x_mean, scale, reflection):
    """Return the factor of the transpose of the centred, weighted and reflected X."""
    n_samples, n_features = data.X.shape

    def read_rows(start, stop):
        block = scale * (data.X[:, start:stop] - x_mean[start:stop])
        return reflection.reduce(block).T

    return householder_factor(read_rows, n_features, n_samples - data.fit_intercept, None, data.n_threads)


class _NoReflection:
    """What stands for :class:`_Reflection` where nothing is centred."""

    @staticmethod
    def reduce(rows):
        return rows

    reduce_matrix = restore = reduce


def _row_blocks(data):
    """Cut the rows of X into slices of a size that is read at a time."""
    n_samples, n_features = data.X.shape
    n_rows = max(1, BLOCK_BYTES // (8 * n_features))
    return [slice(start, start + n_rows) for start in range(0, n_samples, n_rows)]


def multiply_rows(data, coef, x_mean):
    """Return (X - mean) times ``coef`` transposed, without a centred copy of X."""
    return np.concatenate([(data.X[rows] - x_mean) @ coef.T for rows in _row_blocks(data)])


def multiply_transposed(data, combination, x_mean):
    """Return (X - mean)' times ``combination``, transposed, without a centred copy of X."""
    coef = np.zeros((combination.shape[1], data.X.shape[1]))
    for rows in _row_blocks(data):
        coef += combination[rows].T @ (data.X[rows] - x_mean)
    return coef


def weighted_means(data):
    """Return the weighted means of X and Y, or zeros where they are not to be centred.

    Raises NotFiniteError for X or Y with NaN or infinity.
    """
    n_samples, n_features = data.X.shape
    weight = np.ones(n_samples) if data.sample_weight is None else data.sample_weight
    total = weight.sum()
    sums = np.zeros(n_features)
    with np.errstate(all="ignore"):
        for rows in _row_blocks(data):
            sums += weight[rows] @ data.X[rows]
        y_sums = weight @ data.Y
    check_finite(sums, y_sums)
    if not data.fit_intercept:
        return np.zeros(n_features), np.zeros(data.Y.shape[1])
    return sums / total, y_sums / total


class RowSummary(NamedTuple):
    """The products of the rows of the centred X, each times the root of its weight, and the means."""

    gram: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    sum_weights: float


def row_summary(data):
    """Return the :class:`RowSummary` of data with few rows, or raise NotFiniteError."""
    x_mean, y_mean = weighted_means(data)
    gram = row_gram(data.X, data.sample_weight, x_mean, data.n_threads)
    check_finite(gram.diagonal())
    total = data.X.shape[0] if data.sample_weight is None else data.sample_weight.sum()
    return RowSummary(gram, x_mean, y_mean, float(total))


class PassesOverX:
    """Gradients of the sum of squared errors by passes over X, for data whose Gram matrices are too large."""

    def __init__(self, data):
        self.data = data
        self.x_mean, self.y_mean = weighted_means(data)
        self.sum_weights = float(len(data.Y) if data.sample_weight is None else data.sample_weight.sum())

    def residual(self, coef):
        """Return X'(y - Xw) of shape (n_features, n_targets), and the squared residuals' sums."""
        data = self.data
        return residual_gradient(
            data.X, data.Y, data.sample_weight, self.x_mean, self.y_mean, coef, data.n_threads
        )

    def multiply(self, directions):
        """Return X'X times ``directions`` of shape (n_features, k)."""
        data = self.data
        k = directions.shape[1]
        zeros = np.zeros((data.X.shape[0], k))
        gradient, _ = residual_gradient(
            data.X, zeros, data.sample_weight, self.x_mean, np.zeros(k), directions, data.n_threads
        )
        return -gradient


def _fit_by_conjugate_gradients(data, max_iter):
    """Minimise by conjugate gradients on the normal equations (Hestenes and Stiefel, 1952), one pass over X a
    step.

    Started at zero they lead to the solution of least norm. An error in the recurred gradient cannot build
    up, for the gradient is computed afresh now and then.
    """
    passes = PassesOverX(data)
    max_iter = max_iter or 4 * min(data.X.shape)
    coef = np.zeros((data.X.shape[1], data.Y.shape[1]))
    gradient, squares = passes.residual(coef)
    squared_norm = (gradient**2).sum(axis=0)
    target = CONJUGATE_TOL**2 * squared_norm
    direction = gradient.copy()
    losses = []
    while len(losses) < max_iter:
        product = passes.multiply(direction)
        curvature = np.einsum("ij,ij->j", direction, product)
        length = np.divide(squared_norm, curvature, out=np.zeros_like(curvature), where=curvature > 0.0)
        coef += length * direction
        squares = squares - length * squared_norm
        losses.append(0.5 * float(np.maximum(squares, 0.0).mean()) / passes.sum_weights)
        gradient -= length * product
        if len(losses) % CONJUGATE_STEPS_PER_RESTART == 0:
            gradient, squares = passes.residual(coef)
        former, squared_norm = squared_norm, (gradient**2).sum(axis=0)
        if np.all(squared_norm <= target):
            break
        share = np.divide(squared_norm, former, out=np.zeros_like(former), where=former > 0.0)
        direction = gradient + share * direction
    converged = bool(np.all(squared_norm <= target))
    return LeastSquaresFit(coef.T, passes.x_mean, passes.y_mean, losses, converged)
