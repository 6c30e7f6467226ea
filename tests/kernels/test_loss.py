"""The losses of linear models against NumPy's formulas and finite differences."""

import numpy as np
import pytest

from fastfit.kernels import loss as losses
from fastfit.runtime.compile import jit
from tests.reference import linear_loss

pytestmark = pytest.mark.plain_python

CODES = {
    "squared_error": (losses.LOSS_SQUARED_ERROR, 0.0),
    "huber": (losses.LOSS_HUBER, 0.1),
    "epsilon_insensitive": (losses.LOSS_EPSILON_INSENSITIVE, 0.1),
    "squared_epsilon_insensitive": (losses.LOSS_SQUARED_EPSILON_INSENSITIVE, 0.1),
    "hinge": (losses.LOSS_HINGE, 1.0),
    "perceptron": (losses.LOSS_HINGE, 0.0),
    "squared_hinge": (losses.LOSS_SQUARED_HINGE, 1.0),
    "log_loss": (losses.LOSS_LOGISTIC, 0.0),
    "modified_huber": (losses.LOSS_MODIFIED_HUBER, 0.0),
}
PREDICTIONS = np.concatenate(
    [np.linspace(-3.0, 3.0, 61), [-800.0, -40.0, 40.0, 800.0, 1.05, 0.95, -1.0, 1.0]]
)


@jit
def evaluate(code, parameter, y, predictions, values_out, gradients_out):
    for i in range(len(predictions)):
        values_out[i] = losses.loss_value(code, parameter, y, predictions[i])
        gradients_out[i] = losses.loss_gradient(code, parameter, y, predictions[i])


def evaluate_loss(name, y, predictions):
    values, gradients = np.empty_like(predictions), np.empty_like(predictions)
    target = max(y, 0.0) if name == "log_loss" else y
    evaluate(*CODES[name], target, predictions, values, gradients)
    return values, gradients


@pytest.mark.parametrize("y", [-1.0, 1.0])
@pytest.mark.parametrize("name", CODES)
def test_against_formulas(name, y):
    value, gradient = linear_loss(name)
    values, gradients = evaluate_loss(name, y, PREDICTIONS)
    np.testing.assert_allclose(values, value(y, PREDICTIONS), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradients, gradient(y, PREDICTIONS), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("y", [-1.0, 1.0])
@pytest.mark.parametrize("name", CODES)
def test_gradient_is_the_slope_of_the_value(name, y):
    # Off the grid of kinks, at which there is no slope.
    points = np.linspace(-2.93, 2.97, 40)
    step = 1e-6
    above, below = (evaluate_loss(name, y, points + sign * step)[0] for sign in (1, -1))
    np.testing.assert_allclose(evaluate_loss(name, y, points)[1], (above - below) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("name", CODES)
def test_nan_is_not_hidden_where_it_could_be_learned_from(name):
    _, gradients = evaluate_loss(name, 1.0, np.array([np.nan]))
    bounded = {"epsilon_insensitive", "hinge", "perceptron"}
    assert np.isnan(gradients[0]) == (name not in bounded)
