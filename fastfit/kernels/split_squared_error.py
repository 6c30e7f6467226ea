"""The best split by the squared error, for one output with unit or integer weights.

Sums of floats depend on their order in the last bits, and the last bits decide between splits that are equally good. So
they are taken in the order in which scikit-learn takes them: within a feature by ascending value, over a node in the
order in which its splits have left the samples, which ``work.samples`` keeps.
"""

import numpy as np

from fastfit.kernels.presorted_columns import MEMBER, NEARLY_EQUAL, NEW_VALUE, SLOT, TEAM_SIZE, values_differ
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
    START,
    SUM,
    WEIGHT,
    WEIGHT_LEFT,
    may_be_split,
    set_improvement,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import any_lane, element, lanes, load, select, store

# Up to this many samples are looked at one by one: to lay them out for vectors would take longer.
FEW = 16
# Entries whose sums are laid out for vectors at a time.
BLOCK = 64
# Rows of PresortedWork.block.
SUMS, WEIGHTS, PROXIES = 0, 1, 2
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
def _scan_few(problem, work, node, limits, feature, column):
    """Do what `scan_squared_error` does, one sample after the other."""
    layout = problem.layout
    node_sum = node.floats[SUM]
    node_weight = node.floats[WEIGHT]
    first = node.ints[START] + limits.min_samples_leaf
    sum_left = 0.0
    weight_left = 0.0
    best = -np.inf
    for p in range(node.ints[START], node.ints[END] - limits.min_samples_leaf + 1):
        entry = element(column, p)
        if p >= first and entry & NEW_VALUE != 0:
            right = node_sum - sum_left
            proxy = sum_left * sum_left / weight_left + right * right / (node_weight - weight_left)
            if proxy > best and (
                entry & NEARLY_EQUAL == 0 or values_differ(problem, work, node, column, feature, p)
            ):
                best = proxy
                work.best_position[work.team[SLOT], feature] = p
        w = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
        sum_left += w * problem.y[entry & layout.row_mask]
        weight_left += w
    work.best_proxy[work.team[SLOT], feature] = best


@jit(inline=True, internal=True)
def scan_squared_error(problem, work, node, limits, feature, column):
    """Find the best split of one feature: the greatest ``(sum_left)^2 / w_left + (sum_right)^2 / w_right``."""
    if node.ints[END] - node.ints[START] <= FEW:
        _scan_few(problem, work, node, limits, feature, column)
        return
    layout = problem.layout
    sums = work.block[SUMS]
    weights = work.block[WEIGHTS]
    proxies = work.block[PROXIES]
    node_sum = node.floats[SUM]
    node_weight = node.floats[WEIGHT]
    first = node.ints[START] + limits.min_samples_leaf
    stop = node.ints[END] - limits.min_samples_leaf + 1
    step = np.int64(lanes(np.float64))
    sum_left = 0.0
    weight_left = 0.0
    best = -np.inf
    for start in range(node.ints[START], stop, BLOCK):
        n = stop - start if stop - start < BLOCK else BLOCK
        for i in range(n):
            entry = element(column, start + i)
            # A position where no split can be has weight 0 on the left: its proxy is no number.
            may_split = entry & NEW_VALUE != 0 and start + i >= first
            sums[i] = sum_left
            weights[i] = weight_left if may_split else 0.0
            w = np.float64((entry >> layout.weight_shift) & layout.weight_mask) + 1.0
            sum_left += w * problem.y[entry & layout.row_mask]
            weight_left += w
        for i in range(n, (n + step - 1) // step * step):
            weights[i] = 0.0
        for i in range(0, n, step):
            left = load(sums, i)
            right = node_sum - left
            weight = load(weights, i)
            proxy = left * left / weight + right * right / (node_weight - weight)
            proxy = select(weight > 0.0, proxy, -np.inf)
            if any_lane(proxy > best):
                store(proxies, 0, proxy)
                for j in range(step):
                    if proxies[j] > best and (
                        element(column, start + i + j) & NEARLY_EQUAL == 0
                        or values_differ(problem, work, node, column, feature, start + i + j)
                    ):
                        best = proxies[j]
                        work.best_position[work.team[SLOT], feature] = start + i + j
    work.best_proxy[work.team[SLOT], feature] = best


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
