"""Mini-batch gradient descent for least squares: epochs, the learning rate and when to stop.

Without a rate of the caller's the first one is half the inverse of the expected smoothness of batches of size
k drawn without replacement (Gower et al., "SGD: general analysis and improved rates", ICML 2019, table 1),

    L(k) = n (k - 1) / (k (n - 1)) L + (n - k) / (k (n - 1)) L_max,

with L the largest eigenvalue of X'X / n and L_max the largest squared length of a row, both of centred X. A
constant rate only leads into the neighbourhood of the minimum, of a width in proportion to the rate; so the
rate is divided by ten whenever the loss has stopped falling, in the manner of scikit-learn's "adaptive"
schedule.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.minibatch_least_squares import (
    ROWS_AT_ONCE,
    BatchOptions,
    BatchState,
    Samples,
    descend_epoch,
    measure_rows,
    padded_size,
)
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.random import shuffle
from fastfit.runtime.threads import run_team
from fastfit.training.gradient_descent import UnstableRateError, largest_eigenvalue, largest_stable_rate
from fastfit.training.least_squares import LeastSquaresFit, gram_fits, summarise, weighted_means

RATE_DIVISOR = 10.0
MIN_RATE_SHARE = 1e-4
# Of the loss at zero coefficients: beyond the one the descent has diverged, below the other nothing is left
# to fit.
DIVERGED = 1e6
NEGLIGIBLE_LOSS = 1e-15
# Passes over larger X may take a tenth of a second, and have to notice a Ctrl-C.
LONG_SIZE = 10_000_000


class EpochOptions(NamedTuple):
    """Hyperparameters of the training loop.

    Attributes
    ----------
    batch : BatchOptions
        With ``learning_rate`` NaN for one that is found here.
    max_iter : int
        Limit of the epochs.
    tol : float
        What the loss must gain in an epoch, relative to the best loss so far.
    n_iter_no_change : int
        Number of epochs without that gain after which the rate is lowered, or the descent ends.
    shuffle : bool
    seed : int
    """

    batch: BatchOptions
    max_iter: int
    tol: float
    n_iter_no_change: int
    shuffle: bool
    seed: int


def fit_in_batches(data, options, start=None, watch=None):
    """Descend from zero, or from ``start``, a batch at a time.

    Parameters
    ----------
    data : LeastSquaresData
        Its X is copied where it is not C-contiguous.
    options : EpochOptions
    start : ndarray of shape (n_targets, n_features) or None
    watch : object or None, default=None
        Its ``begin_epoch()`` returns the learning rate from now on, or None for that of the options;
        ``end_epoch(fit_so_far)`` returns whether to stop, and may call ``fit_so_far()`` for a `LeastSquaresFit`.

    Returns
    -------
    LeastSquaresFit
        Its ``learning_rate`` is the first one.

    Raises
    ------
    NotFiniteError
    UnstableRateError
        With the bound for the expected smoothness, which is sufficient but may be passed a little.
    """
    batch = options.batch
    finds_rate = np.isnan(batch.learning_rate)
    x_mean, y_mean, curvature = _look_over(data, with_curvature=finds_rate)
    weight = _scaled_weights(data)
    Y = np.ascontiguousarray((data.Y - y_mean).T)
    order = np.arange(data.X.shape[0], dtype=np.int32)
    padded_mean = np.zeros(padded_size(x_mean.size))
    padded_mean[: x_mean.size] = x_mean
    samples = Samples(*map(as_readonly, (np.ascontiguousarray(data.X), Y, padded_mean, weight, order)))
    if finds_rate:
        smoothness = _expected_smoothness(samples, batch.batch_size, curvature)
        batch = batch._replace(learning_rate=0.5 / smoothness if smoothness > 0.0 else 1.0)
    coef = np.zeros((Y.shape[0], x_mean.size)) if start is None else np.array(start, dtype=np.float64)
    state = _make_state(coef, samples)

    def fit_so_far(losses, converged=True):
        coef = state.coef[:, : x_mean.size].copy()
        return LeastSquaresFit(coef, x_mean, y_mean, losses, converged, batch.learning_rate)

    if watch is not None:
        watch = _Watched(watch, fit_so_far)
    losses, converged = _run_epochs(samples, order, state, options._replace(batch=batch), finds_rate, watch)
    if losses is None:
        curvature = _look_over(data, with_curvature=True)[2]
        smoothness = _expected_smoothness(samples, batch.batch_size, curvature)
        raise UnstableRateError(largest_stable_rate(smoothness, batch.momentum, batch.nesterov))
    return fit_so_far(losses, converged)


class _Watched(NamedTuple):
    """Who watches the epochs, and what makes a fit of the losses so far."""

    watch: object
    fit_so_far: object


def _look_over(data, with_curvature):
    """Return the means of X and Y and, where asked for and affordable, the largest eigenvalue of X'X / n."""
    if with_curvature and gram_fits(data, data.X.shape[1]):
        summary = summarise(data)
        return summary.x_mean, summary.y_mean, largest_eigenvalue(summary.gram) / summary.sum_weights
    x_mean, y_mean = weighted_means(data)
    return x_mean, y_mean, None


def _scaled_weights(data):
    """Return the sample weights divided by their mean, or an empty array for ones."""
    if data.sample_weight is None:
        return np.empty(0)
    return data.sample_weight * (data.sample_weight.size / data.sample_weight.sum())


def _expected_smoothness(samples, batch_size, curvature):
    n = samples.order.size
    lengths = np.zeros(2)
    run_team(measure_rows, 1, samples, lengths, may_be_long=samples.X.size > LONG_SIZE)
    largest, mean = lengths
    # Without a Gram matrix its trace, which is never less than its largest eigenvalue, has to do.
    curvature = mean if curvature is None else curvature
    if n == 1:
        return largest
    share = (n - batch_size) / (batch_size * (n - 1))
    return n * (batch_size - 1) / (batch_size * (n - 1)) * curvature + share * largest


def _run_epochs(samples, order, state, options, lowers_rate, watched):
    """Run epochs until the loss has stopped falling; return no losses if it rose beyond bounds."""
    batch = options.batch
    variance = _mean_square(samples)
    min_rate = MIN_RATE_SHARE * batch.learning_rate
    loss_out = np.empty(1)
    losses = []
    best = np.inf
    n_no_change = 0
    while len(losses) < options.max_iter:
        rate = None if watched is None else watched.watch.begin_epoch()
        if rate is not None:
            batch, lowers_rate = batch._replace(learning_rate=rate), False
        if options.shuffle:
            shuffle(order, options.seed)
        run_team(descend_epoch, 1, samples, batch, state, loss_out, may_be_long=samples.X.size > LONG_SIZE)
        loss = float(loss_out[0])
        if not loss <= DIVERGED * (variance + (losses[0] if losses else loss_out[0])):
            return None, False
        losses.append(loss)
        if watched is not None and watched.watch.end_epoch(lambda: watched.fit_so_far(list(losses))):
            return losses, True
        n_no_change = n_no_change + 1 if loss > best - options.tol * best else 0
        best = min(best, loss)
        if n_no_change >= options.n_iter_no_change or best <= NEGLIGIBLE_LOSS * variance:
            batch = batch._replace(learning_rate=batch.learning_rate / RATE_DIVISOR)
            n_no_change = 0
            if not lowers_rate or batch.learning_rate < min_rate or best <= NEGLIGIBLE_LOSS * variance:
                return losses, True
    return losses, False


def _make_state(coef, samples):
    """Allocate what the kernel works on, and start it from ``coef``."""
    shape = (coef.shape[0], samples.x_mean.size)
    state = BatchState(
        coef=np.zeros(shape),
        step=np.zeros(shape),
        point=np.empty(shape),
        gradient=np.zeros(shape),
        rows=np.empty(ROWS_AT_ONCE, dtype=np.int64),
        samples_idx=np.empty(ROWS_AT_ONCE, dtype=np.int64),
        ahead=np.empty(ROWS_AT_ONCE, dtype=np.int64),
        weights=np.empty(ROWS_AT_ONCE),
        errors=np.empty(ROWS_AT_ONCE),
    )
    state.coef[:, : coef.shape[1]] = coef
    return state


def _mean_square(samples):
    squares = samples.Y**2
    if samples.weight.size:
        squares *= samples.weight
    return 0.5 * float(squares.mean())
