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
    "HistGradientBoostingClassifier": "fastfit.ensemble",
    "HistGradientBoostingRegressor": "fastfit.ensemble",
    "LinearRegression": "fastfit.linear_model",
    "MLPClassifier": "fastfit.neural_network",
    "MLPRegressor": "fastfit.neural_network",
    "RandomForestClassifier": "fastfit.ensemble",
    "RandomForestRegressor": "fastfit.ensemble",
    "SGDClassifier": "fastfit.linear_model",
    "SGDRegressor": "fastfit.linear_model",
    "config_context": "fastfit.runtime.config",
    "get_config": "fastfit.runtime.config",
    "set_config": "fastfit.runtime.config",
}
_MODULES = ("ensemble", "linear_model", "neural_network", "tree")

__all__ = [
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeClassifier",
    "ExtraTreeRegressor",
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "LinearRegression",
    "MLPClassifier",
    "MLPRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "SGDClassifier",
    "SGDRegressor",
    "callbacks",
    "config_context",
    "ensemble",
    "get_config",
    "inspection",
    "linear_model",
    "neural_network",
    "set_config",
    "tree",
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
