"""Callbacks of scikit-learn's protocol are told of every round, and without them a fit is as fast as ever."""

import numpy as np
import pytest
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit.ensemble import HistGradientBoostingRegressor
from tests.ensemble.hist_pairs import BOTH, CLASSIFIER, make_ours

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)


class Recorder:
    """Notes every call, and stops after some rounds."""

    def __init__(self, n_rounds=None):
        self.calls = []
        self.scores = []
        self.n_rounds = n_rounds

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id))
        self.metadata = metadata
        self.scores.append(fitted_estimator.score(X, y))
        return self.n_rounds is not None and len(self.scores) == self.n_rounds


def round_calls(n_rounds):
    return [(what, "round", k) for k in range(n_rounds) for what in ("begin", "end")]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_every_round_is_reported(name, early_stopping):
    y = CLASSES if name == CLASSIFIER else NUMBERS
    recorder = Recorder()
    model = make_ours(name, max_iter=4, early_stopping=early_stopping, scoring=None, random_state=0)
    weight = np.ones(len(X))
    assert model.set_callbacks(recorder).fit(X, y, weight) is model
    assert recorder.calls == [
        ("setup", "fit", 4),
        ("begin", "fit", 0),
        *round_calls(4),
        ("end", "fit", 0),
        ("teardown", "fit", 4),
    ]
    assert recorder.metadata["sample_weight"] is weight
    # Each score is that of the model after so many rounds; the last is of the whole fit.
    predictors = model._predictors
    expected = []
    for n_rounds in (1, 2, 3, 4, 4):
        model._predictors = predictors[:n_rounds]
        expected.append(model.score(X, y))
    assert recorder.scores == expected
    plain = make_ours(name, max_iter=4, early_stopping=early_stopping, scoring=None, random_state=0)
    np.testing.assert_array_equal(plain.fit(X, y, weight).predict(X), model.predict(X))


def test_a_callback_can_stop_the_fit():
    recorder = Recorder(n_rounds=3)
    model = HistGradientBoostingRegressor(max_iter=50).set_callbacks(recorder).fit(X, NUMBERS)
    assert model.n_iter_ == 3
    assert len(model.loss_curve_) == 3


def test_a_warm_start_reports_the_rounds_it_adds():
    model = HistGradientBoostingRegressor(max_iter=3, warm_start=True).fit(X, NUMBERS)
    recorder = Recorder()
    model.set_params(max_iter=5).set_callbacks(recorder).fit(X, NUMBERS)
    assert recorder.calls[2:-2] == round_calls(2)


def test_callbacks_are_torn_down_after_an_error():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("broken callback")

    failing = Failing()
    model = HistGradientBoostingRegressor(max_iter=3).set_callbacks(failing)
    with pytest.raises(RuntimeError, match="broken callback"):
        model.fit(X, NUMBERS)
    assert failing.calls[-1][0] == "teardown"
    assert not hasattr(model, "_predictors")
    assert not hasattr(model, "_callback_fit_ctx")


def test_scoring_monitor():
    monitor = ScoringMonitor(scoring="r2")
    model = HistGradientBoostingRegressor(max_iter=5).set_callbacks(monitor).fit(X, NUMBERS)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "round"]
    assert [row["task_id"] for row in rows] == list(range(5))
    scores = [row["r2"] for row in rows]
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(model.score(X, NUMBERS))


def test_progress_bar(capsys):
    model = HistGradientBoostingRegressor(max_iter=5).set_callbacks(ProgressBar())
    model.fit(X, NUMBERS)
    assert "HistGradientBoostingRegressor" in capsys.readouterr().out
    pipeline = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=3))
    pipeline.set_callbacks(ProgressBar()).fit(X, NUMBERS)
    assert "HistGradientBoostingRegressor" in capsys.readouterr().out


def test_without_callbacks_the_trees_of_all_rounds_are_made_at_once(monkeypatch):
    from fastfit.training import histogram_boosting

    calls = []
    predictor_nodes = histogram_boosting.predictor_nodes
    monkeypatch.setattr(
        histogram_boosting,
        "predictor_nodes",
        lambda trees, dtype: calls.append(len(trees)) or predictor_nodes(trees, dtype),
    )
    model = HistGradientBoostingRegressor(max_iter=7).fit(X, NUMBERS)
    assert calls == [7]
    model.set_callbacks(Recorder()).fit(X, NUMBERS)
    assert calls == [7, *[1] * 7]
    model.set_callbacks().fit(X, NUMBERS)
    assert calls == [7, *[1] * 7, 7]
