"""Linear models: scikit-learn's names and results, fitted by gradient descent."""

from fastfit.linear_model.linear_regression import LinearRegression
from fastfit.linear_model.sgd_classifier import SGDClassifier
from fastfit.linear_model.sgd_regressor import SGDRegressor

__all__ = ["LinearRegression", "SGDClassifier", "SGDRegressor"]
