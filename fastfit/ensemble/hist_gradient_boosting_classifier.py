"""Gradient boosting on histograms, for classification."""

from sklearn import ensemble as sklearn_ensemble

from fastfit.ensemble.hist_gradient_boosting_arguments import OWN_CONSTRAINTS
from fastfit.ensemble.hist_gradient_boosting_fitting import HistGradientBoostingFitting
from fastfit.ensemble.hist_gradient_boosting_prediction import ClassifierPrediction


class HistGradientBoostingClassifier(
    ClassifierPrediction, HistGradientBoostingFitting, sklearn_ensemble.HistGradientBoostingClassifier
):
    """Gradient boosting of trees on binned features, for classification.

    Each round adds a tree (of more than two classes: one for each class) that is a Newton step of the log loss. Trees
    look at splits between at most 255 bins of a feature, whose gradients are summed in histograms [1]_. Takes the place
    of :class:`sklearn.ensemble.HistGradientBoostingClassifier`: with the arguments that both have and the same
    ``random_state``, trees have the same splits, but for near-ties of their gains within rounding.

    Parameters
    ----------
    loss : {"log_loss"}, default="log_loss"
        The loss: binomial deviance of two classes, multinomial deviance of more.

    learning_rate : float, default=0.1
        Factor of every leaf's value, also called shrinkage.

    max_iter : int, default=100
        Number of rounds: of trees for two classes, of one tree for each class for more.

    max_leaf_nodes : int or None, default=31
        Largest number of leaves of a tree, at least 2; None for no bound. Trees grow at the leaf that gains most.

    max_depth : int or None, default=None
        Largest number of edges between the root and a leaf.

    min_samples_leaf : int, default=20
        Fewest samples of a leaf, counted exactly. Tables of a few hundred rows want less.

    l2_regularization : float, default=0.0
        Added to the hessian of every node: leaves with little evidence move less.

    max_features : float, default=1.0
        Share of the features drawn anew for every node, among which its split is looked for.

    max_bins : int, default=255
        Most bins of a feature, in [2, 255]; one more is kept for missing values.

    categorical_features : array-like of {bool, int, str} or None, default="from_dtype"
        Which features are categories: a mask, positions, names, or "from_dtype", which takes the columns of a data
        frame (pandas, polars, and what narwhals knows) of dtype category or enum. None: no feature. Splits send any
        set of categories to one side.

    monotonic_cst : array-like of int of shape (n_features,), dict or None, default=None
        1 where the prediction must not fall with the feature, -1 where it must not rise, 0 where it is free; a dict
        maps names of features to these. For two classes, where it holds for the
        probability of the positive one.

    interaction_cst : {"pairwise", "no_interactions"}, sequence of collections of int, or None, default=None
        Sets of features that may meet on a path from the root to a leaf. Features in none of the sets are a set of
        their own.

    warm_start : bool, default=False
        Whether `fit` keeps the trees there are and adds rounds up to `max_iter`. The data should be the same.

    early_stopping : "auto" or bool, default="auto"
        Whether to stop when scores no longer improve. "auto": with more than 10,000 samples.

    scoring : str, callable or None, default="loss"
        What early stopping looks at: the loss, the name of a scorer, a scorer, or with None the estimator's own score.

    validation_fraction : int, float or None, default=0.1
        Size, or share, of the training data that is kept back for early stopping; None scores the training data. Of no
        effect without early stopping, or with `X_val` in `fit`.

    n_iter_no_change : int, default=10
        Rounds without improvement that end the fit.

    tol : float, default=1e-7
        Least difference of scores that is an improvement.

    verbose : int, default=0
        From 1 on the fit tells of its time, from 2 on of every round.

    random_state : int, RandomState instance or None, default=None
        Determines the rows that bins are made from (of more than 200,000), the validation data, and the draws of
        features and of `subsample` and `colsample_bytree`.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, by which those of the samples are multiplied: a dict from class to weight (1 where a
        class is missing), or "balanced" for the inverse of the frequencies,
        ``n_samples / (n_classes * np.bincount(y))``.

    n_jobs : int or None, default=None
        Number of threads for `fit` and the predictions, within the budget of the process; None and -1 take the whole
        budget, but only as many as the data are worth. The result has the same bits for any number of threads.

    subsample : float, default=1.0
        Share of the rows, in (0, 1], drawn without replacement for each round; its trees are grown to these only
        [2]_.

    colsample_bytree : float, default=1.0
        Share of the features, in (0, 1], drawn for each round. `max_features` then draws among these.

    reg_alpha : float, default=0.0
        Penalty of the absolute value of leaves: the sum of gradients of a node is moved towards zero by so much
        before a leaf's value or a split's gain is computed.

    min_gain_to_split : float, default=0.0
        Least gain of a split.

    group_rare_categories : bool, default=False
        Whether a categorical feature may have more than `max_bins` categories; the rarest of them then share one
        bin. False: that is an error, as in scikit-learn.

    importance_type : {"gain", "split"}, default="gain"
        What `feature_importances_` counts: the gains of a feature's splits, or their number.

    compact_pickle : bool, default=False
        Whether a pickle of the fitted model holds trees in a packed form, which takes about a tenth of the bytes. It
        keeps what predictions need; what else it rounds or leaves out stands in the notes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.

    do_early_stopping_ : bool
        Whether the fit could stop early.

    n_iter_ : int
        Number of rounds.

    n_trees_per_iteration_ : int
        Number of trees of a round: 1 for two classes, the number of classes for more.

    train_score_ : ndarray of shape (n_iter_ + 1,)
        Scores on the training data before the first round and after each; with a scorer on at most 10,000 of them.
        Empty without early stopping.

    validation_score_ : ndarray of shape (n_iter_ + 1,)
        The same for the validation data. Empty without early stopping or such data.

    loss_curve_ : ndarray of shape (n_iter_,)
        Mean loss on the training data at the start of each round, which the gradients are computed with; so the
        first is that of the constant model. After `subsample` too it is that of all training data.

    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the gains, or the number, of all splits (`importance_type`).

    is_categorical_ : ndarray of shape (n_features,) of bool, or None
        Which features are categories; None if there are none.

    n_features_in_ : int
        Number of features seen during :term:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names that are all strings.

    fit_engine_ : {"fastfit", "scikit-learn"}
        Which implementation fitted this estimator.

    See Also
    --------
    HistGradientBoostingRegressor : The same for regression.
    RandomForestClassifier : Trees side by side instead of one after the other.

    Raises
    ------
    ValueError
        From ``fit``, for bad input, as in scikit-learn. An estimator whose fit failed keeps its former fit.

    Notes
    -----
    fastfit's kernels do not cover, and scikit-learn's implementation fits (see :func:`fastfit.set_config`), a `loss`
    that is an object of scikit-learn's private loss classes and not differentiable.

    Gradients and hessians are rounded to whole multiples of a step before they are summed, so that sums do not depend
    on the order of the rows. Splits whose gains differ by less than that rounding may be decided differently than in
    scikit-learn, which sums float32 numbers.

    A pickle with `compact_pickle` keeps the structure of all trees and the thresholds exactly. Leaf values are rounded
    to float32, gains to a relative 0.4 %; the values of inner nodes and the gains of leaves, which nothing reads, are
    left out, and so are thresholds of ``_bin_mapper`` that no split uses.

    ``set_callbacks`` takes callbacks of scikit-learn's protocol, which are told of every round.

    References
    ----------
    .. [1] G. Ke et al., "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 2017.
    .. [2] J. H. Friedman, "Stochastic gradient boosting", Computational Statistics & Data Analysis 38(4), 2002.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.ensemble import HistGradientBoostingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = HistGradientBoostingClassifier(max_iter=20).fit(X, y)
    >>> model.predict(X[:2]), model.fit_engine_
    (array([0, 0]), 'fastfit')
    """

    _parameter_constraints: dict = {
        **sklearn_ensemble.HistGradientBoostingClassifier._parameter_constraints,
        **OWN_CONSTRAINTS,
    }

    def __init__(
        self,
        loss="log_loss",
        *,
        learning_rate=0.1,
        max_iter=100,
        max_leaf_nodes=31,
        max_depth=None,
        min_samples_leaf=20,
        l2_regularization=0.0,
        max_features=1.0,
        max_bins=255,
        categorical_features="from_dtype",
        monotonic_cst=None,
        interaction_cst=None,
        warm_start=False,
        early_stopping="auto",
        scoring="loss",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-7,
        verbose=0,
        random_state=None,
        class_weight=None,
        n_jobs=None,
        subsample=1.0,
        colsample_bytree=1.0,
        reg_alpha=0.0,
        min_gain_to_split=0.0,
        group_rare_categories=False,
        importance_type="gain",
        compact_pickle=False,
    ):
        super().__init__(
            loss=loss,
            learning_rate=learning_rate,
            max_iter=max_iter,
            max_leaf_nodes=max_leaf_nodes,
            max_depth=max_depth,
            min_samples_leaf=min_samples_leaf,
            l2_regularization=l2_regularization,
            max_features=max_features,
            max_bins=max_bins,
            categorical_features=categorical_features,
            monotonic_cst=monotonic_cst,
            interaction_cst=interaction_cst,
            warm_start=warm_start,
            early_stopping=early_stopping,
            scoring=scoring,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            verbose=verbose,
            random_state=random_state,
            class_weight=class_weight,
        )
        self.n_jobs = n_jobs
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_alpha = reg_alpha
        self.min_gain_to_split = min_gain_to_split
        self.group_rare_categories = group_rare_categories
        self.importance_type = importance_type
        self.compact_pickle = compact_pickle
