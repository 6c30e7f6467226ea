"""What a network's last layer does to a block of samples: its activation, the loss of each sample, and its errors.

`OUTPUT_LOSSES` maps scikit-learn's (output activation, loss) to a kernel. For all of them the derivative of the loss by
what enters an output neuron is ``activation - target``, times the sample's weight. Losses are scikit-learn's: half the
mean of squares over the outputs, the sum of halves of Poisson deviances, and the log loss with probabilities kept a
rounding away from 0 and 1.
"""

import numpy as np

from fastfit.kernels.network_plan import TARGETS, layer_of, samples_of, sizes_of, workspace_of
from fastfit.runtime.address_table import array_at
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import (
    broadcast,
    element,
    first_lanes,
    load,
    maximum,
    minimum,
    prefetch,
    reduce_add,
    reduce_max,
    select,
    store,
)
from fastfit.runtime.vector_math import exp, log, logistic

_DOUBLES = lanes(np.float64)
_EPSILON_SINGLE = float(np.finfo(np.float32).eps)
_EPSILON_DOUBLE = float(np.finfo(np.float64).eps)
_FAR_BELOW = -3.0e38


@jit(inline=True, internal=True)
def weight_of(samples, row):
    """The weight of a sample: 1 without weights."""
    return element(samples.sample_weight, row) if len(samples.sample_weight) > 0 else 1.0


@jit(inline=True, internal=True)
def highest_of_row(
    values,  # flat, of the network's dtype
    at,  # where the row begins
    n_outputs,  # the row goes on to whole vectors
):
    """Return the highest of a row's outputs; NaN are passed over."""
    dtype = values.dtype
    highest = broadcast(_FAR_BELOW, dtype)
    for j in range(0, n_outputs, lanes(dtype)):
        z = load(values, at + j)
        highest = maximum(highest, select(first_lanes(z, n_outputs - j), z, highest))
    return reduce_max(highest)


@jit(inline=True, internal=True)
def softmax_row(
    values,  # flat, of the network's dtype
    at,  # where the row begins
    n_outputs,  # the row goes on to whole vectors
):
    """Turn a row into exp(z - max z), zeros behind the last output, and return the sum."""
    dtype = values.dtype
    n_lanes = lanes(dtype)
    top = broadcast(highest_of_row(values, at, n_outputs), dtype)
    total = broadcast(0.0, dtype)
    for j in range(0, n_outputs, n_lanes):
        z = load(values, at + j)
        e = exp(z - top)
        e = select(first_lanes(z, n_outputs - j), e, broadcast(0.0, dtype))
        store(values, at + j, e)
        total = total + e
    return reduce_add(total)


@jit(inline=True, internal=True)
def _ask_for_target(table, samples, targets, position, n_outputs):
    """Ask for the target of the sample that stands there in the next batch: targets lie anywhere in memory."""
    ahead = position + sizes_of(table).batch_size
    if ahead < len(samples.order):
        prefetch(targets, element(samples.order, ahead) * n_outputs)


@jit(internal=True)
def _softmax_losses(table, like, first, n_rows, batch_first, thread_idx):
    """Softmax and log loss of the classes: the row's error is its probabilities, less 1 at its class."""
    samples, classes, workspace = (
        samples_of(table, like),
        array_at(table, TARGETS, np.int32),
        workspace_of(table, like),
    )
    last = layer_of(table, sizes_of(table).n_layers - 1)
    activations, errors, losses = workspace.activations, workspace.errors, workspace.row_losses
    dtype = activations.dtype
    n_lanes = lanes(dtype)
    epsilon = _EPSILON_SINGLE if activations.itemsize == 4 else _EPSILON_DOUBLE
    one = dtype.type(1.0)
    for i in range(first, first + n_rows):
        at = last.output_at + i * last.out_stride
        row = element(samples.order, batch_first + i)
        _ask_for_target(table, samples, classes, batch_first + i, 1)
        weight = dtype.type(weight_of(samples, row))
        target = np.intp(element(classes, row))
        inverse = one / softmax_row(activations, at, last.fan_out)
        losses[i] = np.float64(element(activations, at + target)) * np.float64(inverse)
        factor = broadcast(inverse * weight, dtype)
        for j in range(0, last.out_stride, n_lanes):
            store(errors, at + j, load(activations, at + j) * factor)
        errors[at + target] -= weight
    for i in range(first, first + n_rows, _DOUBLES):
        share = minimum(maximum(load(losses, i), epsilon), 1.0 - epsilon)
        store(losses, i, -log(share))
    if len(samples.sample_weight) > 0:
        for i in range(first, first + n_rows):
            losses[i] *= weight_of(samples, element(samples.order, batch_first + i))


@jit(inline=True, internal=True)
def _gather_outputs(table, like, first, n_rows, batch_first, at):
    """Put the values of the output neurons, and the targets, side by side from `at` on; return how many."""
    samples, targets, workspace = (
        samples_of(table, like),
        array_at(table, TARGETS, like),
        workspace_of(table, like),
    )
    last, room = layer_of(table, sizes_of(table).n_layers - 1), sizes_of(table).room
    k = at
    for i in range(first, first + n_rows):
        source = last.output_at + i * last.out_stride
        target = element(samples.order, batch_first + i) * last.fan_out
        _ask_for_target(table, samples, targets, batch_first + i, last.fan_out)
        for j in range(last.fan_out):
            workspace.outputs[k] = element(workspace.activations, source + j)
            workspace.outputs[k + room] = element(targets, target + j)
            k += 1
    return k - at


@jit(inline=True, internal=True)
def _scatter_errors(table, like, first, n_rows, batch_first, at):
    """Write errors to their rows, and sum the losses of each row."""
    samples, workspace = samples_of(table, like), workspace_of(table, like)
    last, room = layer_of(table, sizes_of(table).n_layers - 1), sizes_of(table).room
    errors, outputs, row_losses = workspace.errors, workspace.outputs, workspace.row_losses
    k = at
    for i in range(first, first + n_rows):
        error_at = last.output_at + i * last.out_stride
        weight = weight_of(samples, element(samples.order, batch_first + i))
        factor = errors.dtype.type(weight)
        total = 0.0
        for j in range(last.fan_out):
            errors[error_at + j] = element(outputs, k) * factor
            total += np.float64(element(outputs, k + 2 * room))
            k += 1
        row_losses[i] = total * weight


@jit(internal=True)
def _squared_losses(table, like, first, n_rows, batch_first, thread_idx):
    """Half the mean over the outputs of squared errors."""
    room, outputs = sizes_of(table).room, workspace_of(table, like).outputs
    at = thread_idx * 3 * room
    n = _gather_outputs(table, like, first, n_rows, batch_first, at)
    share = outputs.dtype.type(0.5 / layer_of(table, sizes_of(table).n_layers - 1).fan_out)
    for k in range(at, at + n, lanes(outputs.dtype)):
        error = load(outputs, k) - load(outputs, k + room)
        store(outputs, k, error)
        store(outputs, k + 2 * room, error * error * share)
    _scatter_errors(table, like, first, n_rows, batch_first, at)


@jit(internal=True)
def _poisson_losses(table, like, first, n_rows, batch_first, thread_idx):
    """Halves of the Poisson deviances of exp(z): y log(y / p) - y + p, where 0 log 0 = 0."""
    room, outputs = sizes_of(table).room, workspace_of(table, like).outputs
    at = thread_idx * 3 * room
    n = _gather_outputs(table, like, first, n_rows, batch_first, at)
    one = broadcast(1.0, outputs.dtype)
    for k in range(at, at + n, lanes(outputs.dtype)):
        y, p = load(outputs, k + room), exp(load(outputs, k))
        store(outputs, k, p - y)
        store(outputs, k + 2 * room, y * log(select(y > 0.0, y / p, one)) - y + p)
    _scatter_errors(table, like, first, n_rows, batch_first, at)


@jit(internal=True)
def _binary_losses(table, like, first, n_rows, batch_first, thread_idx):
    """Log losses of probabilities 1 / (1 + exp(-z)) for targets 0 and 1."""
    room, outputs = sizes_of(table).room, workspace_of(table, like).outputs
    at = thread_idx * 3 * room
    n = _gather_outputs(table, like, first, n_rows, batch_first, at)
    epsilon = _EPSILON_SINGLE if outputs.itemsize == 4 else _EPSILON_DOUBLE
    for k in range(at, at + n, lanes(outputs.dtype)):
        y, p = load(outputs, k + room), logistic(load(outputs, k))
        store(outputs, k, p - y)
        p = minimum(maximum(p, epsilon), 1.0 - epsilon)
        store(outputs, k + 2 * room, -log(select(y > 0.5, p, 1.0 - p)))
    _scatter_errors(table, like, first, n_rows, batch_first, at)


OUTPUT_LOSSES = {
    ("softmax", "log_loss"): _softmax_losses,
    ("logistic", "log_loss"): _binary_losses,
    ("exp", "poisson"): _poisson_losses,
    ("identity", "squared_error"): _squared_losses,
}
