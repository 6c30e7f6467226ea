"""The values of leaves for losses without a second derivative: medians and quantiles of what is left to explain.

Of a leaf's residuals the two that the quantile lies between are selected (Hoare, "Algorithm 65: find", 1961) without a
branch for a value: those below the pivot and those above are written down one after the other, and only one of two
places moves on. The arithmetic between the two is NumPy's, so that values are scikit-learn's to the last bit.
"""

import numpy as np

from fastfit.kernels.histogram_rows import add_leaf_value
from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next


@jit(internal=True)
def _split_at(values, start, size, pivot, others):
    """Move values below the pivot to the front and write those above to ``others``; return how many there are of both.

    What stood at the front is lost unless it is one of them.
    """
    n_below = np.int64(0)
    n_above = np.int64(0)
    for i in range(size):
        value = element(values, start + i)
        set_element(values, start + n_below, value)
        set_element(others, start + n_above, value)
        n_below += value < pivot
        n_above += value > pivot
    return n_below, n_above


@jit(internal=True)
def select_two(
    values,  # float64: size of them from start on; their order is lost
    start,
    size,
    k,  # below size
    others,  # float64, scratch, as long as values
):
    """Return the k-th of the values in ascending order, from 0 on, and the one behind it, or itself if it is last."""
    behind = np.inf
    while True:
        a = values[start]
        b = values[start + size // 2]
        c = values[start + size - 1]
        low = a if a < b else b
        high = b if a < b else a
        pivot = low if c < low else (high if high < c else c)
        n_below, n_above = _split_at(values, start, size, pivot, others)
        n_up_to = size - n_above
        if k < n_below:
            size = n_below
            behind = pivot
        elif k < n_up_to:
            if k + 1 == n_up_to:
                for i in range(n_above):
                    value = element(others, start + i)
                    behind = value if value < behind else behind
            else:
                behind = pivot
            return pivot, behind if behind < np.inf else pivot
        else:
            for i in range(n_above):
                set_element(values, start + i, element(others, start + i))
            size = n_above
            k -= n_up_to


@jit(internal=True)
def quantile_of(values, start, size, quantile, others):
    """Return ``np.percentile(values, 100 * quantile)``, or ``np.median(values)`` for a negative quantile."""
    if quantile < 0.0:
        below, above = select_two(values, start, size, (size - 1) // 2, others)
        return below if size % 2 == 1 else (below + above) / 2.0
    position = (size - 1) * quantile
    k = np.int64(position)
    below, above = select_two(values, start, size, k, others)
    share = position - k
    gap = above - below
    return above - gap * (1.0 - share) if share >= 0.5 else below + gap * share


@jit
def search_leaves(
    control,
    thread_idx,
    n_threads,
    samples,  # (n_samples + padding,) uint32
    segments,  # (n_members, capacity, 2) int64: where a member's samples of a node begin and end
    leaves,  # (2, n_leaves) int64: their nodes, and where each has room for its residuals
    y,  # (n_samples,) float64
    raw,  # (n_samples,) float64: predictions, in and out
    options,  # (quantile, or -1 for the median; learning rate) float64
    scratch,  # (2, n_samples) float64
    values_out,  # (n_leaves,) float64
):
    """Set each leaf's value to the quantile of its residuals times the rate, and add it to the predictions."""
    residuals = scratch[0]
    leaf = take_next(control, 0)
    while leaf < len(values_out) and not stop_requested(control):
        node = leaves[0, leaf]
        first = leaves[1, leaf]
        place = first
        for member in range(len(segments)):
            for position in range(segments[member, node, 0], segments[member, node, 1]):
                sample = np.int64(element(samples, position))
                set_element(residuals, place, element(y, sample) - element(raw, sample))
                place += 1
        value = options[1] * quantile_of(residuals, first, place - first, options[0], scratch[1])
        values_out[leaf] = value
        for member in range(len(segments)):
            bounds = (segments[member, node, 0], segments[member, node, 1])
            add_leaf_value(samples, bounds, value, raw, 0)
        leaf = take_next(control, 0)
