"""LinearRegression against scikit-learn's: solutions, the conventions of estimators, properties."""

import pickle

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression as SklearnLinearRegression

from fastfit.linear_model import LinearRegression
from fastfit.runtime.config import config_context
from tests.linear_model.regression_data import make_data, with_condition

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same_fit(X, y, sample_weight=None, rtol=1e-6, **params):
    fast = LinearRegression(**params).fit(X, y, sample_weight)
    slow = SklearnLinearRegression(**params).fit(X, y, sample_weight)
    assert fast.fit_engine_ == "fastfit"
    assert fast.coef_.shape == slow.coef_.shape
    assert fast.coef_.dtype == slow.coef_.dtype
    assert type(fast.intercept_) is type(slow.intercept_)
    scale = np.abs(slow.coef_).max(initial=0.0)
    np.testing.assert_allclose(fast.coef_, slow.coef_, rtol=rtol, atol=rtol * scale)
    prediction_scale = np.abs(slow.predict(X)).max()
    np.testing.assert_allclose(fast.predict(X), slow.predict(X), rtol=rtol, atol=rtol * prediction_scale)
    if not params.get("positive"):
        assert fast.rank_ == slow.rank_
        assert fast.singular_.shape == slow.singular_.shape
        assert fast.singular_.dtype == slow.singular_.dtype
        n_kept = slow.rank_
        np.testing.assert_allclose(fast.singular_[:n_kept], slow.singular_[:n_kept], rtol=rtol)
    return fast


class TestSameAsScikitLearn:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("weighted", [True, False])
    @pytest.mark.parametrize("n_targets", [None, 1, 3])
    @pytest.mark.parametrize(
        ("n_samples", "n_features"),
        [(1, 1), (2, 1), (60, 1), (200, 13), (4000, 40), (20, 19), (20, 20), (9, 30)],
    )
    def test_shapes(self, n_samples, n_features, n_targets, weighted, fit_intercept):
        X, y, weight = make_data(n_samples, n_features, n_targets)
        assert_same_fit(X, y, weight if weighted else None, fit_intercept=fit_intercept)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("shape", [(300, 7), (15, 40)])
    def test_float32(self, shape, order):
        X, y, weight = make_data(*shape)
        X = np.asarray(X, dtype=np.float32, order=order)
        fast = assert_same_fit(X, y.astype(np.float32), weight.astype(np.float32), rtol=1e-3)
        exact = SklearnLinearRegression().fit(X.astype(np.float64), y, weight)
        np.testing.assert_allclose(fast.coef_, exact.coef_, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("shape", [(300, 7), (15, 40)])
    def test_fortran_order_strides_lists_integers_and_read_only(self, shape):
        X, y, _ = make_data(*shape)
        expected = LinearRegression().fit(X, y).coef_
        read_only = X.copy()
        read_only.flags.writeable = False
        strided = np.repeat(X, 2, axis=1)[:, ::2]
        for same in (np.asfortranarray(X), strided, X.tolist(), read_only):
            np.testing.assert_allclose(LinearRegression().fit(same, list(y)).coef_, expected, rtol=1e-9)
        assert_same_fit((10 * X).astype(int), (10 * y).astype(int))

    def test_real_data(self):
        assert_same_fit(*load_diabetes(return_X_y=True))
        X, y = load_iris(return_X_y=True)
        assert_same_fit(X, y)
        assert_same_fit(X, np.eye(3)[y], positive=True)

    @pytest.mark.parametrize("shape", [(80, 12), (12, 80)])
    @pytest.mark.parametrize("condition", [1e2, 1e4, 1e5, 1e6, 1e8])
    def test_ill_conditioned(self, condition, shape):
        X = with_condition(*shape, condition)
        y = np.random.default_rng(1).normal(size=shape[0])
        for fit_intercept in (True, False):
            assert_same_fit(X, y, rtol=1e-7, fit_intercept=fit_intercept)
        assert_same_fit(X, y, rtol=1e-7, tol=1e-12)

    @pytest.mark.parametrize("exponent", [-12, -6, 6, 12])
    def test_badly_scaled_columns(self, exponent):
        X, y, _ = make_data(200, 5)
        X[:, 2] *= 10.0**exponent
        assert_same_fit(X, y)

    @pytest.mark.parametrize("mean", [1e3, 1e6, 1e9])
    def test_large_means(self, mean):
        X, y, _ = make_data(500, 6)
        assert_same_fit(X + mean, y)

    def test_rank_deficient(self):
        X, y, weight = make_data(300, 8)
        X[:, 3] = 0.1
        assert_same_fit(X, y, weight)
        X[:, 5] = X[:, 1]
        assert_same_fit(X, y, weight)
        X[:, 6] = X[:, 0] - 2.0 * X[:, 7]
        fast = assert_same_fit(X, y, weight)
        assert fast.rank_ == 5
        assert_same_fit(X[:5], y[:5], weight[:5])
        assert_same_fit(np.ones((6, 3)), y[:6])
        assert_same_fit(np.zeros((6, 3)), y[:6], fit_intercept=False)

    def test_one_hot_columns_with_an_intercept(self):
        groups = np.random.default_rng(0).integers(0, 6, size=400)
        fast = assert_same_fit(np.eye(6)[groups], groups + 0.5)
        np.testing.assert_allclose(fast.predict(np.eye(6)), np.arange(6) + 0.5)

    @pytest.mark.parametrize("shape", [(50, 6), (20, 30)])
    def test_weights_of_zero(self, shape):
        X, y, weight = make_data(*shape)
        weight[::3] = 0.0
        assert_same_fit(X, y, weight)

    def test_tol_cuts_singular_values_off(self):
        X = with_condition(60, 6, 1e3)
        y = np.random.default_rng(0).normal(size=60)
        ranks = [assert_same_fit(X, y, tol=tol).rank_ for tol in (0.0, 1e-4, 0.03, 0.2)]
        assert ranks == sorted(ranks, reverse=True)
        assert len(set(ranks)) == 3

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n_targets", [None, 3])
    @pytest.mark.parametrize(("n_samples", "n_features"), [(1, 1), (200, 12), (1000, 60), (10, 25)])
    def test_positive(self, n_samples, n_features, n_targets, fit_intercept):
        X, y, weight = make_data(n_samples, n_features, n_targets)
        fast = assert_same_fit(X, y, weight, positive=True, fit_intercept=fit_intercept)
        assert np.all(fast.coef_ >= 0.0)
        assert not hasattr(fast, "singular_")

    @pytest.mark.parametrize("condition", [1e3, 1e6])
    def test_positive_ill_conditioned(self, condition):
        X = with_condition(80, 8, condition)
        y = X @ np.ones(8) + 1e-3 * np.random.default_rng(0).normal(size=80)
        assert_same_fit(X, y, positive=True)
        nearly_the_same = np.column_stack([X, X[:, 0] + 1e-9 * y])
        fast = LinearRegression(positive=True).fit(nearly_the_same, y)
        slow = SklearnLinearRegression(positive=True).fit(nearly_the_same, y)
        np.testing.assert_allclose(fast.predict(nearly_the_same), slow.predict(nearly_the_same), rtol=1e-7)

    def test_huge_values_fall_back(self):
        X, y, _ = make_data(20, 3)
        with config_context(fallback="warn"), pytest.warns(UserWarning, match="squares overflow"):
            fast = LinearRegression().fit(1e200 * X, y)
        assert fast.fit_engine_ == "scikit-learn"
        np.testing.assert_allclose(fast.coef_, SklearnLinearRegression().fit(1e200 * X, y).coef_)


class TestEstimator:
    def test_pickle_and_clone(self):
        X, y, _ = make_data(50, 4)
        fitted = LinearRegression(tol=1e-9).fit(X, y)
        restored = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(restored.singular_, fitted.singular_)
        np.testing.assert_array_equal(restored.predict(X), fitted.predict(X))
        assert restored.get_params() == fitted.get_params() == clone(fitted).get_params()
        assert not hasattr(clone(fitted), "coef_")
        assert not hasattr(clone(fitted), "singular_")

    def test_pickles_are_small(self):
        X, y, _ = make_data(300, 100)
        assert len(pickle.dumps(LinearRegression().fit(X, y))) < 10_000

    def test_the_arguments_of_scikit_learn_come_first(self):
        names = list(LinearRegression().get_params(deep=False))
        assert set(SklearnLinearRegression().get_params()) <= set(names)
        assert isinstance(LinearRegression(), SklearnLinearRegression)
        parameters = list(LinearRegression.__init__.__kwdefaults__)
        assert parameters[:5] == list(SklearnLinearRegression.__init__.__kwdefaults__)

    def test_metadata_routing_and_representation(self):
        X, y, weight = make_data(50, 4)
        with sklearn.config_context(enable_metadata_routing=True):
            estimator = LinearRegression().set_fit_request(sample_weight=True)
            assert estimator.fit(X, y, sample_weight=weight).get_metadata_routing()
        assert "singular_" in estimator._repr_html_()


class TestProperties:
    @given(seed=st.integers(0, 10_000), shape=st.sampled_from([(30, 4), (6, 9)]), positive=st.booleans())
    def test_integer_weights_are_repetitions(self, seed, shape, positive):
        X, y, _ = make_data(*shape, seed=seed)
        weight = np.random.default_rng(seed).integers(0, 4, size=shape[0])
        weight[0] = 1
        params = {"positive": positive}
        weighted = LinearRegression(**params).fit(X, y, weight.astype(float))
        repeated = LinearRegression(**params).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-6, atol=1e-9)

    @given(seed=st.integers(0, 10_000), shape=st.sampled_from([(30, 4), (6, 9)]))
    def test_columns_may_be_permuted(self, seed, shape):
        X, y, weight = make_data(*shape, seed=seed)
        order = np.random.default_rng(seed).permutation(shape[1])
        for params in ({}, {"positive": True}, {"learning_rate": 1e-3, "max_iter": 10, "tol": 0.5}):
            plain = LinearRegression(**params).fit(X, y, weight).coef_
            permuted = LinearRegression(**params).fit(X[:, order], y, weight).coef_
            np.testing.assert_allclose(permuted, plain[order], rtol=1e-7, atol=1e-9)

    @given(seed=st.integers(0, 10_000), exponent=st.integers(-3, 3), column=st.integers(0, 3))
    def test_coefficients_scale_inversely_with_columns(self, seed, exponent, column):
        X, y, weight = make_data(30, 4, seed=seed)
        scale = np.ones(4)
        scale[column] = 10.0**exponent
        for params in ({}, {"positive": True}):
            plain = LinearRegression(**params).fit(X, y, weight)
            scaled = LinearRegression(**params).fit(X * scale, y, weight)
            np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-7, atol=1e-9)

    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"positive": True},
            {"learning_rate": 0.1},
            {"batch_size": 512, "random_state": 0, "max_iter": 3},
        ],
    )
    @pytest.mark.parametrize("kind", ["plain", "collinear", "wide"])
    def test_threads_do_not_matter(self, params, kind):
        X, y, weight = make_data(*((40, 20_000) if kind == "wide" else (40_000, 20)), n_targets=2)
        if kind == "wide" and params:
            pytest.skip("other settings do not have a way of their own for wide data that uses threads")
        if kind == "collinear":
            X[:, 3] = X[:, 4]
        with config_context(n_threads=8):
            fits = [LinearRegression(n_jobs=n, **params).fit(X, y, weight) for n in (1, 2, 3, 8)]
        for fit in fits[1:]:
            np.testing.assert_array_equal(fit.coef_, fits[0].coef_)
            np.testing.assert_array_equal(fit.intercept_, fits[0].intercept_)
            np.testing.assert_array_equal(fit.loss_curve_, fits[0].loss_curve_)
