"""Ctrl-C between rounds, for both families of boosting: the former fit stays, and a warm start goes on from it."""

import numpy as np
import pytest

import fastfit.ensemble

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 6))
NUMBERS = X[:, 0] + X[:, 1] ** 2 + RNG.standard_normal(len(X))
CLASSES = np.searchsorted([0.0, 1.0], NUMBERS)
ROUNDS = {
    "GradientBoostingClassifier": "n_estimators",
    "GradientBoostingRegressor": "n_estimators",
    "HistGradientBoostingClassifier": "max_iter",
    "HistGradientBoostingRegressor": "max_iter",
}


class Interrupt:
    """Presses Ctrl-C when the third round is to begin."""

    def __init__(self):
        self.n_begun = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.n_begun += context.task_name == "round"
        if self.n_begun == 3:
            raise KeyboardInterrupt

    def on_fit_task_end(self, estimator, context):
        return False


@pytest.mark.parametrize("name", ROUNDS)
def test_a_warm_start_after_ctrl_c_goes_on_as_if_nothing_had_been(name):
    def make(n_rounds, **params):
        params = {ROUNDS[name]: n_rounds, "random_state": 0, "subsample": 0.7, "max_features": 0.5, **params}
        return getattr(fastfit.ensemble, name)(**params)

    y = CLASSES if name.endswith("Classifier") else NUMBERS
    model = make(3, warm_start=True).fit(X, y)
    before = model.predict(X)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(**{ROUNDS[name]: 9}).set_callbacks(Interrupt()).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    model.set_params(**{ROUNDS[name]: 5}).set_callbacks().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), make(5).fit(X, y).predict(X))


@pytest.mark.parametrize("name", ROUNDS)
def test_a_first_fit_that_is_interrupted_leaves_nothing(name):
    y = CLASSES if name.endswith("Classifier") else NUMBERS
    model = getattr(fastfit.ensemble, name)(**{ROUNDS[name]: 9}).set_callbacks(Interrupt())
    before = vars(model).copy()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert vars(model) == before
