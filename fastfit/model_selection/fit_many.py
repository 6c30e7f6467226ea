"""One fitted estimator for each of many settings, with nothing fitted twice."""

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from fastfit.model_selection.plan import plan
from fastfit.runtime.reuse import SharedWork
from fastfit.runtime.threads import map_threads, thread_budget
from fastfit.sharing import fit_clone


def fit_many(estimator, X, y, settings, *, sample_weight=None, n_jobs=None, **fit_params):
    """Fit an estimator with each of many settings.

    Each result equals ``clone(estimator).set_params(**setting).fit(X, y)``. What settings share is done once: rounds,
    trees and epochs of the longest fit are those of the shorter ones, and what is prepared from X serves all.

    Parameters
    ----------
    estimator : estimator
        Any; fastfit's, also as the last step of a pipeline, share work. It stays as it is.

    X : array-like of shape (n_samples, n_features)
        Training data.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Targets.

    settings : iterable of dict
        Hyperparameters by name, as for ``set_params``.

    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each sample, passed to ``fit`` (of a pipeline's last step).

    n_jobs : int or None, default=None
        Threads for settings that do not share a fit, within fastfit's budget.

    **fit_params
        Further arguments of ``fit``.

    Returns
    -------
    models : list of estimators
        One for each setting, in their order. Models that were fitted as one may have arrays and trees in common.

    Raises
    ------
    Exception
        What the fit of the first setting that fails raises.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> from fastfit.model_selection import fit_many
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(random_state=0)
    >>> few, many = fit_many(forest, X, y, [{"n_estimators": 5}, {"n_estimators": 50}])
    >>> len(few.estimators_), len(many.estimators_), few.estimators_[0] is many.estimators_[0]
    (5, 50, True)
    """
    settings = list(settings)
    if sample_weight is not None:
        name = "sample_weight"
        if isinstance(estimator, Pipeline):
            name = f"{estimator.steps[-1][0]}__sample_weight"
        fit_params[name] = sample_weight
    groups, others = plan(estimator, settings)
    shared = SharedWork()
    models = [None] * len(settings)

    def fit_alone(position):
        model = clone(estimator).set_params(**clone(settings[position], safe=False))
        models[position] = fit_clone(model, X, y, fit_params)

    def fit_group(group):
        with shared.used():
            try:
                fitted = list(_fit(group, X, y, fit_params, shared))
            except Exception:
                # One of them is to blame, or none if they are fitted one by one.
                for position in group.positions:
                    fit_alone(position)
                return
        for i, model in fitted:
            if model is None:
                fit_alone(group.positions[i])
            else:
                models[group.positions[i]] = model

    map_threads(fit_group, groups, thread_budget(n_jobs))
    for position in others:
        fit_alone(position)
    return models


def _fit(group, X, y, fit_params, shared):
    """Yield (number within the group, fitted estimator)."""
    if group.head is None:
        yield from group.sharing.fit(group.estimators, X, y, fit_params).models()
        return
    pipeline = group.head.pipeline
    name = pipeline.steps[-1][0]
    if not all(given.startswith(f"{name}__") for given in fit_params):
        raise NotImplementedError("arguments of fit for steps that are not the last")
    fit_params = {given.removeprefix(f"{name}__"): value for given, value in fit_params.items()}
    steps, X = shared.get(("head", group.head.key), lambda: _fit_head(pipeline, X, y))
    for i, model in group.sharing.fit(group.estimators, X, y, fit_params).models():
        yield i, model and Pipeline([*steps, (name, model)])


def _fit_head(pipeline, X, y):
    """Return the fitted steps but for the last, and what they make of X."""
    steps = pipeline.steps[:-1]
    head = clone(Pipeline(steps)) if steps else None
    return ([], X) if head is None else _transform(head, X, y)


def _transform(head, X, y):
    X = head.fit_transform(X, y)
    return head.steps, X
