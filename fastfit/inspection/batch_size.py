"""What the batch size does to speed and to learning, measured."""

import math
import tracemalloc
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length, check_random_state

from fastfit.inspection.batch_size_result import BatchSizeProfile, Measured, Target
from fastfit.inspection.batched_estimators import (
    arithmetic_dtype,
    check_has_batches,
    costs_of,
    default_batch_sizes,
    own_batch_size,
    split_kind,
    with_batch_size,
)
from fastfit.inspection.epoch_watch import watched_fit
from fastfit.inspection.losses import data_loss
from fastfit.inspection.noise_scale import gradient_noise_scale

__all__ = ["batch_size_profile"]

DEFAULT_EPOCHS = 20
# With a time budget and no number of epochs: an end for fits of microseconds.
MAX_EPOCHS = 10_000
MAX_LOSS_ROWS = 10_000
VALIDATION_SHARE = 0.2
# What the estimators say when the weights overflow, in their words.
DIVERGED = ("Floating-point under-/overflow", "makes the descent diverge", "non-finite parameter weights")


def batch_size_profile(
    estimator,
    X,
    y,
    *,
    batch_sizes=None,
    epochs=None,
    time_budget=None,
    target_loss=None,
    target_score=None,
    X_val=None,
    y_val=None,
    n_repeats=3,
    random_state=None,
    on_progress=None,
):
    """Train with several batch sizes and measure what each of them does.

    Nothing else differs between the fits: not the learning rate either. Batch sizes take turns in every repeat (A B C,
    A B C), each repeat with a seed of its own, after a fit of one epoch that compiles and is not counted. Seconds are
    those inside of epochs; the loss and the score after an epoch are computed while the clock stands, but they leave
    the caches cold: epochs of a millisecond come out 10 to 25% longer than in a fit that nobody watches.

    Parameters
    ----------
    estimator : SGDRegressor, SGDClassifier, LinearRegression, MLPRegressor or MLPClassifier
        Of fastfit, with the hyperparameters to use; it is not changed. Early stopping is left out.

    X : array-like of shape (n_samples, n_features)
        Training data.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Target values or classes.

    batch_sizes : iterable of int, default=None
        Each between 1 and the number of training samples. None: powers of two from 8 to 1024 for networks, powers of
        four from 1 to 1024 for linear models.

    epochs : int, default=None
        Passes over the data in each fit. None: 20, or with `time_budget` as many as there is time for.

    time_budget : float, default=None
        Seconds of training in each fit at the most; the epoch in which they are used up is finished.

    target_loss : float, default=None
        Loss on the training data, without penalty, that is to be reached. With neither target the profile sets one: 95%
        of the way from the highest loss after a first epoch down to the lowest that all fits of a batch size came to.

    target_score : float, default=None
        Score (accuracy or R2) on the validation data that is to be reached.

    X_val, y_val : array-like, default=None
        Validation data. None: a fifth of the samples is held out, of each class for classifiers.

    n_repeats : int, default=3
        Fits of each batch size.

    random_state : int, RandomState instance or None, default=None
        Determines the seeds of the fits and what is held out.

    on_progress : callable, default=None
        Called as ``on_progress(n_done, n_all, text)`` before each fit and at the end.

    Returns
    -------
    profile : BatchSizeProfile
        Its ``recommendation_`` says in words which batch size to take, and why.

    Raises
    ------
    ValueError
        If the estimator has no batches, a batch size is below 1 or above the number of training samples, or another
        argument makes no sense.

    References
    ----------
    S. McCandlish, J. Kaplan, D. Amodei et al., "An empirical model of large-batch training", 2018, arXiv:1812.06162.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastfit.inspection import batch_size_profile
    >>> from fastfit.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> profile = batch_size_profile(
    ...     MLPClassifier((20,)), X / 16, y, batch_sizes=[16, 256], epochs=3, n_repeats=1, random_state=0
    ... )
    >>> profile.batch_sizes_
    [16, 256]
    >>> bool(profile.rows_[0].final_loss < profile.rows_[1].final_loss)
    True
    """
    check_has_batches(estimator)
    run = _Measuring(estimator, *_checked_data(X, y, X_val, y_val, estimator, random_state))
    run.set_limits(batch_sizes, epochs, time_budget, n_repeats)
    target = _given_target(target_loss, target_score)
    run.measure(check_random_state(random_state), on_progress)
    return run.result(target)


def _checked_data(X, y, X_val, y_val, estimator, random_state):
    """Return (X, y, X_val, y_val) as arrays."""
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}; give both or neither.")
    X = check_array(X, dtype=[np.float64, np.float32], order="C")
    y = np.asarray(y)
    check_consistent_length(X, y)
    if X_val is not None:
        X_val, y_val = check_array(X_val, dtype=X.dtype, order="C"), np.asarray(y_val)
        check_consistent_length(X_val, y_val)
        return X, y, X_val, y_val
    seed = check_random_state(random_state).randint(2**31 - 1) if random_state is not None else None
    _check_can_hold_out(estimator, y)
    X, X_val, y, y_val = train_test_split(
        X, y, test_size=VALIDATION_SHARE, random_state=seed, stratify=split_kind(estimator, y)
    )
    return np.ascontiguousarray(X), y, X_val, y_val


def _check_can_hold_out(estimator, y):
    """Raise if a fifth of the samples is too few to validate with."""
    n_held_out = math.ceil(VALIDATION_SHARE * len(y))
    kinds = split_kind(estimator, y)
    n_least = 1 if kinds is None else len(np.unique(kinds))
    if n_held_out < n_least or len(y) - n_held_out < n_least:
        each = "" if n_least == 1 else f" with each of {n_least} classes"
        raise ValueError(
            f"{len(y)} samples are too few to hold out a fifth{each}; give X_val and y_val, or more samples."
        )


def _given_target(target_loss, target_score):
    """Return the `Target` that the caller set, or None."""
    if target_loss is not None and target_score is not None:
        raise ValueError("target_loss and target_score were both given; give one of them.")
    for name, value in (("target_loss", target_loss), ("target_score", target_score)):
        if value is not None and not (isinstance(value, Real) and np.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, got {value!r}.")
    if target_loss is not None:
        return Target("training loss", float(target_loss), given=True)
    if target_score is not None:
        return Target("validation score", float(target_score), given=True)
    return None


def _checked_count(name, value, least=1):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def _checked_sizes(batch_sizes, n_samples):
    """Return batch sizes in ascending order, each once."""
    if isinstance(batch_sizes, Integral):
        batch_sizes = [batch_sizes]
    sizes = list(batch_sizes)
    if not sizes:
        raise ValueError("batch_sizes is empty; give at least one batch size.")
    for size in sizes:
        if not isinstance(size, Integral) or isinstance(size, bool) or not 1 <= size <= n_samples:
            raise ValueError(
                f"a batch size must be an integer between 1 and {n_samples}, the number of training samples, "
                f"got {size!r}."
            )
    return sorted({int(size) for size in sizes})


class _Measuring:
    """The fits of one profile, and what they gave."""

    def __init__(self, estimator, X, y, X_val, y_val):
        self.estimator = estimator
        self.X, self.y, self.X_val, self.y_val = X, y, X_val, y_val
        self.measured = []
        self.noise_scales = []

    def set_limits(self, batch_sizes, epochs, time_budget, n_repeats):
        """Check and take over how much is to be done."""
        n_samples = len(self.X)
        if batch_sizes is None:
            batch_sizes = default_batch_sizes(self.estimator, n_samples)
        self.sizes = _checked_sizes(batch_sizes, n_samples)
        self.n_repeats = _checked_count("n_repeats", n_repeats)
        if time_budget is not None and not (isinstance(time_budget, Real) and 0.0 < time_budget < np.inf):
            raise ValueError(f"time_budget must be a number of seconds above 0, got {time_budget!r}.")
        self.time_budget = time_budget
        if epochs is None:
            epochs = DEFAULT_EPOCHS if time_budget is None else MAX_EPOCHS
        self.n_epochs = _checked_count("epochs", epochs)
        # The noise scale is measured along the fits with the batch size that the estimator has, or one near it.
        own = own_batch_size(self.estimator, n_samples)
        self.size_of_noise = min(self.sizes, key=lambda size: abs(np.log(size / own)))

    def measure(self, random_state, on_progress):
        """Compile, then fit in turns."""
        report = on_progress or (lambda n_done, n_all, text: None)
        n_all = len(self.sizes) * (self.n_repeats + 1)
        rows = random_state.permutation(len(self.X))[:MAX_LOSS_ROWS]
        self.loss_data = self.X[rows], self.y[rows]
        seeds = random_state.randint(2**31 - 1, size=self.n_repeats + 1).tolist()
        with warnings.catch_warnings():
            # That a few epochs are too few to converge is the point of the exercise.
            warnings.simplefilter("ignore")
            for number, size in enumerate(self.sizes):
                report(number, n_all, f"compiling, batch size {size}")
                self.measured.append(self._prepare(size, seeds[-1]))
            for repeat in range(self.n_repeats):
                for number, measured in enumerate(self.measured):
                    n_done = len(self.sizes) * (repeat + 1) + number
                    report(n_done, n_all, f"batch size {measured.batch_size}, repeat {repeat + 1}")
                    self._fit(measured, seeds[repeat], seeds[-1] if repeat == 0 else None)
        report(n_all, n_all, "done")

    def _prepare(self, size, seed):
        """Fit one epoch twice: once for the kernels, once to see what memory it takes."""
        measured = Measured(size)
        try:
            fitted = with_batch_size(self.estimator, size, 1, seed).fit(self.X, self.y)
            measured.costs = costs_of(fitted, self.X)
            self._score(fitted)
            measured.peak_memory = _peak_memory(
                lambda: with_batch_size(self.estimator, size, 1, seed).fit(self.X, self.y)
            )
        except ValueError as error:
            _note_divergence(error, measured)
        return measured

    def _score(self, model):
        """Return the loss on training data and the score on validation data."""
        loss = data_loss(model, *self.loss_data)
        score = float(model.score(self.X_val, self.y_val))
        return loss, score

    def _fit(self, measured, seed, seed_of_noise):
        """Fit once with one batch size, and add what it gave."""
        model = with_batch_size(self.estimator, measured.batch_size, self.n_epochs, seed)
        losses, scores, seconds = [], [], []
        measures_noise = seed_of_noise is not None and measured.batch_size == self.size_of_noise

        def visit(number, fitted, spent):
            seconds.append(spent)
            loss, score = self._score(fitted)
            losses.append(loss)
            scores.append(score)
            if measures_noise and _is_milestone(number):
                noise = gradient_noise_scale(fitted, self.X, self.y, random_state=seed_of_noise)
                self.noise_scales.append((number, noise))
            return self.time_budget is not None and sum(seconds) >= self.time_budget

        try:
            watched_fit(model, self.X, self.y, visit)
        except ValueError as error:
            _note_divergence(error, measured)
        measured.add(seconds, losses, scores)

    def result(self, target):
        """Return the profile."""
        from fastfit.runtime.threads import thread_budget
        from fastfit.training.machine_peak import peak_flops

        dtype = arithmetic_dtype(self.estimator, self.X)
        n_threads = thread_budget(getattr(self.estimator, "n_jobs", None))
        return BatchSizeProfile(
            type(self.estimator).__name__,
            self.X.shape,
            self.measured,
            target,
            self.noise_scales,
            noise_batch_size=self.size_of_noise,
            peak=peak_flops(dtype, n_threads),
            peak_text=f"{dtype} on {n_threads} thread{'s' if n_threads > 1 else ''}",
            n_repeats=self.n_repeats,
            constant_score=self._constant_score(),
        )

    def _constant_score(self):
        """Return the validation score of predicting the commonest class, or the mean."""
        dummy = DummyClassifier() if is_classifier(self.estimator) else DummyRegressor()
        return float(dummy.fit(self.X, self.y).score(self.X_val, self.y_val))


def _is_milestone(number):
    """Whether the noise scale is measured after this epoch: 1, 2, 4, 8, ..."""
    return number & (number - 1) == 0


def _note_divergence(error, measured):
    """Note that training with this batch size diverges; raise the error again if it says anything else."""
    if not any(words in str(error) for words in DIVERGED):
        raise error
    measured.diverged = True


def _peak_memory(fit):
    """Return the most bytes that a fit has allocated at a time, as Python and NumPy know it.

    Memory that is traced already stays traced.
    """
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        fit()
        return max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not was_tracing:
            tracemalloc.stop()
