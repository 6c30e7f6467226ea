"""Random splits: for each feature that is drawn one threshold, drawn between its least and greatest value in the node.

The best of these splits is the node's (Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63,
2006). Nothing is sorted: a feature costs a gather of its values and what the criterion has to count or to add up.

scikit-learn's generator gives a feature, then the feature's threshold, then the next feature. A threshold costs one
number whatever the values are, so that several features are drawn ahead and gathered together: a sample's row is
fetched once for all of them. Only a feature that turns out to be constant in the node has no threshold; what was drawn
after it is taken back then.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.tree_node import N_CONSTANTS, PROXY
from fastfit.runtime.bits import bits_float, float_bits
from fastfit.runtime.compile import jit
from fastfit.runtime.random import MAX_RANDOM_INT, next_state
from fastfit.runtime.simd import broadcast, store

FEATURE_THRESHOLD = np.float32(1e-7)
# Features that are looked at together.
BATCH = 4
# A vector's worth of values behind those of a node, so that whole vectors can be read.
PADDING = 16

# Columns of RandomDraw.batch: a drawn feature, and the state of the draw when it was drawn.
DRAWN_FEATURE, FEATURE_STATE, THRESHOLD_STATE, FEATURE_POSITION = 0, 1, 2, 3
DRAWN_BEFORE, VISITED_BEFORE, LAST_BEFORE, SWAPS_BEFORE = 4, 5, 6, 7
BATCH_COLUMNS = 8
# Entries of RandomDraw.counts.
N_DRAWN, N_FOUND, N_VISITED, LAST, N_SWAPS = 0, 1, 2, 3, 4
DRAW_COUNTS = 8
# Entries of Candidates.chosen.
BEST, LAST_FEATURE = 0, 1


class RandomDraw(NamedTuple):
    """The draw of features; see :mod:`fastfit.kernels.feature_draw` for their order."""

    features: np.ndarray  # (n_features,) int64, a permutation, 0, 1, ... at first
    constants: np.ndarray  # (n_features,) int64: the known constants of the current path, in the order found
    random_state: np.ndarray  # (1,) int64: state of scikit-learn's generator
    batch: np.ndarray  # (BATCH, BATCH_COLUMNS) int64: the features drawn last
    swaps: np.ndarray  # (n_features, 2) int64: what the batch has exchanged in features
    counts: np.ndarray  # (DRAW_COUNTS,) int64


class SampleTable(NamedTuple):
    """The values of all samples, by columns and by rows."""

    X_t: np.ndarray  # (n_features * n_samples,) float32, read-only
    X: np.ndarray  # (n_samples * n_features,) float32, read-only; (0,) if never read
    n_samples: int
    max_samples_by_rows: int  # nodes of more samples read columns
    row_mask: np.uint32  # the bits of an entry that are the sample's row


class Candidates(NamedTuple):
    """The features of a batch, each in a slot; a slot of the other half keeps the best one of those before."""

    values: np.ndarray  # (2 * BATCH, n_root_samples + PADDING) float32, of the node's samples
    offsets: np.ndarray  # (BATCH,) int64: where the features' values begin in the table
    bounds: np.ndarray  # (2, BATCH) float32: least and greatest values
    features: np.ndarray  # (2 * BATCH,) int64
    thresholds: np.ndarray  # (2 * BATCH,) float64
    positions: np.ndarray  # (2 * BATCH,) int64: number of samples that go left
    chosen: np.ndarray  # (2,) int64: slot of the BEST split, or -1, and LAST_FEATURE


# --- The draw -----------------------------------------------------------------------------------------------


@jit(inline=True, internal=True)
def _swap(features, i, j):
    kept = features[i]
    features[i] = features[j]
    features[j] = kept


@jit(inline=True, internal=True)
def begin_draw(draw):
    draw.counts[N_DRAWN] = 0
    draw.counts[N_FOUND] = 0
    draw.counts[N_VISITED] = 0
    draw.counts[LAST] = len(draw.features)


@jit(inline=True, internal=True)
def draw_batch(draw, n_known, max_features, max_batch):
    """Draw features as if none of them were constant in the node; return how many, 0 when the draw is over."""
    features = draw.features
    n_drawn = draw.counts[N_DRAWN]
    n_found = draw.counts[N_FOUND]
    n_visited = draw.counts[N_VISITED]
    last = draw.counts[LAST]
    state = draw.random_state[0]
    n_swaps = 0
    n_batch = 0
    while (
        n_batch < max_batch
        and last > n_known + n_found
        and (n_visited < max_features or n_visited <= n_found + n_drawn)
    ):
        state = next_state(state)
        choices = np.uint32(last - n_found - n_drawn)
        position = n_drawn + np.int64(np.uint32(state & MAX_RANDOM_INT) % choices)
        other = n_drawn
        if position < n_known:
            n_drawn += 1
        else:
            position += n_found
            drawn = draw.batch[n_batch]
            drawn[DRAWN_FEATURE] = features[position]
            drawn[FEATURE_STATE] = state
            drawn[FEATURE_POSITION] = position
            drawn[DRAWN_BEFORE] = n_drawn
            drawn[VISITED_BEFORE] = n_visited
            drawn[LAST_BEFORE] = last
            drawn[SWAPS_BEFORE] = n_swaps
            state = next_state(state)
            drawn[THRESHOLD_STATE] = state
            last -= 1
            other = last
            n_batch += 1
        n_visited += 1
        _swap(features, other, position)
        draw.swaps[n_swaps, 0] = other
        draw.swaps[n_swaps, 1] = position
        n_swaps += 1
    draw.counts[N_DRAWN] = n_drawn
    draw.counts[N_VISITED] = n_visited
    draw.counts[LAST] = last
    draw.counts[N_SWAPS] = n_swaps
    draw.random_state[0] = state
    return n_batch


@jit(internal=True)
def take_back(draw, n_known, n_good):
    """Keep the first ``n_good`` features of a batch, note that the next one is constant, and take back the others."""
    features = draw.features
    drawn = draw.batch[n_good]
    n_swaps = draw.counts[N_SWAPS]
    while n_swaps > drawn[SWAPS_BEFORE]:
        n_swaps -= 1
        _swap(features, draw.swaps[n_swaps, 0], draw.swaps[n_swaps, 1])
    draw.counts[N_DRAWN] = drawn[DRAWN_BEFORE]
    draw.counts[N_VISITED] = drawn[VISITED_BEFORE] + 1
    draw.counts[LAST] = drawn[LAST_BEFORE]
    draw.random_state[0] = drawn[FEATURE_STATE]
    _swap(features, drawn[FEATURE_POSITION], n_known + draw.counts[N_FOUND])
    draw.counts[N_FOUND] += 1


@jit(inline=True, internal=True)
def end_draw(draw, node):
    """Hand the constants that were found on to the node's descendants, in the order in which they were found."""
    n_known = node.ints[N_CONSTANTS]
    for i in range(n_known):
        draw.features[i] = draw.constants[i]
    for i in range(n_known, n_known + draw.counts[N_FOUND]):
        draw.constants[i] = draw.features[i]
    node.ints[N_CONSTANTS] = n_known + draw.counts[N_FOUND]


@jit(inline=True, internal=True)
def place_threshold(state, low, high):
    """Return the threshold of [low, high) that a state of the generator stands for, in float64."""
    low = np.float64(low)
    high = np.float64(high)
    threshold = ((high - low) * np.float64(state & MAX_RANDOM_INT) / np.float64(MAX_RANDOM_INT)) + low
    return low if threshold == high else threshold


@jit(inline=True, internal=True)
def float32_below(threshold):
    """Return the greatest float32 that is not above a float64: a float32 is up to the one if it is up to the other.

    Without a branch, which would be mispredicted every other time.
    """
    bits = float_bits(np.float32(threshold))
    is_above = np.uint32(np.float64(bits_float(bits)) > threshold)
    # The next float32 downwards has the next smaller bits, or the next greater ones if it is negative.
    step = (bits >> np.uint32(31)) * np.uint32(2) - np.uint32(1)
    return bits_float(np.uint32(bits + is_above * step))


# --- Values -------------------------------------------------------------------------------------------------


@jit(inline=True, internal=True)
def _gather_one(source, stride, row_mask, entries, candidates, bank):
    """Gather the values of one feature, and find the least and the greatest, in two turns: a minimum takes a while."""
    values = candidates.values[bank]
    offset = np.uint64(candidates.offsets[0])
    n_samples = len(entries)
    low = source[np.uint64(entries[0] & row_mask) * stride + offset]
    high = other_low = other_high = low
    values[0] = low
    for i in range(1, n_samples - 1, 2):
        value = source[np.uint64(entries[i] & row_mask) * stride + offset]
        other = source[np.uint64(entries[i + 1] & row_mask) * stride + offset]
        values[i] = value
        values[i + 1] = other
        low = value if value < low else low
        high = value if value > high else high
        other_low = other if other < other_low else other_low
        other_high = other if other > other_high else other_high
    value = source[np.uint64(entries[n_samples - 1] & row_mask) * stride + offset]
    values[n_samples - 1] = value
    low = value if value < low else low
    high = value if value > high else high
    candidates.bounds[0, 0] = low if low < other_low else other_low
    candidates.bounds[1, 0] = high if high > other_high else other_high
    store(values, n_samples, broadcast(np.inf, np.float32))


@jit(inline=True, internal=True)
def _gather_four(source, stride, row_mask, entries, candidates, bank):
    """Gather the values of four features, and find the least and the greatest of each."""
    offset_0, offset_1 = np.uint64(candidates.offsets[0]), np.uint64(candidates.offsets[1])
    offset_2, offset_3 = np.uint64(candidates.offsets[2]), np.uint64(candidates.offsets[3])
    values_0, values_1 = candidates.values[bank], candidates.values[bank + 1]
    values_2, values_3 = candidates.values[bank + 2], candidates.values[bank + 3]
    low_0 = low_1 = low_2 = low_3 = np.float32(np.inf)
    high_0 = high_1 = high_2 = high_3 = np.float32(-np.inf)
    for i in range(len(entries)):
        row = np.uint64(entries[i] & row_mask) * stride
        value_0 = source[row + offset_0]
        value_1 = source[row + offset_1]
        value_2 = source[row + offset_2]
        value_3 = source[row + offset_3]
        values_0[i] = value_0
        values_1[i] = value_1
        values_2[i] = value_2
        values_3[i] = value_3
        low_0 = value_0 if value_0 < low_0 else low_0
        low_1 = value_1 if value_1 < low_1 else low_1
        low_2 = value_2 if value_2 < low_2 else low_2
        low_3 = value_3 if value_3 < low_3 else low_3
        high_0 = value_0 if value_0 > high_0 else high_0
        high_1 = value_1 if value_1 > high_1 else high_1
        high_2 = value_2 if value_2 > high_2 else high_2
        high_3 = value_3 if value_3 > high_3 else high_3
    lows, highs = candidates.bounds[0], candidates.bounds[1]
    lows[0], lows[1], lows[2], lows[3] = low_0, low_1, low_2, low_3
    highs[0], highs[1], highs[2], highs[3] = high_0, high_1, high_2, high_3
    infinity = broadcast(np.inf, np.float32)
    store(values_0, len(entries), infinity)
    store(values_1, len(entries), infinity)
    store(values_2, len(entries), infinity)
    store(values_3, len(entries), infinity)


@jit(inline=True, internal=True)
def _gather_batch(table, draw, entries, n_batch, candidates, bank):
    """Fill the slots from ``bank`` on with the values of a batch's features, and infinity behind them."""
    by_rows = len(entries) <= table.max_samples_by_rows
    scale = 1 if by_rows else table.n_samples
    for b in range(BATCH):
        candidates.offsets[b] = draw.batch[b if b < n_batch else 0, DRAWN_FEATURE] * scale
    source = table.X if by_rows else table.X_t
    stride = np.uint64(len(draw.features) if by_rows else 1)
    if n_batch == 1:
        _gather_one(source, stride, table.row_mask, entries, candidates, bank)
    else:
        _gather_four(source, stride, table.row_mask, entries, candidates, bank)


@jit(inline=True, internal=True)
def _place_batch(draw, n_batch, candidates, bank):
    """Place the thresholds of a batch up to the first feature that is constant; return how many there are."""
    for b in range(n_batch):
        drawn = draw.batch[b]
        low = candidates.bounds[0, b]
        high = candidates.bounds[1, b]
        candidates.chosen[LAST_FEATURE] = drawn[DRAWN_FEATURE]
        if high <= low + FEATURE_THRESHOLD:
            return b
        candidates.features[bank + b] = drawn[DRAWN_FEATURE]
        candidates.thresholds[bank + b] = place_threshold(drawn[THRESHOLD_STATE], low, high)
    return n_batch


def make_search(prepare, judge):
    """Return the kernel ``search(problem, work, node, limits, entries)``, which leaves the node's best split in a slot.

    ``problem.table`` is a `SampleTable`, ``work.draw`` a `RandomDraw`, and ``work.candidates`` are `Candidates`;
    ``entries`` are the node's samples.

    Parameters
    ----------
    prepare : kernel
        ``prepare(problem, work, node)`` is called before the first feature.
    judge : kernel
        ``judge(problem, work, node, limits, entries, slot)`` evaluates the split in a slot, and makes it BEST if its
        proxy is above ``node.floats[PROXY]``. It is called for one feature after the other, in the order of the draw.
    """

    @jit(inline=True, internal=True)
    def search(problem, work, node, limits, entries):
        draw, candidates = work.draw, work.candidates
        n_known = node.ints[N_CONSTANTS]
        node.floats[PROXY] = -np.inf
        candidates.chosen[BEST] = -1
        prepare(problem, work, node)
        max_batch = BATCH
        begin_draw(draw)
        while True:
            n_batch = draw_batch(draw, n_known, limits.max_features, max_batch)
            if n_batch == 0:
                break
            bank = BATCH if 0 <= candidates.chosen[BEST] < BATCH else 0
            _gather_batch(problem.table, draw, entries, n_batch, candidates, bank)
            n_good = _place_batch(draw, n_batch, candidates, bank)
            for slot in range(bank, bank + n_good):
                judge(problem, work, node, limits, entries, slot)
            if n_good < n_batch:
                take_back(draw, n_known, n_good)
                # Where one feature is constant others are, too: what is drawn ahead would be in vain.
                max_batch = 1
        end_draw(draw, node)

    return search
