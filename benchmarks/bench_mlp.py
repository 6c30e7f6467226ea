"""Neural networks: epochs by mini-batches over shapes and dtypes, L-BFGS, predictions, and what people start with.

The training run must be scikit-learn's, loss for loss, so that both libraries do the same updates. An epoch of a
network of layers p to q takes 6 n p q flops (4 for the first layer): what bounds it is the cores' arithmetic for wide
layers, and the latency of a batch's chain of small products for narrow ones, where scikit-learn and PyTorch spend their
time on calls. PyTorch draws weights and shuffles of its own, and its model is only as good.
"""

import functools

import numpy as np

from benchmarks.data import digits, iris_classes, iris_petal_width, largest_of, regression
from benchmarks.probes import Subject, cold_fit_probe, compared_memory_probe, import_probe, warm_fit_probe
from benchmarks.suite import run_compile_benchmark, run_workload_benchmark
from benchmarks.workload import (
    Build,
    Workload,
    ours_and_sklearn,
    predict,
    predict_one_row,
    prediction_gap,
)

_CLASSIFIER = "neural_network:MLPClassifier"
_REGRESSOR = "neural_network:MLPRegressor"
_TOLERANCE = {np.float32: 1e-3, np.float64: 1e-6}
# Epochs are counted, not stopped early.
_ALL_EPOCHS = {"tol": 0.0, "n_iter_no_change": 1000, "random_state": 0}


def loss_gap(estimator, reference, data):
    """Largest relative difference of the losses of an epoch; of the last loss where there is no curve."""
    ours = np.asarray(getattr(estimator, "loss_curve_", [estimator.loss_]))
    theirs = np.asarray(getattr(reference, "loss_curve_", [reference.loss_]))
    if ours.shape != theirs.shape:
        return np.inf
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


def _epochs_of(
    n_samples, n_features, hidden, n_classes, batch_size, n_epochs, dtype=np.float32, max_rounds=5
):
    """One row of the table: a shape, and its epochs."""
    params = {"hidden_layer_sizes": hidden, "batch_size": batch_size, "max_iter": n_epochs, **_ALL_EPOCHS}
    layers = "-".join(map(str, (n_features, *hidden, n_classes)))
    dtype_note = "" if dtype == np.float32 else ", float64"
    return Workload(
        f"MLPClassifier {layers}",
        functools.partial(largest_of, n_classes=n_classes, dtype=dtype),
        n_samples,
        n_features,
        {
            **ours_and_sklearn(_CLASSIFIER, **params),
            "torch": Build("benchmarks.torch_network:TorchClassifier", **params),
        },
        gap=loss_gap,
        tolerance=_TOLERANCE[dtype],
        peer_tolerance=0.05,
        max_rounds=max_rounds,
        note=f"batch {batch_size}, {n_epochs} epochs{dtype_note}",
    )


_SHAPES = [
    (20_000, 20, (32,), 2, 32, 5),
    (20_000, 64, (100,), 10, 32, 5),
    (20_000, 64, (100,), 10, 200, 5),
    (50_000, 100, (256, 256), 10, 256, 3),
    (60_000, 784, (100,), 10, 200, 2),
]


def _predictions():
    """One row and many, 64-100-10."""
    params = {"hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": 1, **_ALL_EPOCHS}
    estimators = {
        **ours_and_sklearn(_CLASSIFIER, **params),
        "torch": Build("benchmarks.torch_network:TorchClassifier", **params),
    }
    # A class may change where two outputs are equal but for rounding.
    same = {"gap": prediction_gap, "tolerance": 1e-3, "peer_tolerance": 0.05}
    name, size = "MLPClassifier predict", (100_000, 64)
    yield Workload(name, largest_of, *size, estimators, call=predict_one_row, **same, note="1 row")
    yield Workload(name, largest_of, *size, estimators, call=predict, **same)


def _small():
    """What people start with: the defaults on digits and iris."""
    # Rounding grows over 200 epochs.
    yield Workload(
        "MLPClassifier fit",
        digits,
        1400,
        64,
        ours_and_sklearn(_CLASSIFIER, random_state=0),
        gap=loss_gap,
        tolerance=1e-3,
        max_rounds=3,
        note="digits, defaults",
    )
    for path, iris, n_columns in ((_CLASSIFIER, iris_classes, 4), (_REGRESSOR, iris_petal_width, 3)):
        name, estimators = path.partition(":")[2], ours_and_sklearn(path, random_state=0, max_iter=50)
        exact = {"gap": loss_gap, "fixed_size": True}
        yield Workload(
            f"{name} fit", iris, 150, n_columns, estimators, **exact, tolerance=1e-6, note="iris, 50 epochs"
        )
        same = {"gap": prediction_gap, "tolerance": 1e-6, "fixed_size": True}
        yield Workload(f"{name} predict", iris, 150, n_columns, estimators, call=predict, **same, note="iris")


WORKLOADS = [
    *(_epochs_of(*shape) for shape in _SHAPES),
    *(_epochs_of(*shape, dtype=np.float64, max_rounds=3) for shape in _SHAPES),
    Workload(
        "MLPClassifier, L-BFGS",
        functools.partial(largest_of, dtype=np.float64),
        2_000,
        50,
        ours_and_sklearn(_CLASSIFIER, solver="lbfgs", max_iter=10, random_state=0),
        gap=loss_gap,
        tolerance=1e-5,
        max_rounds=5,
        note="full batch, 10 iterations",
    ),
    Workload(
        "MLPRegressor",
        functools.partial(regression, dtype=np.float32),
        20_000,
        50,
        ours_and_sklearn(_REGRESSOR, hidden_layer_sizes=(100,), max_iter=5, **_ALL_EPOCHS),
        gap=loss_gap,
        tolerance=1e-3,
        max_rounds=5,
        note="batch 200, 5 epochs",
    ),
    *_predictions(),
    *_small(),
]

_TWO_EPOCHS = "max_iter=2, n_iter_no_change=10"
SUBJECTS = [
    Subject("neural_network", "MLPClassifier", "noisy classification", _TWO_EPOCHS),
    Subject("neural_network", "MLPRegressor", "noisy regression", _TWO_EPOCHS),
]

PROBES = [
    import_probe("import {package}.neural_network", "the package and neural_network"),
    *map(cold_fit_probe, SUBJECTS),
    *map(warm_fit_probe, SUBJECTS),
    *(compared_memory_probe(subject, 500_000, 20, limit=1.0) for subject in SUBJECTS),
]


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)


def test_compile(benchmark, subject):
    run_compile_benchmark(benchmark, subject)
