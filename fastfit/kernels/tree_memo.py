"""Trees of all limits from one memory of nodes: what is known of a set of samples is found once.

Which features split a node equally well, which of them are constant there, and what the children are depends on the
node's samples alone; the depth and the draws of random numbers, of which the latter decide between equally good splits,
do not change it. So each tree is read out of the memory by a walk that makes scikit-learn's draws, number by number,
and a split is looked for only where no tree came before. Nodes reached by several ways are told by the sum of a random
64-bit number for each sample (Zobrist, "A new hashing method with application for game playing", 1970).
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import DrawState, make_try_features
from fastfit.kernels.presort import FEATURE_THRESHOLD
from fastfit.kernels.split_gini import NEARLY_AS_GOOD, ROUNDING, gini, gini_of_rest
from fastfit.kernels.tree_node import (
    DEEPEST,
    IMPURITY_EPSILON,
    LEAF_CHILD,
    LEAF_FEATURE,
    LEFT_CHILD,
    MISSING_GO_LEFT,
    N_CONSTANTS,
    N_NODE_SAMPLES,
    N_NODES,
    NO_PARENT,
    NODE_IMPURITY,
    NODE_WEIGHT,
    RIGHT_CHILD,
    SPLIT_FEATURE,
    SPLIT_THRESHOLD,
    NodeState,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.random import MAX_RANDOM_INT, next_state
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested

# Columns of Memory.nodes: where its entries begin (or NOWHERE), samples, first split, the split that it comes from, ...
START, SIZE, FIRST_SPLIT, ORIGIN, IS_RIGHT, IS_KNOWN, TIED, CONSTANT, HASH = 0, 1, 2, 3, 4, 5, 6, 7, 8
NODE_COLUMNS = 9
# Columns of Memory.splits: children are nodes, or NOWHERE until the split is first taken.
PARENT, FEATURE, LEFT, RIGHT, CODE, NEXT_CODE, NEXT = 0, 1, 2, 3, 4, 5, 6
SPLIT_COLUMNS = 7
NOWHERE = -1
# Entries of Memory.used: of the entries of each feature, of nodes and of splits; nodes that were looked into.
ENTRIES, NODES, SPLITS, N_EXPANDED = 0, 1, 2, 3
# An entry: rank of the value, row, class.
ROW_SHIFT, CODE_SHIFT = 16, 40
CLASS_MASK = (1 << ROW_SHIFT) - 1
ROW_MASK = (1 << (CODE_SHIFT - ROW_SHIFT)) - 1

# Entries of WalkState.count behind those of a tree: whether the depth alone made a leaf, and what the walk ended with.
BY_DEPTH, STATUS = 2, 3
DONE, FULL, STOPPED = 0, 1, 2
# Columns of WalkState.stack.
DAG_NODE, NODE_DEPTH, NODE_PARENT, SIDE, KNOWN, TEST_START, TEST_END = 0, 1, 2, 3, 4, 5, 6
STACK_COLUMNS = 7


class Memory(NamedTuple):
    """What is known so far."""

    entries: np.ndarray  # (n_features, capacity) uint64: entries of nodes by ascending value
    nodes: np.ndarray  # (n_nodes, NODE_COLUMNS) int64
    counts: np.ndarray  # (n_nodes, n_classes) int64
    impurity: np.ndarray  # (n_nodes,) float64
    splits: np.ndarray  # (n_splits, SPLIT_COLUMNS) int64
    improvement: np.ndarray  # (n_splits,) float64
    table: np.ndarray  # (power of 2,) int64: nodes by hash, or NOWHERE
    used: np.ndarray  # (4,) int64
    keys: np.ndarray  # (n_samples,) int64: the random numbers of samples
    is_left: np.ndarray  # (n_samples,) uint8
    scan: np.ndarray  # (3, n_classes) int64
    levels: np.ndarray  # (n_levels,) float32: the different values of all features
    level_start: np.ndarray  # (n_features + 1,) int64
    is_close: np.ndarray  # (n_features,) uint8: whether values differ that are equal up to the threshold
    n_samples: int
    min_samples_leaf: int


class WalkState(NamedTuple):
    """What one walk reads and writes."""

    draw: DrawState
    node: NodeState
    chosen: np.ndarray  # (1,) int64
    masks: np.ndarray  # (2,) int64: of the node, tied features and constant ones
    stack: np.ndarray  # (capacity, STACK_COLUMNS) int64
    table_ints: np.ndarray  # (capacity, NODE_FIELDS) int64: the tree's nodes
    table_floats: np.ndarray  # the same memory as float64
    count: np.ndarray  # (4,) int64: N_NODES, DEEPEST, BY_DEPTH, STATUS
    values: np.ndarray  # (capacity, n_classes) float64
    test_t: np.ndarray  # (n_features, n_test) float32: rows to predict
    rows: np.ndarray  # (n_test,) int32
    rows_buffer: np.ndarray  # (n_test,) int32
    leaves: np.ndarray  # (n_test,) int64: the leaf of each


@jit(inline=True, internal=True)
def _evaluate(mask_pair, chosen, node, feature):
    bit = np.int64(1) << feature
    if mask_pair[1] & bit != 0:
        return True
    if chosen[0] < 0 and mask_pair[0] & bit != 0:
        chosen[0] = feature
    return False


@jit(inline=True, internal=True)
def _evaluate_feature(problem, work, node, feature):
    return _evaluate(work.masks, work.chosen, node, feature)


_try_features = make_try_features(_evaluate_feature)


@jit(internal=True)
def _find(memory, size, key):
    """Return the slot of the table that holds the node with this hash, or the free one where it belongs."""
    mask = len(memory.table) - 1
    slot = (key ^ (key >> 29) ^ size) & mask
    while True:
        node = memory.table[slot]
        if node == NOWHERE or (memory.nodes[node, HASH] == key and memory.nodes[node, SIZE] == size):
            return slot
        slot = (slot + 1) & mask


@jit(internal=True)
def _make_children(memory, split):
    """Find or make the nodes on both sides of a split; False if there is no room."""
    used = memory.used
    if used[NODES] + 2 > len(memory.nodes) or 2 * (used[NODES] + 2) > len(memory.table):
        return False
    parent = memory.splits[split, PARENT]
    feature = memory.splits[split, FEATURE]
    code = np.uint64(memory.splits[split, CODE])
    left, right = memory.scan[0], memory.scan[1]
    for k in range(len(left)):
        left[k] = 0
    start = memory.nodes[parent, START]
    size = memory.nodes[parent, SIZE]
    column = memory.entries[feature]
    n_left = 0
    key = np.int64(0)
    while n_left < size:
        entry = column[start + n_left]
        if entry >> np.uint64(CODE_SHIFT) > code:
            break
        left[np.int64(entry & np.uint64(CLASS_MASK))] += 1
        key += memory.keys[np.int64((entry >> np.uint64(ROW_SHIFT)) & np.uint64(ROW_MASK))]
        n_left += 1
    for k in range(len(left)):
        right[k] = memory.counts[parent, k] - left[k]
    for side in range(2):
        counts = left if side == 0 else right
        child_size = n_left if side == 0 else size - n_left
        child_key = key if side == 0 else memory.nodes[parent, HASH] - key
        slot = _find(memory, child_size, child_key)
        child = memory.table[slot]
        if child == NOWHERE:
            child = used[NODES]
            used[NODES] += 1
            memory.table[slot] = child
            _begin(memory, child, child_size, child_key, counts)
            memory.nodes[child, ORIGIN] = split
            memory.nodes[child, IS_RIGHT] = side
        memory.splits[split, LEFT + side] = child
    memory.improvement[split] = _improvement(memory, parent, left, n_left, size)
    return True


@jit(internal=True)
def _begin(memory, node, size, key, counts):
    row = memory.nodes[node]
    row[START] = NOWHERE
    row[SIZE] = size
    row[FIRST_SPLIT] = NOWHERE
    row[ORIGIN] = NOWHERE
    row[IS_KNOWN] = 0
    row[HASH] = key
    for k in range(len(counts)):
        memory.counts[node, k] = counts[k]
    memory.impurity[node] = gini(memory.counts[node], np.float64(size))


@jit(internal=True)
def begin_memory(memory):
    """Make the root, whose entries are the first."""
    counts = memory.scan[0]
    for k in range(len(counts)):
        counts[k] = 0
    key = np.int64(0)
    for p in range(memory.n_samples):
        counts[np.int64(memory.entries[0, p] & np.uint64(CLASS_MASK))] += 1
        key += memory.keys[p]
    _begin(memory, 0, memory.n_samples, key, counts)
    memory.nodes[0, START] = 0
    memory.table[_find(memory, memory.n_samples, key)] = 0
    memory.used[ENTRIES] = memory.n_samples
    memory.used[NODES] = 1


@jit(internal=True)
def _improvement(memory, parent, counts_left, n_left, size):
    """How much a split lowers the impurity, weighted, in scikit-learn's order of operations."""
    weight = np.float64(size)
    weight_left = np.float64(n_left)
    weight_right = weight - weight_left
    impurity_left = gini(counts_left, weight_left)
    impurity_right = gini_of_rest(memory.counts[parent], counts_left, weight_right)
    return (weight / np.float64(memory.n_samples)) * (
        memory.impurity[parent]
        - (weight_right / weight * impurity_right)
        - (weight_left / weight * impurity_left)
    )


@jit(internal=True)
def _is_splittable(memory, node):
    size = memory.nodes[node, SIZE]
    return size >= 2 * memory.min_samples_leaf and size > 1 and memory.impurity[node] > IMPURITY_EPSILON


@jit(internal=True)
def _fetch_entries(memory, node):
    """Give a node, and its sibling if that may be split too, their entries in order. False if there is no room."""
    split = memory.nodes[node, ORIGIN]
    parent = memory.splits[split, PARENT]
    size = memory.nodes[parent, SIZE]
    start = memory.used[ENTRIES]
    n_features, capacity = memory.entries.shape
    # Entries of the wrong side are written behind those of the right one, and overwritten.
    if start + size + 1 > capacity:
        return False
    left, right = memory.splits[split, LEFT], memory.splits[split, RIGHT]
    n_left = memory.nodes[left, SIZE]
    wants_left = left == node or (memory.nodes[left, START] == NOWHERE and _is_splittable(memory, left))
    wants_right = right == node or (memory.nodes[right, START] == NOWHERE and _is_splittable(memory, right))
    wants_left &= memory.nodes[left, START] == NOWHERE
    wants_right &= memory.nodes[right, START] == NOWHERE
    code = np.uint64(memory.splits[split, CODE])
    first = memory.nodes[parent, START]
    is_left = memory.is_left
    column = memory.entries[memory.splits[split, FEATURE]]
    for p in range(first, first + size):
        entry = column[p]
        row = np.int64((entry >> np.uint64(ROW_SHIFT)) & np.uint64(ROW_MASK))
        is_left[row] = np.uint8(entry >> np.uint64(CODE_SHIFT) <= code)
    for feature in range(n_features):
        column = memory.entries[feature]
        if wants_left and wants_right:
            _part(column, first, size, is_left, start, start + n_left)
        else:
            _take(column, first, size, is_left, start, np.uint8(wants_left))
    if wants_left:
        memory.nodes[left, START] = start
        start += n_left
    if wants_right:
        memory.nodes[right, START] = start
        start += size - n_left
    memory.used[ENTRIES] = start
    return True


@jit(internal=True)
def _part(column, first, size, is_left, left, right):
    """Copy entries to ``left`` and ``right``, in their order: the left ones first, so that nothing is overwritten."""
    for p in range(first, first + size):
        entry = element(column, p)
        goes_left = np.int64(element(is_left, (entry >> np.uint64(ROW_SHIFT)) & np.uint64(ROW_MASK)))
        column[left if goes_left else right] = entry
        left += goes_left
        right += 1 - goes_left


@jit(internal=True)
def _take(column, first, size, is_left, start, side):
    """Copy the entries of one side."""
    for p in range(first, first + size):
        entry = element(column, p)
        column[start] = entry
        start += np.int64(element(is_left, (entry >> np.uint64(ROW_SHIFT)) & np.uint64(ROW_MASK)) == side)


@jit(internal=True)
def _differ(memory, feature, lower, upper):
    """Tell whether two values of a feature differ by more than the threshold, compared in float32."""
    if memory.is_close[feature] == 0:
        return True
    start = memory.level_start[feature]
    below = memory.levels[start + np.int64(lower)]
    return memory.levels[start + np.int64(upper)] > below + FEATURE_THRESHOLD


@jit(internal=True)
def _proxy(counts, counts_left, weight_left, weight_right):
    impurity_left = gini(counts_left, weight_left)
    impurity_right = gini_of_rest(counts, counts_left, weight_right)
    return -weight_right * impurity_right - weight_left * impurity_left


@jit(internal=True)
def _scan_feature(memory, node, feature, best_proxy):
    """Return (best proxy, position) of a feature; position 0 if it has no split that is as good as ``best_proxy``."""
    counts = memory.counts[node]
    left = memory.scan[0]
    size = memory.nodes[node, SIZE]
    start = memory.nodes[node, START]
    column = memory.entries[feature]
    squares_right = np.int64(0)
    squares_left = np.int64(0)
    for k in range(len(counts)):
        left[k] = 0
        squares_right += counts[k] * counts[k]
    n = np.float64(size)
    slack = ROUNDING * n
    # The proxy is the measure less the number of samples.
    bound = -1.0 if best_proxy == -np.inf else (best_proxy + n) * NEARLY_AS_GOOD - slack
    first = memory.min_samples_leaf
    last = size - memory.min_samples_leaf
    best = -np.inf
    position = 0
    former = column[start] >> np.uint64(CODE_SHIFT)
    for p in range(last + 1):
        entry = column[start + p]
        code = entry >> np.uint64(CODE_SHIFT)
        n_left = np.float64(p)
        n_right = n - n_left
        measure = np.float64(squares_left) * n_right + np.float64(squares_right) * n_left
        if code != former and p >= first and measure >= bound * (n_left * n_right):
            proxy = _proxy(counts, left, n_left, n_right)
            if proxy > best and _differ(memory, feature, former, code):
                best = proxy
                position = p
                nearly = measure / (n_left * n_right) * NEARLY_AS_GOOD - slack
                bound = nearly if nearly > bound else bound
        former = code
        label = np.int64(entry & np.uint64(CLASS_MASK))
        squares_left += 2 * left[label] + 1
        squares_right -= 2 * (counts[label] - left[label]) - 1
        left[label] += 1
    return best, position


@jit(internal=True)
def _scan_two_classes(memory, node, feature, best_proxy):
    """Do what `_scan_feature` does, between two classes, with counts in registers."""
    size = memory.nodes[node, SIZE]
    start = memory.nodes[node, START]
    column = memory.entries[feature]
    n = np.float64(size)
    n_ones = np.float64(memory.counts[node, 1])
    slack = ROUNDING * n
    bound = -1.0 if best_proxy == -np.inf else (best_proxy + n) * NEARLY_AS_GOOD - slack
    first = memory.min_samples_leaf
    left = memory.scan[0]
    best = -np.inf
    position = 0
    ones = np.int64(0)
    former = element(column, start) >> np.uint64(CODE_SHIFT)
    for p in range(size - memory.min_samples_leaf + 1):
        entry = element(column, start + p)
        code = entry >> np.uint64(CODE_SHIFT)
        n_left = np.float64(p)
        n_right = n - n_left
        ones_left = np.float64(ones)
        ones_right = n_ones - ones_left
        zeros_left = n_left - ones_left
        zeros_right = n_right - ones_right
        measure = (ones_left * ones_left + zeros_left * zeros_left) * n_right
        measure += (ones_right * ones_right + zeros_right * zeros_right) * n_left
        if measure >= bound * (n_left * n_right) and code != former and p >= first:
            left[0], left[1] = p - ones, ones
            proxy = _proxy(memory.counts[node], left, n_left, n_right)
            if proxy > best and _differ(memory, feature, former, code):
                best = proxy
                position = p
                nearly = measure / (n_left * n_right) * NEARLY_AS_GOOD - slack
                bound = nearly if nearly > bound else bound
        former = code
        ones += np.int64(entry & np.uint64(CLASS_MASK))
    return best, position


@jit(internal=True)
def _expand(memory, node):
    """Find the best splits of a node, all that are equally good; False if there is no room."""
    n_features = len(memory.entries)
    if memory.used[SPLITS] + n_features > len(memory.splits):
        return False
    if memory.nodes[node, START] == NOWHERE and not _fetch_entries(memory, node):
        return False
    start = memory.nodes[node, START]
    end = start + memory.nodes[node, SIZE]
    tied = constant = np.int64(0)
    best = -np.inf
    n_splits = memory.used[SPLITS]
    first_split = n_splits
    for feature in range(n_features):
        column = memory.entries[feature]
        first = column[start] >> np.uint64(CODE_SHIFT)
        last = column[end - 1] >> np.uint64(CODE_SHIFT)
        if first == last or not _differ(memory, feature, first, last):
            constant |= np.int64(1) << feature
            continue
        if memory.counts.shape[1] == 2:
            proxy, position = _scan_two_classes(memory, node, feature, best)
        else:
            proxy, position = _scan_feature(memory, node, feature, best)
        if position == 0 or proxy < best:
            continue
        if proxy > best:
            best = proxy
            tied = np.int64(0)
            n_splits = first_split
        tied |= np.int64(1) << feature
        split = memory.splits[n_splits]
        split[PARENT] = node
        split[FEATURE] = feature
        split[LEFT] = split[RIGHT] = NOWHERE
        split[CODE] = np.int64(column[start + position - 1] >> np.uint64(CODE_SHIFT))
        split[NEXT_CODE] = np.int64(column[start + position] >> np.uint64(CODE_SHIFT))
        split[NEXT] = n_splits + 1
        n_splits += 1
    if n_splits > first_split:
        memory.splits[n_splits - 1, NEXT] = NOWHERE
        memory.nodes[node, FIRST_SPLIT] = first_split
    memory.used[SPLITS] = n_splits
    memory.used[N_EXPANDED] += 1
    memory.nodes[node, TIED] = tied
    memory.nodes[node, CONSTANT] = constant
    memory.nodes[node, IS_KNOWN] = 1
    return True


@jit(internal=True)
def _threshold(memory, split):
    """The middle between the values before and behind a split, as scikit-learn rounds it."""
    start = memory.level_start[memory.splits[split, FEATURE]]
    below = np.float64(memory.levels[start + memory.splits[split, CODE]])
    above = np.float64(memory.levels[start + memory.splits[split, NEXT_CODE]])
    return below / 2.0 + above / 2.0


@jit(internal=True)
def _part_test(state, start, end, feature, threshold):
    """Order the rows to predict by a split, and return where the right ones begin."""
    rows, buffer = state.rows, state.rows_buffer
    column = state.test_t[feature]
    n_left = start
    n_right = 0
    for i in range(start, end):
        row = element(rows, i)
        is_left = np.float64(element(column, np.uint32(row))) <= threshold
        rows[n_left] = row
        buffer[n_right] = row
        n_left += np.int64(is_left)
        n_right += 1 - np.int64(is_left)
    for i in range(n_right):
        rows[n_left + i] = buffer[i]
    return n_left


@jit(internal=True)
def _write(memory, state, node_id, waiting, node, is_leaf, split):
    """Write a node of the tree."""
    ints, floats = state.table_ints[node_id], state.table_floats[node_id]
    if waiting[NODE_PARENT] != NO_PARENT:
        state.table_ints[waiting[NODE_PARENT], RIGHT_CHILD if waiting[SIDE] else LEFT_CHILD] = node_id
    ints[N_NODE_SAMPLES] = memory.nodes[node, SIZE]
    ints[MISSING_GO_LEFT] = 0
    floats[NODE_IMPURITY] = memory.impurity[node]
    floats[NODE_WEIGHT] = np.float64(memory.nodes[node, SIZE])
    for k in range(state.values.shape[1]):
        state.values[node_id, k] = memory.counts[node, k] / floats[NODE_WEIGHT]
    if is_leaf:
        ints[LEFT_CHILD] = ints[RIGHT_CHILD] = LEAF_CHILD
        ints[SPLIT_FEATURE] = LEAF_FEATURE
        floats[SPLIT_THRESHOLD] = LEAF_FEATURE
        for i in range(waiting[TEST_START], waiting[TEST_END]):
            state.leaves[state.rows[i]] = node_id
    else:
        ints[SPLIT_FEATURE] = memory.splits[split, FEATURE]
        # Missing values, of which there are none here, go to the larger side.
        left = memory.splits[split, LEFT]
        ints[MISSING_GO_LEFT] = np.int64(2 * memory.nodes[left, SIZE] > memory.nodes[node, SIZE])
        floats[SPLIT_THRESHOLD] = _threshold(memory, split)
    state.count[N_NODES] = node_id + 1
    if waiting[NODE_DEPTH] > state.count[DEEPEST]:
        state.count[DEEPEST] = waiting[NODE_DEPTH]


@jit(internal=True)
def _draw_all(state):
    """Do what `_try_features` does where no feature is constant: a shuffle, of which the first tied feature counts."""
    features = state.draw.features
    tied = state.masks[0]
    chosen = np.int64(NOWHERE)
    random_state = state.draw.random_state[0]
    for end in range(len(features), 0, -1):
        random_state = next_state(random_state)
        position = np.int64(np.uint32(random_state & MAX_RANDOM_INT) % np.uint32(end))
        feature = element(features, position)
        features[position] = features[end - 1]
        features[end - 1] = feature
        is_first = (chosen < 0) & ((tied >> feature) & 1 != 0)
        chosen = feature if is_first else chosen
    state.draw.random_state[0] = random_state
    state.chosen[0] = chosen


@jit(internal=True)
def _choose(memory, state, waiting, node):
    """Make the draws of a node; return (split or NOWHERE, whether there was room)."""
    if memory.nodes[node, IS_KNOWN] == 0 and not _expand(memory, node):
        return NOWHERE, False
    state.masks[0] = memory.nodes[node, TIED]
    state.masks[1] = memory.nodes[node, CONSTANT]
    state.chosen[0] = NOWHERE
    state.node.ints[N_CONSTANTS] = waiting[KNOWN]
    if state.masks[1] == 0:
        _draw_all(state)
    else:
        _try_features(memory, state, state.node, len(memory.entries))
    split = memory.nodes[node, FIRST_SPLIT]
    while split != NOWHERE and memory.splits[split, FEATURE] != state.chosen[0]:
        split = memory.splits[split, NEXT]
    if split != NOWHERE and memory.splits[split, LEFT] == NOWHERE and not _make_children(memory, split):
        return NOWHERE, False
    return split, True


@jit(internal=True)
def _push_children(memory, state, waiting, node_id, split, n_waiting):
    """Have both children wait, the left one on top, each with its part of the rows to predict."""
    middle = waiting[TEST_END]
    if waiting[TEST_END] > waiting[TEST_START]:
        threshold = state.table_floats[node_id, SPLIT_THRESHOLD]
        feature = memory.splits[split, FEATURE]
        middle = _part_test(state, waiting[TEST_START], waiting[TEST_END], feature, threshold)
    for side in range(2):
        child = state.stack[n_waiting + 1 - side]
        child[DAG_NODE] = memory.splits[split, LEFT + side]
        child[NODE_DEPTH] = waiting[NODE_DEPTH] + 1
        child[NODE_PARENT] = node_id
        child[SIDE] = side
        child[KNOWN] = state.node.ints[N_CONSTANTS]
        child[TEST_START] = middle if side == 1 else waiting[TEST_START]
        child[TEST_END] = waiting[TEST_END] if side == 1 else middle


@jit
def walk(control, thread_idx, n_threads, memory, state, max_depth, min_samples_split, min_decrease):
    """Read the tree of some limits out of the memory, and predict; STATUS of state.count is DONE, FULL or STOPPED."""
    if memory.used[NODES] == 0:
        begin_memory(memory)
    stack = state.stack
    waiting = stack[len(stack) - 1]
    for i in range(STACK_COLUMNS):
        stack[0, i] = 0
    stack[0, NODE_PARENT] = NO_PARENT
    stack[0, TEST_END] = len(state.rows)
    n_waiting = 1
    node_id = 0
    for i in range(len(state.count)):
        state.count[i] = 0
    while n_waiting > 0:
        n_waiting -= 1
        for i in range(STACK_COLUMNS):
            waiting[i] = stack[n_waiting, i]
        node = waiting[DAG_NODE]
        size = memory.nodes[node, SIZE]
        is_leaf = (
            size < min_samples_split
            or size < 2 * memory.min_samples_leaf
            or memory.impurity[node] <= IMPURITY_EPSILON
        )
        if not is_leaf and waiting[NODE_DEPTH] >= max_depth:
            is_leaf = True
            state.count[BY_DEPTH] = 1
        split = NOWHERE
        if not is_leaf:
            split, has_room = _choose(memory, state, waiting, node)
            if not has_room or stop_requested(control):
                state.count[STATUS] = STOPPED if has_room else FULL
                return
            is_leaf = split == NOWHERE or memory.improvement[split] + IMPURITY_EPSILON < min_decrease
        _write(memory, state, node_id, waiting, node, is_leaf, split)
        if not is_leaf:
            _push_children(memory, state, waiting, node_id, split, n_waiting)
            n_waiting += 2
        node_id += 1
