"""Gradient descent with a fixed rate on a quadratic, where a step costs one product with its matrix.

The mean squared error of a linear model is a quadratic in the coefficients w,

    f(w) = (w'Hw - 2 b'w + c) / 2,      H = X'SX / sum(s),   b = X'Sy / sum(s),   c = y'Sy / sum(s),

with X and y centred and S the diagonal of the sample weights. So the iterates of gradient descent on X are
those of

    g = H w - b,    w <- w - rate * g,

at d^2 flops a step instead of 2 n d. Momentum is the heavy ball (Polyak, "Some methods of speeding up the
convergence of iteration methods", 1964), or Nesterov's variant in the form of Sutskever et al. ("On the
importance of initialization and momentum in deep learning", ICML 2013), whose gradient is taken ahead of w.
That needs no second product, for the gradient is affine: with step v = w - w_before, H(w + m v) = Hw + m (Hw
- Hw_before).

Where n < d the same steps run on H = XX' / sum(s) and b = y / sum(s), for w = X'u (``in_row_space``).
"""

from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import REASSOCIATE, jit


class DescentOptions(NamedTuple):
    """Hyperparameters, each of one fixed type so that one compilation serves them all."""

    learning_rate: float
    momentum: float
    nesterov: bool
    positive: bool  # project on w >= 0 after each step
    in_row_space: bool
    tol: float  # of the gradient's norm, relative to that at w = 0


class Quadratic(NamedTuple):
    """One quadratic for each target, all with the same matrix; read only."""

    curvature: np.ndarray  # (m, m) float64, symmetric, C: H
    slope: np.ndarray  # (n_targets, m) float64, C: b
    constant: np.ndarray  # (n_targets,) float64: c
    squared_scale: np.ndarray  # (n_targets,) float64: squared norm of the gradient at w = 0


class DescentState(NamedTuple):
    """What a step changes. To start: ``product = former_product = w H``, ``step = 0``."""

    coef: np.ndarray  # (n_targets, m) float64: w
    step: np.ndarray  # (n_targets, m) float64: the last change of w
    product: np.ndarray  # (n_targets, m) float64: H w
    former_product: np.ndarray  # (n_targets, m) float64: H w one step ago
    gradient: np.ndarray  # (n_targets, m) float64, scratch
    scratch: np.ndarray  # (n_targets, m) float64
    squared_norms: np.ndarray  # (n_targets,) float64: of the gradient at w


@jit(fastmath=REASSOCIATE)
def multiply(
    matrix,  # (m, m) float64, C
    vectors,  # (n_targets, m) float64
    products_out,  # (n_targets, m) float64
):
    """Write ``matrix @ vector`` for every vector; each row of the matrix is read once."""
    for i in range(matrix.shape[0]):
        row = matrix[i]
        for k in range(vectors.shape[0]):
            vector = vectors[k]
            total = 0.0
            for j in range(row.size):
                total += row[j] * vector[j]
            products_out[k, i] = total


@jit(internal=True)
def _take_step(quadratic, options, state):
    """Change ``coef`` and ``step`` of every target, and keep ``product`` as the former one."""
    for k in range(state.coef.shape[0]):
        for j in range(state.coef.shape[1]):
            product = state.product[k, j]
            if options.nesterov:
                product += options.momentum * (product - state.former_product[k, j])
            gradient = product - quadratic.slope[k, j]
            before = state.coef[k, j]
            after = before + (options.momentum * state.step[k, j] - options.learning_rate * gradient)
            if options.positive and after < 0.0:
                after = 0.0
            state.coef[k, j] = after
            state.step[k, j] = after - before
            state.former_product[k, j] = state.product[k, j]


@jit(internal=True, fastmath=REASSOCIATE)
def _measure(quadratic, options, state):
    """Return f(w), averaged over the targets, and write the squared norms of the (projected) gradients."""
    n_targets, n_coef = state.coef.shape
    loss = 0.0
    for k in range(n_targets):
        value = 0.0
        squared_norm = 0.0
        for j in range(n_coef):
            w = state.coef[k, j]
            g = state.product[k, j] - quadratic.slope[k, j]
            value += w * (g - quadratic.slope[k, j])
            if options.positive and w == 0.0 and g > 0.0:
                g = 0.0
            squared_norm += g * g
        state.squared_norms[k] = squared_norm
        # Rounding may take an exact fit a little below zero.
        loss += max(0.0, 0.5 * (quadratic.constant[k] + value))
    return loss / n_targets


@jit(internal=True, fastmath=REASSOCIATE)
def _measure_in_row_space(quadratic, state):
    """Return f(X'u), averaged over the targets, and write each one's squared norm of the gradient by w = X'u.

    With residual r = y - XX'u the loss is |r|^2 / 2n and the gradient -X'r / n, of squared norm r'XX'r / n^2.
    """
    n_targets, n_coef = state.coef.shape
    loss = 0.0
    for k in range(n_targets):
        for j in range(n_coef):
            state.gradient[k, j] = state.product[k, j] - quadratic.slope[k, j]
    multiply(quadratic.curvature, state.gradient, state.scratch)
    for k in range(n_targets):
        squared_residual = 0.0
        squared_norm = 0.0
        for j in range(n_coef):
            g = state.gradient[k, j]
            squared_residual += g * g
            squared_norm += g * state.scratch[k, j]
        state.squared_norms[k] = squared_norm
        loss += 0.5 * squared_residual
    return loss / n_targets


@jit
def descend(
    quadratic,
    options,
    state,
    losses_out,  # (n_steps,) float64: f after each step
):
    """Take up to ``len(losses_out)`` steps, at least one; return how many, and whether all targets converged.

    In row space f and the gradient are those of n f: the caller divides, since only it knows the sum of the
    weights.
    """
    for i in range(losses_out.size):
        _take_step(quadratic, options, state)
        multiply(quadratic.curvature, state.coef, state.product)
        if options.in_row_space:
            losses_out[i] = _measure_in_row_space(quadratic, state)
        else:
            losses_out[i] = _measure(quadratic, options, state)
        converged = True
        for k in range(state.coef.shape[0]):
            converged &= state.squared_norms[k] <= options.tol * options.tol * quadratic.squared_scale[k]
        if converged:
            return i + 1, True
    return losses_out.size, False
