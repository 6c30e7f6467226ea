"""A tree of decisions that predicts numbers."""

from sklearn import tree as sklearn_tree

from fastfit.tree.category_splits import CategorySplits
from fastfit.tree.tree_fitting import CATEGORY_CONSTRAINTS, PARAMETER_CONSTRAINTS, TreeFitting
from fastfit.tree.tree_predicting import TreePredicting


class DecisionTreeRegressor(TreeFitting, CategorySplits, TreePredicting, sklearn_tree.DecisionTreeRegressor):
    """A tree of decisions that predicts numbers.

    A drop-in replacement of :class:`sklearn.tree.DecisionTreeRegressor` with the same arguments and, for the same
    ``random_state``, the same tree, node by node; the arguments after ``monotonic_cst`` are fastfit's own.

    Parameters
    ----------
    criterion : {"squared_error", "absolute_error", "poisson"}, default="squared_error"
        What measures the impurity of a node: the mean squared error about the mean, the mean absolute error about
        the median, or half the mean Poisson deviance from the mean. "friedman_mse" is a deprecated name of
        "squared_error".

    splitter : {"best", "random", "hist"}, default="best"
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

    max_features : int, float or {"sqrt", "log2"}, default=None
        Number of features that are drawn for each split: a number, a fraction, the square root or the binary
        logarithm of all; None stands for all. More are drawn as long as no valid split was found.

    random_state : int, RandomState instance or None, default=None
        Seed of the draws. Features are tried in a random order even if all of them are tried, so that it
        decides between splits that are equally good. The same seed gives scikit-learn's tree.

    max_leaf_nodes : int, default=None
        Greatest number of leaves. If given, the node whose split lowers the impurity most is split first.

    min_impurity_decrease : float, default=0.0
        Least decrease of the impurity, weighted by the node's share of all samples, for which a node is split.

    ccp_alpha : non-negative float, default=0.0
        Complexity parameter of minimal cost-complexity pruning: the larger, the smaller the tree. 0 does not prune.

    monotonic_cst : array-like of int of shape (n_features,), default=None
        What is demanded of the prediction as a feature grows: 1 that it never falls, -1 that it never rises, 0
        nothing. For one output only.

    n_jobs : int or None, default=None
        Threads for one fit or one prediction, within fastfit's budget (None and -1: all of it). Small data
        stay on one thread. The result does not depend on it.

    max_bins : int, default=255
        Greatest number of bins of a feature, in [2, 255], NaN aside. Only for ``splitter="hist"``.

    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, default=None
        Which features are categories without an order: a mask, positions, names, or "from_dtype" for the columns of
        a data frame whose dtype is categorical. A node splits their categories into any two groups, the best that
        there are. For one output, and ``splitter="best"``. Not with ``criterion="absolute_error"``.

    Attributes
    ----------
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

    is_categorical_ : ndarray of shape (n_features_in_,) of bool, or None
        Which features are categories. Only with ``categorical_features``.

    left_categories_ : list of ndarray or None, one a node
        The categories that a node sends left; None of nodes that are not split by categories. Such a node has the
        threshold NaN in ``tree_``, which knows of numbers only: what walks down ``tree_`` by itself does not get there.

    fit_engine_ : {"fastfit", "scikit-learn"}
        What computed the fit.

    See Also
    --------
    DecisionTreeClassifier : The same for classes.
    ExtraTreeRegressor : The same with random thresholds.

    Raises
    ------
    ValueError
        By ``fit``, for bad input as in scikit-learn, and if ``splitter="hist"`` meets sparse X or a criterion
        that is an object. The former fit then stays as it was.

    Notes
    -----
    Without bounds on its size the tree grows until every leaf is pure, which takes memory and fits noise.

    A split sends missing values (NaN) to the side where they lower the impurity more, and if there were none in
    the training data to the side with more samples.

    Splits that are equally good but for rounding may be told apart differently than by scikit-learn.

    Falls back to scikit-learn (see :func:`fastfit.set_config`): sparse X, and objects of scikit-learn's
    classes ``Criterion`` and ``Splitter`` in place of names. Nothing else does.

    References
    ----------
    - L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and regression trees", Wadsworth, 1984.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastfit.tree import DecisionTreeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y)
    >>> model.get_depth(), model.score(X, y) > 0.1
    (3, True)
    >>> model.predict(X[:2]).shape
    (2,)
    >>> model.fit_engine_
    'fastfit'
    """

    _parameter_constraints: dict = {
        **sklearn_tree.DecisionTreeRegressor._parameter_constraints,
        **PARAMETER_CONSTRAINTS,
        **CATEGORY_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        criterion="squared_error",
        splitter="best",
        max_depth=None,
        min_samples_split=2,
        min_samples_leaf=1,
        min_weight_fraction_leaf=0.0,
        max_features=None,
        random_state=None,
        max_leaf_nodes=None,
        min_impurity_decrease=0.0,
        ccp_alpha=0.0,
        monotonic_cst=None,
        n_jobs=None,
        max_bins=255,
        categorical_features=None,
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
            ccp_alpha=ccp_alpha,
            monotonic_cst=monotonic_cst,
        )
        self.n_jobs = n_jobs
        self.max_bins = max_bins
        self.categorical_features = categorical_features

    def fit(self, X, y, sample_weight=None, check_input=True):
        """Grow the tree.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, used as float32. NaN stands for a missing value.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. Splits are not considered if they leave a child without positive weight.

        check_input : bool, default=True
            False skips the checks of X and y; X must be a float32 array then, without NaN.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_tree(X, y, sample_weight, check_input)

    def predict(self, X, check_input=True):
        """Predict the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        check_input : bool, default=True
            False skips all checks but that of the number of features; X must be float32 then.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Mean of the sample's leaf, with ``criterion="absolute_error"`` the median.
        """
        X = self._features_to_predict(X, check_input)
        return self._value_of_leaves(X, lambda values: values[..., 0])
