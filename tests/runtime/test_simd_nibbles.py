"""Orders packed into words of nibbles, in kernels and in plain Python, against lists."""

import numpy as np
import pytest

from fastfit.runtime import simd_nibbles as nibbles
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import store

pytestmark = [
    pytest.mark.plain_python,
    pytest.mark.skipif(not nibbles.HAS_NIBBLES, reason="needs vectors of 512 bits"),
]

LANES = lanes("float64")


@jit
def look_up_next(table, words, first_out, second_out):
    vector = nibbles.load_words(words, 1)
    store(first_out, 0, nibbles.look_up(table, vector))
    store(second_out, 0, nibbles.look_up(table, nibbles.without_first(vector)))


@jit
def mark_members(words, members, out):
    nibbles.store_words(out, 0, nibbles.nibbles_of(nibbles.load_words(words, 1), members))


@jit
def take(word, mask):
    return nibbles.take_bits(word, mask)


def packed(order):
    return np.uint64(sum(int(thing) << 4 * position for position, thing in enumerate(order)))


@pytest.fixture
def orders():
    rng = np.random.default_rng(0)
    return [rng.permutation(16) for _ in range(LANES + 1)]


def test_look_up(orders):
    table = np.random.default_rng(1).normal(size=16)
    first, second = np.empty((2, LANES))
    look_up_next(table, np.array([packed(order) for order in orders]), first, second)
    np.testing.assert_array_equal(first, [table[order[0]] for order in orders[1:]])
    np.testing.assert_array_equal(second, [table[order[1]] for order in orders[1:]])


@pytest.mark.parametrize("members", [{0}, {15}, {3, 4, 9}, set(range(16)), set()])
def test_members_and_others_are_taken_out_in_order(orders, members):
    words = np.array([packed(order) for order in orders])
    masks = np.empty(LANES, np.uint64)
    mark_members(words, np.uint64(sum(1 << thing for thing in members)), masks)
    for order, mask in zip(orders[1:], masks, strict=True):
        assert take(packed(order), mask) == packed([thing for thing in order if thing in members])
        assert take(packed(order), ~mask) == packed([thing for thing in order if thing not in members])
