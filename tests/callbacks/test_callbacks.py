"""Our callbacks on every estimator that trains in epochs, rounds or trees, alone and inside of searches."""

import os
import pickle
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit.callbacks import EarlyStopping, LearningRateSchedule, ModelCheckpoint, TimeBudget
from fastfit.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.neural_network import MLPClassifier, MLPRegressor

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
rng = np.random.default_rng(0)
Y = np.where(rng.random(150) < 0.15, rng.integers(0, 3, 150), Y)
ORDER = rng.permutation(150)
TRAIN, VALID = ORDER[:100], ORDER[100:]
FIT = X[TRAIN], Y[TRAIN]
VAL = X[VALID], Y[VALID]

ESTIMATORS = [
    SGDClassifier(max_iter=30, tol=None, random_state=0),
    SGDClassifier(max_iter=30, tol=None, batch_size=8, optimizer="adam", random_state=0),
    SGDRegressor(max_iter=30, tol=None, average=True, random_state=0),
    LinearRegression(batch_size=8, max_iter=30, tol=0.0, random_state=0),
    MLPClassifier((8,), max_iter=30, learning_rate_init=0.02, random_state=0),
    MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, solver="sgd", learning_rate_init=0.01, random_state=0),
    HistGradientBoostingClassifier(max_iter=30, random_state=0),
    HistGradientBoostingRegressor(max_iter=30, random_state=0),
    RandomForestClassifier(n_estimators=30, random_state=0),
]
WITH_RATES = [estimator for estimator in ESTIMATORS if not isinstance(estimator, RandomForestClassifier)]


def name_of(estimator):
    return type(estimator).__name__


def shortened(estimator, n_iterations):
    key = "n_estimators" if hasattr(estimator, "n_estimators") else "max_iter"
    return clone(estimator).set_params(**{key: n_iterations})


def iterations_of(model):
    return len(model.estimators_) if hasattr(model, "estimators_") else model.n_iter_


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_early_stopping_keeps_the_model_of_the_best_iteration(estimator):
    stopping = EarlyStopping(*VAL, patience=3)
    model = clone(estimator).set_callbacks(stopping).fit(*FIT)
    best = shortened(estimator, stopping.best_iteration_).fit(*FIT)
    np.testing.assert_allclose(model.predict(VAL[0]), best.predict(VAL[0]), rtol=1e-9)
    assert model.score(*VAL) == pytest.approx(stopping.best_score_, rel=1e-12)
    assert stopping.best_score_ == max(stopping.scores_)
    n_after = len(stopping.scores_) - stopping.best_iteration_
    assert n_after == 3 if stopping.stopped_ else len(stopping.scores_) == 30
    assert stopping.best_iteration_ == 1 + int(np.argmax(stopping.scores_)), "the first of the best"


def test_early_stopping_stops_most_of_them():
    stopped = []
    for estimator in ESTIMATORS:
        stopping = EarlyStopping(*VAL, patience=2)
        clone(estimator).set_callbacks(stopping).fit(*FIT)
        stopped.append(stopping.stopped_)
    assert sum(stopped) > len(stopped) / 2


def test_early_stopping_can_leave_the_last_model():
    stopping = EarlyStopping(*VAL, patience=2, restore_best=False)
    forest = RandomForestClassifier(n_estimators=50, random_state=0).set_callbacks(stopping).fit(*FIT)
    assert len(forest.estimators_) == len(stopping.scores_) == stopping.best_iteration_ + 2


def test_early_stopping_by_another_score_and_a_least_gain():
    stopping = EarlyStopping(scoring="neg_log_loss", patience=2, min_delta=10.0)
    MLPClassifier((8,), max_iter=30, random_state=0).set_callbacks(stopping).fit(*FIT)
    assert len(stopping.scores_) == 3, "nothing gains that much"
    assert stopping.best_iteration_ == 1
    assert max(stopping.scores_) < 0


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    "estimator", [ESTIMATORS[0], ESTIMATORS[4], ESTIMATORS[6], ESTIMATORS[8]], ids=name_of
)
def test_inside_of_a_search(estimator, n_jobs):
    grid = {"random_state": [0, 1]}
    with_callback = clone(estimator).set_callbacks(EarlyStopping(patience=2), TimeBudget(100.0))
    search = GridSearchCV(with_callback, grid, cv=2, n_jobs=n_jobs).fit(*FIT)
    for row in range(2):
        model = clone(estimator).set_params(random_state=row)
        expected = GridSearchCV(
            model.set_callbacks(EarlyStopping(patience=2)), {"random_state": [row]}, cv=2
        ).fit(*FIT)
        found = search.cv_results_["mean_test_score"][row]
        assert found == pytest.approx(expected.cv_results_["mean_test_score"][0])
    assert iterations_of(search.best_estimator_) < 30 or not isinstance(estimator, RandomForestClassifier)


def test_inside_of_a_pipeline():
    stopping = EarlyStopping(patience=2)
    pipeline = make_pipeline(StandardScaler(), SGDClassifier(random_state=0).set_callbacks(stopping)).fit(
        *FIT
    )
    assert pipeline[-1].n_iter_ <= len(stopping.scores_)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_checkpoint_holds_the_best_model_so_far(estimator, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "best.pkl", *VAL)
    model = clone(estimator).set_callbacks(checkpoint).fit(*FIT)
    assert os.listdir(tmp_path) == ["best.pkl"]
    best = ModelCheckpoint.load(tmp_path / "best.pkl")
    assert best.score(*VAL) == pytest.approx(checkpoint.best_score_, rel=1e-12)
    assert best.score(*VAL) >= model.score(*VAL)
    assert not hasattr(best, "_skl_callbacks")
    assert best.get_params().keys() == model.get_params().keys()


def test_checkpoints_of_every_third_epoch(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "epoch-{iteration}.pkl", save_best_only=False, every=3)
    SGDRegressor(max_iter=7, tol=None, random_state=0).set_callbacks(checkpoint).fit(*FIT)
    assert sorted(os.listdir(tmp_path)) == ["epoch-3.pkl", "epoch-6.pkl"]
    third = SGDRegressor(max_iter=3, tol=None, random_state=0).fit(*FIT)
    np.testing.assert_allclose(ModelCheckpoint.load(tmp_path / "epoch-3.pkl").coef_, third.coef_, rtol=1e-12)


def test_a_checkpoint_survives_a_crash_while_it_is_written(tmp_path, monkeypatch):
    checkpoint = ModelCheckpoint(tmp_path / "best.pkl", save_best_only=False)
    SGDRegressor(max_iter=2, tol=None).set_callbacks(checkpoint).fit(*FIT)
    before = (tmp_path / "best.pkl").read_bytes()

    def fail(*args, **kwargs):
        args[1].write(b"half a model")
        raise OSError("disk full")

    monkeypatch.setattr(pickle, "dump", fail)
    with pytest.raises(OSError, match="disk full"):
        SGDRegressor(max_iter=2, tol=None).set_callbacks(checkpoint).fit(*FIT)
    assert (tmp_path / "best.pkl").read_bytes() == before
    assert os.listdir(tmp_path) == ["best.pkl"]


def test_checkpoints_of_a_search(tmp_path):
    one = ModelCheckpoint(tmp_path / "best.pkl")
    each = ModelCheckpoint(tmp_path / "fit-{task}.pkl")
    model = SGDClassifier(max_iter=5, tol=None, random_state=0).set_callbacks(one, each)
    GridSearchCV(model, {"alpha": [1e-4, 10.0]}, cv=2).fit(*FIT)
    files = [name for name in os.listdir(tmp_path) if name.startswith("fit-")]
    assert len(files) == 5, "two candidates in two folds each, and the refit"
    scores = [ModelCheckpoint.load(tmp_path / name).score(*FIT) for name in files]
    assert len(scores) == 5
    assert one.best_score_ == pytest.approx(max(one.best_score_, each.best_score_))


def test_a_second_fit_writes_its_own_best(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "best.pkl")
    good = MLPClassifier((8,), max_iter=30, learning_rate_init=0.02, random_state=0).set_callbacks(checkpoint)
    good.fit(*FIT)
    poor = (
        MLPClassifier((8,), max_iter=1, learning_rate_init=1e-9, random_state=0)
        .set_callbacks(checkpoint)
        .fit(*FIT)
    )
    assert ModelCheckpoint.load(tmp_path / "best.pkl").score(*FIT) == poor.score(*FIT) < good.score(*FIT)


@pytest.mark.parametrize("estimator", WITH_RATES, ids=name_of)
def test_a_constant_schedule_is_the_constant_rate(estimator):
    name = {"S": "eta0", "M": "learning_rate_init"}.get(type(estimator).__name__[0], "learning_rate")
    estimator = shortened(estimator, 6)
    if name == "eta0":
        estimator.set_params(learning_rate="constant")
    expected = clone(estimator).set_params(**{name: 0.003}).fit(*FIT)
    schedule = LearningRateSchedule([0.003])
    model = clone(estimator).set_params(**{name: 0.05}).set_callbacks(schedule).fit(*FIT)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-9)
    assert schedule.rates_ == [0.003] * len(schedule.rates_)
    assert len(schedule.rates_) == 6
    assert not hasattr(model, "_scheduled_rate")


@pytest.mark.parametrize("estimator", WITH_RATES, ids=name_of)
def test_a_schedule_changes_the_epochs_it_says(estimator):
    models = []
    for rates in ([0.01, 0.01, 0.01], [0.01, 0.01, 0.001], [0.01, 0.001, 0.001]):
        seen = []

        class Keeper(EarlyStopping):
            def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
                if context.parent is not None:
                    seen.append(fitted_estimator)  # noqa: B023

        clone(shortened(estimator, 3)).set_callbacks(LearningRateSchedule(rates), Keeper()).fit(*FIT)
        models.append([_outputs(model) for model in seen])
    a, b, c = models
    np.testing.assert_array_equal(a[1], b[1])
    assert not np.array_equal(a[2], b[2])
    np.testing.assert_array_equal(a[0], c[0])
    assert not np.array_equal(b[1], c[1])


def _outputs(model):
    if hasattr(model, "decision_function"):
        return model.decision_function(X)
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (RandomForestClassifier(), "it has no learning rate"),
        (LinearRegression(), "only with a batch_size"),
        (MLPClassifier(solver="lbfgs"), "finds its own step sizes"),
        (SGDRegressor(loss="epsilon_insensitive", learning_rate="pa1"), "step of every single sample"),
    ],
)
def test_estimators_without_rates_say_so(estimator, reason):
    with pytest.raises(ValueError, match=rf"does not work on {name_of(estimator)}: .*{reason}"):
        estimator.set_callbacks(LearningRateSchedule([0.1])).fit(*FIT)


def test_a_schedule_that_fails_leaves_nothing_behind():
    model = SGDRegressor().set_callbacks(LearningRateSchedule(lambda epoch: 0.01 - 0.01 * epoch))
    with pytest.raises(ValueError, match=r"rate of iteration 1 must be a number above 0, got 0\.0"):
        model.fit(*FIT)
    assert not hasattr(model, "_scheduled_rate")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_a_time_budget_ends_a_fit(estimator):
    budget = TimeBudget(1e-9)
    model = clone(estimator).set_callbacks(budget).fit(*FIT)
    assert budget.expired_
    assert iterations_of(model) == 1
    model.predict(X)
    generous = TimeBudget(1000.0)
    assert iterations_of(clone(estimator).set_callbacks(generous).fit(*FIT)) > 1
    assert not generous.expired_


def test_a_time_budget_for_a_whole_search():
    endless = MLPClassifier((50,), max_iter=10**6, n_iter_no_change=10**6, random_state=0)
    search = GridSearchCV(endless, {"alpha": [1e-4, 1e-3]}, cv=2)
    start = time.perf_counter()
    search.set_callbacks(TimeBudget(0.2, whole_search=True)).fit(*FIT)
    assert time.perf_counter() - start < 20.0
    assert search.best_estimator_.n_iter_ == 1


def test_several_callbacks_and_sequential_fits():
    stopping, budget = EarlyStopping(*VAL, patience=2), TimeBudget(1000.0)
    model = SGDClassifier(random_state=0).set_callbacks(stopping, budget)
    first = model.fit(*FIT).coef_
    np.testing.assert_array_equal(model.fit(*FIT).coef_, first)
    assert stopping._states == {}
    assert budget._ends == {}
    assert pickle.loads(pickle.dumps(model)).score(*VAL) == model.score(*VAL)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "patience must be"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be"),
        (lambda: EarlyStopping(X), "X_val was given without y_val"),
        (lambda: EarlyStopping(X, Y[:3]), "inconsistent numbers of samples"),
        (lambda: ModelCheckpoint("{epoch}.pkl"), "braces other than"),
        (lambda: ModelCheckpoint("a.pkl", every=0), "every must be"),
        (lambda: LearningRateSchedule([]), "schedule is empty"),
        (lambda: TimeBudget(0), "seconds must be a number above 0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_of_the_wrong_kind():
    with pytest.raises(TypeError, match="callable or a sequence"):
        LearningRateSchedule(0.1)
