"""The steps of boosting against finite differences of the losses, which are written out here in plain NumPy.

With one round, no shrinkage and few leaves, the value of a leaf is the Newton step ``-G / H`` of the loss summed over
the leaf's samples, at the constant prediction that boosting begins with.
"""

import numpy as np
import pytest
from sklearn._loss.loss import HalfMultinomialLoss
from sklearn.datasets import load_diabetes

from fastfit.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from fastfit.ensemble.hist_gradient_boosting_labels import multinomial_baseline

X, NUMBERS = load_diabetes(return_X_y=True)
CLASSES = np.searchsorted([100.0, 180.0], NUMBERS)
WEIGHT = np.random.default_rng(0).uniform(0.2, 2.0, len(X))

SMOOTH = {
    "squared_error": lambda y, raw: 0.5 * (y - raw) ** 2,
    "poisson": lambda y, raw: np.exp(raw) - y * raw,
    "gamma": lambda y, raw: raw + y * np.exp(-raw),
}
ROUGH = {
    "absolute_error": lambda y, raw: np.abs(y - raw),
    "quantile": lambda y, raw: np.where(y < raw, 0.3 * (raw - y), 0.7 * (y - raw)),
}
QUANTILES = {"absolute_error": 0.5, "quantile": 0.7}


def binomial(y, raw):
    return np.log1p(np.exp(raw)) - y * raw


def leaves_of(model, k=0):
    """Yield (mask of the training rows, value) of each leaf of the first tree of class k."""
    tree = model._predictors[0][k]
    bitsets, positions = model._bin_mapper.make_known_categories_bitsets()
    values = tree.predict(X, bitsets, positions, 1)
    for value in np.unique(values):
        yield values == value, value


def derivatives(loss, at, step=1e-3):
    """Return the first and second derivative of a function of one number, by central differences."""
    below, here, above = loss(at - step), loss(at), loss(at + step)
    return (above - below) / (2 * step), (above - 2 * here + below) / step**2


def fit_one_round(model, y, weight):
    return model.set_params(
        max_iter=1, learning_rate=1.0, max_leaf_nodes=6, min_samples_leaf=5, early_stopping=False
    ).fit(X, y, weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_newton_steps_of_regression(name, weighted):
    y = NUMBERS / 50.0
    weight = WEIGHT if weighted else None
    w = WEIGHT if weighted else np.ones(len(X))
    model = fit_one_round(HistGradientBoostingRegressor(loss=name), y, weight)
    baseline = model._baseline_prediction.item()
    # The baseline is where the loss is least.
    slope, _ = derivatives(lambda raw: np.sum(w * SMOOTH[name](y, raw)), baseline)
    assert abs(slope) < 1e-2
    n_leaves = 0
    for rows, value in leaves_of(model):
        slope, curvature = derivatives(
            lambda raw, rows=rows: np.sum((w * SMOOTH[name](y, raw))[rows]), baseline
        )
        assert value == pytest.approx(-slope / curvature, rel=1e-4)
        n_leaves += 1
    assert n_leaves == 6
    # scikit-learn leaves out what does not depend on the prediction, and so does the curve.
    expected = np.average(SMOOTH[name](y, baseline), weights=w)
    assert model.loss_curve_[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ROUGH)
def test_line_searches_of_regression(name, weighted):
    w = WEIGHT if weighted else np.ones(len(X))
    model = HistGradientBoostingRegressor(loss=name, quantile=0.7 if name == "quantile" else None)
    model = fit_one_round(model, NUMBERS, WEIGHT if weighted else None)
    baseline = model._baseline_prediction.item()
    for rows, value in leaves_of(model):
        residuals, weights = NUMBERS[rows] - baseline, w[rows]
        step = weights.max() / weights.sum()  # of the distribution at a sample
        below = weights[residuals < value].sum() / weights.sum()
        up_to = weights[residuals <= value].sum() / weights.sum()
        assert below - step <= QUANTILES[name] <= up_to + step
    expected = np.average(ROUGH[name](NUMBERS, baseline), weights=w)
    assert model.loss_curve_[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_newton_steps_of_two_classes(weighted):
    y = (CLASSES > 0).astype(float)
    w = WEIGHT if weighted else np.ones(len(X))
    model = fit_one_round(HistGradientBoostingClassifier(), y, WEIGHT if weighted else None)
    baseline = model._baseline_prediction.item()
    for rows, value in leaves_of(model):
        slope, curvature = derivatives(lambda raw, rows=rows: np.sum((w * binomial(y, raw))[rows]), baseline)
        assert value == pytest.approx(-slope / curvature, rel=1e-4)
    assert model.loss_curve_[0] == pytest.approx(np.average(binomial(y, baseline), weights=w), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_newton_steps_of_several_classes(weighted):
    w = WEIGHT if weighted else np.ones(len(X))
    model = fit_one_round(HistGradientBoostingClassifier(), CLASSES, WEIGHT if weighted else None)
    baseline = model._baseline_prediction[0]

    def multinomial(raw_k, k):
        raw = baseline.copy()
        raw[k] = raw_k
        return np.log(np.exp(raw).sum()) - raw[CLASSES]

    for k in range(3):
        for rows, value in leaves_of(model, k):
            slope, curvature = derivatives(
                lambda raw, rows=rows, k=k: np.sum((w * multinomial(raw, k))[rows]), baseline[k]
            )
            assert value == pytest.approx(-slope / curvature, rel=1e-4)
    expected = np.average(multinomial(baseline[0], 0), weights=w)
    assert model.loss_curve_[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("counts", [[50, 50, 50], [1, 2, 300], [7, 0, 11, 13], [10**5, 1, 1]], ids=str)
def test_the_baseline_of_several_classes_is_scikit_learns(counts):
    codes = np.repeat(np.arange(len(counts), dtype=float), counts)
    expected = HalfMultinomialLoss(n_classes=len(counts)).fit_intercept_only(codes)
    np.testing.assert_array_equal(multinomial_baseline(codes, len(counts)), expected)
