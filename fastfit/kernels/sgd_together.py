"""Many settings of stochastic gradient descent, taken through the samples together.

The updates of one setting are a chain: each sample's dot product needs the weights that the sample before has left, and
a processor that could do four operations a cycle waits for most of the 140 that a sample takes. Settings that visit the
samples in the same order do not wait for each other. So each sample is loaded once, and its dot products for all
settings, then their losses and steps, then their additions, are three short loops whose turns overlap. Every setting
is updated by the very operations of :mod:`fastfit.kernels.sgd`, in their order: the bits are those of a descent by
itself.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.loss import loss_gradient, sum_losses
from fastfit.kernels.row import dot_row, sum_magnitudes
from fastfit.kernels.row_in_order import add_row_in_order, dot_row_in_order, truncate_l1
from fastfit.kernels.sgd import BLOCK_SIZE, MIN_SCALE_32, MIN_SCALE_64
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
    INTERCEPT,
    L1_CREDIT,
    L1_NORM,
    MAX_GRADIENT,
    OPTIMAL_START,
    PENALTY_L2,
    PENALTY_NONE,
    RATE_OPTIMAL,
    SCALE,
    SQUARED_NORM,
    STABLE_STEP,
    STATUS,
    STATUS_RUNNING,
    STATUS_STOPPED,
    STEP_COUNT,
    LinearModel,
    SGDOptions,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element, maximum, minimum
from fastfit.runtime.team import stop_requested

# Hyperparameters in which settings may differ, by column of a table; all others are the same for all.
VARIED = ("alpha", "l1_ratio", "eta0", "power_t", "loss_parameter", "tol", "n_iter_no_change")
# What changes with every sample, by row of a table with a column for each setting.
(
    NOW_INTERCEPT,
    NOW_SCALE,
    NOW_NORM,
    NOW_L1_NORM,
    NOW_CREDIT,
    NOW_PENALTY,  # sum over the samples of the block
    NOW_PRODUCT,
    NOW_UPDATE,
    N_NOW,
) = range(9)


class Models(NamedTuple):
    """What an epoch changes; one row for each setting."""

    coef: np.ndarray  # (n_settings, more than n_features) of X's dtype, zeros behind the weights
    l1_paid: np.ndarray  # (n_settings, as many or 0), L1 penalty that each weight has received; none without one
    scalars: np.ndarray  # (n_settings, N_SCALARS or more) float64
    averaged: np.ndarray  # (n_settings, 0): averages are not kept


class Work(NamedTuple):
    """Scratch."""

    now: np.ndarray  # (N_NOW, n_settings) float64
    steps: np.ndarray  # (n_settings, BLOCK_SIZE) float64
    predictions: np.ndarray  # (n_settings, BLOCK_SIZE) float64
    targets: np.ndarray  # (BLOCK_SIZE,) float64
    is_stable: np.ndarray  # (n_settings,) bool, whether rounding errors stay as they are
    sums: np.ndarray  # (2, n_settings) float64: losses and penalties of the epoch
    active: np.ndarray  # (n_settings,) int64, the settings that still descend; by position the columns of `now`


@jit(inline=True, internal=True)
def model_of(models, setting):
    """The model of one setting."""
    return LinearModel(
        models.coef[setting], models.l1_paid[setting], models.averaged[setting], models.scalars[setting]
    )


@jit(inline=True, internal=True)
def options_of(common, varied, setting):
    """All hyperparameters of one setting."""
    return SGDOptions(
        common.loss,
        varied[setting, 4],
        common.loss_curvature,
        common.penalty,
        varied[setting, 0],
        varied[setting, 1],
        common.learning_rate,
        varied[setting, 2],
        varied[setting, 3],
        common.fit_intercept,
        common.average,
        common.weight_pos,
        common.weight_neg,
        varied[setting, 5],
        np.int64(varied[setting, 6]),
        common.tracks_objective,
        common.batch_size,
        common.optimizer,
        common.momentum,
        common.nesterov,
        common.beta_1,
        common.beta_2,
        common.adam_epsilon,
    )


@jit(internal=True)
def fold_small_scales(models, work, n_active, min_scale):
    """Multiply scales that are too small into the weights."""
    for a in range(n_active):
        scale = work.now[NOW_SCALE, a]
        if scale < min_scale:
            coef = models.coef[work.active[a]]
            for j in range(len(coef)):
                coef[j] *= scale
            work.now[NOW_SCALE, a] = 1.0


@jit(internal=True)
def take_steps(samples, row, k, common, varied, work, n_active):
    """Find the update of each setting for one row, and shrink its weights; returns the least scale."""
    now, active = work.now, work.active
    dtype = samples.X.dtype
    target = np.float64(samples.y[row])
    weight = dtype.type(common.weight_pos if target > 0.0 else common.weight_neg)
    if len(samples.weight) > 0:
        weight *= samples.weight[row]
    least = 1.0
    for a in range(n_active):
        setting = element(active, a)
        alpha, l1_ratio = varied[setting, 0], varied[setting, 1]
        step, scale, intercept = work.steps[a, k], now[NOW_SCALE, a], now[NOW_INTERCEPT, a]
        squared_norm, l1_norm = now[NOW_NORM, a], now[NOW_L1_NORM, a]
        l2_ratio = 1.0 - l1_ratio
        prediction = np.float64(dtype.type(now[NOW_PRODUCT, a] * scale)) + intercept
        work.predictions[a, k] = prediction
        now[NOW_PENALTY, a] += 0.5 * l2_ratio * squared_norm + l1_ratio * l1_norm
        gradient = loss_gradient(common.loss, varied[setting, 4], target, prediction)
        update = -step * minimum(maximum(gradient, -MAX_GRADIENT), MAX_GRADIENT) * weight
        if common.penalty >= PENALTY_L2:
            shrinkage = np.float64(dtype.type(maximum(1.0 - l2_ratio * step * alpha, 0.0)))
            scale *= shrinkage
            now[NOW_NORM, a] = squared_norm * shrinkage * shrinkage
            now[NOW_L1_NORM, a] = l1_norm * shrinkage
            now[NOW_SCALE, a] = scale
            least = minimum(least, scale)
        now[NOW_CREDIT, a] += l1_ratio * step * alpha
        now[NOW_INTERCEPT, a] = intercept + (update if common.fit_intercept else 0.0)
        now[NOW_UPDATE, a] = update
    return least


@jit(internal=True)
def update_together(
    samples,
    order,  # (n_samples,) int32, rows in the order of the epoch
    first,  # position in order of the block's first row
    n_block,
    models,
    work,
    common,
    varied,  # (n_settings, len(VARIED)) float64
    n_active,
):
    """Visit the rows of one block in turn, each with all settings that still descend."""
    now, active, dtype = work.now, work.active, samples.X.dtype
    n_features = samples.n_features
    n_ahead = rows_ahead(n_features * samples.X.itemsize)
    min_scale = MIN_SCALE_32 if models.coef.itemsize == 4 else MIN_SCALE_64
    has_l1 = models.l1_paid.shape[1] > 0
    for k in range(n_block):
        row = np.intp(order[first + k])
        start = row * n_features
        work.targets[k] = np.float64(samples.y[row])
        for a in range(n_active):
            coef = models.coef[element(active, a)]
            if work.is_stable[a]:
                now[NOW_PRODUCT, a] = dot_row(samples.X, start, n_features, coef)
            else:
                now[NOW_PRODUCT, a] = dot_row_in_order(samples.X, start, n_features, coef)
        if take_steps(samples, row, k, common, varied, work, n_active) < min_scale:
            fold_small_scales(models, work, n_active, min_scale)
        for a in range(n_active):
            setting, update, scale = element(active, a), now[NOW_UPDATE, a], now[NOW_SCALE, a]
            coef = models.coef[setting]
            if update != 0.0:
                factor = dtype.type(update) / dtype.type(scale)
                squares = add_row_in_order(samples.X, start, n_features, factor, coef)
                now[NOW_NORM, a] = squares * scale * scale
                if has_l1:
                    now[NOW_L1_NORM, a] = (
                        sum_magnitudes(coef, n_features) * scale if varied[setting, 1] > 0.0 else 0.0
                    )
            if has_l1:
                truncate_l1(0, n_features, now[NOW_CREDIT, a], scale, coef, models.l1_paid[setting])
        if n_ahead > 0:
            request_row(samples, order, first + k + n_ahead)
            request_row(samples, order, first + k + n_ahead // 2)
            request_row(samples, order, first + k + n_ahead // 4)


@jit(internal=True)
def open_block(models, work, common, varied, n_active, n_block):
    """Take what changes with every sample out of the models, and find the next steps."""
    for a in range(n_active):
        setting = work.active[a]
        scalars = models.scalars[setting]
        work.now[NOW_INTERCEPT, a], work.now[NOW_SCALE, a] = scalars[INTERCEPT], scalars[SCALE]
        work.now[NOW_NORM, a], work.now[NOW_L1_NORM, a] = scalars[SQUARED_NORM], scalars[L1_NORM]
        work.now[NOW_CREDIT, a], work.now[NOW_PENALTY, a] = scalars[L1_CREDIT], 0.0
        options = options_of(common, varied, setting)
        is_stable = fill_steps(options, scalars, n_block, work.steps[a])
        work.is_stable[a] = is_stable and models.coef.itemsize == 8


@jit(internal=True)
def close_block(models, work, common, varied, n_active, n_block):
    """Put back what changes with every sample, and add up the losses and penalties."""
    for a in range(n_active):
        setting = work.active[a]
        scalars = models.scalars[setting]
        scalars[INTERCEPT], scalars[SCALE] = work.now[NOW_INTERCEPT, a], work.now[NOW_SCALE, a]
        scalars[SQUARED_NORM], scalars[L1_NORM] = work.now[NOW_NORM, a], work.now[NOW_L1_NORM, a]
        scalars[L1_CREDIT] = work.now[NOW_CREDIT, a]
        scalars[STEP_COUNT] += n_block
        work.sums[0, a] += sum_losses(
            common.loss, varied[setting, 4], n_block, work.targets, work.predictions[a]
        )
        work.sums[1, a] += work.now[NOW_PENALTY, a]


@jit(internal=True)
def find_active(models, share, n_shares, active):
    """List the settings of one member of a team that still descend; returns how many."""
    n_active = 0
    for setting in range(share, len(models.scalars), n_shares):
        if models.scalars[setting, STATUS] == STATUS_RUNNING:
            active[n_active] = setting
            n_active += 1
    return n_active


@jit(internal=True)
def begin_descents(samples, models, common, varied, work, n_active):
    """Find out what does not change from epoch to epoch."""
    for a in range(n_active):
        setting = work.active[a]
        scalars = models.scalars[setting]
        options = options_of(common, varied, setting)
        if scalars[STABLE_STEP] == 0.0:
            # It depends on the samples and on the loss, not on what varies.
            same = a > 0
            scalars[STABLE_STEP] = (
                models.scalars[work.active[0], STABLE_STEP] if same else stable_step(samples, options)
            )
        if common.learning_rate == RATE_OPTIMAL:
            scalars[OPTIMAL_START] = optimal_start(options)


@jit
def train_together(
    control,
    thread_idx,
    n_threads,
    samples,
    orders,  # (n_threads, n_samples) int32, shuffled further at every epoch
    models,
    works,  # Work of each member
    common,  # SGDOptions, but for what varies
    varied,  # (n_settings, len(VARIED)) float64
    seed,  # of the shuffle; negative: the order is kept
    objectives_out,  # (n_settings, n_epochs) float64
):
    """Train all settings that are running, each to its convergence, for so many epochs at the most."""
    work = Work(
        works.now[thread_idx],
        works.steps[thread_idx],
        works.predictions[thread_idx],
        works.targets[thread_idx],
        works.is_stable[thread_idx],
        works.sums[thread_idx],
        works.active[thread_idx],
    )
    order = orders[thread_idx]
    n = len(order)
    n_active = find_active(models, thread_idx, n_threads, work.active)
    begin_descents(samples, models, common, varied, work, n_active)
    for epoch in range(objectives_out.shape[1]):
        if n_active == 0:
            return
        order_rows(samples.held_out, seed, order, order)
        work.sums[:] = 0.0
        for first in range(0, n, BLOCK_SIZE):
            n_block = BLOCK_SIZE if first + BLOCK_SIZE <= n else n - first
            if stop_requested(control):
                for a in range(n_active):
                    models.scalars[work.active[a], STATUS] = STATUS_STOPPED
                return
            open_block(models, work, common, varied, n_active, n_block)
            update_together(samples, order, first, n_block, models, work, common, varied, n_active)
            close_block(models, work, common, varied, n_active, n_block)
        for a in range(n_active):
            setting = work.active[a]
            penalty = varied[setting, 0] * work.sums[1, a] / n if common.penalty != PENALTY_NONE else 0.0
            objectives_out[setting, epoch] = close_epoch(
                model_of(models, setting), options_of(common, varied, setting), work.sums[0, a] / n, penalty
            )
        n_active = find_active(models, thread_idx, n_threads, work.active)
