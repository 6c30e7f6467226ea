"""Stochastic gradient descent for a linear model, one sample at a time: scikit-learn's own sequence of updates.

For a sample (x, y) with prediction p = w.x + b and step eta, the update is

    w <- (1 - (1 - l1_ratio) alpha eta) w - eta dloss(p, y) x,        b <- b - eta dloss(p, y),

followed by the truncation of the cumulative L1 penalty (Tsuruoka, Tsujii and Ananiadou, ACL 2009) and the running
average of the weights (Bottou, "Stochastic gradient descent tricks", 2012). As there, w is held as ``SCALE * coef`` so
that the shrinkage of a sample costs one multiplication. The cost of an epoch is O(n_samples * n_features); its limit is
the memory's rate at gathering shuffled rows, and for rows in the cache the chain dot product - loss - addition.

Descent with large steps is chaotic: a difference in the last bit of one dot product grows until the weights differ in
their third digit, and scikit-learn's default schedule starts with large steps. So everything rounds where
scikit-learn's loops round, and as long as a step may magnify an error (``sgd_schedule.stable_step``) dot products are
summed in its order as well. After that they are summed in vectors, which takes a third of the time and leaves the
weights equal to some 1e-13.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.loss import LOSS_HINGE, loss_gradient, loss_value, sum_losses
from fastfit.kernels.row import dot_row, sum_magnitudes
from fastfit.kernels.row_in_order import add_row_in_order, dot_row_in_order, sum_squares_in_order, truncate_l1
from fastfit.kernels.sgd_schedule import (
    close_epoch,
    fill_steps,
    optimal_start,
    order_rows,
    request_row,
    rows_ahead,
    stable_step,
)
from fastfit.kernels.sgd_state import (
    AVERAGE_INTERCEPT,
    AVERAGE_SCALE,
    AVERAGE_SLOPE,
    INTERCEPT,
    L1_CREDIT,
    L1_NORM,
    MAX_GRADIENT,
    OPTIMAL_START,
    PENALTY_L2,
    PENALTY_NONE,
    RATE_OPTIMAL,
    RATE_PA1,
    SCALE,
    SQUARED_NORM,
    STABLE_STEP,
    STATUS,
    STATUS_RUNNING,
    STATUS_STOPPED,
    STEP_COUNT,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element, maximum, minimum
from fastfit.runtime.team import stop_requested

# Samples whose steps and losses are computed together, outside the chain of dependent updates.
BLOCK_SIZE = 64
# Below this the scale is folded into the weights before the quotient of a step and the scale loses its meaning.
MIN_SCALE_64, MIN_SCALE_32 = 1e-9, 1e-6


class Block(NamedTuple):
    """Scratch for BLOCK_SIZE samples."""

    predictions: np.ndarray  # (BLOCK_SIZE,) float64
    targets: np.ndarray  # (BLOCK_SIZE,) float64
    steps: np.ndarray  # (BLOCK_SIZE,) float64


@jit(internal=True)
def fold_scale(model, scale):
    """Multiply the scale into the weights, and bring the lazy average up to date with them."""
    scalars, coef, averaged = model.scalars, model.coef, model.averaged
    for j in range(len(averaged)):
        averaged[j] = (averaged[j] + scalars[AVERAGE_SLOPE] * coef[j]) / scalars[AVERAGE_SCALE]
    scalars[AVERAGE_SLOPE] = 0.0
    scalars[AVERAGE_SCALE] = 1.0
    for j in range(len(coef)):
        coef[j] *= scale
    scalars[SCALE] = 1.0


@jit(inline=True, internal=True)
def passive_aggressive_step(options, squared_norm, target, prediction):
    """Signed step of PA-I or PA-II (Crammer et al., JMLR 7, 2006); NaN where PA-I meets a row of zeros."""
    loss = loss_value(options.loss, options.loss_parameter, target, prediction)
    if options.learning_rate == RATE_PA1:
        if squared_norm == 0.0:
            return np.nan
        step = minimum(options.eta0, loss / squared_norm)
    else:
        step = loss / (squared_norm + 0.5 / options.eta0)
    if options.loss == LOSS_HINGE:
        return step * target
    return -step if target - prediction < 0.0 else step


@jit(inline=True, internal=True)
def average_update(samples, start, update, intercept, scale, count, model):
    """Account for one update, the ``count``-th that is averaged, in the lazy running average."""
    scalars, averaged = model.scalars, model.averaged
    if update != 0.0:
        slope, change = scalars[AVERAGE_SLOPE], -update / scale
        for j in range(samples.n_features):
            averaged[j] += slope * element(samples.X, start + j) * change
    share = 1.0 / count
    if count > 1.0:
        scalars[AVERAGE_SCALE] /= 1.0 - share
    scalars[AVERAGE_SLOPE] += share * scalars[AVERAGE_SCALE] * scale
    scalars[AVERAGE_INTERCEPT] += (intercept - scalars[AVERAGE_INTERCEPT]) / count


@jit(inline=True, internal=True)
def signed_step(samples, row, step, target, prediction, options):
    """The factor by which a sample's row is added to the weights; NaN where the sample is passed over."""
    if options.learning_rate < RATE_PA1:
        gradient = loss_gradient(options.loss, options.loss_parameter, target, prediction)
        update = -step * minimum(maximum(gradient, -MAX_GRADIENT), MAX_GRADIENT)
    else:
        squared_norm = sum_squares_in_order(samples.X, row * samples.n_features, samples.n_features)
        update = passive_aggressive_step(options, squared_norm, target, prediction)
    weight = samples.X.dtype.type(options.weight_pos if target > 0.0 else options.weight_neg)
    if len(samples.weight) > 0:
        weight *= samples.weight[row]
    return update * weight


@jit(internal=True)
def update_block(
    samples,
    order,  # (n_samples,) int32, rows in the order of the epoch
    first,  # position in order of the block's first row
    n_block,
    is_stable,  # whether rounding errors stay as they are
    model,
    block,
    options,
):
    """Visit the rows of one block in turn; returns the sum of the penalties seen before each update."""
    coef, scalars, dtype = model.coef, model.scalars, model.coef.dtype
    n_features = samples.n_features
    n_ahead = rows_ahead(n_features * samples.X.itemsize)
    intercept, scale, number = scalars[INTERCEPT], scalars[SCALE], scalars[STEP_COUNT]
    squared_norm, l1_norm = scalars[SQUARED_NORM], scalars[L1_NORM]
    l2_ratio = 1.0 - options.l1_ratio
    min_scale = MIN_SCALE_32 if coef.itemsize == 4 else MIN_SCALE_64
    sum_penalty = 0.0
    for k in range(n_block):
        row = np.intp(order[first + k])
        start, step, target = row * n_features, block.steps[k], np.float64(samples.y[row])
        if is_stable:
            product = dot_row(samples.X, start, n_features, coef)
        else:
            product = dot_row_in_order(samples.X, start, n_features, coef)
        prediction = np.float64(dtype.type(product * scale)) + intercept
        block.targets[k], block.predictions[k] = target, prediction
        sum_penalty += 0.5 * l2_ratio * squared_norm + options.l1_ratio * l1_norm
        update = signed_step(samples, row, step, target, prediction, options)
        if np.isnan(update) and options.learning_rate == RATE_PA1:
            continue
        if options.penalty >= PENALTY_L2:
            shrinkage = np.float64(dtype.type(maximum(1.0 - l2_ratio * step * options.alpha, 0.0)))
            scale *= shrinkage
            squared_norm, l1_norm = squared_norm * shrinkage * shrinkage, l1_norm * shrinkage
            if scale < min_scale:
                fold_scale(model, scale)
                scale = 1.0
        if update != 0.0:
            factor = dtype.type(update) / dtype.type(scale)
            squared_norm = add_row_in_order(samples.X, start, n_features, factor, coef) * scale * scale
            l1_norm = sum_magnitudes(coef, n_features) * scale if options.l1_ratio > 0.0 else 0.0
        intercept += update if options.fit_intercept else 0.0
        if 0 < options.average <= number:
            average_update(samples, start, update, intercept, scale, number - options.average + 1.0, model)
        if len(model.l1_paid) > 0:
            scalars[L1_CREDIT] += options.l1_ratio * step * options.alpha
            truncate_l1(0, n_features, scalars[L1_CREDIT], scale, coef, model.l1_paid)
        number += 1.0
        if n_ahead > 0:
            request_row(samples, order, first + k + n_ahead)
            request_row(samples, order, first + k + n_ahead // 2)
            request_row(samples, order, first + k + n_ahead // 4)
    scalars[INTERCEPT], scalars[SCALE], scalars[STEP_COUNT] = intercept, scale, number
    scalars[SQUARED_NORM], scalars[L1_NORM] = squared_norm, l1_norm
    return sum_penalty


@jit
def train_epochs(
    control,
    thread_idx,
    n_threads,
    samples,
    order,  # (n_samples,) int32, shuffled further at every epoch
    training_order,  # (n_training,) int32 buffer where rows are held out; else the same array as order
    model,
    block,
    options,
    seed,  # of the shuffle; negative: the order is kept
    objectives_out,  # (n_epochs,) float64
):
    """Train for up to ``len(objectives_out)`` epochs, until convergence, overflow or a request to stop."""
    scalars = model.scalars
    n = len(training_order)
    has_penalty = options.penalty != PENALTY_NONE and options.learning_rate < RATE_PA1
    if scalars[STABLE_STEP] == 0.0:
        passive = options.learning_rate >= RATE_PA1  # whose step is a projection at the most
        scalars[STABLE_STEP] = np.inf if passive else stable_step(samples, options)
    if options.learning_rate == RATE_OPTIMAL:
        scalars[OPTIMAL_START] = optimal_start(options)
    for epoch in range(len(objectives_out)):
        order_rows(samples.held_out, seed, order, training_order)
        sum_loss, sum_penalty = 0.0, 0.0
        for first in range(0, n, BLOCK_SIZE):
            if stop_requested(control):
                scalars[STATUS] = STATUS_STOPPED
                return
            n_block = BLOCK_SIZE if first + BLOCK_SIZE <= n else n - first
            is_stable = fill_steps(options, scalars, n_block, block.steps) and model.coef.itemsize == 8
            sum_penalty += update_block(
                samples, training_order, first, n_block, is_stable, model, block, options
            )
            sum_loss += sum_losses(
                options.loss, options.loss_parameter, n_block, block.targets, block.predictions
            )
        mean_penalty = options.alpha * sum_penalty / n if has_penalty else 0.0
        objectives_out[epoch] = close_epoch(model, options, sum_loss / n, mean_penalty)
        if scalars[STATUS] != STATUS_RUNNING:
            return
