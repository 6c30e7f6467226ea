"""Additions to slots of histograms in kernels, against the same written with NumPy."""

import numpy as np
import pytest

from fastfit.runtime.compile import jit
from fastfit.runtime.integer_pairs import add_to_slots, load_two
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.simd import address_of

pytestmark = pytest.mark.plain_python

PARTS = 16
SLOTS = 260


@jit
def add_words(bins, histogram, width, word):
    at = address_of(histogram, 0)
    add_to_slots(bins, 0, 8, at, width, word)
    add_to_slots(bins, 8, 4, at + 8 * width, width, word)
    add_to_slots(bins, 12, 2, at + 12 * width, width, word)
    add_to_slots(bins, 14, 1, at + 14 * width, width, word)


@jit
def add_pairs(bins, histogram, width, pairs):
    at = address_of(histogram, 0)
    pair = load_two(pairs, 2)
    add_to_slots(bins, 0, 8, at, width, pair)
    add_to_slots(bins, 8, 4, at + 8 * width, width, pair)
    add_to_slots(bins, 12, 2, at + 12 * width, width, pair)
    add_to_slots(bins, 14, 1, at + 14 * width, width, pair)


def bins_of(turn):
    bins = np.random.default_rng(turn).integers(0, 256, PARTS).astype(np.uint8)
    bins[turn % PARTS] = 255  # the highest bit of a byte must not reach its neighbours
    return bins


def test_words():
    histogram = aligned_zeros(PARTS * SLOTS, np.int64)
    expected = np.zeros((PARTS, SLOTS), np.int64)
    for turn in range(20):
        bins = bins_of(turn)
        add_words(bins, histogram, 8 * SLOTS, (turn - 7) * 10**12)
        expected[np.arange(15), bins[:15]] += (turn - 7) * 10**12
    np.testing.assert_array_equal(histogram.reshape(PARTS, SLOTS), expected)


def test_pairs():
    histogram = aligned_zeros(2 * PARTS * SLOTS, np.int64)
    expected = np.zeros((PARTS, SLOTS, 2), np.int64)
    pairs = aligned_zeros(4, np.int64)
    for turn in range(20):
        bins = bins_of(turn)
        pairs[2:] = (7 - turn) * 10**13, turn << 40
        add_pairs(bins, histogram, 16 * SLOTS, pairs)
        expected[np.arange(15), bins[:15]] += pairs[2:]
    np.testing.assert_array_equal(histogram.reshape(PARTS, SLOTS, 2), expected)
