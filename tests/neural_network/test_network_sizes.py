"""Odd sizes, any number of threads, and properties that hold for any data."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from fastfit.neural_network import MLPClassifier, MLPRegressor
from fastfit.neural_network.validation_scores import R2, Accuracy
from fastfit.training.network import Network
from tests.neural_network.network_pairs import (
    RTOL,
    assert_same_run,
    assert_same_weights,
    data_for,
    fit_pair,
    pair_for,
    quietly,
)

SHORT = {"random_state": 0, "max_iter": 4, "learning_rate_init": 0.01}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("n_samples", "n_features", "hidden", "batch_size"),
    [
        (1, 1, (3,), "auto"),
        (1, 5, (), "auto"),
        (2, 1, (1,), 1),
        (33, 1, (7,), 8),  # a last batch of one row
        (17, 3, (1, 1, 1), 16),
        (50, 7, (1000,), 25),
        (40, 300, (17,), 13),
        (31, 2, (5, 1, 5), 50),
        (260, 17, (33, 15), 129),
        (64, 16, (16, 16), 16),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["multiclass", "one target"])
def test_sizes(kind, n_samples, n_features, hidden, batch_size, dtype):
    X, y = data_for(kind, n_samples, n_features, dtype)
    settings = {**SHORT, "hidden_layer_sizes": hidden, "batch_size": batch_size, "activation": "tanh"}
    mine, reference = fit_pair(pair_for(kind, **settings), X, y)
    assert_same_run(mine, reference, RTOL[dtype])
    np.testing.assert_allclose(
        mine._forward_pass_fast(X), reference._forward_pass_fast(X), rtol=10 * RTOL[dtype]
    )


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    "settings", [{}, {"dropout": 0.3}, {"max_grad_norm": 0.1}, {"activation": "gelu"}], ids=str
)
def test_threads_do_not_matter(monkeypatch, settings, solver):
    if solver == "lbfgs" and settings.keys() & {"dropout", "max_grad_norm"}:
        pytest.skip("not for lbfgs")
    X, y = data_for("multiclass", n_samples=700, n_features=40, dtype=np.float32)
    models = []
    for n_threads in (1, 2, 3, 8):
        # More threads than this machine has are asked for beneath the budget.
        monkeypatch.setattr(Network, "n_threads_for", lambda self, *args, n=n_threads: n)
        options = {**SHORT, "solver": solver, "batch_size": 300, "hidden_layer_sizes": (70, 33), **settings}
        models.append(quietly(MLPClassifier(**options).fit, X, y))
    for model in models[1:]:
        assert_same_weights(model, models[0], 0.0)
        assert model.loss_ == models[0].loss_


def test_n_jobs_does_not_matter():
    X, y = data_for("multiclass", n_samples=3000, n_features=60, dtype=np.float32)
    settings = {**SHORT, "max_iter": 2, "hidden_layer_sizes": (200, 100), "batch_size": 1000}
    one, all_of_them = (quietly(MLPClassifier(n_jobs=n, **settings).fit, X, y) for n in (1, -1))
    assert_same_weights(one, all_of_them, 0.0)
    np.testing.assert_array_equal(one.predict_proba(X), all_of_them.predict_proba(X))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "one target", "targets", "counts"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("x_dtype", [np.float64, np.float32, np.int32])
def test_predictions_of_few_and_of_many_rows(kind, dtype, x_dtype):
    X, y = data_for(kind, n_samples=1200, n_features=30, dtype=dtype)
    mine, reference = fit_pair(pair_for(kind, hidden_layer_sizes=(40,), **{**SHORT, "max_iter": 2}), X, y)
    mine.coefs_, mine.intercepts_ = reference.coefs_, reference.intercepts_
    X = (3 * X).astype(x_dtype)
    rtol = 1e-5 if np.result_type(dtype, x_dtype) == np.float32 else 1e-9
    for rows in (slice(0, 1), slice(3, 9), slice(None)):
        outputs, expected = (estimator._forward_pass_fast(X[rows]) for estimator in (mine, reference))
        assert outputs.dtype == expected.dtype
        np.testing.assert_allclose(outputs, expected, rtol=rtol, atol=rtol)
        predictions, expected = (estimator.predict(X[rows]) for estimator in (mine, reference))
        assert predictions.dtype == expected.dtype
        assert predictions.shape == expected.shape
        np.testing.assert_allclose(predictions, expected, rtol=rtol, atol=rtol)
    if hasattr(mine, "predict_proba"):
        np.testing.assert_allclose(mine.predict_proba(X), reference.predict_proba(X), rtol=rtol, atol=rtol)
        assert mine.predict_log_proba(X).shape == reference.predict_log_proba(X).shape


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu", "silu"])
def test_own_activations_of_few_and_of_many_rows(activation):
    X, y = data_for("one target", n_samples=1200, n_features=30)
    model = MLPRegressor(activation=activation, hidden_layer_sizes=(40,), **{**SHORT, "max_iter": 2})
    quietly(model.fit, X, y)
    few = np.concatenate([model.predict(X[start : start + 100]) for start in range(0, 1200, 100)])
    np.testing.assert_allclose(model.predict(X), few, rtol=1e-9)


@pytest.mark.parametrize("n_rows", [1, 1200])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_refuse_what_is_not_finite(n_rows, bad):
    X, y = data_for("multiclass", n_samples=1200, n_features=30)
    model = quietly(
        MLPClassifier(activation="tanh", hidden_layer_sizes=(40,), **{**SHORT, "max_iter": 1}).fit, X, y
    )
    with pytest.raises(ValueError, match="X has 29 features, but MLPClassifier is expecting 30"):
        model.predict(X[:n_rows, 1:])
    X[0, 4] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict(X[:n_rows])


@hypothesis.given(
    st.integers(0, 2**31 - 1), st.integers(2, 9), st.integers(1, 4), st.sampled_from(["adam", "sgd", "lbfgs"])
)
def test_whole_weights_in_a_full_batch_are_repetitions(seed, n_samples, n_features, solver):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    y = rng.standard_normal(n_samples)
    weight = rng.integers(1, 4, n_samples)
    repeated = np.repeat(np.arange(n_samples), weight)
    settings = {**SHORT, "hidden_layer_sizes": (3,), "activation": "tanh", "solver": solver, "alpha": 0.1}
    weighted = quietly(
        MLPRegressor(**settings, batch_size=n_samples).fit, X, y, sample_weight=weight.astype(float)
    )
    whole = quietly(MLPRegressor(**settings, batch_size=len(repeated)).fit, X[repeated], y[repeated])
    assert weighted.loss_ == pytest.approx(whole.loss_, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(weighted.coefs_[0], whole.coefs_[0], rtol=1e-5, atol=1e-7)


@hypothesis.given(st.integers(0, 2**31 - 1), st.sampled_from([1.0, 3.0, 1e-3]))
def test_equal_weights_matter_to_the_penalty_alone(seed, weight):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((20, 3)), rng.integers(0, 3, 20)
    settings = {**SHORT, "hidden_layer_sizes": (4,), "alpha": 0.0, "batch_size": 7}
    weighted = quietly(MLPClassifier(**settings).fit, X, y, sample_weight=np.full(20, weight))
    plain = quietly(MLPClassifier(**settings).fit, X, y)
    np.testing.assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-7)


@hypothesis.given(
    st.integers(0, 2**31 - 1), st.integers(2, 30), st.integers(1, 3), st.booleans(), st.booleans()
)
def test_r2_is_scikit_learns(seed, n_samples, n_outputs, is_weighted, has_constant):
    rng = np.random.default_rng(seed)
    target, outputs = rng.standard_normal((2, n_samples, n_outputs))
    if has_constant:
        target[:, 0] = 2.0
        outputs[:, 0] = rng.choice([2.0, 3.0])
    weight = rng.uniform(0.1, 2.0, n_samples) if is_weighted else None
    expected = r2_score(target, outputs, sample_weight=weight)
    assert R2(target, weight)(outputs) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    outputs[0, 0] = np.nan
    assert np.isnan(R2(target, weight)(outputs))


@hypothesis.given(st.integers(0, 2**31 - 1), st.integers(1, 30), st.integers(1, 4), st.booleans())
def test_accuracy_is_scikit_learns(seed, n_samples, n_outputs, is_weighted):
    rng = np.random.default_rng(seed)
    outputs = rng.uniform(size=(n_samples, n_outputs))
    weight = rng.uniform(0.1, 2.0, n_samples) if is_weighted else None
    labels = rng.integers(0, 2, (n_samples, n_outputs)).astype(bool)
    expected = accuracy_score(labels, outputs > 0.5, sample_weight=weight)
    assert Accuracy(labels, weight)(outputs) == pytest.approx(expected, rel=1e-12)
    codes = rng.integers(0, max(n_outputs, 2), n_samples)
    predicted = outputs.argmax(axis=1) if n_outputs > 1 else outputs[:, 0] > 0.5
    expected = accuracy_score(codes, predicted.astype(int), sample_weight=weight)
    assert Accuracy(codes, weight)(outputs) == pytest.approx(expected, rel=1e-12)
