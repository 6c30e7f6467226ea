"""The samples of a node: sorted out to its children, in their order, and given the value of their leaf.

A table of 256 bytes says which bins go left, so that thresholds, missing values and sets of categories are one loop
without a branch: every member of the team sorts its part of the node's samples, left ones from the front and right
ones from the back of its part of a second array, and copies them to where they belong once all have counted.
"""

import numpy as np

from fastfit.kernels.histogram_tree import begin_and_end
from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.simd import element


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
    samples,  # (n_samples + padding,) uint32
    bounds,  # (start, end) of what to sort out
    others,  # (n_samples,) uint32, out
):
    """Write the samples that go left to others from start on, the others from end down; return how many go left."""
    start, end = bounds
    low = start
    high = end - 1
    for position in range(start, end):
        sample = element(samples, position)
        is_left = np.int64(element(goes_left, np.int64(element(column, first + np.int64(sample)))))
        set_element(others, low, sample)
        set_element(others, high, sample)
        low += is_left
        high -= 1 - is_left
    return low - start


@jit(internal=True)
def copy_back(
    others,  # (n_samples,) uint32
    bounds,  # (start, end) of the node
    n_left,  # (n_threads, 8) int64: how many samples of each part go left
    thread_idx,
    n_threads,
    samples,  # (n_samples + padding,) uint32, out
):
    """Copy a member's part of the sorted samples to where the children lie, each child's in order."""
    node_start, node_end = bounds
    n_node = node_end - node_start
    left_place = node_start
    right_place = node_start
    for member in range(n_threads):
        right_place += n_left[member, 0]
    for member in range(thread_idx):
        start, end = begin_and_end(n_node, member, n_threads)
        left_place += n_left[member, 0]
        right_place += end - start - n_left[member, 0]
    start, end = begin_and_end(n_node, thread_idx, n_threads)
    middle = n_left[thread_idx, 0]
    for i in range(middle):
        set_element(samples, left_place + i, element(others, node_start + start + i))
    for i in range(end - start - middle):
        set_element(samples, right_place + i, element(others, node_start + end - 1 - i))


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
