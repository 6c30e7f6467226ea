"""Seconds of each epoch and the model after it, by way of the callbacks that every trainer calls."""

import time

__all__ = ["EpochTimer", "ModelKeeper", "watched_fit"]


class EpochTimer:
    """A callback that notes when each epoch begins and ends, and nothing else.

    It asks for no model, so that nothing is made for it. Two of them stand around the other callbacks: the clock runs
    from the end of the last hook before an epoch to the beginning of the first one after it.
    """

    def __init__(self):
        self.times = []

    def setup(self, estimator, context):
        """Begin a fit."""

    def teardown(self, estimator, context):
        """End a fit."""

    def on_fit_task_begin(self, estimator, context):
        """Note the time, unless it is the fit that begins."""
        if context.parent is not None:
            self.times.append(time.perf_counter())

    def on_fit_task_end(self, estimator, context):
        """Note the time, unless it is the fit that ends."""
        if context.parent is not None:
            self.times.append(time.perf_counter())


class ModelKeeper:
    """A callback that hands the model after each epoch to a function, and ends the fit when that says so.

    Parameters
    ----------
    visit : callable
        ``visit(number, model)`` with the number of the epoch from 1; it returns whether to stop.
    """

    def __init__(self, visit):
        self.visit = visit
        self.n_epochs = 0

    def setup(self, estimator, context):
        """Begin a fit."""

    def teardown(self, estimator, context):
        """End a fit."""

    def on_fit_task_begin(self, estimator, context):
        """Begin an epoch."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Show the model, unless it is the fit that ends."""
        if context.parent is None or fitted_estimator is None:
            return False
        self.n_epochs += 1
        return bool(self.visit(self.n_epochs, fitted_estimator))


def watched_fit(estimator, X, y, visit):
    """Fit with hooks around every epoch.

    Parameters
    ----------
    estimator : estimator
        Gets callbacks.
    X, y : ndarray
    visit : callable
        ``visit(number, model, seconds)`` after each epoch, with the seconds of this epoch; returns whether to stop.

    Returns
    -------
    seconds : list of float
        Of each epoch.
    """
    before, after = EpochTimer(), EpochTimer()

    def shown(number, model):
        return visit(number, model, before.times[-1] - after.times[-1])

    # Hooks are called in this order: the last one sees the beginning of an epoch last, the first one its end first.
    keeper = ModelKeeper(shown)
    estimator.set_callbacks(before, keeper, after)
    try:
        estimator.fit(X, y)
    finally:
        estimator.set_callbacks()
    begins, ends = after.times[0::2], before.times[1::2]
    return [end - begin for begin, end in zip(begins, ends, strict=False)][: keeper.n_epochs]
