"""What the four classes of trees share when they are fitted: from hyperparameters and data to a grown tree."""

import threading
from math import ceil
from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.tree._tree import NODE_DTYPE, Tree
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastfit.fallback import note_fallback
from fastfit.former_fit import keep_former_fit
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import threads_for
from fastfit.tree.category_encoding import (
    CategoryEncoding,
    check_category_setting,
    find_categorical,
    with_shape,
)
from fastfit.tree.category_splits import CATEGORY_ATTRIBUTES
from fastfit.tree.class_labels import encode_labels, sample_weight_of_classes
from fastfit.tree.plain_arrays import is_plain_target, is_plain_weight, take_plain_features

# The seeds of scikit-learn's splitters are drawn from [0, MAX_SEED).
MAX_SEED = np.iinfo(np.int32).max
UNBOUNDED_DEPTH = np.iinfo(np.int32).max

# Nanoseconds of one thread for each value of X: sorting it once, and a few levels of the tree.
WORK_PER_VALUE = 30.0

# Names that scikit-learn has for the same thing.
SAME_CRITERION = {"log_loss": "entropy", "friedman_mse": "squared_error"}

PARAMETER_CONSTRAINTS = {
    "splitter": [StrOptions({"best", "random", "hist"})],
    "n_jobs": [None, Integral],
    "max_bins": [Interval(Integral, 2, 255, closed="both")],
}
CATEGORY_CONSTRAINTS = {"categorical_features": ["array-like", StrOptions({"from_dtype"}), None]}

_local = threading.local()


class TreeFitting(ValidatesChangedParameters):
    """Mixin before scikit-learn's class: its checks, errors and learned attributes around fastfit's kernels."""

    def _fit_tree(self, X, y, sample_weight, check_input):
        """What ``fit`` of every class does."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        with keep_former_fit(self):
            reason = self._uncovered(X)
            if reason is not None:
                note_fallback(self, reason)
            return self._fit(X, y, sample_weight, check_input)

    def _fit(self, X, y, sample_weight=None, check_input=True, missing_values_in_feature_mask=None):
        """Fit; what ensembles call, with ``check_input=False``, for data that they have checked."""
        random_state = self.random_state
        if not isinstance(random_state, Integral):
            random_state = check_random_state(random_state)
        for name in CATEGORY_ATTRIBUTES:
            self.__dict__.pop(name, None)
        if self._uncovered(X) is not None:
            return self._fall_back(X, y, sample_weight, check_input, missing_values_in_feature_mask)
        missing_mask = missing_values_in_feature_mask
        encoded = self._encode_categories(X, y)
        if encoded is not None:
            X, y, missing_mask = encoded
        elif check_input:
            checked = self._check_data(X, y)
            if checked is None:
                return self._fall_back(X, y, sample_weight, check_input, None)
            X, y, missing_mask = checked
            del checked  # or X could not be let go below
        n_categories = None if encoded is None else self._category_encoding.n_categories
        prepared = self._prepare_fit(X, y, sample_weight, missing_mask, n_categories)
        # The float32 copy of X has done its duty.
        del X
        data, target, sample_weight, options, classes, n_threads = prepared
        _grow(self, data, target, sample_weight, options, random_state, n_threads)
        if classes is not None:
            self.classes_ = classes[0] if self.n_outputs_ == 1 else classes
        return self

    def _prepare_fit(self, X, y, sample_weight, missing_mask, n_categories=None):
        """Return what a tree is grown from: data, target, weights and options; and its classes, and threads for it."""
        n_samples, self.n_features_in_ = X.shape
        y = np.atleast_1d(y)
        if y.ndim == 1:
            y = y.reshape(-1, 1)
        self.n_outputs_ = y.shape[1]

        classes = n_classes = class_weight = None
        if is_classifier(self):
            labels = y
            classes, y = encode_labels(labels)
            n_classes = np.array([len(of_output) for of_output in classes], dtype=np.intp)
            if self.class_weight is not None:
                class_weight = sample_weight_of_classes(self.class_weight, labels, classes, y)
        y = np.ascontiguousarray(y, dtype=np.float64)
        if len(y) != n_samples:
            raise ValueError(f"Number of labels={len(y)} does not match number of samples={n_samples}")
        if sample_weight is not None and not is_plain_weight(sample_weight, n_samples):
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if class_weight is not None:
            sample_weight = class_weight if sample_weight is None else sample_weight * class_weight

        target = _growth().Target(y, n_classes)
        if n_categories is not None:
            check_category_setting(self, target, self.is_categorical_)
        options = growth_options(self, target, self.n_features_in_, sample_weight)
        n_threads = threads_for(WORK_PER_VALUE * X.size, self.n_jobs)
        data = self._prepare_data(X, missing_mask, n_threads)
        if n_categories is not None:
            _growth().mark_categories(data, n_categories)
        return data, target, sample_weight, options, classes, n_threads

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.tree.tree_sharing import TreeSharing

        return TreeSharing()

    def _uncovered(self, X):
        """Return what the kernels do not cover in this X or this setting, as a noun, or None."""
        if not isinstance(self.criterion, str):
            reason = "a criterion that is an object"
        elif not isinstance(self.splitter, str):
            reason = "a splitter that is an object"
        elif issparse(X):
            reason = "sparse X"
        else:
            return None
        if self.splitter == "hist":
            raise ValueError(
                "splitter='hist' is for dense X and for criteria that are named by a str, and this fit has "
                f"{reason}; use splitter='best' or splitter='random'."
            )
        if find_categorical(X, getattr(self, "categorical_features", None)) is not None:
            raise ValueError(
                f"categorical_features={self.categorical_features!r} is for dense X and for criteria and splitters "
                f"that are named by a str, and this fit has {reason}."
            )
        return reason

    def _fall_back(self, X, y, sample_weight, check_input, missing_mask):
        super()._fit(X, y, sample_weight, check_input, missing_mask)
        self.fit_engine_ = "scikit-learn"
        return self

    def _check_data(self, X, y):
        """Return (X, y, mask of columns with NaN), checked as scikit-learn does, or None if X turns out sparse."""
        plain = take_plain_features(X, self._allows_nan) if is_plain_target(y) else None
        if plain is not None:
            X, missing_mask = plain
            # What scikit-learn's validation does for X without names of columns.
            self.__dict__.pop("feature_names_in_", None)
        else:
            check_X = {"dtype": np.float32, "accept_sparse": "csc", "ensure_all_finite": False}
            check_y = {"dtype": None, "ensure_2d": False}
            X_checked, y = validate_data(self, X, y, validate_separately=(check_X, check_y))
            if issparse(X_checked):
                # A DataFrame of sparse columns, which is sparse only once it is converted.
                note_fallback(self, self._uncovered(X_checked))
                return None
            X = X_checked
            missing_mask = self._compute_missing_values_in_feature_mask(X)
        self._check_counts(y)
        return X, y, missing_mask

    def _check_counts(self, y):
        if self.criterion == "poisson":
            if np.any(y < 0):
                raise ValueError(
                    "Some value(s) of y are negative which is not allowed for Poisson regression."
                )
            if np.sum(y) <= 0:
                raise ValueError("Sum of y is not positive which is necessary for Poisson regression.")

    def _encode_categories(self, X, y):
        """Return (X with codes, y, mask of columns with NaN) if some features are categorical, else None."""
        categorical_features = getattr(self, "categorical_features", None)
        if categorical_features is None:
            return None
        X = with_shape(X, self)
        self.is_categorical_ = find_categorical(X, categorical_features)
        if self.is_categorical_ is None:
            return None
        validate_data(self, X, y, skip_check_array=True)
        self._category_encoding = CategoryEncoding(self.is_categorical_).fit(X)
        find_missing = self._compute_missing_values_in_feature_mask
        X, missing_mask = self._category_encoding.encode_training(self, X, find_missing)
        y = check_array(y, ensure_2d=False, dtype=None, estimator=self, input_name="y")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._check_counts(y)
        return X, y, missing_mask

    def _allows_nan(self):
        return self.__sklearn_tags__().input_tags.allow_nan

    def _prepare_data(self, X, missing_mask, n_threads):
        """Turn the columns of X into what trees grow from; what a column means to the tree is decided here."""
        if X.dtype != np.float32:
            X = np.asfortranarray(X, dtype=np.float32)
        elif not (X.flags.c_contiguous or X.flags.f_contiguous):
            X = np.ascontiguousarray(X)
        return _growth().prepare_tree_data(
            X,
            missing_mask,
            n_threads=n_threads,
            splitter=self.splitter,
            max_bins=int(self.max_bins),
            is_shared=False,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # What only fastfit does, it does for dense X.
        tags.input_tags.sparse = self.splitter != "hist"
        limit_tags(self, tags)
        return tags


def grow_into(estimator, data, target, sample_weight, n_threads=1, encoding=None):
    """Fit a tree to data that were prepared once for many trees.

    Parameters
    ----------
    estimator : tree of fastfit
        Its hyperparameters have been validated, and its ``random_state`` gives the seed.
    data : what ``prepare_tree_data`` returned
    target : fastfit.training.tree_growth.Target
        ``y`` of shape (n_samples, n_outputs), float64 in C order: numbers, or indices of classes. ``n_classes`` of
        shape (n_outputs,), or None for regression.
    sample_weight : ndarray of shape (n_samples,) of float64, or None
    n_threads : int, default=1
    encoding : CategoryEncoding, default=None
        Of the features that are marked as categories in the data.

    Returns
    -------
    estimator : the tree, fitted
        Its ``classes_`` are the indices 0.0, 1.0, ..., as in the trees of scikit-learn's forests.

    Raises
    ------
    ValueError
        If ``monotonic_cst`` does not fit the data.
    """
    options = growth_options(estimator, target, data.n_features, sample_weight)
    estimator.n_features_in_ = data.n_features
    estimator.n_outputs_ = target.y.shape[1]
    if encoding is not None:
        estimator.is_categorical_, estimator._category_encoding = encoding.is_categorical, encoding
    _grow(estimator, data, target, sample_weight, options, estimator.random_state, n_threads)
    if target.n_classes is not None:
        classes = [np.arange(n_classes, dtype=np.float64) for n_classes in target.n_classes]
        estimator.classes_ = classes[0] if len(classes) == 1 else classes
    return estimator


def draw_seed(random_state):
    """Return the seed that a tree of scikit-learn would draw from this ``random_state``.

    Parameters
    ----------
    random_state : int, RandomState or None

    Returns
    -------
    seed : int

    Notes
    -----
    For an int, a generator that is kept is seeded anew: making one takes 90 us, a fifth of a fit of a small table.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.tree_fitting import draw_seed
    >>> draw_seed(5) == draw_seed(np.random.RandomState(5))
    True
    """
    if isinstance(random_state, Integral):
        if "generator" not in _local.__dict__:
            _local.generator = np.random.RandomState()
        generator = _local.generator
        generator.seed(random_state)
    else:
        generator = check_random_state(random_state)
    return int(generator.randint(0, MAX_SEED))


def growth_options(estimator, target, n_features, sample_weight):
    """Return the hyperparameters of a tree as `GrowthOptions`: fractions resolved to counts, names to numbers.

    Raises
    ------
    ValueError
        If ``monotonic_cst`` does not fit the data; scikit-learn's message.
    """
    n_samples = len(target.y)
    min_samples_leaf = _count_of(estimator.min_samples_leaf, n_samples)
    min_samples_split = _count_of(estimator.min_samples_split, n_samples)
    total_weight = n_samples if sample_weight is None else np.sum(sample_weight)
    return _growth().GrowthOptions(
        criterion=SAME_CRITERION.get(estimator.criterion, estimator.criterion),
        splitter=estimator.splitter,
        max_depth=UNBOUNDED_DEPTH if estimator.max_depth is None else int(estimator.max_depth),
        min_samples_split=max(min_samples_split, 2 * min_samples_leaf),
        min_samples_leaf=min_samples_leaf,
        min_weight_leaf=float(estimator.min_weight_fraction_leaf * total_weight),
        min_impurity_decrease=float(estimator.min_impurity_decrease),
        max_leaf_nodes=-1 if estimator.max_leaf_nodes is None else int(estimator.max_leaf_nodes),
        max_features=_n_drawn_features(estimator.max_features, n_features),
        monotonic_cst=_monotonic_constraints(estimator.monotonic_cst, target, n_features),
    )


def limit_tags(estimator, tags):
    """Take out of scikit-learn's tags of a tree or forest what does not go with categories."""
    given = getattr(estimator, "categorical_features", None)
    if given is None or isinstance(given, str):  # with "from_dtype" it depends on X
        return
    tags.input_tags.sparse = False
    tags.target_tags.multi_output = False
    if tags.classifier_tags is not None:
        tags.classifier_tags.multi_class = tags.classifier_tags.multi_label = False


def _growth():
    """Return the module that grows trees. It brings in Numba, which whoever only predicts few rows never needs."""
    from fastfit.training import tree_growth

    return tree_growth


def _grow(estimator, data, target, sample_weight, options, random_state, n_threads):
    """Grow the tree, and set all that is learned but for the classes."""
    seed = draw_seed(random_state)
    grown = _growth().grow_tree(data, target, sample_weight, options, seed, n_threads=n_threads)
    set_tree(estimator, grown, target, options.max_features)


def set_tree(estimator, grown, target, max_features):
    """Set all that is learned but for the classes."""
    n_outputs = target.y.shape[1]
    n_values = np.ones(n_outputs, dtype=np.intp) if target.n_classes is None else target.n_classes
    tree = Tree(estimator.n_features_in_, n_values, n_outputs)
    tree.__setstate__(
        {
            "max_depth": int(grown.max_depth),
            "node_count": len(grown.nodes),
            "nodes": grown.nodes.view(NODE_DTYPE).ravel(),
            "values": grown.values,
        }
    )
    estimator.tree_ = tree
    if grown.category_sets is not None:
        estimator._category_sets = grown.category_sets
    estimator.max_features_ = max_features
    if target.n_classes is not None:
        estimator.n_classes_ = target.n_classes[0] if n_outputs == 1 else target.n_classes
    if estimator.ccp_alpha != 0.0:
        estimator._prune_tree()
    estimator.fit_engine_ = "fastfit"


def _count_of(number, n_samples):
    """Return a number of samples that was given as such or as a fraction of them."""
    return int(number) if isinstance(number, Integral) else ceil(number * n_samples)


def _n_drawn_features(max_features, n_features):
    if max_features is None:
        return n_features
    if isinstance(max_features, str):
        root = np.sqrt(n_features) if max_features == "sqrt" else np.log2(n_features)
        return max(1, int(root))
    if isinstance(max_features, Integral):
        return int(max_features)
    return max(1, int(max_features * n_features))


def _monotonic_constraints(monotonic_cst, target, n_features):
    """Return the constraints as the kernels need them, of shape (n_features,) and dtype int8, or None."""
    if monotonic_cst is None:
        return None
    if target.y.shape[1] > 1:
        raise ValueError("Monotonicity constraints are not supported with multiple outputs.")
    constraints = np.asarray(monotonic_cst)
    if constraints.shape[0] != n_features:
        raise ValueError(
            f"monotonic_cst has shape {constraints.shape[0]} but the input data X has {n_features} features."
        )
    if not np.isin(constraints, (-1, 0, 1)).all():
        raise ValueError(
            f"monotonic_cst must be None or an array-like of -1, 0 or 1, but got {np.unique(constraints)}"
        )
    constraints = constraints.astype(np.int8)
    if target.n_classes is None:
        return constraints
    if target.n_classes[0] > 2:
        raise ValueError("Monotonicity constraints are not supported with multiclass classification")
    # The kernels bound the fraction of the first class, the user the probability of the second.
    return -constraints
