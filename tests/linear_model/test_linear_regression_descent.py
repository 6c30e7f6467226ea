"""LinearRegression's descents against NumPy's, and the ways around a Gram matrix."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression as SklearnLinearRegression

from fastfit.linear_model import LinearRegression
from fastfit.training import least_squares
from tests.linear_model.regression_data import loss, make_data

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def descend_by_numpy(X, y, weight, rate, momentum, nesterov, n_steps):
    """Gradient descent on X itself, centred; returns the coefficients."""
    X = X - np.average(X, axis=0, weights=weight)
    y = y - np.average(y, weights=weight)
    coef = np.zeros(X.shape[1])
    step = np.zeros_like(coef)
    for _ in range(n_steps):
        point = coef + momentum * step if nesterov else coef
        step = momentum * step - rate * X.T @ (weight * (X @ point - y)) / weight.sum()
        coef = coef + step
    return coef


def largest_curvature(X):
    return np.linalg.eigvalsh(np.cov(X.T, bias=True).reshape(X.shape[1], -1))[-1]


class TestLearningRate:
    @pytest.mark.parametrize("shape", [(100, 5), (8, 20)])
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
    def test_iterates_are_those_of_descent_on_x(self, shape, momentum, nesterov):
        X, y, weight = make_data(*shape)
        for n_steps in (1, 2, 5, 40):
            with pytest.warns(ConvergenceWarning):
                fast = LinearRegression(
                    learning_rate=0.03, momentum=momentum, nesterov=nesterov, max_iter=n_steps, tol=0.0
                ).fit(X, y, weight)
            expected = descend_by_numpy(X, y, weight, 0.03, momentum, nesterov, n_steps)
            np.testing.assert_allclose(fast.coef_, expected, rtol=1e-10, atol=1e-13)
            assert fast.n_iter_ == len(fast.loss_curve_) == n_steps
            np.testing.assert_allclose(fast.loss_curve_[-1], loss(fast, X, y, weight), rtol=1e-9)

    def test_it_converges_to_the_solution(self):
        X, y, _ = make_data(200, 4, 2)
        fast = LinearRegression(learning_rate=0.5, momentum=0.5, tol=1e-9).fit(X, y)
        np.testing.assert_allclose(fast.coef_, SklearnLinearRegression().fit(X, y).coef_, atol=1e-7)
        assert fast.learning_rate_ == 0.5
        assert 1 < fast.n_iter_ < 10_000

    def test_positive_projects(self):
        X, y, _ = make_data(200, 8)
        fast = LinearRegression(learning_rate=0.3, positive=True, tol=1e-10).fit(X, y)
        slow = SklearnLinearRegression(positive=True).fit(X, y)
        np.testing.assert_allclose(fast.coef_, slow.coef_, atol=1e-7)
        np.testing.assert_array_equal(fast.coef_ == 0.0, slow.coef_ == 0.0)

    @pytest.mark.parametrize("shape", [(100, 5), (8, 20)])
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
    def test_the_largest_stable_rate(self, shape, momentum, nesterov):
        X, y, _ = make_data(*shape)
        params = {"momentum": momentum, "nesterov": nesterov, "max_iter": 2000}
        bound = 2 * (1 + momentum) / largest_curvature(X) / ((1 + 2 * momentum) if nesterov else 1)
        stable = LinearRegression(learning_rate=0.999 * bound, **params)
        stable = stable.fit(X, y)
        assert stable.loss_curve_[-1] < loss(SklearnLinearRegression().fit(X, y), X, y) + 1e-3
        with pytest.raises(ValueError, match=f"must be below {bound:.6g}, the largest stable rate"):
            LinearRegression(learning_rate=1.001 * bound, **params).fit(X, y)
        # Past the bound plain descent diverges indeed.
        weight = np.ones(len(X))
        coef = descend_by_numpy(X, y, weight, 1.01 * bound, momentum, nesterov, 4000)
        assert not np.abs(coef).max() < 1e6

    def test_warm_start_goes_on(self):
        for shape in ((100, 5), (8, 20)):
            X, y, weight = make_data(*shape)
            fast = LinearRegression(learning_rate=0.02, tol=0.0, warm_start=True)
            with pytest.warns(ConvergenceWarning):
                fast.set_params(max_iter=3).fit(X, y, weight).set_params(max_iter=4).fit(X, y, weight)
            expected = descend_by_numpy(X, y, weight, 0.02, 0.0, False, 7)
            np.testing.assert_allclose(fast.coef_, expected, rtol=1e-10)
            with pytest.raises(ValueError, match="warm_start=True needs data of the shape of the last fit"):
                fast.fit(X[:, :3], y)

    def test_a_constant_x_is_stable_at_any_rate(self):
        fast = LinearRegression(learning_rate=1e9).fit(np.ones((5, 2)), np.arange(5.0))
        assert not fast.coef_.any()
        assert fast.intercept_ == 2.0

    def test_many_steps_cost_no_passes(self, monkeypatch):
        X, y, _ = make_data(100, 5)
        n_passes = []
        centred_gram = least_squares.centred_gram
        monkeypatch.setattr(
            least_squares, "centred_gram", lambda *args: (n_passes.append(1), centred_gram(*args))[1]
        )
        with pytest.warns(ConvergenceWarning):
            LinearRegression(learning_rate=0.01, max_iter=1000, tol=0.0).fit(X, y)
        LinearRegression().fit(X, y)
        assert len(n_passes) == 2


class TestMiniBatches:
    @pytest.mark.parametrize("batch_size", [1, 16, 128, 400])
    @pytest.mark.parametrize("n_targets", [None, 2])
    def test_it_converges_to_the_solution(self, batch_size, n_targets):
        X, y, weight = make_data(400, 5, n_targets)
        fast = LinearRegression(batch_size=batch_size, random_state=0).fit(X, y, weight)
        slow = SklearnLinearRegression().fit(X, y, weight)
        np.testing.assert_allclose(fast.coef_, slow.coef_, atol=0.01)
        assert loss(fast, X, y, weight) < loss(slow, X, y, weight) * (1 + 1e-4)
        assert fast.n_iter_ == len(fast.loss_curve_)
        assert fast.loss_curve_[-1] < fast.loss_curve_[0]

    def test_an_epoch_with_a_rate(self):
        X, y, _ = make_data(50, 3)
        with pytest.warns(ConvergenceWarning):
            fast = LinearRegression(learning_rate=0.1, batch_size=20, shuffle=False, max_iter=1).fit(X, y)
        Xc, yc, coef = X - X.mean(axis=0), y - y.mean(), np.zeros(3)
        for batch in (slice(0, 20), slice(20, 40), slice(40, 50)):
            coef -= 0.1 * Xc[batch].T @ (Xc[batch] @ coef - yc[batch]) / 20
        np.testing.assert_allclose(fast.coef_, coef, rtol=1e-12)
        np.testing.assert_allclose(fast.intercept_, y.mean() - X.mean(axis=0) @ coef, rtol=1e-12)

    def test_random_state_order_and_dtype(self):
        X, y, _ = make_data(200, 6)
        params = {"batch_size": 16, "max_iter": 3}
        fits = [
            LinearRegression(**params, random_state=seed).fit(Z, y).coef_
            for seed, Z in ((0, X), (0, np.asfortranarray(X)), (1, X), (0, X.astype(np.float32)))
        ]
        np.testing.assert_array_equal(fits[0], fits[1])
        assert not np.array_equal(fits[0], fits[2])
        np.testing.assert_allclose(fits[0], fits[3], rtol=1e-4)

    def test_positive(self):
        X, y, _ = make_data(400, 6)
        fast = LinearRegression(batch_size=32, positive=True, random_state=0).fit(X, y)
        assert np.all(fast.coef_ >= 0.0)
        np.testing.assert_allclose(
            fast.coef_, SklearnLinearRegression(positive=True).fit(X, y).coef_, atol=0.02
        )

    def test_a_batch_larger_than_the_data_is_clipped(self):
        X, y, _ = make_data(50, 3)
        with pytest.warns(UserWarning, match="Got `batch_size` larger than sample size"):
            fast = LinearRegression(batch_size=51, random_state=0).fit(X, y)
        np.testing.assert_allclose(fast.coef_, SklearnLinearRegression().fit(X, y).coef_, atol=1e-2)

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_divergence(self):
        X, y, _ = make_data(300, 5)
        with pytest.raises(ValueError, match=r"learning_rate=50 makes .* batch_size=16, .* below about \d"):
            LinearRegression(learning_rate=50, batch_size=16, random_state=0).fit(X, y)

    def test_it_ends_early(self):
        X, y, _ = make_data(300, 5)
        fast = LinearRegression(learning_rate=0.1, batch_size=300, tol=1e-2, n_iter_no_change=2).fit(X, y)
        assert 2 < fast.n_iter_ < 200
        assert LinearRegression(batch_size=7).fit(np.ones((20, 2)), np.ones(20)).n_iter_ == 1


class TestWithoutGramMatrix:
    @pytest.fixture(autouse=True)
    def no_memory_for_a_gram_matrix(self, monkeypatch):
        monkeypatch.setattr(least_squares, "FREE_GRAM_BYTES", 0)
        monkeypatch.setattr(least_squares, "GRAM_SHARE", 0.0)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("n_targets", [None, 2])
    @pytest.mark.parametrize("shape", [(200, 20), (20, 50)])
    def test_conjugate_gradients(self, shape, n_targets, fit_intercept):
        X, y, weight = make_data(*shape, n_targets)
        params = {"fit_intercept": fit_intercept}
        fast = LinearRegression(**params).fit(X, y, weight)
        slow = SklearnLinearRegression(**params).fit(X, y, weight)
        np.testing.assert_allclose(fast.coef_, slow.coef_, rtol=1e-7, atol=1e-9)
        assert not hasattr(fast, "rank_")
        assert not hasattr(fast, "singular_")
        assert 1 < fast.n_iter_ < 4 * min(shape)
        assert np.all(np.diff(fast.loss_curve_) < 1e-12)
        np.testing.assert_allclose(fast.loss_curve_[-1], loss(fast, X, y, weight), atol=1e-10)

    def test_limit_of_steps(self):
        X, y, _ = make_data(200, 20)
        with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached"):
            fast = LinearRegression(max_iter=3).fit(X, y)
        assert fast.n_iter_ == 3

    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, True)])
    @pytest.mark.parametrize("positive", [False, True])
    def test_descent_with_a_rate(self, momentum, nesterov, positive, monkeypatch):
        X, y, weight = make_data(100, 9)
        params = {"learning_rate": 0.02, "momentum": momentum, "nesterov": nesterov, "positive": positive}
        estimator = LinearRegression(**params, max_iter=20, tol=1e-2).fit(X, y, weight)
        monkeypatch.undo()
        with_gram = clone(estimator).fit(X, y, weight)
        assert estimator.n_iter_ == with_gram.n_iter_
        np.testing.assert_allclose(estimator.coef_, with_gram.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(estimator.loss_curve_, with_gram.loss_curve_, rtol=1e-9)

    def test_unstable_rate(self):
        X, y, _ = make_data(100, 9)
        with pytest.raises(ValueError, match=r"learning_rate=9.0 makes the descent diverge"):
            LinearRegression(learning_rate=9.0).fit(X, y)

    def test_positive_falls_back(self):
        X, y, _ = make_data(100, 9)
        fast = LinearRegression(positive=True).fit(X, y)
        assert fast.fit_engine_ == "scikit-learn"

    def test_mini_batches_find_a_rate(self):
        X, y, _ = make_data(100, 9)
        fast = LinearRegression(batch_size=10, random_state=0).fit(X, y)
        np.testing.assert_allclose(fast.coef_, SklearnLinearRegression().fit(X, y).coef_, atol=0.05)
