"""The samples of a node: sorted out to its children, in their order, and given the value of their leaf.

A table of 256 bytes says which bins go left, so that thresholds, missing values and sets of categories are one loop
without a branch. Every member of a team has samples of its own, and moves its own of a node: nobody waits for a count
of others.
"""

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.simd import element

# Samples that a member of a team gets at a time: whatever order the data has, all have some of each part of it.
_DEALT = 64


@jit(internal=True)
def dealt_to_others(n_samples, thread_idx, n_threads):
    """Return how many samples the members before this one get: those of this one begin there."""
    n_turns = n_samples // (_DEALT * n_threads)
    n_rest = n_samples - n_turns * _DEALT * n_threads
    n_last = n_rest if n_rest < thread_idx * _DEALT else thread_idx * _DEALT
    return thread_idx * n_turns * _DEALT + n_last


@jit(internal=True)
def deal_samples(
    root_samples,  # (n_root,) uint32: the samples of a tree; none for all
    n_root,
    thread_idx,
    n_threads,
    samples,  # (n_samples + padding,) uint32, out
):
    """Write down the samples of a member, in order."""
    place = dealt_to_others(n_root, thread_idx, n_threads)
    for start in range(thread_idx * _DEALT, n_root, n_threads * _DEALT):
        n_dealt = n_root - start if n_root - start < _DEALT else _DEALT
        for i in range(n_dealt):
            sample = start + i if len(root_samples) == 0 else np.int64(element(root_samples, start + i))
            set_element(samples, place + i, sample)
        place += n_dealt


@jit(internal=True)
def fill_table(
    split_bin,
    missing_left,
    missing_bin,
    is_categorical,
    bitset,  # (BITSET_WORDS,) uint32
    goes_left,  # (256,) uint8, out
):
    """Write down which bins go to the left child."""
    for b in range(256):
        if is_categorical:
            goes_left[b] = (bitset[b >> 5] >> np.uint32(b & 31)) & np.uint32(1)
        else:
            goes_left[b] = (b <= split_bin) | ((missing_left != 0) & (b == missing_bin))


@jit(internal=True)
def sort_out(
    column,  # uint8: the bins of the split's feature from first on
    first,
    goes_left,  # (256,) uint8
    samples,  # (n_samples + padding,) uint32, in and out
    bounds,  # (start, end) of what to sort out
    others,  # (n_samples,) uint32, scratch
):
    """Move the samples that go left to the front, in order, and the others behind them; return where those begin."""
    start, end = bounds
    low = start
    high = start
    for position in range(start, end):
        sample = element(samples, position)
        is_left = np.int64(element(goes_left, np.int64(element(column, first + np.int64(sample)))))
        set_element(samples, low, sample)
        set_element(others, high, sample)
        low += is_left
        high += 1 - is_left
    for i in range(end - low):
        set_element(samples, low + i, element(others, start + i))
    return low


@jit(internal=True)
def add_leaf_value(
    samples,  # (n_samples + padding,) uint32
    bounds,  # (start, end) of its samples
    value,
    raw,  # float64: predictions of the training samples from first on, in and out
    first,
):
    """Add a leaf's value to the predictions of its samples."""
    for position in range(bounds[0], bounds[1]):
        place = first + np.int64(element(samples, position))
        set_element(raw, place, element(raw, place) + value)
