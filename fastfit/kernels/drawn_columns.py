"""A tree that tries few features at each node: only the columns that are drawn are touched.

To keep every column sorted would cost the same whether a node tries all features or the square root of them. Here a
node keeps a list of its samples, class and weight packed beside the row; a feature that is drawn gathers the ranks of
their values, sorts them with class and weight, and is scanned by the kernels for presorted columns.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import DrawState, make_try_features
from fastfit.kernels.node_sort import sort_keys
from fastfit.kernels.presorted_columns import FEATURE_THRESHOLD, NEARLY_EQUAL, NEW_VALUE, EntryLayout
from fastfit.kernels.tree_node import (
    END,
    FEATURE,
    LEFT_BIT,
    MISSING_LEFT,
    POSITION,
    PROXY,
    SOURCE,
    SPLIT_COLUMN,
    START,
    THRESHOLD,
    NodeState,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd_integers import (
    add_uint32,
    count_lanes,
    differs,
    field,
    gather_uint32,
    is_below,
    join_bits,
    keep_lanes,
    lane_numbers,
    last_lane,
    load_uint32,
    set_bits,
    shift_in,
    shift_left,
    store_first_uint32,
    store_uint32,
)

# Entries of DrawnScratch.best_codes: ranks below and above the best split.
BELOW, ABOVE = 0, 1
ALL_BITS = np.uint32(0xFFFFFFFF)


class DrawnProblem(NamedTuple):
    """What one tree is grown from."""

    codes: np.ndarray  # (n_features, n_samples) uint32: ranks of the values of a feature
    levels: np.ndarray  # (sum of n_levels,) float32: the values behind the ranks
    level_start: np.ndarray  # (n_features,) int64
    is_close: (
        np.ndarray
    )  # (n_features,) uint8: whether two values are different but equal up to the threshold
    layout: EntryLayout  # of class and weight in the lowest bits of entries; the row of a sample stands above them
    payload_bits: np.uint32  # of class and weight
    n_root_samples: int
    n_classes: int
    values: np.ndarray  # (capacity, 1, n_classes) float64


class DrawnScratch(NamedTuple):
    """Buffers of one tree."""

    columns: np.ndarray  # (1, n_root_samples + padding) uint32: the samples of every node
    entries: np.ndarray  # (n_root_samples + padding,) uint32: of the feature that is tried
    keys: np.ndarray  # (n_root_samples + padding,) uint32
    buffer: np.ndarray  # (n_root_samples + padding,) uint32
    sort_scratch: np.ndarray  # (SCRATCH_SIZE,) uint64
    counts: np.ndarray  # (3, n_classes) int64
    block: np.ndarray  # (3, 64) float64
    ints: np.ndarray  # (16,) int64
    floats: np.ndarray  # (20,) float64
    draw: DrawState
    best_proxy: np.ndarray  # (1, n_features) float64
    best_position: np.ndarray  # (1, n_features) int64
    best_codes: np.ndarray  # (2,) int64
    team: np.ndarray  # (3,) int64, zeros: the first and only member


class DrawnWork(NamedTuple):
    """The scratch, with what kernels for presorted columns look for."""

    columns: np.ndarray
    entries: np.ndarray
    keys: np.ndarray
    buffer: np.ndarray
    sort_scratch: np.ndarray
    counts: np.ndarray
    block: np.ndarray
    draw: DrawState
    best_proxy: np.ndarray
    best_position: np.ndarray
    best_codes: np.ndarray
    limits: tuple
    team: np.ndarray


@jit(internal=True)
def bind(control, thread_idx, n_threads, problem, scratch, limits):
    """Return the scratch and the node of the one thread that grows the tree."""
    work = DrawnWork(
        scratch.columns,
        scratch.entries,
        scratch.keys,
        scratch.buffer,
        scratch.sort_scratch,
        scratch.counts,
        scratch.block,
        scratch.draw,
        scratch.best_proxy,
        scratch.best_position,
        scratch.best_codes,
        limits,
        scratch.team,
    )
    return work, NodeState(scratch.ints, scratch.floats)


@jit(internal=True)
def _gather_keys(codes, samples, start, end, payload_bits, payload_mask, keys):
    """Pack ranks above class and weight, for all samples of a node."""
    for p in range(start, end, np.int64(lanes(np.uint32))):
        entries = load_uint32(samples, p)
        payload = field(entries, np.uint32(0), payload_mask)
        rows = field(entries, payload_bits, ALL_BITS)
        keys_here = join_bits(shift_left(gather_uint32(codes, rows), payload_bits), payload)
        store_uint32(keys, p - start, keys_here)


@jit(internal=True)
def _write_entries(keys, n, payload_bits, payload_mask, flag, entries, start):
    """Write sorted keys as entries of a column."""
    former = ALL_BITS
    for i in range(0, n, np.int64(lanes(np.uint32))):
        key = load_uint32(keys, i)
        code = field(key, payload_bits, ALL_BITS)
        is_new = differs(code, shift_in(former, code))
        former = last_lane(code)
        payload = add_uint32(field(key, np.uint32(0), payload_mask), flag)
        store_uint32(entries, start + i, set_bits(payload, is_new, NEW_VALUE))


@jit(internal=True)
def _partition(codes, samples, start, end, payload_bits, code_below, buffer):
    """Move the samples whose rank is not above the split to the front; the order on both sides stays."""
    n_left = start
    n_right = 0
    step = np.int64(lanes(np.uint32))
    for p in range(start, end, step):
        entries = load_uint32(samples, p)
        inside = is_below(lane_numbers(), end - p)
        rows = field(entries, payload_bits, ALL_BITS)
        is_left = is_below(gather_uint32(codes, rows), code_below + 1) & inside
        left = keep_lanes(entries, is_left)
        count = count_lanes(is_left)
        if end - p < step:
            store_first_uint32(samples, n_left, count, left)
        else:
            store_uint32(samples, n_left, left)
        n_left += count
        is_right = inside & ~is_left
        store_uint32(buffer, n_right, keep_lanes(entries, is_right))
        n_right += count_lanes(is_right)
    for i in range(n_right):
        samples[n_left + i] = buffer[i]


@jit(inline=True, internal=True)
def _value_at(problem, work, node, feature, position):
    code = work.keys[position - node.ints[START]] >> problem.payload_bits
    return problem.levels[problem.level_start[feature] + np.int64(code)]


@jit(internal=True)
def values_differ(problem, work, node, column, feature, position):
    """Tell whether the values before and at a position differ by more than the threshold, compared in float32."""
    before = _value_at(problem, work, node, feature, position - 1)
    return _value_at(problem, work, node, feature, position) > before + FEATURE_THRESHOLD


def make_drawn_engine(begin_node, scan, measure_children, take_children):
    """Return (bind, begin_node, find_split) for a criterion whose kernels are those for presorted columns."""

    @jit(internal=True)
    def begin(problem, work, node):
        node.ints[SOURCE] = 0
        begin_node(problem, work, node)

    @jit(internal=True)
    def evaluate(problem, work, node, feature):
        start = node.ints[START]
        end = node.ints[END]
        payload_bits = problem.payload_bits
        payload_mask = (np.uint32(1) << payload_bits) - np.uint32(1)
        codes = problem.codes[feature]
        keys = work.keys
        _gather_keys(codes, work.columns[0], start, end, payload_bits, payload_mask, keys)
        sort_keys(keys, work.buffer, work.sort_scratch, end - start, np.int64(payload_bits))
        if keys[0] >> payload_bits == keys[end - start - 1] >> payload_bits:
            return True
        if problem.is_close[feature]:
            first = _value_at(problem, work, node, feature, start)
            if _value_at(problem, work, node, feature, end - 1) <= first + FEATURE_THRESHOLD:
                return True
        # Whether two values are nearly equal is not known before both are looked up.
        flag = NEARLY_EQUAL if problem.is_close[feature] else np.uint32(0)
        _write_entries(keys, end - start, payload_bits, payload_mask, flag, work.entries, start)
        work.best_position[0, feature] = end
        scan(problem, work, node, work.limits, feature, work.entries)
        if work.best_proxy[0, feature] > node.floats[PROXY]:
            node.floats[PROXY] = work.best_proxy[0, feature]
            node.ints[FEATURE] = feature
            node.ints[POSITION] = work.best_position[0, feature]
            work.best_codes[BELOW] = keys[node.ints[POSITION] - start - 1] >> payload_bits
            work.best_codes[ABOVE] = keys[node.ints[POSITION] - start] >> payload_bits
        return False

    try_features = make_try_features(evaluate)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = node.ints[END]
        try_features(problem, work, node, limits.max_features)
        position = node.ints[POSITION]
        start = node.ints[START]
        end = node.ints[END]
        if position < end:
            feature = node.ints[FEATURE]
            first = problem.level_start[feature]
            below = np.float64(problem.levels[first + work.best_codes[BELOW]])
            above = np.float64(problem.levels[first + work.best_codes[ABOVE]])
            node.floats[THRESHOLD] = below / 2.0 + above / 2.0
            node.ints[MISSING_LEFT] = position - start > end - position
            codes = problem.codes[feature]
            _partition(
                codes,
                work.columns[0],
                start,
                end,
                problem.payload_bits,
                work.best_codes[BELOW],
                work.buffer,
            )
            node.ints[SPLIT_COLUMN] = 0
            node.ints[LEFT_BIT] = position - start <= end - position
            measure_children(problem, work, node, limits, feature)
            take_children(work, node, limits)
        return True

    return bind, begin, find_split
