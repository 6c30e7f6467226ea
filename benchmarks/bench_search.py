"""Searches on five folds: fastfit's over fastfit's estimators, beside scikit-learn's on two jobs.

The peer is scikit-learn's search over fastfit's estimator, on two jobs: what sharing alone is worth. Nothing is
refitted at the end, so that the rows time fits and scores. A search cannot be faster than one fit of the largest of
its nested settings for each fold, and one prediction for each setting.
"""

import importlib

import numpy as np

from benchmarks.data import clusters, noisy_numbers, regression
from benchmarks.suite import run_workload_benchmark
from benchmarks.workload import OURS, REFERENCE, Workload

PLAIN = "its search, our models"


class BuildSearch:
    """A search by the import paths of its class and its estimator's; calling it gives a new one."""

    def __init__(self, search, estimator, grid, params, **options):
        self.search = search
        self.estimator = estimator
        self.grid = grid
        self.params = params
        self.options = options

    def __call__(self):
        search, estimator = map(_imported, (self.search, self.estimator))
        return search(estimator(**self.params), self.grid, cv=5, refit=False, **self.options)


def _imported(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _searches(path, grid, *, theirs=None, **params):
    """The three searches; ``theirs`` is (path, grid, parameters) where scikit-learn's estimator is another."""
    their_path, their_grid, their_params = theirs or (path, grid, params)
    return {
        OURS: BuildSearch("fastfit.model_selection:GridSearchCV", f"fastfit.{path}", grid, params),
        REFERENCE: BuildSearch(
            "sklearn.model_selection:GridSearchCV",
            f"sklearn.{their_path}",
            their_grid,
            their_params,
            n_jobs=2,
        ),
        PLAIN: BuildSearch("sklearn.model_selection:GridSearchCV", f"fastfit.{path}", grid, params, n_jobs=2),
    }


def best_score(search, data):
    """Mean score of the best candidate."""
    return float(search.best_score_)


def result_gap(search, reference, data):
    """Largest difference of a mean score; infinite if another candidate is best."""
    if search.best_params_ != reference.best_params_:
        return np.inf
    ours, theirs = (one.cv_results_["mean_test_score"] for one in (search, reference))
    return float(np.max(np.abs(ours - theirs)))


def best_score_gap(search, reference, data):
    """How much worse the best candidate is, for searches over different estimators."""
    return max(0.0, float(reference.best_score_ - search.best_score_))


_TWENTY_STEPS = list(range(10, 201, 10))
_SAME = {"score": best_score, "gap": result_gap, "tolerance": 1e-9, "max_rounds": 3}
_NEAR = {**_SAME, "tolerance": 1e-2}
_RATES = [float(rate) for rate in np.geomspace(1e-3, 0.1, 50)]
_STEPS = [10, 30, 100, 300, 1000]

WORKLOADS = [
    Workload(
        "DecisionTreeClassifier search",
        clusters,
        20_000,
        20,
        _searches(
            "tree:DecisionTreeClassifier",
            {"max_depth": list(range(2, 21, 2)), "min_samples_split": [2, 5, 10, 20, 50]},
            random_state=0,
        ),
        **_SAME,
        note="10 depths x 5 min_samples_split",
    ),
    Workload(
        "RandomForestClassifier search",
        clusters,
        2_000,
        20,
        _searches("ensemble:RandomForestClassifier", {"n_estimators": _TWENTY_STEPS}, random_state=0),
        **_SAME,
        note="20 n_estimators to 200",
    ),
    Workload(
        "HistGradientBoostingClassifier search",
        clusters,
        5_000,
        20,
        _searches(
            "ensemble:HistGradientBoostingClassifier",
            {"max_iter": _TWENTY_STEPS, "learning_rate": [0.03, 0.1, 0.3]},
            random_state=0,
        ),
        **_NEAR,
        note="20 max_iter to 200 x 3 learning rates",
    ),
    Workload(
        "LinearRegression search",
        regression,
        20_000,
        50,
        _searches(
            "linear_model:LinearRegression",
            {"learning_rate": _RATES, "max_iter": _STEPS},
            theirs=(
                "linear_model:SGDRegressor",
                {"eta0": _RATES, "max_iter": _STEPS},
                {"learning_rate": "constant", "penalty": None, "random_state": 0},
            ),
        ),
        score=best_score,
        gap=best_score_gap,
        tolerance=1e-2,
        max_rounds=1,
        note="50 learning rates x 5 max_iter; there SGDRegressor",
    ),
    Workload(
        "SGDClassifier search",
        clusters,
        50_000,
        20,
        _searches(
            "linear_model:SGDClassifier",
            {"alpha": [float(alpha) for alpha in np.geomspace(1e-6, 1e-1, 20)]},
            random_state=0,
        ),
        **_NEAR,
        note="20 alphas",
    ),
    Workload(
        "MLPRegressor search",
        noisy_numbers,
        2_000,
        20,
        _searches(
            "neural_network:MLPRegressor",
            {
                "learning_rate_init": [0.0003, 0.001, 0.002, 0.003, 0.005, 0.01],
                "max_iter": [20, 40, 60, 80, 100],
            },
            hidden_layer_sizes=(50,),
            random_state=0,
        ),
        **_NEAR,
        note="6 learning rates x 5 max_iter",
    ),
]

SUBJECTS = []
PROBES = []


def test_workload(benchmark, workload, library):
    run_workload_benchmark(benchmark, workload, library)
