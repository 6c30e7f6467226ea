"""Predictions of boosted histogram trees: rows walk down tree by tree, or blocks of rows sweep through a tree's nodes.

A sweep takes 256 rows at a time, as codes of one byte: the number of the trees' thresholds of a feature below a
value. Each split of a tree, parents before children, then sends those rows on that stand at it, in vectors of 64 rows
and without any jump: a split costs 0.03 ns a row, whether rows are there or not, so that a tree of 31 leaves costs a
tenth of a walk of six steps. It needs trees of at most 256 nodes and at most 254 thresholds of a feature; a few rows,
or larger trees, walk. Sums are made in the order of the trees, as scikit-learn makes them.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.bin_columns import bin_values
from fastfit.kernels.histogram_tree import begin_and_end
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next

SWEEP_ROWS = 256
# The code of missing values; that of a value is at most 254.
MISSING_CODE = 255

# Fields of a node that rows walk by.
NODE_FIELDS = 6
N_FEATURE, N_LEFT_CHILD, N_RIGHT_CHILD, N_MISSING_LEFT, N_KIND, N_BITSET = range(NODE_FIELDS)
LEAF, NUMBER, CATEGORY = range(3)

# Fields of a split that rows sweep by.
SPLIT_FIELDS = 8
S_NODE, S_FEATURE, S_SHIFT, S_LIMIT, S_LEFT, S_RIGHT, S_IS_CATEGORY, S_BITSET = range(SPLIT_FIELDS)


class TreesToWalk(NamedTuple):
    """All trees, node after node. Children and sets are numbered from the first of their tree."""

    nodes: np.ndarray  # (n_nodes, NODE_FIELDS) int32
    thresholds: np.ndarray  # (n_nodes,) float64: of raw values, or of bins
    values: np.ndarray  # (n_nodes,) float64
    starts: np.ndarray  # (n_trees + 1,) int64: the first node of each tree
    bitset_starts: np.ndarray  # (n_trees + 1,) int64
    left_sets: np.ndarray  # (n_sets, 8) uint32: categories that go left
    known_sets: np.ndarray  # (n_features or 1, 8) uint32: categories that were seen
    missing_bin: int  # of binned data


class TreesToSweep(NamedTuple):
    """All trees, split after split."""

    splits: np.ndarray  # (n_splits, SPLIT_FIELDS) int32
    split_starts: np.ndarray  # (n_trees + 1,) int64
    values: np.ndarray  # (n_nodes,) float64
    starts: np.ndarray  # (n_trees + 1,) int64
    left_sets: np.ndarray  # (n_sets, 8) uint32
    known_sets: np.ndarray  # (n_features or 1, 8) uint32
    thresholds: np.ndarray  # float64: blocks of thresholds of the features in turn
    columns: np.ndarray  # (2, n_used) int64: of each used feature its number, and where its thresholds begin
    is_categorical: np.ndarray  # (n_used,) uint8


@jit(inline=True, internal=True)
def _has_bit(sets, row, position):
    return (sets[row, position >> 5] >> np.uint32(position & 31)) & np.uint32(1) != 0


@jit(internal=True)
def _next_raw(trees, node, bitset_start, value):
    """Return the child that a raw value leads to."""
    nodes = trees.nodes
    goes_left = nodes[node, N_MISSING_LEFT] != 0
    if nodes[node, N_KIND] == NUMBER:
        if value == value:
            goes_left = value <= trees.thresholds[node]
    elif value >= 0.0:
        category = np.int64(value) & 0xFF
        if _has_bit(trees.left_sets, bitset_start + nodes[node, N_BITSET], category):
            goes_left = True
        elif _has_bit(trees.known_sets, nodes[node, N_FEATURE], category):
            goes_left = False
    return nodes[node, N_LEFT_CHILD] if goes_left else nodes[node, N_RIGHT_CHILD]


@jit(internal=True)
def _next_binned(trees, node, bitset_start, b):
    """Return the child that a bin leads to."""
    nodes = trees.nodes
    if b == trees.missing_bin:
        goes_left = nodes[node, N_MISSING_LEFT] != 0
    elif nodes[node, N_KIND] == NUMBER:
        goes_left = b <= trees.thresholds[node]
    else:
        goes_left = _has_bit(trees.left_sets, bitset_start + nodes[node, N_BITSET], np.int64(b))
    return nodes[node, N_LEFT_CHILD] if goes_left else nodes[node, N_RIGHT_CHILD]


def _make_walk(choose_child):
    @jit
    def walk_rows(
        control,
        thread_idx,
        n_threads,
        data,  # flat: raw values (float64) or bins (uint8)
        steps,  # (n_rows, from row to row, from column to column)
        trees,  # TreesToWalk
        n_trees,
        n_outputs,
        out,  # (n_outputs * n_rows,) float64, in and out
    ):
        """Add the values of the leaves that rows reach, tree after tree."""
        n_rows, row_step, column_step = steps
        start, end = begin_and_end(n_rows, thread_idx, n_threads)
        for row in range(start, end):
            if stop_requested(control):
                return
            for tree in range(n_trees):
                first = trees.starts[tree]
                bitset_start = trees.bitset_starts[tree]
                node = first
                while trees.nodes[node, N_KIND] != LEAF:
                    value = data[row * row_step + trees.nodes[node, N_FEATURE] * column_step]
                    node = first + choose_child(trees, node, bitset_start, value)
                out[(tree % n_outputs) * n_rows + row] += trees.values[node]

    return walk_rows


walk_raw = _make_walk(_next_raw)
walk_binned = _make_walk(_next_binned)


@jit(internal=True)
def _code_categories(values, first, step, n_rows, known_sets, feature, codes, place):
    """Write down categories; unknown ones are missing."""
    for i in range(n_rows):
        value = element(values, first + i * step)
        category = np.int64(value) & 0xFF if value >= 0.0 else 0
        is_known = value >= 0.0 and _has_bit(known_sets, feature, category)
        codes[place + i] = np.uint8(category if is_known else MISSING_CODE)


@jit(internal=True)
def _send_on(
    codes,  # uint8: the feature's codes from first on
    first,
    split,  # (SPLIT_FIELDS,) int32
    at,  # (SWEEP_ROWS,) uint8: the node at which each row stands, in and out
):
    """Send the rows that stand at a split to its children, by a threshold."""
    node = np.uint8(split[S_NODE])
    shift = np.uint8(split[S_SHIFT])
    limit = np.uint8(split[S_LIMIT])
    left = np.uint8(split[S_LEFT])
    right = np.uint8(split[S_RIGHT])
    for i in range(SWEEP_ROWS):
        # Where missing values go left, codes are moved up by one: then theirs is 0.
        code = np.uint8(element(codes, first + i) + shift)
        child = left if code <= limit else right
        here = element(at, i)
        at[i] = child if here == node else here


@jit(internal=True)
def _send_categories(codes, first, split, left_sets, at):
    """Send the rows that stand at a split to its children, by a set of categories."""
    for i in range(SWEEP_ROWS):
        if at[i] == split[S_NODE]:
            code = np.int64(codes[first + i])
            is_left = (
                _has_bit(left_sets, split[S_BITSET], code) if code != MISSING_CODE else split[S_SHIFT] != 0
            )
            at[i] = np.uint8(split[S_LEFT] if is_left else split[S_RIGHT])


@jit(internal=True)
def _sweep_block(trees, n_trees, n_outputs, codes, at, n_rows, first, n_block, out):
    """Add the values of all trees to the outputs of a block of coded rows."""
    for tree in range(n_trees):
        for i in range(SWEEP_ROWS):
            at[i] = 0
        for position in range(trees.split_starts[tree], trees.split_starts[tree + 1]):
            split = trees.splits[position]
            place = split[S_FEATURE] * SWEEP_ROWS
            if split[S_IS_CATEGORY]:
                _send_categories(codes, place, split, trees.left_sets, at)
            else:
                _send_on(codes, place, split, at)
        start = trees.starts[tree]
        to = (tree % n_outputs) * n_rows + first
        for i in range(n_block):
            out[to + i] += element(trees.values, start + np.int64(element(at, i)))


@jit
def sweep_raw(
    control,
    thread_idx,
    n_threads,
    data,  # float64, flat
    steps,  # (n_rows, from row to row, from column to column)
    trees,  # TreesToSweep
    n_trees,
    n_outputs,
    scratch,  # (n_threads, (n_used + 1) * SWEEP_ROWS) uint8
    out,  # (n_outputs * n_rows,) float64, in and out
):
    """Code the rows, block by block, and sweep them through the trees."""
    n_rows, row_step, column_step = steps
    own = scratch[thread_idx]
    n_used = trees.columns.shape[1]
    at = own[n_used * SWEEP_ROWS :]
    block = take_next(control, 0)
    while block * SWEEP_ROWS < n_rows and not stop_requested(control):
        first = block * SWEEP_ROWS
        n_block = n_rows - first if n_rows - first < SWEEP_ROWS else SWEEP_ROWS
        for used in range(n_used):
            feature = trees.columns[0, used]
            start = first * row_step + feature * column_step
            place = used * SWEEP_ROWS
            if trees.is_categorical[used]:
                _code_categories(data, start, row_step, n_block, trees.known_sets, feature, own, place)
            else:
                at_thresholds = trees.columns[1, used]
                missing = (MISSING_CODE, 0)
                bin_values(
                    data,
                    start,
                    row_step,
                    n_block,
                    trees.thresholds,
                    at_thresholds,
                    missing,
                    own,
                    place,
                )
        _sweep_block(trees, n_trees, n_outputs, own, at, n_rows, first, n_block, out)
        block = take_next(control, 0)


@jit
def sweep_binned(
    control,
    thread_idx,
    n_threads,
    data,  # (n_rows * n_features,) uint8: bins, row after row
    steps,  # (n_rows, n_features, missing_bin)
    trees,  # TreesToSweep
    n_trees,
    n_outputs,
    scratch,  # (n_threads, (n_used + 1) * SWEEP_ROWS) uint8
    out,  # (n_outputs * n_rows,) float64, in and out
):
    """Sweep binned rows through the trees."""
    n_rows, n_features, missing_bin = steps
    own = scratch[thread_idx]
    n_used = trees.columns.shape[1]
    at = own[n_used * SWEEP_ROWS :]
    block = take_next(control, 0)
    while block * SWEEP_ROWS < n_rows and not stop_requested(control):
        first = block * SWEEP_ROWS
        n_block = n_rows - first if n_rows - first < SWEEP_ROWS else SWEEP_ROWS
        for used in range(n_used):
            place = first * n_features + trees.columns[0, used]
            for i in range(n_block):
                b = data[place + i * n_features]
                own[used * SWEEP_ROWS + i] = np.uint8(MISSING_CODE) if b == missing_bin else b
        _sweep_block(trees, n_trees, n_outputs, own, at, n_rows, first, n_block, out)
        block = take_next(control, 0)
