"""Reports of rounds to scikit-learn's callbacks, if any are set."""

from contextlib import contextmanager


class Report:
    """What the callbacks said of a round."""

    wants_to_stop = False


class RoundReports:
    """Calls the hooks of the estimator's callbacks around the fit and around each round; without callbacks nothing.

    Parameters
    ----------
    estimator : object
        With scikit-learn's ``CallbackSupportMixin``.
    n_rounds : int
        Most rounds there will be.
    given : tuple
        X, y and sample_weight as they were passed to ``fit``.
    fitted_so_far : callable
        Returns the attributes, by name, of an estimator that stopped here and can predict.
    """

    def __init__(self, estimator, n_rounds, given, fitted_so_far):
        self.wanted = hasattr(estimator, "_skl_callbacks")
        if not self.wanted:
            return
        self.estimator = estimator
        self.fitted_so_far = fitted_so_far
        X, y, sample_weight = given
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.told = {"X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=n_rounds)
        self.context.call_on_fit_task_begin(estimator=estimator, **self.told)

    @contextmanager
    def round(self):
        """Report the begin and the end of a round; what is yielded says afterwards whether to stop."""
        report = Report()
        if not self.wanted:
            yield report
            return
        context = self.context.subcontext(task_name="round")
        context.call_on_fit_task_begin(estimator=self.estimator, **self.told)
        yield report
        report.wants_to_stop = context.call_on_fit_task_end(
            estimator=self.estimator, **self.told, reconstruction_attributes=self.fitted_so_far
        )

    def finish(self):
        """Report the end of the fit."""
        if self.wanted:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, **self.told, reconstruction_attributes=self.fitted_so_far
            )
