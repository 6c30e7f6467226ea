"""Vectors in kernels: each operation against NumPy, the machine code, and the CPU it is for."""

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from numba.core import config
from numba.core.errors import TypingError

from fastfit.runtime import cpu
from fastfit.runtime.compile import as_readonly, jit
from fastfit.runtime.simd import (
    address_of,
    any_lane,
    broadcast,
    copysign,
    first_lanes,
    floor,
    fma,
    lanes,
    load,
    load_address,
    load_partial,
    maximum,
    minimum,
    prefetch,
    reduce_add,
    reduce_max,
    rint,
    select,
    sqrt,
    store,
    store_address,
    store_partial,
)

pytestmark = pytest.mark.plain_python

needs_compiler = pytest.mark.skipif(config.DISABLE_JIT, reason="looks at compiled code")
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FUSED = cpu.HAS_FMA and not config.DISABLE_JIT


def run_python(*arguments, **environment):
    """Run Python in another process and return what it prints."""
    result = subprocess.run(
        [sys.executable, *map(str, arguments)], env=os.environ | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@jit
def compute_elementwise(
    a,  # (lanes,) float32 or float64
    b,  # as a
    results_out,  # (15, lanes) as a
):
    x = load(a, 0)
    y = load(b, 0)
    store(results_out[0], 0, x + y)
    store(results_out[1], 0, x - y)
    store(results_out[2], 0, x * y)
    store(results_out[3], 0, x / y)
    store(results_out[4], 0, -x)
    store(results_out[5], 0, abs(x))
    store(results_out[6], 0, floor(x))
    store(results_out[7], 0, rint(x))
    store(results_out[8], 0, sqrt(abs(x)))
    store(results_out[9], 0, copysign(x, y))
    store(results_out[10], 0, minimum(x, y))
    store(results_out[11], 0, maximum(x, y))
    store(results_out[12], 0, 2 * x + 1.5)
    store(results_out[13], 0, 1 / y - 0.25)
    store(results_out[14], 0, maximum(x, 0.5))


@each_dtype
def test_elementwise_operations(dtype):
    rng = np.random.default_rng(0)
    a, b = 3 * rng.standard_normal((2, lanes(dtype))).astype(dtype)
    a[:2] = 0.5, -2.5  # ties of rint
    results = np.empty((15, a.size), dtype)
    compute_elementwise(as_readonly(a), as_readonly(b), results)
    expected = [
        *(a + b, a - b, a * b, a / b, -a, np.abs(a), np.floor(a), np.rint(a), np.sqrt(np.abs(a))),
        *(np.copysign(a, b), np.minimum(a, b), np.maximum(a, b), 2 * a + dtype(1.5), 1 / b - dtype(0.25)),
        np.maximum(a, dtype(0.5)),
    ]
    np.testing.assert_array_equal(results, np.array(expected, dtype))


@jit
def compute_masks(
    a,  # (lanes,) float32 or float64
    b,  # as a
    results_out,  # (12, lanes) as a
):
    x = load(a, 0)
    y = load(b, 0)
    no = broadcast(0.0, a.dtype)
    store(results_out[0], 0, select(x < y, 1.0, no))
    store(results_out[1], 0, select(x <= y, 1.0, no))
    store(results_out[2], 0, select(x > y, 1.0, no))
    store(results_out[3], 0, select(x >= y, 1.0, no))
    store(results_out[4], 0, select(x == y, 1.0, no))
    store(results_out[5], 0, select(x != y, 1.0, no))
    store(results_out[6], 0, select((x < y) & (x > 0), 1.0, no))
    store(results_out[7], 0, select((x < y) | (x > 0), 1.0, no))
    store(results_out[8], 0, select(~(x < y), 1.0, no))
    store(results_out[9], 0, select(first_lanes(x, 3), x, y))
    store(results_out[10], 0, minimum(x, y))
    store(results_out[11], 0, maximum(x, y))
    return any_lane(x == 7.0), any_lane(x != x)


@each_dtype
def test_masks_and_nan(dtype):
    values = [np.nan, 1.0, -1.0, 0.0, -0.0, np.inf, -np.inf, 2.0]
    pairs = np.array([(x, y) for x in values for y in values], dtype)
    seen_nan = False
    for start in range(0, len(pairs), lanes(dtype)):
        a, b = (np.ascontiguousarray(column) for column in pairs[start : start + lanes(dtype)].T)
        results = np.empty((12, a.size), dtype)
        found = compute_masks(as_readonly(a), as_readonly(b), results)
        lane = np.arange(a.size)
        expected = [
            a < b,
            a <= b,
            a > b,
            a >= b,
            a == b,
            a != b,
            (a < b) & (a > 0),
            (a < b) | (a > 0),
            ~(a < b),
        ]
        expected += [np.where(lane < 3, a, b), np.where(b < a, b, a), np.where(b > a, b, a)]
        np.testing.assert_array_equal(results, np.array(expected, dtype))
        assert found == (False, bool(np.isnan(a).any()))
        seen_nan |= found[1]
    assert seen_nan


@jit
def move(source, destination, start, count):
    """Copy source[start:] to destination[start:], a vector and then `count` lanes of the next."""
    width = lanes(destination.dtype)
    store(destination, start, load(source, start, destination.dtype))
    start += width
    prefetch(source, start)
    store_partial(destination, start, count, load_partial(source, start, count, destination.dtype))


@each_dtype
@pytest.mark.parametrize("source_dtype", [np.float32, np.float64])
def test_load_and_store_anywhere_converted_whole_and_partly(source_dtype, dtype):
    width = lanes(dtype)
    source = np.random.default_rng(0).standard_normal(3 * width).astype(source_dtype)
    for start in (0, 1, width - 1):
        for count in (-1, 0, 1, width // 2, width - 1, width, width + 5):
            moved = start + width + min(max(count, 0), width)
            destination = np.full(3 * width, 9.0, dtype)
            move(as_readonly(source), destination, start, count)
            expected = np.full(3 * width, 9.0, dtype)
            expected[start:moved] = source[start:moved]
            np.testing.assert_array_equal(destination, expected)


@jit
def load_tail(source, index, count, destination):
    store(destination, 0, load_partial(source, index, count))


@each_dtype
def test_lanes_past_the_count_are_zero(dtype):
    width = lanes(dtype)
    source = np.arange(1, width + 1).astype(dtype)
    for count in range(width):  # the last lanes lie beyond the array
        destination = np.full(width, 9.0, dtype)
        load_tail(as_readonly(source), width - count, count, destination)
        np.testing.assert_array_equal(destination, np.r_[source[width - count :], np.zeros(width - count)])


@jit
def move_by_address(source, destination, index):
    width = lanes(source.dtype)
    to = address_of(destination, index)
    for k in range(2):
        vector = load_address(address_of(source, index + k * width), source.dtype)
        store_address(to + k * width * source.itemsize, vector)


@each_dtype
def test_addresses(dtype):
    width = lanes(dtype)
    source = np.arange(1, 2 * width + 4).astype(dtype)
    destination = np.zeros_like(source)
    move_by_address(as_readonly(source), destination, 2)
    np.testing.assert_array_equal(destination[2 : 2 + 2 * width], source[2 : 2 + 2 * width])
    assert not destination[:2].any()
    assert not destination[2 + 2 * width :].any()


@jit
def reduce(x):
    return reduce_add(load(x, 0)), reduce_max(load(x, 0))


@each_dtype
def test_reductions_have_a_fixed_order(dtype):
    x = np.random.default_rng(0).standard_normal(lanes(dtype)).astype(dtype)
    x[0] = 1e6
    expected = x
    while expected.size > 1:
        expected = expected[: expected.size // 2] + expected[expected.size // 2 :]
    assert reduce(as_readonly(x)) == (expected[0], x.max())
    assert reduce(as_readonly(-x))[1] == (-x).max()


@jit
def multiply_add(a, b, c, out):
    store(out, 0, fma(load(a, 0), load(b, 0), load(c, 0)))
    return fma(a[0], b[0], c[0])


@each_dtype
def test_fma_rounds_once_where_the_cpu_does(dtype):
    epsilon = np.finfo(dtype).eps
    a, b, c = (np.full(lanes(dtype), value, dtype) for value in (1 + epsilon, 1 - epsilon, -1))
    out = np.empty_like(a)
    scalar = multiply_add(as_readonly(a), as_readonly(b), as_readonly(c), out)
    expected = -(epsilon**2) if FUSED else 0.0
    np.testing.assert_array_equal(out, expected)
    assert scalar == dtype(expected)


@jit
def compute_scalars(a, b):
    return (
        *(minimum(a, b), maximum(a, b), floor(a), rint(a), sqrt(b), copysign(b, a), fma(a, b, b)),
        *(select(a < b, a, b), any_lane(a < b)),
    )


@each_dtype
def test_scalars(dtype):
    a, b = dtype(-1.5), dtype(4.0)
    assert compute_scalars(a, b) == (-1.5, 4.0, -2.0, -2.0, 2.0, -4.0, -2.0, -1.5, True)


@jit
def load_first(x):
    return reduce_add(load(x, 0))


@jit
def store_first(x):
    store(x, 0, broadcast(0.0, x.dtype))


@needs_compiler
@pytest.mark.parametrize(
    ("kernel", "array", "message"),
    [
        (load_first, np.zeros((4, 100)), "1-D contiguous float array"),
        (load_first, np.zeros(100)[::2], "1-D contiguous float array"),
        (load_first, np.zeros(100, np.int64), "1-D contiguous float array"),
        (store_first, as_readonly(np.zeros(100)), "cannot store to"),
    ],
)
def test_misuse_is_a_typing_error(kernel, array, message):
    with pytest.raises(TypingError, match=message):
        kernel(array)


def test_plain_python_checks_bounds():
    with pytest.raises(IndexError, match="not within an array of 1"):
        load(np.zeros(1), 0)
    with pytest.raises(IndexError, match="not within an array of 100"):
        load(np.zeros(100), -1)


@jit
def add_arrays(x, out):
    for i in range(0, len(x) - lanes(x.dtype) + 1, lanes(x.dtype)):
        store(out, i, fma(load(x, i), load(x, i), load(out, i)))


@needs_compiler
@needs_x86
@each_dtype
def test_the_widest_registers_are_used(dtype):
    x = np.arange(100).astype(dtype)
    add_arrays(as_readonly(x), np.zeros_like(x))
    assembly = list(add_arrays.inspect_asm().values())[-1]
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[cpu.VECTOR_BYTES]
    assert re.search(rf"mulp[sd]\s.*{register}|fmadd\w*p[sd]\s.*{register}", assembly)
    assert ("vfmadd" in assembly) == cpu.HAS_FMA
    assert "fmaf" not in assembly


KERNEL_MODULE = """
import numpy as np
from fastfit.runtime.compile import as_readonly, compile_statistics, jit
from fastfit.runtime.simd import broadcast, fma, lanes, load, reduce_add
from fastfit.runtime.vector_math import exp

@jit(inline=True, internal=True)
def square(v):
    return v * v

@jit
def sum_of_squared_exp(x):
    total = broadcast(0.0, x.dtype)
    for i in range(0, len(x), lanes(x.dtype)):
        total = total + square(exp(load(x, i)))
    return reduce_add(total)

if __name__ == "__main__":
    print(sum_of_squared_exp(as_readonly(np.zeros(64))), *compile_statistics()[:2])
"""


@needs_compiler
def test_a_second_process_compiles_nothing(tmp_path):
    script = tmp_path / "kernel_module.py"
    script.write_text(KERNEL_MODULE)
    runs = [run_python(script, FASTFIT_CACHE_DIR=str(tmp_path / "cache")).split() for _ in range(2)]
    assert [run[0] for run in runs] == ["64.0", "64.0"]
    assert int(runs[0][1]) > 0
    assert runs[1][1] == "0"
    assert int(runs[1][2]) > 0


SHOW_CPU = (
    "from fastfit.runtime import cpu; print(cpu.VECTOR_BYTES, cpu.HAS_FMA, cpu.lanes('f4'), cpu.cpu_name())"
)


@needs_x86
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("generic", None, "16 False 4 generic"),
        ("nehalem", "", "16 False 4 nehalem"),
        ("haswell", "", "32 True 8 haswell"),
        ("x86-64-v3", "", "32 True 8 x86-64-v3"),
        ("haswell", "-fma", "32 False 8 haswell"),
        ("skylake-avx512", "", "64 True 16 skylake-avx512"),
    ],
)
def test_the_cpu_that_numba_is_told_to_compile_for(name, features, expected):
    environment = {"NUMBA_CPU_NAME": name}
    if features is not None:
        environment["NUMBA_CPU_FEATURES"] = features
    assert run_python("-c", SHOW_CPU, **environment).strip() == expected


def test_the_cpu_of_this_process():
    assert cpu.VECTOR_BYTES in (16, 32, 64)
    assert cpu.lanes(np.float32) == 2 * cpu.lanes("float64") == cpu.VECTOR_BYTES // 4
    assert cpu.cpu_name()
    if platform.machine() in ("x86_64", "AMD64") and "NUMBA_CPU_NAME" not in os.environ:
        assert (cpu.VECTOR_BYTES == 64) == ("+avx512f" in cpu.cpu_features())


def test_cache_sizes_are_read_from_the_system(tmp_path, monkeypatch):
    entries = [
        ("Data", "1", "48K"),
        ("Instruction", "1", "32K"),
        ("Unified", "2", "2M"),
        ("Unified", "3", "odd"),
    ]
    for number, (kind, level, size) in enumerate(entries):
        directory = tmp_path / f"index{number}"
        directory.mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (directory / name).write_text(text + "\n")
    monkeypatch.setattr(cpu, "_CACHE_DIRECTORY", tmp_path)
    assert cpu.cache_sizes.__wrapped__() == (48 << 10, 2 << 20, None)
    monkeypatch.setattr(cpu, "_CACHE_DIRECTORY", tmp_path / "missing")
    assert cpu.cache_sizes.__wrapped__() == (None, None, None)
