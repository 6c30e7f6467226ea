"""Our callbacks on every estimator that trains in epochs, rounds or trees, alone and inside of searches."""

import os
import pickle
import time

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import ensemble as sklearn_ensemble
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit import model_selection
from fastfit.callbacks import EarlyStopping, LearningRateSchedule, ModelCheckpoint, TimeBudget
from fastfit.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from fastfit.ensemble.boosting_fitting import HALVED_LOSSES
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
    GradientBoostingClassifier(n_estimators=30, random_state=0),
    GradientBoostingRegressor(n_estimators=30, loss="huber", subsample=0.8, random_state=0),
    GradientBoostingRegressor(n_estimators=30, ccp_alpha=1e-4, random_state=0),
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
    "estimator", [ESTIMATORS[0], ESTIMATORS[4], ESTIMATORS[6], ESTIMATORS[8], ESTIMATORS[-1]], ids=name_of
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


SHARED = [
    (ESTIMATORS[0], "max_iter"),
    (ESTIMATORS[4], "max_iter"),
    (ESTIMATORS[6], "max_iter"),
    (ESTIMATORS[9], "n_estimators"),
    (ESTIMATORS[-1], "n_estimators"),
]


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize(("estimator", "count"), SHARED, ids=[name_of(e) for e, _ in SHARED])
def test_searches_of_ours_fit_settings_with_callbacks_one_by_one(estimator, count, in_pipeline):
    """Without callbacks these settings share one fit; a callback sees each of them by itself, as in scikit-learn."""
    counts = [2, 4, 30]
    recorder = Counter()
    with_callbacks = clone(estimator).set_callbacks(EarlyStopping(patience=2), recorder)
    grid = {count: counts}
    if in_pipeline:
        with_callbacks = make_pipeline(StandardScaler(), with_callbacks)
        grid = {f"{with_callbacks.steps[-1][0]}__{count}": counts}
    ours = model_selection.GridSearchCV(with_callbacks, grid, cv=2).fit(*FIT)
    n_fits = recorder.n_fits
    assert n_fits == 3 * 2 + 1, "three settings in two folds, and the best one for all data"
    theirs = GridSearchCV(with_callbacks, grid, cv=2).fit(*FIT)
    assert recorder.n_fits == 2 * n_fits
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-12
    )
    recorder.n_fits = 0
    models = model_selection.fit_many(with_callbacks, *FIT, [{name: n} for name in grid for n in counts])
    assert recorder.n_fits == len(models) == 3
    recorder.n_fits = 0
    ((name, values),) = grid.items()
    model_selection.validation_curve(with_callbacks, *FIT, param_name=name, param_range=values, cv=2)
    assert recorder.n_fits == 6


class Counter(EarlyStopping):
    """Counts fits, and stops none."""

    n_fits = 0

    def setup(self, estimator, context):
        self.n_fits += 1

    def teardown(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        return False


def test_a_time_budget_for_a_whole_search_of_ours():
    forest = RandomForestClassifier(random_state=0)
    search = model_selection.GridSearchCV(forest, {"n_estimators": [5, 10]}, cv=2)
    budget = TimeBudget(1e-9, whole_search=True)
    search.set_callbacks(budget).fit(*FIT)
    assert budget.expired_
    assert len(search.best_estimator_.estimators_) == 1


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


BOOSTING = [
    GradientBoostingClassifier(random_state=0),
    GradientBoostingClassifier(loss="exponential", subsample=0.7, random_state=0),
    GradientBoostingRegressor(random_state=0),
    GradientBoostingRegressor(loss="quantile", random_state=0),
    GradientBoostingRegressor(loss="absolute_error", ccp_alpha=1e-5, random_state=0),
    GradientBoostingRegressor(max_leaf_nodes=6, max_depth=None, random_state=0),
]


@pytest.mark.parametrize("estimator", BOOSTING, ids=lambda e: f"{name_of(e)}-{e.loss}")
def test_exact_boosting_with_scheduled_rates_is_what_scikit_learn_reads(estimator):
    """Rounds of different rates are those of warm starts with these rates, and scikit-learn predicts with them."""
    codes = (FIT[1] > 0).astype(float)
    rates = [0.3, 0.3, 0.1, 0.02]
    scheduled = clone(estimator).set_params(n_estimators=4, learning_rate=0.1)
    scheduled.set_callbacks(LearningRateSchedule(rates)).fit(FIT[0], codes)
    raw = np.stack([values.ravel() for values in scheduled._staged_raw_predict(FIT[0])])
    # Independent: scikit-learn's rounds, whose steps are added by hand; its next round begins from these predictions.
    theirs = _scikit_learns_rounds(estimator, FIT[0], codes, rates)
    np.testing.assert_allclose(raw, theirs, rtol=1e-9, atol=1e-12)
    of_scikit_learn = _base(estimator)(**_params_of_base(scheduled)).fit(FIT[0], codes)
    vars(of_scikit_learn).update({k: v for k, v in vars(scheduled).items() if k.endswith("_")})
    np.testing.assert_array_equal(
        np.stack([values.ravel() for values in of_scikit_learn._staged_raw_predict(FIT[0])]), raw
    )
    if estimator.subsample == 1.0:
        factor = 2 if isinstance(scheduled._loss, HALVED_LOSSES) else 1
        assert scheduled.train_score_[-1] == pytest.approx(factor * scheduled._loss(codes, raw[-1]), rel=1e-9)


def _base(estimator):
    return getattr(sklearn_ensemble, name_of(estimator))


def _params_of_base(estimator):
    known = _base(estimator)().get_params()
    return {name: value for name, value in estimator.get_params().items() if name in known}


def _scikit_learns_rounds(estimator, X, y, rates):
    """Return the raw predictions after each round, by a warm start whose learning rate and leaves are rescaled."""
    model = _base(estimator)(**_params_of_base(estimator)).set_params(warm_start=True, n_estimators=1)
    raws = []
    for number, rate in enumerate(rates, start=1):
        # The rounds there are have been added with their own rates: what predicts them now has the new one.
        if number > 1:
            for tree in model.estimators_.ravel():
                tree.tree_.value[:] *= model.learning_rate / rate
        model.set_params(n_estimators=number, learning_rate=rate).fit(X, y)
        raws.append(model._raw_predict(X.astype(np.float32)).ravel())
    return np.stack(raws)


def test_a_schedule_of_the_rate_itself_changes_no_bit_of_exact_boosting():
    plain = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(*FIT)
    same = GradientBoostingClassifier(n_estimators=5, random_state=0)
    same.set_callbacks(LearningRateSchedule([0.1])).fit(*FIT)
    np.testing.assert_array_equal(plain.predict_proba(X), same.predict_proba(X))
    for ours, theirs in zip(plain.estimators_.ravel(), same.estimators_.ravel(), strict=True):
        np.testing.assert_array_equal(ours.tree_.value, theirs.tree_.value)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (GradientBoostingRegressor(learning_rate=0.0), "learning_rate=0 multiplies every tree"),
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


SPARSE = [
    SGDClassifier(max_iter=3, tol=None),
    LinearRegression(batch_size=8),
    MLPClassifier((3,), max_iter=300),
    GradientBoostingClassifier(n_estimators=3),
    RandomForestClassifier(n_estimators=3),
]


@pytest.mark.parametrize("estimator", SPARSE, ids=name_of)
@pytest.mark.parametrize(
    "make", [EarlyStopping, lambda: ModelCheckpoint("never.pkl"), lambda: TimeBudget(100.0)]
)
def test_callbacks_that_see_nothing_say_so(estimator, make):
    callback = make()
    message = f"{name_of(callback)} does not work on {name_of(estimator)} with sparse X"
    with pytest.warns(UserWarning, match=message):
        model = clone(estimator).set_callbacks(callback).fit(sp.csr_matrix(FIT[0]), FIT[1])
    assert model.fit_engine_ == "scikit-learn"


@pytest.mark.parametrize("estimator", SPARSE[:4], ids=name_of)
def test_a_schedule_that_would_be_ignored_is_refused(estimator):
    model = clone(estimator).set_callbacks(LearningRateSchedule([0.1]))
    with pytest.raises(ValueError, match=r"LearningRateSchedule does not work on .* with sparse X"):
        model.fit(sp.csr_matrix(FIT[0]), FIT[1])
