"""One epoch of training a network, by a team: each batch costs it two meetings.

Every member first computes the outputs of some neurons of the first hidden layer, for all rows of the batch. When they
have met, it takes some of the rows on through the network and back, and fetches some of the next batch for all. When
they have met again, all errors are known but those of the first hidden layer: every member computes those of its own
neurons, sums the gradients of its parameters over the batch and moves these parameters at once, while they are in its
cache.

The weights of the first layer, which are most of a small network, so are never seen by two members, nor are those of
the second when it is the last, but for the pass forward. Each sum runs over the rows, or over a layer's neurons, in
their order whoever does it, so the result does not depend on the number of threads.
"""

import numpy as np

from fastfit.kernels.gemm import Matrices
from fastfit.kernels.network_pass import call_gather, call_multiply, columns_at, half_vectors, return_columns
from fastfit.kernels.network_plan import (
    BLOCK_ROWS,
    GROUP_ROWS,
    SOLVER_ADAM,
    SOLVER_NONE,
    input_at,
    layer_of,
    parameters_of,
    parts_of,
    samples_of,
    settings_of,
    share_of,
    sizes_of,
    unit_of,
    whole_groups,
    workspace_of,
)
from fastfit.kernels.optimizer_step import Block, Step
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.simd import address_of, broadcast, element, load, store
from fastfit.runtime.team import barrier

_call_move = make_far_call()
_call_penalize = make_far_call()
_call_enter = make_far_call()
_call_pass_block = make_far_call()
_call_update_units = make_far_call()
_call_square_gradients = make_far_call()


@jit(inline=True, internal=True)
def _sum_rows(source, stride, n_rows, n_columns, adds, errors, target, gradients):
    """Intercepts' gradients: the sums of the errors over the batch, the odd rows apart so that no add waits long."""
    dtype = errors.dtype
    for j in range(0, n_columns, lanes(dtype)):
        even, odd = broadcast(0.0, dtype), broadcast(0.0, dtype)
        for i in range(0, n_rows - 1, 2):
            even = even + load(errors, source + i * stride + j)
            odd = odd + load(errors, source + (i + 1) * stride + j)
        if n_rows % 2 == 1:
            even = even + load(errors, source + (n_rows - 1) * stride + j)
        total = even + odd
        if adds:
            total = total + load(gradients, target + j)
        store(gradients, target + j, total)


@jit(internal=True)
def _sum_gradients(table, like, unit, block, thread_idx, batch, batch_rows):
    """Gradients of a unit: of weights their inputs' activations, transposed, times the errors."""
    workspace, gradients = workspace_of(table, like), parameters_of(table, like).gradients
    layer = layer_of(table, unit.layer)
    size = gradients.itemsize
    adds = batch if settings_of(table).solver == SOLVER_NONE else 0
    if unit.layer == 0 and sizes_of(table).n_layers > 1:
        errors_at, errors_stride = columns_at(table, layer, unit.first_column, unit.n_columns, size)
    else:
        errors_at, errors_stride = layer.output_at + unit.first_column, layer.out_stride
    if not block.is_weight:
        n, source = unit.n_columns, workspace.errors
        _sum_rows(errors_at, errors_stride, batch_rows, n, adds, source, block.gradients_at, gradients)
        return
    stride = layer.in_stride
    if unit.layer > 1:
        source = address_of(workspace.activations, layer.input_at + unit.first_row)
    elif unit.layer == 1:
        _, _, low, high = share_of(table, thread_idx)
        begin, stride = columns_at(table, layer_of(table, 0), low, high - low, size)
        source = address_of(workspace.activations, begin + unit.first_row - low)
    else:
        source = input_at(table, like, batch, np.int64(0)) + unit.first_row * size
    at = Matrices(
        source,
        1,
        stride,
        address_of(workspace.errors, errors_at),
        errors_stride,
        address_of(gradients, block.gradients_at),
        block.stride,
        size,
    )
    n_columns = half_vectors(unit.n_columns, size)
    call_multiply(parts_of(table).multiply, (like, at, unit.n_rows, n_columns, batch_rows, adds))


@jit(inline=True, internal=True)
def _transpose_rows(layer, first_row, n_rows, parameters):
    """Bring the transposed weights of a layer up to date with some of its rows."""
    values, transposed = parameters.values, parameters.transposed
    for j in range(layer.fan_out):
        target = np.uintp(
            layer.transposed_at + j * layer.in_stride + first_row
        )  # not to be tested for its sign
        source = layer.parameters_at + first_row * layer.out_stride + j
        for i in range(np.uintp(n_rows)):
            transposed[target + i] = element(values, source)
            source += layer.out_stride


@jit(internal=True)
def update_units(table, like, thread_idx, batch, batch_rows, phase, step):
    """Sum the gradients of this member's units and move their parameters.

    Where the norm of all gradients limits the step, phase 0 does the one and phase 1 the other.
    """
    parameters, settings, sizes, parts = (
        parameters_of(table, like),
        settings_of(table),
        sizes_of(table),
        parts_of(table),
    )
    first_unit, last_unit, first_column, last_column = share_of(table, thread_idx)
    if phase == 0 and last_column > first_column:
        return_columns(table, like, batch_rows, first_column, last_column)
    is_stepping, clips = settings.solver != SOLVER_NONE, settings.clip_norm > 0.0
    for number in range(first_unit, last_unit):
        unit = unit_of(table, number)
        layer = layer_of(table, unit.layer)
        # Where they are used at once, gradients stay in a place that remains in the first cache.
        in_scratch = is_stepping and not clips
        scratch_at = sizes.scratch_at + thread_idx * sizes.scratch_size + unit.scratch_at
        gradients_at = scratch_at if in_scratch else unit.at
        is_weight = 1 if unit.first_row < layer.fan_in else 0
        block = Block(
            unit.at, unit.first_row, gradients_at, unit.n_rows, unit.n_columns, unit.stride, is_weight
        )
        if phase == 0:
            _sum_gradients(table, like, unit, block, thread_idx, batch, batch_rows)
        if phase == 0 and clips and is_stepping:
            _call_penalize(parts.penalize, (block, step, table, like))
        elif is_stepping:
            _call_move(parts.move, (block, step, table, like))
            if is_weight and unit.layer > 0:
                _transpose_rows(layer, unit.first_row, unit.n_rows, parameters)


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
def _step_of(batch, batch_rows, weight, samples, settings):
    """The scalars of the update after a batch."""
    rate = element(samples.rates, batch if len(samples.rates) > 1 else 0)
    size = rate
    if settings.solver == SOLVER_ADAM:
        t = float(settings.n_updates + batch + 1)
        size = rate * np.sqrt(1.0 - settings.beta_2**t) / (1.0 - settings.beta_1**t)
    return Step(rate, size, 1.0 / weight, 0.5 * settings.alpha / weight * batch_rows, 1.0, 0)


@jit(inline=True, internal=True)
def _add_up(values, first, n):
    """Sum n values in their order."""
    total = 0.0
    for i in range(first, first + n):
        total += element(values, i)
    return total


@jit(inline=True, internal=True)
def _square_block(gradients, at, n_rows, n_columns, stride):
    """Sum the squares of some gradients."""
    total = 0.0
    for i in range(n_rows):
        for j in range(n_columns):
            total += float(element(gradients, at + i * stride + j)) ** 2
    return total


@jit(internal=True)
def square_gradients(table, like, thread_idx, n_threads):
    """Sum the squares of gradients: of this member's neurons of the first hidden layer, and of some other rows."""
    gradients, squares = parameters_of(table, like).gradients, workspace_of(table, like).squares
    _, _, first_column, last_column = share_of(table, thread_idx)
    layer, n_layers, group = layer_of(table, 0), sizes_of(table).n_layers, whole_groups(1, gradients.itemsize)
    begin = layer.parameters_at + first_column * (layer.fan_in + 1)
    width = whole_groups(last_column - first_column, gradients.itemsize)
    for j in range(0, last_column - first_column, group):
        slot = (first_column + j) // group
        squares[slot] = _square_block(gradients, begin + j, layer.fan_in + 1, group, width)
    slot = layer.out_stride // group
    for number in range(1 if n_layers > 1 else 0, n_layers):
        layer = layer_of(table, number)
        for i in range(layer.fan_in + 1):
            if slot % n_threads == thread_idx:
                at = layer.parameters_at + i * layer.out_stride
                squares[slot] = _square_block(gradients, at, 1, layer.out_stride, 0)
            slot += 1


@jit(inline=True, internal=True)
def _clipped(step, settings, squares):
    """The step with its gradients scaled down to the greatest norm."""
    norm = np.sqrt(squares)
    shrink = settings.clip_norm / norm if norm > settings.clip_norm else 1.0
    return Step(step.rate, step.size, step.inverse_weight, step.penalty, shrink, 1)


@jit(inline=True, internal=True)
def _share_of(thread_idx, n_threads, batch_rows):
    """The rows of a batch that a member takes: whole groups, but at the end."""
    n_groups = (batch_rows + GROUP_ROWS - 1) // GROUP_ROWS
    first = n_groups * thread_idx // n_threads * GROUP_ROWS
    last = n_groups * (thread_idx + 1) // n_threads * GROUP_ROWS
    return first, last if last < batch_rows else batch_rows


@jit(internal=True)
def _move_batch(control, thread_idx, n_threads, table, like, batch, batch_rows, step):
    """Move all parameters after a batch; return False if the team was told to stop."""
    settings, update = settings_of(table), parts_of(table).update_units
    clips = settings.clip_norm > 0.0 and settings.solver != SOLVER_NONE
    for phase in range(2 if clips else 1):
        if phase == 1:
            if not barrier(control, n_threads):
                return False
            _call_square_gradients(parts_of(table).square_gradients, (table, like, thread_idx, n_threads))
            if not barrier(control, n_threads):
                return False
            squares = workspace_of(table, like).squares
            step = _clipped(step, settings, _add_up(squares, 0, len(squares)))
        _call_update_units(update, (table, like, thread_idx, batch, batch_rows, phase, step))
    return True


@jit(inline=True, internal=True)
def _gather_share(table, like, batch, thread_idx, n_threads):
    """Fetch some rows of a batch for all members, if there is such a batch, and if they share its inputs."""
    sizes = sizes_of(table)
    rows_left = len(samples_of(table, like).order) - batch * sizes.batch_size
    if sizes.n_buffers > 1 and rows_left > 0:
        batch_rows = sizes.batch_size if sizes.batch_size < rows_left else rows_left
        first, last = _share_of(thread_idx, n_threads, batch_rows)
        call_gather(parts_of(table).gather, (table, like, batch, first, last))


@jit
def train_epoch(control, thread_idx, n_threads, table, like):
    """Train for one epoch; the sum of the batches' losses, each times its rows, is in the table's totals, but for the
    penalties.

    `table` is that of a `Table`, and `like` any scalar of the network's dtype.
    """
    settings, sizes, parts = settings_of(table), sizes_of(table), parts_of(table)
    samples, workspace = samples_of(table, like), workspace_of(table, like)
    n, is_stepping = len(samples.order), settings.solver != SOLVER_NONE
    _, _, first_column, last_column = share_of(table, thread_idx)
    total = 0.0
    _gather_share(table, like, np.int64(0), thread_idx, n_threads)
    if not barrier(control, n_threads):
        return
    for batch in range((n + sizes.batch_size - 1) // sizes.batch_size):
        batch_first, update = batch * sizes.batch_size, settings.n_updates + batch
        batch_rows = sizes.batch_size if batch_first + sizes.batch_size <= n else n - batch_first
        _call_enter(
            parts.enter,
            (table, like, batch, batch_rows, first_column, last_column, update),
        )
        if not barrier(control, n_threads):
            return
        first, last = _share_of(thread_idx, n_threads, batch_rows)
        while first < last:
            n_rows = BLOCK_ROWS if last - first >= BLOCK_ROWS else last - first
            _call_pass_block(parts.pass_block, (table, like, first, n_rows, batch, update, thread_idx))
            first += n_rows
        _gather_share(table, like, batch + 1, thread_idx, n_threads)
        weight = _weight_of_batch(batch_first, batch_rows, samples)
        step = _step_of(batch, batch_rows, weight, samples, settings)
        if not barrier(control, n_threads):
            return
        if thread_idx == 0:
            loss = _add_up(workspace.row_losses, 0, batch_rows)
            total += loss / weight * batch_rows if is_stepping else loss
        if not _move_batch(control, thread_idx, n_threads, table, like, batch, batch_rows, step):
            return
    if barrier(control, n_threads) and thread_idx == 0:
        workspace.totals[0] = total
