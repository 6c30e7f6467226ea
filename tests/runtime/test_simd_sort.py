"""Networks, pivots and splits of unsigned integers, against NumPy and by the 0-1 principle."""

import itertools
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from numba.core import config
from numba.core.errors import TypingError

from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd_sort import exchanges, network_size, pick_pivot, sort_few, split

pytestmark = pytest.mark.plain_python

each_dtype = pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
needs_compiler = pytest.mark.skipif(config.DISABLE_JIT, reason="is about compiled code")
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")


@jit
def run_sort_few(keys, start, count):
    sort_few(keys, start, count)


@jit
def run_sort_parts(keys, count):
    for start in range(0, len(keys), count):
        sort_few(keys, start, count)


@jit
def run_pick_pivot(keys, start, count):
    return np.uint64(pick_pivot(keys, start, count))


@jit
def run_split(keys, buffer, start, stop, pivot):
    return split(keys, buffer, start, stop, keys.dtype.type(pivot))


@jit
def run_network_size(keys):
    return network_size(keys.dtype)


def draw_keys(rng, n, dtype, spread=64):
    return rng.integers(0, np.iinfo(dtype).max, n, dtype=dtype, endpoint=True) >> dtype(
        max(0, dtype().nbytes * 8 - spread)
    )


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_exchanges_sort_all_zeros_and_ones(n):
    # A network that sorts every sequence of zeros and ones sorts everything (Knuth, vol. 3, 5.3.4).
    for values in itertools.product((0, 1), repeat=n):
        values = list(values)
        for i, j in exchanges(n):
            assert i < j
            values[i], values[j] = min(values[i], values[j]), max(values[i], values[j])
        assert values == sorted(values)


@each_dtype
@pytest.mark.parametrize("spread", [1, 4, 64])
def test_sorts_every_number_of_keys(dtype, spread):
    rng = np.random.default_rng(spread)
    start = 3
    for n in range(network_size(dtype) + 1):
        keys = draw_keys(rng, n + 2 * start, dtype, spread)
        expected = keys.copy()
        expected[start : start + n].sort()
        run_sort_few(keys, start, n)
        np.testing.assert_array_equal(keys, expected)


@needs_compiler
@each_dtype
def test_networks_sort_zeros_and_ones_with_greatest_keys(dtype):
    # One sequence for each number of ones suffices if it is shuffled often; ones are the keys that padding equals.
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 7, 8, 13, 16, 17, 31, 32, 50, 64):
        if n > network_size(dtype):
            continue
        parts = (np.arange(n) < np.arange(n + 1)[:, np.newaxis]).astype(dtype) * np.iinfo(dtype).max
        parts = rng.permuted(np.tile(parts, (50, 1)), axis=1)
        expected = np.sort(parts, axis=1)
        run_sort_parts(parts.reshape(-1), n)
        np.testing.assert_array_equal(parts, expected)


@each_dtype
def test_network_size_is_the_same_in_kernels(dtype):
    assert run_network_size(np.zeros(1, dtype)) == network_size(dtype) >= 2 * lanes(dtype)


@each_dtype
def test_splits_ranges_of_every_length(dtype):
    rng = np.random.default_rng(0)
    n_lanes = lanes(dtype)
    for n in [*range(3 * n_lanes), 100, 1000]:
        keys = draw_keys(rng, n + 10, dtype, 4)
        before = keys.copy()
        pivot = int(rng.integers(0, 16))
        buffer = np.zeros(n + n_lanes, dtype)
        middle = run_split(keys, buffer, 5, 5 + n, pivot)
        assert middle == 5 + np.count_nonzero(before[5 : 5 + n] <= pivot)
        assert (keys[5:middle] <= pivot).all()
        assert (keys[middle : 5 + n] > pivot).all()
        np.testing.assert_array_equal(np.sort(keys), np.sort(before))
        np.testing.assert_array_equal(keys[:5], before[:5])
        np.testing.assert_array_equal(keys[5 + n :], before[5 + n :])


@each_dtype
def test_a_pivot_below_or_at_all_keys(dtype):
    keys = np.full(70, 9, dtype)
    buffer = np.zeros(70 + lanes(dtype), dtype)
    assert run_split(keys, buffer, 0, 70, 8) == 0
    assert run_split(keys, buffer, 0, 70, 9) == 70
    assert (keys == 9).all()


@each_dtype
def test_the_pivot_is_a_key_near_the_median(dtype):
    rng = np.random.default_rng(0)
    ranks = []
    for n in [network_size(dtype), 333, 5000]:
        for _ in range(30):
            keys = draw_keys(rng, n + 7, dtype)
            part = keys[7:]
            pivot = run_pick_pivot(keys, 7, n)
            assert pivot in part
            ranks.append(np.mean(part < pivot))
    assert 0.4 < np.mean(ranks) < 0.6
    assert np.quantile(ranks, 0.1) > 0.15
    assert np.quantile(ranks, 0.9) < 0.85


@needs_compiler
@pytest.mark.parametrize(
    "keys", [np.zeros(4, np.int32), np.zeros(8, np.uint32)[::2], np.zeros((4, 1), np.uint32)]
)
def test_other_arrays_are_refused(keys):
    with pytest.raises(TypingError, match="expected 1-D contiguous arrays of uint32 or uint64"):
        run_sort_few(keys, 0, 1)


@needs_compiler
@needs_x86
@pytest.mark.slow
@pytest.mark.parametrize("name", ["nehalem", "haswell"])
def test_other_vector_widths(name):
    """Run the tests of this file, and of the sorts made of it, with narrower vectors."""
    files = [__file__, os.path.join(os.path.dirname(__file__), "..", "kernels", "test_node_sort.py")]
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not other_vector_widths and not any_keys",
        *files,
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
