"""What ``fastfit demo`` shows: every estimator beside its scikit-learn counterpart, on real data.

`DATA_SETS` and `CASES` are tables; a new family adds lines to them and nothing else.
"""

import importlib
import time
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastfit.runtime.timing import Ratio, paired_ratio, time_in_turns

__all__ = ["CASES", "Case", "Line", "Split", "compare", "compile_case", "describe_parameters", "load"]

_TINY_ROWS = 120
_N_FEATURES = 50
# A fit of so many seconds is timed once: nobody waits for its median, and warm caches make no difference to it.
_LONG_FIT = 2.0


class Split(NamedTuple):
    """One data set, split into rows to fit and rows to score, columns scaled to unit variance."""

    name: str
    X: np.ndarray  # (n_samples, n_features)
    y: np.ndarray  # (n_samples,)
    X_test: np.ndarray
    y_test: np.ndarray


def _generated_regression(n_rows):
    return datasets.make_regression(n_rows, _N_FEATURES, n_informative=20, noise=50.0, random_state=0)


def _generated_classes(n_rows):
    return datasets.make_classification(
        n_rows, _N_FEATURES, n_informative=20, class_sep=1.5, flip_y=0.05, random_state=0
    )


DATA_SETS = {
    "diabetes": lambda n_rows: datasets.load_diabetes(return_X_y=True),
    "digits": lambda n_rows: datasets.load_digits(return_X_y=True),
    "breast cancer": lambda n_rows: datasets.load_breast_cancer(return_X_y=True),
    "regression": _generated_regression,
    "classification": _generated_classes,
}


@dataclass(frozen=True)
class Case:
    """One line of the demo.

    Attributes
    ----------
    data : str
        Key of `DATA_SETS`.
    path : str
        Module and class, ``"linear_model:SGDRegressor"``; the same in fastfit and in scikit-learn.
    params : dict
        Hyperparameters for both.
    extras : dict
        fastfit's own hyperparameters, which scikit-learn's estimator does not have.
    shown : tuple of str
        Hyperparameters worth showing although they stand at their defaults.
    """

    data: str
    path: str
    params: dict = field(default_factory=dict)
    extras: dict = field(default_factory=dict)
    shown: tuple = ()

    @property
    def name(self):
        """Class name, with fastfit's own hyperparameters."""
        return ", ".join(
            [self.path.partition(":")[2], *(f"{key}={value!r}" for key, value in self.extras.items())]
        )

    def build(self, package):
        """A new estimator of ``"fastfit"`` or ``"sklearn"``."""
        module, _, name = self.path.partition(":")
        params = {**self.params, **self.extras} if package == "fastfit" else self.params
        return getattr(importlib.import_module(f"{package}.{module}"), name)(**params)


_LINEAR = "linear_model:LinearRegression"
_REGRESSOR = "linear_model:SGDRegressor"
_CLASSIFIER = "linear_model:SGDClassifier"
_TREE = "tree:DecisionTreeClassifier"
_TREE_OF_NUMBERS = "tree:DecisionTreeRegressor"
_FOREST = "ensemble:RandomForestClassifier"
_NETWORK = "neural_network:MLPClassifier"
_NETWORK_OF_NUMBERS = "neural_network:MLPRegressor"
_BOOSTING = "ensemble:HistGradientBoostingClassifier"
_BOOSTING_OF_NUMBERS = "ensemble:HistGradientBoostingRegressor"
_EXACT_BOOSTING = "ensemble:GradientBoostingClassifier"
_EXACT_BOOSTING_OF_NUMBERS = "ensemble:GradientBoostingRegressor"
_SEED = {"random_state": 0}
_GD_SHOWN = ("solver", "learning_rate", "batch_size", "max_iter", "tol")
_SGD_SHOWN = ("loss", "penalty", "alpha", "learning_rate", "batch_size", "max_iter")
_TREE_SHOWN = ("criterion", "splitter", "max_depth", "min_samples_leaf", "max_features")
_FOREST_SHOWN = ("n_estimators", "criterion", "max_depth", "max_features", "bootstrap")
_NETWORK_SHOWN = (
    "hidden_layer_sizes",
    "activation",
    "solver",
    "alpha",
    "batch_size",
    "learning_rate_init",
    "max_iter",
)
_QUICK_NETWORK = {**_SEED, "max_iter": 50}
_BOOSTING_SHOWN = ("loss", "learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "max_bins")
_EXACT_BOOSTING_SHOWN = ("loss", "learning_rate", "n_estimators", "subsample", "max_depth", "max_features")
_TEN_TREES = {**_SEED, "n_estimators": 10, "n_jobs": -1}

CASES = (
    Case("diabetes", _LINEAR, shown=_GD_SHOWN),
    Case("diabetes", _REGRESSOR, _SEED, shown=_SGD_SHOWN),
    Case("diabetes", _TREE_OF_NUMBERS, _SEED, shown=_TREE_SHOWN),
    Case("diabetes", _BOOSTING_OF_NUMBERS, _SEED, shown=_BOOSTING_SHOWN),
    Case("diabetes", _EXACT_BOOSTING_OF_NUMBERS, _SEED, shown=_EXACT_BOOSTING_SHOWN),
    Case("digits", _CLASSIFIER, _SEED, shown=_SGD_SHOWN),
    Case("digits", _FOREST, _SEED, shown=_FOREST_SHOWN),
    Case("digits", _NETWORK, _SEED, shown=_NETWORK_SHOWN),
    Case(
        "diabetes", _NETWORK_OF_NUMBERS, {**_QUICK_NETWORK, "learning_rate_init": 0.01}, shown=_NETWORK_SHOWN
    ),
    Case("breast cancer", _CLASSIFIER, {**_SEED, "loss": "log_loss"}),
    Case("breast cancer", _TREE, _SEED, shown=_TREE_SHOWN),
    Case("breast cancer", _BOOSTING, _SEED, shown=_BOOSTING_SHOWN),
    Case("breast cancer", _EXACT_BOOSTING, _SEED, shown=_EXACT_BOOSTING_SHOWN),
    Case("regression", _LINEAR),
    Case("regression", _REGRESSOR, _SEED),
    Case("classification", _CLASSIFIER, _SEED),
    Case("classification", _CLASSIFIER, _SEED, extras={"batch_size": 64}),
    Case("classification", _TREE, _SEED),
    Case("classification", _FOREST, _TEN_TREES),
    Case("classification", _NETWORK, {**_SEED, "max_iter": 10}),
    Case("classification", _NETWORK, {**_SEED, "max_iter": 10}, extras={"dtype": "float32"}),
    Case("classification", _BOOSTING, {**_SEED, "early_stopping": False}),
    Case("classification", _EXACT_BOOSTING, {**_SEED, "n_estimators": 10}),
)


@dataclass(frozen=True)
class Line:
    """What one case gave, fastfit first and scikit-learn second."""

    case: Case
    data: Split
    scores: tuple
    seconds: tuple
    speed_up: Ratio
    estimator: object


def load(name, n_rows):
    """One data set, split and scaled; `n_rows` is the size of the generated ones."""
    X, y = DATA_SETS[name](n_rows)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(X)
    return Split(name, scaler.transform(X), y, scaler.transform(X_test), y_test)


def compile_case(case, data):
    """Compile, or load from the cache, what a case needs, by a fit of a few rows."""
    # Every class must be among the few rows.
    _, first_of_each = np.unique(data.y, return_index=True)
    chosen = np.union1d(first_of_each[:_TINY_ROWS], np.arange(min(_TINY_ROWS, len(data.y))))
    X, y = data.X[chosen], data.y[chosen]
    _quietly(lambda: case.build("fastfit").fit(X, y).predict(X))


def compare(case, data, *, rounds=3, on_round=None):
    """Fit both estimators in turns and score them on the rows kept back."""
    estimators = {"fastfit": case.build("fastfit"), "sklearn": case.build("sklearn")}

    def fits():
        # The first fit of each gives the scores, and warms the processor's caches.
        calls = {name: lambda e=e: e.fit(data.X, data.y) for name, e in estimators.items()}
        first = {name: [_seconds_of(call)] for name, call in calls.items()}
        scores = tuple(float(e.score(data.X_test, data.y_test)) for e in estimators.values())
        if max(first.values()) > [_LONG_FIT]:
            return scores, first
        return scores, time_in_turns(calls, rounds=rounds, max_rounds=9, on_round=on_round)

    scores, seconds = _quietly(fits)
    medians = tuple(float(np.median(seconds[name])) for name in ("fastfit", "sklearn"))
    speed_up = paired_ratio(seconds["sklearn"], seconds["fastfit"])
    return Line(case, data, scores, medians, speed_up, estimators["fastfit"])


def _seconds_of(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _quietly(function):
    """Call without warnings: a fit of a few rows need not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def describe_parameters(line):
    """Lines of text: the hyperparameters, those that were set first, and the parameters that were learned."""
    params = line.estimator.get_params(deep=False)
    changed = [key for key in params if key in line.case.params or key in line.case.extras]
    shown = [key for key in line.case.shown if key not in changed]
    texts = [f"{key} = {params[key]!r}" for key in changed]
    texts += ["at their defaults:" if changed else "all at their defaults:"]
    texts += [f"  {key} = {params[key]!r}" for key in shown]
    texts += [f"  and {len(params) - len(changed) - len(shown)} more"]
    attributes = vars(line.estimator).items()
    learned = {key: value for key, value in attributes if _is_learned(key) and not _is_empty(value)}
    return texts, [f"{key} {_describe_value(value)}" for key, value in learned.items()]


def _is_learned(name):
    return name.endswith("_") and not name.startswith("_") and name not in ("n_features_in_", "fit_engine_")


def _is_empty(value):
    # Arrays of different shapes in a list, as networks have them, are no array together.
    return len(value) == 0 if isinstance(value, list) else np.size(value) == 0


def _describe_value(value):
    """A number as it is; an array or a list by its shape and first values."""
    if isinstance(value, float | np.floating):
        return f"= {value:.4g}"
    if hasattr(value, "node_count"):
        return f"({value.node_count} nodes, depth {value.max_depth})"
    if isinstance(value, list) and not np.isscalar(value[0]):  # arrays of a network's layers have many shapes
        return f"({len(value)} of {type(value[0]).__name__})"
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, str | bool | int | type(None)):
        return f"= {value!r}"
    if np.ndim(value) == 0:
        return f"({type(value).__name__})"
    array = np.asarray(value)
    shape = " x ".join(map(str, array.shape))
    if array.size == 1:
        return f"= {_short(array.flat[0])}"
    first = ", ".join(_short(item) for item in array.flat[: 3 if array.size > 3 else array.size])
    return f"({shape}): {first}{', ...' if array.size > 3 else ''}"


def _short(item):
    return f"{item:.4g}" if isinstance(item, float | np.floating) else str(item)
