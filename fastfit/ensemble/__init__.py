"""Ensembles of trees: scikit-learn's names and results, grown many times faster."""

from fastfit.ensemble.extra_trees_classifier import ExtraTreesClassifier
from fastfit.ensemble.extra_trees_regressor import ExtraTreesRegressor
from fastfit.ensemble.gradient_boosting_classifier import GradientBoostingClassifier
from fastfit.ensemble.gradient_boosting_regressor import GradientBoostingRegressor
from fastfit.ensemble.random_forest_classifier import RandomForestClassifier
from fastfit.ensemble.random_forest_regressor import RandomForestRegressor

__all__ = [
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
]
