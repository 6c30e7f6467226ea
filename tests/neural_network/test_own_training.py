"""What only fastfit's networks have, against a reference in plain NumPy."""

from itertools import pairwise

import numpy as np
import pytest

from fastfit.neural_network import MLPClassifier, MLPRegressor
from fastfit.neural_network.learning_rates import scheduled_rate
from tests.neural_network.network_pairs import data_for, quietly
from tests.neural_network.plain_network import PlainNetwork

N_EPOCHS = 6
BASE = {
    "hidden_layer_sizes": (6, 4),
    "batch_size": 16,
    "max_iter": N_EPOCHS,
    "random_state": 0,
    "learning_rate_init": 0.02,
}
REFERENCE_RATE = 0.02


def plain_run(X, y, activation, solver, rates, alpha=1e-4, **settings):
    """Losses and the network after the epochs of `BASE`, by the reference, with the draws of scikit-learn."""
    random_state = np.random.RandomState(0)
    units = (X.shape[1], 6, 4, 1)
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(units):
        bound = np.sqrt(factor / (fan_in + fan_out))
        coefs.append(random_state.uniform(-bound, bound, (fan_in, fan_out)))
        intercepts.append(random_state.uniform(-bound, bound, fan_out))
    network = PlainNetwork(coefs, intercepts, activation, "identity", "squared_error", alpha)
    order, losses = np.arange(len(X)), []
    for epoch in range(N_EPOCHS):
        order = order[random_state.permutation(len(X))]
        losses.append(network.train_epoch(X, y[:, np.newaxis], order, 16, solver, rates(epoch), **settings))
    return losses, network


def constant_rates(epoch):
    return np.full(6, REFERENCE_RATE)


def assert_is_plain_run(model, X, y, rates=constant_rates, solver="adam", **settings):
    quietly(model.fit, X, y)
    losses, network = plain_run(X, y, model.activation, solver, rates, **settings)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-8)
    for array, expected in zip([*model.coefs_, *model.intercepts_], network.arrays, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu"])
def test_activations(activation):
    X, y = data_for("one target")
    assert_is_plain_run(MLPRegressor(activation=activation, **BASE), X, y)


def test_adamw_decays_weights_but_not_intercepts():
    X, y = data_for("one target")
    model = MLPRegressor(solver="adamw", alpha=0.3, **BASE)
    assert_is_plain_run(model, X, y, solver="adamw", alpha=0.0, decay=0.3)


@pytest.mark.parametrize("rho", [0.9, 0.5])
def test_rmsprop(rho):
    X, y = data_for("one target")
    assert_is_plain_run(MLPRegressor(solver="rmsprop", rho=rho, **BASE), X, y, solver="rmsprop", rho=rho)


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_gradient_clipping(solver):
    X, y = data_for("one target")
    model = MLPRegressor(solver=solver, momentum=0.0, nesterovs_momentum=False, max_grad_norm=0.3, **BASE)
    assert_is_plain_run(model, X, 5 * y, solver=solver, max_norm=0.3)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    "schedule",
    [
        {"learning_rate": "cosine"},
        {"learning_rate": "step", "step_epochs": 2, "step_factor": 0.3},
        {"warmup_epochs": 2.5},
        {"learning_rate": "cosine", "warmup_epochs": 3},
    ],
    ids=str,
)
def test_schedules(solver, schedule):
    X, y = data_for("one target")
    model = MLPRegressor(solver=solver, momentum=0.0, nesterovs_momentum=False, **schedule, **BASE)

    def rates(epoch):
        return np.broadcast_to(scheduled_rate(model, REFERENCE_RATE, epoch, 6), 6)

    assert_is_plain_run(model, X, y, rates, solver=solver)


def test_rates_of_a_schedule():
    model = MLPRegressor(learning_rate="cosine", max_iter=4, warmup_epochs=1)
    first, last = scheduled_rate(model, 1.0, 0, 2), scheduled_rate(model, 1.0, 3, 2)
    np.testing.assert_allclose(first, [0.5, (1 + np.cos(np.pi / 8)) / 2])
    np.testing.assert_allclose(last, (1 + np.cos(np.pi * np.array([3, 3.5]) / 4)) / 2)
    assert (scheduled_rate(model, 1.0, 9, 2) == 0.0).all()
    assert scheduled_rate(MLPRegressor(), 0.5, 7, 2) == 0.5


def test_partial_fit_follows_the_schedule():
    X, y = data_for("one target")
    settings = {**BASE, "solver": "sgd", "learning_rate": "step", "step_epochs": 2, "shuffle": False}
    whole = quietly(MLPRegressor(**settings).fit, X, y)
    parts = MLPRegressor(**settings)
    for _ in range(N_EPOCHS):
        parts.partial_fit(X, y)
    np.testing.assert_array_equal(whole.loss_curve_, parts.loss_curve_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout(dtype):
    X, y = data_for("one target", n_samples=400, dtype=dtype)
    settings = {**BASE, "hidden_layer_sizes": (100,), "max_iter": 40}
    plain = quietly(MLPRegressor(**settings).fit, X, y)
    model = quietly(MLPRegressor(dropout=0.5, **settings).fit, X, y)
    again = quietly(MLPRegressor(dropout=0.5, **settings).fit, X, y)
    other = quietly(MLPRegressor(dropout=0.5, **{**settings, "random_state": 1}).fit, X, y)
    # Units are missing while it is trained, and none in predictions.
    assert model.loss_curve_[-1] > 1.2 * plain.loss_curve_[-1]
    assert model.score(X, y) > 0.6
    np.testing.assert_array_equal(model.coefs_[0], again.coefs_[0])
    assert not np.array_equal(model.coefs_[0], other.coefs_[0])


def test_dropout_leaves_the_mean_as_it_is():
    # A linear network that is not trained: its loss under dropout is that of its variance around the same mean.
    X = np.ones((4000, 1))
    y = np.zeros(4000)
    model = MLPRegressor(
        activation="identity",
        hidden_layer_sizes=(50,),
        learning_rate_init=1e-300,
        solver="sgd",
        alpha=0.0,
        max_iter=1,
        random_state=0,
        dropout=0.25,
    )
    quietly(model.fit, X, y)
    hidden = model.coefs_[0][0] + model.intercepts_[0]
    mean = hidden @ model.coefs_[1][:, 0] + model.intercepts_[1][0]
    variance = 0.25 / 0.75 * np.sum((hidden * model.coefs_[1][:, 0]) ** 2)
    assert model.loss_curve_[0] == pytest.approx(0.5 * (mean**2 + variance), rel=0.05)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_class_weight_is_a_weight_of_samples(kind):
    X, y = data_for(kind)
    if y.ndim == 1:
        class_weight = {label: 1.0 + label for label in np.unique(y)}
        weight = 1.0 + y
    else:
        class_weight = [{0: 1.0, 1: 2.0}] * 3
        weight = np.prod(1.0 + y, axis=1)
    settings = {**BASE, "max_iter": 3}
    model = quietly(MLPClassifier(class_weight=class_weight, **settings).fit, X, y)
    expected = quietly(MLPClassifier(**settings).fit, X, y, sample_weight=weight.astype(float))
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    doubled = quietly(
        MLPClassifier(class_weight=class_weight, **settings).fit, X, y, sample_weight=np.full(len(X), 2.0)
    )
    assert not np.array_equal(model.coefs_[0], doubled.coefs_[0])


def test_balanced_classes():
    X, y = data_for("multiclass")
    settings = {**BASE, "max_iter": 3}
    balanced = quietly(MLPClassifier(class_weight="balanced", **settings).fit, X, y)
    counts = np.bincount(y)
    by_hand = {k: len(y) / (3 * counts[k]) for k in range(3)}
    expected = quietly(MLPClassifier(class_weight=by_hand, **settings).fit, X, y)
    np.testing.assert_allclose(balanced.coefs_[0], expected.coefs_[0], rtol=1e-12)
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "one target", "targets"])
def test_validation_data_are_scored_after_each_epoch(kind):
    X, y = data_for(kind, n_samples=150)
    estimator_class = MLPClassifier if kind in ("binary", "multiclass", "multilabel") else MLPRegressor
    model = estimator_class(**BASE)
    quietly(model.fit, X[:90], y[:90], X_val=X[90:], y_val=y[90:])
    plain = quietly(estimator_class(**BASE).fit, X[:90], y[:90])
    assert model.loss_curve_ == plain.loss_curve_
    assert len(model.validation_scores_) == N_EPOCHS
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[90:], y[90:]), rel=1e-12)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_early_stopping_by_given_validation_data():
    X, y = data_for("one target", n_samples=150)
    settings = {**BASE, "max_iter": 200, "learning_rate_init": 0.05, "n_iter_no_change": 5}
    model = MLPRegressor(early_stopping=True, **settings)
    quietly(model.fit, X[:90], y[:90], X_val=X[90:], y_val=y[90:])
    assert model.n_iter_ < 200
    assert model.t_ == model.n_iter_ * 90
    assert model.best_validation_score_ > model.validation_scores_[-1]
    assert model.score(X[90:], y[90:]) == pytest.approx(model.best_validation_score_, rel=1e-12)


def test_validation_labels_that_were_never_seen_are_never_hit():
    X, y = data_for("multiclass", n_samples=150)
    labels = np.array(["a", "b", "c", "z"])
    y_val = np.where(np.arange(60) < 30, labels[y[90:]], "z")
    model = MLPClassifier(**{**BASE, "max_iter": 1})
    quietly(model.fit, X[:90], labels[y[:90]], X_val=X[90:], y_val=y_val)
    assert model.validation_scores_ == [model.score(X[90:], y_val)]
    assert model.validation_scores_[0] <= 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_what_is_computed_with(dtype):
    X, y = data_for("one target")
    model = quietly(MLPRegressor(dtype=dtype, **BASE).fit, X, y)
    expected = quietly(MLPRegressor(**BASE).fit, X.astype(dtype), y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.coefs_[0].dtype == dtype
    assert model.predict(X).dtype == dtype
    np.testing.assert_array_equal(model.predict(X), expected.predict(X.astype(dtype)))


@pytest.mark.parametrize(
    "settings", [{"dropout": 0.5}, {"max_grad_norm": 1.0}, {"warmup_epochs": 2}], ids=str
)
def test_lbfgs_refuses_what_it_has_no_place_for(settings):
    X, y = data_for("one target")
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.* no meaning for solver='lbfgs'"):
        MLPRegressor(solver="lbfgs", **settings).fit(X, y)
    with pytest.raises(ValueError, match="X_val and y_val have no meaning"):
        MLPRegressor(solver="lbfgs").fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu", "silu"])
def test_lbfgs_takes_every_activation(activation):
    X, y = data_for("one target")
    model = MLPRegressor(
        solver="lbfgs", activation=activation, hidden_layer_sizes=(5,), random_state=0, max_iter=60
    )
    assert quietly(model.fit, X, y).score(X, y) > 0.8
