"""Predictions of multi-layer perceptrons from scikit-learn's lists of weights, without copying these."""

import functools

import numpy as np

from fastfit.kernels.activation import LEAKS
from fastfit.kernels.gemm import Matrices, gemm_at
from fastfit.kernels.network_forward import (
    EXPONENTIAL,
    IDENTITY,
    LARGEST,
    LOGISTIC,
    N_FORWARD_FIELDS,
    SOFTMAX,
    ForwardPlan,
    make_forward,
)
from fastfit.kernels.network_plan import BLOCK_ROWS
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.cpu import lanes
from fastfit.runtime.far_call import address_of_kernel
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import CONTROL_SIZE, run_team, threads_for

OUTPUT_KINDS = {
    "identity": IDENTITY,
    "exp": EXPONENTIAL,
    "logistic": LOGISTIC,
    "softmax": SOFTMAX,
    "largest": LARGEST,  # which of softmax's outputs is the largest, in one column
}
FLOPS_PER_NANOSECOND = {4: 60.0, 8: 30.0}  # of one thread, roughly
SHORT_WORK = 20_000  # nanoseconds: up to there asking who else is at work would take longer
LONG_WORK = 200_000_000  # nanoseconds: from there on Ctrl-C must be heard
_NOBODY = np.zeros(CONTROL_SIZE, dtype=np.int64)  # the control array of a member alone, whom nobody stops


@functools.cache
def _multiply_for(dtype):
    """The address of `gemm_at` for a dtype."""
    at = Matrices(*[0] * len(Matrices._fields))
    return address_of_kernel(gemm_at, dtype.type(0), at, 0, 0, 0, 0)


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
    out : ndarray of shape (n_samples, n_outputs), or (n_samples, 1) if the spec's output is "largest"

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.network import NetworkSpec
    >>> from fastfit.training.network_prediction import forward
    >>> spec = NetworkSpec((2, 1, 2), np.dtype(np.float64), "relu", "identity", "squared_error")
    >>> forward(spec, [np.ones((2, 1)), np.ones((1, 2))], [np.zeros(1), np.ones(2)], np.array([[1.0, 2.0]]))
    array([[4., 4.]])
    """
    return forward_and_check(spec, coefs, intercepts, X, n_jobs)[0]


def forward_and_check(spec, coefs, intercepts, X, n_jobs=None):
    """Do what `forward` does, and look at X, which has to be read anyway.

    Returns
    -------
    out : ndarray
    is_finite : bool
        Whether the sum of X is finite, which it is only where all of X is.
    """
    dtype = np.dtype(spec.dtype)
    X = np.ascontiguousarray(X, dtype=dtype)
    n_rows, per_vector, itemsize = X.shape[0], lanes(dtype), dtype.itemsize
    table, held, shifts_at, flops, widest = [], [], 0, 0, 0
    for coef in coefs:
        if coef.dtype != dtype or (coef.strides[1] != itemsize and coef.shape[1] > 1) or coef.strides[0] <= 0:
            coef = np.ascontiguousarray(coef, dtype=dtype)
        held.append(coef)
        fan_in, fan_out = coef.shape
        table += (
            fan_in,
            fan_out,
            coef.__array_interface__["data"][0],
            coef.strides[0] // itemsize,
            shifts_at,
        )
        width = -(-fan_out // per_vector) * per_vector
        shifts_at += width
        widest = max(widest, width)
        flops += 2 * fan_in * fan_out
    shifts = np.zeros(shifts_at, dtype)
    for intercept, at in zip(intercepts, table[4::N_FORWARD_FIELDS], strict=True):
        shifts[at : at + len(intercept)] = intercept
    work = n_rows * flops / FLOPS_PER_NANOSECOND[itemsize]
    n_threads = threads_for(work, n_jobs)
    n_scratch = n_threads * 2 * min(n_rows, BLOCK_ROWS) * widest
    plan = ForwardPlan(
        layers=np.array(table),
        intercepts=shifts,
        scratch=aligned_zeros(n_scratch, dtype) if n_rows > 1 else np.empty(n_scratch, dtype),
        n_layers=len(held),
        stride=widest,
        output=OUTPUT_KINDS[spec.output],
        leak=LEAKS.get(spec.activation, 0.0),
        multiply=_multiply_for(dtype),
        sums=np.zeros(n_threads),
    )
    out = np.empty((n_rows, 1 if spec.output == "largest" else fan_out), dtype)
    if n_rows == 0:
        return out, True
    kernel = make_forward(spec.activation)
    X = as_readonly(X.reshape(-1))
    if work < SHORT_WORK:
        kernel(_NOBODY, 0, 1, plan, X, out)
    else:
        run_team(kernel, n_threads, plan, X, out, may_be_long=work > LONG_WORK)
    with np.errstate(all="ignore"):
        return out, bool(np.isfinite(plan.sums.sum()))
