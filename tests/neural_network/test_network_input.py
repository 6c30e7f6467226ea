"""Bad input, failing and interrupted runs, what falls back, and what survives a failure."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import neural_network as sklearn_neural_network
from sklearn.exceptions import ConvergenceWarning

import fastfit
from fastfit.neural_network import MLPClassifier, MLPRegressor
from fastfit.training.network import Network
from tests.neural_network.network_pairs import (
    assert_same_run,
    assert_same_weights,
    data_for,
    pair_for,
    quietly,
)

SHORT = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 4, "batch_size": 32}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kind", ["multiclass", "one target"])
def test_values_that_are_not_finite_are_refused_in_scikit_learns_words(kind, activation, solver, bad):
    X, y = data_for(kind)
    X[17, 3] = bad
    messages = []
    for estimator in pair_for(kind, **{**SHORT, "solver": solver, "activation": activation}):
        with pytest.raises(ValueError, match="Input X contains") as caught:
            quietly(estimator.fit, X, y)
        messages.append(str(caught.value))
        assert not hasattr(estimator, "coefs_") or isinstance(estimator, sklearn_neural_network.MLPClassifier)
    assert messages[0].splitlines()[0] == messages[1].splitlines()[0]


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("row", [0, 45, 89])
def test_one_bad_value_anywhere_is_found(row, column):
    X, y = data_for("multiclass")
    X[row, column] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        quietly(MLPClassifier(early_stopping=True, **SHORT).fit, X, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_and_weights_that_are_not_finite(bad):
    X, y = data_for("one target")
    worse = y.copy()
    worse[3] = bad
    with pytest.raises(ValueError, match="Input y contains"):
        MLPRegressor(**SHORT).fit(X, worse)
    weight = np.ones(len(y))
    weight[3] = bad
    with pytest.raises(ValueError, match="Input sample_weight contains"):
        MLPRegressor(**SHORT).fit(X, y, sample_weight=weight)


def test_batches_without_weight_are_refused_as_in_scikit_learn():
    X, y = data_for("multiclass")
    weight = np.zeros(len(X))
    weight[:5] = 1.0
    for estimator in pair_for("multiclass", **{**SHORT, "batch_size": 10}):
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
            quietly(estimator.fit, X, y, sample_weight=weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got \\[3, 0\\]."),
        ({"activation": "cosine"}, "The 'activation' parameter of MLPClassifier must be a str among"),
        ({"solver": "newton"}, "The 'solver' parameter of MLPClassifier must be a str among"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MLPClassifier must be a float in the range"),
        ({"max_grad_norm": 0}, "The 'max_grad_norm' parameter"),
        ({"dtype": "float16"}, "The 'dtype' parameter"),
        ({"n_jobs": 0}, "n_jobs == 0 has no meaning"),
        ({"warmup_epochs": -1}, "The 'warmup_epochs' parameter"),
        ({"step_factor": 0.0}, "The 'step_factor' parameter"),
        ({"class_weight": "even"}, "The 'class_weight' parameter"),
        ({"class_weight": {7: 1.0}}, "class"),
        ({"learning_rate_init": 0.0}, "The 'learning_rate_init' parameter"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "validation set is too small|test_size"),
    ],
    ids=str,
)
def test_bad_hyperparameters(settings, message):
    X, y = data_for("multiclass")
    with pytest.raises(ValueError, match=message):
        quietly(MLPClassifier(**{**SHORT, **settings}).fit, X, y)


@pytest.mark.parametrize(
    ("estimator_class", "X", "y", "message"),
    [
        (MLPClassifier, np.ones((4, 2)), np.array([0, 1, 1]), "inconsistent numbers of samples"),
        (MLPRegressor, np.ones((4, 2)), np.ones(3), "inconsistent numbers of samples"),
        (MLPClassifier, np.ones((4, 2)), np.array([0.5, 1.5, 2.5, 1.0]), "Unknown label type"),
        (MLPClassifier, np.ones((0, 2)), np.ones(0), "0 sample"),
        (MLPClassifier, np.ones(4), np.array([0, 1, 1, 0]), "Expected 2D array"),
        (MLPRegressor, np.ones((3, 2, 2)), np.ones(3), "dim 3"),
        (MLPRegressor, np.ones((3, 2)), np.array(["a", "b", "c"]), "could not convert|dtype"),
    ],
)
def test_bad_shapes_and_types(estimator_class, X, y, message):
    with pytest.raises(ValueError, match=message):
        estimator_class(**SHORT).fit(X, y)


def test_validation_data_come_in_pairs_and_fit():
    X, y = data_for("targets")
    model = MLPRegressor(**SHORT)
    with pytest.raises(ValueError, match="X_val was given without y_val"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val has shape"):
        model.fit(X, y, X_val=X, y_val=y[:, 0])
    with pytest.raises(ValueError, match="X has 3 features, but MLPRegressor is expecting 7"):
        model.fit(X, y, X_val=X[:, :3], y_val=y)
    X, y = data_for("multiclass")
    with pytest.raises(ValueError, match="X_val has 90 samples, but y_val has 89"):
        MLPClassifier(**SHORT).fit(X, y, X_val=X, y_val=y[1:])
    assert not hasattr(model, "_validation_data")


@pytest.mark.parametrize("solver", ["sgd", "rmsprop"])
def test_a_diverging_run_stops_and_names_the_learning_rate(solver):
    X, y = data_for("one target")
    model = MLPRegressor(solver=solver, learning_rate_init=1e200, **{**SHORT, "max_iter": 10_000_000})
    with pytest.raises(
        ValueError, match=r"Solver produced non-finite parameter weights.*learning_rate_init=1e\+200"
    ):
        model.fit(X, y)


def test_a_failed_fit_leaves_the_former_one():
    X, y = data_for("one target")
    model = quietly(MLPRegressor(**SHORT).fit, X, y)
    former, curve = dict(vars(model)), [*model.loss_curve_]
    model.set_params(learning_rate_init=1e200, solver="sgd")
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="non-finite"):
            quietly(fit, X, 1e200 * y)
    model.set_params(learning_rate_init=0.001, solver="adam")
    assert vars(model).keys() == former.keys()
    assert all(value is former[key] for key, value in vars(model).items() if key.endswith("_"))
    assert model.loss_curve_ == curve


@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_keeps_the_last_whole_epoch(monkeypatch, early_stopping):
    X, y = data_for("one target")
    n_done = 0
    train_epoch = Network.train_epoch

    def interrupted(self, *args, **kwargs):
        nonlocal n_done
        if n_done == 3:
            raise KeyboardInterrupt
        n_done += 1
        return train_epoch(self, *args, **kwargs)

    settings = {**SHORT, "max_iter": 50, "early_stopping": early_stopping}
    model = MLPRegressor(**settings)
    monkeypatch.setattr(Network, "train_epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    monkeypatch.undo()
    expected = quietly(MLPRegressor(**{**settings, "max_iter": 3}).fit, X, y)
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.predict(X).shape == y.shape


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize("kind", ["multiclass", "targets"])
def test_sparse_data_fall_back(kind, container):
    X, y = data_for(kind)
    X[X < 0.3] = 0.0
    mine, reference = pair_for(kind, **SHORT)
    for estimator in (mine, reference):
        quietly(estimator.fit, container(X), y)
    assert mine.fit_engine_ == "scikit-learn"
    assert_same_run(mine, reference, 1e-12)
    np.testing.assert_allclose(mine.predict(container(X)), reference.predict(container(X)), rtol=1e-12)
    np.testing.assert_allclose(mine.predict(X), reference.predict(X), rtol=1e-9)
    with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="sparse X"):
        mine.fit(container(X), y)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("sparse_first", [True, False])
def test_sparse_and_dense_batches_in_turn(solver, sparse_first):
    X, y = data_for("one target")
    mine, reference = pair_for("one target", **{**SHORT, "solver": solver})
    for estimator in (mine, reference):
        for turn in range(4):
            batch = sp.csr_array(X) if (turn % 2 == 0) == sparse_first else X
            estimator.partial_fit(batch, y)
    assert_same_run(mine, reference, 1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu"},
        {"solver": "adamw"},
        {"learning_rate": "cosine"},
        {"dropout": 0.1},
        {"max_grad_norm": 1.0},
        {"dtype": "float32"},
        {"class_weight": "balanced"},
        {"warmup_epochs": 2},
    ],
    ids=str,
)
def test_sparse_data_need_scikit_learns_hyperparameters(settings):
    X, y = data_for("multiclass")
    model = MLPClassifier(**{**SHORT, **settings})
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.* needs dense X"):
        model.fit(sp.csr_array(X), y)
    assert not model.__sklearn_tags__().input_tags.sparse
    with pytest.raises(ValueError, match="X_val and y_val need dense X"):
        MLPClassifier(**SHORT).fit(sp.csr_array(X), y, X_val=X, y_val=y)


def test_a_network_of_fastfits_own_predicts_sparse_data():
    X, y = data_for("multiclass")
    model = quietly(MLPClassifier(activation="gelu", **SHORT).fit, X, y)
    np.testing.assert_allclose(model.predict_proba(sp.csr_array(X)), model.predict_proba(X), rtol=1e-10)


def test_names_of_features_and_labels():
    X, y = data_for("multiclass")
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    labels = np.array(["low", "middle", "high"])[y]
    mine, reference = pair_for("multiclass", early_stopping=True, **SHORT)
    for estimator in (mine, reference):
        quietly(estimator.fit, frame, pd.Series(labels, dtype=object))
    assert_same_run(mine, reference, 1e-6)
    assert list(mine.feature_names_in_) == list("abcdefg")
    np.testing.assert_array_equal(mine.predict(frame), reference.predict(frame))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        mine.predict(X)
    quietly(mine.fit, X, labels)
    assert not hasattr(mine, "feature_names_in_")


@pytest.mark.parametrize("labels", [[False, True], [-1, 1], [2.0, 5.0], ["no", "yes"], [10**12, 3]])
def test_labels_of_every_type(labels):
    X, y = data_for("binary")
    labels = np.array(labels)[y]
    mine, reference = pair_for("binary", **SHORT)
    for estimator in (mine, reference):
        quietly(estimator.fit, X, labels)
    assert_same_run(mine, reference, 1e-6)
    assert mine.classes_.dtype == reference.classes_.dtype
    np.testing.assert_array_equal(mine.classes_, reference.classes_)
    np.testing.assert_array_equal(mine.predict(X), reference.predict(X))
    np.testing.assert_allclose(mine.predict_proba(X), reference.predict_proba(X), rtol=1e-6)


def test_labels_seen_in_part():
    X, y = data_for("multiclass")
    mine, reference = pair_for("multiclass", **SHORT)
    for estimator in (mine, reference):
        estimator.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
        estimator.partial_fit(X[y > 0], y[y > 0])
    assert_same_run(mine, reference, 1e-6)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        mine.partial_fit(X, y + 1)


def test_one_class_is_enough():
    X, _ = data_for("binary")
    mine, reference = pair_for("binary", **SHORT)
    for estimator in (mine, reference):
        quietly(estimator.fit, X, np.full(len(X), 7))
    assert_same_run(mine, reference, 1e-6)
    np.testing.assert_array_equal(mine.predict(X), np.full(len(X), 7))


def test_warnings_are_scikit_learns():
    X, y = data_for("binary")
    texts = []
    for estimator in pair_for("binary", **{**SHORT, "batch_size": 1000, "max_iter": 2}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X, y)
        texts.append([(warning.category, str(warning.message)) for warning in caught])
    assert texts[0] == texts[1]
    assert ConvergenceWarning in [category for category, _ in texts[0]]


def test_pickles_of_every_solver():
    X, y = data_for("one target")
    for settings in ({"solver": "lbfgs"}, {"solver": "rmsprop"}, {"early_stopping": True}, {"solver": "sgd"}):
        model = quietly(MLPRegressor(**{**SHORT, **settings}).fit, X, y)
        copied = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(copied.predict(X), model.predict(X))
        assert_same_weights(copied, model, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
@pytest.mark.parametrize("n_rows", [3, 4000])
def test_predictions_look_at_every_value(value, n_rows):
    """Few rows and many, which a kernel checks as it reads them; a sum that overflows is no error."""
    X, y = data_for("multiclass", n_samples=4000, n_features=9, dtype=np.float32)
    model = quietly(MLPClassifier(max_iter=1, hidden_layer_sizes=(20,), random_state=0).fit, X, y)
    X = X[-n_rows:].copy()
    X[-4:, -1] = value
    if np.isfinite(value):
        with np.errstate(all="ignore"):
            assert model.predict_proba(X).shape == (n_rows, len(model.classes_))
            assert set(model.predict(X)) <= set(model.classes_)
        return
    for predict in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity"):
            predict(X)
