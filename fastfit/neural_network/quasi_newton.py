"""L-BFGS: SciPy's minimiser over one kernel for loss and gradient."""

import math
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result

from fastfit.neural_network.input_errors import NOT_FINITE, raise_for_input
from fastfit.training.network import Network, make_training_data


def minimise(estimator, samples, spec, callbacks):
    """Minimise the loss of all samples over all weights, and set what is learned.

    As in scikit-learn the loss is computed with the dtype of the weights to start from, which is that of X, and SciPy
    makes float64 of the weights that it finds.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With ``coefs_`` and ``intercepts_`` to start from.
    samples : Samples
    spec : fastfit.training.network.NetworkSpec
    callbacks : FitCallbacks or None

    Raises
    ------
    ValueError
        If the weights overflow, or X or y hold NaN or infinity.
    """
    weights = [*estimator.coefs_, *estimator.intercepts_]
    n_layers = len(estimator.coefs_)
    network = Network(spec, weights[:n_layers], weights[n_layers:], n_jobs=estimator.n_jobs)
    data = make_training_data(spec, *samples)
    alpha = float(estimator.alpha)
    _note_layout(estimator, weights, n_layers)

    def loss_and_gradient(packed):
        loss, gradient = network.loss_and_gradient(packed, data, alpha)
        if not math.isfinite(loss):
            raise_for_input(estimator, samples.X, samples.sample_weight)
        return loss, gradient

    def learned(packed):
        arrays = _unpacked(packed, weights)
        return {"coefs_": arrays[:n_layers], "intercepts_": arrays[n_layers:]}

    hooks = None if callbacks is None else _IterationHooks(callbacks, learned)
    result = minimize(
        loss_and_gradient,
        np.concatenate([array.ravel() for array in weights]),
        method="L-BFGS-B",
        jac=True,
        callback=hooks,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
            **_get_additional_lbfgs_options_dict("iprint", 1 if estimator.verbose else -1),
        },
    )
    if hooks is not None:
        hooks.close()
    if hooks is not None and hooks.was_stopped:
        estimator.n_iter_ = int(result.nit)
    else:
        estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = result.fun
    estimator.__dict__.update(learned(result.x))
    if not np.isfinite(result.x).all():
        raise_for_input(estimator, samples.X, samples.sample_weight)
        raise ValueError(NOT_FINITE)


def _note_layout(estimator, weights, n_layers):
    """Keep where each layer stands in the packed weights: what scikit-learn's own loss function works by."""
    starts = np.cumsum([0, *(array.size for array in weights)]).tolist()
    bounds = list(pairwise(starts))
    shapes = [coef.shape for coef in weights[:n_layers]]
    estimator._coef_indptr = [(*bound, shape) for bound, shape in zip(bounds, shapes, strict=False)]
    estimator._intercept_indptr = bounds[n_layers:]


def _unpacked(packed, weights):
    """Cut packed weights into arrays of the shapes of `weights`."""
    ends = np.cumsum([array.size for array in weights])
    parts = np.split(packed, ends[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, weights, strict=True)]


class _IterationHooks:
    """Forward SciPy's callback after each iteration to the hooks that end one task and begin the next."""

    def __init__(self, callbacks, learned):
        self.callbacks = callbacks
        self.learned = learned
        self.was_stopped = False
        callbacks.begin_epoch("lbfgs-iteration")

    def __call__(self, xk):
        packed = xk.copy()
        if self.callbacks.end_epoch(lambda: self.learned(packed)):
            self.was_stopped = True
        self.callbacks.begin_epoch("lbfgs-iteration")
        if self.was_stopped:
            raise StopIteration

    def close(self):
        """End the task that was begun for an iteration that never came."""
        self.callbacks.end_epoch(None)
