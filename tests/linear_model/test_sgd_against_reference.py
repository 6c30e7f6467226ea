"""SGDRegressor and SGDClassifier in batches against the plain reference, update for update."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import scale

from fastfit.linear_model import SGDClassifier, SGDRegressor
from tests.reference import sgd_reference

N_EPOCHS = 3
EXACT = {"max_iter": N_EPOCHS, "tol": None, "shuffle": False}
OPTIMIZERS = [
    {},
    {"momentum": 0.8},
    {"momentum": 0.8, "nesterov": True},
    {"optimizer": "adam"},
    {"optimizer": "adam", "beta_1": 0.5, "beta_2": 0.9},
]


def regression_data(n_samples=101):
    X, y = load_diabetes(return_X_y=True)
    return 0.3 * scale(X)[:n_samples], scale(y)[:n_samples]


def classification_data(n_samples=101):
    X, y = load_breast_cancer(return_X_y=True)
    return 0.2 * scale(X)[:n_samples], y[:n_samples]


def assert_same_run(model, reference, rtol=1e-7):
    assert model.fit_engine_ == "fastfit"
    averaged = bool(model.average)
    coef, intercept = (reference.average_coef, reference.average_intercept) if averaged else reference[:2]
    assert_allclose(model.coef_.ravel(), coef, rtol=rtol, atol=rtol * np.abs(coef).max())
    assert_allclose(model.intercept_[0], intercept, rtol=rtol, atol=rtol)
    assert_allclose(model.loss_curve_, reference.objectives, rtol=rtol)


@pytest.mark.plain_python
@pytest.mark.parametrize("settings", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [7, 40])
def test_regressor_on_few_samples(batch_size, settings):
    # 45 samples: the last batch is short, and of the batches of 40 each is two chunks of the kernel.
    X, y = regression_data(45)
    settings = settings | {"alpha": 0.1, "eta0": 0.1, "batch_size": batch_size}
    model = SGDRegressor(**settings, **EXACT).fit(X, y)
    assert_same_run(model, sgd_reference(X, y, n_epochs=N_EPOCHS, **settings))


@pytest.mark.plain_python
@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
def test_classifier_on_few_samples(loss):
    X, y = classification_data(45)
    settings = {"loss": loss, "alpha": 0.1, "batch_size": 7}
    model = SGDClassifier(**settings, **EXACT).fit(X, y)
    reference = sgd_reference(X, 2.0 * y - 1, n_epochs=N_EPOCHS, learning_rate="optimal", **settings)
    assert_same_run(model, reference)


@pytest.mark.parametrize("settings", OPTIMIZERS)
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "optimal"])
def test_penalties_and_schedules(learning_rate, penalty, settings):
    X, y = regression_data()
    settings = settings | {"penalty": penalty, "alpha": 0.2, "learning_rate": learning_rate, "eta0": 0.05}
    model = SGDRegressor(batch_size=16, **settings, **EXACT).fit(X, y)
    assert_same_run(model, sgd_reference(X, y, n_epochs=N_EPOCHS, batch_size=16, **settings), rtol=1e-6)


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_the_regressor(loss, weighted):
    X, y = regression_data()
    s = np.random.default_rng(0).uniform(0.5, 2, len(y)) if weighted else None
    settings = {"loss": loss, "batch_size": 16, "alpha": 0.01, "eta0": 0.1}
    model = SGDRegressor(**settings, **EXACT).fit(X, y, sample_weight=s)
    assert_same_run(model, sgd_reference(X, y, n_epochs=N_EPOCHS, sample_weight=s, **settings))


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "perceptron", "log_loss", "modified_huber"])
@pytest.mark.parametrize("class_weight", [None, {0: 2.0, 1: 0.5}])
def test_losses_of_the_classifier(loss, class_weight):
    X, y = classification_data()
    settings = {"loss": loss, "batch_size": 16, "alpha": 0.1, "learning_rate": "optimal"}
    model = SGDClassifier(class_weight=class_weight, **settings, **EXACT).fit(X, y)
    s = np.where(y == 0, 2.0, 0.5) if class_weight else None
    assert_same_run(model, sgd_reference(X, 2.0 * y - 1, n_epochs=N_EPOCHS, sample_weight=s, **settings))


@pytest.mark.parametrize("average", [1, 5])
@pytest.mark.parametrize("penalty", ["l2", "elasticnet"])
@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_averages(settings, penalty, average):
    X, y = regression_data()
    settings = settings | {
        "penalty": penalty,
        "average": average,
        "batch_size": 16,
        "alpha": 0.1,
        "eta0": 0.05,
    }
    model = SGDRegressor(**settings, **EXACT).fit(X, y)
    assert_same_run(model, sgd_reference(X, y, n_epochs=N_EPOCHS, **settings), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_without_intercept(batch_size):
    X, y = regression_data()
    model = SGDRegressor(batch_size=batch_size, fit_intercept=False, **EXACT).fit(X, y)
    reference = sgd_reference(X, y, n_epochs=N_EPOCHS, batch_size=batch_size, fit_intercept=False)
    assert_same_run(model, reference)


@pytest.mark.parametrize("settings", [{}, *OPTIMIZERS[1:4]])
def test_batches_of_one(settings):
    X, y = regression_data()
    model = SGDRegressor(**settings, alpha=0.1, eta0=0.02, **EXACT).fit(X, y)
    assert_same_run(
        model, sgd_reference(X, y, n_epochs=N_EPOCHS, alpha=0.1, eta0=0.02, **settings), rtol=1e-6
    )


def test_float32_follows_the_same_path():
    X, y = regression_data()
    X, y = X.astype(np.float32), y.astype(np.float32)
    model = SGDRegressor(batch_size=16, **EXACT).fit(X, y)
    reference = sgd_reference(X.astype(float), y.astype(float), n_epochs=N_EPOCHS, batch_size=16)
    assert_same_run(model, reference, rtol=1e-4)
