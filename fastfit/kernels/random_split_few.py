"""Random splits of nodes of two to five samples, by the squared error: more than half of the nodes of a full tree.

So few samples have at most 120 orders, and a split tells at most five of them apart: which order a split leaves is
looked up. Nothing branches on the data, since nothing in so small a node can be predicted.
"""

import itertools

import numpy as np

from fastfit.kernels.random_split import (
    BATCH,
    BEST,
    DRAWN_FEATURE,
    FEATURE_THRESHOLD,
    LAST_FEATURE,
    THRESHOLD_STATE,
    begin_draw,
    draw_batch,
    end_draw,
    float32_below,
    place_threshold,
    take_back,
)
from fastfit.kernels.tree_node import N_CONSTANTS, WEIGHT
from fastfit.runtime.compile import jit

MAX_FEW = 5


def _exchanged(order, code):
    """Return the order in which scikit-learn's partition leaves samples; bit p of ``code``: sample p goes left."""
    order = list(order)
    start, end = 0, len(order)
    while start < end:
        if code >> order[start] & 1:
            start += 1
        else:
            end -= 1
            order[start], order[end] = order[end], order[start]
    return tuple(order)


def _make_tables():
    """Return where the tables for n samples begin, the orders, and the number of the order after each split."""
    starts = np.zeros((MAX_FEW + 1, 2), np.int64)
    places = []
    following = []
    for n in range(2, MAX_FEW + 1):
        starts[n] = len(places), len(following)
        orders = list(itertools.permutations(range(n)))
        number_of = {order: number for number, order in enumerate(orders)}
        places += [[*order, *[0] * (MAX_FEW - n)] for order in orders]
        following += [number_of[_exchanged(order, code)] for order in orders for code in range(1 << n)]
    return starts, np.array(places, np.uint8), np.array(following, np.uint8)


_STARTS, _PLACES, _FOLLOWING = _make_tables()
_N_LEFT = np.array([code.bit_count() for code in range(1 << MAX_FEW)], np.int64)


@jit(inline=True, internal=True)
def _proxy(problem, node, entries, targets, total, places, code, n_left):
    """Return the proxy of a split whose samples stand in the order ``places``."""
    n_samples = len(entries)
    n_right = n_samples - n_left
    is_near = n_left <= n_right
    n_near = n_left if is_near else n_right
    outer = targets[places[0 if is_near else n_samples - 1]]
    inner = targets[places[1 if is_near else n_samples - 2]]
    # Zero is added in place of the second sample of one.
    inner = inner if n_near == 2 else 0.0
    sum_left = outer + inner if is_near else total - outer - inner
    sum_right = total - sum_left
    weight_left = np.float64(n_left)
    if problem.is_weighted:
        layout = problem.layout
        for i in range(n_samples):
            more_than_one = (entries[i] >> layout.weight_shift) & layout.weight_mask
            weight_left += np.float64(np.int64(code >> i & 1) * np.int64(more_than_one))
    return sum_left * sum_left / weight_left + sum_right * sum_right / (node.floats[WEIGHT] - weight_left)


@jit(inline=True, internal=True)
def _set_rows(table, n_features, entries, rows_out):
    """Set where the samples' values begin; of fewer than five the last one stands in for those that are missing."""
    last = len(entries) - 1
    by_rows = table.max_samples_by_rows >= MAX_FEW
    for i in range(MAX_FEW):
        row = np.uint64(entries[i if i < last else last] & table.row_mask)
        rows_out[i] = row * np.uint64(n_features if by_rows else 1)


@jit(inline=True, internal=True)
def _split_few(source, rows, offset, state):
    """Return whether a feature is constant, its threshold, and the samples that go left as bits."""
    value_0 = source[rows[0] + offset]
    value_1 = source[rows[1] + offset]
    value_2 = source[rows[2] + offset]
    value_3 = source[rows[3] + offset]
    value_4 = source[rows[4] + offset]
    low = value_1 if value_1 < value_0 else value_0
    low = value_2 if value_2 < low else low
    low = value_3 if value_3 < low else low
    low = value_4 if value_4 < low else low
    high = value_1 if value_1 > value_0 else value_0
    high = value_2 if value_2 > high else high
    high = value_3 if value_3 > high else high
    high = value_4 if value_4 > high else high
    threshold = place_threshold(state, low, high)
    bound = float32_below(threshold)
    code = np.int64(value_0 <= bound) + 2 * np.int64(value_1 <= bound) + 4 * np.int64(value_2 <= bound)
    code += 8 * np.int64(value_3 <= bound) + 16 * np.int64(value_4 <= bound)
    return high <= low + FEATURE_THRESHOLD, threshold, code


@jit(inline=True, internal=True)
def search_few(problem, work, node, limits, entries, targets, total):
    """Find the best split of few samples, and set the order in which the splits leave them."""
    table, draw, candidates = problem.table, work.draw, work.candidates
    n_samples = len(entries)
    _set_rows(table, len(draw.features), entries, work.few_rows)
    by_rows = table.max_samples_by_rows >= MAX_FEW
    source = table.X if by_rows else table.X_t
    scale = 1 if by_rows else table.n_samples
    n_known = node.ints[N_CONSTANTS]
    places = _PLACES[_STARTS[n_samples, 0] :]
    following = _FOLLOWING[_STARTS[n_samples, 1] :]
    number = np.int64(0)
    best_proxy = -np.inf
    best_code = np.int64(0)
    feature = np.int64(-1)
    max_batch = BATCH
    begin_draw(draw)
    while True:
        n_batch = draw_batch(draw, n_known, limits.max_features, max_batch)
        if n_batch == 0:
            break
        for b in range(n_batch):
            feature = draw.batch[b, DRAWN_FEATURE]
            is_constant, threshold, code = _split_few(
                source, work.few_rows, np.uint64(feature * scale), draw.batch[b, THRESHOLD_STATE]
            )
            if is_constant:
                take_back(draw, n_known, b)
                max_batch = 1
                break
            code &= (1 << n_samples) - 1
            number = np.int64(following[(number << n_samples) + code])
            n_left = _N_LEFT[code]
            proxy = _proxy(problem, node, entries, targets, total, places[number], code, n_left)
            is_better = proxy > best_proxy
            is_better &= n_left >= limits.min_samples_leaf
            is_better &= n_samples - n_left >= limits.min_samples_leaf
            best_proxy = proxy if is_better else best_proxy
            best_code = code if is_better else best_code
            candidates.features[0] = feature if is_better else candidates.features[0]
            candidates.thresholds[0] = threshold if is_better else candidates.thresholds[0]
    end_draw(draw, node)
    candidates.chosen[BEST] = 0 if best_code else -1
    candidates.positions[0] = _N_LEFT[best_code]
    if best_code and feature != candidates.features[0]:
        number = np.int64(following[(number << n_samples) + best_code])
    candidates.chosen[LAST_FEATURE] = candidates.features[0]
    for i in range(n_samples):
        work.order[i] = places[number, i]
