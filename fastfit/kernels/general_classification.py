"""Gini and entropy over weighted classes of one or more outputs, with scikit-learn's formulas and order of sums.

With the weights N_c of the classes of one output, N in all: gini is 1 - sum_c (N_c / N)^2 and entropy is
-sum_c N_c / N log2(N_c / N), each the mean over the outputs. Sums over the left child are in ``work.sums.left``, or,
where there are two classes and one output, in the state of the split: (weight, weight of class 0, of class 1).
"""

import math

import numpy as np

from fastfit.kernels.general_log import approximate_log2
from fastfit.kernels.general_problem import ROW_MASK
from fastfit.kernels.general_split import Criterion
from fastfit.kernels.general_sums import begin_table, end_table, make_sums
from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.simd import element

LN_2 = math.log(2.0)


@jit(inline=True, internal=True)
def _measure(problem, work, start, end):
    total, moments = work.sums.total, problem.moments
    for i in range(len(total)):
        total[i] = 0.0
    weight = 0.0
    for p in range(start, end):
        row = element(work.keys, p) & ROW_MASK
        of_sample = moments[row, 0]
        for k in range(1, moments.shape[1]):
            total[int(moments[row, k]) & ROW_MASK] += of_sample
        weight += of_sample
    return weight


@jit(inline=True, internal=True)
def _store_value(problem, work, value, weight):
    n_outputs, max_n_classes = value.shape
    for k in range(n_outputs):
        for c in range(max_n_classes):
            value[k, c] = work.sums.total[k * max_n_classes + c] / weight if c < problem.n_classes[k] else 0.0


@jit(inline=True, internal=True)
def _add_to_table(problem, work, row, state):
    left, moments = work.sums.left, problem.moments
    weight = moments[row, 0]
    for k in range(1, moments.shape[1]):
        left[int(moments[row, k]) & ROW_MASK] += weight
    return (state[0] + weight,)


@jit(inline=True, internal=True)
def _subtract_from_table(problem, work, row, state):
    left, moments = work.sums.left, problem.moments
    weight = moments[row, 0]
    for k in range(1, moments.shape[1]):
        left[int(moments[row, k]) & ROW_MASK] -= weight
    return (state[0] - weight,)


@jit(inline=True, internal=True)
def _values_of_table(problem, work, start, position, weight, state):
    left = work.sums.left[0]
    return left / state[0], (work.sums.total[0] - left) / (weight - state[0])


@jit(inline=True, internal=True)
def _begin_two(problem, work):
    # The impurity of a whole node divides by them: 0 / 0 of NumPy is NaN, of Python an error.
    nothing = np.float64(0.0)
    return nothing, nothing, nothing


@jit(inline=True, internal=True)
def _end_two(work, weight):
    return weight, work.sums.total[0], work.sums.total[1]


@jit(inline=True, internal=True)
def _add_to_two(problem, work, row, state):
    weight = problem.moments[row, 0]
    is_one = problem.moments[row, 1] != 0.0
    of_one = weight if is_one else 0.0
    return state[0] + weight, state[1] + (0.0 if is_one else weight), state[2] + of_one


@jit(inline=True, internal=True)
def _subtract_from_two(problem, work, row, state):
    weight = problem.moments[row, 0]
    is_one = problem.moments[row, 1] != 0.0
    of_one = weight if is_one else 0.0
    return state[0] - weight, state[1] - (0.0 if is_one else weight), state[2] - of_one


@jit(inline=True, internal=True)
def _values_of_two(problem, work, start, position, weight, state):
    return state[1] / state[0], (work.sums.total[0] - state[1]) / (weight - state[0])


@jit(inline=True, internal=True)
def _gini_of_table(problem, work, start, end, position, weight, state):
    n_outputs, max_n_classes = problem.values.shape[1:]
    total, left = work.sums.total, work.sums.left
    weight_left, weight_right = state[0], weight - state[0]
    gini_left, gini_right = 0.0, 0.0
    for k in range(n_outputs):
        squares_left, squares_right = 0.0, 0.0
        for i in range(k * max_n_classes, k * max_n_classes + problem.n_classes[k]):
            in_left = element(left, i)
            in_right = element(total, i) - in_left
            squares_left += in_left * in_left
            squares_right += in_right * in_right
        gini_left += 1.0 - squares_left / (weight_left * weight_left)
        gini_right += 1.0 - squares_right / (weight_right * weight_right)
    return gini_left / n_outputs, gini_right / n_outputs


@jit(inline=True, internal=True)
def _gini_of_two(problem, work, start, end, position, weight, state):
    weight_left, weight_right = state[0], weight - state[0]
    right_0, right_1 = work.sums.total[0] - state[1], work.sums.total[1] - state[2]
    squares_left = state[1] * state[1] + state[2] * state[2]
    squares_right = right_0 * right_0 + right_1 * right_1
    return (
        1.0 - squares_left / (weight_left * weight_left),
        1.0 - squares_right / (weight_right * weight_right),
    )


@jit(inline=True, internal=True)
def always_worth_a_look(problem, work, weight, state, best):
    return True


@jit(inline=True, internal=True, fastmath=REASSOCIATE)
def _approximate_entropy(in_child, per_weight):
    """Return -s log2(s) W of the share s of a class in a child of weight W, about."""
    return -in_child * approximate_log2(in_child * per_weight) if in_child > 0.0 else 0.0


@jit(inline=True, internal=True, fastmath=REASSOCIATE)
def _entropy_of_table_may_exceed(problem, work, weight, state, best):
    total, left = work.sums.total, work.sums.left
    per_left, per_right = 1.0 / state[0], 1.0 / (weight - state[0])
    entropy = 0.0
    for i in range(len(left)):
        in_left = element(left, i)
        entropy += _approximate_entropy(in_left, per_left)
        entropy += _approximate_entropy(element(total, i) - in_left, per_right)
    return not problem.log_error * abs(weight) - entropy / len(problem.n_classes) < best


@jit(inline=True, internal=True, fastmath=REASSOCIATE)
def _entropy_of_two_may_exceed(problem, work, weight, state, best):
    total = work.sums.total
    per_left, per_right = 1.0 / state[0], 1.0 / (weight - state[0])
    entropy = (
        _approximate_entropy(state[1], per_left)
        + _approximate_entropy(state[2], per_left)
        + _approximate_entropy(total[0] - state[1], per_right)
        + _approximate_entropy(total[1] - state[2], per_right)
    )
    return not problem.log_error * abs(weight) - entropy < best


@jit(inline=True, internal=True)
def _surprise(in_child, weight):
    """Return -s log2(s) of the share of a class in a child."""
    if in_child > 0.0:
        share = in_child / weight
        return -share * (math.log(share) / LN_2)
    return 0.0


@jit(inline=True, internal=True)
def _entropy_of_table(problem, work, start, end, position, weight, state):
    n_outputs, max_n_classes = problem.values.shape[1:]
    total, left = work.sums.total, work.sums.left
    weight_left, weight_right = state[0], weight - state[0]
    entropy_left, entropy_right = 0.0, 0.0
    for k in range(n_outputs):
        for i in range(k * max_n_classes, k * max_n_classes + problem.n_classes[k]):
            in_left = element(left, i)
            entropy_left += _surprise(in_left, weight_left)
            entropy_right += _surprise(element(total, i) - in_left, weight_right)
    return entropy_left / n_outputs, entropy_right / n_outputs


@jit(inline=True, internal=True)
def _entropy_of_two(problem, work, start, end, position, weight, state):
    weight_left, weight_right = state[0], weight - state[0]
    total = work.sums.total
    return (
        _surprise(state[1], weight_left) + _surprise(state[2], weight_left),
        _surprise(total[0] - state[1], weight_right) + _surprise(total[1] - state[2], weight_right),
    )


def _make_classification(impurities, may_exceed, sums, child_values):
    @jit(inline=True, internal=True)
    def proxy(problem, work, start, position, weight, state):
        left, right = impurities(problem, work, start, position, position, weight, state)
        return -(weight - state[0]) * right - state[0] * left

    begin, begin_walk, advance, split_at = make_sums(*sums)
    return Criterion(
        measure=_measure,
        store_value=_store_value,
        begin=begin,
        begin_walk=begin_walk,
        advance=advance,
        split_at=split_at,
        may_exceed=may_exceed,
        proxy=proxy,
        impurities=impurities,
        child_values=child_values,
        value_depends_on_order=False,
    )


def make_gini(is_simple):
    """Return the kernels of the Gini impurity; ``is_simple`` for one output of two classes."""
    if is_simple:
        return _make_of_two(_gini_of_two, always_worth_a_look)
    return _make_of_table(_gini_of_table, always_worth_a_look)


def make_entropy(is_simple):
    """Return the kernels of the entropy, in bits; ``is_simple`` for one output of two classes."""
    if is_simple:
        return _make_of_two(_entropy_of_two, _entropy_of_two_may_exceed)
    return _make_of_table(_entropy_of_table, _entropy_of_table_may_exceed)


def _make_of_two(impurities, may_exceed):
    sums = _begin_two, _end_two, _add_to_two, _subtract_from_two
    return _make_classification(impurities, may_exceed, sums, _values_of_two)


def _make_of_table(impurities, may_exceed):
    sums = begin_table, end_table, _add_to_table, _subtract_from_table
    return _make_classification(impurities, may_exceed, sums, _values_of_table)
