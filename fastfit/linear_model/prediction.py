"""Linear predictions without scikit-learn's general validation, for the arrays that need none."""

import math

import numpy as np


def predict_plain_array(estimator, X):
    """Return ``X @ coef_.T + intercept_`` where X is beyond doubt valid, and None where scikit-learn has to
    look at it.

    Validation takes 50 us whatever the size of X, and for large X another pass over it to find NaN and
    infinity. Both show in the predictions as well: a product with NaN is NaN, with infinity it is infinite or
    NaN, and neither vanishes from a sum. So finite predictions prove that X is finite.

    Parameters
    ----------
    estimator : estimator
        With ``coef_`` of shape (n_features,) or (n_targets, n_features) and ``intercept_``, if it is fitted.
    X : object

    Returns
    -------
    predictions : ndarray of shape (n_samples,) or (n_samples, n_targets), or None
        None for anything but a non-empty 2-D float array with the right number of columns, for an estimator
        which is not fitted or knows names of features, and where a prediction is not finite.
    """
    fitted = estimator.__dict__
    coef = fitted.get("coef_")
    if type(X) is not np.ndarray or type(coef) is not np.ndarray or "feature_names_in_" in fitted:
        return None
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] != coef.shape[-1] or X.dtype.char not in "fd":
        return None
    with np.errstate(all="ignore"):
        predictions = X @ (coef if coef.ndim == 1 else coef.T) + fitted["intercept_"]
        is_finite = math.isfinite(predictions.sum())
        if not coef.all():
            # A product with a zero coefficient is not sure to be computed.
            is_finite = is_finite and math.isfinite(X.sum())
    return predictions if is_finite else None
