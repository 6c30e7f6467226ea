"""Trees are scikit-learn's, node for node, over real data, kinds of columns and the grid of arguments.

Classification with unit or whole weights must agree in every bit, and so must sums of whole numbers. Where numbers are
summed that round, another order of the same sum may choose otherwise between two splits that are equally good: how
often is counted.
"""

import functools
import sys
from typing import NamedTuple

import numpy as np
import pytest
from sklearn import datasets, tree
from sklearn.tree._tree import Tree

import fastfit.tree
from benchmarks.tree_comparison import ROUNDING, TreeComparison, compare_trees
from fastfit import config_context

CLASSIFIERS = ("DecisionTreeClassifier", "ExtraTreeClassifier")
REGRESSORS = ("DecisionTreeRegressor", "ExtraTreeRegressor")
FIELDS = (
    "children_left",
    "children_right",
    "feature",
    "threshold",
    "missing_go_to_left",
    "n_node_samples",
    "weighted_n_node_samples",
    "impurity",
    "value",
)
# Most nodes that may differ on real data whose sums round.
ALLOWED_SHARE = 1e-3


# ------------------------------------------------------------------------------------------------- comparing


def fit_both(name, X, y, sample_weight=None, **params):
    """Fit the class of that name of both libraries; fastfit must not hand the fit to scikit-learn."""
    with config_context(fallback="error"):
        ours = getattr(fastfit.tree, name)(**params).fit(X, y, sample_weight)
    return ours, getattr(tree, name)(**params).fit(X, y, sample_weight)


def assert_same_tree(ours, theirs):
    """Compare all that a tree says about its nodes, bit for bit, and name the first node that differs."""
    assert type(ours.tree_) is Tree
    count = min(ours.tree_.node_count, theirs.tree_.node_count)
    for field in FIELDS:
        a, b = getattr(ours.tree_, field)[:count], getattr(theirs.tree_, field)[:count]
        different = np.flatnonzero(((a != b) & ~((a != a) & (b != b))).reshape(count, -1).any(axis=1))
        if len(different):
            first = different[0]
            pytest.fail(
                f"{field} of {len(different)} nodes differs, first {first}: {a[first]} for {b[first]}"
            )
    for fact in ("node_count", "max_depth", "n_leaves", "n_features", "n_outputs", "max_n_classes"):
        assert getattr(ours.tree_, fact) == getattr(theirs.tree_, fact), fact
    assert ours.tree_.n_classes.tolist() == theirs.tree_.n_classes.tolist()


def compare_rounded(ours, theirs):
    """Count the nodes that differ by more than rounding."""
    return compare_trees(ours.tree_, theirs.tree_, rtol=ROUNDING)


# ----------------------------------------------------------------------------------------------- data


BUNDLED = {
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "linnerud": datasets.load_linnerud,
}


@functools.cache
def bundled(name):
    """One of scikit-learn's data sets, its rows mixed."""
    X, y = BUNDLED[name](return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


def continuous(rng, n_rows, n_columns):
    return rng.normal(size=(n_rows, n_columns))


def whole(rng, n_rows, n_columns):
    return rng.integers(-2, 3, size=(n_rows, n_columns)).astype(np.float64)


def mostly_zero(rng, n_rows, n_columns):
    return np.where(rng.random((n_rows, n_columns)) < 0.9, 0.0, rng.normal(size=(n_rows, n_columns)))


def constant_columns(rng, n_rows, n_columns):
    X = continuous(rng, n_rows, n_columns)
    X[:, ::2] = 7.0
    X[: n_rows // 2, -1] = -1.0
    return X


def nearly_equal(rng, n_rows, n_columns):
    """Neighbours about as far apart as values must be to be told apart (1e-7)."""
    return rng.integers(0, 40, size=(n_rows, n_columns)) * 4e-8


def all_sizes(rng, n_rows, n_columns):
    """Huge and tiny numbers of both signs, and both zeros."""
    X = rng.normal(size=(n_rows, n_columns)) * 10.0 ** rng.integers(-30, 30, size=(n_rows, n_columns))
    X[::5] = 0.0
    X[::7] = -0.0
    return X


def missing_values(rng, n_rows, n_columns):
    X = np.round(continuous(rng, n_rows, n_columns), 1)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = continuous(rng, n_rows, 1)[:, 0]
    X[:, -1] = np.where(rng.random(n_rows) < 0.5, np.nan, 3.0)
    return X


COLUMNS = (continuous, whole, mostly_zero, constant_columns, nearly_equal, all_sizes, missing_values)


def classes_of(X, rng, n_classes):
    """Classes that depend on the columns, with noise."""
    score = np.nan_to_num(X).clip(-3, 3).sum(axis=1) + rng.normal(size=len(X))
    return np.searchsorted(np.quantile(score, np.linspace(0, 1, n_classes + 1)[1:-1]), score)


def numbers_of(X, rng):
    """Numbers that depend on the columns, with noise."""
    return np.nan_to_num(X).clip(-3, 3).sum(axis=1) + rng.normal(size=len(X))


def accepting(X, names):
    """The classes that take such columns: scikit-learn's extra-random trees take no missing values."""
    return names[:1] if np.isnan(X).any() else names


def weights_of(kind, rng, n_rows):
    """No weights, whole ones with zeros among them, or fractional ones."""
    if kind == "whole":
        return rng.integers(0, 4, n_rows).astype(np.float64)
    return rng.uniform(0.1, 2.0, n_rows) if kind == "fractional" else None


class Drawn(NamedTuple):
    """A generated data set and the arguments to fit it with, all drawn from one seed."""

    X: np.ndarray  # (n_samples, n_features) float64
    y: np.ndarray  # (n_samples,) or (n_samples, n_outputs)
    sample_weight: np.ndarray | None  # (n_samples,) float64
    params: dict


GRID = {
    "splitter": ["random"],
    "max_features": ["sqrt", "log2", 1, 0.6],
    "max_depth": [3, 8],
    "min_samples_split": [5, 0.1],
    "min_samples_leaf": [4, 0.05],
    "min_weight_fraction_leaf": [0.02],
    "max_leaf_nodes": [2, 12, 100],
    "min_impurity_decrease": [0.002],
    "ccp_alpha": [0.005],
}


def draw_params(rng):
    """Up to three arguments away from their defaults; all at once would leave stumps."""
    names = rng.choice(sorted(GRID), size=rng.integers(4), replace=False)
    return {str(name): GRID[name][rng.integers(len(GRID[name]))] for name in names}


def draw_columns(rng, seed):
    n_rows, n_columns = int(rng.choice([3, 40, 250, 600])), int(rng.choice([1, 4, 9]))
    X = COLUMNS[seed % len(COLUMNS)](rng, n_rows, n_columns)
    return np.asfortranarray(X) if rng.random() < 0.3 else X


def draw_monotonic(rng, params, X, n_outputs, n_classes=2):
    """Constraints for a third of the cases in which scikit-learn takes them."""
    if n_outputs == 1 and n_classes == 2 and rng.random() < 0.35:
        params["monotonic_cst"] = rng.integers(-1, 2, X.shape[1])


def draw_classification(seed):
    """A classification problem; whole weights only, so that the trees must have the same bits."""
    rng = np.random.default_rng(seed)
    X = draw_columns(rng, seed)
    n_classes, n_outputs = int(rng.choice([2, 2, 3, 10])), int(rng.choice([1, 1, 1, 2]))
    y = np.column_stack([classes_of(X, rng, n_classes) for _ in range(n_outputs)])
    params = draw_params(rng)
    params["criterion"] = ["gini", "gini", "entropy", "log_loss"][rng.integers(4)]
    params["random_state"] = int(rng.integers(1000))
    draw_monotonic(rng, params, X, n_outputs, len(np.unique(y[:, 0])))
    if n_outputs == 1 and rng.random() < 0.2:
        params["class_weight"] = {label: float(1 + label % 3) for label in range(n_classes)}
    weights = weights_of(rng.choice(["none", "none", "whole"]), rng, len(X))
    return Drawn(X, y[:, 0] if n_outputs == 1 else y, weights, params)


def draw_regression(seed, criterion):
    """A regression problem whose sums round."""
    rng = np.random.default_rng(seed)
    X = draw_columns(rng, seed)
    n_outputs = int(rng.choice([1, 1, 1, 3]))
    y = np.column_stack([numbers_of(X, rng) for _ in range(n_outputs)])
    if criterion == "poisson":
        y = rng.poisson(np.exp(y.clip(-3, 3))).astype(np.float64) + 1e-3
    params = draw_params(rng)
    params |= {"criterion": criterion, "random_state": int(rng.integers(1000))}
    if criterion != "absolute_error":
        draw_monotonic(rng, params, X, n_outputs)
    weights = weights_of(rng.choice(["none", "whole", "fractional"]), rng, len(X))
    return Drawn(X, y[:, 0] if n_outputs == 1 else y, weights, params)


# ----------------------------------------------------------------------------------------- exactly the same


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("data", ["iris", "digits", "wine", "breast cancer"])
def test_classification_of_bundled_data(data, name, criterion):
    X, y = bundled(data)
    for params in ({}, {"max_features": "sqrt"}, {"max_leaf_nodes": 20}, {"splitter": "random"}):
        assert_same_tree(*fit_both(name, X, y, criterion=criterion, random_state=3, **params))


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("data", ["diabetes", "linnerud"])
def test_regression_on_whole_numbers(data, name):
    X, y = bundled(data)
    for params in ({}, {"max_features": 0.5}, {"max_leaf_nodes": 20}, {"splitter": "best", "max_depth": 5}):
        assert_same_tree(*fit_both(name, X, y, random_state=3, **params))


@pytest.mark.parametrize(
    "params",
    [
        {"max_depth": 1},
        {"max_depth": 4, "splitter": "random"},
        {"min_samples_split": 30},
        {"min_samples_split": 0.2},
        {"min_samples_leaf": 7},
        {"min_samples_leaf": 0.05},
        {"min_weight_fraction_leaf": 0.1},
        {"max_features": 1},
        {"max_features": "log2"},
        {"max_features": 0.3, "splitter": "random"},
        {"max_leaf_nodes": 2},
        {"max_leaf_nodes": 1000},
        {"max_leaf_nodes": 15, "max_depth": 4},
        {"max_leaf_nodes": 15, "min_impurity_decrease": 0.01},
        {"min_impurity_decrease": 0.02},
        {"ccp_alpha": 0.01},
        {"class_weight": {0: 1.0, 1: 5.0}},
        {"monotonic_cst": [1, -1] * 15},
        {"monotonic_cst": [1, -1, 0] * 10, "max_leaf_nodes": 12},
        {"monotonic_cst": [1, -1, 0] * 10, "splitter": "random"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", ["none", "whole"])
def test_each_argument(params, weights):
    X, y = bundled("breast cancer")
    sample_weight = weights_of(weights, np.random.default_rng(1), len(X))
    for criterion in ("gini", "entropy"):
        settings = {"criterion": criterion, "random_state": 0, **params}
        assert_same_tree(*fit_both("DecisionTreeClassifier", X, y, sample_weight, **settings))


@pytest.mark.parametrize("seed", range(84))
def test_classification_of_generated_data(seed):
    X, y, sample_weight, params = draw_classification(seed)
    for classifier in accepting(X, CLASSIFIERS):
        assert_same_tree(*fit_both(classifier, X, y, sample_weight, **params))


@pytest.mark.parametrize("kind", [continuous, whole, missing_values])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_regression_on_generated_whole_numbers(kind, n_outputs):
    rng = np.random.default_rng(5)
    X = kind(rng, 500, 6)
    y = np.column_stack([np.round(3 * numbers_of(X, rng)) for _ in range(n_outputs)])
    y = y[:, 0] if n_outputs == 1 else y
    for params in ({}, {"max_features": 2}, {"max_leaf_nodes": 40}, {"splitter": "random"}):
        for weights in ("none", "whole"):
            sample_weight = weights_of(weights, np.random.default_rng(1), len(X))
            settings = {"random_state": 1, **params}
            assert_same_tree(*fit_both("DecisionTreeRegressor", X, y, sample_weight, **settings))


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS + REGRESSORS)
def test_a_handful_of_rows(name, n_rows):
    X, y = np.arange(2.0 * n_rows).reshape(n_rows, 2), np.arange(n_rows)
    assert_same_tree(*fit_both(name, X, y, random_state=0))
    assert_same_tree(*fit_both(name, np.ones((n_rows, 3)), y, random_state=0))


def test_a_random_state_is_drawn_from_as_often():
    X, y = bundled("wine")
    ours, theirs = np.random.RandomState(4), np.random.RandomState(4)
    for _ in range(2):
        one = fastfit.tree.DecisionTreeClassifier(max_features=2, random_state=ours).fit(X, y)
        other = tree.DecisionTreeClassifier(max_features=2, random_state=theirs).fit(X, y)
        assert_same_tree(one, other)
    assert ours.randint(1 << 30) == theirs.randint(1 << 30)


@pytest.mark.plain_python
# Kernels divide by zero as C does, and NumPy warns of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_small_tree_without_the_compiler():
    X, y = bundled("wine")
    assert_same_tree(*fit_both("DecisionTreeClassifier", X[:40], y[:40], random_state=0))
    assert_same_tree(*fit_both("DecisionTreeRegressor", X[:40], y[:40], random_state=0))


# -------------------------------------------------------------------------------------- the same but for ties


def count_over(fits, record_property, what):
    """Sum the comparisons of pairs of fits, and put the count into the report of the test."""
    comparisons = [compare_rounded(*pair) for pair in fits]
    total = TreeComparison(*map(sum, zip(*comparisons, strict=True)))
    text = f"{total.n_departures} splits and {total.n_nodes - total.n_same} nodes of {total.n_nodes} differ"
    record_property(what, text)
    sys.stdout.write(f"{what}: {text}\n")
    return total


def fractional_fits():
    """Classification of real data with fractional weights, and with weights of classes that balance them."""
    for data in ("iris", "digits", "wine", "breast cancer"):
        X, y = bundled(data)
        sample_weight = weights_of("fractional", np.random.default_rng(2), len(X))
        for criterion in ("gini", "entropy"):
            for params in ({}, {"max_features": "sqrt"}, {"max_leaf_nodes": 30}, {"splitter": "random"}):
                settings = {"criterion": criterion, "random_state": 1, **params}
                yield fit_both("DecisionTreeClassifier", X, y, sample_weight, **settings)
            settings = {"criterion": criterion, "random_state": 1, "class_weight": "balanced"}
            yield fit_both("DecisionTreeClassifier", X, y, **settings)


def regression_fits(criterion):
    """Regression on real data, with and without weights, and on one column of a table from the others."""
    tables = [bundled("diabetes"), bundled("linnerud")]
    X, _ = bundled("breast cancer")
    tables.append((X[:, 1:], X[:, 0]))
    X, _ = bundled("wine")
    tables.append((X[:, 2:], X[:, :2]))
    for X, y in tables:
        for weights in ("none", "whole", "fractional"):
            sample_weight = weights_of(weights, np.random.default_rng(2), len(X))
            for params in ({}, {"max_features": 0.5}, {"max_leaf_nodes": 30}, {"splitter": "random"}):
                settings = {"criterion": criterion, "random_state": 1, **params}
                yield fit_both("DecisionTreeRegressor", X, y, sample_weight, **settings)


def test_fractional_weights_on_real_data(record_property):
    total = count_over(fractional_fits(), record_property, "fractional weights")
    assert total.n_nodes > 4000
    assert total.share_different < ALLOWED_SHARE


@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "poisson"])
def test_regression_on_real_data(criterion, record_property):
    total = count_over(regression_fits(criterion), record_property, criterion)
    assert total.n_nodes > 4000
    assert total.share_different < ALLOWED_SHARE


@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "poisson"])
def test_regression_on_generated_data(criterion, record_property):
    def fits():
        for seed in range(28):
            X, y, sample_weight, params = draw_regression(seed, criterion)
            for regressor in accepting(X, REGRESSORS):
                yield fit_both(regressor, X, y, sample_weight, **params)

    total = count_over(fits(), record_property, criterion)
    assert total.n_nodes > 3000
    # Whoever parts from scikit-learn high up differs in all that is below: the choices are what is counted here.
    assert total.n_departures < ALLOWED_SHARE * total.n_nodes


# ------------------------------------------------------------------------------------ the same for any threads


THREADED = {
    "gini": ("gini", {}),
    "gini, missing": ("gini", {"columns": missing_values}),
    "gini, 3 features": ("gini", {"max_features": 3}),
    "gini, random": ("gini", {"splitter": "random"}),
    "gini, 60 leaves": ("gini", {"max_leaf_nodes": 60}),
    "gini, weights": ("gini", {"weights": "fractional"}),
    "gini, hist": ("gini", {"splitter": "hist"}),
    "entropy": ("entropy", {}),
    "squared_error": ("squared_error", {}),
    "squared_error, weights": ("squared_error", {"weights": "fractional"}),
    "squared_error, 60 leaves": ("squared_error", {"max_leaf_nodes": 60}),
    "squared_error, hist": ("squared_error", {"splitter": "hist"}),
    "absolute_error": ("absolute_error", {}),
    "poisson": ("poisson", {}),
}


@pytest.mark.parametrize("setting", THREADED)
def test_same_bits_for_any_number_of_threads(setting):
    from fastfit.training.tree_growth import GrowthOptions, Target, grow_tree, prepare_tree_data

    criterion, special = THREADED[setting]
    special = special.copy()
    rng = np.random.default_rng(8)
    X = special.pop("columns", continuous)(rng, 3000, 7).astype(np.float32)
    if criterion in ("gini", "entropy"):
        target = Target(classes_of(X, rng, 3)[:, None].astype(np.float64), np.array([3], dtype=np.intp))
    else:
        target = Target(np.exp(numbers_of(X, rng).clip(-3, 3) / 3)[:, None], None)
    sample_weight = weights_of(special.pop("weights", "none"), rng, len(X))
    missing = np.isnan(X).any(axis=0) if np.isnan(X).any() else None
    defaults = {
        "criterion": criterion,
        "splitter": "best",
        "max_depth": np.iinfo(np.int32).max,
        "min_samples_split": 2,
        "min_samples_leaf": 1,
        "min_weight_leaf": 0.0,
        "min_impurity_decrease": 0.0,
        "max_leaf_nodes": -1,
        "max_features": X.shape[1],
        "monotonic_cst": None,
    }
    options = GrowthOptions(**{**defaults, **special})
    grown = []
    for n_threads in (1, 2, 3, 8):
        data = prepare_tree_data(X, missing, n_threads=n_threads, splitter=options.splitter)
        grown.append(grow_tree(data, target, sample_weight, options, 5, n_threads=n_threads))
    assert len(grown[0].nodes) > 50
    for other in grown[1:]:
        assert np.array_equal(other.nodes, grown[0].nodes)
        assert other.values.tobytes() == grown[0].values.tobytes()
        assert other.max_depth == grown[0].max_depth


@pytest.mark.parametrize("name", CLASSIFIERS + REGRESSORS)
def test_same_bits_for_any_number_of_jobs(name):
    X, y = bundled("digits")
    expected = getattr(tree, name)(random_state=0).fit(X, y)
    for n_jobs in (None, 1, 2, 8, -1):
        assert_same_tree(getattr(fastfit.tree, name)(random_state=0, n_jobs=n_jobs).fit(X, y), expected)
    with config_context(n_threads=1):
        assert_same_tree(getattr(fastfit.tree, name)(random_state=0).fit(X, y), expected)
