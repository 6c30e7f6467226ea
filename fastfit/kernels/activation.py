"""Activation functions of neurons, for vectors and scalars, each with its derivative.

`ACTIVATIONS` maps a name to ``(apply, pull)``: ``apply(z, leak)`` is the activation, and ``pull(error, a, z, leak)``
the error times its derivative, which most functions tell from their own value ``a``; only those in `NEED_INPUT` need
``z``, and the others may be given anything. `leak` is the slope below zero of the piecewise linear functions, which so
are one.

GELU is ``z Phi(z)`` in the form of Hendrycks and Gimpel, "Gaussian error linear units", 2016, with the tanh:
``z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z**3)))``.
"""

import math

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import maximum, minimum, select
from fastfit.runtime.vector_math import exp, logistic, tanh

LEAKS = {"identity": 1.0, "relu": 0.0, "leaky_relu": 0.01}
NEED_INPUT = frozenset({"gelu", "silu"})

_LOWEST = -3.4e38  # so that no infinity is multiplied by a slope of 0
_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


@jit(inline=True, internal=True)
def _apply_piecewise(z, leak):
    return select(z > 0.0, z, maximum(z, _LOWEST) * leak)


@jit(inline=True, internal=True)
def _pull_piecewise(error, a, z, leak):
    return select(a > 0.0, error, error * leak)


@jit(inline=True, internal=True)
def _apply_logistic(z, leak):
    return logistic(z)


@jit(inline=True, internal=True)
def _pull_logistic(error, a, z, leak):
    return error * a * (1.0 - a)


@jit(inline=True, internal=True)
def _apply_tanh(z, leak):
    return tanh(z)


@jit(inline=True, internal=True)
def _pull_tanh(error, a, z, leak):
    return error * (1.0 - a * a)


@jit(inline=True, internal=True)
def _apply_elu(z, leak):
    return select(z > 0.0, z, exp(minimum(z, 0.0)) - 1.0)


@jit(inline=True, internal=True)
def _pull_elu(error, a, z, leak):
    return error * (minimum(a, 0.0) + 1.0)


@jit(inline=True, internal=True)
def _apply_silu(z, leak):
    return z * logistic(z)


@jit(inline=True, internal=True)
def _pull_silu(error, a, z, leak):
    share = logistic(z)
    return error * (share + a * (1.0 - share))


@jit(inline=True, internal=True)
def _apply_gelu(z, leak):
    return 0.5 * z * (1.0 + tanh(_GELU_SCALE * (z + _GELU_CUBIC * z * z * z)))


@jit(inline=True, internal=True)
def _pull_gelu(error, a, z, leak):
    share = tanh(_GELU_SCALE * (z + _GELU_CUBIC * z * z * z))
    inner = _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * z * z)
    return error * (0.5 * (1.0 + share) + 0.5 * z * (1.0 - share * share) * inner)


ACTIVATIONS = {
    **dict.fromkeys(LEAKS, (_apply_piecewise, _pull_piecewise)),
    "logistic": (_apply_logistic, _pull_logistic),
    "tanh": (_apply_tanh, _pull_tanh),
    "elu": (_apply_elu, _pull_elu),
    "silu": (_apply_silu, _pull_silu),
    "gelu": (_apply_gelu, _pull_gelu),
}
