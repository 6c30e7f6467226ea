"""Training by mini-batches: shuffles, epochs, what is printed, and when to stop, as scikit-learn does all of it."""

import math
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

from fastfit.fit_callbacks import scheduled_rate_of
from fastfit.neural_network.input_errors import NOT_FINITE, raise_for_input
from fastfit.neural_network.kept_epochs import keep_epoch
from fastfit.neural_network.learning_rates import scheduled_rate
from fastfit.neural_network.optimizers import next_optimizer, optimizer_settings, prepare_state
from fastfit.training.network import adam_step_size, make_training_data

PIECE = 1 << 16
MAX_SEED = np.iinfo(np.int32).max


class EpochLoop:
    """One run of epochs, which keeps an estimator's attributes up to date.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With ``coefs_``, ``intercepts_`` and the attributes that count epochs.
    network : fastfit.training.network.Network
        Holds the weights during the run.
    spec : fastfit.training.network.NetworkSpec
    samples : Samples
        What to train on.
    rows : ndarray of shape (n_training_samples,) of intp, or None
        Those of the samples to train on; None for all.
    score : callable or None
        ``score()`` is that of the network on validation data.
    callbacks : FitCallbacks or None
    incremental : bool
        Whether this is one epoch of ``partial_fit``.
    """

    def __init__(
        self, estimator, network, spec, samples, rows, *, score=None, callbacks=None, incremental=False
    ):
        self.estimator = estimator
        self.network = network
        self.samples = samples
        self.data = make_training_data(spec, *samples)
        n_samples = self.n_samples = len(samples.X if rows is None else rows)
        self.score = score
        self.callbacks = callbacks
        self.incremental = incremental
        self.batch_size = _batch_size(estimator, n_samples)
        self.n_batches = -(-n_samples // self.batch_size)
        # scikit-learn draws nothing here; so does fastfit, unless its own dropout is asked for.
        seed = int(estimator._random_state.randint(MAX_SEED)) if estimator.dropout > 0.0 else 0
        former = estimator.__dict__.get("_optimizer") if incremental else None
        self.optimizer = next_optimizer(former, estimator)
        self.settings = optimizer_settings(self.optimizer, estimator, seed)
        prepare_state(self.optimizer, network, spec, self.settings)
        estimator._optimizer = self.optimizer
        self.order = rows
        self.has_ended = False
        if "_loops" in estimator.__dict__:
            estimator._loops.append(self)
        self.best_weights = network.snapshot() if self.restores_best else None

    @property
    def restores_best(self):
        """Whether the weights with the best validation score are those to keep."""
        return self.estimator.early_stopping

    def run(self):
        """Train until it is time to stop; the estimator then has the weights.

        Raises
        ------
        ValueError
            If the weights overflow, or X or y hold NaN or infinity.
        ZeroDivisionError
            If the weights of a batch's samples sum to zero.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` epochs were not enough.
        UserWarning
            If Ctrl-C ended the training; the weights are those after the last whole epoch.
        """
        self.estimator.n_iter_ = 0
        self.go_on()

    def go_on(self):
        """Train for the epochs that are missing to the estimator's ``max_iter``; see `run`."""
        estimator = self.estimator
        try:
            for epoch in range(estimator.n_iter_, estimator.max_iter):
                self.has_ended = self._train_epoch(epoch) or self.incremental
                keep_epoch(self, self.has_ended)
                if self.has_ended:
                    break
                if estimator.n_iter_ == estimator.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                        "optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=8,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=8)
        if self.best_weights is not None:
            self.network.restore(self.best_weights)
        estimator.coefs_, estimator.intercepts_ = self.network.parameters()
        if self.best_weights is not None:
            estimator._best_coefs, estimator._best_intercepts = estimator.coefs_, estimator.intercepts_
        self._check_weights()

    def _train_epoch(self, epoch):
        """Train for one epoch and return whether it was the last."""
        estimator, callbacks = self.estimator, self.callbacks
        if callbacks is not None:
            callbacks.begin_epoch()
        if estimator.shuffle:
            shuffled = estimator._random_state.permutation(self.n_samples)
            self.order = shuffled if self.order is None else _reordered(self.order, shuffled)
        rate = self._learning_rate(epoch)
        loss = (
            self.network.train_epoch(
                self.data, self.order, self.batch_size, self.settings, self.optimizer.state, rate
            )
            / self.n_samples
        )
        self._note_step_size(rate)
        estimator.n_iter_ += 1
        estimator.t_ += self.n_samples
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            sys.stdout.write(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}\n")
        if not math.isfinite(loss):
            self._look_into_divergence()
        self._note_improvement()
        self.optimizer.iteration_ends(estimator.t_)
        stops = estimator._no_improvement_count > estimator.n_iter_no_change and self._stops_or_slows_down()
        if callbacks is not None:
            stops |= callbacks.end_epoch(self._learned)
        return stops

    def _learning_rate(self, epoch):
        estimator, optimizer = self.estimator, self.optimizer
        scheduled = scheduled_rate_of(estimator)
        if scheduled is not None:
            return float(scheduled)
        is_adam = isinstance(optimizer, AdamOptimizer)
        base_rate = optimizer.learning_rate_init if is_adam else optimizer.learning_rate
        if estimator.learning_rate in ("cosine", "step"):
            base_rate = optimizer.learning_rate_init
        if self.incremental:
            epoch = len(estimator.loss_curve_)
        return scheduled_rate(estimator, base_rate, epoch, self.n_batches)

    def _note_step_size(self, rate):
        """Let the optimizer show the number of updates and the last rate, where scikit-learn's shows them."""
        optimizer = self.optimizer
        if isinstance(optimizer, AdamOptimizer):
            optimizer.t = int(optimizer.state.n_updates[0])
            last = rate if isinstance(rate, float) else float(rate[-1])
            optimizer.learning_rate = adam_step_size(self.settings, last, optimizer.t)

    def _note_improvement(self):
        """Count the epochs without progress, by the validation score or by the loss."""
        estimator = self.estimator
        if self.score is not None:
            score = self.score()
            estimator.validation_scores_.append(score)
            if estimator.verbose:
                sys.stdout.write(f"Validation score: {score:.6f}\n")
            if estimator.early_stopping:
                # As in scikit-learn, a score that is not a number counts as progress.
                if score < estimator.best_validation_score_ + estimator.tol:
                    estimator._no_improvement_count += 1
                else:
                    estimator._no_improvement_count = 0
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                if self.best_weights is not None:
                    self.best_weights = self.network.snapshot()
        if not estimator.early_stopping:
            loss = estimator.loss_
            if loss > estimator.best_loss_ - estimator.tol:
                estimator._no_improvement_count += 1
            else:
                estimator._no_improvement_count = 0
            if loss < estimator.best_loss_:
                estimator.best_loss_ = loss

    def _stops_or_slows_down(self):
        """End the training for want of progress, or go on with a lower rate (schedule 'adaptive')."""
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        if self.optimizer.trigger_stopping(message, estimator.verbose):
            return True
        estimator._no_improvement_count = 0
        return False

    def _learned(self):
        """Attributes of the model as it now is, for callbacks that want a fitted estimator."""
        coefs, intercepts = self.network.parameters()
        return {"coefs_": coefs, "intercepts_": intercepts}

    def _look_into_divergence(self):
        """Raise where a loss that is not finite comes from the input, or from weights that cannot recover."""
        self._raise_for_input()
        # scikit-learn goes on, to restore the best weights in the end.
        if not self.restores_best and not np.isfinite(self.network.snapshot()).all():
            self._raise_divergence()

    def _check_weights(self):
        estimator = self.estimator
        if not all(np.isfinite(array).all() for array in (*estimator.coefs_, *estimator.intercepts_)):
            self._raise_for_input()
            self._raise_divergence()

    def _raise_for_input(self):
        raise_for_input(
            self.estimator, self.samples.X, self.samples.sample_weight, self.order, self.batch_size
        )

    def _raise_divergence(self):
        estimator = self.estimator
        raise ValueError(
            f"{NOT_FINITE} The loss was {estimator.loss_} in epoch {estimator.n_iter_}, with "
            f"learning_rate_init={estimator.learning_rate_init!r}; a smaller learning rate may keep the training "
            "from diverging."
        )


def _reordered(order, shuffled):
    """Return ``order[shuffled]``, written over `shuffled` piece by piece: a third array could be large."""
    for start in range(0, len(shuffled), PIECE):
        piece = shuffled[start : start + PIECE]
        piece[:] = order[piece]
    return shuffled


def _batch_size(estimator, n_samples):
    """Return the size of all batches but the last."""
    if estimator.batch_size == "auto":
        return min(200, n_samples)
    if estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=9
        )
    return int(min(max(estimator.batch_size, 1), n_samples))
