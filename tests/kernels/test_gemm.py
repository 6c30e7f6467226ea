"""Register tiles and the driver over them against NumPy: on this CPU, on narrower ones, without a compiler."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastfit.kernels.gemm import TILE_ROWS, TILE_VECTORS, gemm, make_micro_kernel
from fastfit.runtime.compile import as_readonly, jit
from fastfit.runtime.cpu import lanes
from tests.conftest import ROOT

GUARD = 1234.5  # what stands around a result must stay
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}

_tile = {dtype: make_micro_kernel(dtype, TILE_ROWS, TILE_VECTORS) for dtype in TOLERANCE}
_host_tile_32, _host_tile_64 = _tile[np.float32], _tile[np.float64]
_wide_tile = make_micro_kernel(None, 6, 4)
_narrow_tile = make_micro_kernel(np.float64, 3, 2, lanes_per_vector=2)
_masked_tile = make_micro_kernel(None, 4, 2, masked=True)


@jit
def run_host_tile_32(A, a_row_stride, a_col_stride, B, C, c_row_stride, depth, accumulate):
    width = B.shape[1]
    _host_tile_32(
        A.ctypes.data,
        a_row_stride,
        a_col_stride,
        B.ctypes.data,
        width,
        C.ctypes.data,
        c_row_stride,
        depth,
        accumulate,
    )


@jit
def run_host_tile_64(A, a_row_stride, a_col_stride, B, C, c_row_stride, depth, accumulate):
    width = B.shape[1]
    _host_tile_64(
        A.ctypes.data,
        a_row_stride,
        a_col_stride,
        B.ctypes.data,
        width,
        C.ctypes.data,
        c_row_stride,
        depth,
        accumulate,
    )


@jit
def run_wide_tile(like, A, B, C):
    depth, width = B.shape
    _wide_tile(like, A.ctypes.data, depth, 1, B.ctypes.data, width, C.ctypes.data, width, depth, 0)


@jit
def run_narrow_tile(A, B, C):
    depth, width = B.shape
    _narrow_tile(A.ctypes.data, depth, 1, B.ctypes.data, width, C.ctypes.data, width, depth, 0)


@jit
def run_masked_tile(like, A, B, C, n_rows, n_columns, accumulate):
    depth, width = B.shape
    a, b, c = A.ctypes.data, B.ctypes.data, C.ctypes.data
    _masked_tile(like, a, depth, 1, b, width, c, C.shape[1], depth, accumulate, n_rows, n_columns)


def random_matrix(seed, shape, dtype):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_product(C, A, B, dtype, before=0.0):
    exact = before + A.astype(np.longdouble) @ B.astype(np.longdouble)
    size = np.abs(before) + np.abs(A).astype(float) @ np.abs(B).astype(float)
    assert np.all(np.abs(C - exact) <= TOLERANCE[dtype] * (size + 1e-30))


@pytest.mark.plain_python
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_tile_is_the_product(dtype, depth, transposed, accumulate):
    width = TILE_VECTORS * lanes(dtype)
    A, B = random_matrix(1, (TILE_ROWS, depth), dtype), random_matrix(2, (depth, width), dtype)
    C = np.full((TILE_ROWS + 1, width + 3), GUARD, dtype)
    C[:-1, :width] = before = random_matrix(3, (TILE_ROWS, width), dtype)
    left = np.ascontiguousarray(A.T) if transposed else A
    strides = (1, TILE_ROWS) if transposed else (depth, 1)
    run = run_host_tile_32 if dtype is np.float32 else run_host_tile_64
    run(as_readonly(left), *strides, as_readonly(B), C, width + 3, depth, accumulate)
    assert_product(C[:-1, :width], A, B, dtype, before * accumulate)
    assert np.all(C[-1] == GUARD)
    assert np.all(C[:, width:] == GUARD)


@pytest.mark.plain_python
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_tiles_of_other_shapes(dtype):
    width = 4 * lanes(dtype)
    A, B, C = (
        random_matrix(1, (6, 9), dtype),
        random_matrix(2, (9, width), dtype),
        np.empty((6, width), dtype),
    )
    run_wide_tile(dtype(0), A, B, C)
    assert_product(C, A, B, dtype)


@pytest.mark.plain_python
def test_tile_of_narrower_vectors():
    A, B, C = random_matrix(1, (3, 9), np.float64), random_matrix(2, (9, 4), np.float64), np.empty((3, 4))
    run_narrow_tile(A, B, C)
    assert_product(C, A, B, np.float64)


@pytest.mark.plain_python
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_masked_tile_touches_nothing_past_its_edges(dtype):
    width, depth = 2 * lanes(dtype), 5
    for n_rows in (1, 3, 4):
        for n_columns in {1, lanes(dtype) - 1, lanes(dtype), lanes(dtype) + 1, width}:
            for accumulate in (0, 1):
                A, B = random_matrix(1, (n_rows, depth), dtype), random_matrix(2, (depth, n_columns), dtype)
                C = np.full((5, width + 1), GUARD, dtype)
                run_masked_tile(dtype(0), A, B, C, n_rows, n_columns, accumulate)
                before = np.float64(GUARD) * accumulate
                assert_product(C[:n_rows, :n_columns], A, B, dtype, np.full((n_rows, n_columns), before))
                assert np.all(C[n_rows:] == GUARD)
                assert np.all(C[:, n_columns:] == GUARD)


SIZES = [
    (1, 1, 1),
    (7, 16, 17),
    (16, 7, 33),
    (33, 33, 33),
    (8, 48, 5),
    (9, 49, 3),
    (2, 3, 4),
    (17, 1, 7),
    (1, 100, 9),
]
LARGE_SIZES = [(257, 130, 311), (64, 64, 600), (300, 31, 2), (1, 100, 600), (5, 0, 3), (0, 5, 3), (5, 6, 0)]


def check_gemm(shape, dtype, accumulate, transposed):
    m, n, k = shape
    A, B = random_matrix(4, (m, k), dtype), random_matrix(5, (k, n + 2), dtype)[:, :n]
    C = np.full((m + 1, n + 1), GUARD, dtype)
    C[:m, :n] = before = random_matrix(6, (m, n), dtype)
    left = np.ascontiguousarray(A.T).T if transposed else A
    gemm(left, B, C[:m, :n], accumulate)
    assert_product(C[:m, :n], A, B, dtype, before * accumulate)
    assert np.all(C[m] == GUARD)
    assert np.all(C[:, n] == GUARD)


@pytest.mark.plain_python
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gemm_of_small_and_odd_sizes(dtype, accumulate, transposed):
    for shape in SIZES:
        check_gemm(shape, dtype, accumulate, transposed)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", LARGE_SIZES)
def test_gemm_over_several_blocks(shape, dtype):
    for accumulate in (0, 1):
        check_gemm(shape, dtype, accumulate, transposed=accumulate == 1)


def test_a_row_does_not_depend_on_how_many_rows_there_are():
    A, B = random_matrix(1, (29, 300), np.float64), random_matrix(2, (300, 53), np.float64)
    whole, part = np.empty((29, 53)), np.empty((3, 53))
    gemm(A, B, whole, 0)
    gemm(A[:3], B, part, 0)
    assert np.array_equal(whole[:3], part)


_SCRIPT = """
import numpy as np
from fastfit.kernels.gemm import TILE_ROWS, gemm
from fastfit.runtime.compile import compile_statistics
from fastfit.runtime.cpu import VECTOR_BYTES
from tests.kernels.test_gemm import LARGE_SIZES, SIZES, TOLERANCE, check_gemm
for dtype in TOLERANCE:
    for shape in SIZES + LARGE_SIZES[:2]:
        check_gemm(shape, dtype, 1, True)
print(VECTOR_BYTES, compile_statistics().n_compiled, compile_statistics().n_loaded)
"""


def run_script(cache_directory, **environment):
    environment = os.environ | environment | {"FASTFIT_CACHE_DIR": str(cache_directory)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(word) for word in done.stdout.split()]


def test_machine_code_is_found_again_by_another_process(tmp_path):
    _, n_compiled, _ = run_script(tmp_path)
    assert n_compiled > 0
    _, n_compiled, n_loaded = run_script(tmp_path)
    assert n_compiled == 0
    assert n_loaded > 0


@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 CPUs")
@pytest.mark.parametrize(("cpu", "vector_bytes"), [("haswell", 32), ("x86-64", 16)])
def test_narrower_cpus(tmp_path, cpu, vector_bytes):
    found, _, _ = run_script(tmp_path, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="")
    assert found == vector_bytes
