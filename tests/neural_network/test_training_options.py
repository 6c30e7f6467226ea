"""Weights, validation data, going on: what a training run can be asked for beside its solver, as in scikit-learn."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from fastfit.neural_network import MLPClassifier, MLPRegressor
from tests.neural_network.network_pairs import (
    assert_same_run,
    assert_same_weights,
    data_for,
    fit_pair,
    pair_for,
    quietly,
)

KINDS = ("binary", "multiclass", "multilabel", "one target", "targets", "counts")
SHORT = {
    "hidden_layer_sizes": (6,),
    "activation": "tanh",
    "random_state": 0,
    "batch_size": 16,
    "max_iter": 8,
    "learning_rate_init": 0.01,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_sample_weights(kind, solver):
    X, y = data_for(kind)
    weight = np.random.default_rng(1).uniform(0.1, 3.0, len(X))
    mine, reference = fit_pair(pair_for(kind, solver=solver, **SHORT), X, y, sample_weight=weight)
    assert_same_run(mine, reference, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_sample_weights_of_lbfgs(kind):
    X, y = data_for(kind)
    weight = np.random.default_rng(1).integers(0, 3, len(X))
    pair = pair_for(kind, **{**SHORT, "solver": "lbfgs"})
    mine, reference = fit_pair(pair, X, y, sample_weight=weight)
    assert_same_weights(mine, reference, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_early_stopping_keeps_the_best_weights(kind, is_weighted):
    X, y = data_for(kind, n_samples=120)
    weight = np.random.default_rng(1).uniform(0.1, 3.0, len(X)) if is_weighted else None
    settings = {**SHORT, "max_iter": 40, "learning_rate_init": 0.05, "n_iter_no_change": 4}
    pair = pair_for(kind, early_stopping=True, validation_fraction=0.2, **settings)
    mine, reference = fit_pair(pair, X, y, sample_weight=weight)
    assert_same_run(mine, reference, 1e-5)
    assert mine.best_validation_score_ == max(mine.validation_scores_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit(kind, solver):
    X, y = data_for(kind)
    pair = pair_for(kind, solver=solver, **SHORT)
    classes = {"classes": np.unique(y) if y.ndim == 1 else np.arange(3)}
    first_call = classes if kind in ("binary", "multiclass", "multilabel") else {}
    for estimator in pair:
        for start in (0, 30, 60, 0):
            rows = slice(start, start + 30)
            estimator.partial_fit(X[rows], y[rows], **first_call)
    assert_same_run(*pair, 1e-6)
    assert len(pair[0].loss_curve_) == 4


def test_partial_fit_keeps_the_rate_that_it_began_with():
    X, y = data_for("one target")
    pair = pair_for("one target", **SHORT)
    for estimator in pair:
        estimator.partial_fit(X, y)
        estimator.set_params(learning_rate_init=1.0).partial_fit(X, y)
    assert_same_run(*pair, 1e-6)


def test_partial_fit_goes_on_after_fit():
    X, y = data_for("multiclass")
    pair = fit_pair(pair_for("multiclass", **SHORT), X, y)
    for estimator in pair:
        estimator.partial_fit(X, y)
    assert_same_run(*pair, 1e-6)


def test_partial_fit_goes_on_after_a_pickle():
    X, y = data_for("multiclass")
    model = quietly(MLPClassifier(**SHORT).fit, X, y)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    for estimator in (model, copied):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], copied.coefs_[0])


def test_partial_fit_does_not_write_into_a_copy():
    X, y = data_for("one target")
    model = quietly(MLPRegressor(**SHORT).fit, X, y)
    shallow = copy.copy(model)
    before = copy.deepcopy((model.coefs_, model._optimizer.state))
    model.partial_fit(X, y)
    np.testing.assert_array_equal(shallow.coefs_[0], before[0][0])
    np.testing.assert_array_equal(shallow._optimizer.state.first, before[1].first)
    assert not np.array_equal(model.coefs_[0], shallow.coefs_[0])


@pytest.mark.parametrize("kind", ["binary", "targets"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_start(kind, solver):
    X, y = data_for(kind)
    pair = pair_for(kind, warm_start=True, **{**SHORT, "solver": solver})
    fit_pair(pair, X, y)
    fit_pair(pair, X, y)
    mine, reference = pair
    assert_same_weights(mine, reference, 1e-4 if solver == "lbfgs" else 1e-6)
    assert mine.n_iter_ == reference.n_iter_
    if solver != "lbfgs":
        assert len(mine.loss_curve_) == 16
        assert_same_run(mine, reference, 1e-6)


def test_warm_start_from_lbfgs_to_adam():
    X, y = data_for("one target")
    model = MLPRegressor(warm_start=True, **{**SHORT, "solver": "lbfgs"})
    loss = quietly(model.fit, X, y).loss_
    quietly(model.set_params(solver="adam", learning_rate_init=1e-5).fit, X, y)
    assert len(model.loss_curve_) == 8
    assert model.loss_curve_[0] == pytest.approx(loss, rel=1e-2)


def test_warm_start_with_early_stopping_never_loses_the_best_weights():
    X, y = data_for("one target", n_samples=120)
    settings = {**SHORT, "learning_rate_init": 0.05, "max_iter": 30}
    model = quietly(MLPRegressor(early_stopping=True, warm_start=True, **settings).fit, X, y)
    best, coefs = model.best_validation_score_, model.coefs_
    quietly(model.set_params(learning_rate_init=3.0, max_iter=2).fit, X, y)
    assert model.best_validation_score_ == best
    np.testing.assert_array_equal(model.coefs_[0], coefs[0])


def test_warm_start_refuses_another_number_of_targets():
    X, y = data_for("targets")
    model = quietly(MLPRegressor(warm_start=True, **SHORT).fit, X, y)
    with pytest.raises(ValueError, match=r"y has 2 outputs, but the network .* has 3"):
        model.fit(X, y[:, :2])


@pytest.mark.parametrize("order", ["F", "strided", "read-only"])
def test_arrays_of_any_layout(order):
    X, y = data_for("multiclass")
    other = {"F": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=1)[:, ::2], "read-only": X.copy()}[
        order
    ]
    other.flags.writeable = order != "read-only"
    model, expected = MLPClassifier(**SHORT), MLPClassifier(**SHORT)
    quietly(model.fit, other, y), quietly(expected.fit, X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(model.predict(other), expected.predict(X))


def test_a_new_fit_forgets_the_former_one():
    X, y = data_for("binary")
    model = quietly(MLPClassifier(early_stopping=True, **SHORT).fit, X, y)
    quietly(model.set_params(early_stopping=False).fit, X, y)
    fresh = quietly(clone(model).fit, X, y)
    assert model.validation_scores_ is None
    assert model.loss_curve_ == fresh.loss_curve_
    quietly(model.set_params(solver="lbfgs").fit, X, y)
    assert not hasattr(model, "loss_curve_")


@pytest.mark.plain_python
def test_a_few_rows():
    X, y = data_for("multiclass", n_samples=9, n_features=3)
    mine, reference = fit_pair(pair_for("multiclass", **{**SHORT, "max_iter": 2, "batch_size": 4}), X, y)
    assert_same_run(mine, reference, 1e-6)
