"""Grow one tree on one thread with the engine that covers everything: any weights, outputs, criterion and splitter.

It finds scikit-learn's tree bit for bit; `fastfit.kernels.general_problem` tells how.
"""

import numpy as np

from fastfit.kernels.feature_draw import DrawState
from fastfit.kernels.general_common_value import LIST_SPARE, MIN_SAMPLES_A_RARE_ONE
from fastfit.kernels.general_engine import general_kernel
from fastfit.kernels.general_log import LOG_ERROR
from fastfit.kernels.general_problem import (
    AHEAD,
    FEATURE_THRESHOLD,
    N_MARKS,
    Block,
    ErrorSums,
    GeneralProblem,
    GeneralScratch,
    RankedColumns,
    SortBuffers,
    Sums,
)
from fastfit.kernels.node_sort import BUFFER_SPARE, SCRATCH_SIZE
from fastfit.kernels.tree_node import NODE_FLOATS, NODE_INTS, NodeState
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team
from fastfit.training.category_growth import category_sets, with_categories
from fastfit.training.tree_buffers import (
    grown_nodes,
    growth_limits,
    node_capacity,
    node_table,
    waiting_nodes,
)

# Whole numbers up to this are exact in float64.
MAX_EXACT = 2.0**53
# An introsort splits a range at most 2 * log2(n) times, and keeps one part of each.
SORT_STACK = 128
# Values of a block: it shares the second cache with the buffers.
BLOCK_VALUES = 1 << 15
MIN_BLOCK = 64
# Samples for each that has another value, from which on a column has a common one.
SAMPLES_A_RARE_ROW = 8
FEW_ROWS = 9
# Codes that a vector may read beyond the last.
VECTOR_SPARE = 16
NO_CATEGORIES = as_readonly(np.empty(0, np.int64))
LEVELS_OF_BLOCK = 8
# Values of a data set whose trees a user may want to interrupt.
LONG_GROWTH = 1_000_000


def grow_general(data, target, sample_weight, options, seed):
    """Grow scikit-learn's tree on one thread.

    Parameters
    ----------
    data : TreeData
        For the random splitter only ``X_t`` is used.
    target : Target
    sample_weight : ndarray of shape (n_samples,), float64, or None
        Samples of weight zero are left out.
    options : GrowthOptions
        With the splitter "best" or "random".
    seed : int
        Of scikit-learn's generator, below 2**31 - 1.

    Returns
    -------
    tree : GrownTree
    """
    from fastfit.training.tree_growth import GrownTree

    weights = np.ones(len(target.y)) if sample_weight is None else sample_weight
    rows = np.flatnonzero(weights)
    # Added up in sequence, as scikit-learn does; np.sum rounds otherwise.
    limits = growth_limits(options, np.add.accumulate(weights)[-1])
    capacity = node_capacity(options, len(rows))
    table = node_table(capacity)
    values = np.empty((capacity, target.y.shape[1], max(_n_classes(target))))
    block_size = _block_size(options, *data.shape)
    problem = _make_problem(data, target, weights, options, limits, block_size, values)
    problem = problem._replace(n_root_samples=len(rows))
    scratch = _make_scratch(problem, rows, options.criterion, seed, block_size)
    waiting = waiting_nodes(options, len(rows), 1)
    is_simple = _is_simple(target, weights, options.criterion)
    # A single class is split by nothing.
    has_categories = data.n_categories is not None and is_simple
    if has_categories:
        problem, scratch = with_categories(problem, scratch, data)
    kernel = general_kernel(
        options.criterion, options.splitter, is_simple, options.max_leaf_nodes > 0, has_categories
    )
    may_be_long = problem.columns.size > LONG_GROWTH
    run_team(kernel, 1, problem, scratch, waiting, limits, table, may_be_long=may_be_long)
    nodes, values, depth = grown_nodes(table, values)
    return GrownTree(nodes, values, depth, category_sets(nodes, scratch) if has_categories else None)


def _is_simple(target, weights, criterion):
    """Tell whether the faster form of a criterion's kernels will do; see `general_kernel`."""
    if criterion == "absolute_error":
        return weights.min(initial=0.0) >= 0.0 and _are_whole(weights)
    return target.y.shape[1] == 1 and (target.n_classes is None or target.n_classes[0] == 2)


def _are_whole(numbers):
    """Tell whether sums of numbers are exact, whatever their order."""
    return np.array_equal(numbers, np.rint(numbers)) and np.abs(numbers).sum() <= MAX_EXACT


def _block_size(options, n_features, n_samples):
    """Return of how many samples a node's copy may be, 0 for no copies."""
    size = max(MIN_BLOCK, BLOCK_VALUES // n_features)
    # A copy of all features takes as long as to look at some of them at each of the levels below, and best first the
    # nodes of a subtree do not follow each other.
    pays = options.max_features * LEVELS_OF_BLOCK > n_features and options.max_leaf_nodes <= 0
    return size if pays and n_samples > 2 * size else 0


def _make_problem(data, target, weights, options, limits, block_size, values):
    n_samples, n_outputs = target.y.shape
    is_random = options.splitter == "random"
    is_exact = options.criterion != "poisson" and _sums_are_exact(target, weights)
    y_codes = np.empty((0, 0), np.uint32)
    y_has_ties = False
    if options.criterion == "absolute_error":
        y_codes = np.empty((n_outputs, n_samples + block_size), np.uint32)
        for k in range(n_outputs):
            levels, y_codes[k, :n_samples] = np.unique(target.y[:, k], return_inverse=True)
            y_has_ties |= len(levels) < n_samples
    moments, y = _make_moments(target, weights, options.criterion, block_size)
    return GeneralProblem(
        n_root_samples=n_samples,
        columns=as_readonly(data.X_t if is_random else data.codes),
        ranked=() if is_random else _make_ranked_columns(data, is_exact),
        n_samples=n_samples,
        moments=moments,
        y=y,
        y_codes=y_codes,
        y_keeps_ties=y_has_ties and not is_exact,
        n_classes=as_readonly(_n_classes(target)),
        log_error=LOG_ERROR if weights.min(initial=0.0) >= 0.0 else np.inf,
        limits=limits,
        is_bounded=options.monotonic_cst is not None,
        values=values,
        n_categories=NO_CATEGORIES,
    )


def _n_classes(target):
    if target.n_classes is None:
        return np.ones(target.y.shape[1], np.int64)
    return np.asarray(target.n_classes, np.int64)


def _sums_are_exact(target, weights):
    """Tell whether sums of weights, targets and their squares are whole numbers that do not depend on any order."""
    if not _are_whole(weights):
        return False
    if target.n_classes is not None:
        return True
    y = target.y
    return _are_whole(y) and (np.abs(weights) @ (y * y)).sum() <= MAX_EXACT


def _make_ranked_columns(data, is_exact):
    n_samples = data.n_samples
    has_ties = data.n_levels < n_samples
    return RankedColumns(
        missing_code=as_readonly(data.n_levels),
        is_close=as_readonly(data.is_close),
        close_bits=as_readonly(_close_bits(data)),
        keeps_ties=as_readonly((has_ties & (not is_exact)).astype(np.uint8)),
        levels=as_readonly(data.levels),
        level_start=as_readonly(data.level_start),
        **_common_codes(data),
    )


def _common_codes(data):
    """Return the last fields of `RankedColumns`; the trees of a forest share them."""
    if "_common_codes" not in vars(data):
        common_code = np.full(data.n_features, -1)
        rare_rows = [np.empty(0, np.uint32)] * data.n_features
        most = data.n_samples // SAMPLES_A_RARE_ROW
        if data.has_common_values:
            for feature in np.flatnonzero(data.n_levels <= most + 1):
                codes = data.codes[feature]
                # What nearly all have is the median of a few.
                few = np.sort(codes[:: -(-data.n_samples // FEW_ROWS)])
                code = few[len(few) // 2]
                rare = np.flatnonzero(codes != code)
                if len(rare) <= most and code < data.n_levels[feature]:
                    common_code[feature] = code
                    rare_rows[feature] = rare.astype(np.uint32)
        data.__dict__["_common_codes"] = {
            "common_code": as_readonly(common_code),
            "rare_rows": as_readonly(np.concatenate(rare_rows)),
            "rare_start": as_readonly(np.cumsum([0, *map(len, rare_rows)])),
        }
    return vars(data)["_common_codes"]


def _close_bits(data):
    """Return the field ``close_bits`` of `RankedColumns`; the trees of a forest share it."""
    if "_close_bits" not in vars(data):
        bits = np.zeros(
            (len(data.n_levels), max(data.n_levels) // 8 + 1 if data.is_close.any() else 0), np.uint8
        )
        for feature in np.flatnonzero(data.is_close):
            levels = data.ranks.levels[feature, : data.n_levels[feature]]
            of_feature = np.packbits(levels[1:] <= levels[:-1] + FEATURE_THRESHOLD, bitorder="little")
            bits[feature, : len(of_feature)] = of_feature
        data.__dict__["_close_bits"] = bits
    return vars(data)["_close_bits"]


def _make_moments(target, weights, criterion, block_size):
    """Return the fields ``moments`` and ``y`` of a `GeneralProblem`."""
    n_samples, n_outputs = target.y.shape
    moments = np.empty((n_samples + block_size, 1 + n_outputs))
    moments[:n_samples, 0] = weights
    of_outputs = moments[:n_samples, 1:]
    of_outputs[:] = target.y
    if target.n_classes is not None:
        of_outputs += max(target.n_classes) * np.arange(n_outputs)
    elif criterion != "absolute_error":
        of_outputs *= weights[:, np.newaxis]
        return moments, np.concatenate([target.y, np.empty((block_size, n_outputs))])
    return moments, np.empty((0, n_outputs))


def _make_scratch(problem, rows, criterion, seed, block_size):
    n_samples = len(rows)
    n_features = len(problem.columns)
    n_outputs, max_n_classes = problem.values.shape[1:]
    keys = np.append(rows, np.zeros(AHEAD, np.int64))
    block = np.empty((n_features, block_size), problem.columns.dtype)
    n_rare = n_samples // MIN_SAMPLES_A_RARE_ONE + LIST_SPARE
    has_common = len(problem.ranked) > 0 and bool((problem.ranked.common_code >= 0).any())
    if criterion == "absolute_error":
        sums = _make_error_sums(n_samples, problem.y_codes.shape)
    else:
        sums = Sums(*np.zeros((3, n_outputs * max_n_classes)), squares=np.zeros(1))
    return GeneralScratch(
        node=NodeState(np.zeros(NODE_INTS, np.int64), np.zeros(NODE_FLOATS)),
        draw=DrawState(np.arange(n_features), np.zeros(n_features, np.int64), np.array([seed], np.int64)),
        keys=keys,
        unsigned_keys=keys.view(np.uint64),
        gathered=np.empty(n_samples + VECTOR_SPARE, np.uint32),
        sorting=SortBuffers(
            buffer=np.empty(n_samples + BUFFER_SPARE, np.uint64),
            scratch=np.empty(SCRATCH_SIZE, np.uint64),
            unsorted=np.empty(n_samples + 1, np.int64),
            stack=np.empty((SORT_STACK, 3), np.int64),
            rare=np.empty(n_rare, np.uint32),
            rare_codes=np.empty(n_rare, np.uint32),
            rare_keys=np.empty(n_rare, np.uint64),
            positions=np.full(problem.n_samples if has_common else 0, -1, np.int32),
        ),
        block=Block(as_readonly(block), block),
        marks=np.zeros(N_MARKS, np.int64),
        sums=sums,
        categories=(),
    )


def _make_error_sums(n_samples, shape_of_codes):
    n_outputs = shape_of_codes[0]
    y_keys = np.empty(n_samples, np.int64)
    return ErrorSums(
        *(np.empty(n_samples) for _ in range(4)),
        node_medians=np.empty(n_outputs),
        y_keys=y_keys,
        unsigned_y_keys=y_keys.view(np.uint64),
        row_ranks=np.empty(shape_of_codes, np.int64),
        has_ties=np.empty(n_outputs, np.uint8),
        sorted_y=np.empty((n_outputs, n_samples)),
        ranks=np.empty(n_samples, np.int64),
        weights=np.empty(n_samples),
        tree_weights=np.empty(n_samples + 2),
        tree_moments=np.empty(n_samples + 2),
        links=np.empty((2, n_samples + 2), np.int64),
        median_ranks=np.empty((2, n_samples), np.int64),
        below=np.empty(n_samples),
    )
