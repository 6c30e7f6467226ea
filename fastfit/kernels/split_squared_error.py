"""The best split by the squared error, for one output with unit or integer weights.

Sums of floats depend on their order in the last bits, and the last bits decide between splits that are equally good. So
they are taken in the order in which scikit-learn takes them: within a feature by ascending value, over a node in the
order in which its splits have left the samples, which ``work.samples`` keeps.
"""

import numpy as np

from fastfit.kernels.presorted_columns import MEMBER, NEARLY_EQUAL, NEW_VALUE, SLOT, TEAM_SIZE, values_differ
from fastfit.kernels.small_subtree import (
    TARGETS,
    WORDS_AT_ONCE,
    order_members,
    thing_at,
)
from fastfit.kernels.small_subtree import WEIGHTED as WEIGHTED_TABLE
from fastfit.kernels.small_subtree import WEIGHTS as WEIGHTS_TABLE
from fastfit.kernels.tree_node import (
    DEPTH,
    END,
    IMPURITY,
    IMPURITY_LEFT,
    IMPURITY_RIGHT,
    LEFT_BIT,
    NODE_ID,
    POSITION,
    SQUARES,
    SQUARES_LEFT,
    START,
    SUM,
    SUM_LEFT,
    WEIGHT,
    WEIGHT_LEFT,
    WEIGHT_RIGHT,
    may_be_split,
    set_improvement,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import any_lane, broadcast, element, load, reduce_max, select, store
from fastfit.runtime.simd_integers import (
    add_uint32,
    has_bits,
    is_below,
    lane_numbers,
    load_uint32,
    lower_float64,
    lower_mask,
    upper_float64,
    upper_mask,
)
from fastfit.runtime.simd_nibbles import load_words, look_up, without_first

# Entries of a column whose sums are laid out for vectors at a time.
BLOCK = 64
# Rows of PresortedWork.block: of two features the sums and weights before an entry, the best proxy and position in each
# lane; and the sums and weights that are carried on from block to block.
SUMS, WEIGHTS, BESTS, CARRIED = 0, 2, 4, 6
# Entries of PresortedWork.sums: what the member found that put the samples in order; the first six as in NodeState from
# WEIGHT_LEFT on.
SHARED_IMPURITY_LEFT, SHARED_IMPURITY_RIGHT = 6, 7


@jit(inline=True, internal=True)
def _add_samples(problem, work, start, end, sums_out, at):
    """Store weight, sum and sum of squares of the samples of a range, added in their order."""
    layout = problem.layout
    weight = 0.0
    total = 0.0
    squares = 0.0
    for p in range(start, end):
        sample = element(work.samples, p)
        y = problem.y[sample & layout.row_mask]
        w = np.float64((sample >> layout.weight_shift) & layout.weight_mask) + 1.0
        weighted = w * y
        weight += w
        total += weighted
        squares += weighted * y
    sums_out[at] = weight
    sums_out[at + 1] = total
    sums_out[at + 2] = squares


@jit(inline=True, internal=True)
def begin_node(problem, work, node):
    """Set the root's sums; those of other nodes are known from their parents' splits."""
    if node.ints[DEPTH] == 0:
        _add_samples(problem, work, node.ints[START], node.ints[END], node.floats, WEIGHT)
        mean = node.floats[SUM] / node.floats[WEIGHT]
        node.floats[IMPURITY] = node.floats[SQUARES] / node.floats[WEIGHT] - mean * mean
    if work.team[MEMBER] == 0:
        problem.values[node.ints[NODE_ID], 0, 0] = node.floats[SUM] / node.floats[WEIGHT]


@jit(inline=True, internal=True)
def _add_up(problem, work, one, two, start, n):
    """Store sum and weight before each of n entries of two columns, and what they have come to.

    Each addition waits for the one before; those of two columns take turns.
    """
    layout = problem.layout
    y = problem.y
    sums_one = work.block[SUMS]
    sums_two = work.block[SUMS + 1]
    sum_one = work.block[CARRIED, 0]
    sum_two = work.block[CARRIED, 1]
    if layout.weight_mask == 0:
        for i in range(n):
            sums_one[i] = sum_one
            sums_two[i] = sum_two
            sum_one += y[element(one, start + i) & layout.row_mask]
            sum_two += y[element(two, start + i) & layout.row_mask]
    else:
        weights_one = work.block[WEIGHTS]
        weights_two = work.block[WEIGHTS + 1]
        weight_one = work.block[CARRIED, 2]
        weight_two = work.block[CARRIED, 3]
        for i in range(n):
            sums_one[i] = sum_one
            sums_two[i] = sum_two
            weights_one[i] = weight_one
            weights_two[i] = weight_two
            entry = element(one, start + i)
            w = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
            sum_one += w * y[entry & layout.row_mask]
            weight_one += w
            entry = element(two, start + i)
            w = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
            sum_two += w * y[entry & layout.row_mask]
            weight_two += w
        work.block[CARRIED, 2] = weight_one
        work.block[CARRIED, 3] = weight_two
    work.block[CARRIED, 0] = sum_one
    work.block[CARRIED, 1] = sum_two


@jit(internal=True)
def _rule_out(problem, work, node, feature, column, start, n, sums):
    """Make those of n sums no numbers before which values differ by no more than the threshold of equality."""
    for i in range(n):
        is_near = element(column, start + i) & NEARLY_EQUAL != 0 and start + i > node.ints[START]
        if is_near and not values_differ(problem, work, node, column, feature, start + i):
            sums[i] = np.nan


@jit(inline=True, internal=True)
def _judge(problem, work, node, limits, feature, start, n, which):
    """Keep the best split before the entries of a block, of those in the same lanes of a vector."""
    column = work.columns[feature]
    sums = work.block[SUMS + which]
    weights = work.block[WEIGHTS + which]
    bests = work.block[BESTS + which]
    first = node.ints[START] + limits.min_samples_leaf
    stop = node.ints[END] - limits.min_samples_leaf + 1
    node_sum = node.floats[SUM]
    node_weight = node.floats[WEIGHT]
    has_weights = problem.layout.weight_mask != 0
    step = np.int64(lanes(np.uint32))
    half = np.int64(lanes(np.float64))
    best = load(bests, 0)
    best_position = load(bests, half)
    for i in range(0, n, step):
        entries = load_uint32(column, start + i)
        inside = is_below(lane_numbers(), stop - start - i) & ~is_below(lane_numbers(), first - start - i)
        may_split = has_bits(entries, NEW_VALUE) & inside
        if any_lane(has_bits(entries, NEARLY_EQUAL) & inside):
            n_here = n - i if n - i < step else step
            _rule_out(problem, work, node, feature, column, start + i, n_here, sums[i : i + step])
        positions = add_uint32(lane_numbers(), start + i - node.ints[START])
        for lower in range(2):
            at = i if lower == 0 else i + half
            position = lower_float64(positions) if lower == 0 else upper_float64(positions)
            left = load(sums, at)
            weight = load(weights, at) if has_weights else position
            right = node_sum - left
            proxy = left * left / weight + right * right / (node_weight - weight)
            is_better = (proxy > best) & (lower_mask(may_split) if lower == 0 else upper_mask(may_split))
            best = select(is_better, proxy, best)
            best_position = select(is_better, position, best_position)
    store(bests, 0, best)
    store(bests, half, best_position)


@jit(inline=True, internal=True)
def _settle(work, node, feature, which):
    """Choose the best of all lanes; of equally good splits the first."""
    bests = work.block[BESTS + which]
    best = load(bests, 0)
    top = reduce_max(best)
    position = -reduce_max(select(best == top, -load(bests, np.int64(lanes(np.float64))), -np.inf))
    work.best_proxy[work.team[SLOT], feature] = top
    if top > -np.inf:
        work.best_position[work.team[SLOT], feature] = node.ints[START] + np.int64(position)


@jit(inline=True, internal=True)
def scan_two(problem, work, node, limits, feature, other):
    """Find the best split of two features each: the greatest ``(sum_left)^2 / w_left + (sum_right)^2 / w_right``."""
    stop = node.ints[END] - limits.min_samples_leaf + 1
    n_features = 1 if other == feature else 2
    for i in range(4):
        work.block[CARRIED, i] = 0.0
    for which in range(n_features):
        for i in range(lanes(np.float64)):
            work.block[BESTS + which, i] = -np.inf
    for start in range(node.ints[START], stop, BLOCK):
        n = stop - start if stop - start < BLOCK else BLOCK
        _add_up(problem, work, work.columns[feature], work.columns[other], start, n)
        for which in range(n_features):
            _judge(problem, work, node, limits, feature if which == 0 else other, start, n, which)
    for which in range(n_features):
        _settle(work, node, feature if which == 0 else other, which)


@jit(inline=True, internal=True)
def _order_samples(problem, work, node, last):
    """Put the node's samples into the order in which scikit-learn leaves them after the split.

    It finds them by ascending value of the feature tried last, and exchanges from both ends: a sample that goes left
    stays where it is, one that goes right changes places with the last one that has not been looked at.
    """
    row_mask = problem.layout.row_mask
    samples = work.samples
    column = work.columns[last]
    start = node.ints[START]
    end = node.ints[END]
    for p in range(start, end):
        samples[p] = element(column, p)
    front = start
    back = end
    left_bit = np.uint32(node.ints[LEFT_BIT])
    sample = samples[front]
    while front < back:
        row = sample & row_mask
        goes_left = (work.words[row >> np.uint32(5)] >> (row & np.uint32(31))) & np.uint32(1) == left_bit
        # Both successors are read, and one is kept, since the branch could not be foreseen.
        next_front = element(samples, front + 1)
        next_back = element(samples, back - 1)
        samples[front if goes_left else back - 1] = sample
        sample = next_front if goes_left else next_back
        front += np.int64(goes_left)
        back -= 1 - np.int64(goes_left)


@jit(internal=True)
def _sum_left(problem, work, node):
    """Return the left child's sum as scikit-learn has it: added up, or the shorter right one taken from the whole."""
    layout = problem.layout
    position = node.ints[POSITION]
    if position - node.ints[START] <= node.ints[END] - position:
        return work.sums[work.team[SLOT], 1]
    total = node.floats[SUM]
    for p in range(node.ints[END] - 1, position - 1, -1):
        sample = element(work.samples, p)
        w = np.float64((sample >> layout.weight_shift) & layout.weight_mask) + 1.0
        total -= w * problem.y[sample & layout.row_mask]
    return total


@jit(inline=True, internal=True)
def measure_children(problem, work, node, limits, last):
    """Order the samples and compute the children's sums and impurities, if the last feature is this member's."""
    n_left = node.ints[POSITION] - node.ints[START]
    n_right = node.ints[END] - node.ints[POSITION]
    if last % work.team[TEAM_SIZE] == work.team[MEMBER]:
        sums = work.sums[work.team[SLOT]]
        _order_samples(problem, work, node, last)
        _add_samples(problem, work, node.ints[START], node.ints[POSITION], sums, 0)
        _add_samples(problem, work, node.ints[POSITION], node.ints[END], sums, 3)
        sum_left = _sum_left(problem, work, node)
        mean_left = sum_left / sums[0]
        mean_right = (node.floats[SUM] - sum_left) / sums[3]
        squares_right = node.floats[SQUARES] - sums[2]
        sums[SHARED_IMPURITY_LEFT] = sums[2] / sums[0] - mean_left * mean_left
        sums[SHARED_IMPURITY_RIGHT] = squares_right / sums[3] - mean_right * mean_right
    return may_be_split(n_left, 1.0, limits) or may_be_split(n_right, 1.0, limits)


@jit(internal=True)
def take_children(work, node, limits):
    """Take over what the member found that had the last feature."""
    for i in range(6):
        node.floats[WEIGHT_LEFT + i] = work.sums[work.team[SLOT], i]
    node.floats[IMPURITY_LEFT] = work.sums[work.team[SLOT], SHARED_IMPURITY_LEFT]
    node.floats[IMPURITY_RIGHT] = work.sums[work.team[SLOT], SHARED_IMPURITY_RIGHT]
    set_improvement(node, limits, work.sums[work.team[SLOT], 0], work.sums[work.team[SLOT], 3])


@jit(inline=True, internal=True)
def target_of(problem, entry):
    """Return the target of an entry's row."""
    return problem.y[entry & problem.layout.row_mask]


@jit(inline=True, internal=True)
def scan_small(work, node, limits, orders, n_samples):
    """Find the best split of each feature of a small node, several features at once."""
    small = work.small
    weights = small.tables[WEIGHTS_TABLE]
    weighted = small.tables[WEIGHTED_TABLE]
    node_sum = node.floats[SUM]
    node_weight = node.floats[WEIGHT]
    for i in range(0, len(orders), WORDS_AT_ONCE):
        words = load_words(orders, i)
        sum_left = broadcast(0.0)
        weight_left = broadcast(0.0)
        best = broadcast(-np.inf)
        best_position = broadcast(0.0)
        for position in range(1, n_samples - limits.min_samples_leaf + 1):
            sum_left = sum_left + look_up(weighted, words)
            weight_left = weight_left + look_up(weights, words)
            words = without_first(words)
            if position >= limits.min_samples_leaf:
                right = node_sum - sum_left
                proxy = sum_left * sum_left / weight_left + right * right / (node_weight - weight_left)
                is_better = proxy > best
                best = select(is_better, proxy, best)
                best_position = select(is_better, np.float64(position), best_position)
        store(small.proxies, i, best)
        store(small.positions, i, best_position)


@jit(inline=True, internal=True)
def _add_few(tables, order, n_samples, sums_out, at):
    """Store weight, sum and sum of squares of samples, added in their order."""
    weight = 0.0
    total = 0.0
    squares = 0.0
    for i in range(n_samples):
        sample = thing_at(order, i)
        weight += tables[WEIGHTS_TABLE, sample]
        total += tables[WEIGHTED_TABLE, sample]
        squares += tables[WEIGHTED_TABLE, sample] * tables[TARGETS, sample]
    sums_out[at] = weight
    sums_out[at + 1] = total
    sums_out[at + 2] = squares


@jit(internal=True)
def measure_small(work, node, limits, order, n_left, goes_left):
    """Compute the children's sums and impurities of a small node; see `measure_children`."""
    tables = work.small.tables
    floats = node.floats
    n_samples = node.ints[END] - node.ints[START]
    order = order_members(order, n_samples, goes_left)
    order_right = order >> np.uint64(4 * n_left)
    _add_few(tables, order, n_left, floats, WEIGHT_LEFT)
    _add_few(tables, order_right, n_samples - n_left, floats, WEIGHT_RIGHT)
    sum_left = floats[SUM_LEFT]
    if n_left > n_samples - n_left:
        sum_left = floats[SUM]
        for i in range(n_samples - n_left - 1, -1, -1):
            sum_left -= tables[WEIGHTED_TABLE, thing_at(order_right, i)]
    mean_left = sum_left / floats[WEIGHT_LEFT]
    mean_right = (floats[SUM] - sum_left) / floats[WEIGHT_RIGHT]
    squares_right = floats[SQUARES] - floats[SQUARES_LEFT]
    floats[IMPURITY_LEFT] = floats[SQUARES_LEFT] / floats[WEIGHT_LEFT] - mean_left * mean_left
    floats[IMPURITY_RIGHT] = squares_right / floats[WEIGHT_RIGHT] - mean_right * mean_right
    set_improvement(node, limits, floats[WEIGHT_LEFT], floats[WEIGHT_RIGHT])


SMALL = target_of, scan_small, measure_small
