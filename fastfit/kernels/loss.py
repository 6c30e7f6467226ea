"""Losses of linear models: value and derivative with respect to the prediction, for one sample.

A loss is an integer code and one parameter rather than a function handed to a kernel: numba cannot cache kernels that
take functions, and a branch on a constant code is free beside the dot product that precedes it. The formulas are those
of scikit-learn's ``SGDClassifier`` and ``SGDRegressor``, and round where those round (T. Zhang, "Solving large scale
linear prediction problems using stochastic gradient descent algorithms", ICML 2004, gives most of them).
Classification losses take y in {-1, 1}, except the logistic loss, which takes y in {0, 1}. Each function is one list of
cases because every function more costs a tenth of a second when a kernel is compiled for the first time.
"""

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import maximum, minimum

LOSS_SQUARED_ERROR = 0
LOSS_HUBER = 1
LOSS_EPSILON_INSENSITIVE = 2
LOSS_SQUARED_EPSILON_INSENSITIVE = 3
LOSS_HINGE = 4
LOSS_SQUARED_HINGE = 5
LOSS_LOGISTIC = 6
LOSS_MODIFIED_HUBER = 7


@jit(inline=True, internal=True)
def loss_value(code, parameter, y, prediction):
    """Loss of one prediction; ``parameter`` is epsilon (Huber's threshold) or the hinge's threshold."""
    if code == LOSS_LOGISTIC:
        # log(1 + exp(p)) - y p, arranged so that the exponential never overflows.
        return maximum(prediction, 0.0) - y * prediction + np.log1p(np.exp(-abs(prediction)))
    if code >= LOSS_HINGE:
        margin = y * prediction
        if code == LOSS_MODIFIED_HUBER and margin < -1.0:
            return -4.0 * margin
        threshold = 1.0 if code == LOSS_MODIFIED_HUBER else parameter
        shortfall = maximum(threshold - margin, 0.0)
        return shortfall if code == LOSS_HINGE else shortfall * shortfall
    error = abs(y - prediction)
    if code == LOSS_SQUARED_ERROR or (code == LOSS_HUBER and error <= parameter):
        return 0.5 * error * error
    if code == LOSS_HUBER:
        return parameter * (error - 0.5 * parameter)
    excess = maximum(error - parameter, 0.0)
    return excess if code == LOSS_EPSILON_INSENSITIVE else excess * excess


@jit(inline=True, internal=True)
def loss_gradient(code, parameter, y, prediction):
    """Derivative of the loss of one prediction; at a kink that of the sloping side, as in scikit-learn."""
    if code == LOSS_LOGISTIC:
        if prediction > -37.0:
            e = np.exp(-prediction)
            return ((1.0 - y) - y * e) / (1.0 + e)
        return np.exp(prediction) - y
    if code >= LOSS_HINGE:
        margin = y * prediction
        if code == LOSS_HINGE:
            return -y if margin <= parameter else 0.0
        if code == LOSS_MODIFIED_HUBER and margin < -1.0:
            return -4.0 * y
        threshold = 1.0 if code == LOSS_MODIFIED_HUBER else parameter
        return -2.0 * y * maximum(threshold - margin, 0.0)
    error = prediction - y
    if code == LOSS_SQUARED_ERROR:
        return error
    if code == LOSS_HUBER:
        return minimum(maximum(error, -parameter), parameter)
    excess = maximum(abs(error) - parameter, 0.0)
    sign = 1.0 if error > 0.0 else -1.0
    if code == LOSS_EPSILON_INSENSITIVE:
        return sign if excess > 0.0 else 0.0
    return 2.0 * sign * excess


@jit(internal=True)
def sum_losses(
    code,
    parameter,
    n,
    y,  # (n or more,) float64
    predictions,  # (n or more,) float64
):
    """Sum of the losses of a block of predictions, in the order of the block."""
    total = 0.0
    for i in range(n):
        total += loss_value(code, parameter, y[i], predictions[i])
    return total
