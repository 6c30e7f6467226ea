"""Scores over a hyperparameter, and over many settings at once, without a search around them."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import indexable

from fastfit.model_selection.evaluation import Split, Task, evaluate_alone, evaluate_group_or_each
from fastfit.model_selection.plan import plan
from fastfit.runtime.threads import map_threads, thread_budget


def validation_curve(
    estimator,
    X,
    y,
    *,
    param_name,
    param_range,
    groups=None,
    cv=None,
    scoring=None,
    n_jobs=None,
    pre_dispatch="all",
    verbose=0,
    error_score=np.nan,
    params=None,
):
    """Return training and test scores for values of one hyperparameter.

    The signature and the results are those of :func:`sklearn.model_selection.validation_curve`; values that share a
    fit are fitted as one.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
    param_name : str
        Name of the hyperparameter.
    param_range : array-like of shape (n_values,)
        Its values.
    groups : array-like of shape (n_samples,), default=None
        For the splitter.
    cv : int, splitter or iterable, default=None
    scoring : str or callable, default=None
    n_jobs : int or None, default=None
        Threads, within fastfit's budget.
    pre_dispatch, verbose
        As in scikit-learn; they change nothing.
    error_score : "raise" or number, default=nan
    params : dict, default=None
        Arguments of ``fit``.

    Returns
    -------
    train_scores, test_scores : ndarray of shape (n_values, n_cv_folds)

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastfit.ensemble import GradientBoostingRegressor
    >>> from fastfit.model_selection import validation_curve
    >>> X, y = load_diabetes(return_X_y=True)
    >>> boosting = GradientBoostingRegressor(random_state=0)
    >>> train_scores, test_scores = validation_curve(
    ...     boosting, X, y, param_name="n_estimators", param_range=[10, 50, 100]
    ... )
    >>> train_scores.shape, bool((train_scores[2] > train_scores[0]).all())
    ((3, 5), True)
    """
    settings = [{param_name: value} for value in param_range]
    results = cross_validate_many(
        estimator,
        X,
        y,
        settings,
        groups=groups,
        cv=cv,
        scoring=check_scoring(estimator, scoring=scoring),
        n_jobs=n_jobs,
        error_score=error_score,
        params=params,
        return_train_score=True,
    )
    curves = [[result[name] for result in results] for name in ("train_score", "test_score")]
    return tuple(np.array(curve) for curve in curves)


def cross_validate_many(
    estimator,
    X,
    y,
    settings,
    *,
    groups=None,
    scoring=None,
    cv=None,
    n_jobs=None,
    params=None,
    return_train_score=False,
    error_score=np.nan,
):
    """Return what :func:`sklearn.model_selection.cross_validate` returns, for each of many settings.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
    settings : iterable of dict
        Hyperparameters by name, as for ``set_params``.
    groups : array-like of shape (n_samples,), default=None
        For the splitter.
    scoring : str, callable, list, tuple or dict, default=None
    cv : int, splitter or iterable, default=None
    n_jobs : int or None, default=None
        Threads, within fastfit's budget.
    params : dict, default=None
        Arguments of ``fit``.
    return_train_score : bool, default=False
    error_score : "raise" or number, default=nan

    Returns
    -------
    results : list of dict of ndarray of shape (n_cv_folds,)
        For each setting ``fit_time``, ``score_time``, ``test_score`` and, if asked for, ``train_score``; with several
        metrics ``test_<metric>``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> from fastfit.model_selection import cross_validate_many
    >>> X, y = load_iris(return_X_y=True)
    >>> settings = [{"n_estimators": 5}, {"n_estimators": 10}]
    >>> results = cross_validate_many(RandomForestClassifier(random_state=0), X, y, settings)
    >>> [sorted(result) for result in results]
    [['fit_time', 'score_time', 'test_score'], ['fit_time', 'score_time', 'test_score']]
    """
    settings = list(settings)
    X, y, groups = indexable(X, y, groups)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    scorer = check_scoring(estimator, scoring, raise_exc=error_score == "raise")
    task = Task(clone(estimator), X, y, scorer, params or {}, {}, error_score, return_train_score)
    splits = [Split(task, *split) for split in splitter.split(X, y, groups)]
    planned = plan(estimator, settings)
    outcomes = [[None] * len(splits) for _ in settings]

    def run(job):
        i, group = job
        if isinstance(group, int):
            outcomes[group][i] = evaluate_alone(splits[i], settings[group])[0]
            return
        for position, outcome in evaluate_group_or_each(splits[i], group, settings)[0]:
            outcomes[position][i] = outcome

    jobs = [(i, group) for i in range(len(splits)) for group in planned.groups]
    map_threads(run, jobs, thread_budget(n_jobs))
    for job in [(i, position) for position in planned.others for i in range(len(splits))]:
        run(job)
    return [_as_columns(of_setting) for of_setting in outcomes]


def _as_columns(outcomes):
    """Return the outcomes of the splits as arrays by name."""
    columns = {name: np.array([outcome[name] for outcome in outcomes]) for name in ("fit_time", "score_time")}
    for kind in ("test", "train"):
        if f"{kind}_scores" not in outcomes[0]:
            continue
        scores = [outcome[f"{kind}_scores"] for outcome in outcomes]
        if isinstance(scores[0], dict):
            columns |= {f"{kind}_{name}": np.array([of[name] for of in scores]) for name in scores[0]}
        else:
            columns[f"{kind}_score"] = np.array(scores)
    return columns
