"""Forests of trees: scikit-learn's names and results, grown many times faster."""

from fastfit.ensemble.extra_trees_classifier import ExtraTreesClassifier
from fastfit.ensemble.extra_trees_regressor import ExtraTreesRegressor
from fastfit.ensemble.random_forest_classifier import RandomForestClassifier
from fastfit.ensemble.random_forest_regressor import RandomForestRegressor

__all__ = ["ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor"]
