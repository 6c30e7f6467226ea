"""One update of a range of parameters by SGD with momentum, Adam, AdamW or RMSprop, in one pass over all it reads.

SGD and Adam are scikit-learn's (Adam: Kingma and Ba, ICLR 2015); AdamW shrinks weights apart from the gradient
(Loshchilov and Hutter, ICLR 2019); RMSprop divides by a running root mean square (Hinton's lecture 6e, 2012).
"""

from typing import NamedTuple

from fastfit.kernels.network_plan import SOLVER_ADAM, SOLVER_RMSPROP, SOLVER_SGD, parameters_of, settings_of
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, fma, load, reduce_add, sqrt, store


class Step(NamedTuple):
    """The scalars of one update."""

    rate: float  # of the schedule
    size: float  # the rate; for Adam with the correction for moments that start at zero
    inverse_weight: float  # 1 / sum of the weights of the batch
    shrink: float  # times the gradient, for it not to exceed the greatest norm
    is_ready: int  # 1: gradients are means with their penalty already, 0: sums over the batch


@jit(inline=True, internal=True)
def penalize(first, last, is_weight, step, table, like):
    """Turn sums over a batch into the gradient with its penalty; return the sums of squared weights and gradients."""
    parameters = parameters_of(table, like)
    values, gradients = parameters.values, parameters.gradients
    dtype = values.dtype
    alpha = broadcast(settings_of(table).alpha if is_weight else 0.0, dtype)
    inverse = broadcast(step.inverse_weight, dtype)
    squares, gradient_squares = broadcast(0.0, dtype), broadcast(0.0, dtype)
    for j in range(first, last, lanes(dtype)):
        w = load(values, j)
        g = fma(alpha, w, load(gradients, j)) * inverse
        store(gradients, j, g)
        squares = fma(w, w, squares)
        gradient_squares = fma(g, g, gradient_squares)
    return float(reduce_add(squares)), float(reduce_add(gradient_squares))


@jit(inline=True, internal=True)
def _scales(is_weight, step, settings):
    """What a weight counts in the gradient, what the gradient is multiplied by, and what is left of a weight."""
    alpha = settings.alpha if is_weight and not step.is_ready else 0.0
    scale = step.shrink if step.is_ready else step.inverse_weight
    return alpha, scale, 1.0 - step.rate * settings.weight_decay if is_weight else 1.0


@jit(internal=True)
def _move_by_gradient(first, last, is_weight, step, table, like):
    """SGD with momentum, for parameters from `first` to before `last`; returns the sum of their squares before."""
    parameters, settings = parameters_of(table, like), settings_of(table)
    values, gradients, velocities = parameters.values, parameters.gradients, parameters.first
    dtype = values.dtype
    alpha, scale, left = _scales(is_weight, step, settings)
    alpha, scale, left = broadcast(alpha, dtype), broadcast(scale, dtype), broadcast(left, dtype)
    momentum, rate = broadcast(settings.momentum, dtype), broadcast(step.rate, dtype)
    squares = broadcast(0.0, dtype)
    for j in range(first, last, lanes(dtype)):
        w = load(values, j)
        squares = fma(w, w, squares)
        move = rate * (fma(alpha, w, load(gradients, j)) * scale)
        u = momentum * load(velocities, j) - move
        store(velocities, j, u)
        if settings.nesterov:
            u = momentum * u - move
        store(values, j, fma(left, w, u))
    return float(reduce_add(squares))


@jit(internal=True)
def _move_by_moments(first, last, is_weight, step, table, like):
    """Adam, or RMSprop with momentum, likewise."""
    parameters, settings = parameters_of(table, like), settings_of(table)
    values, gradients, moments, second = (
        parameters.values,
        parameters.gradients,
        parameters.first,
        parameters.second,
    )
    dtype = values.dtype
    alpha, scale, left = _scales(is_weight, step, settings)
    alpha, scale, left = broadcast(alpha, dtype), broadcast(scale, dtype), broadcast(left, dtype)
    beta_1, rest_1 = broadcast(settings.beta_1, dtype), broadcast(1.0 - settings.beta_1, dtype)
    beta_2, rest_2 = broadcast(settings.beta_2, dtype), broadcast(1.0 - settings.beta_2, dtype)
    epsilon, size = broadcast(settings.epsilon, dtype), broadcast(step.size, dtype)
    momentum = broadcast(settings.momentum, dtype)
    squares = broadcast(0.0, dtype)
    for j in range(first, last, lanes(dtype)):
        w = load(values, j)
        squares = fma(w, w, squares)
        g = fma(alpha, w, load(gradients, j)) * scale
        v = fma(beta_2, load(second, j), rest_2 * (g * g))
        store(second, j, v)
        if settings.solver == SOLVER_ADAM:
            m = fma(beta_1, load(moments, j), rest_1 * g)
            move = size * m / (sqrt(v) + epsilon)
        else:
            m = fma(momentum, load(moments, j), g / (sqrt(v) + epsilon))
            move = size * m
        store(moments, j, m)
        store(values, j, fma(left, w, -move))
    return float(reduce_add(squares))


MOVES = {SOLVER_SGD: _move_by_gradient, SOLVER_ADAM: _move_by_moments, SOLVER_RMSPROP: _move_by_moments}
