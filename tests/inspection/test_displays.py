"""The displays, by what they draw: artists, labels, scales."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from fastfit.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from fastfit.inspection import (
    BatchSizeProfileDisplay,
    LossCurveDisplay,
    ValidationSurfaceDisplay,
    batch_size_profile,
)
from fastfit.inspection.batch_size_result import Target
from fastfit.inspection.loss_curve import curves_of
from fastfit.inspection.plotting import is_logarithmic
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.neural_network import MLPClassifier
from tests.inspection.test_batch_size_profile import NUMBERS, made_up

plt = pytest.importorskip("matplotlib.pyplot")

X, Y = NUMBERS
CLASSES = (Y > 0).astype(int) + (Y > 100)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --------------------------------------------------------------------------------------- batch-size profiles


@pytest.fixture
def profile():
    losses = {1: [4.0, 1.0], 8: [8.0, 2.0], 64: [16.0, 12.0]}
    return made_up({1: 1.0, 8: 0.2, 64: 0.1}, losses, Target("training loss", 2.5, given=True))


def test_profile_draws_three_axes(profile):
    display = BatchSizeProfileDisplay.from_profile(profile)
    assert display.figure_ is display.ax_[0].figure
    throughput, target, losses = display.ax_
    for ax in (throughput, target):
        assert ax.get_xscale() == "log"
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "8", "64"]
        assert ax.get_xlabel() == "batch size"
    np.testing.assert_allclose(throughput.lines[0].get_xdata(), [1, 8, 64])
    np.testing.assert_allclose(throughput.lines[0].get_ydata(), [100, 500, 1000])
    assert len(throughput.texts) == 3, "the shares of peak"
    assert "samples a second" in throughput.get_ylabel()
    np.testing.assert_allclose(target.lines[0].get_xdata(), [1, 8])
    np.testing.assert_allclose(target.lines[0].get_ydata(), [2.0, 0.4])
    assert [text.get_text() for text in target.texts] == ["2 epochs", "2 epochs"]
    assert {"reached", "not reached", "recommended: 8"} <= set(labels_of(target))
    for ax, value in ((throughput, 500), (target, 0.4)):
        (star,) = (line for line in ax.lines if line.get_marker() == "*")
        np.testing.assert_allclose(star.get_xydata(), [[8, value]])
    assert display.figure_.get_suptitle() == "Made, 100 samples x 5: recommended batch size 8"
    assert "training loss 2.5" in target.get_ylabel()
    assert losses.get_xlabel() == "time of training"
    assert losses.get_xscale() == "log"
    assert labels_of(losses) == ["1", "8 (recommended)", "64", "target 2.5"]
    np.testing.assert_allclose(losses.lines[1].get_ydata(), [8.0, 2.0])
    assert losses.lines[1].get_linewidth() > losses.lines[0].get_linewidth()


@pytest.mark.parametrize(
    "seconds",
    [
        {1: 1.0, 8: 0.2, 64: 0.1, 512: 0.09},
        {1: 0.1, 8: 0.2, 64: 0.3, 512: 0.4},
        {1: 0.1, 8: 0.01, 64: 3.0, 512: 0.01},
        {1: 0.2, 8: 0.2, 64: 0.2, 512: 0.2},
        {4: 1.0},
    ],
)
def test_what_is_written_beside_points_can_be_read(seconds):
    """It lies within the axes, and covers neither other texts nor a legend nor numbers of the axes."""
    made = made_up(seconds, {size: [4.0, 1.0] for size in seconds}, Target("training loss", 2.5, given=True))
    display = BatchSizeProfileDisplay.from_profile(made)
    display.figure_.canvas.draw()
    for ax in display.ax_[:2]:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) == len(seconds)
        others = [ax.get_legend().get_window_extent()]
        others += [label.get_window_extent() for label in ax.get_xticklabels() + ax.get_yticklabels()]
        for number, box in enumerate(boxes):
            assert ax.bbox.x0 <= box.x0 <= box.x1 <= ax.bbox.x1, ax.texts[number]
            assert ax.bbox.y0 <= box.y0 <= box.y1 <= ax.bbox.y1, ax.texts[number]
            assert not any(box.overlaps(other) for other in boxes[:number] + others), ax.texts[number]


def test_profile_into_axes_of_the_caller(profile):
    _, axes = plt.subplots(1, 3)
    display = BatchSizeProfileDisplay(profile).plot(ax=axes)
    assert display.ax_ is axes
    with pytest.raises(ValueError, match="ax must be three axes, got 2"):
        BatchSizeProfileDisplay(profile).plot(ax=plt.subplots(1, 2)[1])


def test_profile_with_nothing_reached_or_learned():
    display = BatchSizeProfileDisplay.from_profile(
        made_up({4: 1.0}, {4: [1.0]}, Target("training loss", 0.1, True))
    )
    assert labels_of(display.ax_[1]) == ["not reached", "recommended: 4"]
    diverged = batch_size_profile(
        LinearRegression(learning_rate=50.0), X, Y, batch_sizes=[2, 4], epochs=1, n_repeats=1, random_state=0
    )
    BatchSizeProfileDisplay.from_profile(diverged).figure_.canvas.draw()


def test_profile_from_estimator():
    display = BatchSizeProfileDisplay.from_estimator(
        SGDRegressor(), X, Y, batch_sizes=[4, 16], epochs=2, n_repeats=1, random_state=0
    )
    assert display.profile.batch_sizes_ == [4, 16]
    assert len(display.ax_[2].lines) >= 2


# --------------------------------------------------------------------------------------------- loss curves


def test_curve_of_a_network():
    model = MLPClassifier((5,), max_iter=4, random_state=0).fit(X, CLASSES)
    display = LossCurveDisplay.from_estimator(model)
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "loss"
    assert display.score_ax_ is None


def test_validation_scores_have_a_scale_of_their_own():
    model = MLPClassifier((5,), max_iter=4, random_state=0).fit(X, CLASSES, X_val=X[:50], y_val=CLASSES[:50])
    display = LossCurveDisplay.from_estimator(model)
    assert display.score_ax_ is not display.ax_
    assert display.score_ax_.get_ylabel() == "validation score"
    np.testing.assert_array_equal(display.score_ax_.lines[0].get_ydata(), model.validation_scores_)
    assert labels_of(display.ax_) == ["MLPClassifier, training loss", "MLPClassifier, validation score"]


def test_several_estimators_are_overlaid_and_named_by_what_differs():
    models = [SGDRegressor(alpha=alpha, random_state=0).fit(X, Y) for alpha in (0.001, 1.0)]
    display = LossCurveDisplay.from_estimator(models)
    assert labels_of(display.ax_) == [
        "SGDRegressor(alpha=0.001), training loss",
        "SGDRegressor(alpha=1.0), training loss",
    ]
    assert len({line.get_color() for line in display.lines_}) == 2
    display = LossCurveDisplay.from_estimator({"weak": models[0], "strong": models[1]})
    assert labels_of(display.ax_)[0] == "weak, training loss"
    _, ax = plt.subplots()
    assert LossCurveDisplay.from_estimator(models, names=["a", "b"], ax=ax).ax_ is ax


def test_classes_against_the_rest_are_averaged_each_with_its_last_value():
    model = SGDClassifier(random_state=0, loss="log_loss").fit(X, CLASSES)
    (curve,) = curves_of(model)
    assert np.isfinite(curve.values).all()
    assert len(curve.values) == model.n_iter_
    assert curve.values[0] == pytest.approx(model.loss_curve_[:, 0].mean())
    assert curve.values[-1] == pytest.approx(np.mean([row[~np.isnan(row)][-1] for row in model.loss_curve_]))


def test_rounds_and_trees_with_data():
    boosting = HistGradientBoostingClassifier(max_iter=5, early_stopping=True, random_state=0).fit(X, CLASSES)
    kinds = {curve.kind: curve for curve in curves_of(boosting, X, CLASSES)}
    assert set(kinds) == {"training loss", "validation loss", "loss on the data given"}
    assert kinds["validation loss"].positions[0] == 0, "before the first round"
    given = kinds["loss on the data given"]
    probability = boosting.predict_proba(X)[np.arange(len(X)), CLASSES]
    assert given.values[-1] == pytest.approx(-np.log(probability).mean())
    forest = RandomForestClassifier(n_estimators=6, random_state=0).fit(X[:200], CLASSES[:200])
    (curve,) = curves_of(forest, X[200:], CLASSES[200:])
    assert (curve.step, len(curve.values)) == ("tree", 6)
    probability = np.maximum(
        forest.predict_proba(X[200:])[np.arange(200), CLASSES[200:]], np.finfo(float).eps
    )
    assert curve.values[-1] == pytest.approx(-np.log(probability).mean())
    display = LossCurveDisplay.from_estimator([boosting, forest], X, CLASSES)
    assert display.ax_.get_xlabel() == "round or tree"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGDRegressor(), "is not fitted"),
        (
            lambda: RandomForestClassifier(n_estimators=2).fit(X, CLASSES),
            "records no losses in its fit; give X and y",
        ),
    ],
)
def test_without_curves(make, message):
    with pytest.raises(ValueError, match=message):
        LossCurveDisplay.from_estimator(make())


def test_epochs_are_not_there_to_be_scored_later():
    model = SGDRegressor().fit(X, Y)
    with pytest.raises(ValueError, match="give X_val and y_val to its fit"):
        LossCurveDisplay.from_estimator(model, X, Y)
    with pytest.raises(ValueError, match="go together"):
        LossCurveDisplay.from_estimator(model, X)
    with pytest.raises(ValueError, match="different names"):
        LossCurveDisplay.from_estimator([model, model], names=["a", "a"])


# ------------------------------------------------------------------------------------------ search surfaces


@pytest.fixture(scope="module")
def search():
    grid = {"eta0": [0.0001, 0.001, 0.01], "alpha": [0.1, 0.2, 0.3, 0.4], "penalty": ["l2", "l1"]}
    return GridSearchCV(SGDRegressor(random_state=0, max_iter=5, tol=None), grid, cv=2).fit(X, Y)


def test_surface(search):
    display = ValidationSurfaceDisplay.from_search(search, "eta0", "alpha")
    ax = display.ax_
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear"), "as the grids are"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eta0", "alpha")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.0001", "0.001", "0.01"]
    values = np.asarray(display.mesh_.get_array()).reshape(4, 3)
    results = search.cv_results_
    for row, alpha in enumerate([0.1, 0.2, 0.3, 0.4]):
        for column, eta0 in enumerate([0.0001, 0.001, 0.01]):
            chosen = (results["param_alpha"] == alpha) & (results["param_eta0"] == eta0)
            assert values[row, column] == results["mean_test_score"][chosen].max(), (
                "the best over the penalty"
            )
    assert display.best_ == (search.best_params_["eta0"], search.best_params_["alpha"])
    (frame,) = ax.patches
    left, bottom = frame.get_xy()
    x, y = display.best_
    assert left < x < left + frame.get_width()
    assert bottom < y < bottom + frame.get_height()
    assert f"best: {search.best_score_:.4g}" in ax.get_title()
    assert len(ax.texts) == 12, "a score in each cell"
    assert len(display.figure_.axes) == 2, "with a colour bar"


def test_surface_of_words_and_of_an_incomplete_grid(search):
    display = ValidationSurfaceDisplay.from_estimator(search, "penalty", "eta0")
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["l2", "l1"]
    assert display.ax_.get_xscale() == "linear"
    random = RandomizedSearchCV(
        SGDRegressor(max_iter=2),
        {"eta0": [0.001, 0.01, 0.1], "alpha": [0.1, 1.0]},
        n_iter=3,
        cv=2,
        random_state=0,
    ).fit(X, Y)
    display = ValidationSurfaceDisplay.from_search(random)
    assert np.isnan(display.scores).sum() == display.scores.size - 3
    assert len(display.ax_.texts) == 3


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((), {}, "over 3 hyperparameters .*; name two"),
        (("eta0",), {}, "y_name is missing"),
        (("eta0", "gamma"), {}, "y_name='gamma' was not searched; there are: "),
        (("eta0", "eta0"), {}, "are both 'eta0'"),
        (("eta0", "alpha"), {"metric": "r2"}, "no metric 'r2' in the search; there are: score"),
    ],
)
def test_what_a_surface_cannot_show(search, names, options, message):
    with pytest.raises(ValueError, match=message):
        ValidationSurfaceDisplay.from_search(search, *names, **options)


def test_an_unfinished_search():
    with pytest.raises(ValueError, match="call fit first"):
        ValidationSurfaceDisplay.from_search(GridSearchCV(SGDRegressor(), {"eta0": [1]}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 10, 100], True),
        ([1, 2, 3], False),
        ([1e-4, 3e-4, 1e-3], True),
        ([5], False),
        ([-1, 1, 10], False),
    ],
)
def test_which_grids_are_logarithmic(values, expected):
    assert is_logarithmic(values) is expected


def test_matplotlib_is_loaded_only_to_plot():
    code = (
        "import sys, numpy as np; from fastfit.inspection import *; from fastfit.inspection import describe;"
        "from fastfit.linear_model import SGDRegressor as S; X = np.random.rand(60, 2);"
        "p = batch_size_profile(S(), X, X[:, 0], batch_sizes=[4], epochs=1, n_repeats=1);"
        "BatchSizeProfileDisplay(p); print('matplotlib' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_without_matplotlib(monkeypatch, profile):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"BatchSizeProfileDisplay.plot needs matplotlib: pip install"):
        BatchSizeProfileDisplay.from_profile(profile)
