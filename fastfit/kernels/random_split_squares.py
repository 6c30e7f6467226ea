"""Random splits judged by the squared error, for one output with unit or small integer weights.

Sums of floats depend on their order in the last bits, and the last bits decide between splits that are equally good. So
they are taken in scikit-learn's order, in which every split that is tried leaves the node's samples: it exchanges
samples from both ends until those up to the threshold come first, and then adds up the smaller side, inwards from its
end of the node. What is exchanged here are the places of the samples in the node, and not one after the other, which a
processor could not predict: first it is listed which of them are on the wrong side.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.presorted_columns import EntryLayout
from fastfit.kernels.random_split import (
    BEST,
    LAST_FEATURE,
    Candidates,
    RandomDraw,
    SampleTable,
    float32_below,
    make_search,
)
from fastfit.kernels.random_split_few import MAX_FEW, search_few
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    FEATURE,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    MISSING_LEFT,
    NODE_ID,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    WEIGHT,
    NodeState,
    set_improvement,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, load
from fastfit.runtime.simd_integers import count_lanes

# Up to so many samples are exchanged one after the other.
FEW_SAMPLES = 8
# Entries of SquaresWork.sums: of the node's weighted targets and their squares.
SUM, SQUARES = 0, 1


class SquaresProblem(NamedTuple):
    """What one tree is grown from."""

    table: SampleTable
    layout: EntryLayout
    is_weighted: bool
    y: np.ndarray  # (n_samples,) float64, read-only
    n_root_samples: int
    values: np.ndarray  # (capacity, 1, 1) float64


class SquaresWork(NamedTuple):
    """Buffers of the thread that grows the tree."""

    node: NodeState
    draw: RandomDraw
    candidates: Candidates
    entries: (
        np.ndarray
    )  # (2, n_root_samples + PADDING) uint32: row and weight - 1 of samples, in scikit-learn's order
    targets: np.ndarray  # (2, n_root_samples + PADDING) float64: their targets, times the weights
    order: (
        np.ndarray
    )  # (n_root_samples + PADDING,) uint32: places in the node, in the order of the split tried last
    wrong_left: np.ndarray  # (n_root_samples + PADDING,) uint32: what is to leave the left side
    wrong_right: np.ndarray  # (n_root_samples + PADDING,) uint32: what is to leave the right side
    sums: np.ndarray  # (2,) float64
    few_rows: np.ndarray  # (MAX_FEW,) uint64: where the values of few samples begin


@jit(inline=True, internal=True)
def bind(control, thread_idx, n_threads, problem, scratch, limits):
    """Return the buffers, a `SquaresWork`, and its node."""
    return scratch, scratch.node


@jit(inline=True, internal=True)
def _weight(layout, entry):
    return np.int64((entry >> layout.weight_shift) & layout.weight_mask) + 1


@jit(inline=True, internal=True)
def begin_node(problem, work, node):
    """Add up the node's targets."""
    parity = node.ints[DEPTH] & 1
    entries = work.entries[parity, node.ints[START] : node.ints[END]]
    targets = work.targets[parity, node.ints[START] : node.ints[END]]
    n_samples = len(entries)
    total = 0.0
    squares = 0.0
    weight = np.float64(n_samples)
    if problem.is_weighted:
        whole_weight = np.int64(0)
        for i in range(n_samples):
            total += targets[i]
            squares += targets[i] * problem.y[entries[i] & problem.table.row_mask]
            whole_weight += _weight(problem.layout, entries[i])
        weight = np.float64(whole_weight)
    else:
        for i in range(n_samples):
            total += targets[i]
            squares += targets[i] * targets[i]
    work.sums[SUM] = total
    work.sums[SQUARES] = squares
    node.floats[WEIGHT] = weight
    mean = total / weight
    if node.ints[DEPTH] == 0:
        node.floats[IMPURITY] = squares / weight - mean * mean
    problem.values[node.ints[NODE_ID], 0, 0] = mean


@jit(inline=True, internal=True)
def _prepare(problem, work, node):
    for i in range(node.ints[END] - node.ints[START]):
        work.order[i] = i


@jit(inline=True, internal=True)
def _exchange_few(order, n_samples, values, bound):
    """Order few samples by a split as `_exchange` does; return how many go left."""
    left = np.uint64(0)
    right = np.uint64(n_samples - 1)
    place = order[0]
    for _ in range(n_samples):
        is_left = np.uint64(values[place] <= bound)
        following = order[left + np.uint64(1)]
        last = order[right]
        order[left if is_left else right] = place
        place = following if is_left else last
        left += is_left
        right -= np.uint64(1) - is_left
    return np.int64(left)


@jit(inline=True, internal=True)
def _exchange(order, n_samples, values, bound, wrong_left, wrong_right):
    """Order samples by a split as scikit-learn does; return how many go left.

    Its samples that are wrong on the left are exchanged, from the first on, with the last one not yet exchanged, until
    that is wrong, too. So all that is right on the right moves down by one place, and each that comes from the left
    goes to the place above the one before. Where there is nothing wrong the first on the right goes to its end.
    """
    limit = broadcast(bound, np.float32)
    n_left = np.int64(0)
    for i in range(0, n_samples, lanes(np.float32)):
        n_left += count_lanes(load(values, i) <= limit)
    n_wrong = np.uint64(0)
    for i in range(n_left):
        wrong_left[n_wrong] = i
        n_wrong += np.uint64(values[order[i]] > bound)
    n_wrong = np.uint64(0)
    for i in range(n_samples - n_left):
        wrong_right[n_wrong] = n_samples - 1 - i
        n_wrong += np.uint64(values[order[np.uint64(n_samples - 1 - i)]] <= bound)
    first = order[np.uint64(n_left)]
    for i in range(n_wrong):
        place = order[wrong_left[i]]
        order[wrong_left[i]] = order[wrong_right[i]]
        wrong_left[i] = place
    for i in range(np.uint64(n_left), np.uint64(n_samples - 1)):
        order[i] = order[i + np.uint64(1)]
    target = np.int64(n_samples - 1)
    for i in range(n_wrong):
        order[np.uint64(target)] = wrong_left[i]
        target = np.int64(wrong_right[i]) - 1
    if target >= n_left:
        order[np.uint64(target)] = first
    return n_left


@jit(inline=True, internal=True)
def _order_by(work, n_samples, slot):
    values = work.candidates.values[slot]
    bound = float32_below(work.candidates.thresholds[slot])
    if n_samples <= FEW_SAMPLES:
        return _exchange_few(work.order, n_samples, values, bound)
    return _exchange(work.order, n_samples, values, bound, work.wrong_left, work.wrong_right)


@jit(inline=True, internal=True)
def _sum_left(work, targets, n_samples, n_left):
    """Add up the targets that go left, from the nearer end, in the order of the samples."""
    order = work.order
    if n_left <= n_samples - n_left:
        total = 0.0
        for i in range(n_left):
            total += targets[order[i]]
        return total
    total = work.sums[SUM]
    for i in range(n_samples - n_left):
        total -= targets[order[np.uint64(n_samples - 1 - i)]]
    return total


@jit(inline=True, internal=True)
def _weight_left(problem, work, entries, n_left):
    if not problem.is_weighted:
        return np.float64(n_left)
    weight = np.int64(0)
    for i in range(n_left):
        weight += _weight(problem.layout, entries[work.order[i]])
    return np.float64(weight)


@jit(inline=True, internal=True)
def _judge(problem, work, node, limits, entries, slot):
    n_samples = node.ints[END] - node.ints[START]
    n_left = _order_by(work, n_samples, slot)
    if n_left < limits.min_samples_leaf or n_samples - n_left < limits.min_samples_leaf:
        return
    targets = work.targets[node.ints[DEPTH] & 1, node.ints[START] : node.ints[END]]
    sum_left = _sum_left(work, targets, n_samples, n_left)
    sum_right = work.sums[SUM] - sum_left
    weight_left = _weight_left(problem, work, entries, n_left)
    weight_right = node.floats[WEIGHT] - weight_left
    proxy = sum_left * sum_left / weight_left + sum_right * sum_right / weight_right
    work.candidates.positions[slot] = n_left
    is_better = proxy > node.floats[PROXY]
    node.floats[PROXY] = proxy if is_better else node.floats[PROXY]
    work.candidates.chosen[BEST] = slot if is_better else work.candidates.chosen[BEST]


@jit(inline=True, internal=True)
def _set_impurities(problem, work, node, limits, entries, targets, n_left):
    order = work.order
    sum_left = _sum_left(work, targets, len(targets), n_left)
    sum_right = work.sums[SUM] - sum_left
    weight_left = _weight_left(problem, work, entries, n_left)
    weight_right = node.floats[WEIGHT] - weight_left
    squares = 0.0
    if problem.is_weighted:
        for i in range(n_left):
            squares += targets[order[i]] * problem.y[entries[order[i]] & problem.table.row_mask]
    else:
        for i in range(n_left):
            squares += targets[order[i]] * targets[order[i]]
    mean = sum_left / weight_left
    node.floats[IMPURITY_LEFT] = squares / weight_left - mean * mean
    mean = sum_right / weight_right
    node.floats[IMPURITY_RIGHT] = (work.sums[SQUARES] - squares) / weight_right - mean * mean
    set_improvement(node, limits, weight_left, weight_right)


@jit(inline=True, internal=True)
def _settle(problem, work, node, limits):
    candidates = work.candidates
    slot = candidates.chosen[BEST]
    start = node.ints[START]
    end = node.ints[END]
    if slot < 0:
        node.ints[POSITION] = end
        return
    feature = candidates.features[slot]
    n_left = candidates.positions[slot]
    node.ints[POSITION] = start + n_left
    node.ints[FEATURE] = feature
    node.ints[MISSING_LEFT] = n_left > end - start - n_left
    node.floats[THRESHOLD] = candidates.thresholds[slot]
    # Also after a constant feature, whose values left the samples as they were, scikit-learn orders them anew.
    if candidates.chosen[LAST_FEATURE] != feature:
        _order_by(work, end - start, slot)
    parity = node.ints[DEPTH] & 1
    entries = work.entries[parity, start:end]
    targets = work.targets[parity, start:end]
    _set_impurities(problem, work, node, limits, entries, targets, n_left)
    entries_out = work.entries[1 - parity, start:end]
    targets_out = work.targets[1 - parity, start:end]
    for i in range(end - start):
        entries_out[i] = entries[work.order[i]]
        targets_out[i] = targets[work.order[i]]


_search = make_search(_prepare, _judge)


@jit(inline=True, internal=True)
def find_split(problem, work, node, limits):
    """Find the best split, and order the samples by it."""
    parity = node.ints[DEPTH] & 1
    entries = work.entries[parity, node.ints[START] : node.ints[END]]
    if len(entries) <= MAX_FEW:
        targets = work.targets[parity, node.ints[START] : node.ints[END]]
        search_few(problem, work, node, limits, entries, targets, work.sums[SUM])
    else:
        _search(problem, work, node, limits, entries)
    _settle(problem, work, node, limits)
    return True
