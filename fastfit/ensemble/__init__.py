"""Forests of trees, and boosting: scikit-learn's names and results, many times faster."""

from fastfit.ensemble.extra_trees_classifier import ExtraTreesClassifier
from fastfit.ensemble.extra_trees_regressor import ExtraTreesRegressor
from fastfit.ensemble.gradient_boosting_classifier import GradientBoostingClassifier
from fastfit.ensemble.gradient_boosting_regressor import GradientBoostingRegressor
from fastfit.ensemble.hist_gradient_boosting_classifier import HistGradientBoostingClassifier
from fastfit.ensemble.hist_gradient_boosting_regressor import HistGradientBoostingRegressor
from fastfit.ensemble.random_forest_classifier import RandomForestClassifier
from fastfit.ensemble.random_forest_regressor import RandomForestRegressor

__all__ = [
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
]
