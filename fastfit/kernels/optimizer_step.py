"""One update of a range of parameters by SGD with momentum, Adam, AdamW or RMSprop, in one pass over all that they read.

SGD and Adam are scikit-learn's (Adam: Kingma and Ba, ICLR 2015); AdamW shrinks weights apart from the gradient (Loshchilov
and Hutter, ICLR 2019); RMSprop divides by a running root mean square (Hinton's lecture 6e, 2012).
"""

from typing import NamedTuple

from fastfit.kernels.network_plan import SOLVER_ADAM, SOLVER_SGD
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import broadcast, fma, load, reduce_add, sqrt, store


class Step(NamedTuple):
    """The scalars of one update."""

    rate: float  # of the schedule
    size: float  # the rate; for Adam with the correction for moments that start at zero
    inverse_weight: float  # 1 / sum of the weights of the batch
    shrink: float  # times the gradient, for it not to exceed the greatest norm
    counts_from_sum: int  # 1: gradients are sums over the batch still


@jit(internal=True)
def penalize(first, last, alpha, inverse_weight, parameters):
    """Turn sums over a batch into the gradient with its penalty; return the sums of squares of weights and gradients."""
    values, gradients = parameters.values, parameters.gradients
    dtype = values.dtype
    n_lanes = lanes(dtype)
    alpha, inverse = broadcast(alpha, dtype), broadcast(inverse_weight, dtype)
    squares, gradient_squares = broadcast(0.0, dtype), broadcast(0.0, dtype)
    for j in range(first, last, n_lanes):
        w = load(values, j)
        g = fma(alpha, w, load(gradients, j)) * inverse
        store(gradients, j, g)
        squares = fma(w, w, squares)
        gradient_squares = fma(g, g, gradient_squares)
    return float(reduce_add(squares)), float(reduce_add(gradient_squares))


@jit(internal=True)
def _step_by_gradient(first, last, step, scales, parameters, settings):
    """SGD with momentum; returns the sum of squared weights."""
    values, gradients, velocities = parameters.values, parameters.gradients, parameters.first
    dtype = values.dtype
    alpha, inverse, shrink = scales
    n_lanes = lanes(dtype)
    alpha, inverse = broadcast(alpha, dtype), broadcast(inverse, dtype)
    momentum, rate = broadcast(settings.momentum, dtype), broadcast(step.rate, dtype)
    shrink = broadcast(shrink, dtype)
    squares = broadcast(0.0, dtype)
    for j in range(first, last, n_lanes):
        w = load(values, j)
        squares = fma(w, w, squares)
        move = rate * (fma(alpha, w, load(gradients, j)) * inverse)
        u = momentum * load(velocities, j) - move
        store(velocities, j, u)
        if settings.nesterov:
            u = momentum * u - move
        store(values, j, fma(shrink, w, u))
    return float(reduce_add(squares))


@jit(internal=True)
def _step_by_moments(first, last, step, scales, parameters, settings):
    """Adam, or RMSprop with momentum; returns the sum of squared weights."""
    values, gradients, moments = parameters.values, parameters.gradients, parameters.first
    second = parameters.second
    dtype = values.dtype
    alpha, inverse, shrink = scales
    n_lanes = lanes(dtype)
    alpha, inverse = broadcast(alpha, dtype), broadcast(inverse, dtype)
    beta_1, rest_1 = broadcast(settings.beta_1, dtype), broadcast(1.0 - settings.beta_1, dtype)
    beta_2, rest_2 = broadcast(settings.beta_2, dtype), broadcast(1.0 - settings.beta_2, dtype)
    epsilon, size = broadcast(settings.epsilon, dtype), broadcast(step.size, dtype)
    momentum, shrink = broadcast(settings.momentum, dtype), broadcast(shrink, dtype)
    squares = broadcast(0.0, dtype)
    for j in range(first, last, n_lanes):
        w = load(values, j)
        squares = fma(w, w, squares)
        g = fma(alpha, w, load(gradients, j)) * inverse
        v = fma(beta_2, load(second, j), rest_2 * (g * g))
        store(second, j, v)
        if settings.solver == SOLVER_ADAM:
            m = fma(beta_1, load(moments, j), rest_1 * g)
            store(moments, j, m)
            move = size * m / (sqrt(v) + epsilon)
        else:
            m = fma(momentum, load(moments, j), g / (sqrt(v) + epsilon))
            store(moments, j, m)
            move = size * m
        store(values, j, fma(shrink, w, -move))
    return float(reduce_add(squares))


@jit(inline=True, internal=True)
def update_range(first, last, is_weight, step, parameters, settings):
    """Update parameters from `first` to before `last`, whole vectors; return the sum of squared weights before it.

    `is_weight` is 0 for intercepts, which no penalty reaches.
    """
    alpha = settings.alpha if is_weight and step.counts_from_sum else 0.0
    inverse = step.inverse_weight if step.counts_from_sum else step.shrink
    shrink = 1.0 - step.rate * settings.weight_decay if is_weight else 1.0
    scales = (alpha, inverse, shrink)
    if settings.solver == SOLVER_SGD:
        squares = _step_by_gradient(first, last, step, scales, parameters, settings)
    else:
        squares = _step_by_moments(first, last, step, scales, parameters, settings)
    return squares if is_weight else 0.0
