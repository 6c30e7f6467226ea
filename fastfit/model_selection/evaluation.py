"""Fit and score settings on the two parts of a split, those that share work as one."""

import math
import time
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer, _PassthroughScorer
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import _routing_enabled
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from fastfit.runtime.reuse import SharedWork


class Task(NamedTuple):
    """What all settings are fitted to, and how they are scored.

    Attributes
    ----------
    estimator : estimator
        Unfitted; it is cloned for each fit.
    X, y : the data
    scorer : callable
    fit_params, score_params : dict
        Arguments of ``fit`` and of the scorer; those with a value for each sample are split like X.
    error_score : number or "raise"
    return_train_score : bool
    """

    estimator: object
    X: object
    y: object
    scorer: object
    fit_params: dict
    score_params: dict
    error_score: object
    return_train_score: bool


class Effort(NamedTuple):
    """What was done for some settings on one split."""

    n_fits: int
    work: int  # in the unit of the family
    work_apart: int  # what it would have been, each setting by itself
    seconds: float
    seconds_apart: float  # an estimate: that of the work, in proportion
    unit: str


class Part(NamedTuple):
    """Samples, and what the scorer gets with them."""

    X: object
    y: object
    score_params: dict
    known: dict  # what has been found out about y


class Split:
    """One split of the data, whose parts, and what is prepared from them, all settings share."""

    def __init__(self, task, train, test):
        self.task = task
        self.train = train
        self.test = test
        self.shared = SharedWork()

    def __getstate__(self):
        return self.task, self.train, self.test

    def __setstate__(self, state):
        self.__init__(*state)

    def parts(self):
        """Return (Part to fit, arguments of fit, Part to score)."""
        return self.shared.get("parts", self._make_parts)

    def parts_behind(self, head):
        """Return the fitted first steps of a pipeline, and the parts that its last step gets."""
        fitting, fit_params, scoring = self.parts()
        if head is None:
            return None, fitting, fit_params, scoring
        return self.shared.get(("head", head.key), lambda: self._make_parts_behind(head))

    def _make_parts(self):
        task = self.task
        indices = np.asarray(self.train), np.asarray(self.test)
        X_train, y_train = _safe_split(task.estimator, task.X, task.y, indices[0])
        X_test, y_test = _safe_split(task.estimator, task.X, task.y, indices[1], indices[0])
        score_params = [_check_method_params(task.X, params=task.score_params, indices=i) for i in indices]
        fit_params = _check_method_params(task.X, params=task.fit_params, indices=indices[0])
        fitting, scoring = (
            Part(X_train, y_train, score_params[0], {}),
            Part(X_test, y_test, score_params[1], {}),
        )
        return fitting, fit_params, scoring

    def _make_parts_behind(self, head):
        fitting, fit_params, scoring = self.parts()
        prefix = head.pipeline.steps[-1][0] + "__"
        if not all(name.startswith(prefix) for name in fit_params):
            raise NotImplementedError("arguments of fit for steps that are not the last")
        fit_params = {name.removeprefix(prefix): value for name, value in fit_params.items()}
        steps = [(name, step) for name, step in head.pipeline.steps[:-1] if step not in (None, "passthrough")]
        if not steps:
            return Pipeline([("none", "passthrough")]), fitting, fit_params, scoring
        fitted = clone(Pipeline(steps))
        of_fitting = fitted.fit_transform(fitting.X, fitting.y)
        of_scoring = fitted.transform(scoring.X)
        return fitted, fitting._replace(X=of_fitting), fit_params, scoring._replace(X=of_scoring)


def evaluate_group(split, group, settings, kept=None):
    """Fit a group of settings as one, and score each.

    Parameters
    ----------
    split : Split
    group : fastfit.model_selection.plan.Group
    settings : list of dict
        All settings, at the positions that the group tells.
    kept : dict or None
        Runs by key. That of this group goes on if it is there, and the new one takes its place.

    Returns
    -------
    outcomes : list of (position, dict)
        What scikit-learn's ``_fit_and_score`` returns for each.
    effort : Effort

    Raises
    ------
    Exception
        Whatever a fit raises; which setting is to blame is for the caller to find out, fitting them one by one.
    """
    task = split.task
    with split.shared.used():
        begin = time.perf_counter()
        head, fitting, fit_params, scoring = split.parts_behind(group.head)
        former = None if kept is None else kept.pop(group.key, None)
        fit = group.sharing.fit if kept is None else group.sharing.begin
        if former is not None:
            fit = partial(group.sharing.go_on, former)
        run = fit(group.estimators, fitting.X, fitting.y, fit_params)
        if kept is not None:
            kept[group.key] = run
        fit_seconds = time.perf_counter() - begin
        scores_last_step = head is None or _asks_predictions_only(task.scorer)
        n_parts = 1 + bool(task.return_train_score)
        parts = [scoring, fitting][:n_parts]
        own_fitting, _, own_scoring = split.parts()
        asked = parts if scores_last_step else [own_scoring, own_fitting][:n_parts]
        answers = [run.answers(part.X) if scores_last_step else None for part in parts]
        work = [run.work_of(i) for i in range(len(group.estimators))]
        outcomes = []
        for i, model in run.models():
            if model is None:
                outcomes.append((group.positions[i], evaluate_alone(split, settings[group.positions[i]])[0]))
                continue
            begin = time.perf_counter()
            given = [None if of_part is None else next(of_part) for of_part in answers]
            scored = model if scores_last_step else _whole(group, i, head, model)
            scores = [_score_model(scored, *pair, task) for pair in zip(asked, given, strict=True)]
            outcome = {
                "fit_error": None,
                "test_scores": scores[0],
                "n_test_samples": _num_samples(scoring.X),
                "fit_time": fit_seconds * work[i] / sum(work),
                "score_time": time.perf_counter() - begin,
            }
            if task.return_train_score:
                outcome["train_scores"] = scores[1]
            outcomes.append((group.positions[i], outcome))
    seconds_apart = fit_seconds * sum(work) / max(run.work, 1)
    return outcomes, Effort(
        run.n_fits, run.work, sum(work), fit_seconds, max(seconds_apart, fit_seconds), group.sharing.unit
    )


def evaluate_alone(split, setting, **options):
    """Fit and score one setting as scikit-learn does; an error becomes its ``error_score``."""
    task = split.task
    begin = time.perf_counter()
    outcome = _fit_and_score(
        clone(task.estimator),
        task.X,
        task.y,
        scorer=task.scorer,
        train=split.train,
        test=split.test,
        parameters=setting,
        fit_params=task.fit_params,
        score_params=task.score_params,
        return_train_score=task.return_train_score,
        return_n_test_samples=True,
        return_times=True,
        error_score=task.error_score,
        **{"verbose": 0, **options},
    )
    seconds = time.perf_counter() - begin
    return outcome, Effort(1, 1, 1, seconds, seconds, "fits")


def evaluate_group_or_each(split, group, settings, kept=None):
    """Evaluate a group, or, if that fails, each of its settings by itself; ``kept`` as in `evaluate_group`.

    Returns
    -------
    outcomes : list of (position, dict)
    efforts : list of Effort
    """
    try:
        outcomes, effort = evaluate_group(split, group, settings, kept)
    except Exception:
        outcomes = None
    if outcomes is None:
        alone = [(position, *evaluate_alone(split, settings[position])) for position in group.positions]
        return [(position, outcome) for position, outcome, _ in alone], [effort for *_, effort in alone]
    return outcomes, [effort]


def _whole(group, i, head, model):
    """Return the fitted pipeline whose last step is ``model``."""
    name = group.head.pipeline.steps[-1][0]
    return Pipeline([*head.steps, (name, model)])


def _asks_predictions_only(scorer):
    """Return whether the scorer sees nothing of a pipeline but what its last step predicts."""
    if _routing_enabled():
        return False
    scorers = scorer._scorers.values() if isinstance(scorer, _MultimetricScorer) else [scorer]
    return all(isinstance(one, (_BaseScorer, _PassthroughScorer)) for one in scorers)


def _score_model(model, part, answer, task):
    for name, make in answer or ():
        model.__dict__[name] = _answering(model, name, make, part.X)
    try:
        score = _own_score(model, part, task.scorer)
        if score is not None:
            return score
        return _score(model, part.X, part.y, task.scorer, part.score_params, task.error_score)
    finally:
        for name, _ in answer or ():
            model.__dict__.pop(name, None)


def _answering(model, name, make, known):
    """Return a method that has its answer for the X that is known ready."""
    own = getattr(type(model), name)

    def answer(X, *args, **kwargs):
        return make() if X is known else own(model, X, *args, **kwargs)

    # Scorers tell methods by their names.
    answer.__name__ = name
    return answer


def _own_score(model, part, scorer):
    """Return accuracy or R2, if that is what the scorer computes, of targets that are plainly such; else None.

    scikit-learn takes 0.3 to 0.5 ms to find out what y is, which is more than many models take to predict.
    """
    y = part.y
    if (
        not isinstance(scorer, _PassthroughScorer)
        or part.score_params
        or type(y) is not np.ndarray
        or y.ndim != 1
        or len(y) < 2
    ):
        return None
    method = getattr(type(model), "score", None)
    if method is ClassifierMixin.score and y.dtype.kind in "biu":
        measure, kinds = _accuracy, "biu"
    elif method is RegressorMixin.score and y.dtype == np.float64:
        measure, kinds = _r_squared, "f"
    else:
        return None
    try:
        predicted = model.predict(part.X)
    except Exception:
        # Found again, and reported, by whoever knows how.
        return None
    if type(predicted) is not np.ndarray or predicted.shape != y.shape or predicted.dtype.kind not in kinds:
        return None
    return measure(y, predicted, part.known)


def _accuracy(y, predicted, known):
    return float(np.count_nonzero(predicted == y) / len(y))


def _r_squared(y, predicted, known):
    """Return scikit-learn's R2, in its order of operations; None for what it treats apart."""
    if predicted.dtype != np.float64:
        return None
    # Columns, as there: sums along them are taken in another order than those of vectors.
    y, predicted = y.reshape(-1, 1), predicted.reshape(-1, 1)
    with np.errstate(all="ignore"):
        residual = np.sum((y - predicted) ** 2, axis=0)
        total = known.get("total")
        if total is None:
            total = known["total"] = np.sum((y - np.average(y, axis=0)) ** 2, axis=0)
        score = float((1 - residual / total)[0])
    return score if math.isfinite(score) else None
