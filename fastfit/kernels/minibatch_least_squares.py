"""One epoch of mini-batch gradient descent for least squares, in a shuffled order.

For a batch B of k samples with weights s (of mean one over all samples) and centred data, the update is

    g = (1 / k) sum_{i in B} s_i (x_i'w - y_i) x_i,    v <- m v - rate * g,    w <- w + v,

with g taken at w, or at w + m v for Nesterov's momentum. The last batch of an epoch, if it has fewer than k samples,
is still divided by k: so every sample has the same part in an epoch. Centring happens here, element by element, so
that no centred copy of X is needed and columns with large means lose nothing. Cost: 4 n d flops an epoch; its limit
is the memory's rate at gathering shuffled rows.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.simd import broadcast, fma, lanes, load, load_partial, prefetch, reduce_add, store
from fastfit.runtime.team import stop_requested

# Rows that share the loads of the mean, the coefficients and the gradient.
ROWS_AT_ONCE = 4
# Rows in random order are asked for this far ahead of their use.
ROWS_AHEAD = 8


def padded_size(n):
    """Return how many float64 numbers the whole vectors have that hold ``n`` of them."""
    width = lanes(np.float64)
    return -(-n // width) * width


class BatchOptions(NamedTuple):
    """Hyperparameters of an epoch, each of one fixed type so that one compilation serves them all."""

    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool
    positive: bool  # project on w >= 0 after each update


class Samples(NamedTuple):
    """Training data, read only, and the order of this epoch."""

    X: np.ndarray  # (n_samples, n_features) float32 | float64, C
    Y: np.ndarray  # (n_targets, n_samples) float64, centred
    x_mean: np.ndarray  # (n_padded,) float64
    weight: np.ndarray  # (n_samples,) float64 of mean one, or (0,) where every sample weighs one
    order: np.ndarray  # (n_samples,) int32


class BatchState(NamedTuple):
    """What an epoch changes. Rows of coefficients are padded with zeros to whole vectors
    (``padded_size``)."""

    coef: np.ndarray  # (n_targets, n_padded) float64: w
    step: np.ndarray  # (n_targets, n_padded) float64: v
    point: np.ndarray  # (n_targets, n_padded) float64, scratch: where the gradient is taken
    gradient: np.ndarray  # (n_targets, n_padded) float64, zero between batches
    rows: np.ndarray  # (ROWS_AT_ONCE,) int64, scratch, as the others below
    samples_idx: np.ndarray  # (ROWS_AT_ONCE,) int64
    ahead: np.ndarray  # (ROWS_AT_ONCE,) int64
    weights: np.ndarray  # (ROWS_AT_ONCE,) float64
    errors: np.ndarray  # (ROWS_AT_ONCE,) float64


@jit(inline=True)
def _predict_rows(
    X,  # (n_samples * n_features,) float32 | float64
    n,
    rows,  # (ROWS_AT_ONCE,) int64: positions of the rows in X
    ahead,  # (ROWS_AT_ONCE,) int64: positions of rows to ask the memory for
    x_mean,  # (n_padded,) float64
    point,  # (n_padded,) float64
    predictions_out,  # (ROWS_AT_ONCE,) float64
):
    """Write (x - mean)'w for four rows.

    Requests for rows ahead are spread over the loop, which keeps the memory busy: they take 20 ns a row of
    400 bytes off an epoch.
    """
    width = lanes(np.float64)
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    ahead_0, ahead_1, ahead_2, ahead_3 = ahead[0], ahead[1], ahead[2], ahead[3]
    total_0 = broadcast(0.0, np.float64)
    total_1 = broadcast(0.0, np.float64)
    total_2 = broadcast(0.0, np.float64)
    total_3 = broadcast(0.0, np.float64)
    j = 0
    while j + width <= n:
        mean = load(x_mean, j)
        w = load(point, j)
        prefetch(X, ahead_0 + j)
        total_0 = fma(load(X, row_0 + j, np.float64) - mean, w, total_0)
        prefetch(X, ahead_1 + j)
        total_1 = fma(load(X, row_1 + j, np.float64) - mean, w, total_1)
        prefetch(X, ahead_2 + j)
        total_2 = fma(load(X, row_2 + j, np.float64) - mean, w, total_2)
        prefetch(X, ahead_3 + j)
        total_3 = fma(load(X, row_3 + j, np.float64) - mean, w, total_3)
        j += width
    if j < n:
        mean = load(x_mean, j)
        w = load(point, j)
        prefetch(X, ahead_0 + n - 1)
        total_0 = fma(load_partial(X, row_0 + j, n - j, np.float64) - mean, w, total_0)
        prefetch(X, ahead_1 + n - 1)
        total_1 = fma(load_partial(X, row_1 + j, n - j, np.float64) - mean, w, total_1)
        prefetch(X, ahead_2 + n - 1)
        total_2 = fma(load_partial(X, row_2 + j, n - j, np.float64) - mean, w, total_2)
        prefetch(X, ahead_3 + n - 1)
        total_3 = fma(load_partial(X, row_3 + j, n - j, np.float64) - mean, w, total_3)
    predictions_out[0] = reduce_add(total_0)
    predictions_out[1] = reduce_add(total_1)
    predictions_out[2] = reduce_add(total_2)
    predictions_out[3] = reduce_add(total_3)


@jit(inline=True)
def _add_rows(
    X,  # (n_samples * n_features,) float32 | float64
    n,
    rows,  # (ROWS_AT_ONCE,) int64
    factors,  # (ROWS_AT_ONCE,) float64
    x_mean,  # (n_padded,) float64
    gradient,  # (n_padded,) float64, updated
):
    """Add four rows, centred, times a factor each."""
    width = lanes(np.float64)
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    factor_0 = broadcast(factors[0], np.float64)
    factor_1 = broadcast(factors[1], np.float64)
    factor_2 = broadcast(factors[2], np.float64)
    factor_3 = broadcast(factors[3], np.float64)
    j = 0
    while j + width <= n:
        mean = load(x_mean, j)
        total = fma(load(X, row_0 + j, np.float64) - mean, factor_0, load(gradient, j))
        total = fma(load(X, row_1 + j, np.float64) - mean, factor_1, total)
        total = fma(load(X, row_2 + j, np.float64) - mean, factor_2, total)
        store(gradient, j, fma(load(X, row_3 + j, np.float64) - mean, factor_3, total))
        j += width
    if j < n:
        mean = load(x_mean, j)
        total = fma(load_partial(X, row_0 + j, n - j, np.float64) - mean, factor_0, load(gradient, j))
        total = fma(load_partial(X, row_1 + j, n - j, np.float64) - mean, factor_1, total)
        total = fma(load_partial(X, row_2 + j, n - j, np.float64) - mean, factor_2, total)
        store(gradient, j, fma(load_partial(X, row_3 + j, n - j, np.float64) - mean, factor_3, total))


@jit(inline=True)
def _choose_rows(samples, state, first, stop):
    """Write where the rows of a group are, and their weights: a short group repeats its last row with none."""
    n_features = samples.X.shape[1]
    for r in range(ROWS_AT_ONCE):
        i = np.int64(samples.order[min(first + r, stop - 1)])
        state.rows[r] = i * n_features
        state.samples_idx[r] = i
        later = np.int64(samples.order[min(first + r + ROWS_AHEAD, samples.order.size - 1)])
        state.ahead[r] = later * n_features
        for k in range(samples.Y.shape[0]):
            prefetch(samples.Y[k], later)
        if first + r >= stop:
            state.weights[r] = 0.0
        elif samples.weight.size:
            state.weights[r] = samples.weight[i]
        else:
            state.weights[r] = 1.0


@jit(internal=True)
def _add_batch(samples, state, start, stop):
    """Add the samples ``order[start:stop]`` to the gradient; return their summed, weighted squared error."""
    X = samples.X.reshape(samples.X.size)
    n_features = samples.X.shape[1]
    squared_error = 0.0
    for first in range(start, stop, ROWS_AT_ONCE):
        _choose_rows(samples, state, first, stop)
        for k in range(samples.Y.shape[0]):
            ahead = state.ahead if k == 0 else state.rows
            _predict_rows(X, n_features, state.rows, ahead, samples.x_mean, state.point[k], state.errors)
            for r in range(ROWS_AT_ONCE):
                error = state.errors[r] - samples.Y[k, state.samples_idx[r]]
                state.errors[r] = state.weights[r] * error
                squared_error += state.weights[r] * error * error
            _add_rows(X, n_features, state.rows, state.errors, samples.x_mean, state.gradient[k])
    return squared_error


@jit(internal=True)
def _update(options, state):
    """Take one step along the summed gradient of a batch and clear it."""
    rate = options.learning_rate / options.batch_size
    for k in range(state.coef.shape[0]):
        for j in range(state.coef.shape[1]):
            before = state.coef[k, j]
            step = options.momentum * state.step[k, j]
            step -= rate * state.gradient[k, j]
            after = before + step
            if options.positive and after < 0.0:
                after = 0.0
                step = -before
            state.coef[k, j] = after
            state.step[k, j] = step
            state.point[k, j] = after + options.momentum * step if options.nesterov else after
            state.gradient[k, j] = 0.0


@jit
def descend_epoch(
    control,
    thread_idx,
    n_threads,
    samples,
    options,
    state,
    loss_out,  # (1,) float64: mean of half the squared error, each batch before its update
):
    """Pass once over all samples in batches; the last batch may be smaller."""
    n_samples = samples.order.size
    ahead = options.momentum if options.nesterov else 0.0
    for k in range(state.coef.shape[0]):
        for j in range(state.coef.shape[1]):
            state.point[k, j] = state.coef[k, j] + ahead * state.step[k, j]
    squared_error = 0.0
    for start in range(0, n_samples, options.batch_size):
        if stop_requested(control):
            return
        stop = min(start + options.batch_size, n_samples)
        squared_error += _add_batch(samples, state, start, stop)
        _update(options, state)
    loss_out[0] = 0.5 * squared_error / (n_samples * samples.Y.shape[0])


@jit(inline=True, fastmath=REASSOCIATE)
def _squared_length(
    x,  # (n_features,) float32 | float64
    x_mean,  # (n_padded,) float64
):
    total = 0.0
    for j in range(x.size):
        difference = x[j] - x_mean[j]
        total += difference * difference
    return total


@jit
def measure_rows(
    control,
    thread_idx,
    n_threads,
    samples,
    lengths_out,  # (2,) float64: largest and mean weighted squared length of a centred row
):
    """Pass once over X for what the expected smoothness needs to know of single rows."""
    largest = 0.0
    total = 0.0
    for i in range(samples.order.size):
        if stop_requested(control):
            return
        length = _squared_length(samples.X[i], samples.x_mean)
        if samples.weight.size:
            length *= samples.weight[i]
        largest = max(largest, length)
        total += length
    lengths_out[0] = largest
    lengths_out[1] = total / samples.order.size
