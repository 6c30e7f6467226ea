"""LinearRegression, SGDRegressor and SGDClassifier: the workloads, and the limits that they run against.

The fit of LinearRegression reads X once to form its Gram matrix: n d (d + 1) flops against 8 n d bytes. It
is bound by arithmetic above some ten features; `bench_kernels.py` states the share of peak reached. One
step of SGD reads one row, and reads and writes the coefficients: a chain of dependent steps of a few d flops
each, bound by latency rather than by memory; a mini-batch breaks the chain.
"""

import functools

import numpy as np

from benchmarks.data import classification, iris_classes, iris_petal_width, regression
from benchmarks.probes import Subject, cold_fit_probe, import_probe, peak_memory_probe, warm_fit_probe
from benchmarks.suite import run_compile_benchmark, run_workload_benchmark
from benchmarks.workload import (
    Build,
    Workload,
    coefficient_gap,
    epochs,
    ours_and_sklearn,
    predict,
    predict_one_row,
    prediction_gap,
    score_shortfall,
)

_LINEAR = "linear_model:LinearRegression"
_REGRESSOR = "linear_model:SGDRegressor"
_CLASSIFIER = "linear_model:SGDClassifier"
_FIVE_EPOCHS = {"max_iter": 5, "tol": None, "random_state": 0}
# An epoch of batches of 256 has a 256th of the steps, which can be longer because their gradients are less noisy.
_REGRESSOR_BATCH = {"batch_size": 256, "eta0": 0.05}
_CLASSIFIER_BATCH = {"batch_size": 256, "learning_rate": "constant", "eta0": 0.1}
_LEARNING_RATE = 0.3
_N_STEPS = 1000


class NumpyGradientDescent:
    """Gradient descent on the mean squared error as a textbook writes it: two passes over X a step."""

    def fit(self, X, y):
        x_mean, y_mean = X.mean(axis=0), y.mean()
        centred = X - x_mean
        self.coef_ = np.zeros(X.shape[1])
        for _ in range(_N_STEPS):
            residual = centred @ self.coef_ - (y - y_mean)
            self.coef_ -= _LEARNING_RATE * (centred.T @ residual) / len(y)
        self.intercept_ = y_mean - x_mean @ self.coef_
        return self

    def score(self, X, y):
        """R2."""
        residual = y - (X @ self.coef_ + self.intercept_)
        return 1.0 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2)


_LEAST_SQUARES = {**ours_and_sklearn(_LINEAR), "sklearnex": Build("sklearnex.linear_model:LinearRegression")}


def _small_and_one_row():
    """Iris-sized fit and predict, and the prediction of one row, for each estimator."""
    subjects = [
        ("LinearRegression", ours_and_sklearn(_LINEAR), iris_petal_width, 3, regression),
        ("SGDRegressor", ours_and_sklearn(_REGRESSOR, random_state=0), iris_petal_width, 3, regression),
        ("SGDClassifier", ours_and_sklearn(_CLASSIFIER, random_state=0), iris_classes, 4, classification),
    ]
    for name, estimators, iris, n_columns, generated in subjects:
        small = {"fixed_size": True, "gap": prediction_gap, "tolerance": 1e-6, "note": "iris"}
        yield Workload(f"{name} fit", iris, 150, n_columns, estimators, **small)
        yield Workload(f"{name} predict", iris, 150, n_columns, estimators, call=predict, **small)
        yield Workload(
            f"{name} predict",
            generated,
            1000,
            50,
            estimators,
            call=predict_one_row,
            gap=prediction_gap,
            tolerance=1e-6,
            note="1 row",
        )


WORKLOADS = [
    Workload(
        "LinearRegression fit",
        regression,
        500_000,
        50,
        _LEAST_SQUARES,
        gap=coefficient_gap,
        tolerance=1e-6,
    ),
    Workload(
        "LinearRegression fit",
        regression,
        20_000,
        200,
        _LEAST_SQUARES,
        gap=coefficient_gap,
        tolerance=1e-6,
    ),
    Workload(
        "LinearRegression fit",
        functools.partial(regression, n_targets=20),
        20_000,
        200,
        _LEAST_SQUARES,
        gap=coefficient_gap,
        tolerance=1e-6,
        note="20 targets",
    ),
    Workload(
        "LinearRegression fit",
        functools.partial(regression, dtype=np.float32),
        20_000,
        200,
        _LEAST_SQUARES,
        gap=coefficient_gap,
        tolerance=1e-4,
        note="float32",
    ),
    Workload(
        "LinearRegression steps",
        regression,
        20_000,
        50,
        {
            "fastfit": Build(f"fastfit.{_LINEAR}", learning_rate=_LEARNING_RATE, max_iter=_N_STEPS, tol=0.0),
            "scikit-learn": Build(f"sklearn.{_LINEAR}"),
            "NumPy": NumpyGradientDescent,
        },
        gap=coefficient_gap,
        tolerance=1e-6,
        note="1000 plain",
    ),
    Workload(
        "SGDRegressor 5 epochs",
        regression,
        500_000,
        50,
        ours_and_sklearn(_REGRESSOR, **_FIVE_EPOCHS),
        gap=coefficient_gap,
        tolerance=1e-7,
    ),
    Workload(
        "SGDClassifier 5 epochs",
        classification,
        500_000,
        50,
        ours_and_sklearn(_CLASSIFIER, **_FIVE_EPOCHS),
        gap=coefficient_gap,
        tolerance=1e-7,
    ),
    Workload(
        "SGDClassifier 5 epochs",
        functools.partial(classification, n_classes=10),
        100_000,
        50,
        ours_and_sklearn(_CLASSIFIER, n_jobs=-1, **_FIVE_EPOCHS),
        gap=coefficient_gap,
        tolerance=1e-7,
        note="10 classes",
    ),
    Workload(
        "SGDRegressor epoch",
        regression,
        500_000,
        50,
        ours_and_sklearn(_REGRESSOR, **_FIVE_EPOCHS, ours=_REGRESSOR_BATCH),
        per=epochs,
        gap=score_shortfall,
        tolerance=5e-3,
        note="batch 256",
    ),
    Workload(
        "SGDClassifier epoch",
        classification,
        500_000,
        50,
        ours_and_sklearn(_CLASSIFIER, **_FIVE_EPOCHS, ours=_CLASSIFIER_BATCH),
        per=epochs,
        gap=score_shortfall,
        tolerance=5e-3,
        note="batch 256",
    ),
    *_small_and_one_row(),
]

SUBJECTS = [
    Subject("linear_model", "LinearRegression", "regression"),
    Subject("linear_model", "SGDRegressor", "regression", "max_iter=5, tol=None"),
    Subject("linear_model", "SGDClassifier", "classification", "max_iter=5, tol=None"),
]

PROBES = [
    import_probe("import {package}", "the package", limit=0.1),
    import_probe("import {package}.linear_model", "the package and linear_model"),
    *map(cold_fit_probe, SUBJECTS),
    *map(warm_fit_probe, SUBJECTS),
    *map(peak_memory_probe, SUBJECTS),
]


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)


def test_compile(benchmark, subject):
    run_compile_benchmark(benchmark, subject)
