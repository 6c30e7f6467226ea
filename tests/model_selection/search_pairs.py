"""Searches of fastfit beside scikit-learn's, over the same estimator: what must be equal, and what was done for it."""

import warnings

import numpy as np
from sklearn import model_selection as sklearn_model_selection
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from fastfit import model_selection


def classification():
    """Return 150 samples of two classes, scaled."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:150], y[:150]


def noisy_classes():
    """Return 400 samples of three classes that cannot be told apart well, so that trees are deep."""
    return make_classification(400, 8, n_informative=4, n_classes=3, flip_y=0.3, random_state=0)


def regression():
    """Return 150 samples."""
    X, y = load_diabetes(return_X_y=True)
    return X[:150], y[:150]


def quietly(function, *args, **kwargs):
    """Call a function without warnings of trainings that were cut short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*args, **kwargs)


def search_twice(estimator, grid, X, y, *, search="GridSearchCV", fit_params=None, **options):
    """Return fastfit's search and scikit-learn's, fitted."""
    options = {"cv": 3, "return_train_score": True, **options}
    return [
        quietly(getattr(module, search)(estimator, grid, **options).fit, X, y, **(fit_params or {}))
        for module in (model_selection, sklearn_model_selection)
    ]


def assert_same_results(ours, theirs):
    """Check that all of ``cv_results_`` but the times is equal, in the same order."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        found = ours.cv_results_[name]
        if name.endswith("_time"):
            assert np.shape(found) == np.shape(expected)
        elif "_test_" in name or "_train_" in name:
            np.testing.assert_array_equal(found, expected, err_msg=name)
        else:
            assert list(found) == list(expected), name
    for name in ("best_index_", "best_params_", "best_score_"):
        assert getattr(ours, name) == getattr(theirs, name)
