"""scikit-learn's supervised estimators, with the same names and results, fitted many times faster.

Estimators live in modules named like scikit-learn's (``fastfit.tree``) and can be imported from here as well.
Nothing is imported before it is asked for, so ``import fastfit`` costs next to nothing.
"""

import importlib

__version__ = "0.1.0"

# Modules that scikit-learn does not have, or has with other names in them.
_OWN_MODULES = ("callbacks", "inspection")

_HOME_OF_NAME = {
    "DecisionTreeClassifier": "fastfit.tree",
    "DecisionTreeRegressor": "fastfit.tree",
    "ExtraTreeClassifier": "fastfit.tree",
    "ExtraTreeRegressor": "fastfit.tree",
    "ExtraTreesClassifier": "fastfit.ensemble",
    "ExtraTreesRegressor": "fastfit.ensemble",
    "GradientBoostingClassifier": "fastfit.ensemble",
    "GradientBoostingRegressor": "fastfit.ensemble",
    "GridSearchCV": "fastfit.model_selection",
    "HalvingGridSearchCV": "fastfit.model_selection",
    "HalvingRandomSearchCV": "fastfit.model_selection",
    "HistGradientBoostingClassifier": "fastfit.ensemble",
    "HistGradientBoostingRegressor": "fastfit.ensemble",
    "LinearRegression": "fastfit.linear_model",
    "MLPClassifier": "fastfit.neural_network",
    "MLPRegressor": "fastfit.neural_network",
    "RandomForestClassifier": "fastfit.ensemble",
    "RandomForestRegressor": "fastfit.ensemble",
    "RandomizedSearchCV": "fastfit.model_selection",
    "SGDClassifier": "fastfit.linear_model",
    "SGDRegressor": "fastfit.linear_model",
    "config_context": "fastfit.runtime.config",
    "cross_validate_many": "fastfit.model_selection",
    "fit_many": "fastfit.model_selection",
    "get_config": "fastfit.runtime.config",
    "set_config": "fastfit.runtime.config",
    "validation_curve": "fastfit.model_selection",
}
_MODULES = ("ensemble", "linear_model", "model_selection", "neural_network", "tree")

__all__ = [
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "LinearRegression",
    "MLPClassifier",
    "MLPRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "RandomizedSearchCV",
    "SGDClassifier",
    "SGDRegressor",
    "callbacks",
    "config_context",
    "cross_validate_many",
    "ensemble",
    "fit_many",
    "get_config",
    "inspection",
    "linear_model",
    "model_selection",
    "neural_network",
    "set_config",
    "tree",
    "validation_curve",
]


def __getattr__(name):
    if name in _HOME_OF_NAME:
        value = getattr(importlib.import_module(_HOME_OF_NAME[name]), name)
    elif name in _MODULES or name in _OWN_MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
