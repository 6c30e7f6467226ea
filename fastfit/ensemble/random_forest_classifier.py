"""Random forests for classification."""

from numbers import Integral

from sklearn import ensemble as sklearn_ensemble
from sklearn.utils._param_validation import Interval, StrOptions

from fastfit.ensemble.forest_fitting import ForestFitting
from fastfit.ensemble.forest_prediction import ClassifierPrediction
from fastfit.tree import DecisionTreeClassifier
from fastfit.tree.tree_fitting import CATEGORY_CONSTRAINTS


class RandomForestClassifier(ClassifierPrediction, ForestFitting, sklearn_ensemble.RandomForestClassifier):
    """A random forest for classification.

    Decision trees are grown, each to a bootstrap sample of the rows and with a draw of features at every node, and
    their class probabilities are averaged [1]_. Takes the place of :class:`sklearn.ensemble.RandomForestClassifier`:
    with the arguments that both have and the same ``random_state``, ``estimators_`` are the same trees, node for node.

    The rows are sorted once for all trees of the forest, and the trees are grown side by side on the threads of
    fastfit's budget.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.

    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity that splits are to lower: Gini's, or Shannon's entropy, which "log_loss" is another name of.

    max_depth : int or None, default=None
        Largest depth of a tree. None: nodes are split until they are pure or `min_samples_split` ends it.

    min_samples_split : int or float, default=2
        Fewest samples of a node that may be split. A float is a share of the training samples, rounded up.

    min_samples_leaf : int or float, default=1
        Fewest samples on either side of a split. A float is a share of the training samples, rounded up.

    min_weight_fraction_leaf : float, default=0.0
        Least weight of a leaf, as a share of the total weight of the tree's samples, in [0, 0.5].

    max_features : {"sqrt", "log2", None}, int or float, default="sqrt"
        Number of features drawn anew for every node, among which the best split is looked for: the square root or the
        binary logarithm of their number, all of them for None, an int as it is, a float as a share of them; at
        least 1. If no split is found among them, the draw goes on until there is one.

    max_leaf_nodes : int or None, default=None
        Largest number of leaves. A tree with this bound grows at the node that improves the impurity most.

    min_impurity_decrease : float, default=0.0
        Least decrease of impurity, weighted with the share of the samples at the node, that a split must bring.

    bootstrap : bool, default=True
        Whether each tree sees a bootstrap sample. If False, every tree sees all samples.

    oob_score : bool or callable, default=False
        Whether to score the forest on out-of-bag samples: each sample is predicted by the trees that did not see it.
        True stands for the accuracy; a callable is called as ``metric(y_true, y_pred)``. Needs ``bootstrap=True``.

    n_jobs : int or None, default=None
        Number of threads for `fit` and the predictions, within the budget of the process; None and -1 take the whole
        budget (scikit-learn's None takes one), but only as many as the data are worth. The result has the same bits
        for any number of threads.

    random_state : int, RandomState instance or None, default=None
        Determines the bootstrap samples and the draws of features. The same seed gives scikit-learn's forest.

    verbose : int, default=0
        From 1 on, the time that fits and predictions take is printed; from 2 on, every tree is announced as well.

    warm_start : bool, default=False
        Whether `fit` keeps the trees there are and adds the missing ones up to `n_estimators`.

    class_weight : {"balanced", "balanced_subsample"}, dict, list of dicts or None, default=None
        Weights of the classes: a dict from class to weight (1 where a class is missing), for several outputs a list
        of them, whose weights are multiplied. "balanced" weights each class with the inverse of its frequency,
        ``n_samples / (n_classes * np.bincount(y))``, "balanced_subsample" by its frequency in the tree's bootstrap
        sample.

    ccp_alpha : float, default=0.0
        Complexity parameter of minimal cost-complexity pruning, which each tree undergoes if this is above 0.

    max_samples : int, float or None, default=None
        Size of a bootstrap sample: an int as it is, a float as a factor of the number of samples, or of their total
        weight where there are weights. None draws as many as there are samples.

    monotonic_cst : array-like of int of shape (n_features,) or None, default=None
        1 where the probability of the positive class must not fall with the feature, -1 where it must not rise, 0
        where it is free. For two classes and one output.

    splitter : {"best", "hist"}, default="best"
        "best" looks at every threshold, as scikit-learn does. "hist" looks only at the boundaries between at most
        `max_bins` bins of each feature, which is faster and not scikit-learn's model any more.

    max_bins : int, default=255
        Largest number of bins of a feature, in [2, 255]. Only for ``splitter="hist"``.

    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, default=None
        Which features are categories without an order: a mask, positions, names, or "from_dtype" for the columns of
        a data frame whose dtype is categorical. A node splits their categories into any two groups, the best that
        there are. For two classes and one output, and ``splitter="best"``.

    Attributes
    ----------
    estimator_ : DecisionTreeClassifier
        Template of the trees.

    estimators_ : list of DecisionTreeClassifier
        The trees, which are :class:`fastfit.tree.DecisionTreeClassifier` and so scikit-learn's as well.

    classes_ : ndarray of shape (n_classes,), or list of them
        The classes; for several outputs a list with those of each.

    n_classes_ : int or list of int
        Number of classes, for several outputs of each.

    n_features_in_ : int
        Number of features seen during :term:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names that are all strings.

    n_outputs_ : int
        Number of outputs.

    feature_importances_ : ndarray of shape (n_features,)
        Share of each feature in the decrease of impurity, averaged over the trees.

    oob_score_ : float
        Score on out-of-bag samples. Only with `oob_score`.

    oob_decision_function_ : ndarray of shape (n_samples, n_classes) or (n_samples, n_classes, n_outputs)
        Out-of-bag class probabilities of the training samples; zeros for one which every tree has seen. Only with
        `oob_score`.

    estimators_samples_ : list of ndarray
        Row indices of each tree's bootstrap sample, drawn again when asked for.

    is_categorical_ : ndarray of shape (n_features_in_,) of bool, or None
        Which features are categories. Only with ``categorical_features``. Each tree of ``estimators_`` says in its
        ``left_categories_`` which categories a node sends left.

    fit_engine_ : {"fastfit", "scikit-learn"}
        Which implementation fitted this estimator.

    See Also
    --------
    ExtraTreesClassifier : Forest of trees with random thresholds.
    RandomForestRegressor : The same for regression.
    fastfit.tree.DecisionTreeClassifier : A single tree.

    Raises
    ------
    ValueError
        From ``fit``, for bad input, as in scikit-learn. An estimator whose fit failed keeps its former fit.

    Notes
    -----
    fastfit's kernels do not cover, and scikit-learn's implementation fits (see :func:`fastfit.set_config`):

    - sparse X;
    - a criterion that is an object instead of a name;
    - an `estimator` that was replaced by one which is not fastfit's.

    `n_jobs` then means what it means in scikit-learn.

    Predictions walk through a packed copy of the trees, made at the first prediction and anew when there are other
    trees. What is changed inside of a tree after that is seen once `estimators_` is set, if only to
    ``list(forest.estimators_)``.

    ``set_callbacks`` takes callbacks of scikit-learn's protocol, which are told of every tree; see
    :mod:`fastfit.callbacks`.

    References
    ----------
    .. [1] L. Breiman, "Random forests", Machine Learning 45(1), 2001.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RandomForestClassifier(n_estimators=50, oob_score=True, random_state=0).fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.oob_score_ > 0.9, model.fit_engine_
    (True, 'fastfit')
    """

    _parameter_constraints: dict = {
        **sklearn_ensemble.RandomForestClassifier._parameter_constraints,
        "splitter": [StrOptions({"best", "hist"})],
        "max_bins": [Interval(Integral, 2, 255, closed="both")],
        **CATEGORY_CONSTRAINTS,
    }

    def __init__(
        self,
        n_estimators=100,
        *,
        criterion="gini",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features="sqrt",
        max_leaf_nodes=None,
        min_impurity_decrease=0.0,
        bootstrap=True,
        oob_score=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
        warm_start=False,
        class_weight=None,
        ccp_alpha=0.0,
        max_samples=None,
        monotonic_cst=None,
        splitter="best",
        max_bins=255,
        categorical_features=None,
    ):
        super().__init__(
            n_estimators=n_estimators,
            criterion=criterion,
            max_depth=max_depth,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_features=max_features,
            max_leaf_nodes=max_leaf_nodes,
            min_impurity_decrease=min_impurity_decrease,
            bootstrap=bootstrap,
            oob_score=oob_score,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
            warm_start=warm_start,
            class_weight=class_weight,
            ccp_alpha=ccp_alpha,
            max_samples=max_samples,
            monotonic_cst=monotonic_cst,
        )
        self.splitter = splitter
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.estimator = DecisionTreeClassifier()
        self.estimator_params = (*self.estimator_params, "splitter", "max_bins", "categorical_features")
