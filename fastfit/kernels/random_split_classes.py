"""Random splits of classes, with unit or small integer weights, judged by the Gini impurity or the entropy.

Class counts are integers, so that sums may be taken in any order: the samples of a node stay in the order of the rows,
and gathers walk through the table forwards. Counts are those of the set bits of masks, a vector of samples at a time:
of those that go left, of these in the classes below one, and, for weights, of those with a certain bit in the weight.
"""

import math
from typing import NamedTuple

import numpy as np

from fastfit.kernels.presorted_columns import EntryLayout
from fastfit.kernels.random_split import (
    BEST,
    Candidates,
    RandomDraw,
    SampleTable,
    float32_below,
    make_search,
)
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
    may_be_split,
    set_improvement,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, load
from fastfit.runtime.simd_integers import (
    count_lanes,
    field,
    has_bits,
    is_below,
    keep_lanes,
    load_uint32,
    store_first_uint32,
)
from fastfit.runtime.simd_sort import CAN_COMPRESS

# Up to so many classes are counted by masks, one after the other; more of them in one scalar pass.
MAX_CLASSES_BY_MASKS = 16
# Rows of ClassesWork.counts: of the node, of the right child, and of the left child of each slot.
TOTAL, RIGHT, FIRST_LEFT = 0, 1, 2


class ClassesProblem(NamedTuple):
    """What one tree is grown from."""

    table: SampleTable
    layout: EntryLayout
    n_weight_bits: int  # 0: all weights are 1
    is_entropy: bool
    n_root_samples: int
    values: np.ndarray  # (capacity, 1, n_classes) float64


class ClassesWork(NamedTuple):
    """Buffers of the thread that grows the tree."""

    node: NodeState
    draw: RandomDraw
    candidates: Candidates
    entries: np.ndarray  # (2, n_root_samples + PADDING) uint32: row, class and weight - 1 of samples
    impurities: np.ndarray  # (2 * BATCH, 2) float64: of the children of each slot
    counts: np.ndarray  # (FIRST_LEFT + 2 * BATCH, n_classes) int64: weights of classes
    node_counts: (
        np.ndarray
    )  # (n_root_samples, n_classes) int64: by START, weights of classes of nodes that wait


@jit(inline=True, internal=True)
def bind(control, thread_idx, n_threads, problem, scratch, limits):
    """Return the buffers, a `ClassesWork`, and its node."""
    return scratch, scratch.node


@jit(internal=True)
def impurity(counts, weight, is_entropy):
    """Return the Gini impurity or the entropy of class counts."""
    total = 0.0
    if is_entropy:
        for k in range(len(counts)):
            if counts[k] > 0:
                share = np.float64(counts[k]) / weight
                total -= share * (math.log(share) / math.log(2.0))
        return total
    for k in range(len(counts)):
        count = np.float64(counts[k])
        total += count * count
    return 1.0 - total / (weight * weight)


@jit(inline=True, internal=True)
def begin_node(problem, work, node):
    """Take the node's class counts from where its parent left them; count those of the root."""
    counts = work.counts[TOTAL]
    waiting = work.node_counts[node.ints[START]]
    layout = problem.layout
    if node.ints[DEPTH] == 0:
        for k in range(len(counts)):
            waiting[k] = 0
        for i in range(problem.n_root_samples):
            entry = work.entries[0, i]
            label = np.int64((entry >> layout.class_shift) & layout.class_mask)
            waiting[label] += np.int64((entry >> layout.weight_shift) & layout.weight_mask) + 1
    total = np.int64(0)
    for k in range(len(counts)):
        counts[k] = waiting[k]
        total += counts[k]
    weight = np.float64(total)
    node.floats[WEIGHT] = weight
    if node.ints[DEPTH] == 0:
        node.floats[IMPURITY] = impurity(counts, weight, problem.is_entropy)
    for k in range(len(counts)):
        problem.values[node.ints[NODE_ID], 0, k] = np.float64(counts[k]) / weight


@jit(inline=True, internal=True)
def _prepare(problem, work, node):
    pass


@jit(inline=True, internal=True)
def _count_below(problem, entries, n_samples, values, bound, n_below):
    """Count the samples that go left; return their number, their weight, and that of the first ``n_below`` classes."""
    layout = problem.layout
    limit = broadcast(bound, np.float32)
    n_left = np.int64(0)
    more_weight = np.int64(0)
    weight_below = np.int64(0)
    for i in range(0, n_samples, lanes(np.float32)):
        entry = load_uint32(entries, i)
        is_left = load(values, i) <= limit
        is_low = is_left & is_below(field(entry, layout.class_shift, layout.class_mask), n_below)
        n_left += count_lanes(is_left)
        weight_below += count_lanes(is_low)
        for bit in range(problem.n_weight_bits):
            is_set = has_bits(entry, np.uint32(1) << (layout.weight_shift + np.uint32(bit)))
            more_weight += count_lanes(is_left & is_set) << bit
            weight_below += count_lanes(is_low & is_set) << bit
    return n_left, n_left + more_weight, weight_below


@jit(internal=True)
def _count_many(problem, entries, n_samples, values, bound, counts):
    """Count the samples that go left, of many classes; return their number and their weight."""
    layout = problem.layout
    for k in range(len(counts)):
        counts[k] = 0
    n_left = np.int64(0)
    weight_left = np.int64(0)
    for i in range(n_samples):
        entry = entries[i]
        is_left = np.int64(values[i] <= bound)
        weight = is_left * (np.int64((entry >> layout.weight_shift) & layout.weight_mask) + 1)
        n_left += is_left
        weight_left += weight
        counts[(entry >> layout.class_shift) & layout.class_mask] += weight
    return n_left, weight_left


@jit(inline=True, internal=True)
def _count_classes(problem, entries, n_samples, values, bound, counts):
    """Count the samples of each class that go left; return their number and their weight."""
    n_classes = len(counts)
    if n_classes > MAX_CLASSES_BY_MASKS:
        return _count_many(problem, entries, n_samples, values, bound, counts)
    n_left = weight_left = weight_before = np.int64(0)
    for k in range(1, n_classes):
        n_left, weight_left, weight_below = _count_below(problem, entries, n_samples, values, bound, k)
        counts[k - 1] = weight_below - weight_before
        weight_before = weight_below
    counts[n_classes - 1] = weight_left - weight_before
    return n_left, weight_left


@jit(inline=True, internal=True)
def _judge(problem, work, node, limits, entries, slot):
    candidates = work.candidates
    n_samples = node.ints[END] - node.ints[START]
    bound = float32_below(candidates.thresholds[slot])
    total = work.counts[TOTAL]
    left = work.counts[FIRST_LEFT + slot]
    n_left, whole_weight = _count_classes(problem, entries, n_samples, candidates.values[slot], bound, left)
    if n_left < limits.min_samples_leaf or n_samples - n_left < limits.min_samples_leaf:
        return
    weight_left = np.float64(whole_weight)
    weight_right = node.floats[WEIGHT] - weight_left
    if len(total) == 2 and not problem.is_entropy:
        first_left = np.float64(left[0])
        second_left = np.float64(left[1])
        squares = first_left * first_left + second_left * second_left
        impurity_left = 1.0 - squares / (weight_left * weight_left)
        first_right = np.float64(total[0] - left[0])
        second_right = np.float64(total[1] - left[1])
        squares = first_right * first_right + second_right * second_right
        impurity_right = 1.0 - squares / (weight_right * weight_right)
    else:
        right = work.counts[RIGHT]
        for k in range(len(total)):
            right[k] = total[k] - left[k]
        impurity_left = impurity(left, weight_left, problem.is_entropy)
        impurity_right = impurity(right, weight_right, problem.is_entropy)
    proxy = -weight_right * impurity_right - weight_left * impurity_left
    work.impurities[slot, 0] = impurity_left
    work.impurities[slot, 1] = impurity_right
    candidates.positions[slot] = n_left
    # Without a branch: which of the splits is the best cannot be predicted.
    is_better = proxy > node.floats[PROXY]
    node.floats[PROXY] = proxy if is_better else node.floats[PROXY]
    candidates.chosen[BEST] = slot if is_better else candidates.chosen[BEST]


@jit(inline=True, internal=True)
def _partition(entries, n_samples, values, bound, n_left, entries_out):
    """Write the entries that go left, then the others; both stay in their order."""
    left = 0
    right = n_left
    if CAN_COMPRESS:
        limit = broadcast(bound, np.float32)
        for i in range(0, n_samples, lanes(np.float32)):
            entry = load_uint32(entries, i)
            is_left = load(values, i) <= limit
            n_read = n_samples - i if n_samples - i < lanes(np.float32) else lanes(np.float32)
            n_low = count_lanes(is_left)
            store_first_uint32(entries_out, left, n_low, keep_lanes(entry, is_left))
            store_first_uint32(entries_out, right, n_read - n_low, keep_lanes(entry, ~is_left))
            left += n_low
            right += n_read - n_low
    else:
        for i in range(n_samples):
            is_left = values[i] <= bound
            entries_out[left if is_left else right] = entries[i]
            left += np.int64(is_left)
            right += 1 - np.int64(is_left)


@jit(inline=True, internal=True)
def _settle(problem, work, node, limits):
    candidates = work.candidates
    slot = candidates.chosen[BEST]
    start = node.ints[START]
    end = node.ints[END]
    if slot < 0:
        node.ints[POSITION] = end
        return
    n_left = candidates.positions[slot]
    position = start + n_left
    node.ints[POSITION] = position
    node.ints[FEATURE] = candidates.features[slot]
    node.ints[MISSING_LEFT] = n_left > end - position
    node.floats[THRESHOLD] = candidates.thresholds[slot]
    node.floats[IMPURITY_LEFT] = work.impurities[slot, 0]
    node.floats[IMPURITY_RIGHT] = work.impurities[slot, 1]
    left = work.counts[FIRST_LEFT + slot]
    whole_weight = np.int64(0)
    for k in range(len(left)):
        whole_weight += left[k]
        work.node_counts[start, k] = left[k]
        work.node_counts[position, k] = work.counts[TOTAL, k] - left[k]
    weight_left = np.float64(whole_weight)
    set_improvement(node, limits, weight_left, node.floats[WEIGHT] - weight_left)
    if node.ints[DEPTH] + 1 < limits.max_depth and (
        may_be_split(n_left, node.floats[IMPURITY_LEFT], limits)
        or may_be_split(end - position, node.floats[IMPURITY_RIGHT], limits)
    ):
        parity = node.ints[DEPTH] & 1
        bound = float32_below(candidates.thresholds[slot])
        entries = work.entries[parity, start:]
        entries_out = work.entries[1 - parity, start:]
        _partition(entries, end - start, candidates.values[slot], bound, n_left, entries_out)


_search = make_search(_prepare, _judge)


@jit(inline=True, internal=True)
def find_split(problem, work, node, limits):
    """Find the best split, and order the samples by it."""
    _search(
        problem, work, node, limits, work.entries[node.ints[DEPTH] & 1, node.ints[START] : node.ints[END]]
    )
    _settle(problem, work, node, limits)
    return True
