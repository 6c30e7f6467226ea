"""One epoch of training a network, by a team: each batch costs it two meetings.

First every member takes some of the batch's rows through the network and back. Once all errors are known, every member
sums the gradients of some of the parameters over the batch and moves these parameters at once, while they are in its
cache. Sums run over the rows in their order whoever does them, so the result does not depend on the number of threads.
"""

import functools

import numpy as np

from fastfit.kernels.gemm import Matrices, gemm_at
from fastfit.kernels.network_pass import make_pass
from fastfit.kernels.network_plan import (
    BLOCK_ROWS,
    GROUP_ROWS,
    SOLVER_ADAM,
    SOLVER_NONE,
    layer_at,
)
from fastfit.kernels.optimizer_step import Step, penalize, update_range
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import address_of, broadcast, element, load, store
from fastfit.runtime.team import barrier


@jit(internal=True)
def _sum_rows(layer, n_rows, adds, errors, gradients):
    """Intercepts' gradients: the sums of the errors over the batch."""
    target = layer.parameters_at + layer.fan_in * layer.out_stride
    dtype = errors.dtype
    for j in range(0, layer.out_stride, lanes(dtype)):
        total = load(gradients, target + j) if adds else broadcast(0.0, dtype)
        for at in range(layer.error_at + j, layer.error_at + j + n_rows * layer.out_stride, layer.out_stride):
            total = total + load(errors, at)
        store(gradients, target + j, total)


@jit(internal=True)
def _sum_gradients(layer, first_row, n_unit_rows, batch_rows, adds, parameters, workspace):
    """Gradients of some rows of weights: their inputs' activations, transposed, times the errors."""
    gradients = parameters.gradients
    at = Matrices(
        address_of(workspace.activations, layer.input_at + first_row),
        1,
        layer.in_stride,
        address_of(workspace.errors, layer.error_at),
        layer.out_stride,
        address_of(gradients, layer.parameters_at + first_row * layer.out_stride),
        layer.out_stride,
        gradients.itemsize,
    )
    gemm_at(parameters.values[0], at, n_unit_rows, layer.out_stride, batch_rows, adds)


@jit(internal=True)
def transpose_rows(layer, first_row, n_rows, parameters):
    """Bring the transposed weights of a layer up to date with some of its rows."""
    values, transposed = parameters.values, parameters.transposed
    for j in range(layer.fan_out):
        target = layer.transposed_at + j * layer.in_stride + first_row
        source = layer.parameters_at + first_row * layer.out_stride + j
        for i in range(n_rows):
            transposed[target + i] = element(values, source + i * layer.out_stride)


@jit(internal=True)
def _update_unit(unit, batch_rows, adds, phase, step, parameters, workspace, plan, settings):
    """Sum the gradients of one unit, move its parameters, or, where the norm of all gradients limits the step, either."""
    units = plan.units
    number, first_row, n_unit_rows = (
        element(units, 3 * unit),
        element(units, 3 * unit + 1),
        element(units, 3 * unit + 2),
    )
    layer = layer_at(plan.layers, number)
    is_weight = first_row < layer.fan_in
    if phase == 0:
        if is_weight:
            _sum_gradients(layer, first_row, n_unit_rows, batch_rows, adds, parameters, workspace)
        else:
            _sum_rows(layer, batch_rows, adds, workspace.errors, parameters.gradients)
    if settings.solver == SOLVER_NONE:
        return
    first = layer.parameters_at + first_row * layer.out_stride
    last = first + n_unit_rows * layer.out_stride
    sums = workspace.unit_sums
    if phase == 0 and settings.clip_norm > 0.0:
        alpha = settings.alpha if is_weight else 0.0
        squares, gradient_squares = penalize(first, last, alpha, step.inverse_weight, parameters)
        sums[0, unit], sums[1, unit] = squares if is_weight else 0.0, gradient_squares
        return
    squares = update_range(first, last, is_weight, step, parameters, settings)
    if phase == 0:
        sums[0, unit] = squares
    if is_weight and number > 0:
        transpose_rows(layer, first_row, n_unit_rows, parameters)


@jit(internal=True)
def _weight_of_batch(batch_first, batch_rows, samples):
    """The sum of the weights of a batch."""
    if len(samples.sample_weight) == 0:
        return float(batch_rows)
    total = 0.0
    for i in range(batch_first, batch_first + batch_rows):
        total += element(samples.sample_weight, element(samples.order, i))
    return total


@jit(internal=True)
def _step_of(batch, weight, samples, settings):
    """The scalars of the update after a batch."""
    rate = samples.rates[batch if len(samples.rates) > 1 else 0]
    size = rate
    if settings.solver == SOLVER_ADAM:
        t = float(settings.n_updates + batch + 1)
        size = rate * np.sqrt(1.0 - settings.beta_2**t) / (1.0 - settings.beta_1**t)
    return Step(rate, size, 1.0 / weight, 1.0, 1)


@jit(internal=True)
def _add_up(values, n):
    """Sum values in their order."""
    total = 0.0
    for i in range(n):
        total += element(values, i)
    return total


@jit(internal=True)
def _clipped(step, settings, squares, n_units):
    """The step with its gradients scaled down to the greatest norm."""
    norm = np.sqrt(_add_up(squares, n_units))
    shrink = settings.clip_norm / norm if norm > settings.clip_norm else 1.0
    return Step(step.rate, step.size, step.inverse_weight, shrink, 0)


@functools.cache
def make_epoch(activation, output, loss):
    """Make the kernel that trains a network with these functions for one epoch."""
    pass_block = make_pass(activation, output, loss)

    @jit(internal=True)
    def pass_rows(
        thread_idx, n_threads, batch, batch_first, batch_rows, samples, parameters, workspace, plan, settings
    ):
        """Take this member's rows of a batch through the network, a block at a time."""
        outputs = workspace.outputs
        scratch = (outputs[3 * thread_idx], outputs[3 * thread_idx + 1], outputs[3 * thread_idx + 2])
        n_groups = (batch_rows + GROUP_ROWS - 1) // GROUP_ROWS
        first = n_groups * thread_idx // n_threads * GROUP_ROWS
        last = n_groups * (thread_idx + 1) // n_threads * GROUP_ROWS
        if last > batch_rows:
            last = batch_rows
        update = settings.n_updates + batch
        while first < last:
            n_rows = BLOCK_ROWS if last - first >= BLOCK_ROWS else last - first
            block = (first, n_rows, batch_first)
            pass_block(block, batch_rows, update, samples, parameters, workspace, plan, settings, scratch)
            first += n_rows

    @jit
    def train_epoch(control, thread_idx, n_threads, samples, parameters, workspace, plan, settings):
        t, n = thread_idx, len(samples.order)
        units = range(plan.unit_starts[t], plan.unit_starts[t + 1])
        total = 0.0
        n_units = workspace.unit_sums.shape[1]
        clips = settings.clip_norm > 0.0 and settings.solver != SOLVER_NONE
        batch = 0
        for batch_first in range(0, n, plan.batch_size):
            batch_rows = plan.batch_size if batch_first + plan.batch_size <= n else n - batch_first
            pass_rows(
                t, n_threads, batch, batch_first, batch_rows, samples, parameters, workspace, plan, settings
            )
            weight = _weight_of_batch(batch_first, batch_rows, samples)
            step = _step_of(batch, weight, samples, settings)
            if not barrier(control, n_threads):
                return
            loss = _add_up(workspace.row_losses, batch_rows) if t == 0 else 0.0
            adds = batch if settings.solver == SOLVER_NONE else 0
            for unit in units:
                _update_unit(unit, batch_rows, adds, 0, step, parameters, workspace, plan, settings)
            if not barrier(control, n_threads):
                return
            if clips:
                step = _clipped(step, settings, workspace.unit_sums[1], n_units)
                for unit in units:
                    _update_unit(unit, batch_rows, 0, 1, step, parameters, workspace, plan, settings)
            if t == 0 and settings.solver == SOLVER_NONE:
                total += loss
            elif t == 0:
                penalty = 0.5 * settings.alpha * _add_up(workspace.unit_sums[0], n_units)
                total += (loss + penalty) / weight * batch_rows
            if clips and not barrier(control, n_threads):
                return
            batch += 1
        if t == 0:
            workspace.totals[0] = total

    return train_epoch
