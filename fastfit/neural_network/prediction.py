"""Outputs of a fitted network, at the price of their arithmetic."""

import math

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import safe_sparse_dot

from fastfit.neural_network.plain_arrays import is_plain_matrix

# Multiplications up to which NumPy is the quicker: a kernel has to be reached first, and the weights packed.
FEW_MULTIPLICATIONS = 300_000


def _softmax(z):
    z -= z.max(axis=1)[:, np.newaxis]
    np.exp(z, out=z)
    z /= z.sum(axis=1)[:, np.newaxis]


def _relu(z):
    np.maximum(z, 0, out=z)


def _leaky_relu(z):
    np.maximum(z, z * z.dtype.type(0.01), out=z)


def _elu(z):
    np.copyto(z, np.expm1(np.minimum(z, 0)), where=z < 0)


def _gelu(z):
    inner = 0.044715 * z * z * z
    inner += z
    inner *= math.sqrt(2.0 / math.pi)
    np.tanh(inner, out=inner)
    inner += 1.0
    z *= 0.5
    z *= inner


def _silu(z):
    z *= expit(z)


def _largest(z):
    _softmax(z)
    z[:, 0] = z.argmax(axis=1)


# Each works in place on an array of shape (n_samples, n_units).
ACTIVATIONS = {
    "identity": lambda z: None,
    "logistic": lambda z: expit(z, out=z),
    "tanh": lambda z: np.tanh(z, out=z),
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "exp": lambda z: np.exp(z, out=z),
    "softmax": _softmax,
    "largest": _largest,  # in the first column
}


def is_plain_input(estimator, X):
    """Return whether X is an array of floats with the right number of columns, for a fitted estimator."""
    fitted = estimator.__dict__
    if not is_plain_matrix(X) or "coefs_" not in fitted or "feature_names_in_" in fitted:
        return False
    return X.shape[1] == fitted.get("n_features_in_")


def is_beyond_doubt(estimator, X):
    """Return whether X is an array of finite floats with the right number of columns, for a fitted estimator.

    Parameters
    ----------
    estimator : estimator
    X : object

    Returns
    -------
    beyond_doubt : bool
        False also where the features have names, and where the sum of finite values overflows.
    """
    if not is_plain_input(estimator, X):
        return False
    with np.errstate(all="ignore"):
        return math.isfinite(X.sum())


def is_much_work(X, coefs):
    """Return whether a kernel is to compute the outputs for these rows."""
    return X.shape[0] * sum(coef.size for coef in coefs) > FEW_MULTIPLICATIONS


def network_outputs(X, coefs, intercepts, activation, out_activation, n_jobs=None):
    """Return what the last layer puts out.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Finite numbers.
    coefs, intercepts : list of ndarray
        A layer each.
    activation, out_activation : str
        Keys of `ACTIVATIONS`, for the hidden layers and for the last; "largest" for which output of softmax is the
        largest, in the first column of the outputs.
    n_jobs : int or None, default=None
        Threads for many rows.

    Returns
    -------
    outputs : ndarray of shape (n_samples, n_outputs)
        With the dtype of a product of X and the coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.neural_network.prediction import network_outputs
    >>> network_outputs(np.array([[1.0, 2.0]]), [np.eye(2)], [np.zeros(2)], "relu", "softmax").round(3)
    array([[0.269, 0.731]])
    """
    if type(X) is np.ndarray and is_much_work(X, coefs):
        return outputs_of_many(X, coefs, intercepts, activation, out_activation, n_jobs)[0]
    values = X
    last = len(coefs) - 1
    for layer, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        values = values @ coef if type(values) is np.ndarray else safe_sparse_dot(values, coef)
        values += intercept
        ACTIVATIONS[out_activation if layer == last else activation](values)
    return values


def outputs_of_many(X, coefs, intercepts, activation, out_activation, n_jobs):
    """Return what `network_outputs` does, from a kernel, and whether the sum of X is finite."""
    # Here, since whoever only predicts a few rows never needs Numba.
    from fastfit.training.network import NetworkSpec
    from fastfit.training.network_prediction import forward_and_check

    dtype = np.result_type(X, coefs[0])
    layer_units = (X.shape[1], *(coef.shape[1] for coef in coefs))
    spec = NetworkSpec(layer_units, dtype, activation, out_activation, "squared_error")
    coefs, intercepts = (
        [np.asarray(array, dtype=dtype) for array in arrays] for arrays in (coefs, intercepts)
    )
    return forward_and_check(spec, coefs, intercepts, X, n_jobs=n_jobs)
