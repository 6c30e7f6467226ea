"""The decorator: its flags, what it refuses, and how it behaves without a compiler."""

import json
import os
import subprocess
import sys
import textwrap
import threading

import numba
import numpy as np
import pytest

from fastfit.runtime.compile import REASSOCIATE, as_readonly, compile_statistics, jit

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no compiler")


def run_python(code, **environment):
    """Run a script in a process of its own and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@jit(inline=True)
def double(x):
    return 2.0 * x


@jit(internal=True)
def triple(x):
    return 3.0 * x


@jit
def ratio(a, b):
    return double(a) / b


@jit
def call_internal(x):
    return triple(x)


@jit(fastmath=REASSOCIATE)
def sum_of(
    x,  # (n,)
):
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
    return total


def count_missing(x):
    missing = 0
    for i in range(x.shape[0]):
        if np.isnan(x[i]):
            missing += 1
    return missing


def test_every_flag_is_set_here():
    for kernel in (double, triple, ratio, sum_of):
        options = kernel.targetoptions
        assert options["nogil"]
        assert options["nopython"]
        assert options["boundscheck"] is False
        assert options["error_model"] == "numpy"
    assert ratio.targetoptions["fastmath"] == set()
    assert sum_of.targetoptions["fastmath"] == REASSOCIATE


def test_division_by_zero_is_numpys():
    assert ratio(1.0, 0.0) == np.inf


def test_inline_marks_a_helper_for_llvm():
    @jit(inline=True)
    def helper(x):
        return x + 1.0

    helper._cache.disable()  # code from disk cannot be inspected
    helper(1.0)
    assert "alwaysinline" in next(iter(helper.inspect_llvm().values()))


@pytest.mark.parametrize("order", ["before it is compiled", "after"])
def test_an_internal_kernel_cannot_be_called_from_python(order):
    if order == "after":
        assert call_internal(2.0) == 6.0
    with pytest.raises(TypeError, match="triple is internal: only other kernels can call it"):
        triple(2.0)
    assert call_internal(2.0) == 6.0


@pytest.mark.parametrize(
    "fastmath", [True, "fast", {"fast"}, {"nnan"}, {"ninf"}, REASSOCIATE | {"nnan"}, ["exact"]]
)
def test_fastmath_that_breaks_tests_for_nan_is_refused(fastmath):
    with pytest.raises(ValueError, match="fastmath must be a set of"):
        jit(fastmath=fastmath)
    with pytest.raises(ValueError, match="fastmath must be a set of"):
        jit(count_missing, fastmath=fastmath)


def test_nan_is_seen_under_all_that_fastmath_allows():
    kernel = jit(count_missing, fastmath=REASSOCIATE | {"afn"})
    assert kernel(np.array([1.0, np.nan, np.inf, np.nan])) == 2


def test_nothing_is_compiled_before_the_first_call():
    before = compile_statistics()
    kernel = jit(lambda x: x - 1.0)
    assert compile_statistics() == before
    assert kernel.signatures == []


def test_first_calls_from_many_threads_compile_once():
    kernel = jit(lambda x: 3.0 * x - 1.0)
    kernel._cache.disable()
    before = compile_statistics()
    results = []
    threads = [threading.Thread(target=lambda: results.append(kernel(2.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = compile_statistics()
    assert results == [5.0] * 8
    assert after.n_compiled - before.n_compiled == 1
    assert after.compile_seconds > before.compile_seconds


def test_statistics_count_a_kernel_inside_a_kernel_but_its_seconds_once():
    inner = jit(lambda x: x + 0.25)
    inner._cache.disable()
    outer = jit(lambda x: inner(x) * 0.5)
    outer._cache.disable()
    before = compile_statistics()
    assert outer(1.75) == 1.0
    after = compile_statistics()
    assert after.n_compiled - before.n_compiled == 2
    assert after.n_loaded == before.n_loaded
    timers = [
        next(iter(kernel.overloads.values())).metadata["timers"]["compiler_lock"] for kernel in (inner, outer)
    ]
    assert after.compile_seconds - before.compile_seconds < max(timers) * 1.5


def test_what_fails_to_compile_is_not_counted():
    kernel = jit(lambda x: x.no_such_attribute)
    before = compile_statistics()
    with pytest.raises(Exception, match="no_such_attribute"):
        kernel(1.0)
    assert compile_statistics().n_compiled == before.n_compiled


def test_recompile_compiles():
    kernel = jit(lambda x: x * 0.75)
    assert kernel(4.0) == 3.0
    before = compile_statistics()
    kernel.recompile()
    assert kernel(4.0) == 3.0
    assert compile_statistics().n_compiled - before.n_compiled == 1


def test_without_a_compiler_kernels_are_plain_functions():
    found = run_python(
        """
        import json, types
        import numpy as np
        from fastfit.runtime.compile import REASSOCIATE, as_readonly, cache_directory, compile_statistics, jit

        @jit
        def plain(x):
            return x + 1

        @jit(fastmath=REASSOCIATE, inline=True, internal=True)
        def with_options(x):
            return plain(x) + 1

        kinds = [isinstance(f, types.FunctionType) for f in (plain, with_options)]
        cache_directory()
        print(json.dumps([kinds, with_options(1), compile_statistics().n_compiled]))
        """,
        NUMBA_DISABLE_JIT="1",
    )
    assert found == [[True, True], 3, 0]


class TestAsReadonly:
    """as_readonly makes one array type of many."""

    def test_same_memory_other_flag(self):
        array = np.arange(6.0).reshape(2, 3)
        view = as_readonly(array)
        assert not view.flags.writeable
        assert array.flags.writeable
        assert np.shares_memory(view, array)
        assert view.strides == array.strides

    def test_what_is_read_only_already(self):
        array = np.arange(3.0)
        array.flags.writeable = False
        assert not as_readonly(array).flags.writeable

    def test_one_compile_serves_writable_arrays_and_memory_maps(self, tmp_path):
        kernel = jit(sum_of.py_func)
        array = np.arange(4.0)
        mapped = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=4)
        mapped[:] = array
        mapped.flush()
        read_only_map = np.memmap(tmp_path / "x", dtype=np.float64, mode="r", shape=4)
        for x in (array, mapped, read_only_map):
            view = as_readonly(x)
            assert type(view) is np.ndarray
            assert kernel(view) == 6.0
        assert len(kernel.signatures) == 1
