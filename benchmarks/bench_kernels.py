"""The kernels that others are built on, each against its own limit: the share of this core's peak that it reaches.

A core's peak is measured, not looked up: a loop of fused multiply-adds that never leaves the registers. The
micro-kernel and the matrix product run against it on one thread, the Gram matrix on the whole budget.
"""

import functools
import time

import numpy as np
import pytest

from benchmarks.suite import size_of
from fastfit.kernels.gemm import TILE_ROWS, TILE_VECTORS, gemm, make_micro_kernel
from fastfit.runtime.compile import as_readonly, jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import fma, load, store
from fastfit.runtime.threads import thread_budget
from fastfit.training.gram import centred_gram, residual_gradient

DTYPES = [np.float32, np.float64]
N_SUMS = 12  # independent sums: more than two a cycle times a latency of four or five
TILE_DEPTH = 128

_tile = make_micro_kernel(None, TILE_ROWS, TILE_VECTORS)


@jit
def multiply_add_in_registers(values, n_lanes, n_steps):
    """Do ``n_steps * N_SUMS`` fused multiply-adds of vectors, with nothing loaded or stored in between."""
    x = load(values, 0)
    a, b, c, d = x, load(values, n_lanes), load(values, 2 * n_lanes), load(values, 3 * n_lanes)
    e, f, g, h = a + x, b + x, c + x, d + x
    i, j, k, l = e + x, f + x, g + x, h + x
    for _ in range(n_steps):
        a, b, c, d = fma(a, x, x), fma(b, x, x), fma(c, x, x), fma(d, x, x)
        e, f, g, h = fma(e, x, x), fma(f, x, x), fma(g, x, x), fma(h, x, x)
        i, j, k, l = fma(i, x, x), fma(j, x, x), fma(k, x, x), fma(l, x, x)
    store(values, 0, a + b + c + d + e + f + g + h + i + j + k + l)


@jit
def run_tile(like, A, B, C, n_times):
    """Update one tile again and again, its operands in the first cache; A lies by columns."""
    depth, width = B.shape
    a, b, c = A.ctypes.data, B.ctypes.data, C.ctypes.data
    for _ in range(n_times):
        _tile(like, a, 1, TILE_ROWS, b, width, c, width, depth, 1)


@functools.cache
def peak_gflops(dtype):
    """Return the most that one core reaches, in 1e9 flops a second: the best of several runs of some 2 ms each."""
    n_lanes, n_steps = lanes(dtype), 200_000
    values = np.random.default_rng(0).uniform(0.1, 0.4, 4 * n_lanes).astype(dtype)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        multiply_add_in_registers(values, n_lanes, n_steps)
        seconds.append(time.perf_counter() - start)
    return 2 * N_SUMS * n_lanes * n_steps / min(seconds) / 1e9


def record_share(benchmark, n_flops, dtype, n_threads=1):
    """Write the median's speed, and its share of the peak of as many cores, beside the times."""
    if benchmark.enabled:
        gflops = n_flops / benchmark.stats.stats.median / 1e9
        benchmark.extra_info["gflops"] = round(gflops, 1)
        benchmark.extra_info["share_of_peak"] = round(gflops / (n_threads * peak_gflops(dtype)), 3)
        benchmark.extra_info["n_threads"] = n_threads


@pytest.mark.parametrize("dtype", DTYPES)
def test_micro_kernel(benchmark, dtype):
    benchmark.group = f"micro-kernel | {TILE_ROWS} x {TILE_VECTORS} vectors, depth {TILE_DEPTH}"
    n_times = 2000 if benchmark.enabled else 1
    width = TILE_VECTORS * lanes(dtype)
    A, B = np.ones((TILE_DEPTH, TILE_ROWS), dtype), np.ones((TILE_DEPTH, width), dtype)
    C = np.zeros((TILE_ROWS, width), dtype)
    benchmark(run_tile, dtype(0), A, B, C, n_times)
    assert np.all(C[0, 0] == C)
    record_share(benchmark, 2 * n_times * TILE_DEPTH * TILE_ROWS * width, dtype)


@pytest.mark.parametrize("library", ["fastfit", "NumPy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(256, 256, 256), (257, 300, 311), (1024, 1024, 1024), (32, 100, 64), (1, 100, 100)]
)
def test_matrix_product(benchmark, shape, dtype, library):
    m, n, k = shape if benchmark.enabled else (9, 17, 5)
    benchmark.group = f"matrix product | {m} x {n} x {k} {np.dtype(dtype)}"
    benchmark.extra_info["library"] = library
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    C = np.empty((m, n), dtype)
    if library == "fastfit":
        benchmark(gemm, as_readonly(A), as_readonly(B), C, 0)
    else:
        benchmark(np.matmul, A, B, out=C)
    np.testing.assert_allclose(C, A @ B, atol=1e-3)
    record_share(benchmark, 2 * m * n * k, dtype, 1 if library == "fastfit" else thread_budget())


@pytest.mark.parametrize("library", ["fastfit", "NumPy"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(500_000, 50), (20_000, 200), (20_000, 600), (150, 4)])
def test_gram(benchmark, shape, order, library):
    """NumPy's X.T @ X is less work of the caller's: not centred, no targets."""
    n_rows, n_columns = shape if size_of(benchmark) == "full" else (50, 5)
    benchmark.group = f"Gram matrix | {n_rows} x {n_columns} {order}"
    benchmark.extra_info["library"] = library
    rng = np.random.default_rng(0)
    X, Y = np.asarray(rng.normal(size=(n_rows, n_columns)), order=order), rng.normal(size=(n_rows, 1))
    n_threads = thread_budget() if n_rows > 1000 else 1
    if library == "fastfit":
        benchmark(centred_gram, X, Y, None, True, n_threads)
    else:
        benchmark(lambda: X.T @ X)
    record_share(benchmark, n_rows * n_columns * (n_columns + 1), np.float64, n_threads)


@pytest.mark.parametrize("library", ["fastfit", "NumPy"])
@pytest.mark.parametrize("shape", [(500_000, 50), (2000, 5000)])
def test_residual_gradient(benchmark, shape, library):
    """One pass over X instead of two: its limit is the memory's speed."""
    n_rows, n_columns = shape if size_of(benchmark) == "full" else (50, 5)
    benchmark.group = f"residual gradient | {n_rows} x {n_columns}"
    benchmark.extra_info["library"] = library
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n_rows, n_columns)), rng.normal(size=(n_rows, 1))
    coef, x_mean = rng.normal(size=(n_columns, 1)), X.mean(axis=0)
    if library == "fastfit":
        benchmark(residual_gradient, X, Y, None, x_mean, Y.mean(axis=0), coef, thread_budget())
    else:
        benchmark(lambda: X.T @ (Y - X @ coef))
    if benchmark.enabled:
        benchmark.extra_info["gigabytes_a_second"] = round(X.nbytes / benchmark.stats.stats.median / 1e9, 1)
