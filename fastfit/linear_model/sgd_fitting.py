"""What SGDRegressor and SGDClassifier share: from hyperparameters and validated data to kernels, and back."""

import copy
import warnings
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.callback import CallbackSupportMixin
from sklearn.linear_model._stochastic_gradient import (
    LEARNING_RATE_TYPES,
    PENALTY_TYPES,
    _ValidationScoreCallback,
)
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, validate_data

from fastfit.fallback import note_fallback
from fastfit.fit_callbacks import scheduled_rate_of, start_callbacks
from fastfit.former_fit import keep_former_fit
from fastfit.kernels import loss as losses
from fastfit.kernels.sgd_state import OPTIMIZER_ADAM, OPTIMIZER_SGD, SGDOptions
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import map_threads
from fastfit.training.stochastic_gradient import Run, Start

MAX_SEED = np.iinfo(np.int32).max

# Code of the kernels for each loss, its parameter (None stands for the hyperparameter epsilon), and its largest second
# derivative.
LOSSES = {
    "squared_error": (losses.LOSS_SQUARED_ERROR, 0.0, 1.0),
    "huber": (losses.LOSS_HUBER, None, 1.0),
    "epsilon_insensitive": (losses.LOSS_EPSILON_INSENSITIVE, None, 0.0),
    "squared_epsilon_insensitive": (losses.LOSS_SQUARED_EPSILON_INSENSITIVE, None, 2.0),
    "hinge": (losses.LOSS_HINGE, 1.0, 0.0),
    "perceptron": (losses.LOSS_HINGE, 0.0, 0.0),
    "squared_hinge": (losses.LOSS_SQUARED_HINGE, 1.0, 2.0),
    "log_loss": (losses.LOSS_LOGISTIC, 0.0, 0.25),
    "modified_huber": (losses.LOSS_MODIFIED_HUBER, 0.0, 2.0),
}

# Hyperparameters of fastfit, with the values that leave scikit-learn's descent as it is.
PLAIN_DESCENT = {"batch_size": 1, "optimizer": "sgd", "momentum": 0.0}

PARAMETER_CONSTRAINTS = {
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "optimizer": [StrOptions({"sgd", "adam"})],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterov": ["boolean"],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "adam_epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_jobs": [None, Integral],
}


class SGDFitting(ValidatesChangedParameters, CallbackSupportMixin):
    """Mixin before scikit-learn's class: the same checks and attributes around fastfit's kernels."""

    def _more_validate_params(self, for_partial_fit=False):
        super()._more_validate_params(for_partial_fit=for_partial_fit)
        if self.learning_rate in ("pa1", "pa2"):
            for name, plain in PLAIN_DESCENT.items():
                if getattr(self, name) != plain:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} does not work with learning_rate={self.learning_rate!r}, "
                        f"which computes the step of every single sample; use {name}={plain!r}."
                    )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # What only fastfit does, it does for dense X.
        tags.input_tags.sparse = all(getattr(self, name) == plain for name, plain in PLAIN_DESCENT.items())
        return tags

    @contextmanager
    def _fitting(self, X_val=None, y_val=None, starts_anew=False):
        """Keep the validation data at hand during a fit, and the former fit if this one fails."""
        if (X_val is None) != (y_val is None):
            given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} was given without {missing}; give both or neither.")
        with keep_former_fit(self):
            if starts_anew or "_optimizer_memory" not in self.__dict__:
                self._optimizer_memory = {}
            self._validation_data = None if X_val is None else (X_val, y_val)
            yield
        del self._validation_data

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.linear_model.linear_sharing import StochasticSharing

        return StochasticSharing()

    def _falls_back(self, X):
        """Whether scikit-learn has to fit X; notes which engine does."""
        self.fit_engine_ = "scikit-learn" if sp.issparse(X) else "fastfit"
        if not sp.issparse(X):
            return False
        for name, plain in PLAIN_DESCENT.items():
            if getattr(self, name) != plain:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs dense X; for sparse X use {name}={plain!r}."
                )
        if self._validation_data is not None:
            raise ValueError("X_val and y_val need dense X.")
        note_fallback(self, "sparse X")
        return True

    def _options(self, alpha, loss, learning_rate, uses_score, n_samples, class_weights=(1.0, 1.0)):
        code, parameter, curvature = LOSSES[loss]
        if self.batch_size > n_samples:
            warnings.warn(
                f"Got batch_size={self.batch_size} larger than the {n_samples} samples. It is going to be clipped.",
                stacklevel=5,
            )
        return SGDOptions(
            loss=code,
            loss_parameter=float(self.epsilon if parameter is None else parameter),
            loss_curvature=curvature,
            penalty=PENALTY_TYPES[str(self.penalty).lower()],
            alpha=float(alpha),
            l1_ratio={"l1": 1.0, "elasticnet": float(self.l1_ratio or 0.0)}.get(self.penalty, 0.0),
            learning_rate=LEARNING_RATE_TYPES[learning_rate],
            eta0=float(self.eta0),
            power_t=float(self.power_t),
            fit_intercept=int(self.fit_intercept),
            average=int(self.average),
            weight_pos=float(class_weights[0]),
            weight_neg=float(class_weights[1]),
            tol=-np.inf if self.tol is None else float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
            tracks_objective=int(not uses_score),
            batch_size=min(int(self.batch_size), n_samples),
            optimizer=OPTIMIZER_ADAM if self.optimizer == "adam" else OPTIMIZER_SGD,
            momentum=float(self.momentum),
            nesterov=int(self.nesterov),
            beta_1=float(self.beta_1),
            beta_2=float(self.beta_2),
            adam_epsilon=float(self.adam_epsilon),
        )

    def _prepare_validation(self, X):
        """The validation data given to ``fit``, checked: (X_val, y_val), or None."""
        if self._validation_data is None:
            return None
        X_val, y_val = self._validation_data
        X_val = validate_data(self, X_val, reset=False, dtype=X.dtype, order="C")
        y_val = column_or_1d(y_val, warn=True)
        check_consistent_length(X_val, y_val)
        return X_val, y_val

    def _takes_scheduled_rate(self):
        """Return why a callback cannot set the learning rate, or an empty text."""
        if self.learning_rate in ("pa1", "pa2"):
            return f"learning_rate={self.learning_rate!r} computes the step of every single sample"
        return ""

    def _start_callbacks(self, X, y, sample_weight, max_iter):
        """Call the hooks that begin the fit, and return what calls the others, or None."""
        weight = None if (sample_weight == 1.0).all() else sample_weight
        return start_callbacks(self, X, y, weight, max_iter)

    def _fit_by_scikit_learn(self, fit, X, y, sample_weight, **arguments):
        """Let a method of scikit-learn's fit, with the hooks of the fit around it."""
        callbacks = self._start_callbacks(X, y, sample_weight, max_iter=0)
        fit(X, y, sample_weight=sample_weight, **arguments)
        if callbacks is not None:
            callbacks.end()

    def _run(self, X, y, sample_weight, held_out, score, start, options, seed, max_iter, key=0, n_jobs=None):
        """Prepare the fit of one linear model; ``key`` names it among those of the estimator."""
        return Run(
            X,
            y,
            None if (sample_weight == 1.0).all() else sample_weight,
            held_out if held_out is not None and held_out.any() else None,
            start._replace(memory=self._optimizer_memory.get(key)),
            options,
            seed=seed if self.shuffle else None,
            max_epochs=max_iter,
            score=score,
            verbose=self.verbose > 0,
            n_jobs=n_jobs,
        )

    def _descend(self, run, key=0):
        """Take one linear model to the end of its descent."""
        # Settings of a search descend together; see linear_sharing.
        outcome = self._descents.outcome(run, key) if "_descents" in self.__dict__ else None
        if outcome is not None:
            return outcome
        while run.goes_on:
            run.advance()
        return self._outcome_of(run, key)

    def _outcome_of(self, run, key):
        outcome = run.outcome()
        self._optimizer_memory[key] = outcome.memory
        return outcome

    def _descend_watched(self, runs, callbacks, store, n_threads=1):
        """Take linear models through their epochs side by side, with the callbacks' hooks around each epoch.

        Parameters
        ----------
        runs : dict of key to Run
        callbacks : FitCallbacks
        store : callable
            ``store(estimator, outcomes)`` sets what is learned.
        n_threads : int
        """

        def advance(run):
            rate = scheduled_rate_of(self)
            if rate is not None:
                run.set_rate(rate)
            run.advance(1)

        def learned():
            fitted = copy.copy(self)
            store(fitted, [run.outcome() for run in runs.values()])
            return {name: value for name, value in vars(fitted).items() if name.endswith("_")}

        while active := [run for run in runs.values() if run.goes_on]:
            callbacks.begin_epoch()
            map_threads(advance, active, min(n_threads, len(active)))
            if callbacks.end_epoch(learned):
                break
        store(self, [self._outcome_of(run, key) for key, run in runs.items()])
        callbacks.end()

    def _keep_scores(self, outcomes):
        self.__dict__.pop("validation_scores_", None)
        if outcomes[0].scores:
            self.validation_scores_ = joint_curve([outcome.scores for outcome in outcomes])

    def _updates_done(self, outcome, n_samples):
        """The counter t_ after a fit: scikit-learn counts every row of every epoch, rows held out included."""
        if self.batch_size == 1:
            return self.t_ + outcome.n_epochs * n_samples
        return outcome.step_number


def start_of(coef, intercept, averaged, average_intercept, step_number):
    """Where a descent begins."""
    return Start(coef, float(intercept), averaged, float(average_intercept), float(step_number), None)


def joint_curve(curves):
    """One curve as an array; several as the rows of an array, NaN behind the end of the shorter."""
    if len(curves) == 1:
        return np.array(curves[0])
    joint = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(joint, curves, strict=True):
        row[: len(curve)] = curve
    return joint


def score_given(estimator, X_val, y_val, classes=None):
    """Function of (coef, intercept, scale) that scores a model on the validation data given to ``fit``."""
    score = _ValidationScoreCallback(estimator, X_val, y_val, None, classes=classes)
    return lambda coef, intercept, scale: score(scale * coef, intercept)


def score_held_out(estimator, held_out, X, y, sample_weight, classes=None):
    """Function of (coef, intercept, scale) that scores a model on the held-out data, as scikit-learn does; or None.

    scikit-learn leaves out the scale, so the score that stops a fit early is that of ``coef`` alone. To stop after the
    same epoch is to do the same.
    """
    score = estimator._make_validation_score_cb(held_out, X, y, sample_weight, classes=classes)
    return score and (lambda coef, intercept, scale: score(coef, intercept))
