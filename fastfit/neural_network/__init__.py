"""Neural networks: scikit-learn's names and training runs, by kernels that train a whole epoch at a time."""

from fastfit.neural_network.mlp_classifier import MLPClassifier
from fastfit.neural_network.mlp_regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
