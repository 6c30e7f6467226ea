"""SGDRegressor and SGDClassifier against scikit-learn's: the same coefficients for the same random_state."""

import itertools

import numpy as np
import pytest
from sklearn import linear_model as sklearn_linear_model
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import scale

from fastfit import linear_model

RATES = ["constant", "optimal", "invscaling", "adaptive"]
PENALTIES = ["l2", "l1", "elasticnet", None]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def regression_data():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def binary_data():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def multiclass_data():
    X, y = load_digits(return_X_y=True)
    return scale(X), y


def pair(name, **parameters):
    return [getattr(module, name)(**parameters) for module in (linear_model, sklearn_linear_model)]


def assert_same_model(ours, theirs, rtol=1e-7):
    assert ours.fit_engine_ == "fastfit"
    for name in ("coef_", "intercept_"):
        mine, reference = getattr(ours, name), getattr(theirs, name)
        assert (mine.dtype, mine.shape) == (reference.dtype, reference.shape)
        np.testing.assert_allclose(
            mine, reference, rtol=rtol, atol=rtol * np.abs(theirs.coef_).max(), err_msg=name
        )
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


def assert_same_fits(name, data, **parameters):
    ours, theirs = pair(name, random_state=3, max_iter=12, **parameters)
    assert_same_model(ours.fit(*data), theirs.fit(*data))


@pytest.mark.parametrize("learning_rate", RATES)
@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
def test_regressor(loss, learning_rate):
    data = regression_data()
    for penalty, average, early_stopping in itertools.product(PENALTIES, [False, True, 50], [False, True]):
        assert_same_fits(
            "SGDRegressor",
            data,
            loss=loss,
            penalty=penalty,
            learning_rate=learning_rate,
            average=average,
            early_stopping=early_stopping,
            alpha=1e-2,
        )


@pytest.mark.parametrize("learning_rate", RATES)
@pytest.mark.parametrize(
    "loss",
    ["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "huber", "epsilon_insensitive"],
)
def test_binary_classifier(loss, learning_rate):
    data = binary_data()
    for penalty, average, early_stopping in itertools.product(PENALTIES, [False, True], [False, True]):
        assert_same_fits(
            "SGDClassifier",
            data,
            loss=loss,
            penalty=penalty,
            learning_rate=learning_rate,
            average=average,
            early_stopping=early_stopping,
            alpha=1e-2,
            class_weight="balanced",
        )


@pytest.mark.parametrize("learning_rate", ["pa1", "pa2"])
@pytest.mark.parametrize("penalty", ["l2", "elasticnet", None])
def test_passive_aggressive(learning_rate, penalty):
    parameters = {"learning_rate": learning_rate, "penalty": penalty, "eta0": 0.5}
    assert_same_fits("SGDRegressor", regression_data(), loss="epsilon_insensitive", **parameters)
    X, y = binary_data()
    X[::7] = 0.0  # rows that PA-I cannot learn from
    assert_same_fits("SGDClassifier", (X, y), loss="hinge", **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"loss": "log_loss"},
        {"average": True},
        {"early_stopping": True},
        {"penalty": "l1"},
        {"shuffle": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_multiclass(parameters, dtype):
    X, y = multiclass_data()
    ours, theirs = pair("SGDClassifier", random_state=1, max_iter=40, **parameters)
    rtol = 1e-7 if dtype == np.float64 else 1e-5
    assert_same_model(ours.fit(X.astype(dtype), y), theirs.fit(X.astype(dtype), y), rtol)


@pytest.mark.parametrize("average", [False, True, 150])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_partial_fit_of_classifier(average, n_classes):
    X, y = multiclass_data()
    X, y = X[y < n_classes][:300], y[y < n_classes][:300]
    ours, theirs = pair("SGDClassifier", random_state=1, average=average)
    for part in range(3):
        rows = slice(100 * part, 100 * part + 100)
        for model in (ours, theirs):
            model.partial_fit(X[rows], y[rows], classes=np.arange(n_classes))
        assert_same_model(ours, theirs)


@pytest.mark.parametrize("average", [False, True, 150])
def test_partial_fit_of_regressor(average):
    X, y = regression_data()
    ours, theirs = pair("SGDRegressor", random_state=1, average=average, penalty="elasticnet")
    for part in range(4):
        rows = slice(100 * part, 100 * part + 100)
        for model in (ours, theirs):
            model.partial_fit(X[rows], y[rows])
        assert_same_model(ours, theirs)


@pytest.mark.parametrize("average", [False, True])
def test_warm_start_and_initial_weights(average):
    X, y = multiclass_data()
    ours, theirs = pair("SGDClassifier", random_state=1, max_iter=3, warm_start=True, average=average)
    for _ in range(3):
        assert_same_model(ours.fit(X, y), theirs.fit(X, y))
    X, y = regression_data()
    ours, theirs = pair("SGDRegressor", random_state=1, max_iter=3, average=average)
    initial = {"coef_init": np.linspace(-1, 1, X.shape[1]), "intercept_init": 0.5}
    assert_same_model(ours.fit(X, y, **initial), theirs.fit(X, y, **initial))


def test_sample_weights():
    rng = np.random.default_rng(0)
    X, y = regression_data()
    weight = rng.uniform(0, 3, len(y))
    ours, theirs = pair("SGDRegressor", random_state=1, max_iter=5)
    assert_same_model(ours.fit(X, y, sample_weight=weight), theirs.fit(X, y, sample_weight=weight))
    X, y = binary_data()
    weight = rng.integers(0, 3, len(y)).astype(float)
    ours, theirs = pair("SGDClassifier", random_state=1, max_iter=5, class_weight={0: 1.5, 1: 0.5})
    assert_same_model(ours.fit(X, y, sample_weight=weight), theirs.fit(X, y, sample_weight=weight))


def test_negative_sample_weights():
    X, y = regression_data()
    weight = np.where(np.arange(len(y)) % 10, 1.0, -0.5)
    ours, theirs = pair("SGDRegressor", random_state=1, max_iter=5)
    assert_same_model(ours.fit(X, y, sample_weight=weight), theirs.fit(X, y, sample_weight=weight))


def test_weights_folded_into_the_scale_of_a_long_run():
    # A large alpha shrinks the scale below its threshold many times, also while the weights are averaged.
    X, y = binary_data()
    for average in (False, True):
        assert_same_fits(
            "SGDClassifier", (X, y), alpha=0.9, eta0=0.5, learning_rate="constant", average=average
        )


def test_random_state_instance_is_left_where_scikit_learn_leaves_it():
    for name, data in (("SGDRegressor", regression_data()), ("SGDClassifier", binary_data())):
        states = np.random.RandomState(5), np.random.RandomState(5)
        for model, state in zip(pair(name, max_iter=2), states, strict=True):
            model.set_params(random_state=state).fit(*data)
        assert states[0].randint(1 << 30) == states[1].randint(1 << 30)


def test_tolerance_stops_after_the_same_epoch():
    X, y = binary_data()
    for parameters in ({"tol": 1e-2}, {"tol": 1e-4, "n_iter_no_change": 2}, {"tol": None}, {"tol": 0.0}):
        ours, theirs = pair("SGDClassifier", loss="log_loss", random_state=0, max_iter=100, **parameters)
        assert ours.fit(X, y).n_iter_ == theirs.fit(X, y).n_iter_


@pytest.mark.parametrize("power_t", [0.25, 0.5, 1.7])
def test_steps_of_a_long_run(power_t):
    # Beyond 10,000 updates the steps come from a series instead of powers.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 8))
    y = X.sum(axis=1) + rng.normal(size=3000)
    assert_same_fits("SGDRegressor", (X, y), power_t=power_t, tol=None, average=True)


def test_one_feature_and_one_more_than_a_vector():
    rng = np.random.default_rng(0)
    for n_features in (1, 2, 7, 8, 9, 15, 16, 17, 33):
        X = rng.normal(size=(40, n_features))
        assert_same_fits("SGDRegressor", (X, X.sum(axis=1)))


def test_verbose_output_is_that_of_scikit_learn(capsys):
    X, y = regression_data()
    outputs = []
    for model in pair("SGDRegressor", random_state=0, verbose=1, max_iter=20, early_stopping=True):
        model.fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        outputs.append([line for line in lines if "time" not in line and "took" not in line])
    # The averages of the loss are not computed by scikit-learn's early stopping but with verbose; all else is equal.
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == "-- Epoch 1"
