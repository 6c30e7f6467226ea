"""Curve for curve: the same losses, scores, epochs and weights as scikit-learn's, over what a run depends on."""

import numpy as np
import pytest

from tests.neural_network.network_pairs import (
    RTOL,
    assert_same_run,
    assert_same_weights,
    data_for,
    fit_pair,
    pair_for,
    quietly,
)

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
HIDDEN = ((), (9,), (9, 5), (6, 9, 4), (7, 5, 8, 3))
KINDS = ("binary", "multiclass", "multilabel", "one target", "targets", "counts")
DTYPES = (np.float64, np.float32)
LBFGS_ITERATIONS = {np.float64: 15, np.float32: 6}
LBFGS_RTOL = {np.float64: 1e-5, np.float32: 1e-2}
TWENTY_EPOCHS = {
    "max_iter": 20,
    "batch_size": 32,
    "random_state": 0,
    "n_iter_no_change": 100,
    "learning_rate_init": 0.01,
}
SOLVERS = {
    "adam": {"solver": "adam"},
    "adam with other rates": {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4},
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1e-2},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN, ids=len)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", ["adam", "nesterov"])
def test_solvers_activations_layers(solver, activation, hidden, dtype):
    X, y = data_for("multiclass", dtype=dtype)
    settings = {**TWENTY_EPOCHS, **SOLVERS[solver]}
    pair = pair_for("multiclass", activation=activation, hidden_layer_sizes=hidden, **settings)
    assert_same_run(*fit_pair(pair, X, y), RTOL[dtype])
    assert pair[0].n_iter_ == 20
    assert pair[0].fit_engine_ == "fastfit"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_problems(kind, solver, dtype):
    X, y = data_for(kind, dtype=dtype)
    settings = {**TWENTY_EPOCHS, **SOLVERS[solver]}
    pair = pair_for(kind, activation="tanh", hidden_layer_sizes=(9, 5), **settings)
    assert_same_run(*fit_pair(pair, X, y), RTOL[dtype])
    predictions, expected = (estimator.predict(X) for estimator in pair)
    assert predictions.dtype == expected.dtype
    np.testing.assert_allclose(predictions, expected, rtol=10 * RTOL[dtype], atol=10 * RTOL[dtype])


@pytest.mark.parametrize("kind", ["multiclass", "one target", "counts"])
@pytest.mark.parametrize("alpha", [0.0, 10.0])
def test_penalty(kind, alpha):
    X, y = data_for(kind)
    pair = pair_for(kind, hidden_layer_sizes=(9,), alpha=alpha, activation="logistic", **TWENTY_EPOCHS)
    assert_same_run(*fit_pair(pair, X, y), 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs(kind, activation, dtype):
    X, y = data_for(kind, dtype=dtype)
    settings = {"solver": "lbfgs", "max_iter": LBFGS_ITERATIONS[dtype], "random_state": 3}
    pair = pair_for(kind, activation=activation, hidden_layer_sizes=(5, 4), **settings)
    mine, reference = fit_pair(pair, X, y)
    assert mine.n_iter_ == reference.n_iter_
    # Every line search amplifies what the order of a sum has changed.
    assert mine.loss_ == pytest.approx(reference.loss_, rel=LBFGS_RTOL[dtype], abs=LBFGS_RTOL[dtype])
    assert_same_weights(mine, reference, LBFGS_RTOL[dtype])
    assert not hasattr(mine, "loss_curve_")


def test_lbfgs_converges_after_as_many_iterations():
    X, y = data_for("one target", n_samples=60)
    pair = pair_for(
        "one target", solver="lbfgs", hidden_layer_sizes=(3,), alpha=5.0, activation="tanh", tol=1e-5
    )
    for estimator in pair:
        estimator.set_params(random_state=1)
    mine, reference = fit_pair(pair, X, y)
    assert mine.n_iter_ == reference.n_iter_ < 200
    assert_same_weights(mine, reference, 1e-4)


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 30, 89, 90, 91, 1000])
def test_batches(batch_size):
    X, y = data_for("binary")
    settings = {**TWENTY_EPOCHS, "batch_size": batch_size, "max_iter": 5}
    pair = pair_for("binary", hidden_layer_sizes=(9,), activation="tanh", **settings)
    assert_same_run(*fit_pair(pair, X, y), 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_without_shuffles(kind):
    X, y = data_for(kind)
    pair = pair_for(kind, hidden_layer_sizes=(9,), activation="tanh", shuffle=False, **TWENTY_EPOCHS)
    assert_same_run(*fit_pair(pair, X, y), 1e-6)


def test_training_stops_after_the_same_epoch():
    X, y = data_for("multiclass", n_samples=60)
    pair = pair_for("multiclass", hidden_layer_sizes=(5,), tol=1e-2, n_iter_no_change=3, random_state=0)
    mine, reference = fit_pair(pair, X, y)
    assert_same_run(mine, reference, 1e-6)
    assert mine.n_iter_ < 200


@pytest.mark.parametrize("settings", ["nesterov", "adaptive", "invscaling", "adam"])
def test_optimizers_show_the_same_learning_rate(settings):
    X, y = data_for("binary", n_samples=40)
    options = {**TWENTY_EPOCHS, **SOLVERS[settings], "max_iter": 60, "batch_size": 10}
    mine, reference = fit_pair(pair_for("binary", hidden_layer_sizes=(4,), **options), X, y)
    assert mine._optimizer.learning_rate == pytest.approx(reference._optimizer.learning_rate, rel=1e-12)
    assert getattr(mine._optimizer, "t", None) == getattr(reference._optimizer, "t", None)


def test_generators_are_left_in_the_same_state():
    X, y = data_for("binary")
    generators = [np.random.RandomState(5) for _ in range(2)]
    pair = pair_for("binary", hidden_layer_sizes=(4,), early_stopping=True, max_iter=4)
    for estimator, generator in zip(pair, generators, strict=True):
        quietly(estimator.set_params(random_state=generator).fit, X, y)
    assert generators[0].randint(2**31) == generators[1].randint(2**31)


def test_what_is_printed_is_the_same(capsys):
    X, y = data_for("binary")
    texts = []
    for estimator in pair_for("binary", hidden_layer_sizes=(4,), random_state=0):
        estimator.set_params(verbose=True, early_stopping=True, tol=0.1, n_iter_no_change=2)
        quietly(estimator.fit, X, y)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "Stopping" in texts[0]
