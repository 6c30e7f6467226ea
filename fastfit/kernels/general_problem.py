"""What the general engine grows a tree from and works in; where its samples, weights and targets stand.

The general engine covers whatever the specialised ones leave: weights of any value, several outputs, missing values,
constraints, every criterion. It does what scikit-learn does in scikit-learn's order, sums included, so that rounding
falls the same way, and gains its speed from the data's layout. The samples of a node are the entries [START, END) of
``keys``. An entry packs the code of a sample, its rank in the feature that was read last, above the sample's row:

    code (26 bits) | place in the node (6 bits) | row (30 bits)

The place is there in nodes of up to PLACES samples, and makes their order a total one.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.feature_draw import DrawState
from fastfit.kernels.tree_node import GrowthLimits, NodeState

PLACE_SHIFT = 30
PLACES = 64
CODE_SHIFT = 36
MAX_KEY = 1 << 62
ROW_MASK = (1 << PLACE_SHIFT) - 1
# How many samples before its turn one is asked for; so many keys stand behind the last.
AHEAD = 16
# Values that differ by no more are equal: scikit-learn's bound.
FEATURE_THRESHOLD = np.float32(1e-7)

# Entries of GeneralScratch.marks: the codes below and above the best split so far (of the random splitter the greatest
# one that goes left), the feature drawn last, the range of samples that are in the block, and how many samples have no
# value of the feature of the best split; and where the node starts of whose rows the positions are up to date, or -1.
SPLIT_CODE, CODE_ABOVE, LAST_FEATURE, BLOCK_START, BLOCK_END, N_MISSING, INDEXED_FROM = 0, 1, 2, 3, 4, 5, 6
N_MARKS = 7


class RankedColumns(NamedTuple):
    """What is known of the codes of each feature."""

    missing_code: np.ndarray  # (n_features,) int64: the code of missing values, above all others
    is_close: np.ndarray  # (n_features,) uint8: whether any two values are equal up to the threshold only
    # (n_features, n_levels // 8 + 1) uint8: bit code % 8 of byte code // 8 says so of a value and the next;
    # (n_features, 0) if no feature has such values. A fraction of the levels, it stays in the cache.
    close_bits: np.ndarray
    keeps_ties: np.ndarray  # (n_features,) uint8: whether the order of samples of one value changes rounding
    levels: np.ndarray  # (sum of n_levels,) float32: the values behind the codes
    level_start: np.ndarray  # (n_features,) int64: where those of a feature begin
    common_code: np.ndarray  # (n_features,) int64: the code of nearly all rows, or -1
    rare_rows: np.ndarray  # uint32: the rows that have it not, those of one feature after the other
    rare_start: np.ndarray  # (n_features + 1,) int64: where those of a feature begin, and the end


class GeneralProblem(NamedTuple):
    """What one tree is grown from."""

    n_root_samples: int
    columns: np.ndarray  # (n_features, n_samples) uint32 codes; for the random splitter float32 values
    ranked: RankedColumns | tuple[()]  # nothing for the random splitter
    n_samples: int  # of the data
    # (n_samples + block size, 1 + n_outputs) float64: the weight, then for each output weight * y, or with classes the
    # place of the class in a table (n_outputs, max_n_classes), or with absolute errors y
    moments: np.ndarray
    y: (
        np.ndarray
    )  # (n_samples + block size, n_outputs) float64 with squared errors and deviances, else (0, n_outputs)
    # (n_outputs, n_samples + block size) uint32: ranks of y among an output's values; (0, 0) but for absolute errors
    y_codes: np.ndarray
    y_keeps_ties: bool  # whether the order of samples of one y changes the rounding of absolute errors
    n_classes: np.ndarray  # (n_outputs,) int64; ones for a regression
    log_error: float  # bound of the error of approximate logarithms; infinite with negative weights
    limits: GrowthLimits
    is_bounded: bool  # whether there are monotonic constraints
    values: np.ndarray  # (capacity, n_outputs, max_n_classes) float64
    # (n_features,) int64: of features whose codes are categories, else 0; missing values have the code behind them.
    # (0,) if no features are categories
    n_categories: np.ndarray


class Sums(NamedTuple):
    """Sums of weights by class, or of weighted targets, over the node and over its left child."""

    total: np.ndarray  # (n_outputs * max_n_classes,) float64
    left: np.ndarray  # (n_outputs * max_n_classes,) float64
    zeros: np.ndarray  # (n_outputs * max_n_classes,) float64
    squares: np.ndarray  # (1,) float64: sum of weight * y * y over the node and all outputs


class ErrorSums(NamedTuple):
    """What absolute errors are computed with; the place of a sample is its position in the node."""

    left_errors: np.ndarray  # (n_root_samples,) float64: of the left child whose last sample is at a place
    left_medians: np.ndarray  # (n_root_samples,) float64: of its last output
    right_errors: np.ndarray  # (n_root_samples,) float64: of the right child whose first sample is at a place
    right_medians: np.ndarray  # (n_root_samples,) float64
    node_medians: np.ndarray  # (n_outputs,) float64
    y_keys: np.ndarray  # (n_root_samples,) int64: rank of y in the data above the place in the node
    unsigned_y_keys: np.ndarray  # (n_root_samples,) uint64, the same memory
    row_ranks: np.ndarray  # (n_outputs, n_samples + block size) int64: rank of y in the node
    has_ties: np.ndarray  # (n_outputs,) uint8: whether any y of the node are equal
    sorted_y: np.ndarray  # (n_outputs, n_root_samples) float64: the node's, ascending
    ranks: np.ndarray  # (n_root_samples,) int64: of y in the node, by place
    weights: np.ndarray  # (n_root_samples,) float64: by place
    tree_weights: (
        np.ndarray
    )  # (n_root_samples + 2,) float64: binary indexed tree of weights by rank, from 1 on
    tree_moments: np.ndarray  # (n_root_samples + 2,) float64: the same of weight * y
    links: np.ndarray  # (2, n_root_samples + 2) int64: see general_running_median
    median_ranks: np.ndarray  # (2, n_root_samples) int64
    below: np.ndarray  # (n_root_samples,) float64


class Block(NamedTuple):
    """A copy of the samples of one small node, dense, so that its whole subtree is grown from the cache.

    Its rows come behind those of the data: row n_samples + i of ``moments`` and ``y_codes``, and column i here.
    """

    columns: np.ndarray  # (n_features, size) of the dtype of the columns; (n_features, 0) for no block
    columns_out: np.ndarray  # the same memory, to write to


class SortBuffers(NamedTuple):
    """What sorting keys takes."""

    buffer: np.ndarray  # (n_root_samples + BUFFER_SPARE,) uint64
    scratch: np.ndarray  # (SCRATCH_SIZE,) uint64
    unsorted: np.ndarray  # (n_root_samples + 1,) int64: keys before they were sorted
    stack: np.ndarray  # (128, 3) int64: ranges whose ties are still to be ordered
    rare: np.ndarray  # (n_root_samples // 4 + 32,) uint32: positions of samples, see general_common_value
    rare_codes: np.ndarray  # (n_root_samples // 4 + 32,) uint32
    rare_keys: np.ndarray  # (n_root_samples // 4 + 32,) uint64
    positions: (
        np.ndarray
    )  # (n_samples,) int32: of each row in ``keys``, and -1; (0,) if no feature has a common code


class GeneralScratch(NamedTuple):
    """Buffers of one tree."""

    node: NodeState
    draw: DrawState
    keys: np.ndarray  # (n_root_samples + AHEAD,) int64, not negative but with the random splitter
    unsigned_keys: np.ndarray  # (n_root_samples + AHEAD,) uint64, the same memory
    gathered: np.ndarray  # (n_root_samples + 16,) uint32
    sorting: SortBuffers
    block: Block
    marks: np.ndarray  # (N_MARKS,) int64, see above
    sums: Sums | ErrorSums
    categories: tuple  # CategoryBuffers, or empty if no features are categories
