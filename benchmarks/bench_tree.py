"""Decision trees: one tree of each kind, on data of every kind that a search for splits can meet.

The trees must be scikit-learn's, node for node, so that both libraries do the same splits. Growing to purity reads
every column once a level: some 20 levels of 100k x 20 are 40 million entries of a few nanoseconds each on one core,
where the packed columns no longer fit its caches and memory decides. Snap ML and the histogram splitter fit trees of
their own, which are only as good.
"""

import functools

import numpy as np

from benchmarks.data import clusters, iris_classes, iris_petal_width, labelled_rows, noisy_numbers
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

_CLASSIFIER = "tree:DecisionTreeClassifier"
_REGRESSOR = "tree:DecisionTreeRegressor"
_RANDOM_CLASSIFIER = "tree:ExtraTreeClassifier"
_RANDOM_REGRESSOR = "tree:ExtraTreeRegressor"
_SEED = {"random_state": 0}
# Classification of unit or whole weights has the same bits. Sums of other numbers depend on their order, and two
# splits that are equally good but for rounding may be chosen between either way.
_SAME = {"gap": node_gap, "tolerance": 0.0, "peer_tolerance": 0.05}
_ROUNDED = {"gap": rounded_node_gap, "tolerance": 1e-3, "peer_tolerance": 0.05}


def _trees(path, *, peers=None, **params):
    return {**ours_and_sklearn(path, **_SEED, **params), **(peers or {})}


def _snapml(name, **params):
    """Snap ML's tree on two threads, with an exact search unless `params` says otherwise."""
    return {"snapml": Build(f"snapml:{name}", **{"n_jobs": 2, "use_histograms": False, **_SEED, **params})}


def _fit_weighted(estimator, data):
    """Time ``fit`` with fractional weights, no two neighbours' alike."""
    estimator.fit(data.X, data.y, sample_weight=_fractional_weights(len(data.X)))


@functools.cache
def _fractional_weights(n_samples):
    return np.random.default_rng(0).uniform(0.5, 2.0, n_samples)


def _kinds_of_columns():
    """The same fit on columns that are not all different numbers: no input class may regress."""
    for columns in ("high cardinality", "heavily tied", "mostly constant", "missing values"):
        classes = functools.partial(clusters, columns=columns)
        numbers = functools.partial(noisy_numbers, columns=columns)
        shape = {"note": columns, "max_rounds": 3}
        yield Workload("DecisionTreeClassifier", classes, 100_000, 20, _trees(_CLASSIFIER), **_SAME, **shape)
        yield Workload("DecisionTreeRegressor", numbers, 50_000, 20, _trees(_REGRESSOR), **_ROUNDED, **shape)


def _settings():
    """Ways through the code that the headline rows do not take."""
    classes, numbers = (clusters, 50_000, 20), (noisy_numbers, 50_000, 20)
    yield Workload(
        "DecisionTreeClassifier",
        *classes,
        _trees(_CLASSIFIER, class_weight="balanced"),
        **_ROUNDED,
        note="class weights",
    )
    yield Workload(
        "DecisionTreeClassifier",
        *classes,
        _trees(_CLASSIFIER),
        call=_fit_weighted,
        **_ROUNDED,
        note="fractional weights",
    )
    for note, params in {
        "entropy": {"criterion": "entropy"},
        "sqrt features": {"max_features": "sqrt"},
        "1000 leaves": {"max_leaf_nodes": 1000},
        "random splits": {"splitter": "random"},
    }.items():
        yield Workload("DecisionTreeClassifier", *classes, _trees(_CLASSIFIER, **params), **_SAME, note=note)
    yield Workload(
        "DecisionTreeRegressor",
        *numbers,
        _trees(_REGRESSOR),
        call=_fit_weighted,
        **_ROUNDED,
        note="fractional weights",
    )
    yield Workload(
        "DecisionTreeRegressor",
        functools.partial(noisy_numbers, n_targets=3),
        20_000,
        20,
        _trees(_REGRESSOR),
        **_ROUNDED,
        note="3 targets",
    )
    yield Workload(
        "DecisionTreeRegressor",
        functools.partial(noisy_numbers, positive=True),
        20_000,
        20,
        _trees(_REGRESSOR, criterion="poisson"),
        **_ROUNDED,
        note="poisson",
    )
    yield Workload(
        "DecisionTreeRegressor",
        noisy_numbers,
        5_000,
        20,
        _trees(_REGRESSOR, criterion="absolute_error"),
        **_ROUNDED,
        note="absolute error",
    )
    # scikit-learn's tree takes the numbers of categories for an order; ours has to be at least as good.
    yield Workload(
        "DecisionTreeClassifier",
        labelled_rows,
        100_000,
        8,
        _trees(_CLASSIFIER, ours={"categorical_features": [0, 1, 2, 3]}, max_depth=10),
        gap=score_shortfall,
        tolerance=0.0,
        note="4 categorical columns, depth 10",
    )
    yield Workload("ExtraTreeClassifier", clusters, 100_000, 20, _trees(_RANDOM_CLASSIFIER), **_SAME)
    yield Workload("ExtraTreeRegressor", noisy_numbers, 100_000, 20, _trees(_RANDOM_REGRESSOR), **_ROUNDED)


def _small_and_predict():
    """Iris-sized fit and predict, then the prediction of one row and of many, for each estimator."""
    subjects = [
        (_CLASSIFIER, iris_classes, 4, clusters),
        (_REGRESSOR, iris_petal_width, 3, noisy_numbers),
        (_RANDOM_CLASSIFIER, iris_classes, 4, clusters),
        (_RANDOM_REGRESSOR, iris_petal_width, 3, noisy_numbers),
    ]
    for path, iris, n_columns, generated in subjects:
        name, estimators = path.partition(":")[2], _trees(path)
        small = {"fixed_size": True, "note": "iris"}
        yield Workload(f"{name} fit", iris, 150, n_columns, estimators, **_ROUNDED, **small)
        same = {"gap": prediction_gap, "tolerance": 1e-9}
        yield Workload(f"{name} predict", iris, 150, n_columns, estimators, call=predict, **same, **small)
        yield Workload(
            f"{name} predict", generated, 10_000, 20, estimators, call=predict_one_row, **same, note="1 row"
        )
    for path, generated in ((_CLASSIFIER, clusters), (_REGRESSOR, noisy_numbers)):
        name = path.partition(":")[2]
        same = {"gap": prediction_gap, "tolerance": 1e-9, "max_rounds": 7}
        yield Workload(f"{name} predict", generated, 100_000, 20, _trees(path), call=predict, **same)


WORKLOADS = [
    Workload(
        "DecisionTreeClassifier",
        clusters,
        100_000,
        20,
        _trees(_CLASSIFIER, peers=_snapml("DecisionTreeClassifier")),
        **_SAME,
    ),
    Workload(
        "DecisionTreeClassifier",
        clusters,
        100_000,
        20,
        _trees(_CLASSIFIER, max_depth=6, peers=_snapml("DecisionTreeClassifier", max_depth=6)),
        **_SAME,
        note="depth 6",
    ),
    Workload(
        "DecisionTreeClassifier",
        clusters,
        500_000,
        20,
        _trees(_CLASSIFIER, peers=_snapml("DecisionTreeClassifier")),
        **_SAME,
        max_rounds=3,
    ),
    Workload(
        "DecisionTreeRegressor",
        noisy_numbers,
        100_000,
        20,
        _trees(_REGRESSOR, peers=_snapml("DecisionTreeRegressor")),
        **_ROUNDED,
    ),
    Workload(
        "DecisionTreeClassifier",
        clusters,
        100_000,
        20,
        _trees(
            _CLASSIFIER,
            ours={"splitter": "hist"},
            peers=_snapml("DecisionTreeClassifier", use_histograms=True),
        ),
        gap=score_shortfall,
        tolerance=0.01,
        note="histograms",
    ),
    Workload(
        "DecisionTreeRegressor",
        noisy_numbers,
        100_000,
        20,
        _trees(
            _REGRESSOR,
            ours={"splitter": "hist"},
            peers=_snapml("DecisionTreeRegressor", use_histograms=True),
        ),
        gap=score_shortfall,
        tolerance=0.01,
        note="histograms",
    ),
    Workload(
        "DecisionTreeClassifier",
        functools.partial(clusters, n_classes=10),
        100_000,
        20,
        _trees(_CLASSIFIER),
        **_SAME,
        max_rounds=3,
        note="10 classes",
    ),
    *_kinds_of_columns(),
    *_settings(),
    *_small_and_predict(),
]

SUBJECTS = [
    Subject("tree", "DecisionTreeClassifier", "noisy classification"),
    Subject("tree", "DecisionTreeRegressor", "noisy regression"),
    Subject("tree", "ExtraTreeClassifier", "noisy classification"),
    Subject("tree", "ExtraTreeRegressor", "noisy regression"),
]

PROBES = [
    import_probe("import {package}.tree", "the package and tree"),
    *map(cold_fit_probe, SUBJECTS),
    *map(warm_fit_probe, SUBJECTS),
    *(compared_memory_probe(subject, 500_000, 20, limit=2.0) for subject in SUBJECTS[:2]),
]


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)


def test_compile(benchmark, subject):
    run_compile_benchmark(benchmark, subject)
