"""State of a callback for each fit under way, since clones in a search share one instance."""

from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_consistent_length


class FitStates:
    """Mixin of callbacks: ``self._states[id(estimator)]`` between `setup` and `teardown`.

    Fits may run in several threads at a time. A copy that is pickled for another process has no fits under way.
    """

    # What is to happen where scikit-learn does the fit, and so no epoch, round or tree is seen: see fastfit.fallback.
    when_unwatched = "warn"

    def __init__(self):
        self._states = {}

    def __getstate__(self):
        return {**self.__dict__, "_states": {}}

    def setup(self, estimator, context):
        """Begin a fit: called before its first task."""
        self._states[id(estimator)] = self._new_state(estimator, context)

    def teardown(self, estimator, context):
        """End a fit: called after its last task, and after an error."""
        self._states.pop(id(estimator), None)

    def on_fit_task_begin(self, estimator, context):
        """Begin an epoch, a round or a tree, or the fit."""

    def _new_state(self, estimator, context):
        raise NotImplementedError

    def _state_of(self, estimator):
        return self._states[id(estimator)]


class FitState:
    """One fit under way."""

    def __init__(self, context):
        self.context = context  # of the fit; those of its epochs, rounds or trees are its children
        self.n_iterations = 0

    def is_iteration(self, context):
        """Tell the task of an epoch, a round or a tree from that of the fit."""
        return context.parent is self.context


class Scoring:
    """How a callback scores models: the metric and the data.

    Parameters
    ----------
    scoring : str, callable or None
        As in scikit-learn; None for the estimator's own ``score``. Higher is better.
    X_val, y_val : array-like or None
        None for the training data.
    """

    def __init__(self, scoring, X_val, y_val):
        if (X_val is None) != (y_val is None):
            given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} was given without {missing}; give both or neither.")
        if X_val is not None:
            check_consistent_length(X_val, y_val)
        self.scoring, self.X_val, self.y_val = scoring, X_val, y_val

    def scorer_for(self, estimator):
        """Return the scorer, or raise where the estimator cannot be scored so."""
        return check_scoring(estimator, self.scoring)

    def score(self, scorer, model, X, y):
        """Return the score of a model, on the training data X and y where there are no others."""
        if self.X_val is not None:
            X, y = self.X_val, self.y_val
        return float(scorer(model, X, y))
