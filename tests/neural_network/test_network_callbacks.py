"""scikit-learn's callback protocol: hooks around a fit and each epoch, and nothing where no callback is set."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit import fit_callbacks
from fastfit.neural_network import MLPClassifier, MLPRegressor
from tests.neural_network.network_pairs import data_for, quietly

SHORT = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 6, "batch_size": 32}


class Recorder:
    """Writes down every hook, with what it was given."""

    def __init__(self, stops_after=None, fails_after=None):
        self.events, self.models, self.seen = [], [], []
        self.stops_after, self.fails_after = stops_after, fails_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.models.append(fitted_estimator)
        self.seen.append((X, y, metadata))
        if len(self.models) == self.fails_after:
            raise RuntimeError("a callback has failed")
        return self.stops_after is not None and len(self.models) >= self.stops_after


def test_hooks_come_around_the_fit_and_each_epoch():
    X, y = data_for("multiclass")
    recorder = Recorder()
    model = MLPClassifier(**SHORT).set_callbacks(recorder)
    weight = np.ones(len(X))
    quietly(model.fit, X, y, sample_weight=weight)
    epochs = ["begin epoch", "end epoch"] * 6
    assert recorder.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert all(seen[0] is X and seen[1] is y for seen in recorder.seen)
    assert recorder.seen[0][2]["sample_weight"] is weight


@pytest.mark.parametrize("early_stopping", [False, True])
def test_callbacks_see_the_model_of_each_epoch(early_stopping):
    X, y = data_for("multiclass")
    recorder = Recorder()
    model = MLPClassifier(early_stopping=early_stopping, **SHORT).set_callbacks(recorder)
    quietly(model.fit, X, y)
    for epoch, seen in enumerate(recorder.models[:-1], start=1):
        settings = {**SHORT, "max_iter": epoch}
        if not early_stopping:
            expected = quietly(MLPClassifier(**settings).fit, X, y)
            np.testing.assert_array_equal(seen.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(recorder.models[-1].predict_proba(X), model.predict_proba(X))
    assert not np.array_equal(recorder.models[0].coefs_[0], recorder.models[1].coefs_[0])


def test_a_callback_ends_the_training():
    X, y = data_for("one target")
    recorder = Recorder(stops_after=3)
    model = MLPRegressor(**SHORT).set_callbacks(recorder).fit(X, y)
    assert model.n_iter_ == 3
    assert len(model.loss_curve_) == 3
    expected = quietly(MLPRegressor(**{**SHORT, "max_iter": 3}).fit, X, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_a_callback_ends_the_training_by_lbfgs():
    X, y = data_for("one target")
    recorder = Recorder(stops_after=4)
    model = MLPRegressor(**{**SHORT, "solver": "lbfgs", "max_iter": 50}).set_callbacks(recorder).fit(X, y)
    assert model.n_iter_ == 4
    assert recorder.events.count("begin lbfgs-iteration") == recorder.events.count("end lbfgs-iteration") == 5
    expected = quietly(MLPRegressor(**{**SHORT, "solver": "lbfgs", "max_iter": 4}).fit, X, y)
    np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=1e-10)
    np.testing.assert_array_equal(recorder.models[3].coefs_[0], model.coefs_[0])


def test_partial_fit_is_one_epoch():
    X, y = data_for("one target")
    recorder = Recorder()
    MLPRegressor(**SHORT).set_callbacks(recorder).partial_fit(X, y)
    assert recorder.events == ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]


def test_a_failing_callback_is_torn_down_and_leaves_the_former_fit():
    X, y = data_for("one target")
    model = quietly(MLPRegressor(**SHORT).fit, X, y)
    coefs, recorder = model.coefs_, Recorder(fails_after=2)
    with pytest.raises(RuntimeError, match="a callback has failed"):
        model.set_callbacks(recorder).fit(X, 2 * y)
    assert recorder.events[-1] == "teardown"
    assert model.coefs_ is coefs
    assert not hasattr(model, "_callback_fit_ctx")


def test_scoring_monitor():
    X, y = data_for("one target")
    monitor = ScoringMonitor(scoring="r2")
    model = MLPRegressor(**SHORT).set_callbacks(monitor)
    quietly(model.fit, X, y)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 6
    assert scores[-1] == pytest.approx(model.score(X, y), rel=1e-9)
    assert scores[0] == pytest.approx(
        quietly(MLPRegressor(**{**SHORT, "max_iter": 1}).fit, X, y).score(X, y), rel=1e-9
    )


def test_progress_bar(capsys):
    X, y = data_for("one target")
    quietly(MLPRegressor(**SHORT).set_callbacks(ProgressBar()).fit, X, y)
    assert "MLPRegressor" in capsys.readouterr().out


def test_callbacks_come_through_pipelines_and_searches():
    X, y = data_for("multiclass")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SHORT))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    quietly(search.fit, X, y)
    assert search.best_score_ > 0.3
    assert not hasattr(search.best_estimator_[-1], "_parent_callback_ctx")


def test_sparse_data_get_the_hooks_of_the_fit_alone():
    X, y = data_for("multiclass")
    recorder = Recorder()
    model = MLPClassifier(**SHORT).set_callbacks(recorder)
    quietly(model.fit, sp.csr_array(X), y)
    assert recorder.events == ["setup", "begin fit", "end fit", "teardown"]
    assert model.fit_engine_ == "scikit-learn"


def test_clones_keep_callbacks_and_fits_without_them_make_no_contexts(monkeypatch):
    X, y = data_for("one target")
    recorder = Recorder()
    copied = clone(MLPRegressor(**SHORT).set_callbacks(recorder))
    quietly(copied.fit, X, y)
    assert len(recorder.events) == 16

    def never(*args):
        raise AssertionError("made without a callback")

    monkeypatch.setattr(fit_callbacks, "FitCallbacks", never)
    quietly(MLPRegressor(**SHORT).fit, X, y)
    quietly(MLPRegressor(**SHORT).set_callbacks(recorder).set_callbacks().fit, X, y)
