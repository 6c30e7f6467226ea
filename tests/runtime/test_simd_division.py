"""Quotients without the divider, in kernels and in plain Python, against NumPy's."""

import numpy as np
import pytest

from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import load, store
from fastfit.runtime.simd_division import quick_quotient

pytestmark = pytest.mark.plain_python


@jit
def divide(a, b, out):
    for i in range(0, len(a), lanes(a.dtype)):
        store(out, i, quick_quotient(load(a, i), load(b, i)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quotients_are_right_to_two_units(dtype):
    rng, n = np.random.default_rng(0), 640
    largest = 0.4 * np.log10(np.finfo(dtype).max)
    a = (rng.normal(size=n) * 10.0 ** rng.uniform(-largest, largest, n)).astype(dtype)
    b = (10.0 ** rng.uniform(-largest, largest, n)).astype(dtype)
    out = np.empty_like(a)
    divide(a, b, out)
    exact = a.astype(np.longdouble) / b
    assert np.all(np.abs(out - exact) <= 2 * np.spacing(np.abs(exact).astype(dtype)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinity_and_nan(dtype):
    n = lanes(dtype)
    a, b, out = np.full(n, 3.0, dtype), np.full(n, np.inf, dtype), np.empty(n, dtype)
    a[1], b[1] = np.nan, 2.0
    b[2] = np.nan
    with np.errstate(all="ignore"):
        divide(a, b, out)
    np.testing.assert_array_equal(out[:3], [0.0, np.nan, np.nan])
