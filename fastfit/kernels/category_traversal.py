"""Walk rows down trees that split by categories.

The nodes are those of `fastfit.kernels.traversal`, but where a split is by categories the second word says where the
node's set begins. Steps differ by the kind of split, so that walks do not take them in groups; but they go on in turn,
one step each, and none waits for another, so that the processor overlaps them all the same.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.category_words import SET_IS_LIST, SET_OTHERS_LEFT, SET_SIZE_SHIFT
from fastfit.kernels.traversal import FIRST_NODE, record_leaves
from fastfit.runtime.compile import jit
from fastfit.runtime.team import stop_requested, take_next


class CategoryForest(NamedTuple):
    """What `PackedForest` does not say of splits by categories."""

    n_categories: np.ndarray  # (n_features,) int64: 0 of features that are numbers
    words: np.ndarray  # (n_words,) uint32: the sets of all trees, see `fastfit.kernels.category_words`


class CategoryPlan(NamedTuple):
    """Sizes of one prediction."""

    n_rows: int
    row_stride: int
    column_stride: int
    chunk_rows: int  # that are walked at a time
    first_tree: int
    end_tree: int
    column_bits: int
    n_parts: int  # of a leaf's value; 0 if the leaves themselves are asked for
    leaf_stride: int  # of leaves, from tree to tree


@jit(internal=True)
def is_sent_left(
    words,  # (n_words,) uint32
    start,  # of the node's set
    code,
):
    """Tell whether the node whose set begins at ``start`` sends a category left."""
    head = np.int64(words[start])
    size = head >> SET_SIZE_SHIFT
    if head & SET_IS_LIST:
        low, high = np.int64(0), size
        while low < high:
            middle = (low + high) >> 1
            if np.int64(words[start + 1 + middle]) < code:
                low = middle + 1
            else:
                high = middle
        is_in = low < size and np.int64(words[start + 1 + low]) == code
    else:
        word = code >> 5
        is_in = word < size and (np.int64(words[start + 1 + word]) >> (code & 31)) & 1 != 0
    return is_in != (head & SET_OTHERS_LEFT != 0)


@jit(inline=True, internal=True)
def _goes_right(second, x, missing_left, n_categories, words):
    """Tell whether a value goes right; ``second`` is the node's second word."""
    if n_categories > 0:
        # What is no category, NaN included, is missing.
        code = np.int64(x) if x >= 0 and x < n_categories else n_categories
        return not is_sent_left(words, np.int64(second), code)
    if x != x:
        return not missing_left
    return not x <= np.uint32(second).view(np.float32)


@jit(internal=True)
def _walk_rows(
    nodes,  # (2 * n_slots,) uint32 or uint64: a tree
    data,  # (any,) float32: the values of the first row begin at its first element
    plan,
    categories,  # CategoryForest
    n_rows,
    place,  # (>= n_rows,) uint32, out: the slots of the leaves
    active,  # (>= n_rows,) uint32, scratch
):
    """Walk some rows down a tree."""
    bits = plan.column_bits
    column_mask = (1 << bits) - 1
    n_active = n_rows if (np.int64(nodes[0]) >> (bits + 1)) & 1 == 0 else 0
    for i in range(n_rows):
        place[i] = 0
        active[i] = i
    while n_active > 0:
        n_kept = 0
        for j in range(n_active):
            row = np.int64(active[j])
            slot = np.int64(place[row])
            word = np.int64(nodes[2 * slot])
            column = word & column_mask
            x = data[row * plan.row_stride + column * plan.column_stride]
            missing_left = (word >> bits) & 1 != 0
            right = _goes_right(
                nodes[2 * slot + 1], x, missing_left, categories.n_categories[column], categories.words
            )
            slot = (word >> (bits + 2)) + right
            place[row] = slot
            active[n_kept] = row
            n_kept += (np.int64(nodes[2 * slot]) >> (bits + 1)) & 1 == 0
        n_active = n_kept


@jit
def walk_categories(
    control,
    thread_idx,
    n_threads,
    data,  # (n_samples * n_features,) float32, read-only
    plan,  # CategoryPlan
    forest,  # PackedForest
    categories,  # CategoryForest
    walks,  # (2, n_threads, chunk_rows) uint32, scratch
    sums,  # (n_rows * n_parts,) float64, in and out
    leaves,  # (leaf_stride * n_trees,) int64, out, tree by tree, if n_parts == 0
):
    """Add the values of the leaves that rows reach to their sums, tree after tree, or find the leaves themselves.

    Threads take chunks of rows; every row is on one thread, so the result does not depend on their number.
    """
    place, active = walks[0, thread_idx], walks[1, thread_idx]
    while True:
        first = take_next(control, 0) * plan.chunk_rows
        if first >= plan.n_rows:
            return
        end = first + plan.chunk_rows if plan.n_rows - first > plan.chunk_rows else plan.n_rows
        for tree in range(plan.first_tree, plan.end_tree):
            if stop_requested(control):
                return
            first_node = forest.trees[tree, FIRST_NODE]
            nodes, targets = forest.nodes[2 * first_node :], forest.targets[first_node:]
            own_leaves = leaves[(tree - plan.first_tree) * plan.leaf_stride :]
            own_data = data[first * plan.row_stride :]
            _walk_rows(nodes, own_data, plan, categories, end - first, place, active)
            record_leaves(targets, forest.leaf_values, plan.n_parts, place, first, end, sums, own_leaves)
