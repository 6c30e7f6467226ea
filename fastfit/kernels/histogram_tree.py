"""What the kernels that grow a tree from histograms share: the data, the limits, the buffers, and a node's fields.

Gradients and hessians are 32-bit integers, multiples of a power of two (:mod:`fastfit.kernels.histogram_build`), so
that sums are exact and no order of adding, and no number of threads, changes a tree. A slot of a histogram is two
int64: the sum of gradients, and the sum of hessians in the low bits with the number of samples above it. Every member
of the team keeps its own copy of the nodes and takes every decision for itself, from results that all of them read: a
split costs three barriers, and nobody waits for a leader.
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import jit

# Fields of a node, integers and floats.
NODE_INTS = 12
(
    COUNT,
    DEPTH,
    LEFT,
    RIGHT,
    SLOT,
    FEATURE,
    BIN,
    MISSING_LEFT,
    N_LEFT,
    IS_LEAF,
    IS_CATEGORICAL,
) = range(11)
NODE_FLOATS = 8
SUM_G, SUM_H, VALUE, LOWER, UPPER, GAIN, LEFT_G, LEFT_H = range(8)

# What a member keeps of a tree that grows.
STATE_INTS = 8
# MAY_SPLIT is that of the left one of the new nodes; that of the right one follows it.
N_WAITING, N_NODES, N_FREE, FIRST_NEW, N_NEW, PARENT, MAY_SPLIT = range(7)

# What a member reports of the best split among its features.
RESULT_INTS = 8  # FEATURE.. as above, shifted to 0
R_FEATURE, R_BIN, R_MISSING_LEFT, R_N_LEFT, R_IS_CATEGORICAL, R_ROOT_G, R_ROOT_H = range(7)
RESULT_FLOATS = 8
R_GAIN, R_LEFT_G, R_LEFT_H = range(3)

# Fields of a grown tree's table, in the order of scikit-learn's nodes (depth first, left before right).
TABLE_INTS = 11
(
    T_COUNT,
    T_FEATURE,
    T_MISSING_LEFT,
    T_LEFT,
    T_RIGHT,
    T_DEPTH,
    T_IS_LEAF,
    T_BIN,
    T_IS_CATEGORICAL,
    T_BITSET,
    T_NODE,
) = range(11)
TABLE_FLOATS = 3
T_VALUE, T_THRESHOLD, T_GAIN = range(3)

BITSET_WORDS = 8


class BinnedColumns(NamedTuple):
    """The binned data and what is known of each feature."""

    rows: np.ndarray  # (n_samples * n_features + padding,) uint8: a row's bins are neighbours
    columns: np.ndarray  # (n_features * n_samples,) uint8: the same, a column after the other
    n_samples: int
    n_features: int
    n_bins: np.ndarray  # (n_features,) int64: bins of values that are not missing
    has_missing: np.ndarray  # (n_features,) uint8
    is_categorical: np.ndarray  # (n_features,) uint8
    missing_bin: int
    n_slots: int  # slots of a feature in a histogram, see `slots_per_feature`
    threshold_start: np.ndarray  # (n_features + 1,) int64
    thresholds: np.ndarray  # float64: the upper bounds of a feature's bins but the last, all features in turn


class GrowthLimits(NamedTuple):
    """What bounds a tree and its values; -1 for no bound."""

    max_leaf_nodes: int
    max_depth: int
    min_samples_leaf: int
    min_hessian: float
    min_gain: float
    l2_regularization: float
    reg_alpha: float
    shrinkage: float
    n_words: int  # int64 of a slot: 2, or 1 if all hessians are 1
    gradient_bits: int  # of a sample's gradient, without its sign; of a slot's, if that is one word
    hessian_bits: int  # of a sample's hessian
    count_shift: (
        int  # where the number of samples begins in a slot's second word; how many bits it has in one word
    )
    is_wide: int  # gradients and hessians of a sample are 64 bits each: where samples are few
    n_row_parts: int  # the team is n_row_parts times n_feature_parts: see histogram_build
    n_feature_parts: int
    best_first: int  # 0: the order does not matter, and last in, first out needs fewer histograms
    updates_raw: int  # 0: leaves get their values later
    has_draws: int
    max_features: float
    draw_function: int  # addresses of a bit generator
    draw_state: int
    # Addresses of kernels, 0 if not needed: see `fastfit.runtime.far_call`.
    round: int = 0
    add_rows: int = 0
    scan_categories: int = 0
    draw_features: int = 0


class Constraints(NamedTuple):
    """What a node's split may be."""

    monotonic: np.ndarray  # (n_features,) float64: 1, 0 or -1
    groups: np.ndarray  # (n_groups, n_features) uint8: features that may interact; no groups: all may
    columns: np.ndarray  # (n_features,) uint8: features of this tree


class GrowthBuffers(NamedTuple):
    """Memory of a team, reused from tree to tree. What begins with n_threads belongs to a member each."""

    samples: np.ndarray  # (n_samples + padding,) uint32: a member's samples of each node are neighbours
    wide: np.ndarray  # (2 * n_samples or 0,) int64: gradients and hessians in turn, if `is_wide`
    other_samples: np.ndarray  # (n_samples,) uint32
    segments: np.ndarray  # (n_threads, capacity, 2) int64: where a member's samples of a node begin and end
    sums: np.ndarray  # (n_blocks,) float64: of the magnitudes of gradients, block by block
    pool: np.ndarray  # (n_pool * histogram size,) int64: histograms of the nodes that wait
    parts: np.ndarray  # ((n_row_parts - 1) * histogram size,) int64
    ints: np.ndarray  # (n_threads, capacity, NODE_INTS) int64
    floats: np.ndarray  # (n_threads, capacity, NODE_FLOATS) float64
    state: np.ndarray  # (n_threads, STATE_INTS) int64
    heap: np.ndarray  # (n_threads, capacity) int64
    free: np.ndarray  # (n_threads, n_pool) int64
    bitsets: np.ndarray  # (n_threads, capacity or 1, BITSET_WORDS) uint32: categories that go left
    allowed: np.ndarray  # (n_threads, capacity, n_groups) uint8: groups that hold a node's path
    goes_left: np.ndarray  # (n_threads, 256) uint8
    scan_ints: np.ndarray  # (n_threads, 3 * row) int64, row = a whole number of cache lines
    scan_floats: np.ndarray  # the same memory as float64
    result_ints: np.ndarray  # (n_threads, 2, RESULT_INTS) int64
    result_floats: np.ndarray  # (n_threads, 2, RESULT_FLOATS) float64
    result_bitsets: np.ndarray  # (n_threads, 2, BITSET_WORDS) uint32
    greatest: np.ndarray  # (n_threads, 8) int64: bits of the greatest gradient and hessian
    units: np.ndarray  # (n_threads, 8) float64: what one stands for, of gradients and of hessians
    tries: (
        np.ndarray
    )  # (2, 2 * n_features) uint8: features that the left and the right child may try, and scratch


class MemberBuffers(NamedTuple):
    """A member's own part of the team's memory: views that are made once, for they take a compiler its time."""

    ints: np.ndarray  # (capacity, NODE_INTS) int64
    floats: np.ndarray  # (capacity, NODE_FLOATS) float64
    state: np.ndarray  # (STATE_INTS,) int64
    segments: np.ndarray  # (capacity, 2) int64
    heap: np.ndarray  # (capacity,) int64
    free: np.ndarray  # (n_pool,) int64
    bitsets: np.ndarray  # (capacity or 1, BITSET_WORDS) uint32
    allowed: np.ndarray  # (capacity, n_groups) uint8
    goes_left: np.ndarray  # (256,) uint8


class GrownTables(NamedTuple):
    """Trees as they come out, one for each of the predictions of a sample."""

    ints: np.ndarray  # (n_trees, capacity, TABLE_INTS) int64
    floats: np.ndarray  # (n_trees, capacity, TABLE_FLOATS) float64
    bitsets: np.ndarray  # (n_trees, capacity or 1, BITSET_WORDS) uint32
    sizes: np.ndarray  # (n_trees, 2) int64: number of nodes, of categorical splits


def slots_per_feature(n_bins):
    """Return how many slots a feature has in a histogram, for at most ``n_bins`` bins with that of missing values.

    Four more than there are bins: equal bins of the features must not be 4096 bytes apart. A processor that
    compares the low 12 bits of addresses takes them for one and makes each wait for the last, which
    costs up to 30 times the time (12.5 ns an update in place of 0.35).
    """
    return -(-n_bins // 4) * 4 + 4


@jit(internal=True)
def begin_and_end(n_items, part, n_parts):
    """Return the bounds of one of n_parts nearly equal parts of n_items."""
    return n_items * part // n_parts, n_items * (part + 1) // n_parts
