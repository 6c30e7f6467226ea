"""Grow a tree of random splits, as extremely randomized trees and their forests do; one thread a tree."""

import functools
import threading
import weakref
from typing import NamedTuple

import numpy as np

from fastfit.kernels import random_split_classes, random_split_squares
from fastfit.kernels.best_first import make_grow_best_first
from fastfit.kernels.depth_first import make_grow_depth_first
from fastfit.kernels.presort_entries import LEFT_OUT
from fastfit.kernels.random_split import (
    BATCH,
    BATCH_COLUMNS,
    DRAW_COUNTS,
    PADDING,
    Candidates,
    RandomDraw,
    SampleTable,
)
from fastfit.kernels.random_split_classes import FIRST_LEFT, ClassesProblem, ClassesWork
from fastfit.kernels.random_split_few import MAX_FEW
from fastfit.kernels.random_split_squares import SquaresProblem, SquaresWork
from fastfit.kernels.tree_node import NODE_FLOATS, NODE_INTS, NodeState, NodeTable
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team
from fastfit.training.tree_buffers import (
    grown_nodes,
    growth_limits,
    node_capacity,
    node_table,
    waiting_nodes,
)
from fastfit.training.tree_entries import entry_layout, entry_payloads, whole_weights

N_SLOTS = 2 * BATCH
# Values of data whose trees a user may want to interrupt.
LONG_GROWTH = 1_000_000
# Longer rows are not read as such: each value of one would be on a line, and soon on a page, of its own.
MAX_ROW_BYTES = 512
# Bytes of rows that the samples of a node may have to be read by rows: half of a core's second level cache. Nodes of
# more samples read columns, where neighbouring samples share lines, unless there is one sample a line or fewer.
ROWS_IN_CACHE = 1 << 19
VALUES_PER_LINE = 16


class _Buffers(NamedTuple):
    """What a tree needs beside the data; the next tree that is grown from the data takes it over."""

    work: NamedTuple  # ClassesWork or SquaresWork
    waiting: NamedTuple  # Stack or Frontier
    table: NodeTable
    values: np.ndarray  # (capacity, 1, n_classes) float64


class _Shared:
    """What trees that are grown from the same data share: its rows, and the buffers of trees that are finished."""

    def __init__(self, data):
        self.X_t = as_readonly(data.X_t.ravel())
        self.X = np.empty(0, np.float32)
        self.n_samples = data.n_samples
        self.max_samples_by_rows = 0
        row_bytes = data.n_features * self.X_t.itemsize
        if row_bytes <= MAX_ROW_BYTES:
            self.X = np.ascontiguousarray(data.X_t.T).ravel()
            self.max_samples_by_rows = max(ROWS_IN_CACHE // row_bytes, data.n_samples // VALUES_PER_LINE)
        self.idle_buffers = {}

    def table(self, row_mask):
        """Return the values as kernels take them."""
        return SampleTable(self.X_t, as_readonly(self.X), self.n_samples, self.max_samples_by_rows, row_mask)

    def idle_for(self, key):
        """Return the list of the buffers of a kind that no tree uses."""
        return self.idle_buffers.setdefault(key, [])


_shared_by_data = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _shared(data):
    with _lock:
        if data not in _shared_by_data:
            _shared_by_data[data] = _Shared(data)
        return _shared_by_data[data]


@functools.cache
def _kernel(is_classification, best_first):
    engine = random_split_classes if is_classification else random_split_squares
    make_grow = make_grow_best_first if best_first else make_grow_depth_first
    return make_grow(engine.bind, engine.begin_node, engine.find_split)


def covers(data, target, sample_weight, options):
    """Tell whether these kernels grow the tree; the general ones grow all others."""
    return (
        options.criterion in ("gini", "entropy", "squared_error")
        and not data.any_missing
        and target.y.shape[1] == 1
        and options.min_weight_leaf == 0.0
        and options.monotonic_cst is None
        and entry_layout(target, whole_weights(sample_weight)) is not None
    )


def grow_random(data, target, sample_weight, options, seed):
    """Grow one tree; arguments as in :func:`fastfit.training.tree_growth.grow_tree`.

    Trees may be grown from the same data on several threads at once.
    """
    from fastfit.training.tree_growth import GrownTree

    weights = whole_weights(sample_weight)
    layout = entry_layout(target, weights)
    payloads, n_root_samples = entry_payloads(target, weights, layout)
    rows = np.arange(n_root_samples) if weights is None else np.flatnonzero(payloads != LEFT_OUT)
    shared = _shared(data)
    n_classes = 0 if target.n_classes is None else int(target.n_classes[0])
    idle_buffers = shared.idle_for((n_classes, options[2:]))
    try:
        buffers = idle_buffers.pop()
    except IndexError:
        buffers = _make_buffers(data, options, n_classes)
    _fill(buffers, rows, payloads, seed)
    if n_classes:
        problem = ClassesProblem(
            shared.table(layout.row_mask),
            layout,
            int(layout.weight_mask).bit_length(),
            options.criterion == "entropy",
            n_root_samples,
            buffers.values,
        )
    else:
        y = target.y[:, 0]
        buffers.work.targets[0, :n_root_samples] = y[rows] if weights is None else weights[rows] * y[rows]
        problem = SquaresProblem(
            shared.table(layout.row_mask),
            layout,
            weights is not None,
            as_readonly(np.ascontiguousarray(y)),
            n_root_samples,
            buffers.values,
        )
    limits = growth_limits(options, n_root_samples if weights is None else weights.sum())
    grow = _kernel(n_classes > 0, options.max_leaf_nodes > 0)
    may_be_long = data.size > LONG_GROWTH
    run_team(grow, 1, problem, buffers.work, buffers.waiting, limits, buffers.table, may_be_long=may_be_long)
    grown = GrownTree(*grown_nodes(buffers.table, buffers.values))
    idle_buffers.append(buffers)
    return grown


def _make_buffers(data, options, n_classes):
    n_samples = data.n_samples
    capacity = node_capacity(options, n_samples)
    node = NodeState(np.zeros(NODE_INTS, np.int64), np.zeros(NODE_FLOATS))
    draw = RandomDraw(
        np.empty(data.n_features, np.int64),
        np.empty(data.n_features, np.int64),
        np.empty(1, np.int64),
        np.empty((BATCH, BATCH_COLUMNS), np.int64),
        np.empty((data.n_features, 2), np.int64),
        np.empty(DRAW_COUNTS, np.int64),
    )
    candidates = Candidates(
        np.empty((N_SLOTS, n_samples + PADDING), np.float32),
        np.empty(BATCH, np.int64),
        np.empty((2, BATCH), np.float32),
        np.empty(N_SLOTS, np.int64),
        np.empty(N_SLOTS),
        np.empty(N_SLOTS, np.int64),
        np.empty(2, np.int64),
    )
    entries = np.empty((2, n_samples + PADDING), np.uint32)
    if n_classes:
        work = ClassesWork(
            node,
            draw,
            candidates,
            entries,
            np.empty((N_SLOTS, 2)),
            np.empty((FIRST_LEFT + N_SLOTS, n_classes), np.int64),
            np.empty((n_samples, n_classes), np.int64),
        )
    else:
        targets = np.empty(entries.shape)
        places = (np.empty(n_samples + PADDING, np.uint32) for _ in range(3))
        work = SquaresWork(
            node, draw, candidates, entries, targets, *places, np.empty(2), np.empty(MAX_FEW, np.uint64)
        )
    waiting = waiting_nodes(options, n_samples, 1)
    return _Buffers(work, waiting, node_table(capacity), np.empty((capacity, 1, max(n_classes, 1))))


def _fill(buffers, rows, payloads, seed):
    """Set what a tree reads before it has written it."""
    work = buffers.work
    work.draw.features[:] = np.arange(len(work.draw.features))
    work.draw.random_state[0] = seed
    np.bitwise_or(rows, payloads[rows], out=work.entries[0, : len(rows)], casting="unsafe")
    buffers.table.count[:] = 0
