"""Data that need none of scikit-learn's checks, recognised in microseconds.

X is not looked through for NaN and infinity where a training run will show them: see ``input_errors.py``.
"""

import math

import numpy as np

FLOAT_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))


def is_plain_matrix(X):
    """Return whether X is a non-empty matrix of floats that needs no conversion, NaN and infinity aside."""
    return type(X) is np.ndarray and X.dtype in FLOAT_DTYPES and X.ndim == 2 and 0 not in X.shape


def fits_estimator(estimator, X, reset):
    """Note the number of features of a plain X, or return whether it is the one that the estimator knows.

    Parameters
    ----------
    estimator : estimator
    X : ndarray of shape (n_samples, n_features)
    reset : bool
        Whether X decides on the features, as in ``fit``, or has to have those of the former fit.

    Returns
    -------
    fits : bool
        False where scikit-learn has something to say.
    """
    fitted = estimator.__dict__
    if reset:
        fitted.pop("feature_names_in_", None)
        estimator.n_features_in_ = X.shape[1]
        return True
    return "feature_names_in_" not in fitted and fitted.get("n_features_in_") == X.shape[1]


def is_plain_target(y, n_samples):
    """Return whether y holds finite numbers for all samples: one column, or more than one."""
    if type(y) is not np.ndarray or y.dtype.kind not in "fiu" or y.dtype.itemsize > 8:
        return False
    if y.ndim == 2:
        if y.shape[1] < 2:
            return False
    elif y.ndim != 1:
        return False
    if len(y) != n_samples or y.dtype == np.float16:
        return False
    with np.errstate(all="ignore"):
        return math.isfinite(y.sum())


def is_plain_weight(sample_weight, n_samples):
    """Return whether these are weights that need no conversion and no error message."""
    if type(sample_weight) is not np.ndarray or sample_weight.dtype not in FLOAT_DTYPES:
        return False
    if sample_weight.shape != (n_samples,) or not sample_weight.flags.c_contiguous:
        return False
    with np.errstate(all="ignore"):
        total = sample_weight.sum()
    return math.isfinite(total) and total != 0.0
