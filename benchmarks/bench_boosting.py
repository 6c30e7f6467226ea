"""Gradient boosting, on histograms and exact: fits with every kind of loss, prediction, growth with the size, memory.

A round on histograms reads one byte of each value in the rows that it adds up, half of them below the root, and adds
a pair of integers: 0.34 ns each from the first cache. So a tree of 31 leaves on 400k x 28 cannot take less than 5 ms on
two cores here; reading the bins alone would take 1 ms at 20 GB/s.

A round of exact boosting on 100k x 20 binned columns of float32 adds 2 million bins a level, 6 million for depth 3: at
0.5 ns 3 ms, of which two cores do it in 1.5.

Peers grow leaf-wise to as many leaves, with as many bins, as far as their arguments say so; Snap ML's trees are bounded
by their depth.
"""

import functools
import math
import time
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.data import clusters, iris_classes, iris_petal_width, noisy_numbers
from benchmarks.probes import Subject, cold_fit_probe, compared_memory_probe, import_probe, warm_fit_probe
from benchmarks.runner import quietly
from benchmarks.suite import run_compile_benchmark, run_workload_benchmark, size_of
from benchmarks.workload import (
    OURS,
    Build,
    Probe,
    Workload,
    ours_and_sklearn,
    predict,
    predict_one_row,
    prediction_gap,
)

_CLASSIFIER = "ensemble:HistGradientBoostingClassifier"
_REGRESSOR = "ensemble:HistGradientBoostingRegressor"
_EXACT_CLASSIFIER = "ensemble:GradientBoostingClassifier"
_EXACT_REGRESSOR = "ensemble:GradientBoostingRegressor"
_FULL_FIT = {"early_stopping": False, "random_state": 0}
_TWENTY = {"n_estimators": 20, "random_state": 0}


# ------------------------------------------------------------------------------------------------ models


def auc(estimator, data):
    """Area under the ROC curve on rows that were not fitted."""
    return float(roc_auc_score(data.y_test, estimator.predict_proba(data.X_test)[:, 1]))


def far_share(estimator, reference, data):
    """Share of held-out rows whose probability, or prediction in units of its spread, differs by more than 1e-3."""
    if hasattr(reference, "predict_proba"):
        apart = np.abs(estimator.predict_proba(data.X_test) - reference.predict_proba(data.X_test)).max(
            axis=1
        )
    else:
        theirs = reference.predict(data.X_test)
        apart = np.abs(estimator.predict(data.X_test) - theirs) / theirs.std()
    return float(np.mean(apart > 1e-3))


_SAME = {"gap": far_share, "tolerance": 1e-3, "peer_tolerance": 0.02}


def _peers(kind, n_rounds=100, n_leaves=31):
    """Other libraries' boosting of "Classifier" or "Regressor", on two threads."""
    catboost = {"logging_level": "Silent", "allow_writing_files": False, "thread_count": 2}
    return {
        "lightgbm": Build(
            f"lightgbm:LGBM{kind}", n_estimators=n_rounds, num_leaves=n_leaves, n_jobs=2, verbose=-1
        ),
        "xgboost": Build(
            f"xgboost:XGB{kind}",
            n_estimators=n_rounds,
            tree_method="hist",
            grow_policy="lossguide",
            max_depth=0,
            max_leaves=n_leaves,
            learning_rate=0.1,
            min_child_weight=1e-3,
            n_jobs=2,
        ),
        "snapml": Build(
            f"snapml:BoostingMachine{kind}",
            num_round=n_rounds,
            learning_rate=0.1,
            min_max_depth=5,
            max_max_depth=5,
            n_jobs=2,
        ),
        "catboost": Build(
            f"catboost:CatBoost{kind}",
            iterations=n_rounds,
            learning_rate=0.1,
            grow_policy="Lossguide",
            max_leaves=n_leaves,
            min_data_in_leaf=20,
            **catboost,
        ),
    }


def _histograms(path, *, with_peers=True, **params):
    kind = "Classifier" if path == _CLASSIFIER else "Regressor"
    peers = _peers(kind, params.get("max_iter", 100)) if with_peers else {}
    return {**ours_and_sklearn(path, **_FULL_FIT, **params), **peers}


# ------------------------------------------------------------------------------------------------ fits


def _histogram_fits():
    """The shapes that decide what matters: long, wide, short, and with several trees a round."""
    name = "HistGradientBoostingClassifier"
    binary = _histograms(_CLASSIFIER)
    for n_samples, n_features, max_rounds in (
        (400_000, 28, 5),
        (1_000_000, 10, 3),
        (20_000, 200, 5),
        (5_000, 10, None),
    ):
        yield Workload(
            name, clusters, n_samples, n_features, binary, score=auc, **_SAME, max_rounds=max_rounds
        )
    five = functools.partial(clusters, n_classes=5)
    options = {**_SAME, "max_rounds": 3, "note": "5 classes"}
    yield Workload(name, five, 100_000, 28, _histograms(_CLASSIFIER), **options)
    regressor = "HistGradientBoostingRegressor"
    numbers = _histograms(_REGRESSOR)
    yield Workload(regressor, noisy_numbers, 400_000, 28, numbers, **_SAME, max_rounds=5)


def _histogram_settings():
    """What else the kernels do natively, on fewer rows: losses, columns, constraints, stopping."""
    positive = functools.partial(noisy_numbers, positive=True)
    for loss in ("poisson", "gamma", "absolute_error", "quantile"):
        params = {"loss": loss, "max_iter": 50, **({"quantile": 0.8} if loss == "quantile" else {})}
        estimators = _histograms(_REGRESSOR, with_peers=False, **params)
        options = {**_SAME, "max_rounds": 3, "note": f"{loss}, 50 rounds"}
        # Medians move in jumps: one row on the other side of a split changes a leaf.
        options["tolerance"] = 0.02 if loss in ("absolute_error", "quantile") else 1e-3
        yield Workload("HistGradientBoostingRegressor", positive, 50_000, 20, estimators, **options)
    name = "HistGradientBoostingClassifier"
    fifty = {"max_iter": 50, "with_peers": False}
    for columns in ("heavily tied", "mostly constant", "missing values"):
        data = functools.partial(clusters, columns=columns)
        options = {**_SAME, "max_rounds": 3, "note": f"{columns}, 50 rounds"}
        yield Workload(name, data, 100_000, 20, _histograms(_CLASSIFIER, **fifty), **options)
    tied = functools.partial(clusters, columns="heavily tied")
    for settings, note in (
        ({"categorical_features": [0, 1, 2, 3]}, "4 categorical columns"),
        ({"interaction_cst": "no_interactions"}, "no interactions"),
        ({"max_features": 0.5}, "half of the features a node"),
        ({"max_leaf_nodes": 255, "min_samples_leaf": 5}, "255 leaves"),
        ({"early_stopping": True, "tol": 0.0}, "early stopping"),
    ):
        of_both = {**_FULL_FIT, "max_iter": 50, **settings}
        data = tied if "categorical_features" in settings else clusters
        options = {**_SAME, "max_rounds": 3, "note": f"{note}, 50 rounds", "tolerance": 0.02}
        yield Workload(name, data, 100_000, 20, ours_and_sklearn(_CLASSIFIER, **of_both), **options)


def _small_and_predict():
    """Iris, where fixed costs decide, and the prediction of one row and of many by 100 rounds."""
    for path, iris, n_columns in ((_CLASSIFIER, iris_classes, 4), (_REGRESSOR, iris_petal_width, 3)):
        name, small = path.partition(":")[2], {"fixed_size": True, "note": "iris, 20 rounds"}
        estimators = ours_and_sklearn(path, max_iter=20)
        yield Workload(f"{name} fit", iris, 150, n_columns, estimators, **_SAME, **small)
        yield Workload(f"{name} predict", iris, 150, n_columns, estimators, call=predict, **_SAME, **small)
    same = {"gap": prediction_gap, "tolerance": 1e-3, "peer_tolerance": 0.02}
    for path, data in ((_CLASSIFIER, clusters), (_REGRESSOR, noisy_numbers)):
        name = path.partition(":")[2]
        models = _histograms(path)
        yield Workload(
            f"{name} predict", data, 100_000, 28, models, call=predict_one_row, **same, note="1 row"
        )
        yield Workload(f"{name} predict", data, 100_000, 28, models, call=predict, **same, max_rounds=5)


# ------------------------------------------------------------------------------------------------ exact trees


def staged_predict(estimator, data):
    """Time predictions after each round, of as many rows as were held out."""
    for _ in estimator.staged_predict(data.X_test):
        pass


# The same trees up to ties that rounding decides.
_EQUAL = {"gap": prediction_gap, "tolerance": 1e-3, "max_rounds": 3}


def _exact_fits():
    """Shapes, losses and draws of exact boosting; columns that make sorts and searches work otherwise."""
    name = "GradientBoostingClassifier"
    table = functools.partial(Workload, name, clusters, 100_000, 20)
    for settings, note in (
        ({}, ""),
        ({"subsample": 0.5, "max_features": "sqrt"}, "half of the rows, sqrt of the columns"),
        ({"max_depth": None, "max_leaf_nodes": 16}, "16 leaves, best first"),
        ({"max_depth": 8}, "depth 8"),
    ):
        estimators = ours_and_sklearn(_EXACT_CLASSIFIER, **{**_TWENTY, **settings})
        yield table(estimators, **_EQUAL, note=", ".join(filter(None, ["20 rounds", note])))
    five = ours_and_sklearn(_EXACT_CLASSIFIER, **{**_TWENTY, "n_estimators": 5})
    for columns in ("heavily tied", "mostly constant"):
        data = functools.partial(clusters, columns=columns)
        yield Workload(name, data, 100_000, 20, five, **_EQUAL, note=f"{columns}, 5 rounds")
    yield Workload(name, clusters, 20_000, 200, five, **_EQUAL, note="5 rounds")
    classes = functools.partial(clusters, n_classes=5)
    yield Workload(name, classes, 20_000, 20, five, **_EQUAL, note="5 classes, 5 rounds")
    regressor = "GradientBoostingRegressor"
    yield Workload(
        regressor,
        noisy_numbers,
        100_000,
        20,
        ours_and_sklearn(_EXACT_REGRESSOR, **_TWENTY),
        **_EQUAL,
        note="20 rounds",
    )
    for loss in ("absolute_error", "huber", "quantile"):
        estimators = ours_and_sklearn(_EXACT_REGRESSOR, **{**_TWENTY, "n_estimators": 5, "loss": loss})
        yield Workload(regressor, noisy_numbers, 50_000, 20, estimators, **_EQUAL, note=f"{loss}, 5 rounds")


def _exact_small_and_predict():
    """Iris, and predictions: of one row, of many, after each round."""
    for path, iris, n_columns in (
        (_EXACT_CLASSIFIER, iris_classes, 4),
        (_EXACT_REGRESSOR, iris_petal_width, 3),
    ):
        name, small = path.partition(":")[2], {"fixed_size": True, "note": "iris, 20 rounds"}
        estimators = ours_and_sklearn(path, **_TWENTY)
        yield Workload(f"{name} fit", iris, 150, n_columns, estimators, gap=prediction_gap, **small)
        yield Workload(
            f"{name} predict", iris, 150, n_columns, estimators, call=predict, gap=prediction_gap, **small
        )
    name = "GradientBoostingClassifier predict"
    hundred = ours_and_sklearn(_EXACT_CLASSIFIER, n_estimators=100, subsample=0.1, random_state=0)
    for call, note in ((predict_one_row, "1 row, 100 rounds"), (predict, "100 rounds")):
        yield Workload(name, clusters, 100_000, 20, hundred, call=call, **_EQUAL, note=note)
    yield Workload(
        "GradientBoostingClassifier staged_predict",
        clusters,
        20_000,
        20,
        ours_and_sklearn(_EXACT_CLASSIFIER, **_TWENTY),
        call=staged_predict,
        **_EQUAL,
        note="20 rounds",
    )


# ------------------------------------------------------------------------------------------------ growth

# For each size that grows: what it is, and how a fit of so much is made. The others stay as they are here.
_GROWTH_BASE = {"n_samples": 50_000, "n_features": 16, "max_leaf_nodes": 31, "max_iter": 20}
_GROWTH_STEPS = {
    "n_samples": (25_000, 50_000, 100_000, 200_000),
    "n_features": (8, 16, 32, 64),
    "max_leaf_nodes": (8, 16, 32, 64, 128),
    "max_iter": (10, 20, 40, 80),
}
_GROWTH_NAMES = {
    "n_samples": "samples",
    "n_features": "features",
    "max_leaf_nodes": "leaves",
    "max_iter": "rounds",
}
_TINY_SHARE = {"n_samples": 100, "n_features": 1, "max_leaf_nodes": 1, "max_iter": 10}


def log_log_slope(sizes, seconds):
    """Return the power of the size that the time grows with: the slope of least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


class Grown(NamedTuple):
    """A family whose growth is measured: its classifier, and what it calls rounds."""

    heading: str
    path: str
    rounds: str
    params: dict
    divisors: dict  # of sizes that would take too long


_GROWN = {
    "histograms": Grown("HGB", _CLASSIFIER, "max_iter", _FULL_FIT, {}),
    "exact": Grown(
        "GB",
        _EXACT_CLASSIFIER,
        "n_estimators",
        {"max_depth": None, "random_state": 0},
        # scikit-learn would take minutes.
        {"n_samples": 5, "max_iter": 5},
    ),
}


def growth_seconds(family, library, what, size):
    """Seconds of a fit at each of the sizes of `what`, the least of two turns."""
    grown = _GROWN[family]
    build = ours_and_sklearn(grown.path, **grown.params)[library]
    share = {"quick": 5, "tiny": _TINY_SHARE["n_samples"]}.get(size, 1)
    seconds = []
    for value in _GROWTH_STEPS[what]:
        steps = {**_GROWTH_BASE, what: value}
        for name, divisor in grown.divisors.items():
            steps[name] //= divisor
        n_rounds = max(steps["max_iter"] // (10 if size == "tiny" else 1), 1)
        data = clusters(steps["n_samples"] // share, steps["n_features"])
        estimator = build().set_params(**{grown.rounds: n_rounds, "max_leaf_nodes": steps["max_leaf_nodes"]})
        turns = []
        for _ in range(2):
            started = time.perf_counter()
            quietly(estimator.fit, data.X, data.y)
            turns.append(time.perf_counter() - started)
        seconds.append(min(turns))
    return seconds


def _growth_probe(family, what):
    def measure(library, size):
        return log_log_slope(_GROWTH_STEPS[what], growth_seconds(family, library, what, size))

    steps = _GROWTH_STEPS[what]
    note = f"log-log slope over a factor of {steps[-1] // steps[0]}"
    name = f"{_GROWN[family].heading} time by {_GROWTH_NAMES[what]}"
    return Probe(name, measure, unit="slope", note=note, repeats=3 if family == "histograms" else 1)


def _auc_below_lightgbm(library, size):
    """Ten-thousandths of AUC that fastfit's model of the first workload is below LightGBM's."""
    n_samples = {"full": 400_000, "huge": 400_000, "quick": 40_000}.get(size, 2_000)
    data = clusters(n_samples, 28)
    models = [Build(f"fastfit.{_CLASSIFIER}", **_FULL_FIT)(), _peers("Classifier")["lightgbm"]()]
    ours, theirs = (auc(quietly(model.fit, data.X, data.y), data) for model in models)
    return 1e4 * (theirs - ours)


# ------------------------------------------------------------------------------------------------ tables

HISTOGRAM_WORKLOADS = [*_histogram_fits(), *_histogram_settings(), *_small_and_predict()]
EXACT_WORKLOADS = [*_exact_fits(), *_exact_small_and_predict()]
WORKLOADS = [*HISTOGRAM_WORKLOADS, *EXACT_WORKLOADS]

HISTOGRAM_SUBJECTS = [
    Subject("ensemble", "HistGradientBoostingClassifier", "noisy classification", "early_stopping=False"),
    Subject("ensemble", "HistGradientBoostingRegressor", "noisy regression", "early_stopping=False"),
]
EXACT_SUBJECTS = [
    Subject("ensemble", "GradientBoostingClassifier", "noisy classification", "n_estimators=10"),
    Subject("ensemble", "GradientBoostingRegressor", "noisy regression", "n_estimators=10"),
]
SUBJECTS = [*HISTOGRAM_SUBJECTS, *EXACT_SUBJECTS]

GROWTH = [_growth_probe(family, what) for family in _GROWN for what in _GROWTH_STEPS]
PROBES = [
    import_probe("import {package}.ensemble", "the package and ensemble"),
    *map(cold_fit_probe, SUBJECTS),
    *map(warm_fit_probe, SUBJECTS),
    *(compared_memory_probe(subject, 400_000, 28, limit=1.0) for subject in HISTOGRAM_SUBJECTS),
    # Sorted and binned columns of all rows: more than scikit-learn holds, which sorts anew at every node.
    *(compared_memory_probe(subject, 100_000, 20, limit=math.inf) for subject in EXACT_SUBJECTS),
    Probe(
        "HGB AUC below LightGBM's",
        _auc_below_lightgbm,
        unit="e-4",
        note="400k x 28, 100 rounds",
        limit=5.0,
        libraries=(OURS,),
        repeats=1,
    ),
    *GROWTH,
]


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)


def test_compile(benchmark, subject):
    run_compile_benchmark(benchmark, subject)


@pytest.mark.parametrize("what", _GROWTH_STEPS)
@pytest.mark.parametrize("family", _GROWN)
def test_growth(benchmark, family, what):
    size = size_of(benchmark)
    benchmark.group = f"growth of {_GROWN[family].heading} | {_GROWTH_NAMES[what]}"
    seconds = benchmark.pedantic(growth_seconds, args=(family, OURS, what, size), rounds=1)
    benchmark.extra_info["slope"] = log_log_slope(_GROWTH_STEPS[what], seconds)
    assert len(seconds) == len(_GROWTH_STEPS[what])
    assert min(seconds) > 0.0


def test_the_slope_of_a_power():
    sizes = np.array([1.0, 2.0, 4.0, 8.0])
    assert log_log_slope(sizes, 3.0 * sizes**1.5) == pytest.approx(1.5)
