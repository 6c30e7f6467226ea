"""Searches that give little of a resource to all candidates, and more and more to the best."""

import numpy as np
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV as SklearnHalvingGridSearchCV
from sklearn.model_selection import HalvingRandomSearchCV as SklearnHalvingRandomSearchCV

from fastfit.model_selection.search import SharingSearch


class HalvingGridSearchCV(SklearnHalvingGridSearchCV, SharingSearch):
    """Search over the settings of a grid by successive halving, with nothing fitted twice.

    A drop-in replacement of :class:`sklearn.model_selection.HalvingGridSearchCV`. Where the resource is a number of
    trees or rounds (``n_estimators``, ``max_iter``), survivors go on from where they were; their scores are those of
    a fit that starts anew.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fit.

    param_grid : dict or list of dict
        Values to try, by name of the hyperparameter.

    factor : int or float, default=3
        One of so many candidates survives each iteration.

    resource : str, default="n_samples"
        What candidates get more of: samples, or a hyperparameter that is a positive integer.

    max_resources : int, default="auto"
        The most of it; "auto" is for samples: all.

    min_resources : int, "exhaust" or "smallest", default="exhaust"
        How much of it the first iteration gives.

    aggressive_elimination : bool, default=False
        Whether to repeat the first iterations, if there are too few resources to get down to ``factor`` candidates.

    cv, scoring, refit, error_score, return_train_score, n_jobs, verbose
        As in :class:`GridSearchCV`; one metric only.

    random_state : int, RandomState instance or None, default=None
        Seed of the draw of samples.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's.

    n_resources_, n_candidates_, n_remaining_candidates_, n_iterations_
        Of the iterations; these and all others as scikit-learn's.

    sharing_report_ : fastfit.model_selection.SharingReport
        How many fits were run, and how many scikit-learn would have run.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> from fastfit.model_selection import HalvingGridSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> forest = RandomForestClassifier(random_state=0)
    >>> search = HalvingGridSearchCV(
    ...     forest, {"max_depth": [1, 2, 4, 8]}, resource="n_estimators", max_resources=24, factor=2, cv=2
    ... ).fit(X, y)
    >>> search.n_resources_, search.sharing_report_.work_apart, search.sharing_report_.work
    ([6, 12, 24], {'trees': 144}, {'trees': 96})
    """

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        factor=3,
        resource="n_samples",
        max_resources="auto",
        min_resources="exhaust",
        aggressive_elimination=False,
        cv=5,
        scoring=None,
        refit=True,
        error_score=np.nan,
        return_train_score=True,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        super().__init__(
            estimator,
            param_grid,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )


class HalvingRandomSearchCV(SklearnHalvingRandomSearchCV, SharingSearch):
    """Search over settings drawn at random by successive halving, with nothing fitted twice.

    A drop-in replacement of :class:`sklearn.model_selection.HalvingRandomSearchCV`; see
    :class:`HalvingGridSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fit.

    param_distributions : dict or list of dict
        Lists of values, or distributions with a method ``rvs``, by name of the hyperparameter.

    n_candidates : int or "exhaust", default="exhaust"
        Number of settings to begin with; "exhaust": as many as leave enough of the resource for the last iteration.

    factor, resource, max_resources, aggressive_elimination, cv, scoring, refit, error_score, return_train_score
        As in :class:`HalvingGridSearchCV`.

    min_resources : int, "exhaust" or "smallest", default="smallest"
        How much of the resource the first iteration gives.

    random_state : int, RandomState instance or None, default=None
        Seed of the draws of settings and of samples.

    n_jobs, verbose
        As in :class:`GridSearchCV`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastfit.model_selection import HalvingRandomSearchCV
    >>> from fastfit.tree import DecisionTreeClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> tree = DecisionTreeClassifier(random_state=0)
    >>> search = HalvingRandomSearchCV(tree, {"max_depth": range(1, 9)}, random_state=0).fit(X, y)
    >>> search.best_score_ > 0.8
    np.True_
    """

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_candidates="exhaust",
        factor=3,
        resource="n_samples",
        max_resources="auto",
        min_resources="smallest",
        aggressive_elimination=False,
        cv=5,
        scoring=None,
        refit=True,
        error_score=np.nan,
        return_train_score=True,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_candidates=n_candidates,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
