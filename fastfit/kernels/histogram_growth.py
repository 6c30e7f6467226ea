"""Grow scikit-learn's histogram trees, by a team, all within one kernel.

Best first: of the nodes that wait the one whose split gains most is split, and its children wait in turn. The histogram of the
smaller child is added up, that of the larger is what is left of the parent's. Members take every decision for
themselves from results all of them read; between two barriers each writes only what is its own.
"""

import numpy as np

from fastfit.kernels.histogram_build import (
    add_rows,
    find_greatest,
    merge_parts,
    power_for,
    round_to_integers,
    subtract,
)
from fastfit.kernels.histogram_categories import scan_categories
from fastfit.kernels.histogram_heap import pop, push
from fastfit.kernels.histogram_rows import add_leaf_value, copy_back, fill_table, sort_out
from fastfit.kernels.histogram_split import node_value, scan_feature, thresholded
from fastfit.kernels.histogram_table import write_table
from fastfit.kernels.histogram_tree import (
    BIN,
    BITSET_WORDS,
    DEPTH,
    END,
    FEATURE,
    GAIN,
    GRADIENT_BITS,
    HAS_SPLIT,
    IS_CATEGORICAL,
    IS_LEAF,
    LEFT,
    LEFT_G,
    LEFT_H,
    LOWER,
    MISSING_LEFT,
    N_LEFT,
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
    START,
    SUM_G,
    SUM_H,
    UPPER,
    VALUE,
    WORDS,
    begin_and_end,
)
from fastfit.runtime.bit_generator import shuffle_bytes
from fastfit.runtime.bits import bits_float
from fastfit.runtime.compile import jit
from fastfit.runtime.team import barrier


@jit(internal=True)
def _round_all(control, team, buffers, values, integers, limits):
    """Round gradients and hessians to integers, each member its part; return their units, or zeros if told to stop."""
    thread_idx, n_threads = team
    start, end = begin_and_end(len(integers) // 2, thread_idx, n_threads)
    find_greatest(integers, start, end, buffers.greatest[thread_idx])
    if not barrier(control, n_threads):
        return 0.0, 0.0
    greatest_g = np.int64(0)
    greatest_h = np.int64(0)
    for member in range(n_threads):
        g = buffers.greatest[member, 0]
        h = buffers.greatest[member, 1]
        greatest_g = g if g > greatest_g else greatest_g
        greatest_h = h if h > greatest_h else greatest_h
    g_power = power_for(greatest_g, GRADIENT_BITS)
    h_power = power_for(greatest_h, limits.hessian_bits)
    round_to_integers(values, integers, start, end, g_power, h_power)
    if not barrier(control, n_threads):
        return 0.0, 0.0
    g_scale = np.float64(bits_float(np.uint32((g_power + 127) << 23)))
    h_scale = np.float64(bits_float(np.uint32((h_power + 127) << 23)))
    return 1.0 / g_scale, 1.0 / h_scale


@jit(internal=True)
def _draw_features(data, constraints, limits, ints, allowed, node, tries):
    """Write down which features a node may try: those of the tree, of its path's groups, and drawn for it."""
    n_groups = len(constraints.groups)
    n_allowed = 0
    for feature in range(data.n_features):
        may_try = constraints.columns[feature]
        if n_groups > 0:
            is_in_group = np.uint8(0)
            for group in range(n_groups):
                is_in_group |= constraints.groups[group, feature] & allowed[node, group]
            may_try &= is_in_group
        tries[feature] = may_try
        n_allowed += may_try
    if limits.has_draws and n_allowed > 0:
        n_drawn = np.int64(np.ceil(limits.max_features * n_allowed))
        mask = tries[data.n_features : data.n_features + n_allowed]
        for i in range(n_allowed):
            mask[i] = i < n_drawn or i == 0
        shuffle_bytes(limits.draw_function, limits.draw_state, mask)
        position = 0
        for feature in range(data.n_features):
            if tries[feature]:
                tries[feature] = mask[position]
                position += 1


@jit(internal=True)
def _build(control, team, data, limits, buffers, integers, bounds, offset):
    """Add up the histogram at ``offset`` of the pool over the samples within bounds; False if told to stop.

    Afterwards a member can read the features that `_own_features` gives it.
    """
    thread_idx, n_threads = team
    n_groups = limits.n_feature_parts
    part = thread_idx // n_groups
    features = _features_of(data.n_features, thread_idx % n_groups, n_groups)
    start, end = begin_and_end(bounds[1] - bounds[0], part, limits.n_row_parts)
    size = data.n_features * data.n_slots * WORDS
    target = buffers.pool if part == 0 else buffers.parts
    place = offset if part == 0 else (part - 1) * size
    unit = np.int64(1) << limits.count_shift
    samples = buffers.samples
    add_rows(data, samples, bounds[0] + start, bounds[0] + end, integers, unit, features, target, place)
    if limits.n_row_parts > 1:
        if not barrier(control, n_threads):
            return False
        first, last = begin_and_end(data.n_features, thread_idx, n_threads)
        width = data.n_slots * WORDS
        merge_parts(
            buffers.parts, limits.n_row_parts, size, first * width, last * width, buffers.pool, offset
        )
    return True


@jit(internal=True)
def _features_of(n_features, part, n_parts):
    """Return the bounds of a part of the features, multiples of four but for the last."""
    n_fours = (n_features + 3) // 4
    last = 4 * (n_fours * (part + 1) // n_parts)
    return 4 * (n_fours * part // n_parts), last if last < n_features else n_features


@jit(internal=True)
def _own_features(team, data, limits):
    """Return the bounds of the features whose whole histograms a member has, and scans."""
    if limits.n_row_parts > 1:
        return begin_and_end(data.n_features, team[0], team[1])
    return _features_of(data.n_features, team[0], team[1])


@jit(internal=True)
def _scan(data, constraints, limits, buffers, thread_idx, side, node, units, feature, offset):
    """Look for a better split of a node by one feature; ``side`` is where the result goes."""
    if not buffers.tries[side, feature]:
        return
    ints = buffers.ints[thread_idx]
    floats = buffers.floats[thread_idx, node]
    n_node = ints[node, END] - ints[node, START]
    scan_ints = buffers.scan_ints[thread_idx]
    scan_floats = buffers.scan_floats[thread_idx]
    result_ints = buffers.result_ints[thread_idx, side]
    result_floats = buffers.result_floats[thread_idx, side]
    start = offset + feature * data.n_slots * WORDS
    has_missing = np.int64(data.has_missing[feature])
    n_bins = data.n_bins[feature]
    pool = buffers.pool
    if data.is_categorical[feature]:
        columns = (feature, n_bins, has_missing, data.missing_bin)
        results = (result_ints, result_floats)
        bitset = buffers.result_bitsets[thread_idx, side]
        scan_categories(
            pool, start, columns, floats, n_node, units, limits, scan_ints, scan_floats, results, bitset
        )
    else:
        shape = (feature, n_bins, has_missing, constraints.monotonic[feature])
        scan_feature(
            pool,
            start,
            shape,
            floats,
            n_node,
            units,
            limits,
            scan_ints,
            scan_floats,
            result_ints,
            result_floats,
        )


@jit(internal=True)
def _take_best(buffers, team, side, node):
    """Enter the best of all members' splits into the node: of equal ones that of the first feature."""
    thread_idx, n_threads = team
    best = 0
    for member in range(1, n_threads):
        if buffers.result_floats[member, side, R_GAIN] > buffers.result_floats[best, side, R_GAIN]:
            best = member
    ints = buffers.ints[thread_idx, node]
    floats = buffers.floats[thread_idx, node]
    result = buffers.result_ints[best, side]
    ints[FEATURE] = result[R_FEATURE]
    ints[BIN] = result[R_BIN]
    ints[MISSING_LEFT] = result[R_MISSING_LEFT]
    ints[N_LEFT] = result[R_N_LEFT]
    ints[IS_CATEGORICAL] = result[R_IS_CATEGORICAL]
    ints[HAS_SPLIT] = 1
    floats[GAIN] = buffers.result_floats[best, side, R_GAIN]
    floats[LEFT_G] = buffers.result_floats[best, side, R_LEFT_G]
    floats[LEFT_H] = buffers.result_floats[best, side, R_LEFT_H]
    if result[R_IS_CATEGORICAL]:
        for word in range(BITSET_WORDS):
            buffers.bitsets[thread_idx, node, word] = buffers.result_bitsets[best, side, word]


@jit(internal=True)
def _begin_node(ints, floats, node, bounds, depth):
    ints[node, START] = bounds[0]
    ints[node, END] = bounds[1]
    ints[node, DEPTH] = depth
    ints[node, IS_LEAF] = 1
    ints[node, HAS_SPLIT] = 0
    ints[node, SLOT] = -1
    ints[node, IS_CATEGORICAL] = 0
    floats[node, GAIN] = -1.0
    floats[node, LOWER] = -np.inf
    floats[node, UPPER] = np.inf


@jit(internal=True)
def _enter_children(data, constraints, limits, ints, floats, allowed, node, left):
    """Make the nodes ``left`` and ``left + 1`` the children of a node that is split."""
    start = ints[node, START]
    middle = start + ints[node, N_LEFT]
    end = ints[node, END]
    _begin_node(ints, floats, left, (start, middle), ints[node, DEPTH] + 1)
    _begin_node(ints, floats, left + 1, (middle, end), ints[node, DEPTH] + 1)
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
    for child in (left, left + 1):
        g = thresholded(floats[child, SUM_G], limits.reg_alpha)
        floats[child, VALUE] = node_value(g, floats[child, SUM_H], limits.l2_regularization, lower, upper)
        floats[child, LOWER] = lower
        floats[child, UPPER] = upper
        for group in range(len(constraints.groups)):
            allowed[child, group] = allowed[node, group] & constraints.groups[group, feature]
    if constraints.monotonic[feature] != 0.0:
        middle_value = (floats[left, VALUE] + floats[left + 1, VALUE]) / 2
        rises = constraints.monotonic[feature] > 0.0
        floats[left, UPPER if rises else LOWER] = middle_value
        floats[left + 1, LOWER if rises else UPPER] = middle_value
    if not data.has_missing[feature]:
        ints[node, MISSING_LEFT] = middle - start > end - middle


@jit(internal=True)
def _sort_samples(control, team, data, buffers, node):
    """Sort the samples of a node out to its children; False if told to stop."""
    thread_idx, n_threads = team
    ints = buffers.ints[thread_idx, node]
    goes_left = buffers.goes_left[thread_idx]
    is_categorical = ints[IS_CATEGORICAL] != 0
    bitset = buffers.bitsets[thread_idx, node if is_categorical else 0]
    fill_table(ints[BIN], ints[MISSING_LEFT], data.missing_bin, is_categorical, bitset, goes_left)
    node_start = ints[START]
    node_end = ints[END]
    start, end = begin_and_end(node_end - node_start, thread_idx, n_threads)
    buffers.n_left[thread_idx, 0] = sort_out(
        data.columns,
        ints[FEATURE] * data.n_samples,
        goes_left,
        buffers.samples,
        node_start + start,
        node_start + end,
        buffers.other_samples,
    )
    if not barrier(control, n_threads):
        return False
    bounds = (node_start, node_end)
    copy_back(buffers.other_samples, bounds, buffers.n_left, thread_idx, n_threads, buffers.samples)
    return barrier(control, n_threads)


@jit(internal=True)
def _find_splits(control, team, data, constraints, limits, buffers, integers, node, children, units):
    """Find the splits of a node's children that may be split, given its histogram; False if told to stop.

    ``children`` is (left, whether the left one may be split, whether the right one may).
    """
    thread_idx = team[0]
    ints = buffers.ints[thread_idx]
    left = children[0]
    size = data.n_features * data.n_slots * WORDS
    is_left_smaller = ints[left, END] - ints[left, START] < ints[left + 1, END] - ints[left + 1, START]
    smaller = left if is_left_smaller else left + 1
    larger = left + 1 if is_left_smaller else left
    own = ints[smaller, SLOT] * size
    parent = ints[larger, SLOT] * size
    bounds = (ints[smaller, START], ints[smaller, END])
    if not _build(control, team, data, limits, buffers, integers, bounds, own):
        return False
    for side in range(2):
        buffers.result_floats[thread_idx, side, R_GAIN] = -1.0
        buffers.result_ints[thread_idx, side, R_IS_CATEGORICAL] = 0
    first, last = _own_features(team, data, limits)
    width = data.n_slots * WORDS
    for feature in range(first, last):
        subtract(buffers.pool, parent + feature * width, own + feature * width, width)
        for side in range(2):
            if children[1 + side] != 0:
                child = left + side
                offset = ints[child, SLOT] * size
                _scan(data, constraints, limits, buffers, thread_idx, side, child, units, feature, offset)
    return barrier(control, team[1])


@jit(internal=True)
def _begin_root(control, team, data, constraints, limits, buffers, integers, n_root, units):
    """Find the root's split; False if told to stop."""
    thread_idx, n_threads = team
    ints = buffers.ints[thread_idx]
    floats = buffers.floats[thread_idx]
    _begin_node(ints, floats, 0, (0, n_root), 0)
    buffers.allowed[thread_idx, 0] = 1
    floats[0, VALUE] = 0.0
    result = buffers.result_ints[thread_idx, 0]
    if not _build(control, team, data, limits, buffers, integers, (0, n_root), 0):
        return False
    first, last = _own_features(team, data, limits)
    g = np.int64(0)
    h = np.int64(0)
    if first < last:
        slot = first * data.n_slots * WORDS
        for b in range(data.n_slots):
            g += buffers.pool[slot + b * WORDS]
            h += buffers.pool[slot + b * WORDS + 1]
    result[R_ROOT_G] = g
    result[R_ROOT_H] = h & ((np.int64(1) << limits.count_shift) - 1)
    is_splittable = n_root >= 2 * limits.min_samples_leaf
    if thread_idx == 0 and is_splittable and result[R_ROOT_H] * units[1] >= limits.min_hessian:
        _draw_features(data, constraints, limits, ints, buffers.allowed[0], 0, buffers.tries[0])
    if not barrier(control, n_threads):
        return False
    floats[0, SUM_G] = buffers.result_ints[0, 0, R_ROOT_G] * units[0]
    floats[0, SUM_H] = buffers.result_ints[0, 0, R_ROOT_H] * units[1]
    buffers.result_floats[thread_idx, 0, R_GAIN] = -1.0
    result[R_IS_CATEGORICAL] = 0
    if not is_splittable or floats[0, SUM_H] < limits.min_hessian:
        return True
    for feature in range(first, last):
        _scan(data, constraints, limits, buffers, thread_idx, 0, 0, units, feature, 0)
    if not barrier(control, n_threads):
        return False
    _take_best(buffers, team, 0, 0)
    return True


@jit(internal=True)
def _take_slots(limits, buffers, thread_idx, node, left, is_left_smaller, n_free):
    """Give the larger child the histogram of its parent, to change, and the smaller one a free place."""
    ints = buffers.ints[thread_idx]
    smaller = left if is_left_smaller else left + 1
    larger = left + 1 if is_left_smaller else left
    ints[larger, SLOT] = ints[node, SLOT]
    ints[smaller, SLOT] = buffers.free[thread_idx, n_free - 1]
    return n_free - 1


@jit(internal=True)
def _keep_child(buffers, team, side, node, may_split, size, n_free, limits):
    """Let a child whose split is known wait, or take its histogram's place back; return the numbers of both."""
    thread_idx = team[0]
    ints = buffers.ints[thread_idx]
    floats = buffers.floats[thread_idx]
    if may_split:
        _take_best(buffers, team, side, node)
        if floats[node, GAIN] > 0.0:
            push(buffers.heap[thread_idx], floats, size, node, limits.best_first)
            return size + 1, n_free
    buffers.free[thread_idx, n_free] = ints[node, SLOT]
    return size, n_free + 1


@jit(internal=True)
def _split_node(control, team, data, constraints, limits, buffers, integers, units, state):
    """Split the next node; return the new state (waiting nodes, nodes, free places), or -1 nodes if told to stop."""
    thread_idx = team[0]
    ints = buffers.ints[thread_idx]
    floats = buffers.floats[thread_idx]
    allowed = buffers.allowed[thread_idx]
    n_waiting, n_nodes, n_free = state
    node = pop(buffers.heap[thread_idx], floats, n_waiting, limits.best_first)
    n_waiting -= 1
    left = n_nodes
    _enter_children(data, constraints, limits, ints, floats, allowed, node, left)
    # Of a tree of m leaves 2 m - 1 nodes are there; those that wait become leaves, too, when it is full.
    is_full = (n_nodes + 3) // 2 == limits.max_leaf_nodes
    is_last = is_full or ints[left, DEPTH] == limits.max_depth
    n_left = ints[left, END] - ints[left, START]
    n_right = ints[left + 1, END] - ints[left + 1, START]
    may_left = not is_last and n_left >= 2 * limits.min_samples_leaf
    may_right = not is_last and n_right >= 2 * limits.min_samples_leaf
    if thread_idx == 0:
        if may_left:
            _draw_features(data, constraints, limits, ints, allowed, left, buffers.tries[0])
        if may_right:
            _draw_features(data, constraints, limits, ints, allowed, left + 1, buffers.tries[1])
    if not _sort_samples(control, team, data, buffers, node):
        return 0, -1, 0
    if not (may_left or may_right):
        buffers.free[thread_idx, n_free] = ints[node, SLOT]
        return 0 if is_full else n_waiting, n_nodes + 2, n_free + 1
    n_free = _take_slots(limits, buffers, thread_idx, node, left, n_left < n_right, n_free)
    children = (left, np.int64(may_left), np.int64(may_right))
    if not _find_splits(control, team, data, constraints, limits, buffers, integers, node, children, units):
        return 0, -1, 0
    # Without an order of its own the smaller child is split first: then few histograms wait.
    is_right_first = limits.best_first == 0 and n_left < n_right
    for turn in range(2):
        side = 1 - turn if is_right_first else turn
        may_split = may_right if side == 1 else may_left
        n_waiting, n_free = _keep_child(
            buffers, team, side, left + side, may_split, n_waiting, n_free, limits
        )
    return n_waiting, n_nodes + 2, n_free


@jit(internal=True)
def _update_raw(team, buffers, limits, n_nodes, raw, first):
    """Add the leaves' values to the predictions, each member for its part of every leaf."""
    thread_idx, n_threads = team
    ints = buffers.ints[thread_idx]
    floats = buffers.floats[thread_idx]
    for node in range(n_nodes):
        if ints[node, IS_LEAF]:
            n_samples = ints[node, END] - ints[node, START]
            start, end = begin_and_end(n_samples, thread_idx, n_threads)
            node_start = ints[node, START]
            value = floats[node, VALUE] * limits.shrinkage
            add_leaf_value(buffers.samples, node_start + start, node_start + end, value, raw, first)


@jit
def grow_trees(
    control,
    thread_idx,
    n_threads,
    data,  # BinnedColumns
    constraints,  # Constraints
    limits,  # GrowthLimits
    buffers,  # GrowthBuffers
    gradients,  # (values (n_trees, 2 * n_samples) float32, the same memory as int32): gradients, hessians in turn
    root_samples,  # (n_root,) uint32: the samples of the trees; none for all
    raw,  # (n_trees * n_samples,) float64: predictions, in and out
    tables,  # GrownTables
):
    """Grow a tree for each prediction of a sample, and add its values to the predictions."""
    team = (thread_idx, n_threads)
    n_root = len(root_samples) if len(root_samples) > 0 else data.n_samples
    for tree in range(len(tables.sizes)):
        start, end = begin_and_end(n_root, thread_idx, n_threads)
        for i in range(start, end):
            buffers.samples[i] = root_samples[i] if len(root_samples) > 0 else i
        integers = gradients[1][tree]
        units = _round_all(control, team, buffers, gradients[0][tree], integers, limits)
        if units[0] == 0.0:
            return
        n_pool = buffers.free.shape[1]
        for i in range(n_pool - 1):
            buffers.free[thread_idx, i] = n_pool - 1 - i
        if not _begin_root(control, team, data, constraints, limits, buffers, integers, n_root, units):
            return
        n_waiting = 0
        buffers.ints[thread_idx, 0, SLOT] = 0
        if buffers.floats[thread_idx, 0, GAIN] > 0.0:
            push(buffers.heap[thread_idx], buffers.floats[thread_idx], 0, 0, limits.best_first)
            n_waiting = 1
        state = (n_waiting, 1, n_pool - 1)
        while state[0] > 0:
            state = _split_node(control, team, data, constraints, limits, buffers, integers, units, state)
            if state[1] < 0:
                return
        if limits.updates_raw:
            _update_raw(team, buffers, limits, state[1], raw, tree * data.n_samples)
        if thread_idx == 0:
            write_table(data, limits, buffers, tables, tree)
        if not barrier(control, n_threads):
            return
