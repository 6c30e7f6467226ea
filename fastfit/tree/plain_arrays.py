"""Data for trees that need none of scikit-learn's checks, recognised in a few microseconds instead of a hundred."""

import math

import numpy as np

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def take_plain_features(X, allow_nan):
    """Return (X as float32, mask of the columns with NaN or None) if X is beyond doubt valid, and None otherwise.

    Parameters
    ----------
    X : object
    allow_nan : callable
        Tells whether NaN is allowed; only asked if there seems to be one.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features) of float32
    missing_mask : ndarray of shape (n_features,) of bool, or None
        None without NaN.

    Notes
    -----
    None stands for anything but a non-empty 2-D array of floats, and for values that are infinite or too large for
    float32: scikit-learn has the words for those. A sum shows NaN and infinity in one pass. If finite values
    overflow in it, a column may be called missing that is not, which costs time but changes no tree.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.plain_arrays import take_plain_features
    >>> take_plain_features(np.array([[1.0, np.nan]]), lambda: True)
    (array([[ 1., nan]], dtype=float32), array([False,  True]))
    >>> take_plain_features(np.array([[1.0, 1e39]]), lambda: True) is None
    True
    """
    if type(X) is not np.ndarray or X.dtype not in FLOAT_DTYPES or X.ndim != 2 or 0 in X.shape:
        return None
    with np.errstate(all="ignore"):
        X = X.astype(np.float32, copy=False)
        total = X.sum()
        if math.isfinite(total):
            return X, None
        if np.isinf(X).any() or not (math.isinf(total) or allow_nan()):
            return None
        # NaN, or a sum of finite values that overflowed.
        missing_mask = np.isnan(X.sum(axis=0))
        return X, missing_mask if missing_mask.any() else None


def is_plain_weight(sample_weight, n_samples):
    """Return whether these are weights that need no conversion and no error message.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.plain_arrays import is_plain_weight
    >>> is_plain_weight(np.ones(3), 3), is_plain_weight(np.zeros(3), 3)
    (True, False)
    """
    if type(sample_weight) is not np.ndarray or sample_weight.dtype != np.float64:
        return False
    if sample_weight.shape != (n_samples,) or not sample_weight.flags.c_contiguous:
        return False
    with np.errstate(over="ignore"):
        return bool(0.0 < sample_weight.sum() < np.inf)


def is_plain_target(y):
    """Return whether y needs no conversion and holds neither NaN nor infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.plain_arrays import is_plain_target
    >>> is_plain_target(np.array([1, 2])), is_plain_target(np.array([1.0, np.nan])), is_plain_target([1.0])
    (True, False, False)
    """
    if type(y) is not np.ndarray or y.ndim not in (1, 2) or 0 in y.shape:
        return False
    if y.dtype.kind in "biu":
        return True
    if y.dtype not in FLOAT_DTYPES:
        return False
    with np.errstate(all="ignore"):
        return math.isfinite(y.sum())
