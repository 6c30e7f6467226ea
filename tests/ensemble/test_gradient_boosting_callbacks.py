"""Callbacks of scikit-learn's protocol are told of every round of exact boosting, too."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes

from fastfit.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from tests.ensemble.test_hist_callbacks import Recorder, round_calls

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("params", [{}, {"subsample": 0.5}, {"n_iter_no_change": 9}], ids=str)
@pytest.mark.parametrize("estimator_class", [GradientBoostingClassifier, GradientBoostingRegressor])
def test_every_round_is_reported(estimator_class, params, weighted):
    y = CLASSES if estimator_class is GradientBoostingClassifier else NUMBERS
    weight = np.ones(len(X)) if weighted else None
    recorder = Recorder()
    model = estimator_class(n_estimators=3, random_state=0, **params)
    assert model.set_callbacks(recorder).fit(X, y, weight) is model
    assert recorder.calls == [
        ("setup", "fit", 3),
        ("begin", "fit", 0),
        *round_calls(3),
        ("end", "fit", 0),
        ("teardown", "fit", 3),
    ]
    assert (recorder.metadata or {"sample_weight": None})["sample_weight"] is weight
    expected = [estimator_class(n_estimators=n, random_state=0, **params) for n in (1, 2, 3, 3)]
    assert recorder.scores == [each.fit(X, y, weight).score(X, y) for each in expected]
    np.testing.assert_array_equal(expected[-1].predict(X), model.predict(X))
    assert not {"_given", "_callback_fit_ctx"} & vars(model).keys()


def test_a_callback_can_stop_the_fit():
    model = GradientBoostingRegressor(n_estimators=50).set_callbacks(Recorder(n_rounds=3)).fit(X, NUMBERS)
    assert model.n_estimators_ == len(model.train_score_) == 3


def test_a_warm_start_reports_the_rounds_it_adds():
    model = GradientBoostingRegressor(n_estimators=3, warm_start=True).fit(X, NUMBERS)
    recorder = Recorder()
    model.set_params(n_estimators=5).set_callbacks(recorder).fit(X, NUMBERS)
    assert recorder.calls[2:-2] == round_calls(2)


def test_an_error_of_a_callback_keeps_the_former_fit():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("broken callback")

    model = GradientBoostingRegressor(n_estimators=3).fit(X, NUMBERS)
    before = model.predict(X)
    failing = Failing()
    with pytest.raises(RuntimeError, match="broken callback"):
        model.set_params(n_estimators=8).set_callbacks(failing).fit(X, NUMBERS)
    assert failing.calls[-1][0] == "teardown"
    np.testing.assert_array_equal(model.predict(X), before)


def test_sparse_X_is_reported_as_a_whole():
    recorder = Recorder()
    GradientBoostingRegressor(n_estimators=3).set_callbacks(recorder).fit(sp.csr_array(X), NUMBERS)
    assert [call[:2] for call in recorder.calls] == [
        (what, "fit") for what in ("setup", "begin", "end", "teardown")
    ]


def test_scikit_learns_callbacks(capsys):
    monitor = ScoringMonitor(scoring="r2")
    model = GradientBoostingRegressor(n_estimators=5).set_callbacks(monitor, ProgressBar()).fit(X, NUMBERS)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "round"]
    assert len(scores) == 5
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(model.score(X, NUMBERS))
    assert "GradientBoostingRegressor" in capsys.readouterr().out
