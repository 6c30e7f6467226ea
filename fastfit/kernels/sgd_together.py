"""Many settings of stochastic gradient descent, taken through the samples together.

The updates of one setting are a chain: each sample's dot product needs the weights that the sample before has left, and
a processor that could do four operations a cycle waits for most of the 140 that a sample takes. Settings that visit the
samples in the same order do not wait for each other. So a vector holds one number of as many settings as it has lanes:
what costs one setting a dot product, a loss and an addition costs eight of them hardly more. All settings of one vector
are called a pack.

Every setting is updated by the very operations of :mod:`fastfit.kernels.sgd` in their order, sums along the features
included : the bits are those of a descent by itself.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.loss import LOSS_LOGISTIC, loss_gradient, loss_value
from fastfit.kernels.sgd import BLOCK_SIZE, MIN_SCALE_64
from fastfit.kernels.sgd_pack import (
    add_pack,
    dot_pack,
    dot_pack_in_order,
    pack_gradients,
    pack_losses,
    sum_pack_magnitudes,
    truncate_pack,
)
from fastfit.kernels.sgd_schedule import (
    close_epoch,
    fill_steps,
    optimal_start,
    order_rows,
    rows_ahead,
    stable_step,
    step_size,
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
    STEP_COUNT,
    LinearModel,
    SGDOptions,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.memory import CACHE_LINE_BYTES
from fastfit.runtime.simd import (
    any_lane,
    broadcast,
    lanes,
    load,
    maximum,
    minimum,
    prefetch,
    select,
    store,
)
from fastfit.runtime.team import stop_requested

# Hyperparameters in which settings may differ, by column of a table; all others are the same for all.
VARIED = ("alpha", "l1_ratio", "loss_parameter", "eta0", "power_t", "tol", "n_iter_no_change")
# Rows of a table with a column for each place in a pack: hyperparameters, and what changes with every sample.
(
    ALPHA,
    L1_RATIO,
    LOSS_PARAMETER,
    IS_STABLE,  # whether rounding errors stay as they are
    NOW_INTERCEPT,
    NOW_SCALE,
    NOW_NORM,
    NOW_L1_NORM,
    NOW_CREDIT,
    BLOCK_LOSS,  # sums over the samples of the block
    BLOCK_PENALTY,
    EPOCH_LOSS,
    EPOCH_PENALTY,
    LANES_IN,  # what is computed lane by lane
    LANES_OUT,
    N_ROWS,
) = range(16)


class Models(NamedTuple):
    """What an epoch changes; one row for each setting."""

    coef: np.ndarray  # (n_settings, more than n_features) float64, zeros behind the weights
    l1_paid: (
        np.ndarray
    )  # (n_settings, as many or 0), L1 penalty that each weight has received; none without one
    scalars: np.ndarray  # (n_settings, N_SCALARS or more) float64
    averaged: np.ndarray  # (n_settings, 0): averages are not kept


class Packs(NamedTuple):
    """The settings that still descend, by their places; each pack has as many as a vector has lanes."""

    setting: np.ndarray  # (n_places,) int64
    coef: np.ndarray  # (n_packs * n_values * lanes,) float64: of each pack the weights of all features
    l1_paid: np.ndarray  # likewise, or (0,)
    table: np.ndarray  # (N_ROWS * n_places,) float64
    steps: np.ndarray  # (BLOCK_SIZE * n_places,) float64, of each sample those of all places
    some_steps: np.ndarray  # (BLOCK_SIZE,) float64, scratch


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
        varied[setting, 2],
        common.loss_curvature,
        common.penalty,
        varied[setting, 0],
        varied[setting, 1],
        common.learning_rate,
        varied[setting, 3],
        varied[setting, 4],
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
def logistic_lanes(y, parameter, n_places, at, table):
    """Write the logistic loss and its derivative for the predictions in the row LANES_IN, lane by lane."""
    for lane in range(at, at + lanes(np.float64)):
        prediction = table[LANES_IN * n_places + lane]
        table[LANES_OUT * n_places + lane] = loss_gradient(LOSS_LOGISTIC, parameter, y, prediction)
        table[LANES_IN * n_places + lane] = loss_value(LOSS_LOGISTIC, parameter, y, prediction)


@jit(inline=True, internal=True)
def note_loss(code, parameter, target, prediction, table, n_places, at):
    """Add the losses to those of the block; returns their derivatives."""
    if code == LOSS_LOGISTIC:
        store(table, LANES_IN * n_places + at, prediction)
        logistic_lanes(target, 0.0, n_places, at, table)
        loss, gradient = load(table, LANES_IN * n_places + at), load(table, LANES_OUT * n_places + at)
    else:
        loss = pack_losses(code, parameter, target, prediction)
        gradient = pack_gradients(code, parameter, target, prediction)
    store(table, BLOCK_LOSS * n_places + at, load(table, BLOCK_LOSS * n_places + at) + loss)
    return gradient


@jit(internal=True)
def fold_small_scales(packs, n_places, at, base, n_values):
    """Multiply scales of one pack that are too small into the weights."""
    width = lanes(np.float64)
    for lane in range(width):
        scale = packs.table[NOW_SCALE * n_places + at + lane]
        if scale < MIN_SCALE_64:
            for j in range(n_values):
                packs.coef[base + j * width + lane] *= scale
            packs.table[NOW_SCALE * n_places + at + lane] = 1.0


@jit(inline=True, internal=True)
def visit(samples, start, target, weight, common, packs, step, n_places, at, base, n_values):
    """Update the settings of one pack, the places from ``at`` on, for one sample."""
    table, n_features = packs.table, samples.n_features
    alpha, l1_ratio = load(table, ALPHA * n_places + at), load(table, L1_RATIO * n_places + at)
    parameter = load(table, LOSS_PARAMETER * n_places + at)
    is_stable = load(table, IS_STABLE * n_places + at) > 0.0
    intercept, scale = load(table, NOW_INTERCEPT * n_places + at), load(table, NOW_SCALE * n_places + at)
    squared_norm, l1_norm = load(table, NOW_NORM * n_places + at), load(table, NOW_L1_NORM * n_places + at)
    l2_ratio = -l1_ratio + 1.0
    product = dot_pack(samples.X, start, n_features, packs.coef, base)
    if any_lane(~is_stable):
        in_order = dot_pack_in_order(samples.X, start, n_features, packs.coef, base)
        product = select(is_stable, product, in_order)
    prediction = product * scale + intercept
    gradient = note_loss(common.loss, parameter, target, prediction, table, n_places, at)
    penalty = l2_ratio * 0.5 * squared_norm + l1_ratio * l1_norm
    store(table, BLOCK_PENALTY * n_places + at, load(table, BLOCK_PENALTY * n_places + at) + penalty)
    highest = broadcast(MAX_GRADIENT, np.float64)
    update = -step * minimum(maximum(gradient, -highest), highest) * weight
    if common.penalty >= PENALTY_L2:
        shrinkage = maximum(-(l2_ratio * step * alpha) + 1.0, broadcast(0.0, np.float64))
        scale = scale * shrinkage
        squared_norm, l1_norm = squared_norm * shrinkage * shrinkage, l1_norm * shrinkage
        store(table, NOW_SCALE * n_places + at, scale)
        if any_lane(scale < MIN_SCALE_64):
            fold_small_scales(packs, n_places, at, base, n_values)
            scale = load(table, NOW_SCALE * n_places + at)
    is_updated = update != 0.0
    if any_lane(is_updated):
        squares = add_pack(samples.X, start, n_features, update / scale, packs.coef, base)
        squared_norm = select(is_updated, squares * scale * scale, squared_norm)
        if len(packs.l1_paid) > 0:
            magnitudes = sum_pack_magnitudes(n_features, packs.coef, base) * scale
            l1_norm = select(is_updated, magnitudes, l1_norm)
    if common.fit_intercept:
        store(table, NOW_INTERCEPT * n_places + at, intercept + update)
    if len(packs.l1_paid) > 0:
        credit = load(table, NOW_CREDIT * n_places + at) + l1_ratio * step * alpha
        store(table, NOW_CREDIT * n_places + at, credit)
        truncate_pack(n_features, credit, scale, packs.coef, packs.l1_paid, base)
    store(table, NOW_NORM * n_places + at, squared_norm)
    store(table, NOW_L1_NORM * n_places + at, l1_norm)


@jit(internal=True)
def update_together(
    samples,
    order,  # (n_samples,) int32, rows in the order of the epoch
    first,  # position in order of the block's first row
    n_block,
    common,
    packs,
    n_active,
    n_values,
):
    """Visit the rows of one block in turn, each with all settings that still descend."""
    n_features, n_places, width = samples.n_features, len(packs.setting), lanes(np.float64)
    n_ahead, per_line = rows_ahead(n_features * 8), CACHE_LINE_BYTES // 8
    for k in range(n_block):
        row = np.intp(order[first + k])
        start = row * n_features
        target = samples.y[row]
        weight = common.weight_pos if target > 0.0 else common.weight_neg
        if len(samples.weight) > 0:
            weight *= samples.weight[row]
        for at in range(0, n_active, width):
            step = load(packs.steps, k * n_places + at)
            base = at * n_values
            visit(samples, start, target, weight, common, packs, step, n_places, at, base, n_values)
        # Once is enough: there is more to do for each row than in a descent by itself.
        if n_ahead > 0 and first + k + n_ahead < len(order):
            start = np.intp(order[first + k + n_ahead]) * n_features
            for j in range(0, n_features, per_line):
                prefetch(samples.X, start + j)
            prefetch(samples.X, start + n_features - 1)


@jit(internal=True)
def open_block(models, common, varied, packs, n_active, n_block):
    """Find the next steps of all settings, and begin their sums."""
    n_places, width, table = len(packs.setting), lanes(np.float64), packs.table
    is_optimal = common.learning_rate == RATE_OPTIMAL
    for at in range(n_active):
        setting = packs.setting[at]
        scalars = models.scalars[setting]
        options = options_of(common, varied, setting)
        first = scalars[STEP_COUNT]
        table[BLOCK_LOSS * n_places + at] = table[BLOCK_PENALTY * n_places + at] = 0.0
        if is_optimal:
            largest = maximum(
                step_size(options, scalars, first), step_size(options, scalars, first + n_block)
            )
            is_stable = largest <= scalars[STABLE_STEP]
            table[LANES_IN * n_places + at] = scalars[OPTIMAL_START]
        else:
            is_stable = fill_steps(options, scalars, n_block, packs.some_steps)
            for k in range(n_block):
                packs.steps[k * n_places + at] = packs.some_steps[k]
        table[IS_STABLE * n_places + at] = 1.0 if is_stable else 0.0
        scalars[STEP_COUNT] = first + n_block
    if is_optimal:
        # All have taken as many steps.
        first = models.scalars[packs.setting[0], STEP_COUNT] - n_block
        one = broadcast(1.0, np.float64)
        for at in range(0, n_active, width):
            alpha, start = load(table, ALPHA * n_places + at), load(table, LANES_IN * n_places + at)
            for k in range(n_block):
                store(packs.steps, k * n_places + at, one / (alpha * (start + (first + k) - 1.0)))


@jit(internal=True)
def close_block(packs, n_active):
    """Add what the block has summed up to the epoch's sums."""
    n_places = len(packs.setting)
    for at in range(n_active):
        packs.table[EPOCH_LOSS * n_places + at] += packs.table[BLOCK_LOSS * n_places + at]
        packs.table[EPOCH_PENALTY * n_places + at] += packs.table[BLOCK_PENALTY * n_places + at]


@jit(internal=True)
def pack(models, varied, share, n_shares, packs, n_values):
    """Give the settings of one member of a team that still descend their places; returns how many they are."""
    n_places, width = len(packs.setting), lanes(np.float64)
    packs.table[:] = 0.0
    packs.table[NOW_SCALE * n_places : NOW_NORM * n_places] = 1.0
    packs.table[IS_STABLE * n_places : NOW_INTERCEPT * n_places] = 1.0
    packs.coef[:] = 0.0
    packs.steps[:] = 0.0
    n_active = 0
    for setting in range(share, len(models.scalars), n_shares):
        scalars = models.scalars[setting]
        if scalars[STATUS] != STATUS_RUNNING:
            continue
        for row in range(3):
            packs.table[row * n_places + n_active] = varied[setting, row]
        packs.table[NOW_INTERCEPT * n_places + n_active] = scalars[INTERCEPT]
        packs.table[NOW_SCALE * n_places + n_active] = scalars[SCALE]
        packs.table[NOW_NORM * n_places + n_active] = scalars[SQUARED_NORM]
        packs.table[NOW_L1_NORM * n_places + n_active] = scalars[L1_NORM]
        packs.table[NOW_CREDIT * n_places + n_active] = scalars[L1_CREDIT]
        base = n_active // width * width * n_values + n_active % width
        for j in range(n_values):
            packs.coef[base + j * width] = models.coef[setting, j]
            if len(packs.l1_paid) > 0:
                packs.l1_paid[base + j * width] = models.l1_paid[setting, j]
        packs.setting[n_active] = setting
        n_active += 1
    return n_active


@jit(internal=True)
def unpack(models, packs, n_active, n_values):
    """Put what has changed back to the models."""
    n_places, width = len(packs.setting), lanes(np.float64)
    for at in range(n_active):
        setting = packs.setting[at]
        scalars = models.scalars[setting]
        scalars[INTERCEPT] = packs.table[NOW_INTERCEPT * n_places + at]
        scalars[SCALE] = packs.table[NOW_SCALE * n_places + at]
        scalars[SQUARED_NORM] = packs.table[NOW_NORM * n_places + at]
        scalars[L1_NORM] = packs.table[NOW_L1_NORM * n_places + at]
        scalars[L1_CREDIT] = packs.table[NOW_CREDIT * n_places + at]
        base = at // width * width * n_values + at % width
        for j in range(n_values):
            models.coef[setting, j] = packs.coef[base + j * width]
            if len(packs.l1_paid) > 0:
                models.l1_paid[setting, j] = packs.l1_paid[base + j * width]


@jit(internal=True)
def begin_descents(samples, models, common, varied, share, n_shares):
    """Find out what does not change from epoch to epoch."""
    known = 0.0
    for setting in range(share, len(models.scalars), n_shares):
        scalars = models.scalars[setting]
        options = options_of(common, varied, setting)
        if known == 0.0 and scalars[STABLE_STEP] == 0.0:
            # It depends on the samples and on the loss, not on what varies.
            known = stable_step(samples, options)
        if scalars[STABLE_STEP] == 0.0:
            scalars[STABLE_STEP] = known
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
    common,  # SGDOptions, but for what varies
    varied,  # (n_settings, len(VARIED)) float64
    packs_of_all,  # Packs with an axis for the members in front
    seed,  # of the shuffle; negative: the order is kept
    objectives_out,  # (n_settings, n_epochs) float64
):
    """Train all settings that are running, each to its convergence, for so many epochs at the most."""
    packs = Packs(
        packs_of_all.setting[thread_idx],
        packs_of_all.coef[thread_idx],
        packs_of_all.l1_paid[thread_idx],
        packs_of_all.table[thread_idx],
        packs_of_all.steps[thread_idx],
        packs_of_all.some_steps[thread_idx],
    )
    order, n_values, n_places = (
        orders[thread_idx],
        models.coef.shape[1],
        len(packs_of_all.setting[thread_idx]),
    )
    n = len(order)
    begin_descents(samples, models, common, varied, thread_idx, n_threads)
    for epoch in range(objectives_out.shape[1]):
        n_active = pack(models, varied, thread_idx, n_threads, packs, n_values)
        if n_active == 0:
            return
        order_rows(samples.held_out, seed, order, order)
        for first in range(0, n, BLOCK_SIZE):
            if stop_requested(control):
                return
            n_block = BLOCK_SIZE if first + BLOCK_SIZE <= n else n - first
            open_block(models, common, varied, packs, n_active, n_block)
            update_together(samples, order, first, n_block, common, packs, n_active, n_values)
            close_block(packs, n_active)
        unpack(models, packs, n_active, n_values)
        for at in range(n_active):
            setting = packs.setting[at]
            penalty = varied[setting, 0] * packs.table[EPOCH_PENALTY * n_places + at] / n
            objectives_out[setting, epoch] = close_epoch(
                model_of(models, setting),
                options_of(common, varied, setting),
                packs.table[EPOCH_LOSS * n_places + at] / n,
                penalty if common.penalty != PENALTY_NONE else 0.0,
            )
