"""Grow a tree that tries few features at each node."""

import functools

import numpy as np

from fastfit.kernels import split_gini
from fastfit.kernels.best_first import make_grow_best_first
from fastfit.kernels.depth_first import make_grow_depth_first
from fastfit.kernels.drawn_columns import DrawnProblem, DrawnScratch, make_drawn_engine, values_differ
from fastfit.kernels.feature_draw import DrawState
from fastfit.kernels.node_sort import SCRATCH_SIZE
from fastfit.kernels.presort_entries import LEFT_OUT
from fastfit.kernels.presorted_columns import PADDING, EntryLayout
from fastfit.kernels.tree_node import NODE_FLOATS, NODE_INTS
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

KEY_BITS = 32


@functools.cache
def _kernel(has_two_classes, best_first):
    make_scan = split_gini.make_scan_two_classes if has_two_classes else split_gini.make_scan_classes
    scan = make_scan(values_differ)
    make_grow = make_grow_best_first if best_first else make_grow_depth_first
    return make_grow(
        *make_drawn_engine(split_gini.begin_node, scan, split_gini.measure_children, split_gini.take_children)
    )


def covers(data, target, sample_weight, options):
    """Tell whether these kernels grow the tree; the general ones grow all others."""
    if (
        options.criterion != "gini"
        or data.any_missing
        or target.y.shape[1] != 1
        or options.min_weight_leaf != 0.0
        or options.monotonic_cst is not None
        or options.max_features >= data.n_features
        or data.has_common_values
    ):
        return False
    layout = entry_layout(target, whole_weights(sample_weight))
    if layout is None:
        return False
    return int(data.n_levels.max()).bit_length() + _payload_bits(layout) <= KEY_BITS


def _payload_bits(layout):
    return (int(layout.class_mask) + 1).bit_length() + (int(layout.weight_mask) + 1).bit_length() - 2


def grow_drawn(data, target, sample_weight, options, seed):
    """Grow one tree; arguments as in :func:`fastfit.training.tree_growth.grow_tree`."""
    from fastfit.training.tree_growth import GrownTree

    samples, layout, payload_bits, total = _root_samples(target, sample_weight)
    n_root_samples = samples.shape[1] - PADDING
    n_classes = int(target.n_classes[0])
    capacity = node_capacity(options, n_root_samples)
    table = node_table(capacity)
    class_bits = (int(layout.class_mask) + 1).bit_length() - 1
    sorted_layout = 0, 0, layout.class_mask, class_bits, layout.weight_mask
    problem = DrawnProblem(
        codes=data.codes,
        levels=data.levels,
        level_start=data.level_start,
        is_close=data.is_close,
        layout=EntryLayout(*map(np.uint32, sorted_layout)),
        payload_bits=payload_bits,
        n_root_samples=n_root_samples,
        n_classes=n_classes,
        values=np.empty((capacity, 1, n_classes)),
    )
    run_team(
        _kernel(n_classes == 2, options.max_leaf_nodes > 0),
        1,
        problem,
        _scratch(samples, data.n_features, n_classes, seed),
        waiting_nodes(options, n_root_samples, 1),
        growth_limits(options, total),
        table,
        may_be_long=data.size > LONG_X,
    )
    return GrownTree(*grown_nodes(table, problem.values))


def _root_samples(target, sample_weight):
    """Return the samples of the root, packed; how they are packed; and their weight.

    All else that it takes is let go: trees that grow side by side have this many arrays each.
    """
    weights = whole_weights(sample_weight)
    layout = entry_layout(target, weights)
    payloads, n_root_samples = entry_payloads(target, weights, layout)
    kept = np.flatnonzero(payloads != LEFT_OUT).astype(np.uint32)
    samples = np.zeros((1, n_root_samples + PADDING), np.uint32)
    payload_bits = np.uint32(_payload_bits(layout))
    samples[0, :n_root_samples] = kept << payload_bits | payloads[kept] >> layout.class_shift
    return samples, layout, payload_bits, n_root_samples if weights is None else weights.sum()


def _scratch(samples, n_features, n_classes, seed):
    size = samples.shape[1]
    return DrawnScratch(
        columns=samples,
        entries=np.zeros(size, np.uint32),
        keys=np.empty(size, np.uint32),
        buffer=np.empty(size, np.uint32),
        sort_scratch=np.empty(SCRATCH_SIZE, np.uint64),
        counts=np.zeros((3, n_classes), np.int64),
        block=np.empty((3, 64)),
        ints=np.zeros(NODE_INTS, np.int64),
        floats=np.zeros(NODE_FLOATS),
        draw=DrawState(np.arange(n_features), np.zeros(n_features, np.int64), np.full(1, seed, np.int64)),
        best_proxy=np.empty((1, n_features)),
        best_position=np.empty((1, n_features), np.int64),
        best_codes=np.empty(2, np.int64),
        team=np.zeros(3, np.int64),
    )
