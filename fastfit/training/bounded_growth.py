"""Grow trees of large nodes, many on the same columns, at the price of trees on histograms."""

import math
from typing import NamedTuple

import numpy as np

from fastfit.kernels.bounded_columns import N_BINS, BinnedColumns, cut_columns, pack_targets
from fastfit.kernels.bounded_split import (
    END,
    GREATEST,
    LEAST,
    MAX_CANDIDATES,
    NODE_FACTS,
    START,
    TOTAL,
    Candidates,
)
from fastfit.kernels.bounded_tree import (
    CHUNK,
    DEEPEST,
    GIVEN_UP,
    N_NODES,
    SIDE,
    BoundedLimits,
    BoundedTree,
    BoundedWork,
    grow_bounded,
)
from fastfit.kernels.tree_node import NODE_FIELDS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team

# A tree pays whose leaves have so many samples on average: below, splits that are equally good become common.
SAMPLES_PER_LEAF = 500
MAX_DEPTH = 7
# Sums of so many targets are still precise enough to tell most splits apart.
MAX_SAMPLES = 1 << 21
# Bytes of histograms.
MAX_HISTOGRAMS = 1 << 26
# Features of a group, whose histogram of one node stays in the first cache.
GROUP_SIZE = 12
# Values of X from which a fit may take so long that a user may want to interrupt it.
LONG_X = 5_000_000


class BoundedResult(NamedTuple):
    """A finished tree, and where its rows are."""

    nodes: np.ndarray  # (n_nodes, 8) int64: scikit-learn's nodes, byte for byte
    values: np.ndarray  # (n_nodes, 1, 1) float64
    max_depth: int
    starts: np.ndarray  # (n_nodes + 2,) int64: rows of leaf i are rows[starts[i]:starts[i + 1]], ascending
    rows: np.ndarray  # (n_samples,) int32
    leaves: np.ndarray | None  # (n_samples,) int32: leaf of each row; None if rows were left out


def covers(n_rows, n_features, options):
    """Tell whether trees with these options can be grown so, and are large enough that it pays."""
    return (
        options.criterion == "squared_error"
        and options.splitter == "best"
        and options.max_features >= n_features
        and options.max_leaf_nodes <= 0
        and 1 <= options.max_depth <= MAX_DEPTH
        and options.min_weight_leaf == 0.0
        and options.monotonic_cst is None
        and SAMPLES_PER_LEAF << options.max_depth <= n_rows <= MAX_SAMPLES
        and (n_features * N_BINS * 16) << (options.max_depth - 1) <= MAX_HISTOGRAMS
    )


class BoundedGrowth:
    """Grows the trees of one fit.

    Parameters
    ----------
    data : TreeData
        Without missing values.
    options : GrowthOptions
        For which `covers` is true.
    scratch : ndarray of shape (3, n_samples) of float64
        Used while a tree is grown.
    n_threads : int
        The trees do not depend on it.
    """

    def __init__(self, data, options, scratch, n_threads):
        n_features, n_samples = data.X_t.shape
        self.n_threads = n_threads
        self.n_samples = n_samples
        n_groups = min(n_threads * -(-n_features // (GROUP_SIZE * n_threads)), n_features)
        group_size = -(-n_features // n_groups)
        rows, _, _ = data.sorted_rows
        self.columns = BinnedColumns(
            data.X_t,
            rows,
            np.zeros((n_groups, n_samples, group_size), np.uint8),
            np.empty((n_features, N_BINS + 1), np.int64),
            np.empty(n_features, np.int64),
            np.empty((n_features, N_BINS), np.uint8),
        )
        run_team(cut_columns, min(n_threads, n_groups), self.columns)
        self.limits = BoundedLimits(
            options.max_depth,
            options.min_samples_split,
            options.min_samples_leaf,
            options.min_impurity_decrease,
        )
        n_numbers = 2 << options.max_depth
        self.n_numbers = n_numbers
        n_slots = n_numbers // 4
        self.histograms = np.empty((2, n_slots, n_groups * group_size * N_BINS), np.int64)
        self.candidates = Candidates(
            np.zeros((n_threads, n_numbers, 8), np.int64),
            np.empty((n_threads, n_numbers, MAX_CANDIDATES)),
            np.empty((n_threads, n_numbers, MAX_CANDIDATES, 4), np.int64),
            np.empty((n_threads, n_numbers)),
        )
        self.packed = np.empty(n_samples, np.int64)
        self.order = np.empty((2, n_samples), np.int32)
        self.node_of = np.empty(n_samples, np.uint8)
        self.goes_left = np.empty(n_samples, np.uint8)
        self.chunks = np.empty((n_samples // CHUNK + n_numbers + 1, 5), np.int64)
        # A node more than there are, to keep what threads write apart.
        self.search_floats = np.zeros((n_threads, 4, n_numbers + 8))
        self.search_ints = np.zeros((n_threads, 4, n_numbers + 8), np.int64)
        self.values = scratch[:2]
        self.sizes = np.empty((n_threads, 64), np.int64)
        self.sums = np.empty((n_threads, 64))

    def grow(self, target, in_bag=None):
        """Grow a tree, the one that scikit-learn grows.

        Parameters
        ----------
        target : ndarray of shape (n_samples,) of float64
        in_bag : ndarray of shape (n_samples,) of bool, or None
            Samples that the tree is grown from; None: all.

        Returns
        -------
        result : BoundedResult or None
            None if rounding would decide between splits: another engine has to grow this tree.
        """
        if in_bag is None:
            n_rows = self.n_samples
            self.order[0] = np.arange(n_rows, dtype=np.int32)
            self.node_of[:] = 1
        else:
            rows = np.flatnonzero(in_bag)
            n_rows = len(rows)
            self.order[0, :n_rows] = rows
            self.node_of[:] = in_bag
        least, greatest = float(target.min()), float(target.max())
        largest = max(-least, greatest)
        shift = 63 - n_rows.bit_length()
        if not 0.0 < largest < math.inf:
            return None
        scale = 2.0 ** math.floor(math.log2(2.0 ** (shift - 1) / n_rows / largest) - 0.01)
        run_team(pack_targets, self.n_threads, as_readonly(target), scale, shift, self.packed)
        work = self._work(target, shift, 1.0 / scale, largest, n_rows)
        root = work.nodes[1]
        one = 1 << shift
        chosen = self.packed if in_bag is None else self.packed[in_bag]
        root[START], root[END], root[TOTAL] = 0, n_rows, int(chosen.sum() - (n_rows << shift))
        root[LEAST], root[GREATEST] = int(chosen.min()) - one, int(chosen.max()) - one
        ints = np.empty((self.n_numbers, NODE_FIELDS), np.int64)
        tree = BoundedTree(
            ints,
            ints.view(np.float64),
            np.empty((self.n_numbers, 1, 1)),
            np.zeros(self.n_numbers + 2, np.int64),
            np.empty(self.n_numbers),
            np.empty(self.n_numbers, np.int32),
        )
        run_team(
            grow_bounded,
            self.n_threads,
            self.columns,
            work,
            self.limits,
            self.candidates,
            tree,
            may_be_long=self.columns.X_t.size > LONG_X,
        )
        if work.state[GIVEN_UP]:
            return None
        n_nodes = int(work.state[N_NODES])
        leaves = tree.id_of.take(self.node_of) if in_bag is None else None
        depth = int(work.state[DEEPEST])
        return BoundedResult(
            ints[:n_nodes].copy(),
            tree.values[:n_nodes].copy(),
            depth,
            tree.starts[: n_nodes + 2],
            self.order[work.state[SIDE]],
            leaves,
        )

    def _work(self, target, shift, unit, greatest, n_rows):
        return BoundedWork(
            as_readonly(target),
            self.packed,
            shift,
            unit,
            greatest,
            n_rows,
            self.order,
            self.node_of,
            self.goes_left,
            self.chunks,
            self.histograms,
            np.zeros((self.n_numbers, NODE_FACTS), np.int64),
            np.empty(self.n_numbers),
            np.zeros(5, np.int64),
            np.empty(64, np.int64),
            self.search_floats,
            self.search_ints,
            self.values,
            self.sizes,
            self.sums,
        )
