"""A learning rate of the user's for every epoch or round."""

import math
from numbers import Real

from fastfit.callbacks.fit_states import FitState, FitStates


class LearningRateSchedule(FitStates):
    """Set the learning rate of every epoch or round.

    It takes the place of the estimator's own rate and schedule: ``eta0`` and ``learning_rate`` of SGD,
    ``learning_rate_init`` and ``learning_rate`` of networks, ``learning_rate`` of mini-batch linear regression and of
    both kinds of boosting.

    Exact boosting (``GradientBoosting*``) multiplies the values of all its trees by its constant ``learning_rate``
    when it predicts, in scikit-learn, too. There the values of a round's trees hold the step times the round's rate
    over that constant, so that predictions, staged or not, are right for whoever reads the model.

    Parameters
    ----------
    schedule : callable or sequence of float
        ``schedule(i)`` is the rate of epoch or round i, from 0; of a sequence, the last value stays.

    Attributes
    ----------
    rates_ : list of float
        Those of the last fit that has ended, in this process.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.callbacks import LearningRateSchedule
    >>> from fastfit.linear_model import SGDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> y = X @ [1.0, -2.0]
    >>> halving = LearningRateSchedule(lambda epoch: 0.1 * 0.5**epoch)
    >>> model = SGDRegressor(max_iter=3, tol=None, random_state=0).set_callbacks(halving).fit(X, y)
    >>> halving.rates_
    [0.1, 0.05, 0.025]
    """

    # The model would not be the one that was asked for.
    when_unwatched = "refuse"

    def __init__(self, schedule):
        super().__init__()
        if not callable(schedule):
            try:
                schedule = [float(rate) for rate in schedule]
            except (TypeError, ValueError):
                raise TypeError(
                    f"schedule must be callable or a sequence of numbers, got {schedule!r}."
                ) from None
            if not schedule:
                raise ValueError("schedule is empty; give at least one rate.")
        self.schedule = schedule

    def _new_state(self, estimator, context):
        reason = _why_not(estimator)
        if reason:
            raise ValueError(f"LearningRateSchedule does not work on {type(estimator).__name__}: {reason}.")
        state = FitState(context)
        state.rates = []
        return state

    def on_fit_task_begin(self, estimator, context):
        """Set the rate of an epoch or a round."""
        state = self._state_of(estimator)
        if not state.is_iteration(context):
            return
        number = len(state.rates)
        rate = self._rate_of(number)
        if not isinstance(rate, Real) or not 0.0 < rate < math.inf:
            raise ValueError(
                f"the schedule's rate of iteration {number} must be a number above 0, got {rate!r}."
            )
        state.rates.append(float(rate))
        estimator._scheduled_rate = float(rate)

    def _rate_of(self, number):
        if callable(self.schedule):
            return self.schedule(number)
        return self.schedule[min(number, len(self.schedule) - 1)]

    def on_fit_task_end(self, estimator, context):
        """Leave nothing behind at the end of the fit."""
        state = self._state_of(estimator)
        if context is state.context:
            vars(estimator).pop("_scheduled_rate", None)
            self.rates_ = state.rates
        return False

    def teardown(self, estimator, context):
        """Forget the fit, also if it has failed."""
        vars(estimator).pop("_scheduled_rate", None)
        super().teardown(estimator, context)


def _why_not(estimator):
    """Return why an estimator can take no rates from outside, or an empty text."""
    takes = getattr(estimator, "_takes_scheduled_rate", None)
    if takes is None:
        return "it has no learning rate that changes from one iteration to the next"
    return takes()
