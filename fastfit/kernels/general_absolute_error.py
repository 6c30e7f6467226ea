"""The mean absolute error around the weighted median, with scikit-learn's tree of sums and order of additions.

For every split of a node in the order of a feature the error of both children is needed. Samples are added one by one,
from the left and from the right, to a binary indexed tree over the ranks of y in the node (Fenwick, Software: Practice
and Experience 24(3), 1994) that holds sums of weights and of weight * y. The median m is found by descending to half of
the weight, and the error follows from the sums beyond and up to it:
sum_i w_i |y_i - m| = (S_beyond - m W_beyond) + (m W_up_to - S_up_to).
A node of n samples costs O(n log n) a feature. With whole numbers for weights, `general_running_median` finds the
same medians in O(n).
"""

from fastfit.kernels.general_classification import always_worth_a_look
from fastfit.kernels.general_introsort import splits_allowed
from fastfit.kernels.general_order import sort_by_code
from fastfit.kernels.general_problem import CODE_SHIFT, PLACE_SHIFT, PLACES, ROW_MASK
from fastfit.kernels.general_running_median import store_all_errors
from fastfit.kernels.general_split import Criterion
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element

EVERYWHERE = -1


@jit(internal=True)
def _rank_targets(problem, work, start, end, k):
    """Rank the node's y of output k: ``row_ranks`` by row, ``sorted_y`` by rank; set whether any two are equal."""
    sums, keys, codes = work.sums, work.keys, problem.y_codes[k]
    y_keys, sorted_y, row_ranks = sums.y_keys, sums.sorted_y[k], sums.row_ranks[k]
    n_samples = end - start
    place_step = 1 << PLACE_SHIFT if n_samples <= PLACES else 0
    for i in range(n_samples):
        code = int(element(codes, element(keys, start + i) & ROW_MASK))
        y_keys[i] = code << CODE_SHIFT | place_step * i | i
    first = start - start
    n_splits = splits_allowed(n_samples)
    keeps_ties = problem.y_keeps_ties
    sort_by_code(y_keys, sums.unsigned_y_keys, first, n_samples, keeps_ties, n_splits, work.sorting)
    n_ties = 0
    for rank in range(n_samples):
        row = element(keys, start + (element(y_keys, rank) & ROW_MASK)) & ROW_MASK
        row_ranks[row] = rank
        sorted_y[rank] = problem.moments[row, k + 1]
        n_ties += rank > 0 and (y_keys[rank] ^ y_keys[rank - 1]) >> CODE_SHIFT == 0
    sums.has_ties[k] = n_ties > 0


@jit(internal=True)
def _read_ranks(problem, work, start, end, k):
    """Put ranks of y and weights into the order of the samples."""
    sums, keys = work.sums, work.keys
    # Where y are equal, their ranks follow the order of the samples.
    if problem.y_keeps_ties and sums.has_ties[k]:
        _rank_targets(problem, work, start, end, k)
    row_ranks = sums.row_ranks[k]
    for i in range(end - start):
        row = element(keys, start + i) & ROW_MASK
        sums.ranks[i] = row_ranks[row]
        sums.weights[i] = problem.moments[row, 0]


@jit(internal=True)
def _find_median(
    weights,  # (n_ranks + 1,) float64
    moments,  # (n_ranks + 1,) float64
    n_ranks,
    half,
):
    """Return the median's rank, that of the other one if it lies between two samples, and the sums before the first."""
    bit = 1
    while 2 * bit <= n_ranks:
        bit *= 2
    rank, weight, moment = 0, 0.0, 0.0
    while bit != 0:
        i = rank + bit
        if i <= n_ranks:
            if half == weights[i]:
                break
            if half > weights[i]:
                half -= weights[i]
                rank = i
                weight += weights[i]
                moment += moments[i]
        bit >>= 1
    # Where the first i ranks hold exactly half of the weight, the median lies between two samples: behind the last
    # rank with less than half before it, and at the last one with no more than half before it.
    before, half_before, bit_before = rank, half, bit
    while bit_before != 0:
        i = before + bit_before
        if i <= n_ranks and half_before > weights[i]:
            half_before -= weights[i]
            before = i
        bit_before >>= 1
    while bit != 0:
        i = rank + bit
        if i <= n_ranks and half >= weights[i]:
            half -= weights[i]
            rank = i
            weight += weights[i]
            moment += moments[i]
        bit >>= 1
    return rank, before, weight, moment


@jit(internal=True)
def _walk(sums, k, n_ranks, first, last, wanted, errors, medians):
    """Add the samples from place ``first`` to ``last``, either way, to the tree of output k.

    The error and the median of all samples so far are stored at place ``wanted`` and at ``last``, or at all places if
    ``wanted`` is EVERYWHERE. Errors are added to those of the outputs before.
    """
    weights, moments, sorted_y = sums.tree_weights, sums.tree_moments, sums.sorted_y[k]
    for i in range(n_ranks + 1):
        weights[i] = 0.0
        moments[i] = 0.0
    total_weight, total_moment = 0.0, 0.0
    step = 1 if first <= last else -1
    for place in range(first, last + step, step):
        weight = sums.weights[place]
        rank = sums.ranks[place]
        moment = weight * sorted_y[rank]
        i = rank + 1
        while i <= n_ranks:
            weights[i] += weight
            moments[i] += moment
            i += i & -i
        total_weight += weight
        total_moment += moment
        if wanted != EVERYWHERE and place != wanted and place != last:
            continue
        rank, before, weight_up_to, moment_up_to = _find_median(weights, moments, n_ranks, 0.5 * total_weight)
        median = sorted_y[rank]
        if rank != before:
            median = (sorted_y[before] + median) / 2
        error = ((total_moment - moment_up_to) - median * (total_weight - weight_up_to)) + (
            median * weight_up_to - moment_up_to
        )
        medians[place] = median
        errors[place] = error if k == 0 else errors[place] + error


@jit(internal=True)
def _measure(problem, work, start, end):
    sums = work.sums
    weight = 0.0
    for p in range(start, end):
        weight += problem.moments[element(work.keys, p) & ROW_MASK, 0]
    first = start - start
    for k in range(len(sums.node_medians)):
        sums.has_ties[k] = False
        _rank_targets(problem, work, start, end, k)
        _read_ranks(problem, work, start, end, k)
        _walk(sums, k, end - start, end - start - 1, first, first, sums.right_errors, sums.right_medians)
        sums.node_medians[k] = sums.right_medians[0]
    return weight


@jit(inline=True, internal=True)
def _advance(problem, work, end, position, next_position, weight, state):
    weight_left = state[0]
    for p in range(position, next_position):
        weight_left += problem.moments[element(work.keys, p) & ROW_MASK, 0]
    return (weight_left,)


@jit(inline=True, internal=True)
def _store_value(problem, work, value, weight):
    for k in range(len(value)):
        value[k, 0] = work.sums.node_medians[k]


@jit(inline=True, internal=True)
def _begin(problem, work):
    return (0.0,)


@jit(inline=True, internal=True)
def _impurities(problem, work, start, end, position, weight, state):
    sums = work.sums
    n_outputs = len(sums.node_medians)
    error_left = sums.left_errors[position - start - 1] if position > start else 0.0
    error_right = sums.right_errors[position - start]
    return error_left / (state[0] * n_outputs), error_right / ((weight - state[0]) * n_outputs)


@jit(inline=True, internal=True)
def _proxy(problem, work, start, position, weight, state):
    left, right = _impurities(problem, work, start, position, position, weight, state)
    return -(weight - state[0]) * right - state[0] * left


@jit(inline=True, internal=True)
def _child_values(problem, work, start, position, weight, state):
    return work.sums.left_medians[position - start - 1], work.sums.right_medians[position - start]


def make_absolute_error(is_simple):
    """Return the kernels of the absolute error; ``is_simple`` for weights that are positive whole numbers."""

    @jit(internal=True)
    def begin_walk(problem, work, start, end):
        sums = work.sums
        n_samples = end - start
        for k in range(len(sums.node_medians)):
            _read_ranks(problem, work, start, end, k)
            if is_simple:
                store_all_errors(sums, k, n_samples)
            else:
                for is_left in range(2):
                    errors = sums.left_errors if is_left else sums.right_errors
                    medians = sums.left_medians if is_left else sums.right_medians
                    first = 0 if is_left else n_samples - 1
                    _walk(sums, k, n_samples, first, n_samples - 1 - first, EVERYWHERE, errors, medians)
                sums.node_medians[k] = sums.right_medians[0]
        return (0.0,)

    @jit(internal=True)
    def split_at(problem, work, start, end, position, weight):
        sums = work.sums
        n_samples, place = end - start, position - start
        for k in range(len(sums.node_medians)):
            _read_ranks(problem, work, start, end, k)
            for is_left in range(2):
                errors = sums.left_errors if is_left else sums.right_errors
                medians = sums.left_medians if is_left else sums.right_medians
                wanted = place - 1 if is_left else place
                first = 0 if is_left else n_samples - 1
                # The order of the samples changes the node's median if it changes the rounding of their weights.
                last = wanted if is_left or is_simple else 0
                _walk(sums, k, n_samples, first, last, wanted, errors, medians)
            if not is_simple:
                sums.node_medians[k] = sums.right_medians[0]
        return _advance(problem, work, end, start, position, weight, (0.0,))

    return Criterion(
        measure=_measure,
        store_value=_store_value,
        begin=_begin,
        begin_walk=begin_walk,
        advance=_advance,
        split_at=split_at,
        may_exceed=always_worth_a_look,
        proxy=_proxy,
        impurities=_impurities,
        child_values=_child_values,
        value_depends_on_order=not is_simple,
    )
