"""One epoch of training a network, by a team: each batch costs it two meetings.

First every member takes some of the batch's rows through the network and back. Once all errors are known, every member
sums the gradients of some of the parameters over the batch and moves these parameters at once, while they are in its
cache. Sums run over the rows in their order whoever does them, so the result does not depend on the number of threads.
"""

import numpy as np

from fastfit.kernels.gemm import Matrices
from fastfit.kernels.network_pass import call_multiply
from fastfit.kernels.network_plan import (
    BLOCK_ROWS,
    GROUP_ROWS,
    SOLVER_ADAM,
    SOLVER_NONE,
    layer_of,
    parameters_of,
    parts_of,
    samples_of,
    settings_of,
    sizes_of,
    units_of,
    workspace_of,
)
from fastfit.kernels.optimizer_step import MOVES, Step, penalize
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.simd import address_of, broadcast, element, load, store
from fastfit.runtime.team import barrier

_call_move = make_far_call(MOVES[SOLVER_ADAM])
_call_pass_block = make_far_call()
_call_update_units = make_far_call()


@jit(inline=True, internal=True)
def _sum_rows(layer, n_rows, adds, errors, gradients):
    """Intercepts' gradients: the sums of the errors over the batch."""
    target = layer.parameters_at + layer.fan_in * layer.out_stride
    dtype = errors.dtype
    for j in range(0, layer.out_stride, lanes(dtype)):
        total = load(gradients, target + j) if adds else broadcast(0.0, dtype)
        for at in range(layer.error_at + j, layer.error_at + j + n_rows * layer.out_stride, layer.out_stride):
            total = total + load(errors, at)
        store(gradients, target + j, total)


@jit(inline=True, internal=True)
def _gradient_operands(layer, first_row, parameters, workspace):
    """Gradients of some rows of weights are their inputs' activations, transposed, times the errors."""
    return Matrices(
        address_of(workspace.activations, layer.input_at + first_row),
        1,
        layer.in_stride,
        address_of(workspace.errors, layer.error_at),
        layer.out_stride,
        address_of(parameters.gradients, layer.parameters_at + first_row * layer.out_stride),
        layer.out_stride,
        parameters.gradients.itemsize,
    )


@jit(inline=True, internal=True)
def _transpose_rows(layer, first_row, n_rows, parameters):
    """Bring the transposed weights of a layer up to date with some of its rows."""
    values, transposed = parameters.values, parameters.transposed
    for j in range(layer.fan_out):
        target = layer.transposed_at + j * layer.in_stride + first_row
        source = layer.parameters_at + first_row * layer.out_stride + j
        for i in range(n_rows):
            transposed[target + i] = element(values, source + i * layer.out_stride)


@jit(internal=True)
def update_units(table, like, thread_idx, batch_rows, adds, phase, step):
    """Sum the gradients of this member's units and move their parameters.

    Where the norm of all gradients limits the step, phase 0 does the one and phase 1 the other.
    """
    parameters, workspace, settings = (
        parameters_of(table, like),
        workspace_of(table, like),
        settings_of(table),
    )
    (units, starts), parts, n_units = units_of(table), parts_of(table), sizes_of(table).n_units
    sums = workspace.unit_sums
    for unit in range(element(starts, thread_idx), element(starts, thread_idx + 1)):
        first_row, n_unit_rows = element(units, 3 * unit + 1), element(units, 3 * unit + 2)
        layer = layer_of(table, element(units, 3 * unit))
        is_weight = 1 if first_row < layer.fan_in else 0
        if phase == 0 and is_weight:
            at = _gradient_operands(layer, first_row, parameters, workspace)
            call_multiply(parts.multiply, (like, at, n_unit_rows, layer.out_stride, batch_rows, adds))
        elif phase == 0:
            _sum_rows(layer, batch_rows, adds, workspace.errors, parameters.gradients)
        if settings.solver == SOLVER_NONE:
            continue
        first = layer.parameters_at + first_row * layer.out_stride
        last = first + n_unit_rows * layer.out_stride
        if phase == 0 and settings.clip_norm > 0.0:
            squares, gradient_squares = penalize(first, last, is_weight, step, table, like)
            sums[n_units + unit] = gradient_squares
        else:
            squares = _call_move(parts.move, (first, last, is_weight, step, table, like))
            if is_weight and layer.input_error_at >= 0:
                _transpose_rows(layer, first_row, n_unit_rows, parameters)
        if phase == 0:
            sums[unit] = squares if is_weight else 0.0


@jit(inline=True, internal=True)
def _weight_of_batch(batch_first, batch_rows, samples):
    """The sum of the weights of a batch."""
    if len(samples.sample_weight) == 0:
        return float(batch_rows)
    total = 0.0
    for i in range(batch_first, batch_first + batch_rows):
        total += element(samples.sample_weight, element(samples.order, i))
    return total


@jit(inline=True, internal=True)
def _step_of(batch, weight, samples, settings):
    """The scalars of the update after a batch."""
    rate = element(samples.rates, batch if len(samples.rates) > 1 else 0)
    size = rate
    if settings.solver == SOLVER_ADAM:
        t = float(settings.n_updates + batch + 1)
        size = rate * np.sqrt(1.0 - settings.beta_2**t) / (1.0 - settings.beta_1**t)
    return Step(rate, size, 1.0 / weight, 1.0, 0)


@jit(inline=True, internal=True)
def _add_up(values, first, n):
    """Sum n values in their order."""
    total = 0.0
    for i in range(first, first + n):
        total += element(values, i)
    return total


@jit(inline=True, internal=True)
def _clipped(step, settings, squares):
    """The step with its gradients scaled down to the greatest norm."""
    norm = np.sqrt(squares)
    shrink = settings.clip_norm / norm if norm > settings.clip_norm else 1.0
    return Step(step.rate, step.size, step.inverse_weight, shrink, 1)


@jit(inline=True, internal=True)
def _share_of(thread_idx, n_threads, batch_rows):
    """The rows of a batch that a member takes: whole groups, but at the end."""
    n_groups = (batch_rows + GROUP_ROWS - 1) // GROUP_ROWS
    first = n_groups * thread_idx // n_threads * GROUP_ROWS
    last = n_groups * (thread_idx + 1) // n_threads * GROUP_ROWS
    return first, last if last < batch_rows else batch_rows


@jit
def train_epoch(control, thread_idx, n_threads, table, like):
    """Train for one epoch; the sum of the batches' losses, each times its rows, is in the table's totals.

    `table` is that of a `Table`, and `like` any scalar of the network's dtype.
    """
    settings, sizes, parts = settings_of(table), sizes_of(table), parts_of(table)
    samples, workspace = samples_of(table, like), workspace_of(table, like)
    n, n_units, is_stepping = len(samples.order), sizes.n_units, settings.solver != SOLVER_NONE
    clips = settings.clip_norm > 0.0 and is_stepping
    total = 0.0
    for batch in range((n + sizes.batch_size - 1) // sizes.batch_size):
        batch_first = batch * sizes.batch_size
        batch_rows = sizes.batch_size if batch_first + sizes.batch_size <= n else n - batch_first
        own_first, last = _share_of(thread_idx, n_threads, batch_rows)
        first = own_first
        while first < last:
            n_rows = BLOCK_ROWS if last - first >= BLOCK_ROWS else last - first
            update = settings.n_updates + batch
            ahead = batch_first + (first + n_rows if first + n_rows < last else batch_rows + own_first)
            _call_pass_block(
                parts.pass_block, (table, like, first, n_rows, batch_first, ahead, update, thread_idx)
            )
            first += n_rows
        weight = _weight_of_batch(batch_first, batch_rows, samples)
        step = _step_of(batch, weight, samples, settings)
        if not barrier(control, n_threads):
            return
        loss = _add_up(workspace.row_losses, 0, batch_rows) if thread_idx == 0 else 0.0
        adds = 0 if is_stepping else batch
        for phase in range(2 if clips else 1):
            if phase == 1:
                step = _clipped(step, settings, _add_up(workspace.unit_sums, n_units, n_units))
            _call_update_units(parts.update_units, (table, like, thread_idx, batch_rows, adds, phase, step))
            if not barrier(control, n_threads):
                return
        if thread_idx == 0 and is_stepping:
            loss += 0.5 * settings.alpha * _add_up(workspace.unit_sums, 0, n_units)
            loss = loss / weight * batch_rows
        total += loss
    if thread_idx == 0:
        workspace.totals[0] = total
