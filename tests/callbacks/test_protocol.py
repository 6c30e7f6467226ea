"""scikit-learn's protocol on linear models and forests: hooks around the fit and each epoch or tree."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_iris

from fastfit import fit_callbacks
from fastfit.ensemble import ExtraTreesRegressor, RandomForestClassifier
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from tests.neural_network.test_network_callbacks import Recorder

X, Y = load_iris(return_X_y=True)
ESTIMATORS = [
    (SGDClassifier(max_iter=4, tol=None, random_state=0), "epoch", "max_iter"),
    (
        SGDClassifier(max_iter=4, tol=None, early_stopping=True, loss="log_loss", random_state=0),
        "epoch",
        "max_iter",
    ),
    (SGDRegressor(max_iter=4, tol=None, average=10, random_state=0), "epoch", "max_iter"),
    (SGDRegressor(max_iter=4, tol=None, batch_size=16, momentum=0.5, random_state=0), "epoch", "max_iter"),
    (LinearRegression(max_iter=4, tol=0.0, batch_size=16, random_state=0), "epoch", "max_iter"),
    (RandomForestClassifier(n_estimators=4, random_state=0), "tree", "n_estimators"),
    (
        RandomForestClassifier(n_estimators=4, oob_score=True, n_jobs=3, random_state=0),
        "tree",
        "n_estimators",
    ),
    (ExtraTreesRegressor(n_estimators=4, random_state=0), "tree", "n_estimators"),
]
pairs = pytest.mark.parametrize(
    ("estimator", "task", "count"), ESTIMATORS, ids=[type(e).__name__ for e, _, _ in ESTIMATORS]
)
pytestmark = pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")


def outputs(model):
    return model.predict_proba(X) if isinstance(model, RandomForestClassifier) else model.predict(X)


@pairs
def test_hooks_see_the_model_after_each_task(estimator, task, count):
    recorder = Recorder()
    model = clone(estimator).set_callbacks(recorder).fit(X, Y)
    assert recorder.events[:2] == ["setup", "begin fit"]
    assert recorder.events[-2:] == ["end fit", "teardown"]
    assert sorted(recorder.events[2:-2]) == [f"begin {task}"] * 4 + [f"end {task}"] * 4
    for number, seen in enumerate(recorder.models[:-1], start=1):
        shorter = clone(estimator).set_params(**{count: number}).fit(X, Y)
        np.testing.assert_array_equal(outputs(seen), outputs(shorter))
    np.testing.assert_array_equal(outputs(recorder.models[-1]), outputs(model))
    np.testing.assert_array_equal(outputs(model), outputs(clone(estimator).fit(X, Y)))


@pairs
def test_a_callback_ends_the_fit(estimator, task, count):
    model = clone(estimator).set_callbacks(Recorder(stops_after=2)).fit(X, Y)
    np.testing.assert_array_equal(
        outputs(model), outputs(clone(estimator).set_params(**{count: 2}).fit(X, Y))
    )
    if task == "tree":
        assert len(model.estimators_) == 2


@pairs
def test_a_failing_callback_leaves_the_former_fit(estimator, task, count):
    model = clone(estimator).fit(X, Y)
    before, recorder = outputs(model), Recorder(fails_after=2)
    with pytest.raises(RuntimeError, match="a callback has failed"):
        model.set_callbacks(recorder).fit(X, Y)
    assert recorder.events[-1] == "teardown"
    np.testing.assert_array_equal(outputs(model), before)
    assert not hasattr(model, "_callback_fit_ctx")


@pairs
def test_fits_without_callbacks_make_no_contexts(estimator, task, count, monkeypatch):
    def never(*args):
        raise AssertionError("made without a callback")

    monkeypatch.setattr(fit_callbacks, "FitCallbacks", never)
    clone(estimator).fit(X, Y)
    clone(estimator).set_callbacks(Recorder()).set_callbacks().fit(X, Y)


@pairs
def test_scikit_learn_s_own_callbacks(estimator, task, count, capsys):
    scoring = "accuracy" if hasattr(clone(estimator).fit(X, Y), "classes_") else "r2"
    monitor = ScoringMonitor(scoring=scoring)
    model = clone(estimator).set_callbacks(monitor, ProgressBar()).fit(X, Y)
    scores = [row[scoring] for row in monitor.get_logs().data if row["task_name"] == task]
    assert len(scores) == 4
    assert scores[-1] == pytest.approx(model.score(X, Y))
    assert type(estimator).__name__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "estimator",
    [SGDClassifier(), SGDRegressor(), LinearRegression(), RandomForestClassifier(n_estimators=3)],
    ids=lambda e: type(e).__name__,
)
def test_sparse_data_get_the_hooks_of_the_fit_alone(estimator):
    recorder = Recorder()
    estimator.set_callbacks(recorder, ScoringMonitor(scoring="r2")).fit(sp.csr_array(X), Y)
    assert recorder.events == ["setup", "begin fit", "end fit", "teardown"]
    assert estimator.fit_engine_ == "scikit-learn"


def test_other_solvers_of_linear_regression_have_the_hooks_of_the_fit():
    for settings in ({}, {"learning_rate": 0.01}, {"positive": True}, {"solver": "lstsq"}):
        recorder = Recorder()
        LinearRegression(**settings).set_callbacks(recorder).fit(X, Y)
        assert recorder.events == ["setup", "begin fit", "end fit", "teardown"]


def test_two_classes_and_partial_fit():
    recorder = Recorder()
    model = SGDClassifier(max_iter=3, tol=None, random_state=0).set_callbacks(recorder).fit(X, Y == 1)
    assert recorder.events.count("end epoch") == 3
    np.testing.assert_array_equal(recorder.models[-1].coef_, model.coef_)
    recorder = Recorder()
    model.set_callbacks(recorder).partial_fit(X, Y == 1)
    assert recorder.events == ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"]


def test_a_forest_that_goes_on():
    recorder = Recorder()
    forest = RandomForestClassifier(n_estimators=2, warm_start=True, random_state=0).fit(X, Y)
    forest.set_params(n_estimators=5).set_callbacks(recorder).fit(X, Y)
    assert recorder.events.count("end tree") == 3
    assert [len(model.estimators_) for model in recorder.models[:-1]] == [3, 4, 5]
