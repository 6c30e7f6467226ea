"""End a fit when a score has stopped improving, and keep the best model."""

import math
from numbers import Integral, Real

from fastfit.callbacks.fit_states import FitState, FitStates, Scoring


class EarlyStopping(FitStates):
    """End a fit once a score has not improved for some epochs, rounds or trees.

    Parameters
    ----------
    X_val, y_val : array-like, default=None
        Data to score on, as the estimator itself would get them: in a pipeline, what the steps before it make of them.
        None: the training data.
    scoring : str, callable or None, default=None
        As in scikit-learn (``"neg_log_loss"``, ``"r2"``, ...); None is the estimator's own ``score``. Higher is better.
    patience : int, default=10
        So many epochs, rounds or trees in turn without improvement end the fit.
    min_delta : float, default=0.0
        By how much a score must be above the best so far to count as an improvement.
    restore_best : bool, default=True
        Whether the fitted estimator gets the parameters of the best epoch. What tells of the training as a whole
        (``loss_curve_`` of networks, ...) stays.

    Attributes
    ----------
    best_score_ : float
    best_iteration_ : int
        From 1. These attributes are those of the last fit that has ended, in this process.
    scores_ : list of float
    stopped_ : bool
        Whether it was this callback that ended the fit.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastfit.callbacks import EarlyStopping
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> stopping = EarlyStopping(X[1200:], y[1200:], patience=5)
    >>> forest = RandomForestClassifier(random_state=0).set_callbacks(stopping).fit(X[:1200], y[:1200])
    >>> stopping.stopped_, len(forest.estimators_) == stopping.best_iteration_
    (True, True)
    """

    def __init__(
        self, X_val=None, y_val=None, *, scoring=None, patience=10, min_delta=0.0, restore_best=True
    ):
        super().__init__()
        if not isinstance(patience, Integral) or isinstance(patience, bool) or patience < 1:
            raise ValueError(f"patience must be an integer of at least 1, got {patience!r}.")
        if not isinstance(min_delta, Real) or not 0.0 <= min_delta < math.inf:
            raise ValueError(f"min_delta must be a number of at least 0, got {min_delta!r}.")
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self._scoring = Scoring(scoring, X_val, y_val)

    def _new_state(self, estimator, context):
        return _State(context, self._scoring.scorer_for(estimator))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        """Score the model, and return whether to stop."""
        state = self._state_of(estimator)
        if context is state.context:
            self._end_fit(estimator, state)
            return False
        if not state.is_iteration(context) or fitted_estimator is None:
            return False
        score = self._scoring.score(state.scorer, fitted_estimator, X, y)
        state.scores.append(score)
        if state.best_iteration == 0 or score > state.best_score + self.min_delta:
            state.best_score, state.best_iteration = score, len(state.scores)
            if self.restore_best:
                state.best_attributes = _difference(fitted_estimator, estimator)
        state.stopped = len(state.scores) - state.best_iteration >= self.patience
        return state.stopped

    def _end_fit(self, estimator, state):
        if state.best_attributes is not None and state.best_iteration < len(state.scores):
            vars(estimator).update(state.best_attributes)
        self.best_score_, self.best_iteration_ = state.best_score, state.best_iteration
        self.scores_, self.stopped_ = state.scores, state.stopped


class _State(FitState):
    def __init__(self, context, scorer):
        super().__init__(context)
        self.scorer = scorer
        self.scores = []
        self.best_score, self.best_iteration = math.nan, 0
        self.best_attributes = None
        self.stopped = False


def _difference(model, estimator):
    """Return the attributes of a model of one epoch that the estimator under way does not have, or has otherwise."""
    under_way = vars(estimator)
    missing = object()
    return {name: value for name, value in vars(model).items() if under_way.get(name, missing) is not value}
