"""The gradient noise scale, against what is known in closed form and against NumPy."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastfit.inspection import gradient_noise_scale
from fastfit.inspection.losses import ERROR_LOSSES, MARGIN_LOSSES, data_loss
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.neural_network import MLPClassifier, MLPRegressor
from fastfit.tree import DecisionTreeRegressor

N, D = 60_000, 10


def gaussian_data(seed, noise):
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(N, D)), rng.normal(size=D)
    return X, X @ weights + noise * rng.normal(size=N), weights


def closed_form(weights, noise):
    """With the distance w from the true weights: tr(S) = (d + 1) |w|^2 + d s^2, and G = -w."""
    square = weights @ weights
    return ((D + 1) * square + D * noise**2) / square


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.5, 3.0])
@pytest.mark.parametrize("kind", [LinearRegression, SGDRegressor])
def test_linear_regression_with_gaussian_noise_is_within_15_percent(kind, noise, seed):
    X, y, weights = gaussian_data(seed, noise)
    model = kind(batch_size=8, max_iter=1, fit_intercept=False).fit(X[:100], y[:100])
    model.coef_ = np.zeros(D)
    estimate = gradient_noise_scale(model, X, y, random_state=seed)
    assert estimate.noise_scale == pytest.approx(closed_form(weights, noise), rel=0.15)
    assert estimate.gradient_square == pytest.approx(weights @ weights, rel=0.15)
    assert abs(estimate.noise_scale - closed_form(weights, noise)) < 5 * estimate.standard_error


def test_the_intercept_counts_as_a_feature_that_is_always_one():
    # Gradients x (x w) and x w of the weights and the intercept: tr(S) = (d + 1) |w|^2 + d s^2 + |w|^2 + s^2.
    X, y, weights = gaussian_data(0, 1.0)
    model = SGDRegressor(batch_size=8, max_iter=1).fit(X[:100], y[:100])
    model.coef_, model.intercept_ = np.zeros(D), np.zeros(1)
    square = weights @ weights
    expected = ((D + 2) * square + D + 1) / square
    assert gradient_noise_scale(model, X, y, random_state=0).noise_scale == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("batch_size", [1, 16, 200])
def test_the_batch_size_of_the_estimate_does_not_matter(batch_size):
    X, y, weights = gaussian_data(1, 1.0)
    model = SGDRegressor(batch_size=8, max_iter=1, fit_intercept=False).fit(X[:100], y[:100])
    model.coef_ = np.zeros(D)
    rows = slice(0, 2000 if batch_size == 1 else N)
    estimate = gradient_noise_scale(model, X[rows], y[rows], batch_size=batch_size, random_state=0)
    assert estimate.small_batch == batch_size
    assert estimate.noise_scale == pytest.approx(closed_form(weights, 1.0), rel=0.3)


def test_at_the_minimum_the_gradient_cannot_be_told_from_zero():
    X, y, _ = gaussian_data(0, 1.0)
    estimate = gradient_noise_scale(LinearRegression().fit(X, y), X, y, random_state=0)
    assert estimate.noise_scale == np.inf
    assert np.isnan(estimate.standard_error)
    assert estimate.trace == pytest.approx(D, rel=0.1), "d s^2 is left"


@pytest.mark.parametrize(
    "loss", ["log_loss", "hinge", "squared_hinge", "modified_huber", "squared_error", "huber"]
)
def test_slopes_are_derivatives_of_the_losses(loss):
    if loss in MARGIN_LOSSES:
        value, slope = MARGIN_LOSSES[loss]
        at, step = np.linspace(-2.9, 2.9, 30), 1e-6
        np.testing.assert_allclose(slope(at), (value(at + step) - value(at - step)) / (2 * step), atol=1e-5)
    if loss in ERROR_LOSSES:
        value, slope = ERROR_LOSSES[loss]
        at, step = np.linspace(-2.9, 2.9, 30), 1e-6
        numeric = (value(at + step, 0.4) - value(at - step, 0.4)) / (2 * step)
        np.testing.assert_allclose(slope(at, 0.4), numeric, atol=1e-5)


def test_data_loss_is_what_the_estimators_minimise():
    X, y = load_iris(return_X_y=True)
    # Without penalty, and with steps so small that nothing moves, the recorded loss of an epoch is that of its start.
    settings = {"penalty": None, "learning_rate": "constant", "eta0": 1e-12, "max_iter": 1, "tol": None}
    for loss in ("log_loss", "hinge", "modified_huber"):
        model = SGDClassifier(loss=loss, **settings).fit(X, y)
        assert data_loss(model, X, y) == pytest.approx(np.mean(model.loss_curve_), rel=1e-6)
    model = SGDRegressor(loss="huber", **settings).fit(X, y)
    assert data_loss(model, X, y) == pytest.approx(model.loss_curve_[0], rel=1e-6)
    still = {"alpha": 0.0, "max_iter": 1, "solver": "sgd", "learning_rate_init": 1e-12, "random_state": 0}
    for network, target in (
        (MLPClassifier(**still), y),
        (MLPClassifier(**still), y == 1),
        (MLPRegressor(**still), y.astype(float)),
        (MLPRegressor(loss="poisson", **still), y + 1.0),
    ):
        network.fit(X, target)
        expected = network.loss_curve_[0]
        if (
            network.loss == "poisson"
        ):  # scikit-learn's leaves out what does not depend on the model, as ours does
            prediction = network.predict(X)
            expected = np.mean(prediction - target * np.log(prediction))
        assert data_loss(network, X, target) == pytest.approx(expected, rel=1e-5)


def test_network_gradients_are_those_of_the_loss():
    """A network without hidden layers cannot be had, so one gradient is checked by differences."""
    from fastfit.inspection.noise_scale import _network_gradients

    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((4,), max_iter=3, activation="tanh", random_state=0).fit(X, y)
    gradient = _network_gradients(model, X, y)(np.arange(len(X)))
    before = data_loss(model, X, y)
    model.coefs_[0] = model.coefs_[0].copy()
    model.coefs_[0][1, 2] += 1e-6
    after = data_loss(model, X, y)
    assert gradient[1 * 4 + 2] == pytest.approx((after - before) / 1e-6, rel=1e-3)


def test_networks_and_class_weights():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, y)
    estimate = gradient_noise_scale(model, X, y, random_state=0)
    assert 0 < estimate.noise_scale < np.inf
    for kind in (SGDClassifier, MLPClassifier):
        plain = kind(max_iter=5, random_state=0).fit(X, y)
        expected = gradient_noise_scale(plain, X, y, random_state=0)
        plain.class_weight = {0: 2.0, 1: 2.0, 2: 2.0}
        doubled = gradient_noise_scale(plain, X, y, random_state=0)
        assert doubled.noise_scale == pytest.approx(expected.noise_scale, rel=1e-6)


def test_what_cannot_be_estimated():
    X, y = load_iris(return_X_y=True)
    model = SGDRegressor().fit(X, y)
    with pytest.raises(ValueError, match="needs two batches at least, and 150 samples make 1 of 100"):
        gradient_noise_scale(model, X, y, batch_size=100)
    with pytest.raises(ValueError, match="DecisionTreeRegressor has no batches"):
        gradient_noise_scale(DecisionTreeRegressor().fit(X, y), X, y)
