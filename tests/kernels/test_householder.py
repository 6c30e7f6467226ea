"""Householder elimination against NumPy's QR factorisation."""

import numpy as np
import pytest

from fastfit.kernels.householder import BLOCK_ROWS, eliminate_rows
from fastfit.runtime.threads import run_team

pytestmark = pytest.mark.plain_python


def eliminate(*blocks):
    triangle = np.zeros((blocks[0].shape[1],) * 2)
    for block in blocks:
        run_team(eliminate_rows, 1, triangle, np.array(block.T, order="C"))
    return np.triu(triangle)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (2, 5), (40, 7), (BLOCK_ROWS + 3, 4)])
def test_factor_is_that_of_numpy(n_rows, n_columns):
    A = np.random.default_rng(n_rows).normal(size=(n_rows, n_columns))
    expected = np.linalg.qr(A, mode="r")
    m = min(n_rows, n_columns)
    np.testing.assert_allclose(np.abs(eliminate(A)[:m]), np.abs(expected[:m]), rtol=1e-10, atol=1e-12)


def test_rows_may_come_in_pieces():
    A = np.random.default_rng(1).normal(size=(60, 5))
    triangle = eliminate(A[:3], A[3:4], A[4:])
    np.testing.assert_allclose(triangle.T @ triangle, A.T @ A, rtol=1e-12, atol=1e-12)


def test_small_singular_values_are_kept():
    rng = np.random.default_rng(2)
    left, _ = np.linalg.qr(rng.normal(size=(100, 5)))
    right, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    values = 10.0 ** -np.arange(0, 15, 3)
    triangle = eliminate(left * values @ right)
    np.testing.assert_allclose(np.linalg.svd(triangle, compute_uv=False), values, atol=1e-15)


def test_columns_of_zeros_are_left_alone():
    A = np.random.default_rng(3).normal(size=(30, 4))
    A[:, 2] = 0.0
    triangle = eliminate(A)
    assert not triangle[:, 2].any()
    np.testing.assert_allclose(triangle.T @ triangle, A.T @ A, rtol=1e-12, atol=1e-12)
