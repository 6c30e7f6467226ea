"""What a network's last layer does to a block of samples: its activation, the loss of each sample, and its errors.

`OUTPUTS` maps scikit-learn's (output activation, loss) to ``(kernel, kind)``. For all of them the derivative of the loss by
what enters an output neuron is ``activation - target``, times the sample's weight, and losses are scikit-learn's: half the
mean of squares over the outputs, the sum of Poisson deviances' halves, and the log loss with probabilities kept a
rounding away from 0 and 1.
"""

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import (
    broadcast,
    element,
    first_lanes,
    load,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    select,
    store,
)
from fastfit.runtime.vector_math import exp, log, logistic

SQUARED_ERROR, POISSON, LOG_LOSS = 0, 1, 2
_DOUBLES = lanes(np.float64)
_EPSILON = {4: float(np.finfo(np.float32).eps), 8: float(np.finfo(np.float64).eps)}
_EPSILON_SINGLE, _EPSILON_DOUBLE = _EPSILON[4], _EPSILON[8]
_FAR_BELOW = -3.0e38


@jit(inline=True, internal=True)
def weight_of(samples, row):
    """The weight of a sample: 1 without weights."""
    return element(samples.sample_weight, row) if len(samples.sample_weight) > 0 else 1.0


@jit(inline=True, internal=True)
def softmax_row(
    values,  # flat, of the network's dtype
    at,  # where the row begins
    stride,  # its values, filled up to whole vectors
    n_outputs,
):
    """Turn a row into exp(z - max z), zeros behind the last output, and return the sum."""
    dtype = values.dtype
    n_lanes = lanes(dtype)
    highest = broadcast(_FAR_BELOW, dtype)
    for j in range(0, stride, n_lanes):
        z = load(values, at + j)
        highest = maximum(highest, select(first_lanes(z, n_outputs - j), z, highest))
    top = broadcast(reduce_max(highest), dtype)
    total = broadcast(0.0, dtype)
    for j in range(0, stride, n_lanes):
        z = load(values, at + j)
        e = exp(z - top)
        e = select(first_lanes(z, n_outputs - j), e, broadcast(0.0, dtype))
        store(values, at + j, e)
        total = total + e
    return reduce_add(total)


@jit(internal=True)
def _softmax_losses(block, last, n_outputs, kind, samples, workspace, scratch):
    """Softmax and log loss of the classes: the row's error is its probabilities, less 1 at its class."""
    first, n_rows, batch_first = block
    activations, errors, losses = workspace.activations, workspace.errors, workspace.row_losses
    dtype = activations.dtype
    n_lanes = lanes(dtype)
    epsilon = _EPSILON_SINGLE if activations.itemsize == 4 else _EPSILON_DOUBLE
    for i in range(first, first + n_rows):
        at, error_at = last.output_at + i * last.out_stride, last.error_at + i * last.out_stride
        row = element(samples.order, batch_first + i)
        weight = weight_of(samples, row)
        target = np.intp(element(samples.targets, row))
        total = softmax_row(activations, at, last.out_stride, n_outputs)
        inverse = activations.dtype.type(1.0) / total
        losses[i] = np.float64(element(activations, at + target)) * np.float64(inverse)
        factor = broadcast(inverse * weight, dtype)
        for j in range(0, last.out_stride, n_lanes):
            store(errors, error_at + j, load(activations, at + j) * factor)
        errors[error_at + target] -= activations.dtype.type(weight)
    for i in range(first, first + n_rows, _DOUBLES):
        share = minimum(maximum(load(losses, i), epsilon), 1.0 - epsilon)
        store(losses, i, -log(share))
    if len(samples.sample_weight) > 0:
        for i in range(first, first + n_rows):
            losses[i] *= weight_of(samples, element(samples.order, batch_first + i))


@jit(inline=True, internal=True)
def _binary_log_loss(p, y, epsilon):
    """The loss of a probability for a target between 0 and 1; few targets are neither, and take a second logarithm."""
    p = minimum(maximum(p, epsilon), 1.0 - epsilon)
    return -(y * log(p) + (1.0 - y) * log(1.0 - p))


@jit(inline=True, internal=True)
def _poisson_loss(p, y):
    """y log(y / p) - y + p, where 0 log 0 = 0."""
    ratio = select(y > 0.0, y / p, y * 0.0 + 1.0)
    return y * log(ratio) - y + p


@jit(internal=True)
def _gather_outputs(block, last, n_outputs, samples, workspace, outputs, targets):
    """Put the values of the output neurons, and the targets, side by side."""
    first, n_rows, batch_first = block
    activations = workspace.activations
    k = 0
    for i in range(first, first + n_rows):
        at = last.output_at + i * last.out_stride
        target_at = element(samples.order, batch_first + i) * n_outputs
        for j in range(n_outputs):
            outputs[k] = element(activations, at + j)
            targets[k] = element(samples.targets, target_at + j)
            k += 1
    return k


@jit(internal=True)
def _scatter_errors(block, last, n_outputs, samples, workspace, outputs, losses):
    """Write errors to their rows, and sum the losses of each row."""
    first, n_rows, batch_first = block
    errors, row_losses = workspace.errors, workspace.row_losses
    k = 0
    for i in range(first, first + n_rows):
        error_at = last.error_at + i * last.out_stride
        weight = weight_of(samples, element(samples.order, batch_first + i))
        factor = errors.dtype.type(weight)
        total = 0.0
        for j in range(n_outputs):
            errors[error_at + j] = element(outputs, k) * factor
            total += np.float64(element(losses, k))
            k += 1
        row_losses[i] = total * weight


@jit(internal=True)
def _squared_losses(block, last, n_outputs, kind, samples, workspace, scratch):
    outputs, targets, losses = scratch
    n = _gather_outputs(block, last, n_outputs, samples, workspace, outputs, targets)
    share = outputs.dtype.type(0.5 / n_outputs)
    for k in range(n):
        error = outputs[k] - targets[k]
        outputs[k] = error
        losses[k] = error * error * share
    _scatter_errors(block, last, n_outputs, samples, workspace, outputs, losses)


@jit(internal=True)
def _exponential_losses(block, last, n_outputs, kind, samples, workspace, scratch):
    """Poisson deviance of an exponential, or log loss of a logistic function."""
    outputs, targets, losses = scratch
    n = _gather_outputs(block, last, n_outputs, samples, workspace, outputs, targets)
    epsilon = _EPSILON_SINGLE if outputs.itemsize == 4 else _EPSILON_DOUBLE
    n_lanes = lanes(outputs.dtype)
    for k in range(0, n, n_lanes):
        z, y = load(outputs, k), load(targets, k)
        if kind == POISSON:
            p = exp(z)
            loss = _poisson_loss(p, y)
        else:
            p = logistic(z)
            loss = _binary_log_loss(p, y, epsilon)
        store(outputs, k, p - y)
        store(losses, k, loss)
    _scatter_errors(block, last, n_outputs, samples, workspace, outputs, losses)


OUTPUTS = {
    ("softmax", "log_loss"): (_softmax_losses, LOG_LOSS),
    ("logistic", "log_loss"): (_exponential_losses, LOG_LOSS),
    ("exp", "poisson"): (_exponential_losses, POISSON),
    ("identity", "squared_error"): (_squared_losses, SQUARED_ERROR),
}
