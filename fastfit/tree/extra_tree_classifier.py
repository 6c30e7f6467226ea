"""An extremely randomized tree that predicts classes."""

from sklearn import tree as sklearn_tree

from fastfit.tree.decision_tree_classifier import DecisionTreeClassifier


class ExtraTreeClassifier(DecisionTreeClassifier, sklearn_tree.ExtraTreeClassifier):
    """An extremely randomized tree that predicts classes.

    It is :class:`DecisionTreeClassifier` with other defaults: each split is the best of random thresholds, one
    for each of ``sqrt(n_features)`` features. Such trees are meant for ensembles. A drop-in replacement of
    :class:`sklearn.tree.ExtraTreeClassifier` with the same arguments and, for the same ``random_state``, the
    same tree, node by node; the arguments after ``monotonic_cst`` are fastfit's own.

    Parameters
    ----------
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        What measures the impurity of a node: the Gini impurity, or Shannon's entropy, which has two names.

    splitter : {"best", "random", "hist"}, default="random"
        How each node is split: "best" takes the best threshold of each feature, "random" draws one threshold
        for each feature between its least and its greatest value and takes the best of these. Both give
        scikit-learn's tree. "hist" looks for the best threshold between at most ``max_bins`` bins of each
        feature: faster, and not the same tree.

    max_depth : int, default=None
        Greatest depth of the tree. None: nodes are split until they are pure or hold fewer than
        ``min_samples_split`` samples.

    min_samples_split : int or float, default=2
        Least number of samples of a node that is split; a float is a fraction of all, rounded up.

    min_samples_leaf : int or float, default=1
        Least number of samples of a leaf; a float is a fraction of all, rounded up. A split that would leave fewer
        on either side is not considered.

    min_weight_fraction_leaf : float, default=0.0
        Least weight of a leaf, as a fraction of the weight of all samples, in [0, 0.5].

    max_features : int, float or {"sqrt", "log2"}, default="sqrt"
        Number of features that are drawn for each split: a number, a fraction, the square root or the binary
        logarithm of all; None stands for all. More are drawn as long as no valid split was found.

    random_state : int, RandomState instance or None, default=None
        Seed of the draws. Features are tried in a random order even if all of them are tried, so that it
        decides between splits that are equally good. The same seed gives scikit-learn's tree.

    max_leaf_nodes : int, default=None
        Greatest number of leaves. If given, the node whose split lowers the impurity most is split first.

    min_impurity_decrease : float, default=0.0
        Least decrease of the impurity, weighted by the node's share of all samples, for which a node is split.

    class_weight : dict, list of dict or "balanced", default=None
        Weights of the classes, ``{class_label: weight}``, for several outputs one dict each; they multiply
        ``sample_weight``. "balanced" makes them inversely proportional to the frequencies of the classes.

    ccp_alpha : non-negative float, default=0.0
        Complexity parameter of minimal cost-complexity pruning: the larger, the smaller the tree. 0 does not prune.

    monotonic_cst : array-like of int of shape (n_features,), default=None
        What is demanded of the probability of the second class as a feature grows: 1 that it never falls, -1 that it
        never rises, 0 nothing. For two classes and one output only.

    n_jobs : int or None, default=None
        Threads for one fit or one prediction, within fastfit's budget (None and -1: all of it). Small data
        stay on one thread. The result does not depend on it.

    max_bins : int, default=255
        Greatest number of bins of a feature, in [2, 255], NaN aside. Only for ``splitter="hist"``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or a list of them
        The class labels, of each output if there are several.

    n_classes_ : int, or ndarray of shape (n_outputs_,)
        The number of classes, of each output if there are several.

    max_features_ : int
        Number of features that were drawn for each split.

    n_features_in_ : int
        Number of features seen during ``fit``.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    n_outputs_ : int
        Number of outputs.

    tree_ : sklearn.tree._tree.Tree
        The tree: ``children_left``, ``feature``, ``threshold``, ``value`` and others, each with an element per node.

    feature_importances_ : ndarray of shape (n_features_in_,)
        Share of each feature in the decrease of the impurity (Gini importance). It overrates features of many
        values; :func:`sklearn.inspection.permutation_importance` does not.

    fit_engine_ : {"fastfit", "scikit-learn"}
        What computed the fit.

    See Also
    --------
    ExtraTreeRegressor : The same for numbers.
    DecisionTreeClassifier : The same with the best thresholds.

    Raises
    ------
    ValueError
        By ``fit``, for bad input as in scikit-learn, and if ``splitter="hist"`` meets sparse X or a criterion
        that is an object. The former fit then stays as it was.

    Notes
    -----
    Without bounds on its size the tree grows until every leaf is pure, which takes memory and fits noise.

    Missing values (NaN) are only allowed with ``splitter="random"``, as in scikit-learn. A random draw decides
    to which side of a split they go.

    For unit or integer weights the tree is exactly scikit-learn's. With fractional weights, splits that are
    equally good but for rounding may be told apart differently.

    Falls back to scikit-learn (see :func:`fastfit.set_config`): sparse X, and objects of scikit-learn's
    classes ``Criterion`` and ``Splitter`` in place of names. Nothing else does.

    References
    ----------
    - P. Geurts, D. Ernst and L. Wehenkel, "Extremely randomized trees", Machine Learning 63(1), 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastfit.tree import ExtraTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ExtraTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    >>> model.get_depth(), model.score(X, y) > 0.7
    (3, True)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.fit_engine_
    'fastfit'
    """

    def __init__(
        self,
        *,
        criterion="gini",
        splitter="random",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features="sqrt",
        random_state=None,
        max_leaf_nodes=None,
        min_impurity_decrease=0.0,
        class_weight=None,
        ccp_alpha=0.0,
        monotonic_cst=None,
        n_jobs=None,
        max_bins=255,
    ):
        super().__init__(
            criterion=criterion,
            splitter=splitter,
            max_depth=max_depth,
            min_samples_split=min_samples_split,
            min_samples_leaf=min_samples_leaf,
            min_weight_fraction_leaf=min_weight_fraction_leaf,
            max_features=max_features,
            random_state=random_state,
            max_leaf_nodes=max_leaf_nodes,
            min_impurity_decrease=min_impurity_decrease,
            class_weight=class_weight,
            ccp_alpha=ccp_alpha,
            monotonic_cst=monotonic_cst,
            n_jobs=n_jobs,
            max_bins=max_bins,
        )
