"""Descents that are taken through the samples together: bit for bit the descents by themselves."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastfit.linear_model import SGDClassifier, SGDRegressor
from fastfit.model_selection import fit_many
from tests.model_selection.search_pairs import noisy_classes, quietly, regression

REGRESSION_LOSSES = ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
CLASS_LOSSES = ["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"]
PENALTIES = [None, "l2", "l1", "elasticnet"]
RATES = ["invscaling", "constant", "optimal", "adaptive"]


def assert_each_is_a_single_fit(estimator, X, y, settings, **fit_params):
    models = quietly(fit_many, estimator, X, y, settings, **fit_params)
    for setting, model in zip(settings, models, strict=True):
        single = quietly(clone(estimator).set_params(**setting).fit, X, y, **fit_params)
        for name in ("coef_", "intercept_", "loss_curve_", "n_iter_", "t_"):
            np.testing.assert_array_equal(
                getattr(model, name), getattr(single, name), err_msg=f"{setting} {name}"
            )


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("rate", RATES)
def test_regression(loss, rate):
    X, y = regression()
    for penalty in PENALTIES:
        estimator = SGDRegressor(loss=loss, penalty=penalty, learning_rate=rate, random_state=0, max_iter=20)
        settings = [{"alpha": a, "eta0": eta} for a in (1e-4, 1e-2, 1.0) for eta in (0.01, 0.1, 0.3)]
        assert_each_is_a_single_fit(estimator, X, y, settings)


@pytest.mark.parametrize("loss", CLASS_LOSSES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_classes_with_weights(loss, penalty):
    X, y = noisy_classes()
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    estimator = SGDClassifier(loss=loss, penalty=penalty, random_state=0, class_weight="balanced")
    settings = [{"alpha": a, "max_iter": m} for a in (1e-5, 1e-3, 1.0) for m in (5, 1000)]
    for target in (y, y > 0):
        assert_each_is_a_single_fit(estimator, X, target, settings, sample_weight=weight)


@pytest.mark.parametrize("n_features", [1, 7, 8, 15, 16, 17, 33])
def test_any_number_of_features(n_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(130, n_features))
    y = X[:, 0] + rng.normal(size=len(X)) > 0
    estimator = SGDClassifier(random_state=0, max_iter=7, penalty="elasticnet")
    assert_each_is_a_single_fit(estimator, X, y, [{"alpha": a} for a in np.geomspace(1e-5, 1, 11)])


def test_teams_find_the_same():
    from fastfit.training.stochastic_gradient import Run, Start
    from fastfit.training.stochastic_together import descend_together

    X, y = noisy_classes()
    y = np.where(y > 0, 1.0, -1.0)
    estimators = [SGDClassifier(alpha=alpha) for alpha in np.geomspace(1e-5, 1, 21)]
    options = [one._options(one.alpha, one.loss, one.learning_rate, False, len(y)) for one in estimators]
    start = Start(np.zeros(X.shape[1]), 0.0, None, 0.0, 1.0, None)
    samples = Run(X, y, None, None, start, options[0], seed=7, max_epochs=9).state.samples
    alone, team = (descend_together(samples, 7, {one: {9} for one in options}, n)[0] for n in (1, 2))
    assert len(alone) == len(team) == 21
    for key, expected in alone.items():
        np.testing.assert_array_equal(team[key].coef, expected.coef)
        np.testing.assert_array_equal(team[key].objectives, expected.objectives)


def test_one_that_overflows_hurts_no_other():
    X, y = noisy_classes()
    estimator = SGDRegressor(random_state=0, learning_rate="constant", max_iter=30, tol=None)
    with pytest.raises(ValueError, match="overflow"):
        fit_many(estimator, X, y, [{"eta0": 0.001}, {"eta0": 1e300}])
    from fastfit.model_selection import GridSearchCV

    search = GridSearchCV(estimator, {"eta0": [0.001, 1e300, 0.002]}, error_score=-7.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert scores[1] == -7.0
    assert (scores[[0, 2]] > -7.0).all()


def test_float32_descends_by_itself():
    X, y = noisy_classes()
    settings = [{"alpha": 1e-4}, {"alpha": 1e-2}]
    assert_each_is_a_single_fit(SGDClassifier(random_state=0), X.astype(np.float32), y, settings)


def test_the_settings_that_do_not_converge_are_told_of():
    X, y = noisy_classes()
    with pytest.warns(ConvergenceWarning) as told:
        fit_many(
            SGDClassifier(random_state=0), X, y > 0, [{"max_iter": 2}, {"max_iter": 3}, {"max_iter": 1000}]
        )
    assert len([one for one in told if one.category is ConvergenceWarning]) == 2


@pytest.mark.plain_python
def test_plain_python():
    X, y = noisy_classes()
    for loss in ("hinge", "log_loss"):
        estimator = SGDClassifier(loss=loss, random_state=0, max_iter=2, penalty="elasticnet", tol=None)
        assert_each_is_a_single_fit(estimator, X[:70], y[:70] > 0, [{"alpha": a} for a in (1e-4, 1e-2)])
