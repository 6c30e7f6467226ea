"""What settings of linear models share: the steps of a long descent are, at first, those of a shorter one.

The Gram matrix, which all learning rates and numbers of steps need, is shared where it is made.
"""

import warnings
from operator import itemgetter

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastfit.runtime.cpu import lanes
from fastfit.runtime.reuse import SharedWork
from fastfit.runtime.threads import thread_budget
from fastfit.sharing import (
    PrefixRun,
    PrefixSharing,
    Run,
    fit_clone,
    fixed_parameters,
    is_repeatable,
    is_valid,
    like,
)

# Learning rates that are tried in one part: enough to share the preparations, few enough for all threads to have some.
RATES_PER_PART = 16
NOT_CONVERGED = (
    "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve the fit."
)


class LeastSquaresSharing(PrefixSharing):
    """One Gram matrix for all learning rates, and the steps of gradient descent for all ``max_iter``."""

    varied = ("max_iter",)
    unit = "steps"

    def key(self, estimator):
        """Return what is the same for settings whose fits take steps of a given length on the Gram matrix; or None."""
        if (
            not is_valid(estimator)
            or estimator.solver == "lstsq"
            or estimator.learning_rate == "auto"
            or estimator.batch_size is not None
            or estimator.max_iter is None
            or estimator.warm_start
        ):
            return None
        return fixed_parameters(estimator, ("learning_rate", "max_iter"))

    def parts(self, estimators):
        """Return the settings of some learning rates each."""
        if len(estimators) == 1:
            return super().parts(estimators)
        by_rate = list(_by_rate(estimators).values())
        return [
            [position for positions in by_rate[first : first + RATES_PER_PART] for position in positions]
            for first in range(0, len(by_rate), RATES_PER_PART)
        ]

    def fit(self, estimators, X, y, fit_params):
        """Take the most steps with each rate, and keep the coefficients after the other numbers of them."""
        if self.key(estimators[0]) is None:
            return Run(self, estimators, X, y, fit_params)
        by_rate = _by_rate(estimators)
        first = clone(estimators[0])
        first._rates_to_try = {
            rate: {self.count(estimators[i]) for i in positions} for rate, positions in by_rate.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            first.fit(X, y, **fit_params)
        del first._rates_to_try
        fits = first.__dict__.pop("_fits_by_rate", None)
        if fits:
            return _RatesRun(self, estimators, first, fits)
        if len(by_rate) > 1:
            return Run(self, estimators, X, y, fit_params)
        longest = fit_clone(max(estimators, key=self.count), X, y, fit_params)
        return _StepsRun(self, estimators, longest, X, y, fit_params)

    def work(self, estimator):
        """Return the number of steps."""
        return 1 if estimator.max_iter is None else int(estimator.max_iter)

    def cut(self, longest, count):
        """Return nothing: the descent has converged before."""
        return {}

    def work_done(self, longest):
        """Return the number of steps."""
        return longest.n_iter_


def _by_rate(estimators):
    by_rate = {}
    for position, estimator in enumerate(estimators):
        by_rate.setdefault(float(estimator.learning_rate), []).append(position)
    return by_rate


class _RatesRun:
    """Descents on one Gram matrix; see `Run`.

    Attributes
    ----------
    n_fits : int
        Number of descents: one for each rate that is stable.
    work : int
        Steps of all of them.
    """

    def __init__(self, sharing, estimators, first, fits):
        self.estimators = estimators
        self.first = first
        self.fits = fits
        self.keys = [(float(one.learning_rate), sharing.count(one)) for one in estimators]
        n_steps = {}
        for (rate, _), fit in fits.items():
            n_steps[rate] = max(n_steps.get(rate, 1), len(fit.losses))
        self.n_fits, self.work = len(n_steps), sum(n_steps.values())

    def work_of(self, i):
        """Return the steps that a fit of one setting by itself takes."""
        fit = self.fits.get(self.keys[i])
        return 1 if fit is None else max(1, len(fit.losses))

    def models(self):
        """Yield (position, fitted estimator), or (position, None) where the rate makes the descent diverge."""
        for position, key in enumerate(self.keys):
            fit = self.fits.get(key)
            if fit is None:
                yield position, None
                continue
            if not fit.converged:
                warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=3)
            learned = self._learned(fit)
            yield (
                position,
                like(self.first, self.estimators[position], ("max_iter", "learning_rate"), learned),
            )

    def answers(self, X):
        """Return None: the models are asked."""
        return

    def _learned(self, fit):
        shape, dtype = self.first.coef_.shape, self.first.coef_.dtype
        learned = {
            "coef_": fit.coef.reshape(shape).astype(dtype, copy=False),
            "n_iter_": len(fit.losses),
            "loss_curve_": np.array(fit.losses),
            "learning_rate_": fit.learning_rate,
        }
        if self.first.fit_intercept:
            intercept = (fit.y_mean - fit.coef @ fit.x_mean).astype(dtype, copy=False)
            learned["intercept_"] = intercept[0] if len(shape) == 1 else intercept
        return learned


# In what settings may differ that are taken through the samples together.
NUMBERS = ("alpha", "l1_ratio", "eta0", "power_t", "epsilon", "tol", "n_iter_no_change", "max_iter")


class StochasticSharing(PrefixSharing):
    """One pass over the samples for all settings that differ in numbers; else one descent for all ``max_iter``."""

    varied = ("max_iter",)
    unit = "epochs"

    def key(self, estimator):
        """Return what is the same for settings that can be fitted as one, and in which of the two ways."""
        if not is_valid(estimator) or estimator.warm_start:
            return None
        if _goes_together(estimator):
            return "together", *fixed_parameters(estimator, NUMBERS)
        # A descent may end before `max_iter`.
        return None if estimator.tol is None else ("longest", *fixed_parameters(estimator, self.varied))

    def parts(self, estimators):
        """Return as many settings at once as a vector has lanes, of similar penalties: these descend about as long."""
        if len(estimators) == 1 or not _goes_together(estimators[0]):
            return super().parts(estimators)
        by_rest = {}
        for position, estimator in enumerate(estimators):
            by_rest.setdefault(fixed_parameters(estimator, self.varied), []).append(position)
        numbers = [(estimators[positions[0]].alpha, positions) for positions in by_rest.values()]
        numbers.sort(key=itemgetter(0))
        width = lanes("float64")
        return [
            [position for _, positions in numbers[first : first + width] for position in positions]
            for first in range(0, len(numbers), width)
        ]

    def fit(self, estimators, X, y, fit_params):
        """Take all through the samples together; or descend for the most epochs, and anew for numbers too few."""
        if self.key(estimators[0]) is None:
            return Run(self, estimators, X, y, fit_params)
        if _goes_together(estimators[0]) and set(fit_params) <= {"sample_weight"}:
            return _TogetherRun(estimators, X, y, fit_params)
        by_rest = {}
        for position, estimator in enumerate(estimators):
            by_rest.setdefault(fixed_parameters(estimator, self.varied), []).append(position)
        if len(by_rest) > 1:
            return Run(self, estimators, X, y, fit_params)
        longest = fit_clone(max(estimators, key=self.count), X, y, fit_params)
        return _StepsRun(self, estimators, longest, X, y, fit_params)

    def cut(self, longest, count):
        """Return nothing: the descent is the same."""
        return {}

    def work_done(self, longest):
        """Return the number of epochs."""
        return longest.n_iter_


def _goes_together(estimator):
    """Return whether the descent can be taken through the samples with others."""
    from fastfit.training.stochastic_together import covers

    repeats = is_repeatable(estimator) or not estimator.shuffle
    return repeats and not estimator.verbose and covers(_options_of(estimator, 1.0, 1.0))


def _options_of(estimator, weight_pos, weight_neg):
    weights = weight_pos, weight_neg
    uses_score = estimator.early_stopping
    return estimator._options(
        estimator.alpha, estimator.loss, estimator.learning_rate, uses_score, np.inf, weights
    )


class _TogetherRun:
    """Descents over the same samples in the same order, as one; see `Run`.

    Each setting goes through a fit of its own, with its checks and warnings, and finds its descent done.

    Attributes
    ----------
    n_fits : int
        Number of descents: those that differ in ``max_iter`` alone are one.
    work : int
        Epochs of all of them.
    """

    def __init__(self, estimators, X, y, fit_params):
        self.estimators = estimators
        self.descended = SharedWork()
        self.work = 0
        self.fitted = [self._fit(estimator, X, y, fit_params) for estimator in estimators]
        distinct = {fixed_parameters(estimator, ("max_iter",)) for estimator in estimators}
        self.n_fits = len(distinct if self.descended.n_made else estimators)

    def _fit(self, estimator, X, y, fit_params):
        model = clone(estimator)
        model._descents = self
        model.fit(X, y, **fit_params)
        del model._descents
        if not self.descended.n_made:
            self.work += model.n_iter_
        return model

    def outcome(self, run, key):
        """Return the outcome of a run, the one that this key stands for of those of an estimator; None: not known."""
        from fastfit.training.stochastic_together import covers_samples, shared_options

        if not covers_samples(run.state.samples):
            return None
        options = run.state.options
        same = key, run.state.seed, shared_options(options)
        outcomes = self.descended.get(same, lambda: self._descend(run.state))
        return outcomes.get((options, run.max_epochs))

    def _descend(self, state):
        from fastfit.training.stochastic_together import descend_together

        settings = {}
        for estimator in self.estimators:
            options = _options_of(estimator, state.options.weight_pos, state.options.weight_neg)
            settings.setdefault(options, set()).add(int(estimator.max_iter))
        outcomes, n_epochs = descend_together(state.samples, state.seed, settings, thread_budget())
        self.work += n_epochs
        return outcomes

    def work_of(self, i):
        """Return the epochs that a fit of one setting by itself takes."""
        return self.fitted[i].n_iter_

    def models(self):
        """Yield (position, fitted estimator)."""
        yield from enumerate(self.fitted)

    def answers(self, X):
        """Return None: the models are asked."""
        return


class _StepsRun(PrefixRun):
    """A descent that serves those settings whose steps it has not used up; the others are fitted by themselves."""

    def __init__(self, sharing, estimators, longest, X, y, fit_params):
        super().__init__(sharing, estimators, longest)
        self.given = X, y, fit_params
        most = self.counts[-1]
        n_steps = longest.n_iter_
        self.is_alone = [not (count == most or count > n_steps) for count in self.counts]
        self.n_fits = 1 + sum(self.is_alone)
        self.work += sum(
            count for count, is_alone in zip(self.counts, self.is_alone, strict=True) if is_alone
        )

    def models(self):
        """Yield (position, fitted estimator), the fewest steps first."""
        for position, is_alone in zip(self.order, self.is_alone, strict=True):
            estimator = self.estimators[position]
            if is_alone:
                yield position, fit_clone(estimator, *self.given)
            else:
                yield position, like(self.longest, estimator, self.sharing.varied, {})
