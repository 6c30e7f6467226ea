"""What a batch-size profile has to know about the estimators that learn from batches."""

from itertools import pairwise

import numpy as np
from sklearn.base import clone, is_classifier

from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.neural_network import MLPClassifier, MLPRegressor

__all__ = ["BatchCosts", "check_has_batches", "costs_of", "default_batch_sizes", "with_batch_size"]

LINEAR = (LinearRegression, SGDRegressor, SGDClassifier)
NETWORKS = (MLPClassifier, MLPRegressor)
NETWORK_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
LINEAR_SIZES = (1, 4, 16, 64, 256, 1024)
NAMES = "SGDRegressor, SGDClassifier, LinearRegression, MLPRegressor and MLPClassifier of fastfit"
# Operations for each parameter in one update, and arrays of the parameters' size that it keeps.
UPDATE_FLOPS = {"sgd": 2, "momentum": 4, "adam": 10, "adamw": 12, "rmsprop": 7}
MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2, "rmsprop": 1}


def check_has_batches(estimator):
    """Raise unless an estimator learns from batches.

    Raises
    ------
    ValueError
        With what to do instead.
    """
    name = type(estimator).__name__
    if not isinstance(estimator, LINEAR + NETWORKS):
        raise ValueError(f"{name} has no batches; there is a batch_size in {NAMES}.")
    if isinstance(estimator, NETWORKS) and estimator.solver == "lbfgs":
        raise ValueError(
            f"{name}(solver='lbfgs') has no batches: each step takes all samples; use 'adam' or 'sgd'."
        )
    if getattr(estimator, "learning_rate", None) in ("pa1", "pa2"):
        raise ValueError(
            f"{name}(learning_rate={estimator.learning_rate!r}) has no batches: it computes the step of every sample."
        )
    if isinstance(estimator, LinearRegression) and estimator.solver == "lstsq":
        raise ValueError(f"{name}(solver='lstsq') has no batches; use solver='gd'.")


def default_batch_sizes(estimator, n_samples):
    """Return the batch sizes that a profile tries unless told otherwise."""
    sizes = NETWORK_SIZES if isinstance(estimator, NETWORKS) else LINEAR_SIZES
    return [size for size in sizes if size <= n_samples] or [n_samples]


def own_batch_size(estimator, n_samples):
    """Return the batch size that the estimator has as it is."""
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    return min(estimator.batch_size or n_samples, n_samples)


def with_batch_size(estimator, batch_size, n_epochs, random_state):
    """Return an unfitted copy that trains for so many epochs, with batches of that size.

    What ends the training early is switched off, but for schedules that lower the learning rate by it.
    """
    settings = {
        "batch_size": batch_size,
        "max_iter": n_epochs,
        "random_state": random_state,
        "warm_start": False,
    }
    if not isinstance(estimator, LinearRegression):
        settings |= {"verbose": 0, "early_stopping": False}
    if isinstance(estimator, NETWORKS):
        if estimator.learning_rate != "adaptive":
            settings["n_iter_no_change"] = n_epochs + 1
    elif isinstance(estimator, LinearRegression):
        if estimator.learning_rate != "auto":
            settings["n_iter_no_change"] = n_epochs + 1
    elif estimator.learning_rate != "adaptive":
        settings["tol"] = None
    copied = clone(estimator)
    if "_skl_callbacks" in copied.__dict__:
        copied.set_callbacks()
    return copied.set_params(**settings)


class BatchCosts:
    """Operations and bytes of a fitted estimator's training, counted from its shapes.

    Parameters
    ----------
    layer_units : list of int
        Features, neurons of hidden layers, outputs; of a linear model features and outputs.
    itemsize : int
        Bytes of a value.
    optimizer : str
        Key of `UPDATE_FLOPS`.
    has_hidden_buffers : bool
        Whether activations and errors of a batch are kept, as networks do.
    """

    def __init__(self, layer_units, itemsize, optimizer, has_hidden_buffers):
        self.layer_units = layer_units
        self.itemsize = itemsize
        self.optimizer = optimizer
        self.has_hidden_buffers = has_hidden_buffers
        weights = [a * b for a, b in pairwise(layer_units)]
        self.n_weights = sum(weights)
        self.n_first = weights[0]
        self.n_parameters = self.n_weights + sum(layer_units[1:])

    def flops_per_epoch(self, n_samples, batch_size):
        """Multiplications and additions of an epoch.

        For each sample: 2 for every weight to predict, 2 for its gradient, and 2 to hand the error back through every
        layer but the first; for each update what the optimizer does to every parameter. Activation functions and losses
        are not counted.
        """
        per_sample = 4.0 * self.n_weights + 2.0 * (self.n_weights - self.n_first)
        n_updates = -(-n_samples // batch_size)
        updates = 0.0
        if batch_size > 1 or self.has_hidden_buffers or self.optimizer != "sgd":
            updates = float(UPDATE_FLOPS[self.optimizer]) * self.n_parameters * n_updates
        return per_sample * n_samples + updates

    def working_set_bytes(self, batch_size):
        """Bytes that one update goes over: the batch, what the layers make of it, parameters, gradient, moments."""
        n_values = batch_size * self.layer_units[0]
        if self.has_hidden_buffers:
            n_values += 2 * batch_size * sum(self.layer_units[1:])
        n_copies = 2 + MOMENTS[self.optimizer] if batch_size > 1 or self.has_hidden_buffers else 1
        return self.itemsize * (n_values + n_copies * self.n_parameters)


def costs_of(estimator, X):
    """Return the `BatchCosts` of a fitted estimator."""
    if isinstance(estimator, NETWORKS):
        units = [estimator.coefs_[0].shape[0], *(coef.shape[1] for coef in estimator.coefs_)]
        optimizer = estimator.solver
        if optimizer == "sgd" and estimator.momentum > 0:
            optimizer = "momentum"
        return BatchCosts(units, estimator.coefs_[0].dtype.itemsize, optimizer, has_hidden_buffers=True)
    n_outputs = 1 if np.ndim(estimator.coef_) == 1 else len(estimator.coef_)
    is_adam = getattr(estimator, "optimizer", "sgd") == "adam"
    optimizer = "adam" if is_adam else "momentum" if estimator.momentum > 0 else "sgd"
    # Batches of LinearRegression are computed with in float64, whatever X is.
    itemsize = 8 if isinstance(estimator, LinearRegression) else X.dtype.itemsize
    return BatchCosts([X.shape[1], n_outputs], itemsize, optimizer, has_hidden_buffers=False)


def arithmetic_dtype(estimator, X):
    """Return the name of the dtype that the arithmetic of the training is done in."""
    if isinstance(estimator, LinearRegression):
        return "float64"
    chosen = getattr(estimator, "dtype", "auto")
    return str(X.dtype) if chosen == "auto" else chosen


def split_kind(estimator, y):
    """Return what to stratify a split by: the classes, or None."""
    if not is_classifier(estimator) or np.ndim(y) != 1:
        return None
    _, counts = np.unique(y, return_counts=True)
    return y if counts.min() >= 2 else None
