"""What SGD does with one row, against NumPy, for every length of the last vector."""

import numpy as np
import pytest

from fastfit.kernels import row, row_in_order
from fastfit.runtime.compile import jit

pytestmark = pytest.mark.plain_python


@jit
def dot(X, start, n, w, sums_out):
    sums_out[0] = row.dot_row(X, start, n, w)
    sums_out[1] = row_in_order.dot_row_in_order(X, start, n, w)
    sums_out[2] = row_in_order.sum_squares_in_order(X, start, n)
    sums_out[3] = row.sum_magnitudes(w, n)


@jit
def add(X, start, n, factor, w_in_order, sums_out):
    sums_out[0] = row_in_order.add_row_in_order(X, start, n, factor, w_in_order)


@jit
def add_four(X, starts, factors, n, w):
    row.add_four_rows(X, starts, factors, n, w)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dot_products_and_norms(dtype):
    rng = np.random.default_rng(0)
    for n in range(1, 41):
        X = rng.normal(size=3 * n).astype(dtype)
        w = rng.normal(size=n).astype(dtype)
        sums = np.empty(4)
        dot(X, n, n, w, sums)
        x, rtol = X[n : 2 * n].astype(float), 10 * np.finfo(dtype).eps
        np.testing.assert_allclose(sums[0], x @ w.astype(float), rtol=rtol, atol=n * rtol)
        in_order = 0.0
        for product in X[n : 2 * n] * w:
            in_order += float(product)
        assert sums[1] == in_order
        np.testing.assert_allclose(sums[2:], [x @ x, np.abs(w.astype(float)).sum()], rtol=n * rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_addition_in_order(dtype):
    rng = np.random.default_rng(0)
    for n in range(1, 41):
        X = rng.normal(size=2 * n).astype(dtype)
        w = rng.normal(size=n).astype(dtype)
        factor, sums = dtype(0.37), np.empty(1)
        expected = w.astype(float) + X[n:].astype(float) * float(factor)
        add(X, n, n, factor, w, sums)
        np.testing.assert_array_equal(w, expected.astype(dtype))
        np.testing.assert_allclose(sums, np.sum(expected**2), rtol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_addition_of_four_rows(dtype):
    rng = np.random.default_rng(0)
    for n in range(1, 41):
        X = rng.normal(size=(6, n)).astype(dtype)
        w = np.zeros(n + 3, dtype)
        rows, factors = np.array([4, 0, 0, 5]), rng.normal(size=4)
        add_four(X.reshape(-1), rows * n, factors, n, w)
        np.testing.assert_allclose(
            w[:n], factors @ X[rows], rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13
        )
        assert not w[n:].any()
