"""Sorts of a node's keys against NumPy, for sizes and distributions that their parts are for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastfit.kernels import node_sort
from fastfit.kernels.node_sort import (
    BUFFER_SPARE,
    SCRATCH_SIZE,
    gather_keys,
    sort_by_digits,
    sort_by_splits,
    sort_keys,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd_sort import CAN_COMPRESS, network_size, split


@jit
def run_sort_by_splits(keys, buffer, scratch, n, low_bits):
    sort_by_splits(keys, buffer, scratch, n, low_bits)


@jit
def run_sort_by_digits(keys, buffer, scratch, n, low_bits):
    sort_by_digits(keys, buffer, scratch, n, low_bits)


@jit
def run_gather_keys(codes, samples, payload, start, stop, low_bits, keys_out):
    gather_keys(codes, samples, payload, start, stop, low_bits, keys_out)


each_sort = pytest.mark.parametrize("sort", [run_sort_by_splits, run_sort_by_digits])
each_dtype = pytest.mark.parametrize("dtype", [np.uint32, np.uint64])


def sort_copy(sort, keys, low_bits=0):
    """Return keys sorted; what lies behind them must stay as it is."""
    n = len(keys)
    result = np.append(keys, keys.dtype.type(77))
    sort(result, np.full(n + BUFFER_SPARE, 5, keys.dtype), np.full(SCRATCH_SIZE, 9, np.uint64), n, low_bits)
    assert result[n] == 77
    return result[:n]


def check_sorted(sort, keys, low_bits=0):
    result = sort_copy(sort, keys, low_bits)
    codes = result >> keys.dtype.type(low_bits)
    assert (codes[:-1] <= codes[1:]).all()
    np.testing.assert_array_equal(np.sort(result), np.sort(keys))
    np.testing.assert_array_equal(
        sort_copy(sort, keys, low_bits), result
    )  # the same order of payloads each time


@each_sort
@each_dtype
@given(data=st.data())
def test_sorts_any_keys(sort, dtype, data):
    low_bits = data.draw(st.sampled_from([0, 1, 7]))
    pool = data.draw(st.lists(st.integers(0, np.iinfo(dtype).max), min_size=1, max_size=20))
    elements = st.one_of(st.integers(0, np.iinfo(dtype).max), st.sampled_from(pool))
    keys = data.draw(hnp.arrays(dtype, st.integers(1, 400), elements=elements))
    check_sorted(sort, keys, low_bits)


SIZES = [65, 100, 129, 1000, 4097, 30_000]


def distributions(rng, n):
    yield "uniform", rng.integers(0, 2**31, n)
    yield "narrow", rng.integers(0, 50, n) + 12345
    yield "two codes", rng.integers(0, 2, n) * 1000
    yield "one code", np.full(n, 4321)
    yield "mostly the least", np.where(rng.random(n) < 0.97, 0, rng.integers(0, 2**20, n))
    yield "mostly the greatest", np.where(rng.random(n) < 0.97, 2**20, rng.integers(0, 2**20, n))
    yield "mostly one between", np.where(rng.random(n) < 0.97, 2**19, rng.integers(0, 2**20, n))
    yield "skewed", (rng.exponential(size=n) ** 8).astype(np.int64) % 2**31
    yield "powers of two", 2 ** rng.integers(0, 31, n)
    yield "ascending", np.arange(n)
    yield "descending", np.arange(n)[::-1]
    yield "saw", np.arange(n) % 37
    yield "pipe organ", np.minimum(np.arange(n), np.arange(n)[::-1])
    yield "greatest keys", 2**32 - 1 - rng.integers(0, 3, n)


@each_sort
@each_dtype
@pytest.mark.parametrize("n", SIZES)
def test_sorts_all_distributions(sort, dtype, n):
    rng = np.random.default_rng(n)
    for _, keys in distributions(rng, n):
        check_sorted(sort, keys.astype(dtype))
        check_sorted(sort, keys.astype(dtype), 5)
    if dtype == np.uint64:
        check_sorted(sort, rng.integers(0, 2**64, n, dtype=np.uint64), 32)


@each_dtype
def test_digits_keep_the_order_of_equal_codes(dtype):
    rng = np.random.default_rng(0)
    for n in [network_size(dtype) + 1, 5000]:
        codes = rng.integers(0, 700, n)
        keys = (codes << 13 | np.arange(n)).astype(dtype)
        np.testing.assert_array_equal(sort_copy(run_sort_by_digits, keys, 13), np.sort(keys))


@pytest.mark.plain_python
@each_sort
@each_dtype
def test_sorts_a_few_hundred(sort, dtype):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 70, 300):
        check_sorted(sort, rng.integers(0, 2**32, n).astype(dtype))
        check_sorted(sort, rng.integers(0, 40, n).astype(dtype), 2)


@each_dtype
def test_no_choice_of_pivots_takes_many_splits(dtype, monkeypatch):
    # The kernel as plain Python, with pivots that are as bad as can be, and counting the keys that splits look at.
    n = 20_000
    n_moved = 0

    def counting_split(keys, buffer, start, stop, pivot):
        nonlocal n_moved
        n_moved += stop - start
        return split(keys, buffer, start, stop, pivot)

    def find_range(keys, start, stop):
        return np.uint64(keys[start:stop].min()), np.uint64(keys[start:stop].max())

    monkeypatch.setattr(node_sort, "split", counting_split)
    monkeypatch.setattr(node_sort, "_find_range", find_range)
    monkeypatch.setattr(node_sort, "pick_pivot", lambda keys, start, count: keys[start : start + count].min())
    plain = getattr(sort_by_splits, "py_func", sort_by_splits)
    scratch = np.zeros(SCRATCH_SIZE, np.uint64)
    for name, codes in distributions(np.random.default_rng(0), n):
        n_moved = 0
        keys = codes.astype(dtype)
        plain(keys, np.zeros(n + BUFFER_SPARE, dtype), scratch, n, 0)
        np.testing.assert_array_equal(keys, np.sort(codes))
        assert n_moved <= 45 * n, name


@pytest.mark.plain_python
@each_dtype
def test_gathers_keys(dtype):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1000, 50).astype(np.uint32)
    samples = rng.permutation(50).astype(np.uint32)
    payload = rng.integers(0, 8, 50).astype(np.uint32)
    keys = np.full(50, 77, dtype)
    run_gather_keys(codes, samples, payload, 10, 45, 3, keys)
    np.testing.assert_array_equal(keys[:35], codes[samples[10:45]] * 8 + payload[10:45])
    assert (keys[35:] == 77).all()


def test_the_sort_for_this_cpu():
    assert sort_keys is (sort_by_splits if CAN_COMPRESS else sort_by_digits)
