"""Decision trees: scikit-learn's names and its trees, node for node, grown many times faster."""

from fastfit.tree.decision_tree_classifier import DecisionTreeClassifier
from fastfit.tree.decision_tree_regressor import DecisionTreeRegressor
from fastfit.tree.extra_tree_classifier import ExtraTreeClassifier
from fastfit.tree.extra_tree_regressor import ExtraTreeRegressor

__all__ = ["DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"]
