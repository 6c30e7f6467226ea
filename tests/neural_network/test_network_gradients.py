"""The gradient that L-BFGS descends: finite differences of every layer, activation, loss and penalty."""

import numpy as np
import pytest

from fastfit.neural_network.initial_weights import draw_initial_weights
from fastfit.training.network import Network, NetworkSpec, make_training_data
from tests.neural_network.plain_network import ACTIVATIONS, PlainNetwork

PROBLEMS = {
    "identity": "squared_error",
    "exp": "poisson",
    "logistic": "log_loss",
    "softmax": "log_loss",
}
N_OUTPUTS = 3


def problem(output, n_outputs=N_OUTPUTS, n_samples=6, n_features=5):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n_samples, n_features))
    codes = rng.integers(0, n_outputs, n_samples)
    Y = {
        "identity": rng.standard_normal((n_samples, n_outputs)),
        "exp": rng.poisson(2.0, (n_samples, n_outputs)).astype(float),
        "logistic": rng.integers(0, 2, (n_samples, n_outputs)).astype(float),
        "softmax": np.eye(n_outputs)[codes],
    }[output]
    return X, Y, codes if output == "softmax" else Y, rng.uniform(0.5, 2.0, n_samples)


def networks(activation, output, hidden, alpha, n_outputs=N_OUTPUTS, n_features=5):
    """The kernels' network, the plain one, and their weights packed as L-BFGS packs them."""
    units = (n_features, *hidden, n_outputs)
    weights = draw_initial_weights(np.random.RandomState(4), units, activation, np.float64)
    spec = NetworkSpec(units, np.dtype(np.float64), activation, output, PROBLEMS[output])
    plain = PlainNetwork(*weights, activation, output, PROBLEMS[output], alpha)
    packed = np.concatenate([array.ravel() for array in (*weights[0], *weights[1])])
    return Network(spec, *weights), spec, plain, packed


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (3, 5, 2), (2, 3, 2, 4)], ids=len)
@pytest.mark.parametrize("output", PROBLEMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_that_of_the_equations(activation, output, hidden, is_weighted):
    X, Y, target, weight = problem(output)
    weight = weight if is_weighted else None
    network, spec, plain, packed = networks(activation, output, hidden, alpha=0.7)
    loss, gradient = network.loss_and_gradient(packed, make_training_data(spec, X, target, weight), 0.7)
    expected_loss, expected = plain.loss_and_gradients(X, Y, weight)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(gradient, np.concatenate([g.ravel() for g in expected]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("output", PROBLEMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_is_that_of_finite_differences(activation, output, alpha):
    # scikit-learn's squared error is a mean over the outputs, and the gradient that it descends that of their sum.
    n_outputs = 1 if output == "identity" else N_OUTPUTS
    X, _, target, weight = problem(output, n_outputs)
    network, spec, _, packed = networks(activation, output, (4, 3), alpha, n_outputs)
    data = make_training_data(spec, X, target, weight)
    _, gradient = network.loss_and_gradient(packed, data, alpha)
    step = 1e-6
    for k in range(len(packed)):
        losses = []
        for sign in (1.0, -1.0):
            moved = packed.copy()
            moved[k] += sign * step
            losses.append(network.loss_and_gradient(moved, data, alpha)[0])
        assert gradient[k] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-7)
