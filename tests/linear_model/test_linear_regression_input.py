"""What LinearRegression takes, refuses, leaves alone and passes on to scikit-learn, and its predictions."""

import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression as SklearnLinearRegression

from fastfit.linear_model import LinearRegression
from fastfit.runtime.config import config_context
from tests.linear_model.regression_data import make_data

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def dir_of(estimator):
    return [name for name in dir(estimator) if name.endswith("_") and hasattr(estimator, name)]


class TestInput:
    def test_error_messages_are_those_of_scikit_learn(self):
        X, y, weight = make_data(20, 3)
        with_nan, with_inf = X.copy(), X.copy()
        with_nan[3, 1], with_inf[4, 2] = np.nan, np.inf
        negative = weight.copy()
        negative[0] = -1.0
        cases = [
            ((with_nan, y), {}),
            ((with_inf, y), {}),
            ((X, np.where(np.arange(20) == 5, np.nan, y)), {}),
            ((X, y[:-1]), {}),
            ((X[:0], y[:0]), {}),
            ((X[:, :0], y), {}),
            ((X[0], y), {}),
            ((X[None], y), {}),
            ((X, None), {}),
            ((X.astype(complex), y), {}),
            ((X.astype(str), y), {}),
            ((X, y[:, None, None]), {}),
            ((X, y, weight[:-1]), {}),
            ((X, y, weight[:, None]), {}),
            ((X, y, np.zeros(20)), {}),
            ((X, y, negative), {}),
            ((X, y, np.where(np.arange(20) == 5, np.nan, weight)), {}),
            ((X, y), {"fit_intercept": "yes"}),
            ((X, y), {"tol": -1.0}),
            ((sparse.csr_array(X), y), {"positive": True}),
        ]
        for arguments, params in cases:
            with pytest.raises((ValueError, TypeError)) as expected:
                SklearnLinearRegression(**params).fit(*arguments)
            for order in ("C", "F"):
                if isinstance(arguments[0], np.ndarray):
                    arguments = (np.asarray(arguments[0], order=order), *arguments[1:])
                with pytest.raises(type(expected.value)) as found:
                    LinearRegression(**params).fit(*arguments)
                assert str(found.value) == str(expected.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("solver", "sgd"),
            ("learning_rate", 0.0),
            ("learning_rate", "fast"),
            ("batch_size", 0),
            ("batch_size", 2.5),
            ("max_iter", 0),
            ("momentum", 1.0),
            ("momentum", -0.1),
            ("nesterov", "no"),
            ("shuffle", 1.5),
            ("warm_start", None),
            ("random_state", "seed"),
            ("n_iter_no_change", 0),
        ],
    )
    def test_hyperparameters_out_of_range(self, name, value):
        X, y, _ = make_data(20, 3)
        with pytest.raises(ValueError, match=f"The '{name}' parameter of LinearRegression must be"):
            LinearRegression(**{name: value}).fit(X, y)

    def test_a_failed_fit_keeps_the_former_one(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_data(20, 3)
        fitted = LinearRegression().fit(pandas.DataFrame(X, columns=list("abc")), y)
        before = pickle.dumps(fitted)
        bad_frame = pandas.DataFrame(np.full((20, 2), np.nan), columns=list("xy"))
        failures = [
            (fitted, bad_frame, y),
            (fitted, np.full((20, 2), np.nan), y),
            (fitted, sparse.csr_array(np.full((20, 2), np.inf)), y),
            (fitted, X[:5], y),
        ]
        for estimator, bad_X, bad_y in failures:
            with pytest.raises(ValueError, match=r"NaN|infinity|inconsistent"):
                estimator.fit(bad_X, bad_y)
            assert pickle.dumps(fitted) == before

    def test_a_new_fit_leaves_nothing_of_the_former_one(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_data(30, 3)
        estimator = LinearRegression().fit(pandas.DataFrame(X, columns=list("abc")), y)
        assert list(estimator.feature_names_in_) == ["a", "b", "c"]
        estimator.set_params(positive=True).fit(X, y)
        assert not {"rank_", "singular_", "feature_names_in_"} & set(dir_of(estimator))
        estimator.set_params(positive=False).fit(sparse.csr_array(X), y)
        assert not {"loss_curve_", "learning_rate_", "singular_"} & set(dir_of(estimator))

    @pytest.mark.parametrize("params", [{}, {"positive": True}, {"batch_size": 8}, {"learning_rate": 0.01}])
    def test_x_y_and_weights_are_never_changed(self, params):
        for shape in ((60, 5), (8, 12)):
            arrays = make_data(*shape)
            copies = [array.copy() for array in arrays]
            LinearRegression(copy_X=False, max_iter=50, **params).fit(*arrays)
            for array, copy in zip(arrays, copies, strict=True):
                np.testing.assert_array_equal(array, copy)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_memory(self, dtype, order):
        X = np.asarray(np.random.default_rng(0).normal(size=(100_000, 20)), dtype=dtype, order=order)
        y = X[:, 0].copy()
        duplicated = np.asarray(X[:, [*range(19), 0]], order=order)
        settings = [{}, {"learning_rate": 0.1}, {"positive": True}]
        if order == "C":
            settings.append({"batch_size": 256, "max_iter": 2, "tol": 1.0})
        for params in settings:
            for data in (X, duplicated):
                LinearRegression(**params).fit(data[:2000].copy(order="A"), y[:2000])
                tracemalloc.start()
                LinearRegression(**params).fit(data, y)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < 0.3 * 8 * X.size

    def test_sparse_falls_back(self):
        X, y, _ = make_data(50, 4)
        estimator = LinearRegression().fit(sparse.csr_array(X), y)
        assert estimator.fit_engine_ == "scikit-learn"
        np.testing.assert_allclose(estimator.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-4)
        with config_context(fallback="error"), pytest.raises(RuntimeError, match="do not cover sparse X"):
            estimator.fit(sparse.csr_array(X), y)
        with (
            config_context(fallback="warn"),
            pytest.warns(UserWarning, match="LinearRegression is fitted by"),
        ):
            estimator.fit(sparse.csr_array(X), y)

    def test_scikit_learns_solver(self):
        X, y, _ = make_data(50, 4)
        with config_context(fallback="error"):
            estimator = LinearRegression(solver="lstsq").fit(X, y)
        assert estimator.fit_engine_ == "scikit-learn"
        expected = SklearnLinearRegression().fit(X, y)
        np.testing.assert_array_equal(estimator.coef_, expected.coef_)
        np.testing.assert_array_equal(estimator.singular_, expected.singular_)


class TestPredict:
    @pytest.mark.parametrize("n_targets", [None, 1, 3])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_predictions_are_those_of_scikit_learn(self, n_targets, dtype):
        X, y, _ = make_data(60, 5, n_targets)
        X, y = X.astype(dtype), y.astype(dtype)
        fast = LinearRegression().fit(X, y)
        slow = SklearnLinearRegression().fit(X, y)
        slow.coef_, slow.intercept_ = fast.coef_, fast.intercept_
        for data in (
            X,
            X[:1],
            X[::2],
            np.asfortranarray(X),
            X.astype(np.float64),
            X.astype(np.float32),
            X.tolist(),
        ):
            expected, found = slow.predict(data), fast.predict(data)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
        assert fast.predict(sparse.csr_array(X)).shape == y.shape

    def test_errors_are_those_of_scikit_learn(self):
        X, y, _ = make_data(20, 3)
        fast, slow = LinearRegression().fit(X, y), SklearnLinearRegression().fit(X, y)
        zeros = LinearRegression(positive=True).fit(X, -X[:, 0])
        for value in (np.nan, np.inf, -np.inf):
            for row, column in ((0, 0), (1, 2)):
                bad = X[:2].copy()
                bad[row, column] = value
                for estimator in (fast, zeros):
                    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
                        estimator.predict(bad)
        for bad in (X[:, :2], X[0], X[:0], X[None], X.astype(str), X.astype(complex)):
            with pytest.raises(ValueError) as expected:  # noqa: PT011
                slow.predict(bad)
            with pytest.raises(ValueError) as found:  # noqa: PT011
                fast.predict(bad)
            assert str(found.value) == str(expected.value)
        with pytest.raises(NotFittedError):
            LinearRegression().predict(X)

    def test_values_that_overflow_are_predicted_as_by_scikit_learn(self):
        X, y, _ = make_data(20, 3)
        fast = LinearRegression().fit(X, y)
        fast.coef_ = np.array([1e10, 1.0, 1.0])
        with np.errstate(over="ignore"):
            assert np.isinf(fast.predict(np.array([[1e300, 0.0, 0.0]]))).all()

    def test_names_of_features_are_checked(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_data(20, 3)
        frame = pandas.DataFrame(X, columns=list("abc"))
        fitted = LinearRegression().fit(frame, y)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            fitted.predict(X)
        np.testing.assert_allclose(fitted.predict(frame), LinearRegression().fit(X, y).predict(X))
        with pytest.warns(UserWarning, match="X has feature names"):
            LinearRegression().fit(X, y).predict(frame)
