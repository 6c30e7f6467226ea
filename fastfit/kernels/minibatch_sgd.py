"""Mini-batch stochastic gradient descent for a linear model: averaged gradients, momentum, Nesterov, Adam.

For a batch of m rows the gradient is g = (1/m) sum_i weight_i dloss(p_i, y_i) x_i. Without momentum the update is
scikit-learn's update of one sample with the averaged gradient in place of the sample's, so that a batch of one row is
that update itself. With momentum or Adam (Kingma and Ba, ICLR 2015) the L2 term belongs to the gradient, as in
scikit-learn's multi-layer perceptron; the L1 term is the cumulative truncation of ``kernels.sgd`` in every case.

A batch is cut into chunks of CHUNK_ROWS rows. Each chunk has its own partial gradient and these are added in the order
of the chunks, so the result has the same bits for any number of threads. An epoch costs O(n_samples * n_features); its
limit is the memory's rate at gathering shuffled rows.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.loss import loss_gradient, loss_value
from fastfit.kernels.row import add_four_rows, dot_row, sum_magnitudes, sum_row_squares
from fastfit.kernels.row_in_order import truncate_l1
from fastfit.kernels.sgd_schedule import (
    close_epoch,
    optimal_start,
    order_rows,
    request_row,
    rows_ahead,
    step_size,
)
from fastfit.kernels.sgd_state import (
    AVERAGE_INTERCEPT,
    INTERCEPT,
    L1_CREDIT,
    MAX_GRADIENT,
    OPTIMAL_START,
    OPTIMIZER_ADAM,
    PENALTY_L2,
    PENALTY_NONE,
    RATE_OPTIMAL,
    STATUS,
    STATUS_RUNNING,
    STATUS_STOPPED,
    STEP_COUNT,
    LinearModel,
)
from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.simd import maximum, minimum
from fastfit.runtime.team import barrier

CHUNK_ROWS = 32


class BatchBuffers(NamedTuple):
    """Scratch of a team. Rows of arrays that members write begin cache lines of their own."""

    # (2 * n_chunks, n_features or more) of X's dtype. Batches take turns with the two halves, so that the sums of one
    # are still there while faster members work on the next.
    partial_gradients: np.ndarray
    chunk_sums: np.ndarray  # (2 * n_chunks, 2) float64, sums of the intercept's gradients and of the losses
    # (n_threads, n_features + 1 or more) of X's dtype, the intercept's behind the weights'.
    batch_gradients: np.ndarray
    starts: np.ndarray  # (n_threads, 8) int64, positions in X of the four rows that each member works on
    gradients: np.ndarray  # (n_threads, 8) float64, derivatives of their losses


class OptimizerMemory(NamedTuple):
    """What an optimizer remembers between updates; the last value belongs to the intercept."""

    velocity: np.ndarray  # (n_features + 1,) of X's dtype, momentum or Adam's first moment
    second_moment: np.ndarray  # (n_features + 1,) of X's dtype; (0,) but for Adam


class Step(NamedTuple):
    """One update of the weights."""

    number: float  # from 1
    first_row: int  # position in the order of the epoch
    n_rows: int
    first_chunk: int  # where its sums stand in the buffers
    rate: float  # of the schedule
    size: float  # the rate; for Adam with the correction for moments that start at zero
    l1_credit: float  # the L1 penalty that every weight should have received by its end


@jit(internal=True)
def add_chunk(thread_idx, n_threads, chunk, samples, order, step, model, options, buffers):
    """Sum the gradients of one chunk of a batch into the buffers, four rows at a time.

    Meanwhile the rows that this member comes to next are asked for: all along, so that requests and arithmetic overlap.
    """
    first = step.first_row + chunk * CHUNK_ROWS
    last = step.first_row + step.n_rows
    if first + CHUNK_ROWS < last:
        last = first + CHUNK_ROWS
    is_short = rows_ahead(samples.n_features * samples.X.itemsize) >= CHUNK_ROWS
    ahead_first = last + CHUNK_ROWS * (n_threads - 1) if is_short else len(order)
    gradient_out = buffers.partial_gradients[step.first_chunk + chunk]
    starts, gradients = buffers.starts[thread_idx], buffers.gradients[thread_idx]
    n_features = samples.n_features
    intercept = model.scalars[INTERCEPT]
    sum_gradient, sum_loss, n_waiting = 0.0, 0.0, 0
    for j in range(len(gradient_out)):
        gradient_out[j] = 0.0
    for k in range(last - first):
        row = np.intp(order[first + k])
        target = np.float64(samples.y[row])
        start = row * n_features
        prediction = dot_row(samples.X, start, n_features, model.coef) + intercept
        sum_loss += loss_value(options.loss, options.loss_parameter, target, prediction)
        gradient = loss_gradient(options.loss, options.loss_parameter, target, prediction)
        gradient = minimum(maximum(gradient, -MAX_GRADIENT), MAX_GRADIENT)
        gradient *= options.weight_pos if target > 0.0 else options.weight_neg
        if len(samples.weight) > 0:
            gradient *= samples.weight[row]
        sum_gradient += gradient
        if gradient != 0.0:
            starts[n_waiting], gradients[n_waiting] = start, gradient
            n_waiting += 1
        if n_waiting == 4:
            add_four_rows(samples.X, starts, gradients, n_features, gradient_out)
            n_waiting = 0
        # The rows that this member comes to 32, 16 and 8 rows later: in this chunk, or in its next one.
        for distance in (CHUNK_ROWS, CHUNK_ROWS // 2, CHUNK_ROWS // 4):
            later = first + k + distance
            request_row(samples, order, later if later < last else ahead_first + later - last)
    if n_waiting > 0:
        for unused in range(n_waiting, 4):
            starts[unused], gradients[unused] = starts[0], 0.0
        add_four_rows(samples.X, starts, gradients, n_features, gradient_out)
    buffers.chunk_sums[step.first_chunk + chunk, 0] = sum_gradient
    buffers.chunk_sums[step.first_chunk + chunk, 1] = sum_loss


@jit(inline=True, internal=True)
def count_chunks(n_rows):
    """Number of chunks of a batch."""
    return (n_rows + CHUNK_ROWS - 1) // CHUNK_ROWS


@jit(internal=True, fastmath=REASSOCIATE)
def average_chunks(n_features, step, buffers, gradient_out):
    """The gradient of the batch: its chunks' sums, added in their order. Returns the sum of the losses."""
    for j in range(n_features):
        gradient_out[j] = 0.0
    sum_gradient, sum_loss = 0.0, 0.0
    for chunk in range(step.first_chunk, step.first_chunk + count_chunks(step.n_rows)):
        partial = buffers.partial_gradients[chunk]
        for j in range(n_features):
            gradient_out[j] += partial[j]
        sum_gradient += buffers.chunk_sums[chunk, 0]
        sum_loss += buffers.chunk_sums[chunk, 1]
    share = 1.0 / step.n_rows
    gradient_out[n_features] = sum_gradient
    for j in range(n_features + 1):
        gradient_out[j] *= share
    return sum_loss


@jit(internal=True, fastmath=REASSOCIATE)
def move(n, step, parameters, gradients, memory, options):
    """Move n parameters along their gradients by a step of the optimizer."""
    velocity, second_moment = memory.velocity, memory.second_moment
    if options.optimizer == OPTIMIZER_ADAM:
        for j in range(n):
            velocity[j] += (1.0 - options.beta_1) * (gradients[j] - velocity[j])
            second_moment[j] += (1.0 - options.beta_2) * (gradients[j] * gradients[j] - second_moment[j])
            parameters[j] -= step.size * velocity[j] / (np.sqrt(second_moment[j]) + options.adam_epsilon)
    elif options.momentum == 0.0:
        for j in range(n):
            parameters[j] -= step.size * gradients[j]
    else:
        ahead = options.momentum if options.nesterov else 1.0
        behind = step.size if options.nesterov else 0.0
        for j in range(n):
            velocity[j] = options.momentum * velocity[j] - step.size * gradients[j]
            parameters[j] += ahead * velocity[j] - behind * gradients[j]


@jit(internal=True, fastmath=REASSOCIATE)
def update_model(n_features, step, gradients, model, memory, options):
    """Move the weights, and the intercept behind them, along the gradient of the batch."""
    coef, scalars = model.coef, model.scalars
    l2 = (1.0 - options.l1_ratio) * options.alpha if options.penalty >= PENALTY_L2 else 0.0
    decay = 1.0
    if options.optimizer != OPTIMIZER_ADAM and options.momentum == 0.0:
        decay, l2 = maximum(1.0 - l2 * step.rate, 0.0), 0.0
    for j in range(n_features):
        gradients[j] += l2 * coef[j]
        coef[j] *= decay
    move(n_features + options.fit_intercept, step, coef, gradients, memory, options)
    scalars[INTERCEPT] = coef[n_features]
    if len(model.l1_paid) > 0:
        truncate_l1(0, n_features, step.l1_credit, 1.0, coef, model.l1_paid)
    if 0 < options.average <= step.number:
        share = 1.0 / (step.number - options.average + 1.0)
        for j in range(n_features):
            model.averaged[j] += (coef[j] - model.averaged[j]) * share
        scalars[AVERAGE_INTERCEPT] += (scalars[INTERCEPT] - scalars[AVERAGE_INTERCEPT]) * share


@jit(internal=True)
def penalty_value(n_features, coef, options):
    """What the penalty adds to the mean loss."""
    if options.penalty == PENALTY_NONE:
        return 0.0
    penalty = 0.5 * (1.0 - options.l1_ratio) * sum_row_squares(coef, 0, n_features)
    if options.l1_ratio > 0.0:
        penalty += options.l1_ratio * sum_magnitudes(coef, n_features)
    return options.alpha * penalty


@jit(internal=True)
def next_step(first_row, n_rows, first_chunk, options, scalars):
    """The update that comes next: its rate under the schedule, and what the optimizer makes of it."""
    number = scalars[STEP_COUNT]
    rate = step_size(options, scalars, number)
    size = rate
    if options.optimizer == OPTIMIZER_ADAM:
        size *= np.sqrt(1.0 - options.beta_2**number) / (1.0 - options.beta_1**number)
    scalars[STEP_COUNT] += 1.0
    scalars[L1_CREDIT] += options.l1_ratio * rate * options.alpha
    return Step(number, first_row, n_rows, first_chunk, rate, size, scalars[L1_CREDIT])


@jit(internal=True)
def train_epoch(control, thread_idx, n_threads, samples, order, model, buffers, memory, options):
    """One pass over the rows in ``order``; returns the sums of losses and penalties, a loss of -1 if told to stop."""
    n, n_features = len(order), samples.n_features
    gradients = buffers.batch_gradients[thread_idx]
    first_chunk, other_half = 0, len(buffers.chunk_sums) // 2
    sum_loss, sum_penalty = 0.0, 0.0
    for first in range(0, n, options.batch_size):
        n_rows = options.batch_size if first + options.batch_size <= n else n - first
        step = next_step(first, n_rows, first_chunk, options, model.scalars)
        sum_penalty += n_rows * penalty_value(n_features, model.coef, options)
        for chunk in range(thread_idx, count_chunks(n_rows), n_threads):
            add_chunk(thread_idx, n_threads, chunk, samples, order, step, model, options, buffers)
        if not barrier(control, n_threads):
            return -1.0, 0.0
        sum_loss += average_chunks(n_features, step, buffers, gradients)
        update_model(n_features, step, gradients, model, memory, options)
        first_chunk, other_half = other_half, first_chunk
    return sum_loss, sum_penalty


@jit(internal=True)
def take_over(
    first,  # (n,) the first member's values
    own,  # (n,) those of another member, written
):
    """Start from what the first member has."""
    for j in range(len(first)):
        own[j] = first[j]


@jit
def train_epochs_in_batches(
    control,
    thread_idx,
    n_threads,
    samples,
    order,  # (n_samples,) int32, shuffled further at every epoch
    training_order,  # (n_training,) int32 buffer where rows are held out; else the same array as order
    models,  # LinearModel of 2-D arrays, a row for each member
    buffers,
    memories,  # OptimizerMemory of 2-D arrays, a row for each member
    options,
    seed,  # of the shuffle; negative: the order is kept
    objectives_out,  # (n_epochs,) float64
):
    """Train for up to ``len(objectives_out)`` epochs, until convergence, overflow or a request to stop.

    Every member has a model of its own and makes every update: the models stay equal to the bit, and a team has to
    meet but once a batch. The first member's is the result.
    """
    t = thread_idx
    model = LinearModel(models.coef[t], models.l1_paid[t], models.averaged[t], models.scalars[t])
    memory = OptimizerMemory(memories.velocity[t], memories.second_moment[t])
    if t > 0:
        take_over(models.coef[0], model.coef)
        take_over(models.l1_paid[0], model.l1_paid)
        take_over(models.averaged[0], model.averaged)
        take_over(models.scalars[0], model.scalars)
        take_over(memories.velocity[0], memory.velocity)
        take_over(memories.second_moment[0], memory.second_moment)
    model.coef[samples.n_features] = model.scalars[INTERCEPT]
    is_running = barrier(control, n_threads)
    if options.learning_rate == RATE_OPTIMAL:
        model.scalars[OPTIMAL_START] = optimal_start(options)
    for epoch in range(len(objectives_out)):
        if t == 0:
            order_rows(samples.held_out, seed, order, training_order)
        is_running = is_running and barrier(control, n_threads)
        sum_loss, sum_penalty = -1.0, 0.0
        if is_running:
            sum_loss, sum_penalty = train_epoch(
                control, t, n_threads, samples, training_order, model, buffers, memory, options
            )
        if sum_loss == -1.0:
            model.scalars[STATUS] = STATUS_STOPPED
            return
        n = len(training_order)
        objective = close_epoch(model, options, sum_loss / n, sum_penalty / n)
        if t == 0:
            objectives_out[epoch] = objective
        if model.scalars[STATUS] != STATUS_RUNNING:
            return
