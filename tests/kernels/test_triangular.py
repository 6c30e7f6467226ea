"""Cholesky factors and triangular systems against NumPy."""

import numpy as np
import pytest

from fastfit.kernels.triangular import factor_cholesky, solve_triangle
from fastfit.runtime.compile import as_readonly

pytestmark = pytest.mark.plain_python


@pytest.mark.parametrize("m", [1, 2, 5, 8, 23])
def test_factor_and_solve(m):
    rng = np.random.default_rng(m)
    A, systems = rng.normal(size=(2 * m, m)), rng.normal(size=(3, m))
    gram = A.T @ A
    triangle = gram.copy()
    assert factor_cholesky(triangle)
    np.testing.assert_allclose(triangle, np.linalg.cholesky(gram).T, rtol=1e-10, atol=1e-12)
    solutions = systems.copy()
    solve_triangle(as_readonly(triangle), True, solutions)
    np.testing.assert_allclose(solutions @ triangle, systems, rtol=1e-9, atol=1e-11)
    solve_triangle(as_readonly(triangle), False, solutions)
    np.testing.assert_allclose(solutions @ gram, systems, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_matrix_that_is_not_positive_definite_is_refused(value):
    matrix = np.eye(6)
    matrix[3, 3] = value
    assert not factor_cholesky(matrix)
