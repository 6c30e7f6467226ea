"""Forests: fit on two jobs, and prediction of one row and of many.

Every tree must be scikit-learn's, node for node. Work that trees share (sorting the columns) is done once; a tree that
draws a few features a node touches those columns only. Prediction of a row is a chain of a hundred descents of some
twenty dependent loads each. Intel's extension grows trees on histograms, which are only as good.
"""

import functools

from benchmarks.data import clusters, iris_classes, iris_petal_width, noisy_numbers
from benchmarks.probes import Subject, cold_fit_probe, compared_memory_probe, import_probe, warm_fit_probe
from benchmarks.suite import run_compile_benchmark, run_workload_benchmark
from benchmarks.tree_comparison import node_gap, rounded_node_gap
from benchmarks.workload import (
    Build,
    Workload,
    ours_and_sklearn,
    predict,
    predict_one_row,
    prediction_gap,
    score_shortfall,
)

_CLASSIFIER = "ensemble:RandomForestClassifier"
_REGRESSOR = "ensemble:RandomForestRegressor"
_RANDOM_CLASSIFIER = "ensemble:ExtraTreesClassifier"
_RANDOM_REGRESSOR = "ensemble:ExtraTreesRegressor"
_TWO_JOBS = {"n_jobs": 2, "random_state": 0}
_SAME = {"gap": node_gap, "tolerance": 0.0, "peer_tolerance": 0.02}
_ROUNDED = {"gap": rounded_node_gap, "tolerance": 1e-3, "peer_tolerance": 0.02}
_AS_GOOD = {"gap": score_shortfall, "tolerance": 0.01}


def _forests(path, n_estimators, *, with_peer=False, ours=None, **params):
    params = {"n_estimators": n_estimators, **_TWO_JOBS, **params}
    peer = {"sklearnex": Build(f"sklearnex.{path}", **params)} if with_peer else {}
    return {**ours_and_sklearn(path, ours=ours, **params), **peer}


def _kinds_of_data():
    """The same fit of fewer trees on more classes, and on columns that are not all different numbers."""
    fewer = {"max_rounds": 3}
    ten = functools.partial(clusters, n_classes=10)
    forests = _forests(_CLASSIFIER, 20, with_peer=True)
    yield Workload("RandomForestClassifier", ten, 50_000, 20, forests, **_SAME, **fewer, note="10 classes")
    for columns in ("high cardinality", "heavily tied", "mostly constant", "missing values"):
        data = functools.partial(clusters, columns=columns)
        forests = _forests(_CLASSIFIER, 20)
        yield Workload("RandomForestClassifier", data, 50_000, 20, forests, **_SAME, **fewer, note=columns)
    forests = _forests(_CLASSIFIER, 20, class_weight="balanced_subsample")
    yield Workload(
        "RandomForestClassifier", clusters, 50_000, 20, forests, **_ROUNDED, **fewer, note="class weights"
    )


def _small_and_predict():
    """Iris-sized fit and predict of each class, then the prediction of one row and of many."""
    subjects = [
        (_CLASSIFIER, iris_classes, 4),
        (_REGRESSOR, iris_petal_width, 3),
        (_RANDOM_CLASSIFIER, iris_classes, 4),
        (_RANDOM_REGRESSOR, iris_petal_width, 3),
    ]
    same = {"gap": prediction_gap, "tolerance": 1e-9}
    for path, iris, n_columns in subjects:
        name, estimators = path.partition(":")[2], ours_and_sklearn(path, random_state=0)
        small = {"fixed_size": True, "note": "iris"}
        yield Workload(f"{name} fit", iris, 150, n_columns, estimators, **_ROUNDED, **small)
        yield Workload(f"{name} predict", iris, 150, n_columns, estimators, call=predict, **same, **small)
    for path, data in ((_CLASSIFIER, clusters), (_REGRESSOR, noisy_numbers)):
        name, size = (
            path.partition(":")[2],
            (data, 100_000, 20) if path == _CLASSIFIER else (data, 20_000, 20),
        )
        forests = _forests(path, 100, with_peer=True)
        options = {**same, "peer_tolerance": 0.02}
        yield Workload(f"{name} predict", *size, forests, call=predict_one_row, **options, note="1 row")
        yield Workload(f"{name} predict", *size, forests, call=predict, **options, max_rounds=7)


WORKLOADS = [
    Workload(
        "RandomForestClassifier",
        clusters,
        100_000,
        20,
        _forests(_CLASSIFIER, 100, with_peer=True),
        **_SAME,
        max_rounds=3,
        note="100 trees",
    ),
    Workload(
        "RandomForestClassifier",
        clusters,
        100_000,
        20,
        _forests(_CLASSIFIER, 20, with_peer=True, ours={"splitter": "hist"}),
        **_AS_GOOD,
        max_rounds=5,
        note="20 trees, histograms",
    ),
    Workload(
        "ExtraTreesClassifier",
        clusters,
        100_000,
        20,
        _forests(_RANDOM_CLASSIFIER, 100, with_peer=True),
        **_SAME,
        max_rounds=3,
        note="100 trees",
    ),
    Workload(
        "RandomForestRegressor",
        noisy_numbers,
        100_000,
        20,
        _forests(_REGRESSOR, 20, with_peer=True),
        **_ROUNDED,
        max_rounds=3,
        note="20 trees",
    ),
    Workload(
        "RandomForestRegressor",
        noisy_numbers,
        100_000,
        20,
        _forests(_REGRESSOR, 20, with_peer=True, ours={"splitter": "hist"}),
        **_AS_GOOD,
        max_rounds=3,
        note="20 trees, histograms",
    ),
    Workload(
        "ExtraTreesRegressor",
        noisy_numbers,
        100_000,
        20,
        _forests(_RANDOM_REGRESSOR, 20, with_peer=True),
        **_ROUNDED,
        max_rounds=3,
        note="20 trees",
    ),
    *_kinds_of_data(),
    *_small_and_predict(),
]

_TWENTY_TREES = "n_estimators=20, n_jobs=2"
SUBJECTS = [
    Subject("ensemble", "RandomForestClassifier", "noisy classification", _TWENTY_TREES),
    Subject("ensemble", "RandomForestRegressor", "noisy regression", _TWENTY_TREES),
    Subject("ensemble", "ExtraTreesClassifier", "noisy classification", _TWENTY_TREES),
    Subject("ensemble", "ExtraTreesRegressor", "noisy regression", _TWENTY_TREES),
]

PROBES = [
    import_probe("import {package}.ensemble", "the package and ensemble"),
    *map(cold_fit_probe, SUBJECTS),
    *map(warm_fit_probe, SUBJECTS),
    *(compared_memory_probe(subject, 100_000, 20, limit=1.0) for subject in SUBJECTS[:2]),
]


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)


def test_compile(benchmark, subject):
    run_compile_benchmark(benchmark, subject)
