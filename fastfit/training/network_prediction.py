"""Predictions of multi-layer perceptrons from scikit-learn's lists of weights, without copying these."""

import numpy as np

from fastfit.kernels.activation import LEAKS
from fastfit.kernels.network_forward import (
    EXPONENTIAL,
    IDENTITY,
    LOGISTIC,
    SOFTMAX,
    ForwardPlan,
    make_forward,
)
from fastfit.kernels.network_plan import BLOCK_ROWS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.cpu import lanes
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import run_team, threads_for

OUTPUT_KINDS = {"identity": IDENTITY, "exp": EXPONENTIAL, "logistic": LOGISTIC, "softmax": SOFTMAX}
FLOPS_PER_NANOSECOND = {4: 60.0, 8: 30.0}  # of one thread, roughly
LONG_WORK = 200_000_000  # nanoseconds: from there on Ctrl-C must be heard


def forward(spec, coefs, intercepts, X, n_jobs=None):
    """Return the activations of the last layer.

    Parameters
    ----------
    spec : fastfit.training.network.NetworkSpec
    coefs, intercepts : list of ndarray
        (fan_in, fan_out) and (fan_out,) for each layer; the coefs are read where they lie if they are of the network's
        dtype and their columns are neighbours.
    X : ndarray of shape (n_samples, n_features)
    n_jobs : int or None, default=None

    Returns
    -------
    out : ndarray of shape (n_samples, n_outputs)

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.network import NetworkSpec
    >>> from fastfit.training.network_prediction import forward
    >>> spec = NetworkSpec((2, 1, 2), np.dtype(np.float64), "relu", "identity", "squared_error")
    >>> forward(spec, [np.ones((2, 1)), np.ones((1, 2))], [np.zeros(1), np.ones(2)], np.array([[1.0, 2.0]]))
    array([[4., 4.]])
    """
    dtype = np.dtype(spec.dtype)
    X = np.ascontiguousarray(X, dtype=dtype)
    n_rows = X.shape[0]
    per_vector, itemsize = lanes(dtype), dtype.itemsize
    table, held, shifts_at, flops, widest = [], [], 0, 0, 0
    for coef, intercept in zip(coefs, intercepts, strict=True):
        if coef.dtype != dtype or (coef.strides[1] != itemsize and coef.shape[1] > 1) or coef.strides[0] <= 0:
            coef = np.ascontiguousarray(coef, dtype=dtype)
        held.append(coef)
        fan_in, fan_out = coef.shape
        stride = coef.strides[0] // itemsize
        table += [fan_in, fan_out, coef.__array_interface__["data"][0], stride, shifts_at]
        width = -(-fan_out // per_vector) * per_vector
        shifts_at += width
        widest = max(widest, width)
        flops += 2 * fan_in * fan_out
    shifts = np.zeros(shifts_at, dtype)
    for number, intercept in enumerate(intercepts):
        at = table[5 * number + 4]
        shifts[at : at + len(intercept)] = intercept
    work = n_rows * flops / FLOPS_PER_NANOSECOND[itemsize]
    n_threads = threads_for(work, n_jobs)
    plan = ForwardPlan(
        layers=as_readonly(np.array(table, dtype=np.int64)),
        intercepts=as_readonly(shifts),
        scratch=aligned_zeros(n_threads * 2 * BLOCK_ROWS * widest, dtype),
        n_layers=len(held),
        stride=widest,
        output=OUTPUT_KINDS[spec.output],
        leak=LEAKS.get(spec.activation, 0.0),
    )
    out = np.empty((n_rows, held[-1].shape[1]), dtype)
    kernel = make_forward(spec.activation)
    run_team(kernel, n_threads, plan, as_readonly(X.reshape(-1)), out, may_be_long=work > LONG_WORK)
    return out
