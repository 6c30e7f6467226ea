"""scikit-learn's checks of an estimator's conventions, on every estimator in fastfit's public modules."""

import importlib
import inspect
import pkgutil

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils._test_common.instance_generator import _get_expected_failed_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastfit
from tests.test_layering import LAYERS, LEVEL_OF

# Beside the defaults, settings that take another way through the code. Mini-batches of LinearRegression get
# as many epochs as they need to converge, since some checks compare two fits to 1e-7.
SETTINGS = {
    "DecisionTreeClassifier": [
        {"splitter": "hist"},
        {"max_leaf_nodes": 7},
        {"categorical_features": "from_dtype"},
    ],
    "DecisionTreeRegressor": [
        {"splitter": "hist"},
        {"criterion": "absolute_error"},
        {"categorical_features": [0]},
    ],
    "RandomForestClassifier": [
        {"splitter": "hist", "n_estimators": 5},
        {"categorical_features": "from_dtype", "n_estimators": 5},
    ],
    "RandomForestRegressor": [
        {"splitter": "hist", "n_estimators": 5},
        {"categorical_features": [0], "n_estimators": 5},
    ],
    "GradientBoostingClassifier": [{"n_estimators": 5, "subsample": 0.9, "max_features": 1}],
    "GradientBoostingRegressor": [{"n_estimators": 20, "loss": "huber", "max_leaf_nodes": 4}],
    "HistGradientBoostingClassifier": [{"max_iter": 5, "subsample": 0.9, "compact_pickle": True}],
    "HistGradientBoostingRegressor": [{"max_iter": 20, "loss": "absolute_error"}],
    "LinearRegression": [
        {"batch_size": 8, "max_iter": 500},
        {"learning_rate": 0.01, "max_iter": 50},
        {"positive": True},
    ],
    "MLPClassifier": [
        {"solver": "lbfgs", "activation": "gelu", "max_iter": 20},
        {"solver": "adamw", "dtype": "float64", "max_grad_norm": 1.0, "max_iter": 20},
    ],
    "MLPRegressor": [
        {"solver": "lbfgs", "activation": "silu", "max_iter": 20},
        {"solver": "rmsprop", "learning_rate": "cosine", "max_iter": 20},
    ],
    "SGDClassifier": [
        {"batch_size": 8},
        {"batch_size": 8, "optimizer": "adam"},
        {"average": True, "penalty": "l1"},
    ],
    "SGDRegressor": [
        {"batch_size": 8},
        {"batch_size": 8, "optimizer": "adam"},
        {"average": True, "penalty": "l1"},
    ],
}

# Searches need an estimator and settings of it; these are fitted as one, in a classifier and in a regressor.
_SEARCHES = (
    (fastfit.GradientBoostingClassifier(random_state=0), {"n_estimators": [5, 20]}),
    (fastfit.GradientBoostingRegressor(random_state=0), {"n_estimators": [20, 60]}),
)
REQUIRED = {
    name: [
        {"estimator": estimator, names_of_settings: settings, "cv": 2, "error_score": "raise"} | further
        for estimator, settings in _SEARCHES
    ]
    for name, names_of_settings, further in (
        ("GridSearchCV", "param_grid", {}),
        ("RandomizedSearchCV", "param_distributions", {"n_iter": 2, "random_state": 0}),
        ("HalvingGridSearchCV", "param_grid", {"min_resources": "smallest", "random_state": 0}),
        ("HalvingRandomSearchCV", "param_distributions", {"min_resources": "smallest", "random_state": 0}),
    )
}


def public_modules():
    """Import the modules of fastfit that may hold estimators, as far as they exist."""
    may_hold_estimators = LAYERS[LEVEL_OF["model_selection"]] | LAYERS[LEVEL_OF["linear_model"]]
    names = [module.name for module in pkgutil.iter_modules(fastfit.__path__)]
    return [importlib.import_module(f"fastfit.{name}") for name in names if name in may_hold_estimators]


def estimator_classes():
    """Return fastfit's estimators by name."""
    found = {}
    for module in public_modules():
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, BaseEstimator) and not name.startswith("_"):
                found[name] = value
    return found


def instances():
    """Return each estimator with its defaults, or what it requires, and with the settings above."""
    return [
        estimator_class(**settings)
        for name, estimator_class in estimator_classes().items()
        for settings in [*REQUIRED.get(name, [{}]), *SETTINGS.get(name, [])]
    ]


def counterpart_of(estimator_class):
    """Return scikit-learn's class of the same name, which the estimator extends."""
    name = estimator_class.__name__
    return next(
        base
        for base in estimator_class.__mro__
        if base.__name__ == name and base.__module__.startswith("sklearn.")
    )


# What scikit-learn lists for its own trees on histograms, for the same reason.
FAILING_WITH_HISTOGRAMS = {
    "check_sample_weight_equivalence_on_dense_data": "bins are made of all rows, whatever their weights"
}


def known_to_fail(estimator):
    """Return the checks that scikit-learn's own class is known to fail, with scikit-learn's reasons."""
    name = type(estimator).__name__
    failing = _get_expected_failed_checks(counterpart_of(type(estimator))(**REQUIRED.get(name, [{}])[0]))
    has_histograms = getattr(estimator, "splitter", None) == "hist"
    return failing | FAILING_WITH_HISTOGRAMS if has_histograms else failing


@pytest.mark.filterwarnings("ignore:Got batch_size=8 larger than", "ignore:The total space of parameters")
@parametrize_with_checks(instances(), expected_failed_checks=known_to_fail)
def test_estimator_keeps_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator_class", estimator_classes().values())
def test_estimator_adds_to_scikit_learn_arguments_only_at_the_end(estimator_class):
    theirs = inspect.signature(counterpart_of(estimator_class).__init__).parameters.values()
    ours = inspect.signature(estimator_class.__init__).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours][: len(theirs)] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


def test_the_settings_are_for_estimators_that_exist():
    assert SETTINGS.keys() <= estimator_classes().keys()
