"""Grow histogram trees: options, the memory they are grown in, and the trees as they come out."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.histogram_build import COMMON_SLOTS, ROWS_AHEAD, rows_adder
from fastfit.kernels.histogram_categories import scan_categories
from fastfit.kernels.histogram_draw import draw_features
from fastfit.kernels.histogram_growth import grow_trees
from fastfit.kernels.histogram_rounding import SUM_BLOCK, round_to_pairs, round_to_wide, round_to_words
from fastfit.kernels.histogram_tree import (
    BITSET_WORDS,
    NODE_FLOATS,
    NODE_INTS,
    RESULT_FLOATS,
    RESULT_INTS,
    STATE_INTS,
    T_BIN,
    T_BITSET,
    T_COUNT,
    T_DEPTH,
    T_FEATURE,
    T_GAIN,
    T_IS_CATEGORICAL,
    T_IS_LEAF,
    T_LEFT,
    T_MISSING_LEFT,
    T_RIGHT,
    T_THRESHOLD,
    T_VALUE,
    TABLE_FLOATS,
    TABLE_INTS,
    Constraints,
    GrownTables,
    GrowthBuffers,
    GrowthLimits,
)
from fastfit.runtime.bit_generator import NO_GENERATOR, generator_addresses
from fastfit.runtime.far_call import address_of_kernel
from fastfit.runtime.memory import aligned_zeros, whole_lines
from fastfit.runtime.threads import run_team

# A team splits the features among its members if each then has so many, or else the rows: what a row costs besides its
# features is then paid once (28 features: 13.6 ns a row, 14 features 8.1 ns).
MIN_FEATURES_OF_A_MEMBER = 16
# Values of X from which a tree may take so long that a user may want to interrupt it.
_LONG_VALUES = 20_000_000
# Bits of a hessian; a slot's second word has room for so many only up to 65535 samples.
_MAX_HESSIAN_BITS = 30
_GRADIENT_BITS = 30
# Bits of a slot of one word but the sign's and a spare one, and how many of them the mean gradient must have.
_WORD_BITS = 62
_MIN_MEAN_BITS = 18

# Samples up to which each has two words of its own, and the bits of their sum: float64 holds it exactly.
_FEW_SAMPLES = 65536
_EXACT_BITS = 52

_NO_SAMPLES = np.empty(0, np.uint32)


class GrowthOptions(NamedTuple):
    """How trees are grown, with scikit-learn's meaning of each name; what it does not have does nothing by default."""

    learning_rate: float = 0.1
    max_leaf_nodes: int | None = 31
    max_depth: int | None = None
    min_samples_leaf: int = 20
    l2_regularization: float = 0.0
    max_features: float = 1.0
    min_hessian_to_split: float = 1e-3
    min_gain_to_split: float = 0.0
    reg_alpha: float = 0.0
    monotonic_cst: np.ndarray | None = None
    interaction_cst: list | None = None


class GrownTree(NamedTuple):
    """One tree: its table (see :mod:`fastfit.kernels.histogram_tree`) and the categories that go left."""

    ints: np.ndarray
    floats: np.ndarray
    binned_left_cat_bitsets: np.ndarray
    raw_left_cat_bitsets: np.ndarray

    def nodes_as(self, dtype):
        """Return the nodes as an array of scikit-learn's ``PREDICTOR_RECORD_DTYPE``."""
        return predictor_nodes([self], dtype)[0]


_INT_FIELDS = {
    "count": T_COUNT,
    "feature_idx": T_FEATURE,
    "missing_go_to_left": T_MISSING_LEFT,
    "left": T_LEFT,
    "right": T_RIGHT,
    "depth": T_DEPTH,
    "is_leaf": T_IS_LEAF,
    "bin_threshold": T_BIN,
    "is_categorical": T_IS_CATEGORICAL,
    "bitset_idx": T_BITSET,
}
_FLOAT_FIELDS = {"value": T_VALUE, "num_threshold": T_THRESHOLD, "gain": T_GAIN}


def predictor_nodes(trees, dtype):
    """Return the nodes of each tree as an array of scikit-learn's ``PREDICTOR_RECORD_DTYPE``, parts of one array."""
    if not trees:
        return []
    ints = np.concatenate([tree.ints for tree in trees])
    floats = np.concatenate([tree.floats for tree in trees])
    nodes = np.empty(len(ints), dtype)
    for name, position in _INT_FIELDS.items():
        nodes[name] = ints[:, position]
    for name, position in _FLOAT_FIELDS.items():
        nodes[name] = floats[:, position]
    ends = np.cumsum([len(tree.ints) for tree in trees])
    return [nodes[end - len(tree.ints) : end] for tree, end in zip(trees, ends, strict=True)]


class TreeGrower:
    """Grows trees on one data set, in memory that is kept from tree to tree.

    Parameters
    ----------
    bins : fastfit.training.binned_data.BinnedData
    options : GrowthOptions
    n_trees : int
        Trees that are grown at a time: predictions of a sample.
    n_threads : int
        Members of the team. The trees do not depend on it.
    updates_raw : bool
        Whether the values of leaves are added to the predictions.
    unit_hessians : bool
        Whether all hessians are 1: then histograms have half the size.
    """

    def __init__(self, bins, options, n_trees, n_threads, updates_raw=True, unit_hessians=False):
        self.bins = bins
        self.data = bins.kernel_data
        self.options = options
        self.n_trees = n_trees
        self.n_threads = n_threads
        self.updates_raw = updates_raw
        self.unit_hessians = unit_hessians
        n_samples = self.data.n_samples
        self.capacity = _node_capacity(options, n_samples)
        self.limits = self._limits()
        self.constraints = _constraints(self.data, options)
        self.buffers = self._buffers()
        self.limits = self._with_addresses()
        # Gradients and hessians of a sample in turn, for each of the trees: floats, which become integers in place.
        self.values = aligned_zeros((n_trees, 2 * n_samples), np.float32)
        self.tables = GrownTables(
            np.empty((n_trees, self.capacity, TABLE_INTS), np.int64),
            np.empty((n_trees, self.capacity, TABLE_FLOATS)),
            np.empty((n_trees, self._n_bitsets(), BITSET_WORDS), np.uint32),
            np.zeros((n_trees, 2), np.int64),
        )

    def _n_bitsets(self):
        return self.capacity if self.data.is_categorical.any() else 1

    def _limits(self):
        options = self.options
        # One more bit than the number of samples needs: hessians are rounded up, too.
        count_bits = int(self.data.n_samples).bit_length()
        hessian_bits = min(_MAX_HESSIAN_BITS, 62 - 2 * count_bits)
        is_one_word = self.unit_hessians and _WORD_BITS - 2 * count_bits >= _MIN_MEAN_BITS
        is_wide = not is_one_word and self.data.n_samples <= _FEW_SAMPLES
        gradient_bits = _WORD_BITS - count_bits if is_one_word else _GRADIENT_BITS
        if is_wide:
            gradient_bits = _EXACT_BITS - count_bits
            hessian_bits = min(_EXACT_BITS - count_bits, 62 - 2 * count_bits)
        n_feature_parts = _n_feature_parts(self.n_threads, self.data.n_features)
        return GrowthLimits(
            max_leaf_nodes=-1 if options.max_leaf_nodes is None else int(options.max_leaf_nodes),
            max_depth=-1 if options.max_depth is None else int(options.max_depth),
            min_samples_leaf=int(options.min_samples_leaf),
            min_hessian=float(options.min_hessian_to_split),
            min_gain=float(options.min_gain_to_split),
            l2_regularization=float(options.l2_regularization),
            reg_alpha=float(options.reg_alpha),
            shrinkage=float(options.learning_rate),
            n_words=1 if is_one_word else 2,
            gradient_bits=gradient_bits,
            hessian_bits=hessian_bits,
            count_shift=count_bits if is_one_word else hessian_bits + count_bits,
            is_wide=int(is_wide),
            n_row_parts=self.n_threads // n_feature_parts,
            n_feature_parts=n_feature_parts,
            best_first=int(options.max_leaf_nodes is not None or options.max_features < 1.0),
            updates_raw=int(self.updates_raw),
            has_draws=int(options.max_features < 1.0),
            max_features=float(options.max_features),
            draw_function=NO_GENERATOR[0],
            draw_state=NO_GENERATOR[1],
        )

    def _with_addresses(self):
        """Return the limits with the addresses of the kernels that this data and these options need."""
        data, limits, buffers = self.data, self.limits, self.buffers
        kinds = (round_to_words, round_to_wide, round_to_pairs)
        addresses = {
            "round": _address(kinds[0 if limits.n_words == 1 else 2 - limits.is_wide], self._like_rounding),
            "add_rows": _address(
                rows_adder(limits.n_words, data.n_slots == COMMON_SLOTS),
                lambda: (
                    data.rows,
                    (0, 0, 0, True),
                    0,
                    buffers.samples,
                    (0, 0),
                    buffers.pool,
                    0,
                    buffers.pool,
                    0,
                ),
            ),
        }
        if data.is_categorical.any():
            addresses["scan_categories"] = _address(scan_categories, self._like_scan)
        if limits.has_draws or len(self.constraints.groups) > 0:
            addresses["draw_features"] = _address(
                draw_features,
                lambda: (0, self.constraints, limits, buffers.allowed[0, 0], buffers.tries[0]),
            )
        return limits._replace(**addresses)

    def _like_rounding(self):
        buffers = self.buffers
        scratch = (buffers.sums, buffers.greatest, buffers.units[0])
        values = np.zeros(1, np.float32)
        return np.zeros(1, np.int64), (0, 0), values, buffers.pool, buffers.wide, *scratch, self.limits

    def _like_scan(self):
        buffers = self.buffers
        ints, floats = buffers.ints[0, 0], buffers.floats[0, 0]
        node = ((0, 0, 0, 0), floats, 0, (0.0, 0.0), self.limits)
        return buffers.pool, 0, *node, ints, floats, (ints, floats), buffers.bitsets[0, 0]

    def _buffers(self):
        data, capacity, n_threads = self.data, self.capacity, self.n_threads
        size = data.n_features * data.n_slots * self.limits.n_words
        n_pool = _n_histograms(self.limits, capacity, data.n_samples)
        row = whole_lines(data.n_slots, np.int64)
        scans = aligned_zeros((n_threads, 3 * row), np.int64)
        n_groups = len(self.constraints.groups)
        return GrowthBuffers(
            samples=np.zeros(data.n_samples + ROWS_AHEAD, np.uint32),
            wide=aligned_zeros(2 * data.n_samples if self.limits.is_wide else 0, np.int64),
            other_samples=np.empty(data.n_samples, np.uint32),
            segments=np.zeros((n_threads, capacity, 2), np.int64),
            sums=np.zeros(-(-data.n_samples // SUM_BLOCK)),
            pool=aligned_zeros(n_pool * size, np.int64),
            parts=aligned_zeros((self.limits.n_row_parts - 1) * size, np.int64),
            ints=np.zeros((n_threads, capacity, NODE_INTS), np.int64),
            floats=np.zeros((n_threads, capacity, NODE_FLOATS)),
            state=aligned_zeros((n_threads, STATE_INTS), np.int64),
            heap=np.empty((n_threads, capacity + 2), np.int64),
            free=np.empty((n_threads, n_pool), np.int64),
            bitsets=np.zeros((n_threads, self._n_bitsets(), BITSET_WORDS), np.uint32),
            allowed=np.zeros((n_threads, capacity, n_groups), np.uint8),
            goes_left=np.zeros((n_threads, 256), np.uint8),
            scan_ints=scans,
            scan_floats=scans.view(np.float64),
            result_ints=aligned_zeros((n_threads, 2, RESULT_INTS), np.int64),
            result_floats=aligned_zeros((n_threads, 2, RESULT_FLOATS), np.float64),
            result_bitsets=np.zeros((n_threads, 2, BITSET_WORDS), np.uint32),
            greatest=aligned_zeros((n_threads, 8), np.int64),
            units=aligned_zeros((n_threads, 8), np.float64),
            tries=np.ones((2, 2 * data.n_features), np.uint8),
        )

    def grow(self, raw_predictions, *, feature_rng=None, rows=None, columns=None):
        """Grow a tree for each row of ``values``, which become integers, and add it to the predictions.

        Parameters
        ----------
        raw_predictions : ndarray of shape (n_trees * n_samples,), float64
            Those of the first tree, then of the second, and so on; changed in place if `updates_raw`.
        feature_rng : numpy.random.Generator or None
            Needed if ``max_features`` is below 1.
        rows : ndarray of uint32 or None
            The samples of the trees, in ascending order, without repetition; None for all.
        columns : ndarray of bool of shape (n_features,) or None
            The features of the trees; None for all.

        Returns
        -------
        trees : list of GrownTree
        """
        limits = self.limits
        if limits.has_draws:
            function, state = generator_addresses(feature_rng)
            limits = limits._replace(draw_function=function, draw_state=state)
        constraints = self.constraints
        if columns is not None:
            constraints = constraints._replace(columns=np.asarray(columns, np.uint8))
        run_team(
            grow_trees,
            self.n_threads,
            self.data,
            constraints,
            limits,
            self.buffers,
            self.values,
            self.values.view(np.int64),
            _NO_SAMPLES if rows is None else np.asarray(rows, np.uint32),
            raw_predictions,
            self.tables,
            may_be_long=self.data.n_samples * self.data.n_features > _LONG_VALUES,
        )
        return [self._tree(tree) for tree in range(self.n_trees)]

    def _tree(self, tree):
        n_nodes = int(self.tables.sizes[tree, 0])
        ints = self.tables.ints[tree, :n_nodes].copy()
        floats = self.tables.floats[tree, :n_nodes].copy()
        if not self.data.is_categorical.any():
            return GrownTree(ints, floats, _NO_BITSETS, _NO_BITSETS)
        # scikit-learn has a row for every categorical split, also where it leaves the set of categories empty.
        binned = np.zeros((int((ints[:, T_IS_CATEGORICAL] == 1).sum()), BITSET_WORDS), np.uint32)
        n_used = int(self.tables.sizes[tree, 1])
        binned[:n_used] = self.tables.bitsets[tree, :n_used]
        return GrownTree(ints, floats, binned, self._raw_bitsets(ints, binned))

    def _raw_bitsets(self, ints, binned):
        """Return the sets of raw categories for those of bins."""
        raw = np.zeros_like(binned)
        is_set = (ints[:, T_IS_CATEGORICAL] == 1) & (
            ints[:, T_BIN] != self.data.n_bins[ints[:, T_FEATURE]] - 1
        )
        for node in ints[is_set]:
            bitset = node[T_BITSET]
            for b, category in enumerate(self.bins.thresholds[node[T_FEATURE]]):
                if binned[bitset, b >> 5] >> np.uint32(b & 31) & 1:
                    raw[bitset, int(category) >> 5] |= np.uint32(1) << np.uint32(int(category) & 31)
        return raw


_NO_BITSETS = np.zeros((0, BITSET_WORDS), np.uint32)


_addresses = {}


def _address(kernel, make_examples):
    """Return a kernel's address; the types of its arguments are the same in every fit, and looked at once."""
    if kernel not in _addresses:
        _addresses[kernel] = address_of_kernel(kernel, *make_examples())
    return _addresses[kernel]


def _n_feature_parts(n_threads, n_features):
    """Return in how many parts a team splits the features: a divisor of its size."""
    most = max(1, n_features // MIN_FEATURES_OF_A_MEMBER)
    return max(part for part in range(1, n_threads + 1) if n_threads % part == 0 and part <= most)


def _node_capacity(options, n_samples):
    """Return how many nodes a tree can have at most, and two more."""
    n_leaves = max(1, n_samples // max(1, options.min_samples_leaf))
    if options.max_leaf_nodes is not None:
        n_leaves = min(n_leaves, options.max_leaf_nodes)
    if options.max_depth is not None and options.max_depth < 40:
        n_leaves = min(n_leaves, 2**options.max_depth)
    return 2 * int(n_leaves) + 1


def _n_histograms(limits, capacity, n_samples):
    """Return how many histograms are needed at a time."""
    n_leaves = (capacity + 1) // 2
    # Last in, first out, the smaller child first: what waits is the larger one's brother on each level of a path whose
    # nodes are at most half as large from level to level.
    return n_leaves + 2 if limits.best_first else min(n_leaves, int(n_samples).bit_length() + 1) + 2


def _constraints(data, options):
    monotonic = np.zeros(data.n_features)
    if options.monotonic_cst is not None:
        monotonic[:] = options.monotonic_cst
    groups = np.zeros((len(options.interaction_cst or ()), data.n_features), np.uint8)
    for group, features in enumerate(options.interaction_cst or ()):
        groups[group, list(features)] = 1
    return Constraints(monotonic, groups, np.ones(data.n_features, np.uint8))
