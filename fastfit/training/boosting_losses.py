"""Gradients and hessians for the next trees, and the loss so far, in scikit-learn's definitions."""

import numpy as np

from fastfit.kernels.boosting_losses import CLASS_BLOCK, LOSS_BLOCK, SLOPE_BLOCK, losses_kernel, slopes_kernel
from fastfit.runtime.threads import run_team, threads_for

# Losses by name; the line search of the last two sets the values of leaves.
LOSSES = (
    "log_loss_binary",
    "log_loss_multiclass",
    "squared_error",
    "poisson",
    "gamma",
    "absolute_error",
    "quantile",
)
LINE_SEARCH_LOSSES = ("absolute_error", "quantile")
# All hessians are 1 unless samples have weights.
UNIT_HESSIAN_LOSSES = ("squared_error", "absolute_error", "quantile")

# Nanoseconds that a prediction of a sample takes.
_SAMPLE_WORK = 4.0

_NO_WEIGHTS = np.empty(0)


def fill_slopes(loss, y, raw, sample_weight, quantile, values, n_threads):
    """Write each sample's gradient and hessian to `values`, (n_classes, 2 * n_samples) float32, in turn.

    Parameters
    ----------
    loss : str
        One of `LOSSES`.
    y : ndarray of shape (n_samples,), float64
    raw : ndarray of shape (n_classes * n_samples,), float64
        Raw predictions, class after class.
    sample_weight : ndarray of shape (n_samples,), float64, or None
    quantile : float or None
    values : ndarray
    n_threads : int

    Returns
    -------
    loss : float or None
        The mean loss, a by-product; None with weights.
    """
    weights = _NO_WEIGHTS if sample_weight is None else sample_weight
    quantile = 0.5 if quantile is None else float(quantile)
    sums = np.empty(-(-len(y) // LOSS_BLOCK))
    scratch = np.empty((n_threads, max(2 * SLOPE_BLOCK, (len(values) + 4) * CLASS_BLOCK)))
    run_team(slopes_kernel(loss), n_threads, y, raw, weights, quantile, values, sums, scratch)
    return float(sums.sum() / len(y)) if sample_weight is None else None


def loss_value(loss, y, raw_predictions, sample_weight=None, quantile=None, *, n_jobs=None, n_threads=None):
    """Return the mean loss of raw predictions, weighted by `sample_weight`.

    Parameters
    ----------
    loss : str
        One of `LOSSES`.
    y : ndarray of shape (n_samples,), float64
        For ``log_loss_*`` the number of the class.
    raw_predictions : ndarray of shape (n_samples, n_classes) or (n_samples,), float64
    sample_weight : ndarray of shape (n_samples,), float64, or None, default=None
    quantile : float or None, default=None
    n_jobs, n_threads
        As elsewhere. The result does not depend on them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.boosting_losses import loss_value
    >>> loss_value("squared_error", np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    1.0
    """
    if n_threads is None:
        n_threads = threads_for(_SAMPLE_WORK * raw_predictions.size, n_jobs)
    raw = np.asfortranarray(raw_predictions).T.reshape(-1)
    weights = _NO_WEIGHTS if sample_weight is None else np.ascontiguousarray(sample_weight, dtype=np.float64)
    y = np.ascontiguousarray(y, dtype=np.float64)
    sums = np.empty(-(-len(y) // LOSS_BLOCK))
    scratch = np.empty((n_threads, max(LOSS_BLOCK, (len(raw) // len(y) + 2) * CLASS_BLOCK)))
    quantile = 0.5 if quantile is None else float(quantile)
    run_team(losses_kernel(loss), n_threads, y, raw, weights, quantile, sums, scratch)
    return float(sums.sum() / (len(y) if sample_weight is None else weights.sum()))
