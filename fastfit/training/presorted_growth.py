"""Grow a tree on presorted columns: every feature is tried at every node, by exact or by binned values."""

import functools

import numpy as np

from fastfit.kernels import split_gini, split_squared_error
from fastfit.kernels.best_first import make_grow_best_first
from fastfit.kernels.depth_first import FORETOLD_WRONGLY, make_grow_depth_first
from fastfit.kernels.presort_entries import LEFT_OUT, fill_columns
from fastfit.kernels.presorted_columns import (
    PADDING,
    TEAM,
    PresortedProblem,
    PresortedScratch,
    make_presorted_engine,
    values_differ,
)
from fastfit.kernels.small_subtree import MAX_SAMPLES, N_SLOTS, N_STATES, WORDS_AT_ONCE, SmallScratch
from fastfit.kernels.tree_node import N_NODES, NODE_FLOATS, NODE_INTS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.simd_nibbles import HAS_NIBBLES
from fastfit.runtime.threads import run_team
from fastfit.training.tree_buffers import (
    LONG_X,
    grown_nodes,
    growth_limits,
    node_capacity,
    node_table,
    waiting_nodes,
)
from fastfit.training.tree_entries import entry_layout, entry_payloads, whole_weights

# Up to this share of tied values in a column the order of ties does not decide between splits, and no feature is
# constant in a node by them; float32 has some in any 10^5 numbers.
FEW_TIES = 0.005
# Bits behind the point of targets whose sums may be exact, and where float64 begins to leave out whole numbers.
SCALE_BITS = 10
MAX_EXACT = 2.0**53
# Targets that are looked at to find out whether values repeat.
ROWS_LOOKED_AT = 2000

_GINI = split_gini.measure_children, split_gini.take_children
_ENGINES = {
    "two classes by gini": (split_gini.begin_node, split_gini.make_scan_two_classes(values_differ), *_GINI),
    "classes by gini": (split_gini.begin_node, split_gini.make_scan_classes(values_differ), *_GINI),
    "squared_error": (
        split_squared_error.begin_node,
        split_squared_error.scan_two,
        split_squared_error.measure_children,
        split_squared_error.take_children,
    ),
}
# What they do in small subtrees.
_SMALL = {"squared_error": split_squared_error.SMALL}


@functools.cache
def _kernel(criterion, best_first):
    small = _SMALL.get(criterion) if HAS_NIBBLES and not best_first else None
    engine = make_presorted_engine(*_ENGINES[criterion], small, scans_two=criterion == "squared_error")
    return make_grow_best_first(*engine) if best_first else make_grow_depth_first(*engine, TEAM)


def covers(data, target, sample_weight, options):
    """Tell whether these kernels grow the tree; the general ones grow all others."""
    if (
        options.criterion not in ("gini", "squared_error")
        or options.max_features < data.n_features
        or data.any_missing
        or target.y.shape[1] != 1
        or options.min_weight_leaf != 0.0
        or options.monotonic_cst is not None
        # Whatever stays sorted is moved at each split, and the general kernels pass by a value that nearly all share.
        or data.has_common_values
    ):
        return False
    weights = whole_weights(sample_weight)
    if entry_layout(target, weights) is None:
        return False
    # Where values are tied, scikit-learn's unstable sort decides in what order targets are summed, and the last bits of
    # the sums between splits that are equally good; the general kernels sort as it does.
    return options.criterion == "gini" or data.tied_share <= FEW_TIES or _sums_are_exact(target.y, weights)


def _sums_are_exact(y, weights):
    """Tell whether sums of y and of its squares are the same in any order: multiples of 2 ** -10 that stay small."""
    scaled = y * 2.0**SCALE_BITS
    total = len(y) if weights is None else weights.sum()
    return np.square(scaled).max() * total < MAX_EXACT and np.array_equal(scaled, np.rint(scaled))


def grow_presorted(data, target, sample_weight, options, seed, n_threads):
    """Grow one tree; arguments as in :func:`fastfit.training.tree_growth.grow_tree`."""
    if n_threads > 1 and _can_be_foretold(data, target, options):
        grown = _grow(data, target, sample_weight, options, seed, n_threads, is_foretold=True)
        if grown is not None:
            return grown
        # Seldom: two samples had features or targets that are equal up to rounding, and stayed in one leaf.
        data.forget_sorted_rows()
    return _grow(data, target, sample_weight, options, seed, n_threads, is_foretold=False)


def _can_be_foretold(data, target, options):
    """Tell whether the tree will, in all likelihood, part all samples, and find no feature constant on the way."""
    n_samples = data.n_samples
    spread = target.y[:: -(-n_samples // ROWS_LOOKED_AT), 0]
    return (
        options.criterion == "squared_error"
        and options.max_leaf_nodes < 0
        and options.max_depth >= n_samples
        and options.min_samples_split == 2
        and options.min_samples_leaf == 1
        and options.min_impurity_decrease == 0.0
        and data.tied_share <= FEW_TIES
        and len(np.unique(spread)) == len(spread)
    )


def _grow(data, target, sample_weight, options, seed, n_threads, is_foretold):
    """Return the tree, or None if it has not turned out as foretold."""
    from fastfit.training.tree_growth import GrownTree

    weights = whole_weights(sample_weight)
    layout = entry_layout(target, weights)
    payloads, n_root_samples = entry_payloads(target, weights, layout)
    rows, has_ties, is_close = data.sorted_rows
    n_threads = min(n_threads, data.n_features)
    columns = rows
    if data.is_shared:
        columns = np.empty((data.n_features, n_root_samples + PADDING), np.uint32)
    run_team(fill_columns, n_threads, rows, payloads, columns, data.n_samples)
    n_classes = 1 if target.n_classes is None else int(target.n_classes[0])
    capacity = node_capacity(options, n_root_samples)
    table = node_table(capacity, n_threads)
    problem = PresortedProblem(
        X_t=data.X_t,
        has_ties=has_ties,
        is_close=is_close,
        layout=layout,
        y=as_readonly(target.y[:, 0]),
        n_root_samples=n_root_samples,
        is_foretold=is_foretold,
        n_classes=n_classes,
        values=np.empty((capacity, 1, n_classes)),
    )
    total = n_root_samples if weights is None else weights.sum()
    n_tasks = n_root_samples if is_foretold else 0
    run_team(
        _kernel(_engine_name(options.criterion, n_classes), options.max_leaf_nodes > 0),
        n_threads,
        problem,
        _scratch(columns, payloads, data, n_root_samples, n_classes, seed, n_threads),
        waiting_nodes(options, n_root_samples, n_threads, n_tasks, data.n_features),
        growth_limits(options, total),
        table,
        may_be_long=data.size > LONG_X,
    )
    if table.count[:, N_NODES].max() == FORETOLD_WRONGLY:
        return None
    return GrownTree(*grown_nodes(table, problem.values))


def _engine_name(criterion, n_classes):
    if criterion != "gini":
        return criterion
    return "two classes by gini" if n_classes == 2 else "classes by gini"


def _scratch(columns, payloads, data, n_root_samples, n_classes, seed, n_threads):
    n_features = data.n_features
    features = np.zeros((n_threads, 2, n_features), np.int64)
    features[:, 0] = np.arange(n_features)
    kept = np.flatnonzero(payloads != LEFT_OUT).astype(np.uint32)
    samples = np.append(kept | payloads[kept], np.uint32(0))
    return PresortedScratch(
        columns=columns,
        samples=samples,
        buffer=np.empty((n_threads, n_root_samples + PADDING), np.uint32),
        words=np.zeros((n_threads, data.n_samples // 32 + 1), np.uint32),
        counts=np.zeros((n_threads, 3, n_classes), np.int64),
        block=np.zeros((n_threads, 7, 64)),
        sums=np.zeros((n_threads, 8)),
        ints=np.zeros((n_threads, NODE_INTS), np.int64),
        floats=np.zeros((n_threads, NODE_FLOATS)),
        features=features,
        random_state=np.full((n_threads, 1), seed, np.int64),
        best_proxy=np.empty((n_threads, n_features)),
        best_position=np.empty((n_threads, n_features), np.int64),
        team=np.empty((n_threads, 3), np.int64),
        marks=np.zeros((n_threads, 2 * n_features + 1), np.int64),
        small=_small_scratch(data, n_threads),
    )


def _small_scratch(data, n_threads):
    n_words = -(-data.n_features // WORDS_AT_ONCE) * WORDS_AT_ONCE
    return SmallScratch(
        orders=np.zeros((n_threads, N_SLOTS, n_words), np.uint64),
        mask=np.empty((n_threads, n_words), np.uint64),
        numbers=np.empty((n_threads, data.n_samples), np.uint8),
        rows=np.empty((n_threads, MAX_SAMPLES), np.uint32),
        tables=np.ones((n_threads, 3, MAX_SAMPLES)),
        proxies=np.empty((n_threads, n_words)),
        positions=np.empty((n_threads, n_words)),
        state=np.zeros((n_threads, N_STATES), np.int64),
    )
