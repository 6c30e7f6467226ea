"""A tree on presorted columns: each feature's samples are sorted once, and every split keeps all columns sorted.

A column lists the samples of every node in the order of one feature: a node is a range of positions, the same in all
columns. An entry packs all that a scan for splits needs into 32 bits, so that it reads in sequence and gathers nothing:

    new value (1 bit) | nearly equal (1 bit) | weight - 1 | class | row

The first bit says that the value differs from that of the entry before. Without the second it differs by more than
scikit-learn's threshold of equality from all lower values, and values need not be looked up. A split is a stable
partition of every column's range by one bit a row; a bit that stands for several entries is carried on to the next one
that stays. No node below the root sorts, and none costs more than its samples. Columns that are constant in a node are
left as they are: all that is read of them below it is that they are constant.
(Mehta, Agrawal and Rissanen, "SLIQ", EDBT 1996, presort; Shafer, Agrawal and Mehta, "SPRINT", VLDB 1996, partition.)
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import DrawState, make_try_features
from fastfit.kernels.presort_entries import FEATURE_THRESHOLD, NEARLY_EQUAL, NEW_VALUE, NOT_NEW
from fastfit.kernels.small_subtree import SmallScratch, SmallWork, bind_small, make_small_subtrees
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    FEATURE,
    LEFT_BIT,
    MISSING_LEFT,
    N_CONSTANTS,
    POSITION,
    PROXY,
    SPLIT_COLUMN,
    START,
    THRESHOLD,
    NodeState,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import VECTOR_BYTES, lanes
from fastfit.runtime.simd import element, prefetch
from fastfit.runtime.simd_integers import (
    add_uint32,
    bits_equal,
    count_lanes,
    differs,
    field,
    has_bits,
    is_below,
    keep_lanes,
    lane_at,
    lane_numbers,
    last_lane,
    load_uint32,
    set_bits,
    shift_in,
    store_first_uint32,
    store_uint32,
    sums_before,
)
from fastfit.runtime.team import barrier

# What stands for the position of a split where a feature is constant.
CONSTANT, NEARLY_CONSTANT = -1, -2
# Entries of PresortedWork.team: the member's number, how many share the work on a node, and the row of what they share.
MEMBER, TEAM_SIZE, SLOT = 0, 1, 2
# Entries of all columns up to which the work on a node, 2 ns each, is not worth its barriers.
SMALL_NODE = 1500
# Vectors read past the last entry of a column, up to this many.
PADDING = 16


class EntryLayout(NamedTuple):
    """Where an entry's fields stand; a field without bits has the mask 0."""

    row_mask: np.uint32
    class_shift: np.uint32
    class_mask: np.uint32
    weight_shift: np.uint32
    weight_mask: np.uint32


class PresortedProblem(NamedTuple):
    """What one tree is grown from."""

    X_t: np.ndarray  # (n_features, n_samples) float32
    has_ties: np.ndarray  # (n_features,) uint8: whether a value occurs twice
    is_close: (
        np.ndarray
    )  # (n_features,) uint8: whether two values are different but equal up to the threshold
    layout: EntryLayout
    y: np.ndarray  # (n_samples,) float64 targets of a regression, else (0,)
    n_root_samples: int
    is_foretold: bool  # whether every leaf will be one sample, and no feature constant in any other node
    n_classes: int
    values: np.ndarray  # (capacity, 1, n_classes) float64


class PresortedScratch(NamedTuple):
    """Buffers; what has a first axis of threads belongs to one member of the team each."""

    columns: np.ndarray  # (n_features, n_root_samples + padding) uint32
    samples: (
        np.ndarray
    )  # (n_root_samples,) uint32: rows in scikit-learn's order, for sums that depend on the order
    buffer: np.ndarray  # (n_threads, n_root_samples + padding) uint32
    words: np.ndarray  # (n_threads, n_samples // 32 + 1) uint32: a bit for each row, zero between splits
    counts: np.ndarray  # (n_threads, 3, n_classes) int64: of the node, of the left child, of a scan
    block: np.ndarray  # (n_threads, 7, 64) float64: of the entries that are looked at together
    sums: np.ndarray  # (n_threads, 8) float64: what the member found that has put the samples in order, alike
    ints: np.ndarray  # (n_threads, 16) int64
    floats: np.ndarray  # (n_threads, 16) float64
    features: np.ndarray  # (n_threads, 2, n_features) int64: permutation, known constants
    random_state: np.ndarray  # (n_threads, 1) int64
    best_proxy: (
        np.ndarray
    )  # (n_threads, n_features) float64: best split of each feature; the first row is shared
    best_position: (
        np.ndarray
    )  # (n_features,) int64: CONSTANT, NEARLY_CONSTANT, or END of the node without a split
    team: np.ndarray  # (n_threads, 3) int64, see PresortedWork
    marks: (
        np.ndarray
    )  # (n_threads, 2 * n_features + 1) int64: the feature evaluated last, marks of features, a list
    small: SmallScratch


class PresortedWork(NamedTuple):
    """One member's view of the scratch."""

    columns: np.ndarray
    samples: np.ndarray
    buffer: np.ndarray
    words: np.ndarray
    counts: np.ndarray
    block: np.ndarray
    sums: np.ndarray
    draw: DrawState
    marks: np.ndarray
    best_proxy: np.ndarray
    best_position: np.ndarray
    control: np.ndarray
    team: np.ndarray  # (3,) int64: MEMBER, TEAM_SIZE, SLOT
    small: SmallWork


@jit(internal=True)
def bind(control, thread_idx, n_threads, problem, scratch, limits):
    """Return one member's view of the scratch, and its node."""
    scratch.team[thread_idx, MEMBER] = thread_idx
    scratch.team[thread_idx, TEAM_SIZE] = n_threads
    scratch.team[thread_idx, SLOT] = 0
    draw = DrawState(
        scratch.features[thread_idx, 0], scratch.features[thread_idx, 1], scratch.random_state[thread_idx]
    )
    work = PresortedWork(
        scratch.columns,
        scratch.samples,
        scratch.buffer[thread_idx],
        scratch.words[thread_idx],
        scratch.counts[thread_idx],
        scratch.block[thread_idx],
        scratch.sums,
        draw,
        scratch.marks[thread_idx],
        scratch.best_proxy,
        scratch.best_position,
        control,
        scratch.team[thread_idx],
        bind_small(scratch.small, thread_idx),
    )
    return work, NodeState(scratch.ints[thread_idx], scratch.floats[thread_idx])


@jit(inline=True, internal=True)
def foretell(problem, node):
    """Return the number of nodes below and with a small node, if all its samples will be told apart, else 0."""
    n_samples = node.ints[END] - node.ints[START]
    is_small = n_samples * len(problem.X_t) < SMALL_NODE
    return 2 * n_samples - 1 if problem.is_foretold and is_small else 0


@jit(inline=True, internal=True)
def go_alone(work, thread_idx):
    """Make this member the only one that works on its nodes."""
    work.team[MEMBER] = 0
    work.team[TEAM_SIZE] = 1
    work.team[SLOT] = thread_idx


TEAM = foretell, go_alone


@jit(internal=True)
def values_differ(problem, work, node, column, feature, position):
    """Tell whether the values before and at a position differ by more than the threshold, compared in float32."""
    row_mask = problem.layout.row_mask
    before = problem.X_t[feature, column[position - 1] & row_mask]
    return problem.X_t[feature, column[position] & row_mask] > before + FEATURE_THRESHOLD


@jit(inline=True, internal=True)
def _find_constant(problem, column, feature, start, end):
    """Return CONSTANT if a feature has one value in a node, NEARLY_CONSTANT if several equal up to the threshold.

    Otherwise ``end``, the position that says that there is no split yet.
    """
    if problem.has_ties[feature] == 0 and problem.is_close[feature] == 0:
        return end
    p = start + 1
    while p < end and element(column, p) & NEW_VALUE == 0:
        p += 1
    if p == end:
        return CONSTANT
    if element(column, end - 1) & NEARLY_EQUAL == 0:
        return end
    row_mask = problem.layout.row_mask
    first = problem.X_t[feature, column[start] & row_mask]
    is_close = problem.X_t[feature, column[end - 1] & row_mask] <= first + FEATURE_THRESHOLD
    return NEARLY_CONSTANT if is_close else end


@jit(inline=True, internal=True)
def _mark_rows(words, column, start, end, row_mask):
    """Set the bits of the rows in a range of a column."""
    for p in range(start, end):
        row = element(column, p) & row_mask
        words[row >> np.uint32(5)] |= np.uint32(1) << (row & np.uint32(31))


@jit(inline=True, internal=True)
def _clear_rows(words, column, start, end, row_mask):
    for p in range(start, end):
        words[(element(column, p) & row_mask) >> np.uint32(5)] = np.uint32(0)


@jit(internal=True)
def _partition_one_by_one(column, start, end, words, left_bit, row_mask, buffer):
    """Move the entries of rows with ``left_bit`` to the front of a range; the order on both sides stays."""
    n_left = start
    n_right = 0
    new_left = np.uint32(0)
    new_right = np.uint32(0)
    for p in range(start, end):
        entry = element(column, p)
        row = entry & row_mask
        bit = (words[row >> np.uint32(5)] >> (row & np.uint32(31))) & np.uint32(1)
        is_left = bit == left_bit
        is_new = entry & NEW_VALUE
        new_left |= is_new
        new_right |= is_new
        column[n_left] = (entry & NOT_NEW) | new_left
        buffer[n_right] = (entry & NOT_NEW) | new_right
        # A bit is used up by the entry that took it.
        new_left = np.uint32(0) if is_left else new_left
        new_right = new_right if is_left else np.uint32(0)
        n_left += np.int64(is_left)
        n_right += 1 - np.int64(is_left)
    for i in range(n_right):
        column[n_left + i] = buffer[i]


@jit(inline=True, internal=True)
def _partition_distinct(column, start, end, words, left_bit, row_mask, buffer):
    """Do the same by vectors where no value occurs twice, so that no bit of a new value has to be carried on."""
    n_left = start
    n_right = 0
    lanes_at_once = np.int64(lanes(np.uint32))
    for p in range(start, end, lanes_at_once):
        entries = load_uint32(column, p)
        is_left = bits_equal(words, field(entries, 0, row_mask), left_bit)
        left = keep_lanes(entries, is_left)
        if end - p < lanes_at_once:
            inside = is_below(lane_numbers(), end - p)
            left = keep_lanes(entries, is_left & inside)
            store_first_uint32(column, n_left, count_lanes(is_left & inside), left)
            store_uint32(buffer, n_right, keep_lanes(entries, inside & ~is_left))
            n_left += count_lanes(is_left & inside)
            n_right += count_lanes(inside & ~is_left)
        else:
            store_uint32(column, n_left, left)
            store_uint32(buffer, n_right, keep_lanes(entries, ~is_left))
            n_left += count_lanes(is_left)
            n_right += lanes_at_once - count_lanes(is_left)
    for i in range(n_right):
        column[n_left + i] = buffer[i]


@jit(inline=True, internal=True)
def _partition_tied(column, start, end, words, left_bit, row_mask, buffer):
    """Do by vectors what `_partition_one_by_one` does.

    Entries of one value share a number; where the numbers of neighbours on one side differ, a new value begins.
    """
    n_left = start
    n_right = 0
    number = np.uint32(1)
    last_left = np.uint32(0)
    last_right = np.uint32(0)
    lanes_at_once = np.int64(lanes(np.uint32))
    for p in range(start, end, lanes_at_once):
        entries = load_uint32(column, p)
        is_left = bits_equal(words, field(entries, 0, row_mask), left_bit)
        if end - p >= lanes_at_once and count_lanes(has_bits(entries, NEW_VALUE)) == lanes_at_once:
            # The usual case: only the last of these can have the value of an entry to come.
            count = count_lanes(is_left)
            store_uint32(column, n_left, keep_lanes(entries, is_left))
            store_uint32(buffer, n_right, keep_lanes(entries, ~is_left))
            n_left += count
            n_right += lanes_at_once - count
            number += np.uint32(1)
            row = last_lane(entries) & row_mask
            last_is_left = (words[row >> np.uint32(5)] >> (row & np.uint32(31))) & np.uint32(1) == left_bit
            last_left = number if last_is_left else np.uint32(0)
            last_right = np.uint32(0) if last_is_left else number
            continue
        inside = is_below(lane_numbers(), end - p)
        is_left = is_left & inside
        is_right = inside & ~is_left
        is_new = field(entries, 31, 1)
        numbers = add_uint32(add_uint32(sums_before(is_new), is_new), number)
        number = last_lane(numbers)
        kept = keep_lanes(numbers, is_left)
        left = set_bits(keep_lanes(entries, is_left), differs(kept, shift_in(last_left, kept)), NEW_VALUE)
        count = count_lanes(is_left)
        last_left = lane_at(kept, count - 1) if count > 0 else last_left
        if end - p < lanes_at_once:
            store_first_uint32(column, n_left, count, left)
        else:
            store_uint32(column, n_left, left)
        n_left += count
        kept = keep_lanes(numbers, is_right)
        right = set_bits(keep_lanes(entries, is_right), differs(kept, shift_in(last_right, kept)), NEW_VALUE)
        store_uint32(buffer, n_right, right)
        count = count_lanes(is_right)
        last_right = lane_at(kept, count - 1) if count > 0 else last_right
        n_right += count
    for i in range(n_right):
        column[n_left + i] = buffer[i]


if VECTOR_BYTES == 64:
    partition_distinct, partition_tied = _partition_distinct, _partition_tied
else:
    # Narrower CPUs cannot sort out lanes in one instruction.
    partition_distinct = partition_tied = _partition_one_by_one


def _make_scan_of_one(scan):
    @jit(inline=True, internal=True)
    def scan_listed(problem, work, node, limits, listed, n_listed):
        for i in range(n_listed):
            scan(problem, work, node, limits, listed[i], work.columns[listed[i]])

    return scan_listed


def _make_scan_of_two(scan):
    @jit(inline=True, internal=True)
    def scan_listed(problem, work, node, limits, listed, n_listed):
        for i in range(0, n_listed, 2):
            other = listed[i + 1] if i + 1 < n_listed else listed[i]
            scan(problem, work, node, limits, listed[i], other)

    return scan_listed


@jit(inline=True, internal=True)
def _never_enter(problem, work, node):
    return False


@jit(inline=True, internal=True)
def _never_split(problem, work, node, limits):
    pass


def make_presorted_engine(begin_node, scan, measure_children, take_children, small=None, scans_two=False):
    """Return (bind, begin_node, find_split) for a criterion; see :mod:`fastfit.kernels.depth_first`.

    Parameters
    ----------
    begin_node : kernel
        ``begin_node(problem, work, node)``.
    scan : kernel
        ``scan(problem, work, node, limits, feature, column)`` stores the best split of a feature, whose values the
        column is sorted by, in ``work.best_proxy`` and ``work.best_position``. With ``scans_two`` it is
        ``scan(problem, work, node, limits, feature, other)`` and does so for two features, which may be the same.
    measure_children : kernel
        ``measure_children(problem, work, node, limits, last)`` computes what NodeState holds of the children, while the
        columns still have the node's order and the bits of the rows that go left are set. ``last`` is the feature that
        was evaluated last. Returns whether some child may be split in its turn.
    take_children : kernel
        ``take_children(work, node, limits)`` is called when all members have done so, for what only one has computed.
    small : tuple of kernels, optional
        (target_of, scan, measure_children) of :mod:`fastfit.kernels.small_subtree`, for trees that grow depth first.
        Every member grows a small subtree, alike, and meets no other on the way.
    """
    scan_listed = _make_scan_of_two(scan) if scans_two else _make_scan_of_one(scan)

    @jit(internal=True)
    def evaluate(problem, work, node, feature):
        position = work.best_position[work.team[SLOT], feature]
        if position == CONSTANT:
            return True
        # Samples that are sorted by nearly equal values are in another order than before.
        work.marks[0] = feature
        if position == NEARLY_CONSTANT:
            return True
        if work.best_proxy[work.team[SLOT], feature] > node.floats[PROXY]:
            node.floats[PROXY] = work.best_proxy[work.team[SLOT], feature]
            node.ints[FEATURE] = feature
            node.ints[POSITION] = position
        return False

    try_features = make_try_features(evaluate)

    @jit(internal=True)
    def scan_own_features(problem, work, node, limits):
        """Find the best split of each of this member's features."""
        start = node.ints[START]
        end = node.ints[END]
        listed = work.marks[1 + len(work.columns) :]
        n_listed = 0
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 1
        for feature in range(work.team[MEMBER], len(work.columns), work.team[TEAM_SIZE]):
            if work.marks[1 + feature] == 0:
                position = _find_constant(problem, work.columns[feature], feature, start, end)
                work.best_position[work.team[SLOT], feature] = position
                if position == end:
                    listed[n_listed] = feature
                    n_listed += 1
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 0
        scan_listed(problem, work, node, limits, listed, n_listed)

    @jit(internal=True)
    def partition_own_columns(problem, work, node):
        start = node.ints[START]
        end = node.ints[END]
        row_mask = problem.layout.row_mask
        left_bit = np.uint32(node.ints[LEFT_BIT])
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 1
        work.marks[1 + node.ints[FEATURE]] = 1
        for feature in range(work.team[MEMBER], len(work.columns), work.team[TEAM_SIZE]):
            column = work.columns[feature]
            if work.marks[1 + feature] == 0:
                if problem.has_ties[feature]:
                    partition_tied(column, start, end, work.words, left_bit, row_mask, work.buffer)
                else:
                    partition_distinct(column, start, end, work.words, left_bit, row_mask, work.buffer)
        work.marks[1 + node.ints[FEATURE]] = 0
        for i in range(node.ints[N_CONSTANTS]):
            work.marks[1 + work.draw.constants[i]] = 0

    @jit(internal=True)
    def split_at(problem, work, node, limits):
        """Carry out the split that was chosen."""
        feature = node.ints[FEATURE]
        position = node.ints[POSITION]
        start = node.ints[START]
        end = node.ints[END]
        column = work.columns[feature]
        row_mask = problem.layout.row_mask
        values = problem.X_t[feature]
        row_below = column[position - 1] & row_mask
        row_above = column[position] & row_mask
        # The values come from far away, and are needed only at the end.
        prefetch(values, row_below)
        prefetch(values, row_above)
        node.ints[MISSING_LEFT] = position - start > end - position
        # The rows of the smaller side are marked; every bit is zero again afterwards.
        node.ints[LEFT_BIT] = position - start <= end - position
        node.ints[SPLIT_COLUMN] = feature
        first, last = (start, position) if node.ints[LEFT_BIT] else (position, end)
        _mark_rows(work.words, column, first, last, row_mask)
        goes_on = measure_children(problem, work, node, limits, work.marks[0])
        if goes_on and node.ints[DEPTH] + 1 < limits.max_depth:
            partition_own_columns(problem, work, node)
        _clear_rows(work.words, column, first, last, row_mask)
        node.floats[THRESHOLD] = np.float64(values[row_below]) / 2.0 + np.float64(values[row_above]) / 2.0

    if small is None:
        enter, find_small_split = _never_enter, _never_split
    else:
        enter, find_small_split = make_small_subtrees(*small, values_differ, make_try_features)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        if enter(problem, work, node):
            find_small_split(problem, work, node, limits)
            return True
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = node.ints[END]
        scan_own_features(problem, work, node, limits)
        if not barrier(work.control, work.team[TEAM_SIZE]):
            return False
        try_features(problem, work, node, limits.max_features)
        has_split = node.ints[POSITION] < node.ints[END]
        if has_split:
            split_at(problem, work, node, limits)
        # What the members have found is read until all are here; the next node's scan writes it anew.
        if not barrier(work.control, work.team[TEAM_SIZE]):
            return False
        if has_split:
            take_children(work, node, limits)
        return True

    return bind, begin_node, find_split
