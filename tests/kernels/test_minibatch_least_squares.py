"""One epoch of mini-batches against the same updates written with NumPy."""

import numpy as np
import pytest

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
from fastfit.runtime.threads import run_team

pytestmark = pytest.mark.plain_python


def make_samples(X, Y, x_mean, weight, order):
    padded_mean = np.zeros(padded_size(X.shape[1]))
    padded_mean[: X.shape[1]] = x_mean
    arrays = (X, np.ascontiguousarray(Y.T), padded_mean, weight, order.astype(np.int32))
    return Samples(*map(as_readonly, arrays))


def make_state(n_targets, n_features):
    matrices = [np.zeros((n_targets, padded_size(n_features))) for _ in range(4)]
    positions = [np.zeros(ROWS_AT_ONCE, dtype=np.int64) for _ in range(3)]
    return BatchState(*matrices, *positions, np.zeros(ROWS_AT_ONCE), np.zeros(ROWS_AT_ONCE))


def epoch_by_numpy(X, Y, weight, order, options, coef, step):
    total = 0.0
    for start in range(0, len(order), options.batch_size):
        batch = order[start : start + options.batch_size]
        point = coef + options.momentum * step if options.nesterov else coef
        errors = X[batch] @ point - Y[batch]
        weights = weight[batch, None]
        total += (weights * errors**2).sum()
        gradient = X[batch].T @ (weights * errors) / options.batch_size
        after = coef + options.momentum * step - options.learning_rate * gradient
        if options.positive:
            after = np.maximum(after, 0.0)
        coef, step = after, after - coef
    return coef, step, 0.5 * total / Y.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 5, 8, 19])
@pytest.mark.parametrize("batch_size", [1, 6, 50])
@pytest.mark.parametrize(
    ("momentum", "nesterov", "positive", "weighted"),
    [(0.0, False, False, False), (0.9, True, False, True), (0.5, False, True, True)],
)
def test_epochs_are_those_of_numpy(dtype, n_features, batch_size, momentum, nesterov, positive, weighted):
    rng = np.random.default_rng(n_features)
    X = rng.normal(size=(50, n_features)).astype(dtype)
    Y = rng.normal(size=(50, 2))
    x_mean = rng.normal(size=n_features)
    weight = rng.uniform(0.5, 1.5, size=50)
    options = BatchOptions(batch_size, 0.02, momentum, nesterov, positive)
    state, loss_out = make_state(2, n_features), np.empty(1)
    coef = step = np.zeros((n_features, 2))
    for _ in range(2):
        order = rng.permutation(50)
        samples = make_samples(X, Y, x_mean, weight if weighted else np.empty(0), order)
        run_team(descend_epoch, 1, samples, options, state, loss_out)
        weights = weight if weighted else np.ones(50)
        coef, step, loss = epoch_by_numpy(X - x_mean, Y, weights, order, options, coef, step)
    np.testing.assert_allclose(state.coef[:, :n_features].T, coef, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(loss_out[0], loss, rtol=1e-11)
    assert not state.coef[:, n_features:].any()


def test_measure_rows():
    rng = np.random.default_rng(0)
    X, x_mean, weight = rng.normal(size=(20, 3)), rng.normal(size=3), rng.uniform(size=20)
    samples = make_samples(X, X[:, :1], x_mean, weight, np.arange(20))
    lengths = np.zeros(2)
    run_team(measure_rows, 1, samples, lengths)
    expected = weight * ((X - x_mean) ** 2).sum(axis=1)
    np.testing.assert_allclose(lengths, [expected.max(), expected.mean()], rtol=1e-12)
