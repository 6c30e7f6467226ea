"""The references themselves: they agree with scikit-learn and with first principles where those speak."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.preprocessing import scale

from tests.reference import AdamState, SGDState, gradient_descent_reference, linear_loss, sgd_reference

CLASSIFICATION = ["hinge", "squared_hinge", "perceptron", "log_loss", "modified_huber"]
REGRESSION = ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
PENALTIES = ["l2", "l1", "elasticnet", None]


def classification_data():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X)[:120, :8], y[:120]


def regression_data():
    X, y = load_diabetes(return_X_y=True)
    # Rows of norm one, about: with steps below 2 the descent then cannot blow up and magnify rounding.
    return 0.3 * scale(X)[:120], scale(y)[:120]


def assert_same_model(reference, model, average=0):
    coef, intercept = (reference.average_coef, reference.average_intercept) if average else reference[:2]
    assert_allclose(coef, model.coef_.ravel(), rtol=1e-7, atol=1e-12)
    assert_allclose(intercept, model.intercept_[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", CLASSIFICATION)
def test_batches_of_one_are_scikit_learn_s_classifier(loss, penalty):
    X, y = classification_data()
    settings = {"loss": loss, "penalty": penalty, "alpha": 0.01, "learning_rate": "optimal"}
    model = SGDClassifier(**settings, max_iter=3, tol=None, shuffle=False).fit(X, y)
    assert_same_model(sgd_reference(X, 2.0 * y - 1, n_epochs=3, **settings), model)


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "optimal"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", REGRESSION)
def test_batches_of_one_are_scikit_learn_s_regressor(loss, penalty, learning_rate):
    X, y = regression_data()
    s = np.random.default_rng(0).uniform(0.5, 2, len(y))
    settings = {"loss": loss, "penalty": penalty, "alpha": 0.5, "learning_rate": learning_rate, "eta0": 0.05}
    model = SGDRegressor(**settings, max_iter=3, tol=None, shuffle=False).fit(X, y, sample_weight=s)
    assert_same_model(sgd_reference(X, y, n_epochs=3, sample_weight=s, **settings), model)


@pytest.mark.parametrize("average", [1, 50])
def test_average_is_scikit_learn_s(average):
    X, y = regression_data()
    model = SGDRegressor(average=average, max_iter=3, tol=None, shuffle=False).fit(X, y)
    assert_same_model(sgd_reference(X, y, n_epochs=3, average=average), model, average)


@pytest.mark.parametrize("loss", CLASSIFICATION + REGRESSION)
def test_slopes_are_finite_differences(loss):
    value, slope = linear_loss(loss)
    y = 1.0 if loss in CLASSIFICATION else 0.3
    for p in (-2.3, -0.7, 0.25, 0.9, 2.1):
        difference = approx_fprime(np.array([p]), lambda p: float(value(y, p[0])))
        assert_allclose(slope(y, p), difference[0], atol=1e-6)


def test_one_full_batch_is_a_step_of_gradient_descent():
    X, y = regression_data()
    result = sgd_reference(
        X, y, penalty=None, learning_rate="constant", eta0=0.1, batch_size=len(y), n_epochs=1
    )
    assert_allclose(result.coef, 0.1 * X.T @ y / len(y))
    assert_allclose(result.objectives, [0.5 * np.mean(y**2)])


def test_heavy_ball_and_nesterov_on_a_quadratic():
    # f(w) = w^2 / 2 from one sample x = 1, y = 0 starting at the w that a first sample y = 1 leaves: by hand.
    X, y = np.ones((2, 1)), np.array([1.0, 0.0])
    settings = {
        "penalty": None,
        "learning_rate": "constant",
        "eta0": 0.5,
        "fit_intercept": False,
        "n_epochs": 1,
    }
    heavy = sgd_reference(X, y, momentum=0.9, **settings)
    # w1 = v1 = 0.5; v2 = 0.9 * 0.5 - 0.5 * 0.5 = 0.2; w2 = 0.7
    assert_allclose(heavy.coef, [0.7])
    nesterov = sgd_reference(X, y, momentum=0.9, nesterov=True, **settings)
    # v1 = 0.5, w1 = 0.45 + 0.5 = 0.95; v2 = 0.45 - 0.475 = -0.025; w2 = 0.95 - 0.0225 - 0.475 = 0.4525
    assert_allclose(nesterov.coef, [0.4525])


def test_first_steps_of_adam():
    state = AdamState(2, beta_1=0.9, beta_2=0.999, epsilon=0.0)
    # Unbiased moments of a single gradient are the gradient and its square: the step has length eta.
    assert_allclose(state.update(np.array([3.0, -0.2]), 0.1), [-0.1, 0.1])
    # Then (0.9 * 0.1 * 3 + 0.1 * 1) / 0.19 over sqrt((0.999 * 0.001 * 9 + 0.001 * 1) / 0.001999).
    expected = -0.1 * (0.37 / 0.19) / np.sqrt(0.009991 / 0.001999)
    assert_allclose(state.update(np.array([1.0, -0.2]), 0.1)[0], expected)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (AdamOptimizer([np.zeros(3)], 0.05), AdamState(3, beta_1=0.9, beta_2=0.999, epsilon=1e-8)),
        (SGDOptimizer([np.zeros(3)], 0.05, momentum=0.8, nesterov=False), SGDState(3, 0.8, nesterov=False)),
        (SGDOptimizer([np.zeros(3)], 0.05, momentum=0.8, nesterov=True), SGDState(3, 0.8, nesterov=True)),
    ],
)
def test_optimizers_are_those_of_scikit_learn_s_perceptron(theirs, ours):
    rng = np.random.default_rng(0)
    parameters = [np.zeros(3)]
    expected = np.zeros(3)
    for _ in range(20):
        gradient = rng.normal(size=3)
        theirs.update_params(parameters, [gradient])
        expected = expected + ours.update(gradient, 0.05)
    assert_allclose(parameters[0], expected, rtol=1e-12)


@pytest.mark.parametrize("targets", [(), (3,)])
@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}, {"positive": True}]
)
def test_gradient_descent_ends_at_least_squares(settings, targets):
    rng = np.random.default_rng(0)
    X, s = rng.normal(1.0, 1.0, (60, 4)), rng.uniform(0.5, 2.0, 60)
    y = rng.normal(size=(60, *targets))
    model = LinearRegression(positive=settings.get("positive", False)).fit(X, y, sample_weight=s)
    iterates, intercept = gradient_descent_reference(
        X, y, learning_rate=0.3, n_iter=400, sample_weight=s, **settings
    )
    assert_allclose(iterates[-1], model.coef_, atol=1e-8)
    assert_allclose(intercept, model.intercept_, atol=1e-8)


def test_gradient_descent_minimises_the_mean_squared_error():
    X, y = regression_data()
    iterates, _ = gradient_descent_reference(X, y, learning_rate=0.1, n_iter=1, fit_intercept=False)
    gradient = approx_fprime(np.zeros(X.shape[1]), lambda w: 0.5 * np.mean((X @ w - y) ** 2))
    assert_allclose(iterates[0], -0.1 * gradient, atol=1e-7)
