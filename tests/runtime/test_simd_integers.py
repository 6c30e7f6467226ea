"""Vectors of unsigned integers in kernels, against the same written with NumPy."""

import numpy as np
import pytest

from fastfit.runtime import simd_integers as integers
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import store

pytestmark = pytest.mark.plain_python

LANES = lanes("uint32")


@jit
def move_fields(values, out, shift, mask):
    vector = integers.load_uint32(values, 1)
    integers.store_uint32(out, 0, integers.field(vector, shift, mask))


@jit
def run_sums(values, out, floats):
    vector = integers.load_uint32(values, 0)
    before = integers.sums_before(vector)
    integers.store_uint32(out, 0, before)
    store(floats, 0, integers.lower_float64(before))
    store(floats, len(floats) // 2, integers.upper_float64(before))
    return integers.last_lane(vector), integers.lane_at(vector, 2)


@jit
def combine(values, other, out):
    first = integers.load_uint32(values, 0)
    second = integers.load_uint32(other, 0)
    joined = integers.join_bits(integers.shift_left(first, np.uint32(3)), second)
    integers.store_uint32(out, 0, integers.add_uint32(integers.multiply_uint32(joined, second), np.uint32(5)))


@jit
def sort_out(values, words, out, rest, bit, n_inside):
    vector = integers.load_uint32(values, 0)
    inside = integers.is_below(integers.lane_numbers(), n_inside)
    kept = integers.bits_equal(words, vector, bit) & inside
    integers.store_uint32(out, 0, integers.keep_lanes(vector, kept))
    integers.store_first_uint32(rest, 0, 3, integers.keep_lanes(vector, inside & ~kept))
    return integers.count_lanes(kept)


@jit
def gather(array, positions, out):
    integers.store_uint32(out, 0, integers.gather_uint32(array, integers.load_uint32(positions, 0)))


@jit
def mark_changes(values, first, bits, out):
    vector = integers.load_uint32(values, 0)
    changes = integers.differs(vector, integers.shift_in(first, vector))
    integers.store_uint32(out, 0, integers.set_bits(vector, changes, bits))


@jit
def split_mask(values, bits, floats):
    mask = integers.has_bits(integers.load_uint32(values, 0), bits)
    return integers.count_lanes(integers.lower_mask(mask)), integers.count_lanes(integers.upper_mask(mask))


def draw(high=2**31, n=LANES + 1, seed=0):
    return np.random.default_rng(seed).integers(0, high, n).astype(np.uint32)


def empty():
    return np.zeros(LANES, np.uint32)


def test_a_field_is_taken_out_of_packed_integers():
    values, out = draw(2**32), empty()
    move_fields(values, out, np.uint32(7), np.uint32(0x3FF))
    np.testing.assert_array_equal(out, (values[1:] >> 7) & 0x3FF)


def test_sums_before_leave_the_lane_itself_out():
    values, out, floats = draw(1000), empty(), np.zeros(LANES)
    last, third = run_sums(values, out, floats)
    expected = np.concatenate([[0], np.cumsum(values[: LANES - 1])])
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(floats, expected)
    assert (last, third) == (values[LANES - 1], values[2])


def test_arithmetic_is_lane_by_lane():
    values, other, out = draw(100), draw(8, seed=1), empty()
    combine(values, other, out)
    first, second = values[:LANES], other[:LANES]
    np.testing.assert_array_equal(out, ((first << 3) | second) * second + 5)


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("n_inside", [LANES, 3, 0])
def test_lanes_are_sorted_out_by_bits(bit, n_inside):
    values, words = draw(320), draw(2**32, 10, seed=2)
    out, rest = empty(), np.full(LANES, 7, np.uint32)
    n_kept = sort_out(values, words, out, rest, np.uint32(bit), n_inside)
    inside = values[:n_inside]
    is_kept = (words[inside // 32] >> (inside % 32)) & 1 == bit
    assert n_kept == is_kept.sum()
    np.testing.assert_array_equal(out[:n_kept], inside[is_kept])
    others = inside[~is_kept][:3]
    np.testing.assert_array_equal(rest[: len(others)], others)
    np.testing.assert_array_equal(rest[3:], 7)


def test_gather():
    array, positions, out = draw(2**32, 50), draw(50, seed=3), empty()
    gather(array, positions, out)
    np.testing.assert_array_equal(out, array[positions[:LANES]])


def test_changes_between_neighbours_get_a_bit_and_the_others_lose_it():
    values, out = np.sort(draw(6)), empty()
    bits = np.uint32(1 << 20)
    mark_changes(values | bits, values[0] | bits, bits, out)
    changes = np.concatenate([[False], np.diff(values[:LANES]) > 0])
    np.testing.assert_array_equal(out, values[:LANES] | np.where(changes, bits, 0))


def test_halves_of_a_mask():
    values = draw(8)
    expected = (values[:LANES] & 2) != 0
    lower, upper = split_mask(values, np.uint32(2), np.zeros(2))
    assert (lower, upper) == (expected[: LANES // 2].sum(), expected[LANES // 2 :].sum())
