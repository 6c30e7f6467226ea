"""The best split of a large node by the squared error, from its histogram and as few samples as possible.

With n samples that sum to T, of which the first c sum to S, the best split has the greatest
P(S, c) = S^2 / c + (T - S)^2 / (n - c). P is convex in (S, c). Inside of a bin, c grows by one and S by at least the
least and at most the greatest target of the node at each sample, so that (c, S) stays in a parallelogram between its
values at both ends of the bin. P is greatest at one of the corners, and the ends are splits themselves.
"""

import math
from typing import NamedTuple

import numpy as np

from fastfit.kernels.bounded_columns import N_BINS
from fastfit.kernels.presort_entries import FEATURE_THRESHOLD, NEARLY_EQUAL, ROW_BITS
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element

# Columns of BoundedWork.nodes: samples [START, END) in the order of the level, sum, least and greatest of their
# packed targets, whether the node is to be split, and the split; POSITION is where the first sample of the right child
# stands in the sorted column, or behind the last one before it.
START, END, TOTAL, LEAST, GREATEST, IS_OPEN, FEATURE, POSITION, N_LEFT, SUM_LEFT = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
NODE_FACTS = 10
# Columns of Candidates.ints.
OF_FEATURE, AT, COUNT, SUM = 0, 1, 2, 3
MAX_CANDIDATES = 32
# Gains may be so many times less exact than the rounding of targets to units makes them: additions of floats.
SLACK = 1.25
# Share of P by which rounding in the computation of P itself may matter, and more.
ROUGHLY = 1e-12
ROUND_OFF = float(np.finfo(np.float64).eps)


class Candidates(NamedTuple):
    """The splits of each node that may be the best, by threads; what a thread writes has cache lines of its own."""

    n: np.ndarray  # (n_threads, n_nodes, 8) int64: the first says how many; more than fit: give the tree up
    gains: np.ndarray  # (n_threads, n_nodes, MAX_CANDIDATES) float64: P
    ints: np.ndarray  # (n_threads, n_nodes, MAX_CANDIDATES, 4) int64
    bounds: np.ndarray  # (n_threads, n_nodes) float64: greatest P of a split between bins


class NodeFacts(NamedTuple):
    """The node that is searched, in units of targets."""

    number: int  # 1 is the root, 2 k and 2 k + 1 are the children of k
    n: int
    total: int
    least: float
    greatest: float
    min_leaf: int


class SearchState(NamedTuple):
    """What a thread knows of each node, by its number, while it searches: arrays of (n_nodes,)."""

    best: np.ndarray  # float64: greatest P known
    bound: np.ndarray  # float64: what P must reach for a closer look; infinity if nothing is looked for
    total: np.ndarray  # float64: sum of the node
    n: np.ndarray  # float64: samples of the node
    prefix: np.ndarray  # int64: packed sum before the bin
    packed: np.ndarray  # int64: packed sum before the sample
    value: np.ndarray  # int64: number of the value of the node's last sample
    former: np.ndarray  # int64: row of the node's last sample in the bin, or -1


@jit(inline=True, internal=True)
def facts_of(work, number, limits):
    """Return the facts of a node as numbers."""
    facts = work.nodes[number]
    return NodeFacts(
        number,
        facts[END] - facts[START],
        facts[TOTAL],
        np.float64(facts[LEAST]),
        np.float64(facts[GREATEST]),
        limits.min_samples_leaf,
    )


@jit(inline=True, internal=True)
def unpack(packed, shift):
    """Return (sum of targets, count) of a sum of packed targets."""
    total = (packed << (64 - shift)) >> (64 - shift)
    return total, (packed - total) >> shift


@jit(inline=True, internal=True)
def _gain(node, total, count):
    left = np.float64(total)
    right = np.float64(node.total) - left
    return left * left / count + right * right / (node.n - count)


@jit(inline=True, internal=True)
def inexactness(node_total, total):
    """Return how far P may be off: targets are rounded by half a unit each, S by c / 2, and S^2 / c by S."""
    return SLACK * (abs(np.float64(total)) + abs(np.float64(node_total - total)))


@jit(internal=True)
def build_histogram(
    bins,  # (n_samples, group_size) uint8
    rows,  # (n_samples,) int32
    start,
    end,
    packed,  # (n_samples,) int64
    histogram,  # (group_size * N_BINS,) int64, out
):
    """Add the packed targets of some rows up by bins: 0.4 ns a value."""
    for i in range(len(histogram)):
        histogram[i] = 0
    group_size = bins.shape[1]
    for p in range(start, end):
        row = element(rows, p)
        word = element(packed, row)
        for j in range(group_size):
            histogram[np.uint64(j * N_BINS) + np.uint64(bins[row, j])] += word


@jit(internal=True)
def bound_from_below(node, histogram, n_bins, shift):
    """Return the greatest P of a split between bins of one feature."""
    packed = np.int64(0)
    best = -np.inf
    for b in range(n_bins):
        own = histogram[b]
        if own != 0:
            total, count = unpack(packed, shift)
            if count >= node.min_leaf and node.n - count >= node.min_leaf:
                gain = _gain(node, total, count)
                best = gain if gain > best else best
        packed += own
    return best


@jit(inline=True, internal=True)
def _may_exceed(node, total, count, own_total, own_count, bound):
    """Tell whether a split inside of a bin may gain as much as the bound."""
    before = np.float64(total)
    spread = node.greatest - node.least
    # The number of samples after which S is above the chord as far as it can be, if the greatest come first.
    steps = (own_total - own_count * node.least) / spread
    top = before + steps * node.greatest
    count_top = count + steps
    bottom = before + (own_count - steps) * node.least
    count_bottom = count + (own_count - steps)
    others = np.float64(node.total)
    gain_top = top * top / count_top + (others - top) * (others - top) / (node.n - count_top)
    gain_bottom = bottom * bottom / count_bottom + (others - bottom) * (others - bottom) / (
        node.n - count_bottom
    )
    # Corners where one side is empty are no numbers; the tests are such that these bins are looked at.
    return not (gain_top < bound and gain_bottom < bound)


@jit(internal=True)
def _keep(node, candidates, thread_idx, gain, feature, position, count, total):
    """Put a split on the list of those that may be the best, and drop those that cannot be any more."""
    n = candidates.n[thread_idx, node.number, 0]
    gains, ints = candidates.gains[thread_idx, node.number], candidates.ints[thread_idx, node.number]
    if n > MAX_CANDIDATES:
        return
    slack = 2.0 * inexactness(node.total, total)
    for i in range(n):
        if gains[i] > gain + slack:
            return
    n_kept = 0
    for i in range(n):
        if gains[i] >= gain - slack:
            gains[n_kept] = gains[i]
            for j in range(4):
                ints[n_kept, j] = ints[i, j]
            n_kept += 1
    if n_kept < MAX_CANDIDATES:
        gains[n_kept] = gain
        ints[n_kept, OF_FEATURE] = feature
        ints[n_kept, AT] = position
        ints[n_kept, COUNT] = count
        ints[n_kept, SUM] = total
    candidates.n[thread_idx, node.number, 0] = n_kept + 1


@jit(inline=True, internal=True)
def _lowered(gain, n):
    """Return the least P of splits that may turn out as good as one of gain P, so inexact as both are.

    The larger |S| + |T - S| is, the more inexact is P, but it is at most the square root of n P.
    """
    return gain - (2.0 * SLACK * math.sqrt(n * gain) + ROUGHLY * gain) if gain > 0.0 else -np.inf


@jit(internal=True)
def _consider(columns, work, limits, candidates, state, thread_idx, number, feature, p, packed):
    """Look closer at a split that seems to gain as much as the bound; ``packed`` is the sum before position p."""
    rows = columns.rows[feature]
    entry = rows[p]
    former = state.former[number]
    if former < 0:
        return
    node = facts_of(work, number, limits)
    total, count = unpack(packed, work.shift)
    if count < node.min_leaf or node.n - count < node.min_leaf:
        return
    X_f = columns.X_t[feature]
    if entry & NEARLY_EQUAL != 0 and not X_f[entry & ROW_BITS] > X_f[former] + FEATURE_THRESHOLD:
        return
    gain = _gain(node, total, count)
    if gain >= state.best[number] - 2.0 * inexactness(node.total, total):
        _keep(node, candidates, thread_idx, gain, feature, p, count, total)
        if gain > state.best[number]:
            state.best[number] = gain
            state.bound[number] = _lowered(gain, node.n)


@jit(internal=True)
def _scan_bin(columns, work, limits, candidates, state, thread_idx, feature, b):
    """Try the splits inside of a bin for all nodes of the level at once."""
    rows = columns.rows[feature]
    value = np.int64(0)
    low_bits = 64 - work.shift
    for p in range(columns.bin_start[feature, b], columns.bin_start[feature, b + 1]):
        entry = element(rows, p)
        value += np.int64(entry >> np.uint32(31))
        row = entry & ROW_BITS
        number = np.int64(element(work.node_of, row))
        packed = element(state.packed, number)
        state.packed[number] = packed + element(work.packed, row)
        sum_left = (packed << low_bits) >> low_bits
        count = (packed - sum_left) >> work.shift
        left = np.float64(sum_left)
        right = element(state.total, number) - left
        n_left = np.float64(count)
        n_right = element(state.n, number) - n_left
        # P above the bound, without a division.
        is_high = left * left * n_right + right * right * n_left >= element(state.bound, number) * (
            n_left * n_right
        )
        if is_high and state.value[number] != value:
            _consider(columns, work, limits, candidates, state, thread_idx, number, feature, p, packed)
        state.value[number] = value
        state.former[number] = row


@jit(internal=True)
def search_feature(columns, work, limits, candidates, state, thread_idx, first, feature, histograms):
    """List the splits of a feature that may be the best of the nodes of a level, which begins with node ``first``."""
    for number in range(first, 2 * first):
        state.prefix[number] = 0
    for b in range(columns.n_bins[feature]):
        is_open = False
        for number in range(first, 2 * first):
            state.bound[number] = np.inf
            if work.nodes[number, IS_OPEN] == 0:
                continue
            own = histograms[number - first, feature * N_BINS + b]
            packed = state.prefix[number]
            state.packed[number] = packed
            state.former[number] = -1
            state.prefix[number] = packed + own
            if own == 0:
                continue
            node = facts_of(work, number, limits)
            total, count = unpack(packed, work.shift)
            if count >= node.min_leaf and node.n - count >= node.min_leaf:
                gain = _gain(node, total, count)
                if gain >= state.best[number] - 2.0 * inexactness(node.total, total):
                    state.best[number] = gain if gain > state.best[number] else state.best[number]
                    position = columns.bin_start[feature, b]
                    _keep(node, candidates, thread_idx, gain, feature, position, count, total)
            own_total, own_count = unpack(own, work.shift)
            if own_count > 1 and columns.is_divisible[feature, b]:
                bound = _lowered(state.best[number], node.n)
                if _may_exceed(node, total, count, own_total, own_count, bound):
                    state.bound[number] = bound
                    is_open = True
        if is_open:
            _scan_bin(columns, work, limits, candidates, state, thread_idx, feature, b)


@jit(internal=True)
def _precise_gain(node, columns, work, feature, position, count, node_sum):
    """Return P with sums of floats."""
    rows = columns.rows[feature]
    total = 0.0
    for p in range(position):
        row = element(rows, p) & ROW_BITS
        if work.node_of[row] == node.number:
            total += work.target[row]
    right = node_sum - total
    return total * total / count + right * right / (node.n - count)


@jit(internal=True)
def choose_candidate(node, columns, work, candidates, n_threads, facts, order):
    """Write the best split to the node's facts, and return its P.

    NaN stands for two splits between which rounding would decide, and minus infinity for no split at all.
    """
    best, thread_best, place_best = -np.inf, 0, 0
    for thread in range(n_threads):
        n = candidates.n[thread, node.number, 0]
        if n > MAX_CANDIDATES:
            return np.nan
        for i in range(n):
            if candidates.gains[thread, node.number, i] > best:
                best, thread_best, place_best = candidates.gains[thread, node.number, i], thread, i
    if best == -np.inf:
        return best
    chosen = candidates.ints[thread_best, node.number, place_best]
    slack = 2.0 * inexactness(node.total, chosen[SUM])
    first, second = -np.inf, -np.inf
    node_sum = 0.0
    for thread in range(n_threads):
        for i in range(candidates.n[thread, node.number, 0]):
            ints = candidates.ints[thread, node.number, i]
            is_best = thread == thread_best and i == place_best
            if is_best or candidates.gains[thread, node.number, i] < best - slack:
                continue
            if first == -np.inf:
                for p in range(facts[START], facts[END]):
                    node_sum += work.target[element(order, p)]
                first = _precise_gain(
                    node, columns, work, chosen[OF_FEATURE], chosen[AT], chosen[COUNT], node_sum
                )
            gain = _precise_gain(node, columns, work, ints[OF_FEATURE], ints[AT], ints[COUNT], node_sum)
            if gain > first:
                first, second, chosen = gain, first, ints
            elif gain > second:
                second = gain
    facts[FEATURE], facts[POSITION] = chosen[OF_FEATURE], chosen[AT]
    facts[N_LEFT], facts[SUM_LEFT] = chosen[COUNT], chosen[SUM]
    if first == -np.inf:
        return best
    # Each sum of n floats is off by n^2 / 2 units of the last place of the greatest one at most.
    error = 4.0 * ROUND_OFF * node.n * node.n * work.greatest
    left = abs(np.float64(chosen[SUM])) * work.unit
    right = abs(np.float64(node.total - chosen[SUM])) * work.unit
    if second >= first - error * (left / chosen[COUNT] + right / (node.n - chosen[COUNT])):
        return np.nan
    return best
