"""One update of a block of parameters by SGD with momentum, Adam, AdamW or RMSprop, in one pass over all it reads.

SGD and Adam are scikit-learn's (Adam: Kingma and Ba, ICLR 2015); AdamW shrinks weights apart from the gradient
(Loshchilov and Hutter, ICLR 2019); RMSprop divides by a running root mean square (Hinton's lecture 6e, 2012).
"""

from typing import NamedTuple

from fastfit.kernels.network_plan import (
    GROUP_BYTES,
    SOLVER_ADAM,
    SOLVER_RMSPROP,
    SOLVER_SGD,
    parameters_of,
    settings_of,
    workspace_of,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, fma, load, sqrt, store
from fastfit.runtime.simd_division import quick_quotient


class Step(NamedTuple):
    """The scalars of one update."""

    rate: float  # of the schedule
    size: float  # the rate; for Adam with the correction for moments that start at zero
    inverse_weight: float  # 1 / sum of the weights of the batch
    penalty: float  # what a squared weight adds to the loss of the epoch
    shrink: float  # times the gradient, for it not to exceed the greatest norm
    is_ready: int  # 1: gradients are means with their penalty already, 0: sums over the batch


class Block(NamedTuple):
    """Parameters that are moved together: some rows and columns of a layer."""

    at: int  # the first of them
    first_row: int  # of the layer
    gradients_at: int  # their gradients, which lie in rows as they do
    n_rows: int
    n_columns: int
    stride: int
    is_weight: int  # 0: intercepts


@jit(internal=True)
def penalize(block, step, table, like):
    """Turn sums over a batch into the gradient with its penalty."""
    parameters = parameters_of(table, like)
    values, gradients = parameters.values, parameters.gradients
    dtype = values.dtype
    alpha = broadcast(settings_of(table).alpha if block.is_weight else 0.0, dtype)
    inverse = broadcast(step.inverse_weight, dtype)
    for k in range(block.n_rows):
        for column in range(0, block.n_columns, lanes(dtype)):
            offset = k * block.stride + column
            g = load(gradients, block.gradients_at + offset)
            g = fma(alpha, load(values, block.at + offset), g) * inverse
            store(gradients, block.gradients_at + offset, g)


@jit(inline=True, internal=True)
def _scales(is_weight, step, settings):
    """What a weight counts in the gradient, what the gradient is multiplied by, and what is left of a weight."""
    alpha = settings.alpha if is_weight and not step.is_ready else 0.0
    scale = step.shrink if step.is_ready else step.inverse_weight
    return alpha, scale, 1.0 - step.rate * settings.weight_decay if is_weight else 1.0


@jit(inline=True, internal=True)
def _noted_at(block, k, itemsize):
    """Where the penalties of a row are noted: those of a group of rows, which no two members share, in its first."""
    per_group = GROUP_BYTES // itemsize
    row = block.first_row + k
    return block.at + (row // per_group * per_group - block.first_row) * block.stride


@jit(internal=True)
def _move_by_gradient(block, step, table, like):
    """SGD with momentum for a block of parameters; notes what they added to the loss before."""
    parameters, settings = parameters_of(table, like), settings_of(table)
    values, gradients, velocities = parameters.values, parameters.gradients, parameters.first
    penalties, dtype = workspace_of(table, like).penalties, values.dtype
    alpha, scale, left = _scales(block.is_weight, step, settings)
    alpha, scale, left = broadcast(alpha, dtype), broadcast(scale, dtype), broadcast(left, dtype)
    momentum, rate = broadcast(settings.momentum, dtype), broadcast(step.rate, dtype)
    is_penalized, penalty = block.is_weight and step.penalty != 0.0, broadcast(step.penalty, dtype)
    for k in range(block.n_rows):
        noted = _noted_at(block, k, values.itemsize)
        for column in range(0, block.n_columns, lanes(dtype)):
            j = block.at + k * block.stride + column
            w = load(values, j)
            if is_penalized:
                store(penalties, noted + column, fma(penalty * w, w, load(penalties, noted + column)))
            g = load(gradients, block.gradients_at + k * block.stride + column)
            move = rate * (fma(alpha, w, g) * scale)
            u = momentum * load(velocities, j) - move
            store(velocities, j, u)
            if settings.nesterov:
                u = momentum * u - move
            store(values, j, fma(left, w, u))


@jit(internal=True)
def _move_by_moments(block, step, table, like):
    """Adam, or RMSprop with momentum, likewise."""
    parameters, settings = parameters_of(table, like), settings_of(table)
    values, gradients = parameters.values, parameters.gradients
    moments, second = parameters.first, parameters.second
    penalties, dtype = workspace_of(table, like).penalties, values.dtype
    alpha, scale, left = _scales(block.is_weight, step, settings)
    alpha, scale, left = broadcast(alpha, dtype), broadcast(scale, dtype), broadcast(left, dtype)
    beta_1, rest_1 = broadcast(settings.beta_1, dtype), broadcast(1.0 - settings.beta_1, dtype)
    beta_2, rest_2 = broadcast(settings.beta_2, dtype), broadcast(1.0 - settings.beta_2, dtype)
    epsilon, size = broadcast(settings.epsilon, dtype), broadcast(step.size, dtype)
    momentum = broadcast(settings.momentum, dtype)
    is_penalized, penalty = block.is_weight and step.penalty != 0.0, broadcast(step.penalty, dtype)
    for k in range(block.n_rows):
        noted = _noted_at(block, k, values.itemsize)
        for column in range(0, block.n_columns, lanes(dtype)):
            j = block.at + k * block.stride + column
            w = load(values, j)
            if is_penalized:
                store(penalties, noted + column, fma(penalty * w, w, load(penalties, noted + column)))
            g = fma(alpha, w, load(gradients, block.gradients_at + k * block.stride + column)) * scale
            v = fma(beta_2, load(second, j), rest_2 * (g * g))
            store(second, j, v)
            if settings.solver == SOLVER_ADAM:
                m = fma(beta_1, load(moments, j), rest_1 * g)
                move = quick_quotient(size * m, sqrt(v) + epsilon)
            else:
                m = fma(momentum, load(moments, j), quick_quotient(g, sqrt(v) + epsilon))
                move = size * m
            store(moments, j, m)
            store(values, j, fma(left, w, -move))


MOVES = {SOLVER_SGD: _move_by_gradient, SOLVER_ADAM: _move_by_moments, SOLVER_RMSPROP: _move_by_moments}
