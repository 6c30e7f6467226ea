"""Samples that share one value, sorted and divided with few moves, are where scikit-learn's sort leaves them."""

import numpy as np
import pytest

from fastfit.kernels.general_common_value import LIST_SPARE, divide_lopsided, sort_around_common
from fastfit.kernels.general_introsort import introsort
from fastfit.kernels.general_order import divide
from fastfit.kernels.general_problem import CODE_SHIFT, MAX_KEY, PLACES, ROW_MASK, SortBuffers
from fastfit.kernels.node_sort import BUFFER_SPARE, SCRATCH_SIZE
from fastfit.runtime.compile import jit

MISSING = 1000
COMMON = 40


@jit
def run_introsort(keys, start, end, stack):
    introsort(keys, start, end, stack)


@jit
def run_sort(codes, keys, unsigned_keys, start, end, keeps_ties, buffers):
    return sort_around_common(codes, MISSING, keys, unsigned_keys, start, end, keeps_ties, buffers)


@jit
def run_divide(keys, start, end, greatest):
    return divide(keys, start, end, greatest, MAX_KEY)


@jit
def run_divide_lopsided(codes, split_code, keys, start, end, position, rare):
    return divide_lopsided(codes, split_code, keys, start, end, position, rare)


def buffers_for(n_keys):
    return SortBuffers(
        buffer=np.empty(n_keys + BUFFER_SPARE, np.uint64),
        scratch=np.empty(SCRATCH_SIZE, np.uint64),
        unsorted=np.empty(n_keys + 1, np.int64),
        stack=np.empty((128, 3), np.int64),
        rare=np.empty(n_keys // 4 + LIST_SPARE, np.uint32),
        rare_codes=np.empty(n_keys // 4 + LIST_SPARE, np.uint32),
        rare_keys=np.empty(n_keys // 4 + LIST_SPARE, np.uint64),
        positions=np.full(n_keys, -1, np.int32),
    )


def draw_codes(rng, n_codes, share, others):
    """Codes of which a share is not the common one but one of the others; a vector of any codes behind them."""
    codes = np.where(rng.random(n_codes + 16) < share, rng.choice(others, n_codes + 16), COMMON)
    return codes.astype(np.uint32)


def pack(codes, rows, first=0):
    keys = np.full(first + len(rows) + 3, 7 << CODE_SHIFT, np.int64)
    keys[first : first + len(rows)] = codes[: len(rows)].astype(np.int64) << CODE_SHIFT | rows
    return keys


@pytest.mark.parametrize("others", [[3], [90], [3, 90], range(100), [39, 41, 41, 41]])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.2])
def test_samples_are_where_an_introsort_leaves_them(others, share):
    rng = np.random.default_rng(0)
    n_sorted = 0
    for n_codes in (PLACES + 1, 100, 1000, 3001):
        codes = draw_codes(rng, n_codes, share, list(others))
        rows = rng.permutation(n_codes)
        expected = pack(codes, rows, first=5)
        run_introsort(expected, 5, 5 + n_codes, np.empty((128, 3), np.int64))
        # Codes of another feature, which are to be ignored.
        found = pack(codes[::-1], rows, first=5)
        first, stop = run_sort(
            codes, found, found.view(np.uint64), 5, 5 + n_codes, True, buffers_for(n_codes + 5)
        )
        if stop < first or stop < 0:
            continue
        n_sorted += 1
        np.testing.assert_array_equal(found & ROW_MASK, expected & ROW_MASK)
        of_expected = expected[5:-3] >> CODE_SHIFT
        assert [first - 5, stop - 5] == [(of_expected < COMMON).sum(), (of_expected <= COMMON).sum()]
        is_told = np.ones(n_codes, bool)
        is_told[first - 4 : stop - 6] = False
        np.testing.assert_array_equal((found[5:-3] >> CODE_SHIFT)[is_told], of_expected[is_told])
    assert n_sorted >= 2


@pytest.mark.plain_python
def test_few_samples_are_moved_as_by_a_partition():
    rng = np.random.default_rng(1)
    n_codes = 150
    codes = draw_codes(rng, n_codes, 0.05, [3, 90])
    keys = pack(codes, rng.permutation(n_codes))
    expected = keys.copy()
    run_introsort(expected, 0, n_codes, np.empty((128, 3), np.int64))
    first, stop = run_sort(codes, keys, keys.view(np.uint64), 0, n_codes, True, buffers_for(n_codes))
    assert 0 < first < stop < n_codes
    np.testing.assert_array_equal(keys & ROW_MASK, expected & ROW_MASK)


@pytest.mark.parametrize(("share", "missing"), [(0.6, False), (0.02, True)])
def test_what_is_not_common_and_known_is_left_to_others(share, missing):
    rng = np.random.default_rng(2)
    codes = draw_codes(rng, 500, share, range(100))
    codes[::100] = MISSING if missing else codes[::100]
    keys = pack(codes[::-1], np.arange(500))
    before = keys.copy()
    assert run_sort(codes, keys, keys.view(np.uint64), 0, 500, True, buffers_for(500)) == (-1, -1)
    np.testing.assert_array_equal(keys, before)


@pytest.mark.plain_python
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0])
def test_a_lopsided_split_leaves_samples_where_any_other_does(share):
    rng = np.random.default_rng(3)
    n_divided = 0
    for n_codes in (2, 3, 17, 64, 333):
        codes = (rng.random(n_codes + 16) < share).astype(np.uint32)
        rows = rng.permutation(n_codes)
        expected, found = pack(codes, rows, first=2), pack(0 * codes, rows, first=2)
        position = run_divide(expected, 2, 2 + n_codes, (1 << CODE_SHIFT) - 1)
        rare = np.empty(n_codes // 4 + LIST_SPARE, np.uint32)
        is_divided = run_divide_lopsided(codes, 0, found, 2, 2 + n_codes, position, rare)
        n_few = min(position - 2, 2 + n_codes - position)
        assert is_divided == (n_few <= n_codes // 4)
        same = expected if is_divided else pack(codes, rows, first=2)
        np.testing.assert_array_equal(found & ROW_MASK, same & ROW_MASK)
        n_divided += is_divided
    assert n_divided >= (1 if share == 0.5 else 3) - (share == 0.5)
