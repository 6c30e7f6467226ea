"""Gram matrices of data with many rows, or with many columns, by a team of threads."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.gram import (
    ALIGNMENT,
    UNIT,
    GramData,
    GramOut,
    GramPlan,
    finish_products,
    sum_products,
    sum_residual_gradients,
)
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team

BUFFER_BYTES = 1 << 17  # of packed rows: with the sums they are added to they stay in a core's second cache
MAX_DEPTH = 256
BLOCK_COLUMNS = 256
MIN_CHUNK_ROWS = 1024
MAX_CHUNKS = 64
PARTIALS_SHARE = 16  # partial sums take at most this part of X's memory, or
FREE_PARTIALS_BYTES = 1 << 22  # so much
SAMPLED_ROWS = 64  # a shift to their mean is within an eighth of a deviation of the whole's
MAX_ROWS_UNSAMPLED = 256
LONG_FLOPS = 1e10  # some 0.2 s of one thread: from there on Ctrl-C must be heard
MIN_SHARED_FINISH = 1 << 16  # partial sums; fewer are merged before a second thread has woken up


class GramSummary(NamedTuple):
    """All that least squares needs to know of its data: weighted, centred products and the sums beside them.

    Attributes
    ----------
    gram : ndarray of shape (n_features, n_features)
        X_c' W X_c, where W has the sample weights and X_c is X less its weighted means (X itself where no
        intercept is fitted).
    cross : ndarray of shape (n_features, n_targets)
        X_c' W Y_c.
    x_mean : ndarray of shape (n_features,)
        The weighted means; zeros where no intercept is fitted.
    y_mean : ndarray of shape (n_targets,)
        Likewise.
    y_sum_squares : ndarray of shape (n_targets,)
        The diagonal of Y_c' W Y_c.
    sum_weights : float
        The sum of the sample weights.
    """

    gram: np.ndarray
    cross: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    y_sum_squares: np.ndarray
    sum_weights: float


def _plan(n_rows, n_columns, n_targets, centred, by_columns, with_targets):
    """Cut the work into items, from the data's shape alone."""
    x_units = -(-n_columns // UNIT)
    n_units = -(-(n_columns + 1 + n_targets) // UNIT) if with_targets else x_units
    n_blocks = -(-n_units * UNIT // BLOCK_COLUMNS)
    block_units = -(-n_units // n_blocks)
    buffer_columns = block_units * UNIT * min(n_blocks, 2)
    depth = min(max(BUFFER_BYTES // (8 * buffer_columns), 32), MAX_DEPTH)
    stored_columns = min(n_units, x_units + 2) * UNIT
    partial_bytes = 8 * n_units * UNIT * stored_columns
    n_affordable = max(8 * n_rows * n_columns // PARTIALS_SHARE, FREE_PARTIALS_BYTES) // partial_bytes
    n_chunks = 1  # a power of two, so that teams of the usual sizes finish together
    while 2 * n_chunks <= min(n_affordable, MAX_CHUNKS, n_rows // MIN_CHUNK_ROWS):
        n_chunks *= 2
    chunk_rows = -(-n_rows // n_chunks)
    depth = -(-chunk_rows // -(-chunk_rows // depth))
    return GramPlan(
        n_rows=n_rows,
        n_columns=n_columns,
        n_targets=n_targets,
        centred=int(centred),
        by_columns=int(by_columns),
        with_targets=int(with_targets),
        x_units=x_units,
        n_units=n_units,
        block_units=block_units,
        n_blocks=n_blocks,
        chunk_rows=chunk_rows,
        n_chunks=n_chunks,
        depth=depth,
        stride=_odd_lines(buffer_columns),
        sums_stride=stored_columns,
    )


def _near_means(X, Y, sample_weight):
    """Return values near the means of the columns of [X | 1 | Y]; 0 for the ones.

    Every value squared is part of a centred sum of squares, so a shift to any row (of the greatest weight) makes
    that sum n times as large at most: the mean of a few rows, spread over the data, is as good as the exact mean.
    """
    n_rows, n_columns = X.shape
    shift = np.zeros(n_columns + 1 + Y.shape[1])
    row = n_rows // 2 if sample_weight is None else sample_weight.argmax()
    shift[:n_columns] = X[row]
    shift[n_columns + 1 :] = Y[row]
    if n_rows > MAX_ROWS_UNSAMPLED:
        sampled = slice(0, None, n_rows // SAMPLED_ROWS)
        weight = None if sample_weight is None else sample_weight[sampled]
        if weight is None or weight.any():
            shift[:n_columns] = np.average(X[sampled].astype(np.float64), axis=0, weights=weight)
            shift[n_columns + 1 :] = np.average(Y[sampled].astype(np.float64), axis=0, weights=weight)
    return shift


def _odd_lines(n_columns):
    """Return a stride for so many columns of an odd number of cache lines: rows do not fight for one set of cache."""
    return (-(-n_columns // 8) | 1) * 8


def _run(data, plan, out, n_threads):
    """Fill ``out``: a long run by a team, and what follows by one where the matrix is large."""
    buffers = np.zeros(ALIGNMENT + n_threads * plan.depth * plan.stride)
    partials = np.zeros(ALIGNMENT + plan.n_chunks * plan.n_units * UNIT * plan.sums_stride)
    may_be_long = float(plan.n_rows) * plan.n_columns**2 > LONG_FLOPS
    run_team(sum_products, n_threads, data, plan, buffers, partials, may_be_long=may_be_long)
    n_finishing = n_threads if partials.size > MIN_SHARED_FINISH else 1
    run_team(finish_products, n_finishing, plan, partials, data.shift, out)


def centred_gram(X, Y, sample_weight, fit_intercept, n_threads):
    """Compute the weighted, centred products of X and Y in one pass over X, which is not copied.

    Sums are accumulated in float64 in an order that the shape alone fixes: the result has the same bits for any
    number of threads.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        float32 or float64, C- or F-contiguous, finite; it may be read-only.
    Y : ndarray of shape (n_samples, n_targets)
        Copied only where it is not C-contiguous float64.
    sample_weight : ndarray of shape (n_samples,) or None
        Non-negative; None stands for ones.
    fit_intercept : bool
        Whether to centre.
    n_threads : int
        Size of the team.

    Returns
    -------
    GramSummary

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.gram import centred_gram
    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 3.0]])
    >>> centred_gram(X, X[:, :1], None, True, 1).gram
    array([[2., 3.],
           [3., 6.]])
    """
    n_rows, n_columns = X.shape
    n_targets = Y.shape[1]
    by_columns = not X.flags.c_contiguous
    plan = _plan(n_rows, n_columns, n_targets, fit_intercept, by_columns, True)
    n_z_columns = n_columns + 1 + n_targets
    if sample_weight is not None:
        sample_weight = np.ascontiguousarray(sample_weight, dtype=np.float64)
    data = GramData(
        as_readonly((X.T if by_columns else X).reshape(-1)),
        as_readonly(np.ascontiguousarray(Y, dtype=np.float64).reshape(-1)),
        as_readonly(_NOTHING if sample_weight is None else sample_weight),
        _near_means(X, Y, sample_weight) if fit_intercept else np.zeros(n_z_columns),
        _NOTHING,
    )
    out = GramOut(
        np.empty(n_columns * n_columns),
        np.empty(n_columns * n_targets),
        np.empty(n_z_columns),
        np.empty(n_z_columns),
        np.empty(n_targets),
        np.empty(1),
    )
    _run(data, plan, out, n_threads)
    return GramSummary(
        out.gram.reshape(n_columns, n_columns),
        out.cross.reshape(n_columns, n_targets),
        out.means[:n_columns],
        out.means[n_columns + 1 :],
        out.y_sum_squares,
        float(out.sum_weights[0]),
    )


def row_gram(X, sample_weight, x_mean, n_threads):
    """Compute the products of the rows of X - x_mean, each times the root of its weight: a matrix for few rows.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        As for :func:`centred_gram`.
    sample_weight : ndarray of shape (n_samples,) or None
        Non-negative; None stands for ones.
    x_mean : ndarray of shape (n_features,)
        Subtracted from every row; zeros for products of X itself.
    n_threads : int
        Size of the team; the result does not depend on it.

    Returns
    -------
    gram : ndarray of shape (n_samples, n_samples)

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.gram import row_gram
    >>> X = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]])
    >>> row_gram(X, None, np.zeros(3), 1)
    array([[14., 12.],
           [12., 16.]])
    """
    n_rows, n_columns = X.shape
    by_rows = X.flags.c_contiguous  # then the columns of X.T, which takes the place of X, are contiguous
    plan = _plan(n_columns, n_rows, 0, False, by_rows, False)
    data = GramData(
        as_readonly((X if by_rows else X.T).reshape(-1)),
        as_readonly(_NOTHING),
        as_readonly(_NOTHING),
        np.zeros(n_rows),
        np.ascontiguousarray(x_mean, dtype=np.float64),
    )
    gram = np.empty(n_rows * n_rows)
    _run(data, plan, GramOut(gram, _NOTHING, _NOTHING, np.zeros(n_rows), _NOTHING, np.zeros(1)), n_threads)
    gram = gram.reshape(n_rows, n_rows)
    if sample_weight is not None:
        roots = np.sqrt(sample_weight, dtype=np.float64)
        gram *= roots
        gram *= roots[:, np.newaxis]
    return gram


def residual_gradient(X, Y, sample_weight, x_mean, y_mean, coef, n_threads):
    """Compute X_c' W R and the weighted squares of R = Y_c - X_c coef in one pass over X, at the memory's speed.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        As for :func:`centred_gram`.
    Y : ndarray of shape (n_samples, n_targets)
        Copied only where it is not C-contiguous float64.
    sample_weight : ndarray of shape (n_samples,) or None
        Non-negative; None stands for ones.
    x_mean, y_mean : ndarray of shape (n_features,) and (n_targets,)
        Subtracted from X and Y to give X_c and Y_c.
    coef : ndarray of shape (n_features, n_targets)
    n_threads : int
        Size of the team; the result does not depend on it.

    Returns
    -------
    gradient : ndarray of shape (n_features, n_targets)
        The negative gradient of half the sum of squares.
    sum_squares : ndarray of shape (n_targets,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.gram import residual_gradient
    >>> X, Y = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])
    >>> residual_gradient(X, Y, None, np.zeros(1), np.zeros(1), np.ones((1, 1)), 1)
    (array([[2.]]), array([1.]))
    """
    n_rows, n_columns = X.shape
    n_targets = Y.shape[1]
    by_columns = not X.flags.c_contiguous
    plan = _plan(n_rows, n_columns, n_targets, False, by_columns, True)
    width = plan.n_units * UNIT
    plan = plan._replace(stride=_odd_lines(width), sums_stride=width + 1)
    data = GramData(
        as_readonly((X.T if by_columns else X).reshape(-1)),
        as_readonly(np.ascontiguousarray(Y, dtype=np.float64).reshape(-1)),
        _readonly_weights(sample_weight),
        np.concatenate((x_mean, [0.0], y_mean), dtype=np.float64),
        _NOTHING,
    )
    signed_coef = np.zeros((width, n_targets))
    signed_coef[:n_columns] = -coef
    np.fill_diagonal(signed_coef[n_columns + 1 :], 1.0)
    buffers = np.zeros(ALIGNMENT + n_threads * plan.depth * (plan.stride + n_targets))
    partials = np.zeros((plan.n_chunks, n_targets, width + 1))
    run_team(
        sum_residual_gradients, n_threads, data, plan, signed_coef.reshape(-1), buffers, partials.reshape(-1)
    )
    sums = partials.sum(axis=0)
    return np.ascontiguousarray(sums[:, :n_columns].T), sums[:, width].copy()


_NOTHING = np.empty(0)


def _readonly_weights(sample_weight):
    if sample_weight is None:
        return as_readonly(_NOTHING)
    return as_readonly(np.ascontiguousarray(sample_weight, dtype=np.float64))
