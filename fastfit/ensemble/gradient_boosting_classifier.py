"""Exact gradient boosting for classification."""

from numbers import Integral

from sklearn import ensemble as sklearn_ensemble

from fastfit.ensemble.boosting_fitting import ClassifierFitting
from fastfit.ensemble.boosting_prediction import ClassifierPrediction


class GradientBoostingClassifier(
    ClassifierPrediction, ClassifierFitting, sklearn_ensemble.GradientBoostingClassifier
):
    """Gradient boosting for classification with exact trees.

    Each round grows trees to the negative gradients of the loss at the present predictions, and adds a little of their
    leaves' steps to these [1]_ [2]_. Takes the place of :class:`sklearn.ensemble.GradientBoostingClassifier`: with the
    arguments that both have and the same ``random_state``, ``estimators_`` are the same trees, node for node.

    Parameters
    ----------
    loss : {"log_loss", "exponential"}, default="log_loss"
        What is minimised: the log loss of logistic regression, or, for two classes, the exponential loss of AdaBoost.

    learning_rate : float, default=0.1
        Factor of what each tree adds. Smaller steps need more rounds, and often generalise better.

    n_estimators : int, default=100
        Number of rounds.

    subsample : float, default=1.0
        Share of the samples, drawn anew each round, that the trees of the round are grown from. Below 1.0 the others
        give `oob_scores_` and `oob_improvement_`.

    criterion : {"friedman_mse", "squared_error"}, default="deprecated"
        Has no effect, and a warning in scikit-learn 1.9: splits are chosen by the squared error.

    min_samples_split : int or float, default=2
        Fewest samples of a node that may be split. A float is a share of the training samples, rounded up.

    min_samples_leaf : int or float, default=1
        Fewest samples on either side of a split. A float is a share of the training samples, rounded up.

    min_weight_fraction_leaf : float, default=0.0
        Least weight of a leaf, as a share of the total weight of the samples, in [0, 0.5].

    max_depth : int or None, default=3
        Largest depth of a tree. None: nodes are split until they are pure or `min_samples_split` ends it.

    min_impurity_decrease : float, default=0.0
        Least decrease of the squared error, weighted with the share of the samples at the node, that a split must
        bring.

    init : estimator, "zero" or None, default=None
        What predicts before the first round: an estimator with `fit` and `predict_proba`, zero, or by default
        the shares of the classes.

    random_state : int, RandomState instance or None, default=None
        Determines subsamples, the draws of features, and the rows that are kept back for `n_iter_no_change`. The same
        seed gives scikit-learn's ensemble.

    max_features : {"sqrt", "log2", None}, int or float, default=None
        Number of features drawn anew for every node, among which the best split is looked for: a float as a share of
        them, an int as it is, the square root or the binary logarithm of their number, all of them for None.

    verbose : int, default=0
        From 1 on, the progress is printed now and then; from 2 on, after every round.

    max_leaf_nodes : int or None, default=None
        Largest number of leaves. A tree with this bound grows at the node that improves the squared error most.

    warm_start : bool, default=False
        Whether `fit` keeps the rounds there are and adds the missing ones up to `n_estimators`.

    validation_fraction : float, default=0.1
        Share of the rows to keep back for early stopping. Only with `n_iter_no_change`.

    n_iter_no_change : int or None, default=None
        Stop once the loss on the rows that are kept back has not improved by `tol` over so many rounds. None: never.

    tol : float, default=1e-4
        What counts as an improvement for `n_iter_no_change`.

    ccp_alpha : float, default=0.0
        Complexity parameter of minimal cost-complexity pruning, which each tree undergoes if this is above 0.

    n_jobs : int or None, default=None
        Threads for fits and predictions, within fastfit's budget; None and -1 take all of it, but only as many as the
        data are worth. The result does not depend on it.

    Attributes
    ----------
    n_estimators_ : int
        Number of rounds that were done.

    n_trees_per_iteration_ : int
        Number of trees of a round: one for two classes, else one for each class.

    estimators_ : ndarray of shape (n_estimators_, n_trees_per_iteration_) of DecisionTreeRegressor
        The trees, which are :class:`fastfit.tree.DecisionTreeRegressor` and so scikit-learn's as well. The values of
        their leaves are the steps, to be multiplied by `learning_rate`.

    init_ : estimator or "zero"
        What predicts before the first round.

    train_score_ : ndarray of shape (n_estimators_,)
        Loss after each round on the samples that its trees were grown from.

    oob_scores_ : ndarray of shape (n_estimators_,)
        Loss after each round on the other samples. Only with ``subsample < 1.0``, like the next two.

    oob_improvement_ : ndarray of shape (n_estimators_,)
        By how much each round has lowered that loss.

    oob_score_ : float
        The last of `oob_scores_`.

    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the decrease of the squared error, averaged over the trees.

    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.

    n_classes_ : int
        Number of classes.

    n_features_in_ : int
        Number of features seen during :term:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names that are all strings.

    max_features_ : int
        Number of features that are drawn for each node.

    fit_engine_ : {"fastfit", "scikit-learn"}
        Which implementation fitted this estimator.

    See Also
    --------
    GradientBoostingRegressor : The same for regression.
    RandomForestClassifier : Independent trees.
    fastfit.tree.DecisionTreeRegressor : A single tree.

    Raises
    ------
    ValueError
        From ``fit``, for bad input, as in scikit-learn. An estimator whose fit failed keeps its former fit.

    Notes
    -----
    Sparse X is fitted by scikit-learn (see :func:`fastfit.set_config`). Nothing else is.

    Columns are sorted once for all rounds. Where all features are tried at nodes of hundreds of samples, histograms
    tell in which few bins the best split may be, and only these are looked at value by value: the split is still the
    best of all, at the price of a histogram. Where two splits are equal but for rounding, sums are made again in
    scikit-learn's order.

    Small tables are boosted by a kernel that does a whole round, sorting as scikit-learn sorts; sums have its order,
    and trees every bit.

    ``set_callbacks`` takes callbacks of scikit-learn's protocol, which are told of every round. If a fit is
    interrupted, the former one stays, and a warm start goes on from there.

    Predictions walk through a packed copy of the trees, made at the first prediction and anew when there are other
    trees.

    References
    ----------
    .. [1] J. Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29(5), 2001.
    .. [2] J. Friedman, "Stochastic gradient boosting", Computational Statistics & Data Analysis 38(4), 2002.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.ensemble import GradientBoostingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.estimators_.shape
    (True, (20, 3))
    >>> model.fit_engine_
    'fastfit'
    """

    _parameter_constraints: dict = {
        **sklearn_ensemble.GradientBoostingClassifier._parameter_constraints,
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        *,
        loss="log_loss",
        learning_rate=0.1,
        n_estimators=100,
        subsample=1.0,
        criterion="deprecated",
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_depth=3,
        min_impurity_decrease=0.0,
        init=None,
        random_state=None,
        max_features=None,
        verbose=0,
        max_leaf_nodes=None,
        warm_start=False,
        validation_fraction=0.1,
        n_iter_no_change=None,
        tol=1e-4,
        ccp_alpha=0.0,
        n_jobs=None,
    ):
        super().__init__(
            loss=loss,
            learning_rate=learning_rate,
            n_estimators=n_estimators,
            subsample=subsample,
            criterion=criterion,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_depth=max_depth,
            min_impurity_decrease=min_impurity_decrease,
            init=init,
            random_state=random_state,
            max_features=max_features,
            verbose=verbose,
            max_leaf_nodes=max_leaf_nodes,
            warm_start=warm_start,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            ccp_alpha=ccp_alpha,
        )
        self.n_jobs = n_jobs
