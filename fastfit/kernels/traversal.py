"""Walk rows down trees: a compact form of the nodes, and the walks of many rows at a time.

A step of one walk is a chain of two loads and a comparison, 15 cycles if all is in the first cache and 25 to 60 if not.
So sixteen rows take their steps together, without a branch that depends on the data, and the processor overlaps them:
two cycles a step, seven instructions.

**Nodes.** Two words a node, the children of a node side by side. The first word holds, from its lowest bit, the column
of the split, a bit that says that missing values go left, a bit that says that the node is a leaf, and the place of the
left child. The second word is the threshold, as a float32: the greatest that does not exceed the tree's float64, so
that ``x <= threshold`` is decided alike for every float32 x. A leaf is its own left child and its threshold is
infinite: a walk that has arrived may step on, and stays.

**Missing values** are below no threshold, so they go right. Where X has some, its rows are copied twice, the second
time with minus infinity for missing values, and the bit for them, which is next to the column's number, selects the
second copy. So they cost nothing in a step, and where there are none the bit is masked out.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.tree_node import (
    LEFT_CHILD,
    MISSING_GO_LEFT,
    N_NODE_SAMPLES,
    RIGHT_CHILD,
    SPLIT_FEATURE,
    SPLIT_THRESHOLD,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import prefetch
from fastfit.runtime.team import stop_requested, take_next

SIGN_BIT = np.uint32(0x80000000)
INFINITY_BITS = np.uint32(0x7F800000)
# A flag is one byte of its eight; the others are what was in memory.
FLAG_BITS = 0xFF

# Columns of PackedForest.trees.
FIRST_NODE, N_SLOTS, FIRST_STEPS, NEXT_STEPS = 0, 1, 2, 3
TREE_FACTS = 4

# Entries of the counts of `pack_tree`.
N_VALUES, N_STEPS = 0, 1
SEEN_SIZE = 1024  # a power of two

ZERO, ONE, HALF = np.uint64(0), np.uint64(1), np.uint64(32)
LOW_HALF = np.uint64(0xFFFFFFFF)
HASH_FACTOR = np.uint64(0x9E3779B1)

LANES = np.uint64(16)  # walks that take their steps together; with 12 or 20 these take a tenth longer
TILE_ROWS = 64  # that are copied column by column, in the first cache
FEW_PARTS = 8  # of a value, which are not worth a vector
FEW_WALKS = np.uint64(2)  # left over, that are sooner done one by one than as a group
LINE_WORDS = 16  # of a cache line


class PackedForest(NamedTuple):
    """Trees one after another; `trees` says where each begins and how its rows are walked."""

    nodes: np.ndarray  # (2 * n_slots,) uint32 or uint64; a tree has one slot more than nodes
    targets: (
        np.ndarray
    )  # (n_slots,) int32: what a leaf stands for, a row of leaf_values or its number in its tree
    leaf_values: np.ndarray  # (n_values * n_parts,) float64
    trees: np.ndarray  # (n_trees, TREE_FACTS) int64


class WalkPlan(NamedTuple):
    """Sizes of one prediction."""

    n_rows: int
    stride: int  # from row to row
    block_rows: int  # that one thread takes at a time
    chunk_rows: int  # that are walked down a tree at a time
    first_tree: int
    end_tree: int
    shift: int  # by which a node's first word holds the place of its child
    mask: int  # of the bits of a node's first word that say which value of a row is compared
    n_parts: int  # of a leaf's value
    leaf_stride: int  # of leaves, from tree to tree


# --- Packing ------------------------------------------------------------------------------------------------


@jit(inline=True, internal=True)
def _threshold_bits(threshold):
    """Return the bits of the greatest float32 that does not exceed a float64."""
    nearest = np.float32(threshold)
    bits = np.float32(nearest).view(np.uint32)
    if np.float64(nearest) > threshold:
        return np.uint32(bits + np.uint32(1)) if bits & SIGN_BIT else np.uint32(bits - np.uint32(1))
    return bits


@jit(internal=True)
def _keep_value(value_bits, node, n_kept, seen, leaf_value_bits):
    """Return the row where a leaf's value is kept: `n_kept`, if it is new, or a former one.

    Pure leaves have one of n_classes values, and small leaves one of a few fractions, so values of several parts are
    looked up among those met lately.
    """
    n_parts = value_bits.shape[1]
    key = ZERO
    for part in range(n_parts):
        bits = value_bits[node, part]
        leaf_value_bits[n_kept, part] = bits
        key = ((key ^ bits ^ (bits >> HALF)) & LOW_HALF) * HASH_FACTOR
    if n_parts == 1:
        return n_kept
    entry = (key >> HALF) & np.uint64(SEEN_SIZE - 1)
    found = seen[entry]
    seen[entry] = n_kept
    for part in range(n_parts):
        if leaf_value_bits[found, part] != value_bits[node, part]:
            return n_kept
    seen[entry] = found
    return found


@jit
def pack_tree(
    ints,  # (n_nodes, NODE_FIELDS) int64, as in NodeTable
    floats,  # (n_nodes, NODE_FIELDS) float64, the same memory
    value_bits,  # (n_nodes, n_parts) uint64, float64 by its bits
    n_features,
    column_bits,
    seen,  # (SEEN_SIZE,) int64, in and out: rows of values kept lately, by hash; 0 at first
    counts,  # (2,) int64, in and out: N_VALUES grows, N_STEPS is set
    slots,  # (2, n_nodes) int32, scratch: where a node goes, and its depth
    nodes,  # (2 * (n_nodes + 1),) uint32 or uint64, out
    node_ids,  # (n_nodes + 1,) int32, out
    value_idx,  # (n_nodes + 1,) int32, out
    leaf_value_bits,  # (capacity, n_parts) uint64, out
):
    """Fill in one tree of a PackedForest; return its depth, or -1 if parents do not come before their children.

    Nodes keep their order, but for right children, which move beside the left ones; depth first a parent is followed
    by its left child, so that about every second step stays in its cache line. N_STEPS is the sum over the inner nodes
    of their samples: the number of steps of all rows that the tree was grown on.
    """
    n_nodes = ints.shape[0]
    n_steps, n_kept, max_depth = 0, counts[N_VALUES], 0
    next_slot = 2
    slots[0, 0] = 0
    slots[1, 0] = 0
    for node in range(n_nodes):
        slot = np.int64(slots[0, node])
        left, right, feature = ints[node, LEFT_CHILD], ints[node, RIGHT_CHILD], ints[node, SPLIT_FEATURE]
        node_ids[slot] = node
        if left < 0:
            nodes[2 * slot] = (slot << (column_bits + 2)) | (3 << column_bits)
            nodes[2 * slot + 1] = INFINITY_BITS
            row = _keep_value(value_bits, node, n_kept, seen, leaf_value_bits)
            value_idx[slot] = row
            n_kept += row == n_kept
            continue
        is_valid = node < left < n_nodes and node < right < n_nodes and 0 <= feature < n_features
        if not is_valid or next_slot > n_nodes:
            return -1
        missing_bit = ((ints[node, MISSING_GO_LEFT] & FLAG_BITS) != 0) << column_bits
        nodes[2 * slot] = (next_slot << (column_bits + 2)) | missing_bit | feature
        nodes[2 * slot + 1] = _threshold_bits(floats[node, SPLIT_THRESHOLD])
        depth = slots[1, node] + 1
        max_depth = depth if depth > max_depth else max_depth
        slots[0, left] = next_slot
        slots[0, right] = next_slot + 1
        slots[1, left] = slots[1, right] = depth
        next_slot += 2
        n_steps += ints[node, N_NODE_SAMPLES]
    counts[N_VALUES], counts[N_STEPS] = n_kept, n_steps
    return max_depth if next_slot == n_nodes + 1 else -1


# --- Rows ---------------------------------------------------------------------------------------------------


@jit
def copy_rows(
    control,
    thread_idx,
    n_threads,
    X,  # (n_samples * n_features,) float32, read-only: row by row, or column by column
    row_stride,
    column_stride,
    first_row,
    n_features,
    second,  # place of the second copy in a row, 2 ** column_bits; 0 if no value is missing, and there is none
    copies,  # (n_rows, second + n_features) float32, out
):
    """Copy some rows of X, one after another, and beside each, if values are missing, its second copy."""
    n_rows = copies.shape[0]
    while not stop_requested(control):
        start = take_next(control, 0) * TILE_ROWS
        if start >= n_rows:
            return
        end = start + TILE_ROWS if n_rows - start > TILE_ROWS else n_rows
        for j in range(n_features):
            for i in range(start, end):
                x = X[(first_row + i) * row_stride + j * column_stride]
                copies[i, j] = x
                copies[i, second + j] = -np.inf if x != x else x


# --- Walking ------------------------------------------------------------------------------------------------


@jit(inline=True, internal=True)
def _step(nodes, data, place, row, mask, shift):
    """Return the place of the child that a row goes to; the row's values begin at `row`."""
    word = np.uint64(nodes[place + place])
    threshold = np.uint32(nodes[place + place + ONE]).view(np.float32)
    goes_right = not data[row + (word & mask)] <= threshold
    return (word >> shift) + np.uint64(goes_right)


@jit(inline=True, internal=True)
def _keep_walk(nodes, leaf_bit, place, active, n_kept, walk):
    """Put a walk on the list of those that go on; return how many these are, with it only if it is in no leaf."""
    active[n_kept] = walk
    slot = np.uint64(place[walk])
    return n_kept + (((np.uint64(nodes[slot + slot]) >> leaf_bit) & ONE) ^ ONE)


@jit(internal=True)
def _walk_rows(nodes, data, stride, mask, shift, n_steps, next_steps, n_walks, place, active):
    """Walk rows down one tree until all are in leaves, sixteen at a time.

    Waiting for the deepest of them costs half as many steps again as there are (16 on average and 24, in a tree of
    10,000 nodes), so walks that have not arrived after the first steps are gathered anew, and again after a few more,
    `next_steps`, or 0 if all have arrived by then. A group that is not full repeats its last walk.
    """
    leaf_bit = shift - ONE
    for i in range(n_walks):
        place[i] = 0
        active[i] = i
    while n_walks > ZERO:
        n_kept = ZERO
        n_grouped = n_walks - n_walks % LANES
        if n_walks - n_grouped > FEW_WALKS:
            n_grouped += LANES
            for i in range(n_walks, n_grouped):
                active[i] = active[n_walks - ONE]
        for i in range(ZERO, n_grouped, LANES):
            w = active[i : i + LANES]
            w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
            w8, w9, wa, wb, wc, wd, we, wf = w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15]
            p0, p1, p2, p3, p4, p5 = place[w0], place[w1], place[w2], place[w3], place[w4], place[w5]
            p6, p7, p8, p9, pa, pb = place[w6], place[w7], place[w8], place[w9], place[wa], place[wb]
            pc, pd, pe, pf = place[wc], place[wd], place[we], place[wf]
            for _ in range(n_steps):
                p0 = _step(nodes, data, np.uint64(p0), np.uint64(w0) * stride, mask, shift)
                p1 = _step(nodes, data, np.uint64(p1), np.uint64(w1) * stride, mask, shift)
                p2 = _step(nodes, data, np.uint64(p2), np.uint64(w2) * stride, mask, shift)
                p3 = _step(nodes, data, np.uint64(p3), np.uint64(w3) * stride, mask, shift)
                p4 = _step(nodes, data, np.uint64(p4), np.uint64(w4) * stride, mask, shift)
                p5 = _step(nodes, data, np.uint64(p5), np.uint64(w5) * stride, mask, shift)
                p6 = _step(nodes, data, np.uint64(p6), np.uint64(w6) * stride, mask, shift)
                p7 = _step(nodes, data, np.uint64(p7), np.uint64(w7) * stride, mask, shift)
                p8 = _step(nodes, data, np.uint64(p8), np.uint64(w8) * stride, mask, shift)
                p9 = _step(nodes, data, np.uint64(p9), np.uint64(w9) * stride, mask, shift)
                pa = _step(nodes, data, np.uint64(pa), np.uint64(wa) * stride, mask, shift)
                pb = _step(nodes, data, np.uint64(pb), np.uint64(wb) * stride, mask, shift)
                pc = _step(nodes, data, np.uint64(pc), np.uint64(wc) * stride, mask, shift)
                pd = _step(nodes, data, np.uint64(pd), np.uint64(wd) * stride, mask, shift)
                pe = _step(nodes, data, np.uint64(pe), np.uint64(we) * stride, mask, shift)
                pf = _step(nodes, data, np.uint64(pf), np.uint64(wf) * stride, mask, shift)
            place[w0], place[w1], place[w2], place[w3], place[w4], place[w5] = p0, p1, p2, p3, p4, p5
            place[w6], place[w7], place[w8], place[w9], place[wa], place[wb] = p6, p7, p8, p9, pa, pb
            place[wc], place[wd], place[we], place[wf] = pc, pd, pe, pf
            n_unsure = ZERO if next_steps == 0 else LANES if n_walks - i > LANES else n_walks - i
            for j in range(n_unsure):
                n_kept = _keep_walk(nodes, leaf_bit, place, active, n_kept, w[j])
        for i in range(n_grouped, n_walks):
            walk = active[i]
            slot = place[walk]
            for _ in range(n_steps):
                slot = _step(nodes, data, np.uint64(slot), np.uint64(walk) * stride, mask, shift)
            place[walk] = slot
            n_kept = _keep_walk(nodes, leaf_bit, place, active, n_kept, walk)
        n_walks = n_kept
        n_steps = next_steps


# --- Results ------------------------------------------------------------------------------------------------


@jit(internal=True)
def record_leaves(targets, leaf_values, n_parts, place, first, end, sums, leaves):
    """Add the values of the leaves to the rows' sums, or note the leaves where these are asked for."""
    if n_parts == 0:
        for i in range(first, end):
            leaves[i] = targets[place[i - first]]
    elif n_parts < FEW_PARTS:
        for part in range(n_parts):
            for i in range(first, end):
                value = np.int64(targets[place[i - first]]) * n_parts
                sums[i * n_parts + part] += leaf_values[value + part]
    else:
        for i in range(first, end):
            value = np.int64(targets[place[i - first]]) * n_parts
            for part in range(n_parts):
                sums[i * n_parts + part] += leaf_values[value + part]


@jit
def walk_forest(
    control,
    thread_idx,
    n_threads,
    data,  # (n_rows * stride,) float32, read-only: row by row
    plan,  # WalkPlan
    forest,  # PackedForest
    walks,  # (2, n_threads, chunk_rows + LANES) uint32, scratch: where walks are, and which have not arrived
    sums,  # (n_rows * n_parts,) float64, in and out
    leaves,  # (leaf_stride * n_trees,) int64, out, tree by tree, if n_parts == 0
):
    """Add the values of the leaves that rows reach to their sums, tree after tree, or find the leaves themselves.

    Threads take blocks of rows, and for each block read every tree once; what they have of X passes through their
    caches in order, tree after tree. Every row is on one thread, so the result does not depend on their number.
    """
    place, active = walks[0, thread_idx], walks[1, thread_idx]
    shift, mask, stride = np.uint64(plan.shift), np.uint64(plan.mask), np.uint64(plan.stride)
    while True:
        first = take_next(control, 0) * plan.block_rows
        if first >= plan.n_rows:
            return
        end = first + plan.block_rows if plan.n_rows - first > plan.block_rows else plan.n_rows
        for tree in range(plan.first_tree, plan.end_tree):
            if stop_requested(control):
                return
            facts = forest.trees[tree]
            nodes, targets = forest.nodes[2 * facts[FIRST_NODE] :], forest.targets[facts[FIRST_NODE] :]
            own_leaves = leaves[(tree - plan.first_tree) * plan.leaf_stride :]
            if facts[N_SLOTS] < 4 * (end - first):
                # Rows find the lines of a tree in random order; asked for one after another they come much sooner.
                for word in range(0, 2 * facts[N_SLOTS], LINE_WORDS):
                    prefetch(nodes, word)
            for start in range(first, end, plan.chunk_rows):
                stop = start + plan.chunk_rows if end - start > plan.chunk_rows else end
                own_data, n = data[start * plan.stride :], np.uint64(stop - start)
                n_steps, next_steps = facts[FIRST_STEPS], facts[NEXT_STEPS]
                _walk_rows(nodes, own_data, stride, mask, shift, n_steps, next_steps, n, place, active)
                record_leaves(targets, forest.leaf_values, plan.n_parts, place, start, stop, sums, own_leaves)
