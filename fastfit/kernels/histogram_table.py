"""A grown tree as a table: nodes depth first, the left child before the right one, as scikit-learn numbers them."""

import numpy as np

from fastfit.kernels.histogram_tree import (
    BIN,
    BITSET_WORDS,
    COUNT,
    DEPTH,
    FEATURE,
    GAIN,
    IS_CATEGORICAL,
    IS_LEAF,
    LEFT,
    MISSING_LEFT,
    RIGHT,
    T_BIN,
    T_BITSET,
    T_COUNT,
    T_DEPTH,
    T_FEATURE,
    T_GAIN,
    T_IS_CATEGORICAL,
    T_IS_LEAF,
    T_LEFT,
    T_MISSING_LEFT,
    T_NODE,
    T_RIGHT,
    T_THRESHOLD,
    T_VALUE,
    VALUE,
)
from fastfit.runtime.compile import jit


@jit(internal=True)
def _write_split(data, ints, bitset, row, row_floats, bitsets_out, n_bitsets):
    """Write what a split is; return the number of categorical ones by now."""
    feature = ints[FEATURE]
    row[T_FEATURE] = feature
    row[T_BIN] = ints[BIN]
    row[T_MISSING_LEFT] = ints[MISSING_LEFT]
    row[T_IS_CATEGORICAL] = ints[IS_CATEGORICAL]
    # A split behind the last bin tells missing values from all others. scikit-learn tests this first, so that a
    # categorical feature of a single category (whose bin is 0) gets no set of categories either.
    if ints[BIN] == data.n_bins[feature] - 1:
        row_floats[T_THRESHOLD] = float("inf")
    elif ints[IS_CATEGORICAL]:
        row[T_BITSET] = n_bitsets
        for word in range(BITSET_WORDS):
            bitsets_out[n_bitsets, word] = bitset[word]
        return n_bitsets + 1
    else:
        row_floats[T_THRESHOLD] = data.thresholds[data.threshold_start[feature] + ints[BIN]]
    return n_bitsets


@jit(internal=True)
def write_table(data, limits, ints, floats, bitsets, stack, tables, tree):
    """Write a member's copy of the nodes to the table of a tree."""
    stack[0] = 0
    n_waiting = 1
    n_nodes = 0
    n_bitsets = np.int64(0)
    while n_waiting > 0:
        n_waiting -= 1
        waiting = stack[n_waiting]
        # A right child stands on the stack as -1 - its parent's number: then it tells the parent its own.
        node = waiting
        if waiting < 0:
            parent = -1 - waiting
            node = ints[tables.ints[tree, parent, T_NODE], RIGHT]
            tables.ints[tree, parent, T_RIGHT] = n_nodes
        row = tables.ints[tree, n_nodes]
        row_floats = tables.floats[tree, n_nodes]
        row[:] = 0
        row_floats[:] = 0.0
        row[T_NODE] = node
        row[T_COUNT] = ints[node, COUNT]
        row[T_DEPTH] = ints[node, DEPTH]
        row_floats[T_GAIN] = floats[node, GAIN]
        row_floats[T_VALUE] = floats[node, VALUE]
        if ints[node, IS_LEAF]:
            row[T_IS_LEAF] = 1
            row_floats[T_VALUE] = floats[node, VALUE] * limits.shrinkage
        else:
            bitset = bitsets[node if ints[node, IS_CATEGORICAL] else 0]
            n_bitsets = _write_split(
                data, ints[node], bitset, row, row_floats, tables.bitsets[tree], n_bitsets
            )
            row[T_LEFT] = n_nodes + 1
            stack[n_waiting] = -1 - n_nodes
            stack[n_waiting + 1] = ints[node, LEFT]
            n_waiting += 2
        n_nodes += 1
    tables.sizes[tree, 0] = n_nodes
    tables.sizes[tree, 1] = n_bitsets
