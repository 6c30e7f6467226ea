"""Descent on a quadratic against the same descent written with NumPy over X itself."""

import numpy as np
import pytest

from fastfit.kernels.descent import DescentOptions, DescentState, Quadratic, descend, multiply
from fastfit.runtime.compile import as_readonly

pytestmark = pytest.mark.plain_python


def descend_on_data(X, Y, rate, momentum, nesterov, n_steps, positive=False):
    """Gradient descent on the mean squared error, from zero; returns the coefficients and losses of each step."""
    n_samples, n_targets = Y.shape
    coef = np.zeros((X.shape[1], n_targets))
    step = np.zeros_like(coef)
    losses = []
    for _ in range(n_steps):
        point = coef + momentum * step if nesterov else coef
        gradient = X.T @ (X @ point - Y) / n_samples
        after = coef + momentum * step - rate * gradient
        if positive:
            after = np.maximum(after, 0.0)
        coef, step = after, after - coef
        losses.append(0.5 * ((X @ coef - Y) ** 2).mean())
    return coef.T, losses


def make_state(n_targets, m):
    matrices = [np.zeros((n_targets, m)) for _ in range(6)]
    return DescentState(*matrices, np.zeros(n_targets))


def make_quadratic(X, Y):
    n_samples = len(X)
    slope = np.ascontiguousarray((X.T @ Y).T) / n_samples
    squared_scale = (slope**2).sum(axis=1)
    arrays = (X.T @ X / n_samples, slope, (Y**2).mean(axis=0), squared_scale)
    return Quadratic(*map(as_readonly, arrays))


def make_options(rate, momentum=0.0, nesterov=False, **more):
    options = DescentOptions(rate, momentum, nesterov, positive=False, in_row_space=False, tol=0.0)
    return options._replace(**more)


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    return rng.normal(size=(40, 6)), rng.normal(size=(40, 3))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_iterates_are_those_of_descent_on_the_data(data, momentum, nesterov, positive):
    X, Y = data
    quadratic = make_quadratic(X, Y)
    for n_steps in (1, 2, 3, 50):
        state, losses = make_state(3, 6), np.empty(n_steps)
        options = make_options(0.1, momentum, nesterov, positive=positive)
        assert descend(quadratic, options, state, losses) == (n_steps, False)
        expected_coef, expected_losses = descend_on_data(X, Y, 0.1, momentum, nesterov, n_steps, positive)
        np.testing.assert_allclose(state.coef, expected_coef, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_row_space_gives_the_same_iterates(momentum, nesterov):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(7, 30)), rng.normal(size=(7, 2))
    slope = np.ascontiguousarray(Y.T) / 7
    arrays = (X @ X.T / 7, slope, np.zeros(2), np.ones(2))
    state, losses = make_state(2, 7), np.empty(25)
    descend(
        Quadratic(*map(as_readonly, arrays)),
        make_options(0.05, momentum, nesterov, in_row_space=True),
        state,
        losses,
    )
    expected_coef, expected_losses = descend_on_data(X, Y, 0.05, momentum, nesterov, 25)
    np.testing.assert_allclose(state.coef @ X, expected_coef, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(7 * losses, expected_losses, rtol=1e-11)
    gradient = (state.coef @ X @ X.T - Y.T) @ X / 7
    np.testing.assert_allclose(7 * state.squared_norms, (gradient**2).sum(axis=1), rtol=1e-10)


def test_a_run_may_be_cut_into_calls(data):
    quadratic = make_quadratic(*data)
    options = make_options(0.1, 0.9, True)
    whole, parts = make_state(3, 6), make_state(3, 6)
    losses = np.empty(30)
    descend(quadratic, options, whole, losses)
    for part in np.split(np.empty(30), [1, 11]):
        descend(quadratic, options, parts, part)
    np.testing.assert_array_equal(whole.coef, parts.coef)


def test_it_ends_when_all_targets_have_a_small_gradient(data):
    X, Y = data
    quadratic = make_quadratic(X, Y)
    state, losses = make_state(3, 6), np.empty(10_000)
    n_steps, converged = descend(quadratic, make_options(0.3, tol=1e-6), state, losses)
    assert converged
    assert 1 < n_steps < 10_000
    gradient = X.T @ (X @ state.coef.T - Y) / len(X)
    limits = 1e-6 * np.sqrt(quadratic.squared_scale)
    assert np.all(np.linalg.norm(gradient, axis=0) <= limits * (1 + 1e-6))
    np.testing.assert_allclose(state.coef.T, np.linalg.lstsq(X, Y)[0], atol=1e-5)


@pytest.mark.parametrize("m", [1, 3, 8, 33])
def test_multiply(m):
    rng = np.random.default_rng(m)
    matrix, vectors = rng.normal(size=(m, m)), rng.normal(size=(2, m))
    products = np.empty((2, m))
    multiply(as_readonly(matrix), vectors, products)
    np.testing.assert_allclose(products, vectors @ matrix.T, rtol=1e-12, atol=1e-13)
