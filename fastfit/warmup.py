"""Compile ahead of time what the estimators need, by fits of a few rows. Behind ``fastfit warmup``.

`FAMILIES` is a table: a new family adds its name, and a function that yields its tasks.
"""

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastfit.runtime.compile import compile_statistics

__all__ = ["FAMILIES", "Task", "WarmupReport", "run_tasks", "tasks"]

_N_ROWS, _N_COLUMNS = 60, 5
_N_TREE_ROWS = 3000
_DTYPES = (np.float64, np.float32)


class Task(NamedTuple):
    """A fit and a prediction of one estimator, named for the progress bar."""

    name: str
    call: Callable


class WarmupReport(NamedTuple):
    """What the tasks compiled, what they found in the cache, and the seconds that all took."""

    n_compiled: int
    n_loaded: int
    seconds: float


def _task(estimator, X, y, note=""):
    changed = estimator.get_params(deep=False).items() - type(estimator)().get_params(deep=False).items()
    settings = "".join(f", {name}={value!r}" for name, value in sorted(changed))
    name = f"{type(estimator).__name__}{settings}, {note or X.dtype}"

    def call():
        estimator.fit(X, y).predict(X[:1])
        estimator.predict(X)

    return Task(name, call)


def _linear():
    """Everything but conjugate gradients, which only data of hundreds of megabytes need."""
    from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor

    for dtype in _DTYPES:
        X = np.random.default_rng(0).standard_normal((_N_ROWS, _N_COLUMNS)).astype(dtype)
        numbers, classes = X[:, 0] + 1.0, np.arange(_N_ROWS) % 2
        yield _task(LinearRegression(), X, numbers)
        # Columns that depend on each other: the digits that the Gram matrix loses come from the rows of X.
        yield _task(LinearRegression(), np.hstack([X, X]), numbers)
        yield _task(LinearRegression(positive=True), X, numbers)
        yield _task(LinearRegression(learning_rate=0.01, max_iter=2), X, numbers)
        yield _task(LinearRegression(batch_size=16, max_iter=2), X, numbers)
        for settings in ({}, {"early_stopping": True}, {"batch_size": 16}):
            yield _task(SGDRegressor(max_iter=5, **settings), X, numbers)
            yield _task(SGDClassifier(max_iter=5, **settings), X, classes)


def _tables():
    """Data for trees, which take float32 whatever they are given: X, classes and numbers."""
    rng = np.random.default_rng(0)
    # As many rows as a prediction needs to be made for many rows at a time.
    X = rng.standard_normal((_N_TREE_ROWS, _N_COLUMNS)).astype(np.float32)
    noisy = X[:, 0] + rng.standard_normal(_N_TREE_ROWS)
    return X, np.searchsorted([-1.0, 0.0, 1.0], noisy), noisy


def _with_categories(X):
    """Return X with a first column of whole numbers, to be taken as categories."""
    return np.column_stack([np.floor(4.0 * X[:, 0]), X[:, 1:]])


def _tree():
    """Both splitters, both orders of growth, and what most people ask for."""
    from fastfit.tree import (
        DecisionTreeClassifier,
        DecisionTreeRegressor,
        ExtraTreeClassifier,
        ExtraTreeRegressor,
    )

    X, classes, numbers = _tables()
    holes = np.where(X > 2.0, np.nan, X)
    for settings in ({}, {"max_features": "sqrt"}, {"max_leaf_nodes": 9}, {"criterion": "entropy"}):
        yield _task(DecisionTreeClassifier(**settings), X, classes // 2, "two classes")
        yield _task(DecisionTreeClassifier(**settings), X, classes, "more classes")
    yield _task(DecisionTreeClassifier(class_weight="balanced"), X, classes, "more classes")
    yield _task(DecisionTreeClassifier(), holes, classes // 2, "missing values")
    for settings in ({}, {"max_features": 0.5}, {"max_leaf_nodes": 9}):
        yield _task(DecisionTreeRegressor(**settings), X, numbers, "numbers")
    yield _task(DecisionTreeRegressor(), holes, numbers, "missing values")
    categories = _with_categories(X)
    by_categories = {"categorical_features": (0,)}
    yield _task(DecisionTreeClassifier(**by_categories), categories, classes // 2, "two classes")
    yield _task(DecisionTreeRegressor(**by_categories), categories, numbers, "numbers")
    yield _task(ExtraTreeClassifier(), X, classes // 2, "two classes")
    yield _task(ExtraTreeClassifier(), X, classes, "more classes")
    yield _task(ExtraTreeRegressor(), X, numbers, "numbers")


def _forest():
    """What `_tree` has, as forests of few trees."""
    from fastfit.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    X, classes, numbers = _tables()
    for forest in (RandomForestClassifier, ExtraTreesClassifier):
        yield _task(forest(n_estimators=2), X, classes // 2, "two classes")
        yield _task(forest(n_estimators=2), X, classes, "more classes")
    yield _task(RandomForestClassifier(n_estimators=2, class_weight="balanced"), X, classes, "more classes")
    for forest in (RandomForestRegressor, ExtraTreesRegressor):
        yield _task(forest(n_estimators=2), X, numbers, "numbers")
    categories = _with_categories(X)
    by_categories = {"n_estimators": 2, "categorical_features": (0,)}
    yield _task(RandomForestClassifier(**by_categories), categories, classes // 2, "two classes")
    yield _task(RandomForestRegressor(**by_categories), categories, numbers, "numbers")


def _mlp():
    """Both dtypes with the default activation, and the others of scikit-learn with float32; every loss and solver."""
    from fastfit.neural_network import MLPClassifier, MLPRegressor

    few = {"max_iter": 2, "hidden_layer_sizes": (8,)}
    for dtype in _DTYPES:
        # As many rows as a prediction needs to be made by a kernel.
        X = np.random.default_rng(0).standard_normal((_N_TREE_ROWS, 16)).astype(dtype)
        numbers, classes = X[:, 0] + 1.0, np.arange(len(X)) % 3
        for activation in ("relu", "tanh", "logistic", "identity"):
            yield _task(MLPClassifier(activation=activation, **few), X, classes, f"more classes, {X.dtype}")
        yield _task(MLPClassifier(**few), X, classes // 2, f"two classes, {X.dtype}")
        yield _task(MLPRegressor(**few), X, numbers)
        for settings in ({"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}):
            yield _task(MLPClassifier(**settings, **few), X, classes, f"more classes, {X.dtype}")
            yield _task(MLPRegressor(**settings, **few), X, numbers)


def _exact_boosting():
    """Every loss on a small table, and what takes other kernels on a large one."""
    from fastfit.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    X, classes, numbers = _tables()
    two_rounds = {"n_estimators": 2}
    for n_rows in (len(X) // 10, len(X)):
        rows = slice(n_rows)
        table = f"{n_rows} rows"
        yield _task(
            GradientBoostingClassifier(**two_rounds), X[rows], classes[rows] // 2, f"two classes, {table}"
        )
        yield _task(
            GradientBoostingClassifier(**two_rounds), X[rows], classes[rows], f"more classes, {table}"
        )
        for loss in ("squared_error", "huber"):
            yield _task(GradientBoostingRegressor(loss=loss, **two_rounds), X[rows], numbers[rows], table)
    few = {"max_features": 2, **two_rounds}
    yield _task(GradientBoostingRegressor(max_leaf_nodes=8, **few), X, numbers, "numbers")
    X, numbers = np.tile(X, (4, 1)), np.tile(numbers, 4)
    for settings in ({}, {"subsample": 0.5, "max_features": 2}):
        yield _task(GradientBoostingRegressor(**two_rounds, **settings), X, numbers, "many rows")


def _histogram_boosting():
    """Every loss, and what takes other kernels: stopping, medians of leaves, rows that are left out."""
    from fastfit.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    X, classes, numbers = _tables()
    X = X.astype(np.float64)
    two_rounds = {"max_iter": 2}
    for settings in ({}, {"early_stopping": True}, {"subsample": 0.5, "max_features": 0.5}):
        yield _task(HistGradientBoostingClassifier(**two_rounds, **settings), X, classes // 2, "two classes")
    yield _task(HistGradientBoostingClassifier(**two_rounds), X, classes, "more classes")
    yield _task(HistGradientBoostingRegressor(**two_rounds), X, numbers, "numbers")
    for loss in ("poisson", "gamma", "absolute_error", "quantile"):
        quantile = 0.5 if loss == "quantile" else None
        regressor = HistGradientBoostingRegressor(loss=loss, quantile=quantile, **two_rounds)
        yield _task(regressor, X, np.exp(numbers), "positive numbers")


def _search():
    """The kernels of trees that differ in their limits; all others are those of the estimators."""
    from fastfit.model_selection import fit_many
    from fastfit.tree import DecisionTreeClassifier

    X, classes, _ = _tables()
    settings = [{"max_depth": depth} for depth in (1, 3)]
    yield Task(
        "fit_many of DecisionTreeClassifier", lambda: fit_many(DecisionTreeClassifier(), X, classes, settings)
    )


FAMILIES = {
    "linear": _linear,
    "tree": _tree,
    "forest": _forest,
    "boosting": _exact_boosting,
    "hist_boosting": _histogram_boosting,
    "mlp": _mlp,
    "search": _search,
}


def tasks(families=()):
    """The tasks of the named families, or of all."""
    return [task for family in families or FAMILIES for task in FAMILIES[family]()]


def run_tasks(chosen, on_start=None):
    """Run tasks; `on_start` is called with the name of each before it begins."""
    before, started = compile_statistics(), time.perf_counter()
    for task in chosen:
        if on_start is not None:
            on_start(task.name)
        with warnings.catch_warnings():
            # Five epochs of a few rows need not converge.
            warnings.simplefilter("ignore")
            task.call()
    after = compile_statistics()
    seconds = time.perf_counter() - started
    return WarmupReport(after.n_compiled - before.n_compiled, after.n_loaded - before.n_loaded, seconds)
