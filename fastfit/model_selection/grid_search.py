"""Searches that evaluate every candidate on all folds."""

import numpy as np
from sklearn import model_selection as sklearn_model_selection

from fastfit.model_selection.search import SharingSearch


class GridSearchCV(sklearn_model_selection.GridSearchCV, SharingSearch):
    """Search over all settings of a grid, with nothing fitted twice.

    A drop-in replacement of :class:`sklearn.model_selection.GridSearchCV`: the same arguments, the same
    ``cv_results_``. Where settings of one of fastfit's estimators, also as the last step of a pipeline, share work,
    that is done once a fold; any other estimator is searched as scikit-learn does it.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fit.

    param_grid : dict or list of dict
        Values to try, by name of the hyperparameter; a list of dicts stands for several grids.

    scoring : str, callable, list, tuple or dict, default=None
        The metric or metrics; None: the estimator's ``score``.

    n_jobs : int or None, default=None
        Groups of candidates in work at once. None: as many threads as fastfit's budget has. joblib's backends are
        honoured; without one registered by the user, fastfit's estimators are fitted in threads.

    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all data; of several metrics, by which; or a function from
        ``cv_results_`` to the index of the best.

    cv : int, splitter or iterable, default=None
        The folds; None: 5.

    verbose : int, default=0
        Above 1 every candidate is reported, and therefore fitted, by itself.

    pre_dispatch : int or str, default="2*n_jobs"
        As in joblib.

    error_score : "raise" or number, default=nan
        Score of a candidate whose fit fails.

    return_train_score : bool, default=False
        Whether to score the training data, too.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        Scores and times of the candidates, in scikit-learn's keys and order. The time of a fit that several
        candidates share is divided among them.

    best_estimator_, best_score_, best_params_, best_index_, refit_time_
        Of the best candidate.

    scorer_, n_splits_, multimetric_, classes_, n_features_in_, feature_names_in_
        As in scikit-learn.

    sharing_report_ : fastfit.model_selection.SharingReport
        How many fits were run, how many scikit-learn would have run, and the time saved.

    See Also
    --------
    RandomizedSearchCV : Over settings drawn at random.
    HalvingGridSearchCV : With little of a resource first, and more for the best.

    Notes
    -----
    With callbacks, and with ``verbose`` above 1, candidates are fitted one by one so that each can be watched.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> from fastfit.model_selection import GridSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> search = GridSearchCV(RandomForestClassifier(random_state=0), {"n_estimators": [5, 10, 20]}).fit(X, y)
    >>> search.best_score_ > 0.9, search.sharing_report_.n_fits_apart, search.sharing_report_.n_fits
    (np.True_, 15, 5)
    """

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )


class RandomizedSearchCV(sklearn_model_selection.RandomizedSearchCV, SharingSearch):
    """Search over settings drawn at random, with nothing fitted twice.

    A drop-in replacement of :class:`sklearn.model_selection.RandomizedSearchCV`; see :class:`GridSearchCV` for what
    is shared, and for the attributes.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fit.

    param_distributions : dict or list of dict
        Lists of values, or distributions with a method ``rvs``, by name of the hyperparameter.

    n_iter : int, default=10
        Number of settings that are drawn.

    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in :class:`GridSearchCV`.

    random_state : int, RandomState instance or None, default=None
        Seed of the draws.

    Examples
    --------
    >>> from scipy.stats import randint
    >>> from sklearn.datasets import load_diabetes
    >>> from fastfit.ensemble import HistGradientBoostingRegressor
    >>> from fastfit.model_selection import RandomizedSearchCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = RandomizedSearchCV(HistGradientBoostingRegressor(), {"max_iter": randint(5, 50)}, random_state=0)
    >>> search.fit(X, y).sharing_report_.n_fits
    5
    """

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
