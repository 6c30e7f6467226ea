"""Gram matrices, sums and gradients against the same in extended precision, and exact ones where digits are lost."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastfit.training.gram import centred_gram, residual_gradient, row_gram
from tests.conftest import ROOT


def reference(X, Y, sample_weight, fit_intercept):
    """The fields of a GramSummary in extended precision."""
    X, Y = X.astype(np.longdouble), Y.astype(np.longdouble)
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    weight = weight.astype(np.longdouble)
    centre = fit_intercept / (weight.sum() or 1)
    x_mean, y_mean = weight @ X * centre, weight @ Y * centre
    X, Y = X - x_mean, Y - y_mean
    weighted = X.T * weight
    return weighted @ X, weighted @ Y, x_mean, y_mean, weight @ (Y * Y), weight.sum()


def assert_close(summary, expected, tolerance=2e-14):
    gram, _, x_mean, y_mean, y_sum_squares, sum_weights = expected
    x_norm, y_norm = np.sqrt(gram.diagonal()) + 1e-12, np.sqrt(y_sum_squares) + 1e-12
    scales = [
        np.outer(x_norm, x_norm),
        np.outer(x_norm, y_norm),
        np.abs(x_mean) + 1,
        np.abs(y_mean) + 1,
        y_norm**2,
        sum_weights + 1e-12,
    ]
    for name, found, exact, scale in zip(summary._fields, summary, expected, scales, strict=True):
        assert np.shape(found) == np.shape(exact), name
        assert np.all(np.abs(found - exact) <= tolerance * scale), name


def make_data(n_rows, n_columns, n_targets=1, dtype=np.float64, order="C", seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n_rows, n_columns)) + 2).astype(dtype, order=order)
    weight = rng.uniform(0.0, 2.0, n_rows) * (rng.random(n_rows) > 0.2)
    weight[0] = 1.0
    return X, rng.normal(size=(n_rows, n_targets)) - 3, weight


def assert_same(summary, other):
    for name, a, b in zip(summary._fields, summary, other, strict=True):
        assert np.array_equal(a, b), name


@pytest.mark.plain_python
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f8", "F"), ("f4", "C"), ("f4", "F")])
def test_small_data(dtype, order, weighted, fit_intercept):
    for n_rows, n_columns, n_targets in [
        (1, 1, 1),
        (5, 7, 1),
        (30, 6, 1),
        (20, 7, 2),
        (20, 8, 1),
        (9, 3, 12),
    ]:
        X, Y, weight = make_data(n_rows, n_columns, n_targets, dtype, order)
        weight = weight if weighted else None
        summary = centred_gram(X, Y, weight, fit_intercept, 1)
        assert_close(summary, reference(X, Y, weight, fit_intercept))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "shape",
    [
        (150, 4, 1),
        (2500, 50, 1),
        (1000, 55, 1),
        (3000, 200, 2),
        (700, 256, 1),
        (900, 255, 9),
        (400, 300, 300),
        (100, 600, 1),
    ],
)
def test_larger_data_gives_the_same_bits_for_any_number_of_threads(shape, order):
    X, Y, weight = make_data(*shape, order=order)
    summary = centred_gram(X, Y, weight, True, 1)
    assert_close(summary, reference(X, Y, weight, True))
    for n_threads in (2, 3, 8):
        assert_same(summary, centred_gram(X, Y, weight, True, n_threads))


def test_every_number_of_columns():
    for n_columns in range(1, 70):
        X, Y, weight = make_data(40, n_columns, 1 + n_columns % 3)
        assert_close(centred_gram(X, Y, weight, True, 1), reference(X, Y, weight, True))


@given(
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1000),
)
def test_any_shape(n_rows, n_columns, n_targets, weighted, fit_intercept, seed):
    X, Y, weight = make_data(n_rows, n_columns, n_targets, seed=seed)
    weight = weight if weighted else None
    assert_close(centred_gram(X, Y, weight, fit_intercept, 2), reference(X, Y, weight, fit_intercept))


@pytest.mark.plain_python
@pytest.mark.parametrize("order", ["C", "F"])
def test_means_far_from_zero_cost_no_digits(order):
    """1e8 + noise: X'X less the means' products would have no correct digit left."""
    rng = np.random.default_rng(0)
    X = np.asarray(1e8 + rng.normal(size=(100, 3)), order=order)
    Y = -3e8 + rng.normal(size=(100, 1))
    summary = centred_gram(X, Y, None, True, 1)
    Z = [[Fraction(value) for value in row] for row in np.hstack([X, Y]).tolist()]
    means = [sum(column) / len(Z) for column in zip(*Z, strict=True)]
    exact = [
        [sum((row[i] - means[i]) * (row[j] - means[j]) for row in Z) for j in range(4)] for i in range(4)
    ]
    exact = np.array([[float(value) for value in row] for row in exact])
    norms = np.sqrt(exact.diagonal())
    found = np.block([[summary.gram, summary.cross], [summary.cross.T, summary.y_sum_squares]])
    np.testing.assert_array_less(np.abs(found - exact) / np.outer(norms, norms), 1e-14)
    np.testing.assert_array_equal(summary.x_mean, [float(mean) for mean in means[:3]])


def test_a_trend_in_the_rows_costs_no_digits():
    """The rows that the shift is taken from are spread over the data: the first ones would mislead."""
    X = np.arange(100_000.0).reshape(-1, 1) + 1e9
    summary = centred_gram(X, X, None, True, 2)
    n = len(X)
    exact = n * (n * n - 1) / 12
    assert abs(summary.gram[0, 0] / exact - 1) < 1e-13
    assert abs(summary.y_sum_squares[0] / exact - 1) < 1e-13


def test_rows_of_weight_zero_do_not_count_whatever_they_hold():
    X, Y, weight = make_data(300, 5)
    kept = weight > 0
    X[~kept], Y[~kept] = 1e200, -1e200
    summary = centred_gram(X, Y, weight, True, 1)
    assert_close(summary, reference(X[kept], Y[kept], weight[kept], True))
    alone = np.zeros(300)
    alone[17] = 2.5
    summary = centred_gram(X, Y, alone, True, 1)
    assert summary.sum_weights == pytest.approx(2.5, rel=1e-15)
    np.testing.assert_allclose(summary.x_mean, X[17], rtol=1e-15)


def test_no_weight_at_all_gives_zeros():
    X, Y, _ = make_data(30, 3)
    summary = centred_gram(X, Y, np.zeros(30), True, 1)
    for field in (summary.gram, summary.cross, summary.y_sum_squares, summary.sum_weights):
        assert np.all(field == 0)


def test_whole_weights_are_repetitions():
    X, Y, _ = make_data(200, 11, 2)
    weight = np.random.default_rng(1).integers(0, 4, 200).astype(float)
    repeated = np.repeat(np.arange(200), weight.astype(int))
    assert_close(centred_gram(X, Y, weight, True, 1), reference(X[repeated], Y[repeated], None, True))


def test_read_only_and_mapped_data(tmp_path):
    X, Y, weight = make_data(50, 6)
    expected = centred_gram(X, Y, weight, True, 1)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    Y.flags.writeable = weight.flags.writeable = False
    assert_same(expected, centred_gram(mapped, Y, weight, True, 1))


def test_the_matrix_is_symmetric():
    X, Y, _ = make_data(500, 37)
    gram = centred_gram(X, Y, None, True, 2).gram
    assert np.array_equal(gram, gram.T)


@pytest.mark.plain_python
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f8", "F"), ("f4", "C"), ("f4", "F")])
def test_row_gram(dtype, order, weighted):
    for n_rows, n_columns in [(1, 1), (5, 7), (9, 30)]:
        check_row_gram(n_rows, n_columns, dtype, order, weighted)


@pytest.mark.parametrize("order", ["C", "F"])
def test_row_gram_of_many_columns(order):
    check_row_gram(40, 5000, np.float64, order, True)
    check_row_gram(300, 700, np.float32, order, False)


def check_row_gram(n_rows, n_columns, dtype, order, weighted):
    X, _, weight = make_data(n_rows, n_columns, 1, dtype, order)
    X += 1000
    x_mean = np.average(X.astype(np.float64), axis=0, weights=weight)
    centred = X.astype(np.longdouble) - x_mean
    if weighted:
        centred *= np.sqrt(weight.astype(np.longdouble))[:, np.newaxis]
    expected = centred @ centred.T
    gram = row_gram(X, weight if weighted else None, x_mean, 1)
    norms = np.sqrt(expected.diagonal()) + 1e-12
    assert np.all(np.abs(gram - expected) <= 1e-13 * np.outer(norms, norms))
    for n_threads in (2, 3):
        assert np.array_equal(gram, row_gram(X, weight if weighted else None, x_mean, n_threads))


@pytest.mark.plain_python
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f8", "F"), ("f4", "C"), ("f4", "F")])
def test_residual_gradient(dtype, order, weighted):
    for shape in [(1, 1, 1), (5, 7, 1), (30, 6, 3)]:
        check_residual_gradient(shape, dtype, order, weighted)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3000, 50, 1), (20, 300, 2), (600, 700, 11), (40, 5000, 1)])
def test_residual_gradient_of_larger_data(shape, order):
    check_residual_gradient(shape, np.float64, order, True)


def check_residual_gradient(shape, dtype, order, weighted):
    X, Y, weight = make_data(*shape, dtype, order)
    coef = np.random.default_rng(7).normal(size=(shape[1], shape[2]))
    x_mean = np.average(X.astype(np.float64), axis=0, weights=weight)
    y_mean = np.average(Y, axis=0, weights=weight)
    sample_weight = weight if weighted else None
    arguments = X, Y, sample_weight, x_mean, y_mean, coef
    gradient, sum_squares = residual_gradient(*arguments, 1)
    scale = (weight if weighted else np.ones(len(X))).astype(np.longdouble)[:, np.newaxis]
    centred = X.astype(np.longdouble) - x_mean
    residual = Y - y_mean - centred @ coef
    magnitude = np.abs(Y - y_mean) + np.abs(centred) @ np.abs(coef)
    bound = 1e-14 * (np.abs(centred).T @ (scale * magnitude)) + 1e-12
    assert np.all(np.abs(gradient - centred.T @ (scale * residual)) <= bound)
    bound = 1e-14 * (scale * magnitude**2).sum(axis=0) + 1e-12
    assert np.all(np.abs(sum_squares - (scale * residual**2).sum(axis=0)) <= bound)
    again, squares_again = residual_gradient(*arguments, 3)
    assert np.array_equal(gradient, again)
    assert np.array_equal(sum_squares, squares_again)


_SCRIPT = """
from fastfit.runtime.cpu import VECTOR_BYTES
from tests.kernels import test_gram
for shape in [(150, 4, 1), (100, 8, 1), (300, 30, 3), (60, 260, 2)]:
    for order in "CF":
        X, Y, weight = test_gram.make_data(*shape, "f4", order)
        summary = test_gram.centred_gram(X, Y, weight, True, 2)
        test_gram.assert_close(summary, test_gram.reference(X, Y, weight, True))
    test_gram.check_residual_gradient(shape, "f8", "C", True)
test_gram.check_row_gram(20, 50, "f8", "C", True)
print(VECTOR_BYTES)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 CPUs")
@pytest.mark.parametrize(("cpu", "vector_bytes"), [("haswell", 32), ("x86-64", 16)])
def test_narrower_cpus(tmp_path, cpu, vector_bytes):
    environment = os.environ | {
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": "",
        "FASTFIT_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) == vector_bytes
