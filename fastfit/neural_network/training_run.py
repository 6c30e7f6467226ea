"""From validated data to a trained network: weights to start from, validation data, and the solver's run."""

import math
from typing import NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split

from fastfit.neural_network.epoch_loop import EpochLoop
from fastfit.neural_network.initial_weights import draw_initial_weights
from fastfit.neural_network.input_errors import raise_for_input
from fastfit.neural_network.quasi_newton import minimise
from fastfit.neural_network.validation_scores import R2, Accuracy
from fastfit.training.network import Network, NetworkSpec


class Samples(NamedTuple):
    """What a network is trained on.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
    target : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Numbers; for several classes their indices, for two classes and for many labels 0 or 1.
    sample_weight : ndarray of shape (n_samples,) or None
    """

    X: np.ndarray
    target: np.ndarray
    sample_weight: np.ndarray | None


def train(estimator, samples, n_outputs, *, held_out=None, incremental=False, callbacks=None):
    """Train a network and set what is learned.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Its hyperparameters are valid, and ``_random_state`` is set.
    samples : Samples
    n_outputs : int
        Columns of the target: units of the last layer.
    held_out : Samples or None
        Validation data that ``fit`` was given.
    incremental : bool
        Whether this is one epoch of ``partial_fit``.
    callbacks : FitCallbacks or None
    """
    estimator.n_outputs_ = n_outputs
    spec = _initialise(estimator, samples.X, n_outputs, incremental)
    if estimator.solver == "lbfgs":
        minimise(estimator, samples, spec, callbacks)
        return
    _begin_curves(estimator, has_scores=held_out is not None or estimator.early_stopping)
    rows = None
    if estimator.early_stopping and held_out is None:
        rows, held_out = _hold_out(estimator, samples)
    network = Network(spec, estimator.coefs_, estimator.intercepts_, n_jobs=estimator.n_jobs)
    score = None if held_out is None else _scorer(estimator, network, held_out)
    EpochLoop(
        estimator, network, spec, samples, rows, score=score, callbacks=callbacks, incremental=incremental
    ).run()


def _initialise(estimator, X, n_outputs, incremental):
    """Make or keep the weights, and return the network's specification."""
    fitted = estimator.__dict__
    if "coefs_" not in fitted or not (estimator.warm_start or incremental):
        layer_units = (X.shape[1], *hidden_layer_sizes(estimator), n_outputs)
        for name in ("loss_curve_", "validation_scores_", "best_validation_score_", "best_loss_", "loss_"):
            fitted.pop(name, None)
        estimator.t_ = estimator._no_improvement_count = 0
        estimator.n_layers_ = len(layer_units)
        estimator.out_activation_ = _out_activation(estimator)
        estimator.coefs_, estimator.intercepts_ = draw_initial_weights(
            estimator._random_state, layer_units, estimator.activation, X.dtype
        )
    else:
        # A former fit need not have been one by epochs.
        fitted.setdefault("t_", 0)
        fitted.setdefault("_no_improvement_count", 0)
        coefs = estimator.coefs_
        layer_units = (coefs[0].shape[0], *(coef.shape[1] for coef in coefs))
        if layer_units[-1] != n_outputs:
            raise ValueError(
                f"y has {n_outputs} outputs, but the network that training is to go on with has {layer_units[-1]}."
            )
    return NetworkSpec(
        layer_units,
        estimator.coefs_[0].dtype,
        estimator.activation,
        estimator.out_activation_,
        estimator.loss,
    )


def hidden_layer_sizes(estimator):
    """Return the sizes of the hidden layers as a list.

    Raises
    ------
    ValueError
        If one is not positive; scikit-learn's message.
    """
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if np.any(np.array(sizes) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def _out_activation(estimator):
    if not is_classifier(estimator):
        return "exp" if estimator.loss == "poisson" else "identity"
    return "softmax" if estimator._label_binarizer.y_type_ == "multiclass" else "logistic"


def _begin_curves(estimator, has_scores):
    """Set the attributes that an epoch adds to or compares with, unless a former fit has left them."""
    fitted = estimator.__dict__
    # Copies, so that a run that fails leaves the curves of the former fit as they are.
    estimator.loss_curve_ = [*fitted.get("loss_curve_", ())]
    if has_scores:
        if fitted.get("validation_scores_") is None:
            fitted.update(validation_scores_=[], best_validation_score_=-math.inf)
        estimator.validation_scores_ = [*estimator.validation_scores_]
    else:
        fitted.setdefault("validation_scores_", None)
        fitted.setdefault("best_validation_score_", None)
    if estimator.early_stopping:
        estimator.best_loss_ = None
    elif fitted.get("best_loss_") is None:
        estimator.best_loss_ = math.inf


def _hold_out(estimator, samples):
    """Draw validation rows as scikit-learn does; return the rows to train on, and the validation data."""
    X, target, sample_weight = samples
    stratify = None
    if is_classifier(estimator) and target.ndim == 1 and estimator.n_outputs_ == 1:
        # scikit-learn's are rows of booleans, whose names show in its error message.
        stratify = np.where(target, "True", "False")
    rows, held_out = train_test_split(
        np.arange(len(X)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=stratify,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    weight = None if sample_weight is None else sample_weight[held_out]
    chosen = Samples(X[held_out], target[held_out], weight)
    if not math.isfinite(chosen.X.sum()):
        raise_for_input(estimator, chosen.X, None)
    return rows, chosen


def _scorer(estimator, network, held_out):
    if is_classifier(estimator):
        metric = Accuracy(held_out.target, held_out.sample_weight)
    else:
        target = held_out.target
        metric = R2(target.reshape(len(target), -1), held_out.sample_weight)
    return lambda: metric(network.forward(held_out.X))
