"""Grow scikit-learn's histogram trees, by a team, all within one kernel.

Best first: of the nodes that wait the one whose split gains most is split, and its children wait in turn. The
histogram of the smaller child is added up, that of the larger is what is left of the parent's. Members take every
decision for themselves from results all of them read; between two barriers each writes only what is its own: its
samples, which it sorts out alone, and its features of the histograms, for which it reads the samples of all.
"""

import numpy as np

from fastfit.kernels.histogram_build import clear, merge_parts, subtract
from fastfit.kernels.histogram_heap import pop, push
from fastfit.kernels.histogram_rows import (
    add_leaf_value,
    deal_samples,
    dealt_to_others,
    fill_table,
    sort_out,
)
from fastfit.kernels.histogram_split import node_value, scan_feature, slot_sums, thresholded
from fastfit.kernels.histogram_table import write_table
from fastfit.kernels.histogram_tree import (
    BIN,
    BITSET_WORDS,
    COUNT,
    DEPTH,
    FEATURE,
    FIRST_NEW,
    GAIN,
    IS_CATEGORICAL,
    IS_LEAF,
    LEFT,
    LEFT_G,
    LEFT_H,
    LOWER,
    MAY_SPLIT,
    MISSING_LEFT,
    N_FREE,
    N_LEFT,
    N_NEW,
    N_NODES,
    N_WAITING,
    PARENT,
    R_BIN,
    R_FEATURE,
    R_GAIN,
    R_IS_CATEGORICAL,
    R_LEFT_G,
    R_LEFT_H,
    R_MISSING_LEFT,
    R_N_LEFT,
    R_ROOT_G,
    R_ROOT_H,
    RIGHT,
    SLOT,
    SUM_G,
    SUM_H,
    UPPER,
    VALUE,
    MemberBuffers,
    begin_and_end,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.team import barrier, stop_requested

# Samples of a node from which a team shares them if features are few: histograms that are merged cost time, too.
SAMPLES_TO_SHARE = 8192
# Rows of a node lie apart if it has less than one of so many: then they are asked for ahead.
SPARSE = 2

# What only some fits need, or what has variants: apart, so that only what is used is compiled.
_call_round = make_far_call()
_call_add_rows = make_far_call()
_call_scan_categories = make_far_call()
_call_draw_features = make_far_call()


@jit(internal=True)
def _begin_node(ints, floats, node, n_samples, depth):
    ints[node, COUNT] = n_samples
    ints[node, DEPTH] = depth
    ints[node, IS_LEAF] = 1
    ints[node, SLOT] = -1
    ints[node, IS_CATEGORICAL] = 0
    floats[node, GAIN] = -1.0
    floats[node, LOWER] = -np.inf
    floats[node, UPPER] = np.inf


@jit(internal=True)
def _choose_features(data, constraints, limits, groups, tries):
    """Write down which features a node may try."""
    if limits.draw_features != 0:
        _call_draw_features(limits.draw_features, (data.n_features, constraints, limits, groups, tries))
    else:
        for feature in range(data.n_features):
            tries[feature] = constraints.columns[feature]


@jit(internal=True)
def _begin_root(limits, mine, samples, team, root_samples, n_root):
    """Make the root the one new node, and deal its samples."""
    thread_idx, n_threads = team
    deal_samples(root_samples, n_root, thread_idx, n_threads, samples)
    mine.segments[0, 0] = dealt_to_others(n_root, thread_idx, n_threads)
    mine.segments[0, 1] = dealt_to_others(n_root, thread_idx + 1, n_threads)
    state = mine.state
    _begin_node(mine.ints, mine.floats, np.int64(0), n_root, np.int64(0))
    mine.floats[0, VALUE] = 0.0
    mine.ints[0, SLOT] = 0
    for group in range(mine.allowed.shape[1]):
        mine.allowed[0, group] = 1
    n_pool = len(mine.free)
    for i in range(n_pool - 1):
        mine.free[i] = n_pool - 1 - i
    state[N_FREE] = n_pool - 1
    state[N_WAITING] = 0
    state[N_NODES] = 1
    state[FIRST_NEW] = 0
    state[N_NEW] = 1
    state[MAY_SPLIT] = n_root >= 2 * limits.min_samples_leaf
    state[MAY_SPLIT + 1] = 0


@jit(internal=True)
def _build(control, team, data, limits, buffers, words, place_of_node):
    """Add up the histogram of a node; False if told to stop. A member can then read its own features of it."""
    thread_idx, n_threads = team
    node, n_node, slot = place_of_node
    by_rows = limits.n_row_parts > 1 and n_node > SAMPLES_TO_SHARE
    n_feature_parts = limits.n_feature_parts if by_rows else n_threads
    part = thread_idx // n_feature_parts
    first, last = begin_and_end(data.n_features, thread_idx % n_feature_parts, n_feature_parts)
    width = data.n_slots * limits.n_words
    size = data.n_features * width
    target = buffers.pool if part == 0 else buffers.parts
    place = slot * size if part == 0 else (part - 1) * size
    clear(target, place + first * width, place + last * width)
    features = (data.n_features, first, last, SPARSE * n_node < data.n_samples)
    unit = 0 if limits.is_wide else np.int64(1) << limits.count_shift
    for member in range(part * n_feature_parts, (part + 1) * n_feature_parts):
        bounds = (buffers.segments[member, node, 0], buffers.segments[member, node, 1])
        args = (data.rows, features, data.n_slots, buffers.samples, bounds, words, unit, target, place)
        _call_add_rows(limits.add_rows, args)
    if by_rows:
        if not barrier(control, n_threads):
            return False
        first, last = begin_and_end(data.n_features, thread_idx, n_threads)
        parts = (limits.n_row_parts, size)
        merge_parts(buffers.parts, parts, first * width, last * width, buffers.pool, slot * size)
    return True


@jit(internal=True)
def _enter_root_sums(control, team, data, constraints, limits, buffers, mine, units):
    """Find the root's sums in the histogram of its first feature, and draw its features; False if told to stop."""
    floats = mine.floats
    first, last = begin_and_end(data.n_features, team[0], team[1])
    if (
        first == 0 and last > 0
    ):  # whose the first feature is: not always the first member's, if features are few
        g = np.int64(0)
        h = np.int64(0)
        slot = np.int64(0)
        for _ in range(data.n_slots):
            slot_g, slot_h = slot_sums(buffers.pool, slot, limits)
            g += slot_g
            h += slot_h
            slot += limits.n_words
        h &= (np.int64(1) << limits.count_shift) - 1
        buffers.result_ints[0, 0, R_ROOT_G] = g
        buffers.result_ints[0, 0, R_ROOT_H] = h
        if h * units[1] >= limits.min_hessian:
            _choose_features(data, constraints, limits, mine.allowed[0], buffers.tries[0])
    if not barrier(control, team[1]):
        return False
    floats[0, SUM_G] = buffers.result_ints[0, 0, R_ROOT_G] * units[0]
    floats[0, SUM_H] = buffers.result_ints[0, 0, R_ROOT_H] * units[1]
    if floats[0, SUM_H] < limits.min_hessian:
        mine.state[MAY_SPLIT] = 0
    return True


@jit(internal=True)
def _scan(data, constraints, limits, buffers, floats, node, thread_and_side, units, feature):
    """Look for a better split of a new node, given its samples and slot, by one feature; where the result goes."""
    n_node, slot = node
    thread_idx, side = thread_and_side
    scan_ints = buffers.scan_ints[thread_idx]
    scan_floats = buffers.scan_floats[thread_idx]
    results = (buffers.result_ints[thread_idx, side], buffers.result_floats[thread_idx, side])
    start = (slot * data.n_features + feature) * data.n_slots * limits.n_words
    has_missing = np.int64(data.has_missing[feature])
    if data.is_categorical[feature]:
        columns = (feature, data.n_bins[feature], has_missing, data.missing_bin)
        bitset = buffers.result_bitsets[thread_idx, side]
        work = (scan_ints, scan_floats, results, bitset)
        args = (buffers.pool, start, columns, floats, n_node, units, limits, *work)
        _call_scan_categories(limits.scan_categories, args)
    else:
        columns = (feature, data.n_bins[feature], has_missing, np.int64(constraints.monotonic[feature]))
        scan_feature(
            buffers.pool, start, columns, floats, n_node, units, limits, scan_ints, scan_floats, results
        )


@jit(internal=True)
def _find_splits(control, team, data, constraints, limits, buffers, mine, words, units):
    """Find the splits of the new nodes that may be split; False if told to stop."""
    thread_idx, n_threads = team
    state = mine.state
    ints = mine.ints
    left = state[FIRST_NEW]
    is_root = state[N_NEW] == 1
    is_left_smaller = is_root or ints[left, COUNT] < ints[left + 1, COUNT]
    smaller = left if is_left_smaller else left + 1
    larger = left if is_root or not is_left_smaller else left + 1
    if not is_root:
        # The larger child takes its parent's histogram, to change, and the smaller one a free place.
        state[N_FREE] -= 1
        ints[larger, SLOT] = ints[state[PARENT], SLOT]
        ints[smaller, SLOT] = mine.free[state[N_FREE]]
    place_of_node = (smaller, ints[smaller, COUNT], ints[smaller, SLOT])
    if not _build(control, team, data, limits, buffers, words, place_of_node):
        return False
    first, last = begin_and_end(data.n_features, thread_idx, n_threads)
    if is_root and not _enter_root_sums(control, team, data, constraints, limits, buffers, mine, units):
        return False
    for side in range(2):
        buffers.result_floats[thread_idx, side, R_GAIN] = -1.0
        buffers.result_ints[thread_idx, side, R_IS_CATEGORICAL] = 0
    width = data.n_slots * limits.n_words
    for feature in range(first, last):
        if not is_root:
            slots = (
                ints[larger, SLOT] * data.n_features + feature,
                ints[smaller, SLOT] * data.n_features + feature,
            )
            subtract(buffers.pool, slots[0] * width, slots[1] * width, width)
        for side in range(2):
            if state[MAY_SPLIT + side] and buffers.tries[side, feature]:
                node = (ints[left + side, COUNT], ints[left + side, SLOT])
                floats = mine.floats[left + side]
                _scan(data, constraints, limits, buffers, floats, node, (thread_idx, side), units, feature)
    return barrier(control, n_threads)


@jit(internal=True)
def _take_best(result_ints, result_floats, side, ints, floats):
    """Enter the best of all members' splits, of equal ones that of the first feature; return whose it is."""
    best = 0
    for member in range(1, len(result_floats)):
        if result_floats[member, side, R_GAIN] > result_floats[best, side, R_GAIN]:
            best = member
    ints[FEATURE] = result_ints[best, side, R_FEATURE]
    ints[BIN] = result_ints[best, side, R_BIN]
    ints[MISSING_LEFT] = result_ints[best, side, R_MISSING_LEFT]
    ints[N_LEFT] = result_ints[best, side, R_N_LEFT]
    ints[IS_CATEGORICAL] = result_ints[best, side, R_IS_CATEGORICAL]
    floats[GAIN] = result_floats[best, side, R_GAIN]
    floats[LEFT_G] = result_floats[best, side, R_LEFT_G]
    floats[LEFT_H] = result_floats[best, side, R_LEFT_H]
    return best


@jit(internal=True)
def _keep_new(mine, result_ints, result_floats, result_bitsets, best_first):
    """Let the new nodes that can be split wait, and take back the places of the others' histograms."""
    state = mine.state
    ints = mine.ints
    floats = mine.floats
    left = state[FIRST_NEW]
    # Without an order of its own the smaller child is split first: then few histograms wait.
    is_right_first = False
    if best_first == 0 and state[N_NEW] == 2:
        is_right_first = ints[left, COUNT] < ints[left + 1, COUNT]
    for turn in range(state[N_NEW]):
        side = 1 - turn if is_right_first else turn
        node = left + side
        if state[MAY_SPLIT + side]:
            best = _take_best(result_ints, result_floats, side, ints[node], floats[node])
            if ints[node, IS_CATEGORICAL]:
                for word in range(BITSET_WORDS):
                    mine.bitsets[node, word] = result_bitsets[best, side, word]
        if floats[node, GAIN] > 0.0:
            push(mine.heap, floats, state[N_WAITING], node, best_first)
            state[N_WAITING] += 1
        else:
            mine.free[state[N_FREE]] = ints[node, SLOT]
            state[N_FREE] += 1


@jit(internal=True)
def _enter_children(has_missing, monotonic, groups, limits, ints, floats, allowed, state):
    """Make the two new nodes the children of the node ``state[PARENT]``."""
    node = state[PARENT]
    left = state[FIRST_NEW]
    n_left = ints[node, N_LEFT]
    n_right = ints[node, COUNT] - n_left
    _begin_node(ints, floats, left, n_left, ints[node, DEPTH] + 1)
    _begin_node(ints, floats, left + 1, n_right, ints[node, DEPTH] + 1)
    feature = ints[node, FEATURE]
    ints[node, LEFT] = left
    ints[node, RIGHT] = left + 1
    ints[node, IS_LEAF] = 0
    floats[left, SUM_G] = floats[node, LEFT_G]
    floats[left, SUM_H] = floats[node, LEFT_H]
    floats[left + 1, SUM_G] = floats[node, SUM_G] - floats[node, LEFT_G]
    floats[left + 1, SUM_H] = floats[node, SUM_H] - floats[node, LEFT_H]
    lower = floats[node, LOWER]
    upper = floats[node, UPPER]
    for child in range(left, left + 2):
        g = thresholded(floats[child, SUM_G], limits.reg_alpha)
        floats[child, VALUE] = node_value(g, floats[child, SUM_H], limits.l2_regularization, lower, upper)
        floats[child, LOWER] = lower
        floats[child, UPPER] = upper
        for group in range(len(groups)):
            allowed[child, group] = allowed[node, group] & groups[group, feature]
    if monotonic[feature] != 0.0:
        middle_value = (floats[left, VALUE] + floats[left + 1, VALUE]) / 2
        rises = monotonic[feature] > 0.0
        floats[left, UPPER if rises else LOWER] = middle_value
        floats[left + 1, LOWER if rises else UPPER] = middle_value
    if not has_missing[feature]:
        ints[node, MISSING_LEFT] = n_left > n_right


@jit(internal=True)
def _split_next(thread_idx, data, constraints, limits, mine, samples, other_samples, tries):
    """Split the next of the nodes that wait, and the member's own samples of it."""
    state = mine.state
    ints = mine.ints
    floats = mine.floats
    allowed = mine.allowed
    node = pop(mine.heap, floats, state[N_WAITING], limits.best_first)
    left = state[N_NODES]
    state[PARENT] = node
    state[FIRST_NEW] = left
    state[N_NEW] = 2
    state[N_WAITING] -= 1
    state[N_NODES] += 2
    _enter_children(
        data.has_missing, constraints.monotonic, constraints.groups, limits, ints, floats, allowed, state
    )
    # A tree of m leaves has 2 m - 1 nodes; when it is full, those that wait are leaves, too.
    is_full = (state[N_NODES] + 1) // 2 == limits.max_leaf_nodes
    if is_full:
        state[N_WAITING] = 0
    is_last = is_full or ints[left, DEPTH] == limits.max_depth
    for side in range(2):
        may_split = not is_last and ints[left + side, COUNT] >= 2 * limits.min_samples_leaf
        state[MAY_SPLIT + side] = may_split
        if may_split and thread_idx == 0:
            _choose_features(data, constraints, limits, allowed[left + side], tries[side])
    _sort_samples(data, mine, samples, other_samples, ints[node], node)


@jit(internal=True)
def _sort_samples(data, mine, samples, other_samples, ints, node):
    """Sort a member's samples of a node out to its children."""
    goes_left = mine.goes_left
    is_categorical = ints[IS_CATEGORICAL] != 0
    bitset = mine.bitsets[node if is_categorical else 0]
    fill_table(ints[BIN], ints[MISSING_LEFT], data.missing_bin, is_categorical, bitset, goes_left)
    segments = mine.segments
    start = segments[node, 0]
    end = segments[node, 1]
    column = ints[FEATURE] * data.n_samples
    middle = sort_out(data.columns, column, goes_left, samples, (start, end), other_samples)
    left = ints[LEFT]
    segments[left, 0] = start
    segments[left, 1] = middle
    segments[left + 1, 0] = middle
    segments[left + 1, 1] = end


@jit(internal=True)
def _grow(control, team, data, constraints, limits, buffers, mine, words, units, root_samples, n_root):
    """Grow one tree; False if told to stop."""
    thread_idx = team[0]
    state = mine.state
    _begin_root(limits, mine, buffers.samples, team, root_samples, n_root)
    goes_on = barrier(control, team[1])
    while goes_on:
        if state[MAY_SPLIT] or state[MAY_SPLIT + 1]:
            if not _find_splits(control, team, data, constraints, limits, buffers, mine, words, units):
                goes_on = False
                break
            results = (buffers.result_ints, buffers.result_floats, buffers.result_bitsets)
            _keep_new(mine, *results, limits.best_first)
        elif state[N_NEW] == 2:
            mine.free[state[N_FREE]] = mine.ints[state[PARENT], SLOT]
            state[N_FREE] += 1
        if state[N_WAITING] == 0:
            break
        samples = (buffers.samples, buffers.other_samples)
        _split_next(thread_idx, data, constraints, limits, mine, *samples, buffers.tries)
        may_split = state[MAY_SPLIT] or state[MAY_SPLIT + 1]
        goes_on = barrier(control, team[1]) if may_split else not stop_requested(control)
    return goes_on


@jit(internal=True)
def _own_part(buffers, thread_idx):
    """Return a member's own part of the memory."""
    return MemberBuffers(
        buffers.ints[thread_idx],
        buffers.floats[thread_idx],
        buffers.state[thread_idx],
        buffers.segments[thread_idx],
        buffers.heap[thread_idx],
        buffers.free[thread_idx],
        buffers.bitsets[thread_idx],
        buffers.allowed[thread_idx],
        buffers.goes_left[thread_idx],
    )


@jit(internal=True)
def _update_raw(mine, samples, shrinkage, raw, first):
    """Add the leaves' values to the predictions of a member's samples."""
    for node in range(mine.state[N_NODES]):
        if mine.ints[node, IS_LEAF]:
            bounds = (mine.segments[node, 0], mine.segments[node, 1])
            add_leaf_value(samples, bounds, mine.floats[node, VALUE] * shrinkage, raw, first)


@jit
def grow_trees(
    control,
    thread_idx,
    n_threads,
    data,  # BinnedColumns
    constraints,  # Constraints
    limits,  # GrowthLimits
    buffers,  # GrowthBuffers
    values,  # (n_trees, 2 * n_samples) float32: gradients and hessians in turn
    all_words,  # (n_trees, n_samples) int64: the same memory
    root_samples,  # (n_root,) uint32: the samples of the trees; none for all
    raw,  # (n_trees * n_samples,) float64: predictions, in and out
    tables,  # GrownTables
):
    """Grow a tree for each prediction of a sample, and add its values to the predictions."""
    team = (thread_idx, n_threads)
    n_root = len(root_samples) if len(root_samples) > 0 else data.n_samples
    mine = _own_part(buffers, thread_idx)
    for tree in range(len(tables.sizes)):
        words = all_words[tree]
        scratch = (buffers.sums, buffers.greatest, buffers.units[thread_idx])
        args = (control, team, values[tree], words, buffers.wide, *scratch, limits)
        _call_round(limits.round, args)
        if not barrier(control, n_threads):
            return
        units = (buffers.units[thread_idx, 0], buffers.units[thread_idx, 1])
        if limits.is_wide:
            words = buffers.wide
        of_tree = (words, units, root_samples, n_root)
        if not _grow(control, team, data, constraints, limits, buffers, mine, *of_tree):
            return
        if limits.updates_raw:
            _update_raw(mine, buffers.samples, limits.shrinkage, raw, tree * data.n_samples)
        if thread_idx == 0:
            write_table(
                data,
                limits,
                mine.ints,
                mine.floats,
                mine.bitsets,
                mine.heap,
                tables,
                tree,
            )
        if not barrier(control, n_threads):
            return
