"""Non-negative least squares against scipy.optimize.nnls."""

import numpy as np
import pytest
from scipy.optimize import nnls

from fastfit.kernels.non_negative import ActiveSetBuffers, solve_non_negative
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team

pytestmark = pytest.mark.plain_python


def solve(A, b, max_iter=None):
    m = A.shape[1]
    buffers = ActiveSetBuffers(
        np.empty((m, m)), np.empty(m, dtype=np.int64), np.empty(m), np.empty(m), np.empty(m, dtype=np.bool_)
    )
    coef, losses, status = np.zeros(m), np.empty(max_iter or 3 * m), np.zeros(2)
    thresholds = 1e-14 * np.linalg.norm(A, axis=0) * np.linalg.norm(b)
    inputs = map(as_readonly, (A.T @ A, A.T @ b))
    run_team(solve_non_negative, 1, *inputs, thresholds, buffers, coef, losses, status)
    return coef, losses[: abs(int(status[0]))], status


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("n", "m"), [(3, 1), (30, 5), (100, 40), (40, 38)])
def test_solution_is_that_of_scipy(n, m, seed):
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(n, m)) + 0.5, rng.normal(size=n)
    coef, losses, status = solve(A, b)
    expected, norm = nnls(A, b)
    np.testing.assert_allclose(coef, expected, rtol=1e-7, atol=1e-10)
    assert status[0] >= 0
    assert np.all(np.diff(losses) < 1e-12)
    if losses.size:
        np.testing.assert_allclose(2 * losses[-1] + b @ b, norm**2, rtol=1e-8, atol=1e-10)


def test_coefficients_that_enter_may_leave_again():
    # Collinear columns with the right mixture of signs make the active set shrink on its way.
    rng = np.random.default_rng(0)
    n_left = 0
    for _ in range(30):
        A = rng.normal(size=(20, 1)) + 0.3 * rng.normal(size=(20, 10))
        b = rng.normal(size=20)
        coef, losses, _ = solve(A, b)
        np.testing.assert_allclose(coef, nnls(A, b)[0], rtol=1e-6, atol=1e-9)
        n_left += losses.size - np.count_nonzero(coef)
    assert n_left > 0


def test_columns_that_nearly_depend_on_others_are_reported():
    column, direction = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 2)))[0].T
    A = np.column_stack([column, column + 1e-6 * direction])
    _, _, status = solve(A, 2e6 * column + direction)
    assert status[1] < 1e-8


def test_the_limit_of_iterations_is_reported():
    rng = np.random.default_rng(2)
    A = rng.uniform(size=(50, 10))
    coef, losses, status = solve(A, A.sum(axis=1), max_iter=2)
    assert status[0] == -2
    assert losses.size == 2
    assert np.count_nonzero(coef) <= 2


def test_zero_columns_and_targets():
    A = np.ones((5, 3))
    A[:, 1] = 0.0
    coef, losses, _ = solve(A, np.zeros(5))
    assert not coef.any()
    assert losses.size == 0
