"""What ``fastfit tune`` does: a table from a file, a model by name, a grid, and the search over it."""

import csv
import importlib
from typing import NamedTuple

import numpy as np

# Integers with at most so many different values are classes.
MAX_CLASSES = 20


class Model(NamedTuple):
    """A family on the command line."""

    module: str
    classifier: str
    regressor: str
    is_scaled: bool  # whether columns are brought to unit variance first
    grid: dict  # what is tried if nothing is asked for


MODELS = {
    "decision_tree": Model(
        "tree",
        "DecisionTreeClassifier",
        "DecisionTreeRegressor",
        False,
        {"max_depth": [2, 4, 6, 8, 10, 14, 20, None], "min_samples_split": [2, 10, 50]},
    ),
    "random_forest": Model(
        "ensemble",
        "RandomForestClassifier",
        "RandomForestRegressor",
        False,
        {"n_estimators": [20, 50, 100, 200], "min_samples_leaf": [1, 5]},
    ),
    "extra_trees": Model(
        "ensemble",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
        False,
        {"n_estimators": [20, 50, 100, 200], "min_samples_leaf": [1, 5]},
    ),
    "gradient_boosting": Model(
        "ensemble",
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        False,
        {"n_estimators": [25, 50, 100, 200], "learning_rate": [0.03, 0.1, 0.3], "max_depth": [2, 3]},
    ),
    "hist_gradient_boosting": Model(
        "ensemble",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        False,
        {"max_iter": [25, 50, 100, 200], "learning_rate": [0.03, 0.1, 0.3], "max_leaf_nodes": [15, 31]},
    ),
    "mlp": Model(
        "neural_network",
        "MLPClassifier",
        "MLPRegressor",
        True,
        {"max_iter": [20, 50, 100], "learning_rate_init": [0.001, 0.003, 0.01]},
    ),
    "sgd": Model(
        "linear_model",
        "SGDClassifier",
        "SGDRegressor",
        True,
        {"alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]},
    ),
}


class Table(NamedTuple):
    """Data from a file."""

    X: np.ndarray  # (n_samples, n_features) float64, NaN where a field is empty
    y: np.ndarray  # (n_samples,)
    names: list  # of the features
    is_classification: bool


def read_table(path, target, dropped=()):
    """Read a CSV file with a line of column names.

    Parameters
    ----------
    path : str
    target : str
        The column to predict. Text, and integers of few values, are classes.
    dropped : sequence of str
        Columns to leave out.

    Returns
    -------
    table : Table

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no table, lacks a column, or has text in a feature.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            rows = [row for row in csv.reader(file) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"{path} has no rows below its line of column names")
    names, rows = rows[0], rows[1:]
    for column in (target, *dropped):
        if column not in names:
            raise ValueError(f"{path} has no column {column!r}; it has {', '.join(map(repr, names))}")
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise ValueError(f"{path}: row {number} has {len(row)} fields, the first row {len(names)}")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    y, is_classification = _as_target(columns[target], target)
    features = [name for name in names if name != target and name not in dropped]
    if not features:
        raise ValueError(f"{path} has no column beside {target!r} to predict it from")
    X = np.column_stack([_as_numbers(columns[name], name) for name in features])
    return Table(X, y, features, is_classification)


def _as_numbers(fields, name):
    try:
        return np.array([float(field) if field.strip() else np.nan for field in fields])
    except ValueError:
        raise ValueError(
            f"column {name!r} holds text; encode it as numbers, or leave it out with --drop {name}"
        ) from None


def _as_target(fields, name):
    if not all(field.strip() for field in fields):
        raise ValueError(f"the target {name!r} has empty fields")
    try:
        values = np.array([float(field) for field in fields])
    except ValueError:
        return np.array(fields), True
    is_whole = np.isfinite(values).all() and np.array_equal(values, np.rint(values))
    if is_whole and len(np.unique(values)) <= MAX_CLASSES:
        return values.astype(np.int64), True
    return values, False


def parse_params(texts):
    """Return a grid from texts such as "max_depth=2,4,None".

    Examples
    --------
    >>> from fastfit.tune import parse_params
    >>> parse_params(["max_depth=2,4,None", "learning_rate=0.1", "criterion=gini"])
    {'max_depth': [2, 4, None], 'learning_rate': [0.1], 'criterion': ['gini']}
    """
    grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise ValueError(f"--param {text}: expected NAME=V1,V2,...")
        grid[name] = [_as_value(value) for value in values.split(",")]
    return grid


def _as_value(text):
    constants = {"none": None, "true": True, "false": False}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def make_search(model_name, table, grid, *, cv=5, metric=None, seed=0):
    """Return the search, unfitted, and the grid by the model's own names.

    Raises
    ------
    ValueError
        If the model has no hyperparameter of a name, or there is no metric of a name.
    """
    from sklearn.metrics import get_scorer_names
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastfit.model_selection import GridSearchCV

    model = MODELS[model_name]
    name = model.classifier if table.is_classification else model.regressor
    estimator = getattr(importlib.import_module(f"fastfit.{model.module}"), name)()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    grid = grid or model.grid
    for param in grid:
        if param not in estimator.get_params():
            known = ", ".join(estimator.get_params())
            raise ValueError(f"{name} has no hyperparameter {param!r}; it has {known}")
    if metric is not None and metric not in get_scorer_names():
        raise ValueError(f"no metric {metric!r}; there are {', '.join(get_scorer_names())}")
    if cv < 2 or cv > len(table.y):
        raise ValueError(f"--cv {cv}: there must be from 2 to {len(table.y)} folds")
    given = grid
    if model.is_scaled:
        estimator = make_pipeline(StandardScaler(), estimator)
        given = {f"{estimator.steps[-1][0]}__{param}": values for param, values in grid.items()}
    return GridSearchCV(estimator, given, cv=cv, scoring=metric), grid
