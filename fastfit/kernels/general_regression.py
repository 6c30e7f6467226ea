"""Squared error and Poisson deviance of one or more outputs, with scikit-learn's formulas and order of sums.

With weights w_i of targets y_i that sum to W, and their weighted mean m: the squared error is
sum_i w_i y_i^2 / W - m^2, its proxy W_left m_left^2 + W_right m_right^2; half the Poisson deviance is
sum_i w_i y_i log(y_i / m) / W, its proxy S_left log m_left + S_right log m_right with S = W m. Errors are means over
the outputs. Sums over the left child are in ``work.sums.left``, or, with one output, in the state of the split:
(weight, sum of weight * y).
"""

import math

import numpy as np

from fastfit.kernels.general_classification import LN_2, always_worth_a_look
from fastfit.kernels.general_log import approximate_log2
from fastfit.kernels.general_problem import ROW_MASK
from fastfit.kernels.general_split import Criterion
from fastfit.kernels.general_sums import begin_table, end_table, make_sums
from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.simd import element

# Sums of counts up to this are zero but for rounding, scikit-learn's bound.
POISSON_EPSILON = 10 * float(np.finfo(np.float64).eps)


@jit(inline=True, internal=True)
def _measure(problem, work, start, end):
    total, moments = work.sums.total, problem.moments
    n_outputs = len(total)
    for k in range(n_outputs):
        total[k] = 0.0
    weight, squares = 0.0, 0.0
    for p in range(start, end):
        row = element(work.keys, p) & ROW_MASK
        for k in range(n_outputs):
            weighted = moments[row, k + 1]
            total[k] += weighted
            squares += weighted * problem.y[row, k]
        weight += moments[row, 0]
    work.sums.squares[0] = squares
    return weight


@jit(inline=True, internal=True)
def _measure_one(problem, work, start, end):
    """Do the same for one output: sums that stay in registers take less than half of the time."""
    moments = problem.moments
    weight, total, squares = 0.0, 0.0, 0.0
    for p in range(start, end):
        row = element(work.keys, p) & ROW_MASK
        weighted = moments[row, 1]
        total += weighted
        squares += weighted * problem.y[row, 0]
        weight += moments[row, 0]
    work.sums.total[0] = total
    work.sums.squares[0] = squares
    return weight


@jit(inline=True, internal=True)
def _store_value(problem, work, value, weight):
    for k in range(len(value)):
        value[k, 0] = work.sums.total[k] / weight


@jit(inline=True, internal=True)
def _add_to_table(problem, work, row, state):
    left = work.sums.left
    for k in range(len(left)):
        left[k] += problem.moments[row, k + 1]
    return (state[0] + problem.moments[row, 0],)


@jit(inline=True, internal=True)
def _subtract_from_table(problem, work, row, state):
    left = work.sums.left
    for k in range(len(left)):
        left[k] -= problem.moments[row, k + 1]
    return (state[0] - problem.moments[row, 0],)


@jit(inline=True, internal=True)
def _left_of_table(work, state, k):
    return work.sums.left[k]


@jit(inline=True, internal=True)
def _begin_one(problem, work):
    # The impurity of a whole node divides by them: 0 / 0 of NumPy is NaN, of Python an error.
    nothing = np.float64(0.0)
    return nothing, nothing


@jit(inline=True, internal=True)
def _end_one(work, weight):
    return weight, work.sums.total[0]


@jit(inline=True, internal=True)
def _add_to_one(problem, work, row, state):
    return state[0] + problem.moments[row, 0], state[1] + problem.moments[row, 1]


@jit(inline=True, internal=True)
def _subtract_from_one(problem, work, row, state):
    return state[0] - problem.moments[row, 0], state[1] - problem.moments[row, 1]


@jit(inline=True, internal=True)
def _left_of_one(work, state, k):
    return state[1]


def _make_squared_error_kernels(is_simple):
    """Return the kernels may_exceed, proxy and impurities."""
    in_left_of = _left_of_one if is_simple else _left_of_table

    @jit(inline=True, internal=True)
    def proxy(problem, work, start, position, weight, state):
        total = work.sums.total
        squares_left, squares_right = 0.0, 0.0
        for k in range(1 if is_simple else len(total)):
            in_left = in_left_of(work, state, k)
            in_right = total[k] - in_left
            squares_left += in_left * in_left
            squares_right += in_right * in_right
        return squares_left / state[0] + squares_right / (weight - state[0])

    @jit(inline=True, internal=True)
    def impurities(problem, work, start, end, position, weight, state):
        total = work.sums.total
        n_outputs = len(total)
        squares = 0.0
        for p in range(start, position):
            row = element(work.keys, p) & ROW_MASK
            for k in range(n_outputs):
                squares += problem.moments[row, k + 1] * problem.y[row, k]
        weight_right = weight - state[0]
        error_left = squares / state[0]
        error_right = (work.sums.squares[0] - squares) / weight_right
        for k in range(n_outputs):
            in_left = in_left_of(work, state, k)
            mean_left = in_left / state[0]
            mean_right = (total[k] - in_left) / weight_right
            error_left -= mean_left * mean_left
            error_right -= mean_right * mean_right
        return error_left / n_outputs, error_right / n_outputs

    return always_worth_a_look, proxy, impurities


@jit(internal=True)
def _add_deviance(
    keys,  # (n_root_samples,) int64
    start,
    end,
    moments,  # (n_samples, 1 + n_outputs) float64
    y,  # (n_samples, n_outputs) float64
    k,
    mean,
    deviance,
):
    """Return the deviance with that of output k of the samples [start, end) added."""
    for p in range(start, end):
        row = element(keys, p) & ROW_MASK
        target = y[row, k]
        if target != 0.0:
            deviance += moments[row, 0] * (target * math.log(target / mean))
    return deviance


def _make_poisson_kernels(is_simple):
    """Return the kernels may_exceed, proxy and impurities."""
    in_left_of = _left_of_one if is_simple else _left_of_table

    @jit(inline=True, internal=True, fastmath=REASSOCIATE)
    def may_exceed(problem, work, weight, state, best):
        total = work.sums.total
        per_left, per_right = 1.0 / state[0], 1.0 / (weight - state[0])
        gain, slack = 0.0, 0.0
        for k in range(1 if is_simple else len(total)):
            in_left = in_left_of(work, state, k)
            in_right = total[k] - in_left
            gain += in_left * approximate_log2(in_left * per_left)
            gain += in_right * approximate_log2(in_right * per_right)
            slack += abs(in_left) + abs(in_right)
        return not gain + problem.log_error * slack < best

    @jit(inline=True, internal=True)
    def proxy(problem, work, start, position, weight, state):
        total = work.sums.total
        loss_left, loss_right = 0.0, 0.0
        for k in range(1 if is_simple else len(total)):
            in_left = in_left_of(work, state, k)
            in_right = total[k] - in_left
            # A child may not predict zero.
            if in_left <= POISSON_EPSILON or in_right <= POISSON_EPSILON:
                return -np.inf
            loss_left -= in_left * (math.log(in_left / state[0]) / LN_2)
            loss_right -= in_right * (math.log(in_right / (weight - state[0])) / LN_2)
        return -loss_left - loss_right

    @jit(inline=True, internal=True)
    def impurities(problem, work, start, end, position, weight, state):
        total = work.sums.total
        n_outputs = len(total)
        weight_right = weight - state[0]
        left, right = 0.0, 0.0
        for k in range(n_outputs):
            in_left = in_left_of(work, state, k)
            in_right = total[k] - in_left
            if in_left <= POISSON_EPSILON:
                left = np.inf
            if in_right <= POISSON_EPSILON:
                right = np.inf
            for is_left in range(2):
                first, last = (start, position) if is_left == 1 else (position, end)
                mean = in_left / state[0] if is_left == 1 else in_right / weight_right
                before = left if is_left == 1 else right
                if before < np.inf:
                    after = _add_deviance(work.keys, first, last, problem.moments, problem.y, k, mean, before)
                    left = after if is_left == 1 else left
                    right = right if is_left == 1 else after
        return left / (state[0] * n_outputs), right / (weight_right * n_outputs)

    return may_exceed, proxy, impurities


def _make_regression(is_simple, may_exceed, proxy, impurities):
    in_left_of = _left_of_one if is_simple else _left_of_table

    @jit(inline=True, internal=True)
    def child_values(problem, work, start, position, weight, state):
        in_left = in_left_of(work, state, 0)
        return in_left / state[0], (work.sums.total[0] - in_left) / (weight - state[0])

    if is_simple:
        sums = _begin_one, _end_one, _add_to_one, _subtract_from_one
    else:
        sums = begin_table, end_table, _add_to_table, _subtract_from_table
    begin, begin_walk, advance, split_at = make_sums(*sums)
    return Criterion(
        measure=_measure_one if is_simple else _measure,
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


def make_squared_error(is_simple):
    """Return the kernels of the squared error; ``is_simple`` for one output."""
    return _make_regression(is_simple, *_make_squared_error_kernels(is_simple))


def make_poisson(is_simple):
    """Return the kernels of half the Poisson deviance; ``is_simple`` for one output."""
    return _make_regression(is_simple, *_make_poisson_kernels(is_simple))
