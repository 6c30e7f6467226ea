"""End a fit when its time is up."""

import math
import time
from numbers import Real


class TimeBudget:
    """End a fit after the epoch, round or tree in which its time is used up.

    Parameters
    ----------
    seconds : float
        Wall-clock time, above 0, from the beginning of the fit.
    whole_search : bool, default=False
        False: each fit has this time, and in a search the callback is set on the estimator. True: the callback is set
        on the search (``search.set_callbacks(TimeBudget(60, whole_search=True))``), whose fits share the time; those
        that begin too late end after one epoch, round or tree each.

    Attributes
    ----------
    expired_ : bool
        Whether the time ended any fit, in this process.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.callbacks import TimeBudget
    >>> from fastfit.linear_model import SGDRegressor
    >>> X, y = np.random.default_rng(0).normal(size=(2, 1000, 1))
    >>> budget = TimeBudget(0.05)
    >>> model = SGDRegressor(max_iter=10**9, tol=None).set_callbacks(budget).fit(X, y.ravel())
    >>> budget.expired_
    True
    """

    when_unwatched = "warn"

    def __init__(self, seconds, *, whole_search=False):
        if not isinstance(seconds, Real) or isinstance(seconds, bool) or not 0.0 < seconds < math.inf:
            raise ValueError(f"seconds must be a number above 0, got {seconds!r}.")
        self.seconds = seconds
        self.whole_search = whole_search
        self.expired_ = False
        # When the time of a fit, or of a search, is up. The clock is the same for all processes of the machine.
        self._ends = {}
        if whole_search:
            # What scikit-learn hands on from a search to its estimators has this attribute.
            self.max_propagation_depth = None

    def setup(self, estimator, context):
        """Start the clock."""
        self._ends[self._key(estimator, context)] = time.monotonic() + self.seconds

    def teardown(self, estimator, context):
        """Stop the clock."""
        self._ends.pop(self._key(estimator, context), None)

    def _key(self, estimator, context):
        return context.root_uuid if self.whole_search else id(estimator)

    def on_fit_task_begin(self, estimator, context):
        """Begin an epoch, a round or a tree, or the fit."""

    def on_fit_task_end(self, estimator, context):
        """Return whether the time is up."""
        is_up = time.monotonic() >= self._ends.get(self._key(estimator, context), math.inf)
        self.expired_ |= is_up
        return is_up
