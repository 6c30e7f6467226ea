"""scikit-learn's callback protocol around a fit and each of its epochs, rounds or trees.

scikit-learn 1.9 calls the hooks of ``sklearn.callback`` from few estimators; the ones that fastfit has are not among
them.
"""

from contextlib import contextmanager


@contextmanager
def callbacks_kept_apart(estimator):
    """Keep the callbacks of a fit under way from being torn down by scikit-learn's ``fit``, called inside of it."""
    context = estimator.__dict__.pop("_callback_fit_ctx", None)
    try:
        yield
    finally:
        if context is not None:
            estimator._callback_fit_ctx = context


def start_callbacks(estimator, X, y, sample_weight, n_tasks):
    """Call the hooks that begin a fit, and return what calls the others; None where no callback is set.

    Parameters
    ----------
    estimator : estimator
        With ``set_callbacks`` of scikit-learn's ``CallbackSupportMixin``, inside the context of its ``fit``.
    X, y, sample_weight
        What ``fit`` was given; callbacks see these.
    n_tasks : int
        The most epochs, or trees, that the fit may take.

    Returns
    -------
    callbacks : FitCallbacks or None
    """
    if not estimator.__dict__.get("_skl_callbacks"):
        return None
    return FitCallbacks(estimator, X, y, sample_weight, n_tasks)


def scheduled_rate_of(estimator):
    """Return the learning rate that a callback wants for the coming epoch, or None where none does."""
    return estimator.__dict__.get("_scheduled_rate")


class FitCallbacks:
    """The hooks of one fit. See `start_callbacks`."""

    def __init__(self, estimator, X, y, sample_weight, n_tasks):
        self._estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._seen = {"X": X, "y": y, "metadata": metadata}
        self._fit = estimator._init_callback_context(max_subtasks=n_tasks)
        self._epoch = None
        self._fit.call_on_fit_task_begin(estimator=estimator, **self._seen)

    def begin_epoch(self, task_name="epoch"):
        """Call the hooks that begin an epoch."""
        self._epoch = self.begin_task(task_name)

    def end_epoch(self, learned):
        """Call the hooks that end an epoch; ``learned()`` gives the attributes of the model as it now is.

        ``learned`` is None for an epoch in which nothing happened.

        Returns
        -------
        stops : bool
            Whether a callback asked for the fit to end here.
        """
        return self.end_task(self._epoch, learned)

    def begin_task(self, task_name):
        """Call the hooks that begin a task, of which several may be under way, and return it for `end_task`."""
        task = self._fit.subcontext(task_name=task_name)
        task.call_on_fit_task_begin(estimator=self._estimator, **self._seen)
        return task

    def end_task(self, task, learned):
        """As `end_epoch`, for a task that `begin_task` has returned."""
        return task.call_on_fit_task_end(
            estimator=self._estimator, **self._seen, reconstruction_attributes=learned
        )

    def end(self):
        """Call the hooks that end the fit. The estimator is fitted by now."""
        self._fit.call_on_fit_task_end(estimator=self._estimator, **self._seen, reconstruction_attributes={})
