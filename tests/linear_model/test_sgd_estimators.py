"""What SGDRegressor and SGDClassifier add to scikit-learn: batches, optimizers, validation data, attributes, errors."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import scale

import fastfit
from fastfit.linear_model import SGDClassifier, SGDRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def linear_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 12))
    return X, X @ rng.normal(size=12) + 1.5 + 0.1 * rng.normal(size=700)


@pytest.fixture(scope="module")
def binary_data():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@pytest.mark.parametrize(
    "parameters",
    [
        {"batch_size": 32},
        {"batch_size": 700},
        {"batch_size": 16, "momentum": 0.9, "eta0": 0.001},
        {"batch_size": 16, "momentum": 0.9, "nesterov": True, "eta0": 0.001},
        {"batch_size": 16, "optimizer": "adam", "eta0": 0.003},
        {"momentum": 0.5, "eta0": 0.001},
    ],
    ids=str,
)
def test_every_optimizer_finds_the_line(linear_data, parameters):
    X, y = linear_data
    parameters = {"learning_rate": "constant", "eta0": 0.05, "alpha": 0.0, **parameters}
    model = SGDRegressor(max_iter=300, tol=None, random_state=0, **parameters).fit(X, y)
    least_squares = np.linalg.lstsq(np.column_stack([X, np.ones(len(y))]), y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_, least_squares[:-1], atol=0.03)
    np.testing.assert_allclose(model.intercept_, least_squares[-1:], atol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_number_of_threads_does_not_matter(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 200)).astype(dtype)
    y = X[:, 0] - X[:, 1]
    fits = []
    for n_threads in (1, 2, 3, 8):
        with fastfit.config_context(n_threads=n_threads):
            model = SGDRegressor(batch_size=512, max_iter=3, tol=None, random_state=0, n_jobs=n_threads)
            fits.append(model.fit(X, y))
    for model in fits[1:]:
        np.testing.assert_array_equal(model.coef_, fits[0].coef_)
        np.testing.assert_array_equal(model.loss_curve_, fits[0].loss_curve_)


def test_teams_of_any_size_give_the_same_bits(linear_data):
    # The estimator takes no more threads than the machine has, so the team is asked for directly.
    from fastfit.linear_model.sgd_fitting import start_of
    from fastfit.training import stochastic_gradient as training

    X, y = linear_data
    options = SGDRegressor(batch_size=200, penalty="elasticnet", momentum=0.5)._options(
        1e-3, "squared_error", "constant", False, len(y)
    )
    results = []
    for n_threads in (1, 2, 3, 7):
        start = start_of(np.zeros(12), 0.0, None, 0.0, 1.0)
        descent = training._Descent(X, y, None, None, start, options, 5, None)
        descent.prepare_team(start, n_threads, X.dtype)
        objectives = descent.train(4, may_be_long=False)
        results.append((objectives, descent.model.coef.copy()))
    for objectives, coef in results[1:]:
        np.testing.assert_array_equal(objectives, results[0][0])
        np.testing.assert_array_equal(coef, results[0][1])


def test_classes_fitted_on_threads_equal_classes_fitted_in_turn():
    X, y = load_digits(return_X_y=True)
    X = np.vstack([scale(X)] * 2)
    y = np.concatenate([y, y])
    one, many = (SGDClassifier(random_state=0, max_iter=3, n_jobs=n).fit(X, y) for n in (1, 8))
    np.testing.assert_array_equal(one.coef_, many.coef_)


def test_loss_curve(linear_data, binary_data):
    X, y = linear_data
    for parameters in ({}, {"batch_size": 50}):
        model = SGDRegressor(random_state=0, **parameters).fit(X, y)
        assert model.loss_curve_.shape == (model.n_iter_,)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
    # At a rate that does not move the weights the objective can be written down.
    still = SGDRegressor(max_iter=2, tol=None, eta0=1e-300, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(still.loss_curve_, np.mean(y**2) / 2)
    X, y = load_digits(return_X_y=True)
    model = SGDClassifier(random_state=0, n_iter_no_change=2).fit(scale(X), y)
    assert model.loss_curve_.shape == (10, model.n_iter_)
    assert np.isnan(model.loss_curve_).any(axis=1).sum() < 10
    assert not np.isnan(model.loss_curve_[:, 0]).any()


def test_validation_data_are_scored_and_stop_the_fit(binary_data):
    X, y = binary_data
    split = {"X_val": X[400:], "y_val": y[400:]}
    watched = SGDClassifier(loss="log_loss", random_state=0, max_iter=7, tol=None).fit(
        X[:400], y[:400], **split
    )
    assert watched.validation_scores_.shape == (7,)
    assert watched.validation_scores_[-1] == watched.score(X[400:], y[400:])
    plain = SGDClassifier(loss="log_loss", random_state=0, max_iter=7, tol=None).fit(X[:400], y[:400])
    np.testing.assert_array_equal(watched.coef_, plain.coef_)
    assert not hasattr(plain, "validation_scores_")
    stopped = SGDClassifier(
        loss="log_loss", random_state=0, early_stopping=True, tol=1e-3, n_iter_no_change=3
    )
    stopped.fit(X[:400], y[:400], **split)
    assert stopped.n_iter_ == len(stopped.validation_scores_) < 100
    best = np.maximum.accumulate(stopped.validation_scores_)
    assert best[-1] < best[-4] + 3e-3


def test_validation_data_of_several_classes_and_of_regression(linear_data):
    X, y = load_digits(return_X_y=True)
    X = scale(X)
    model = SGDClassifier(random_state=0, max_iter=4, tol=None, early_stopping=True)
    model.fit(X[:1000], y[:1000], X_val=X[1000:], y_val=y[1000:])
    assert model.validation_scores_.shape == (10, 4)
    assert (model.validation_scores_[:, -1] > 0.8).all()
    X, y = linear_data
    model = SGDRegressor(random_state=0, early_stopping=True, alpha=0.1).fit(
        X[:500], y[:500], X_val=X[500:], y_val=y[500:]
    )
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[500:], y[500:]))


def test_momentum_goes_on_through_partial_fit(linear_data):
    X, y = linear_data
    parameters = {
        "batch_size": 70,
        "momentum": 0.9,
        "shuffle": False,
        "learning_rate": "constant",
        "eta0": 1e-3,
    }
    whole = SGDRegressor(max_iter=1, tol=None, **parameters).fit(X, y)
    parts = SGDRegressor(**parameters)
    for rows in (slice(0, 350), slice(350, 700)):
        parts.partial_fit(X[rows], y[rows])
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)
    assert parts.t_ == whole.t_ == 11.0


def test_another_optimizer_starts_with_an_empty_memory(linear_data):
    X, y = linear_data
    model = SGDRegressor(batch_size=70, momentum=0.9, eta0=1e-3).partial_fit(X, y)
    forgetful = pickle.loads(pickle.dumps(model))
    forgetful._optimizer_memory = {}
    for estimator in (model, forgetful):
        estimator.set_params(optimizer="adam", random_state=0).partial_fit(X, y)
    np.testing.assert_array_equal(model.coef_, forgetful.coef_)


def test_new_hyperparameters_travel(linear_data):
    model = SGDRegressor(batch_size=64, optimizer="adam", beta_1=0.8, random_state=0)
    assert clone(model).get_params() == model.get_params()
    X, y = linear_data
    fitted = pickle.loads(pickle.dumps(model.fit(X, y)))
    np.testing.assert_array_equal(fitted.predict(X), model.predict(X))
    fitted.partial_fit(X, y)


def test_verbose_reports_weights_without_the_intercept(linear_data, capsys):
    X, y = linear_data
    for batch_size in (1, 32):
        model = SGDRegressor(batch_size=batch_size, max_iter=1, tol=None, verbose=1, random_state=0).fit(X, y)
        line = capsys.readouterr().out.splitlines()[1]
        assert line.startswith(
            f"Norm: {np.linalg.norm(model.coef_):.2f}, NNZs: 12, Bias: {model.intercept_[0]:.6f}"
        )


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(linear_data):
    X, y = linear_data
    with pytest.warns(UserWarning, match=r"batch_size=5000 larger than the 700 samples"):
        model = SGDRegressor(batch_size=5000, max_iter=3, tol=None, shuffle=False).fit(X, y)
    exact = SGDRegressor(batch_size=700, max_iter=3, tol=None, shuffle=False).fit(X, y)
    np.testing.assert_array_equal(model.coef_, exact.coef_)


def test_sparse_data_fall_back(binary_data):
    X, y = binary_data
    model = SGDClassifier(random_state=0, max_iter=5).fit(sp.csr_array(X), y)
    assert model.fit_engine_ == "scikit-learn"
    dense = SGDClassifier(random_state=0, max_iter=5).fit(X, y)
    assert dense.fit_engine_ == "fastfit"
    np.testing.assert_array_equal(model.predict(sp.csr_array(X)), model.predict(X))
    with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="sparse X"):
        SGDClassifier(max_iter=5).fit(sp.csr_array(X), y)
    with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="sparse X"):
        SGDClassifier(max_iter=5).fit(sp.csr_array(X), y)
    with pytest.raises(ValueError, match=r"batch_size=8 needs dense X"):
        SGDClassifier(batch_size=8).fit(sp.csr_array(X), y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 0}, "The 'batch_size' parameter of SGDRegressor must be an int in the range"),
        ({"batch_size": 2.5}, "The 'batch_size' parameter of SGDRegressor must be an int"),
        ({"momentum": 1.0}, "The 'momentum' parameter of SGDRegressor must be a float in the range"),
        ({"optimizer": "lion"}, "The 'optimizer' parameter of SGDRegressor must be a str among"),
        ({"adam_epsilon": 0.0}, "The 'adam_epsilon' parameter of SGDRegressor must be a float in the range"),
        (
            {"learning_rate": "pa1", "loss": "epsilon_insensitive", "batch_size": 4},
            "batch_size=4 does not work with",
        ),
    ],
    ids=str,
)
def test_bad_hyperparameters(linear_data, parameters, message):
    with pytest.raises(ValueError, match=message):
        SGDRegressor(**parameters).fit(*linear_data)


@pytest.mark.parametrize(
    "make_bad", [lambda X: X[:, :, None], lambda X: X[:5], lambda X: np.where(X > 2, np.nan, X)]
)
def test_a_failed_fit_leaves_the_former_one(linear_data, make_bad):
    X, y = linear_data
    model = SGDRegressor(random_state=0).fit(X, y)
    before = {name: np.copy(value) for name, value in vars(model).items() if name.endswith("_")}
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"NaN|dim|inconsistent"):
            method(make_bad(X), y)
    assert {name for name in vars(model) if name.endswith("_")} == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(model, name), value)


def test_overflow_is_an_error_and_leaves_the_former_fit(linear_data):
    X, y = linear_data
    model = SGDRegressor(warm_start=True, random_state=0).fit(X, y)
    coef = model.coef_.copy()
    for batch_size in (1, 20):
        model.set_params(learning_rate="constant", eta0=1e300, batch_size=batch_size)
        with pytest.raises(ValueError, match=r"Floating-point under-/overflow occurred at epoch #1"):
            model.fit(X, y)
        np.testing.assert_array_equal(model.coef_, coef)


def test_validation_data_are_checked(linear_data):
    X, y = linear_data
    with pytest.raises(ValueError, match="X_val was given without y_val"):
        SGDRegressor().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="X has 3 features, but SGDRegressor is expecting 12 features"):
        SGDRegressor().fit(X, y, X_val=X[:, :3], y_val=y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SGDRegressor().fit(X, y, X_val=X, y_val=y[:3])


def test_prediction_takes_the_short_way_only_where_it_is_safe(binary_data):
    X, y = binary_data
    model = SGDClassifier(random_state=0, max_iter=5).fit(X, y)
    from sklearn.linear_model import SGDClassifier as Original

    np.testing.assert_array_equal(model.predict(X), Original.predict(model, X))
    np.testing.assert_allclose(model.decision_function(X), Original.decision_function(model, X))
    assert model.decision_function(X[:1]).shape == (1,)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(np.full((1, X.shape[1]), np.nan))
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(X[:, :2])
    np.testing.assert_array_equal(model.predict(X[:3].tolist()), model.predict(X[:3]))
