"""Full-batch gradient descent with the caller's learning rate: the same iterates as on X, at the cost of a
Gram matrix."""

import time

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from fastfit.kernels.descent import DescentState, Quadratic, descend, multiply
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.reuse import fingerprint, reuse
from fastfit.training.least_squares import (
    LeastSquaresFit,
    PassesOverX,
    gram_fits,
    has_few_rows,
    multiply_rows,
    multiply_transposed,
    row_summary,
    summarise,
)

# Between two looks for a Ctrl-C.
SECONDS_PER_CALL = 0.1
FIRST_STEPS = 100
# Up to this size all eigenvalues take less time than the Lanczos iteration needs for one.
DIRECT_EIGENVALUES = 512


class UnstableRateError(ValueError):
    """The learning rate makes the descent diverge; ``largest_stable`` is the bound it has to stay below."""

    def __init__(self, largest_stable):
        super().__init__(f"the learning rate must be below {largest_stable!r}")
        self.largest_stable = largest_stable


def largest_stable_rate(curvature, momentum, nesterov):
    """Return the learning rate from which on descent on a quadratic diverges.

    A mode with eigenvalue h follows w_{k+1} = a w_k - b w_{k-1}, which is stable if |b| < 1 and |a| < 1 + b.
    For the heavy ball a = 1 + m - rate h and b = m; for Nesterov's variant a = (1 + m)(1 - rate h) and b = m
    (1 - rate h).
    """
    if curvature <= 0.0:
        return np.inf
    bound = 2.0 * (1.0 + momentum) / curvature
    return bound / (1.0 + 2.0 * momentum) if nesterov else bound


def largest_eigenvalue(matrix):
    """Return the largest eigenvalue of a symmetric positive semi-definite matrix, or of a linear operator."""
    if isinstance(matrix, np.ndarray) and matrix.shape[0] <= DIRECT_EIGENVALUES:
        return max(float(np.linalg.eigvalsh(matrix)[-1]), 0.0)
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    return max(float(eigsh(matrix, k=1, which="LA", v0=start, return_eigenvectors=False)[0]), 0.0)


def fit_with_rate(data, options, max_iter, start=None, kept=None):
    """Descend from zero, or from ``start``, with a fixed rate.

    Parameters
    ----------
    data : LeastSquaresData
    options : DescentOptions
        ``in_row_space`` is set here.
    max_iter : int
    start : ndarray of shape (n_targets, n_features) or None
    kept : dict or None
        Its keys are numbers of steps; its values become the fits after so many, where there are as many and a Gram
        matrix of the columns is used.

    Returns
    -------
    LeastSquaresFit

    Raises
    ------
    NotFiniteError
    UnstableRateError
    """
    in_row_space = has_few_rows(data) and not options.positive
    if not gram_fits(data, data.X.shape[0 if in_row_space else 1]):
        return _descend_by_passes(data, options, max_iter, start)
    options = options._replace(in_row_space=in_row_space)
    if in_row_space:
        return _descend_in_row_space(data, options, max_iter, start)
    summary, quadratic = _quadratic(data)
    coef = np.zeros_like(quadratic.slope) if start is None else np.array(start, dtype=np.float64)
    return _fit_quadratic(summary, quadratic, options, coef, max_iter, {} if kept is None else kept)


def fit_with_rates(data, options, counts):
    """Descend from zero with several rates, on one Gram matrix.

    Parameters
    ----------
    data : LeastSquaresData
    options : DescentOptions
        For all; the rate in it does not matter.
    counts : dict of float to set of int
        Numbers of steps for each rate.

    Returns
    -------
    fits : dict of (float, int) to LeastSquaresFit, or None
        For each rate and number of steps, without rates that make the descent diverge. None where no Gram matrix of
        the columns is used.

    Raises
    ------
    NotFiniteError
    """
    if (has_few_rows(data) and not options.positive) or not gram_fits(data, data.X.shape[1]):
        return None
    summary, quadratic = _quadratic(data)
    fits = {}
    for rate, some in counts.items():
        kept = dict.fromkeys(some)
        options = options._replace(learning_rate=rate, in_row_space=False)
        try:
            longest = _fit_quadratic(
                summary, quadratic, options, np.zeros_like(quadratic.slope), max(some), kept
            )
        except UnstableRateError:
            continue
        for count, fit in kept.items():
            fits[rate, count] = longest if fit is None else fit
    return fits


def _quadratic(data):
    """Return the sums over the data, and what the descent works on."""
    summary = summarise(data)
    total = summary.sum_weights
    slope = np.ascontiguousarray(summary.cross.T) / total
    return summary, Quadratic(
        summary.gram / total, slope, summary.y_sum_squares / total, (slope**2).sum(axis=1)
    )


def _fit_quadratic(summary, quadratic, options, coef, max_iter, kept):
    """Descend from ``coef``, which is changed; ``kept`` as in `fit_with_rate`."""
    iterates = dict.fromkeys(kept)
    losses, converged = _descend(quadratic, options, coef, max_iter, iterates)
    for count, iterate in iterates.items():
        if iterate is not None:
            kept[count] = LeastSquaresFit(
                iterate, summary.x_mean, summary.y_mean, losses[:count], False, options.learning_rate
            )
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, losses, converged, options.learning_rate)


def _descend_in_row_space(data, options, max_iter, start):
    summary = row_summary(data)
    total = summary.sum_weights
    scale = 1.0 if data.sample_weight is None else np.sqrt(data.sample_weight)[:, None]
    targets = scale * (data.Y - summary.y_mean)
    squared_scale = np.einsum("ij,ij->j", targets, summary.gram @ targets) / total**3
    if start is not None:
        targets -= scale * multiply_rows(data, start, summary.x_mean)
    slope = np.ascontiguousarray(targets.T) / total
    quadratic = Quadratic(summary.gram / total, slope, np.zeros(slope.shape[0]), squared_scale)
    combination = np.zeros_like(slope)
    losses, converged = _descend(quadratic, options, combination, max_iter)
    coef = multiply_transposed(data, scale * combination.T, summary.x_mean)
    if start is not None:
        coef += start
    losses = [total * loss for loss in losses]
    return LeastSquaresFit(coef, summary.x_mean, summary.y_mean, losses, converged, options.learning_rate)


def _descend(quadratic, options, coef, max_iter, iterates=()):
    """Run the kernel for up to ``max_iter`` steps, in calls short enough to notice a Ctrl-C.

    Changes ``coef``; returns the losses, and whether the descent converged. ``iterates``, by number of steps, are
    filled in if there are as many steps.
    """
    curvature = quadratic.curvature
    largest = reuse(
        lambda: ("largest eigenvalue", fingerprint(curvature)), lambda: largest_eigenvalue(curvature)
    )
    bound = largest_stable_rate(largest, options.momentum, options.nesterov)
    if options.learning_rate >= bound:
        raise UnstableRateError(bound)
    quadratic = Quadratic(*map(as_readonly, quadratic))
    product = np.empty_like(coef)
    multiply(quadratic.curvature, coef, product)
    state = DescentState(
        coef=coef,
        step=np.zeros_like(coef),
        product=product,
        former_product=product.copy(),
        gradient=np.empty_like(coef),
        scratch=np.empty_like(coef),
        squared_norms=np.empty(coef.shape[0]),
    )
    losses = []
    n_steps = FIRST_STEPS
    stops = sorted(count for count in iterates if count < max_iter)
    while True:
        if stops and stops[0] == len(losses):
            iterates[stops.pop(0)] = coef.copy()
        block = np.empty(min(n_steps, (stops[0] if stops else max_iter) - len(losses)))
        begin = time.perf_counter()
        n_done, converged = descend(quadratic, options, state, block)
        elapsed = time.perf_counter() - begin
        losses.extend(block[:n_done].tolist())
        if converged or len(losses) >= max_iter:
            return losses, bool(converged)
        n_steps = max(1, int(n_steps * min(10.0, SECONDS_PER_CALL / max(elapsed, 1e-9))))


def _descend_by_passes(data, options, max_iter, start):
    """Take the same steps with a pass over X each, where no Gram matrix can be held."""
    passes = PassesOverX(data)
    total = passes.sum_weights
    n_features = data.X.shape[1]
    operator = LinearOperator(
        (n_features, n_features), dtype=np.float64, matvec=lambda v: passes.multiply(v.reshape(-1, 1)) / total
    )
    bound = largest_stable_rate(largest_eigenvalue(operator), options.momentum, options.nesterov)
    if options.learning_rate >= bound:
        raise UnstableRateError(bound)
    coef = np.zeros((n_features, data.Y.shape[1])) if start is None else np.array(start.T, dtype=np.float64)
    step = np.zeros_like(coef)
    scale = np.linalg.norm(passes.residual(np.zeros_like(coef))[0], axis=0) / total
    gradient, former = -passes.residual(coef)[0] / total, None
    losses = []
    converged = False
    while not converged and len(losses) < max_iter:
        ahead = gradient
        if options.nesterov and former is not None:
            ahead = gradient + options.momentum * (gradient - former)
        step = options.momentum * step - options.learning_rate * ahead
        if options.positive:
            step = np.maximum(coef + step, 0.0) - coef
        coef += step
        former = gradient
        residual, squares = passes.residual(coef)
        gradient = -residual / total
        losses.append(0.5 * float(squares.mean()) / total)
        at_bound = (coef == 0.0) & (gradient > 0.0) if options.positive else np.zeros(coef.shape, dtype=bool)
        converged = bool(
            np.all(np.linalg.norm(np.where(at_bound, 0.0, gradient), axis=0) <= options.tol * scale)
        )
    return LeastSquaresFit(coef.T, passes.x_mean, passes.y_mean, losses, converged, options.learning_rate)
