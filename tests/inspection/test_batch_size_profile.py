"""batch_size_profile: what it measures, what it leaves alone, what it says."""

import json
import time
import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import fastfit
from fastfit.callbacks import EarlyStopping
from fastfit.ensemble import RandomForestClassifier
from fastfit.inspection import batch_size_profile
from fastfit.inspection.batch_size_result import BatchSizeProfile, Measured, Target
from fastfit.inspection.batched_estimators import BatchCosts, with_batch_size
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.neural_network import MLPClassifier, MLPRegressor

X, Y = load_digits(return_X_y=True)
X = X / 16
NUMBERS = make_regression(400, 6, noise=5.0, random_state=0)
QUICK = {"epochs": 4, "n_repeats": 2, "random_state": 0}


@pytest.fixture(scope="module")
def profile():
    return batch_size_profile(MLPClassifier((20,)), X, Y, batch_sizes=[256, 16, 64], **QUICK)


def test_rows_are_sorted_and_consistent(profile):
    assert profile.batch_sizes_ == [16, 64, 256]
    n = profile.n_samples
    assert n == 1437, "a fifth is held out"
    for row in profile.rows_:
        assert row.samples_per_second == pytest.approx(n / row.epoch_seconds)
        assert row.updates_per_second == pytest.approx(-(-n // row.batch_size) / row.epoch_seconds)
        assert row.peak_share == pytest.approx(row.gflops / profile.peak_gflops_)
        assert 0 < row.peak_share < 1
        assert row.fits_in in ("L1", "L2", "L3", "memory")
        assert row.peak_memory_bytes > 20 * 74 * 8
        assert not row.diverged
    losses = [row.final_loss for row in profile.rows_]
    assert losses == sorted(losses), "with one learning rate, small batches learn more in an epoch"


def test_curves_are_medians_of_the_repeats(profile):
    for curve in profile.curves_.values():
        assert len(curve["seconds"]) == len(curve["loss"]) == len(curve["score"]) == 4
        assert np.all(np.diff(curve["seconds"]) > 0)
    assert profile.curves_[16]["loss"][-1] == profile.rows_[0].final_loss
    assert profile.curves_[16]["score"][-1] == profile.rows_[0].final_score > 0.5


def test_losses_are_those_of_fits_of_so_many_epochs():
    X_val, y_val = X[1000:], Y[1000:]
    found = batch_size_profile(
        SGDClassifier(loss="log_loss"),
        X[:1000],
        Y[:1000],
        X_val=X_val,
        y_val=y_val,
        batch_sizes=[10],
        epochs=3,
        n_repeats=1,
        random_state=3,
    )
    model = SGDClassifier(loss="log_loss", batch_size=10, max_iter=3, tol=None)
    # The seed of the repeat is drawn after the rows of the loss.
    random_state = np.random.RandomState(3)
    random_state.permutation(1000)
    model.set_params(random_state=int(random_state.randint(2**31 - 1, size=2)[0])).fit(X[:1000], Y[:1000])
    assert found.rows_[0].final_score == model.score(X_val, y_val)


def test_throughput_agrees_with_an_independent_timing(monkeypatch):
    """The difference of two whole fits, both measured in processor time: what else runs does not matter then.

    Epochs of a profile come out somewhat longer, by 10 to 25% for those of a millisecond: the loss and the score after
    each of them leave the caches to the next one cold. A wrong count would be off by a factor.
    """
    monkeypatch.setattr("fastfit.inspection.epoch_watch.time.perf_counter", time.process_time)
    network = MLPClassifier((100,), batch_size=64, tol=0.0, n_iter_no_change=100, random_state=0)
    few, many = (clone(network).set_params(max_iter=n_epochs) for n_epochs in (1, 9))
    with fastfit.config_context(n_threads=1), threadpool_limits(1):
        found = batch_size_profile(network, X, Y, batch_sizes=[64], epochs=8, n_repeats=3, random_state=0)
        n = found.n_samples
        rates = []
        for _ in range(5):
            seconds = []
            for model in (few, many):
                start = time.process_time()
                model.fit(X[:n], Y[:n])
                seconds.append(time.process_time() - start)
            rates.append(8 * n / (seconds[1] - seconds[0]))
    assert 0.7 < np.median(rates) / found.rows_[0].samples_per_second < 1.6


def test_flops_and_bytes_are_counted_from_the_shapes():
    costs = BatchCosts([64, 100, 10], 8, "adam", has_hidden_buffers=True)
    weights = 64 * 100 + 100 * 10
    parameters = weights + 110
    assert costs.flops_per_epoch(1000, 100) == 1000 * (4 * weights + 2 * 100 * 10) + 10 * 10 * parameters
    assert costs.working_set_bytes(100) == 8 * (100 * 64 + 2 * 100 * 110 + 4 * parameters)
    linear = BatchCosts([50, 1], 4, "sgd", has_hidden_buffers=False)
    assert linear.flops_per_epoch(1000, 1) == 1000 * 200
    assert linear.working_set_bytes(1) == 4 * (50 + 51)


def test_the_estimator_is_not_changed():
    callback = EarlyStopping()
    rng = np.random.RandomState(0)
    model = MLPClassifier((5,), max_iter=7, random_state=rng, early_stopping=True).set_callbacks(callback)
    model.fit(X[:200], Y[:200])
    before, drawn = dict(vars(model)), rng.get_state()[1].copy()
    params = repr(model.get_params())
    scores = list(callback.scores_)
    batch_size_profile(model, X, Y, batch_sizes=[32], epochs=1, n_repeats=1)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert repr(model.get_params()) == params
    np.testing.assert_array_equal(rng.get_state()[1], drawn)
    assert callback.scores_ == scores, "its callbacks are not called"


def test_the_same_random_state_gives_the_same_model(profile):
    again = batch_size_profile(MLPClassifier((20,)), X, Y, batch_sizes=[16, 64, 256], **QUICK)
    for size, curve in profile.curves_.items():
        assert again.curves_[size]["loss"] == curve["loss"]
        assert again.curves_[size]["score"] == curve["score"]
    assert [n.noise_scale for _, n in again.noise_scales_] == [
        n.noise_scale for _, n in profile.noise_scales_
    ]


def test_batch_sizes_take_turns_after_compiling():
    seen = []
    batch_size_profile(
        SGDRegressor(),
        *NUMBERS,
        batch_sizes=[4, 16],
        epochs=1,
        n_repeats=2,
        random_state=0,
        on_progress=lambda n_done, n_all, text: seen.append((n_done, n_all, text)),
    )
    assert [text for _, _, text in seen] == [
        "compiling, batch size 4",
        "compiling, batch size 16",
        "batch size 4, repeat 1",
        "batch size 16, repeat 1",
        "batch size 4, repeat 2",
        "batch size 16, repeat 2",
        "done",
    ]
    assert [n_done for n_done, _, _ in seen] == list(range(7))
    assert {n_all for _, n_all, _ in seen} == {6}


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (LinearRegression(), NUMBERS),
        (LinearRegression(learning_rate=0.01, momentum=0.5), NUMBERS),
        (SGDRegressor(optimizer="adam"), NUMBERS),
        (SGDClassifier(loss="log_loss", average=True), (X[:300], Y[:300])),
        (SGDClassifier(early_stopping=True), (X[:300], Y[:300] % 2)),
        (MLPRegressor(hidden_layer_sizes=(5,), solver="sgd", learning_rate_init=1e-4), NUMBERS),
        (MLPClassifier((5,), dtype="float32", dropout=0.1), (X[:300], Y[:300])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_estimator_with_batches(estimator, data):
    found = batch_size_profile(estimator, *data, epochs=2, n_repeats=1, random_state=0)
    assert len(found.rows_) >= 4
    assert all(np.isfinite(row.final_loss) for row in found.rows_)
    assert found.recommended_batch_size_ in found.batch_sizes_
    assert len(found.noise_scales_) == 2
    assert str(found.recommended_batch_size_) in found.recommendation_


def test_an_unreachable_target_is_not_reached():
    found = batch_size_profile(
        SGDRegressor(), *NUMBERS, batch_sizes=[1, 16], target_score=2.0, epochs=3, n_repeats=1, random_state=0
    )
    assert all(row.epochs_to_target is None and row.seconds_to_target is None for row in found.rows_)
    assert "not reached with any batch size" in found.recommendation_
    assert str(found).count("not reached") >= 3
    found = batch_size_profile(
        SGDRegressor(),
        *NUMBERS,
        batch_sizes=[16],
        target_loss=-1.0,
        time_budget=0.02,
        n_repeats=1,
        random_state=0,
    )
    assert found.rows_[0].seconds_to_target is None


def test_a_target_that_is_reached():
    found = batch_size_profile(
        MLPClassifier((30,)),
        X,
        Y,
        batch_sizes=[8, 512],
        target_score=0.85,
        epochs=6,
        n_repeats=1,
        random_state=0,
    )
    small, large = found.rows_
    scores = found.curves_[8]["score"]
    assert scores[int(small.epochs_to_target) - 1] >= 0.85
    assert all(score < 0.85 for score in scores[: int(small.epochs_to_target) - 1])
    assert small.seconds_to_target == pytest.approx(
        found.curves_[8]["seconds"][int(small.epochs_to_target) - 1]
    )
    assert large.seconds_to_target is None
    assert found.recommended_batch_size_ == 8
    assert "Not reached with 512" in found.recommendation_


def test_a_time_budget_ends_the_fits():
    found = batch_size_profile(
        MLPClassifier((50,)), X, Y, batch_sizes=[16, 64], time_budget=0.05, n_repeats=1, random_state=0
    )
    for curve in found.curves_.values():
        assert curve["seconds"][-1] >= 0.05
        assert len(curve["seconds"]) == 1 or curve["seconds"][-2] < 0.05


def test_divergence_is_reported_and_not_raised():
    found = batch_size_profile(
        LinearRegression(learning_rate=0.5),
        *NUMBERS,
        batch_sizes=[1, 300],
        epochs=40,
        n_repeats=1,
        random_state=0,
    )
    assert [row.diverged for row in found.rows_] == [True, False]
    assert found.recommended_batch_size_ == 300
    assert "diverged with 1" in found.recommendation_
    found = batch_size_profile(
        LinearRegression(learning_rate=50.0),
        *NUMBERS,
        batch_sizes=[1, 300],
        epochs=5,
        n_repeats=1,
        random_state=0,
    )
    assert found.recommended_batch_size_ is None
    assert "diverged with every batch size" in found.recommendation_
    json.dumps(found.to_dict(), allow_nan=False)
    str(found)


def made_up(seconds, losses, target=None, noise=()):
    """A profile of given epoch times and losses, by batch size."""
    measured = []
    for size, per_epoch in seconds.items():
        one = Measured(size)
        one.costs = BatchCosts([5, 1], 8, "sgd", has_hidden_buffers=False)
        one.add([per_epoch] * len(losses[size]), losses[size], [0.5] * len(losses[size]))
        measured.append(one)
    return BatchSizeProfile(
        "Made",
        (100, 5),
        measured,
        target,
        list(noise),
        noise_batch_size=1,
        peak=1e9,
        peak_text="",
        n_repeats=1,
    )


def test_the_largest_within_5_percent_of_the_fastest_is_recommended():
    target = Target("training loss", 1.0, given=True)
    losses = {size: [2.0, 1.0] for size in (1, 2, 4, 8)}
    found = made_up({1: 1.2, 2: 1.0, 4: 1.04, 8: 1.06}, losses, target)
    assert found.recommended_batch_size_ == 4
    assert "the largest within 5% of the fastest, 2, to the training loss of 1" in found.recommendation_
    assert [row.seconds_to_target for row in found.rows_] == [2.4, 2.0, 2.08, 2.12]
    found = made_up({1: 1.2, 2: 1.0, 4: 2.0}, losses, target)
    assert found.recommended_batch_size_ == 2
    assert "the fastest to" in found.recommendation_


def test_a_target_is_found_where_none_is_given():
    found = made_up({1: 1.0, 2: 1.0}, {1: [10.0, 5.0, 0.0], 2: [11.0, 10.0, 9.0]})
    assert not found.target_.given
    assert found.target_.value == pytest.approx(11.0 - 0.95 * 11.0)
    assert [row.epochs_to_target for row in found.rows_] == [3.0, None]


def test_the_target_that_is_found_is_reached_by_all_fits_of_a_batch_size():
    one, other = Measured(1), Measured(2)
    for measured in (one, other):
        measured.costs = BatchCosts([5, 1], 8, "sgd", has_hidden_buffers=False)
    one.add([1.0] * 2, [10.0, 0.0], [0.5] * 2)  # a lucky seed
    one.add([1.0] * 2, [10.0, 8.0], [0.5] * 2)
    other.add([1.0] * 2, [9.0, 5.0], [0.5] * 2)
    other.add([1.0] * 2, [9.0, 6.0], [0.5] * 2)
    found = BatchSizeProfile(
        "Made",
        (100, 5),
        [one, other],
        None,
        [],
        noise_batch_size=1,
        peak=1e9,
        peak_text="",
        n_repeats=2,
    )
    assert found.target_.value == pytest.approx(10.0 - 0.95 * (10.0 - 6.0))
    assert found.rows_[1].epochs_to_target == 2.0


def test_a_profile_in_which_nothing_is_learned_says_so():
    found = batch_size_profile(
        SGDRegressor(eta0=1e-9), *NUMBERS, batch_sizes=[4, 16], epochs=2, n_repeats=1, random_state=0
    )
    assert "no better than that of a constant prediction" in found.recommendation_
    assert found.constant_score_ == pytest.approx(0.0, abs=0.1)
    learned = batch_size_profile(
        SGDRegressor(), *NUMBERS, batch_sizes=[4, 16], epochs=5, n_repeats=1, random_state=0
    )
    assert "constant prediction" not in learned.recommendation_


def test_too_few_samples_to_hold_out():
    with pytest.raises(ValueError, match="4 samples are too few to hold out a fifth with each of 2 classes"):
        batch_size_profile(SGDClassifier(), np.eye(4), [0, 1, 0, 1], batch_sizes=[1])


def test_forms(profile):
    text, html = str(profile), profile._repr_html_()
    assert "\x1b" not in text
    for word in ("GFLOP/s", "working", "L2", "time", "recommended", "Peak:", "critical batch size"):
        assert word in text, word
    assert html.count("<table>") == 2
    assert "batch<br>size" in html
    content = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    assert [row["batch_size"] for row in content["rows"]] == [16, 64, 256]
    assert content["recommendation"] == profile.recommendation_
    assert content["curves"]["16"]["loss"] == profile.curves_[16]["loss"]
    frame = profile.to_frame()
    assert list(frame.index) == [16, 64, 256]
    assert frame.loc[16, "final_loss"] == profile.rows_[0].final_loss
    assert "16, 64, 256" in repr(profile)


def test_a_frame_needs_pandas(profile, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_dict does not"):
        profile.to_frame()


def test_peak_memory_leaves_tracing_as_it_was():
    for traces in (False, True):
        if traces:
            tracemalloc.start()
        batch_size_profile(SGDRegressor(), *NUMBERS, batch_sizes=[8], epochs=1, n_repeats=1)
        assert tracemalloc.is_tracing() is traces
        tracemalloc.stop()


def test_schedules_that_count_epochs_without_progress_keep_doing_so():
    adaptive = MLPClassifier(solver="sgd", learning_rate="adaptive", n_iter_no_change=3)
    assert with_batch_size(adaptive, 8, 50, 0).n_iter_no_change == 3
    assert with_batch_size(MLPClassifier(n_iter_no_change=3), 8, 50, 0).n_iter_no_change == 51
    assert with_batch_size(LinearRegression(n_iter_no_change=3), 8, 50, 0).n_iter_no_change == 3
    assert with_batch_size(SGDRegressor(tol=1e-3), 8, 50, 0).tol is None
    assert with_batch_size(SGDRegressor(tol=1e-3, learning_rate="adaptive"), 8, 50, 0).tol == 1e-3


@pytest.mark.parametrize(
    ("estimator", "arguments", "message"),
    [
        (SGDRegressor(), {"batch_sizes": [0, 4]}, "between 1 and 320, the number of training samples, got 0"),
        (SGDRegressor(), {"batch_sizes": [-3]}, "got -3"),
        (SGDRegressor(), {"batch_sizes": [321]}, "got 321"),
        (SGDRegressor(), {"batch_sizes": [2.5]}, "got 2.5"),
        (SGDRegressor(), {"batch_sizes": []}, "batch_sizes is empty"),
        (SGDRegressor(), {"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        (SGDRegressor(), {"n_repeats": 0}, "n_repeats must be"),
        (SGDRegressor(), {"time_budget": 0.0}, "time_budget must be a number of seconds above 0"),
        (SGDRegressor(), {"target_loss": 1.0, "target_score": 1.0}, "both given"),
        (SGDRegressor(), {"target_loss": np.nan}, "target_loss must be a finite number"),
        (SGDRegressor(), {"X_val": NUMBERS[0]}, "X_val was given without y_val"),
        (SGDRegressor(learning_rate="pa1"), {}, "has no batches: it computes the step of every sample"),
        (MLPRegressor(solver="lbfgs"), {}, "has no batches: each step takes all samples"),
        (RandomForestClassifier(), {}, "RandomForestClassifier has no batches"),
        (make_pipeline(StandardScaler(), SGDRegressor()), {}, "Pipeline has no batches"),
        (SGDRegressor(eta0=-1.0), {"epochs": 1}, "'eta0' parameter"),
    ],
)
def test_what_cannot_be_profiled_is_one_clear_line(estimator, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        batch_size_profile(estimator, *NUMBERS, **arguments)
    assert "\n" not in str(raised.value)
