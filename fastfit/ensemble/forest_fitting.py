"""What the four forests share in ``fit``: scikit-learn's checks and draws around trees grown by fastfit."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.ensemble._bootstrap import _get_n_samples_bootstrap
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted, validate_data

from fastfit import tree as fastfit_tree
from fastfit.ensemble.bootstrap import BalancedSubsample, BootstrapDraws
from fastfit.ensemble.caller import stacklevel_of_caller
from fastfit.ensemble.progress import Progress
from fastfit.fallback import note_fallback
from fastfit.fit_callbacks import callbacks_kept_apart, start_callbacks
from fastfit.former_fit import keep_former_fit
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import map_threads, thread_budget, threads_for
from fastfit.tree.category_encoding import (
    CategoryEncoding,
    check_category_setting,
    find_categorical,
    with_shape,
)
from fastfit.tree.category_splits import CATEGORY_ATTRIBUTES
from fastfit.tree.class_labels import encode_labels
from fastfit.tree.tree_fitting import grow_into, limit_tags

MAX_SEED = np.iinfo(np.int32).max

OUT_OF_BAG_ATTRIBUTES = ("oob_score_", "oob_decision_function_", "oob_prediction_")

# Nanoseconds, roughly, that one sample takes on one level of a tree for each feature that is looked at.
WORK_PER_VALUE = 5.0
# What Python does for each tree holds the GIL, and takes about as long. Trees that are not clearly more work than that
# are grown one after the other.
WORK_OF_SMALL_TREE = 300_000


class Growth(NamedTuple):
    """What the trees of one fit share."""

    template: object  # a tree with the hyperparameters
    data: object  # fastfit.training.tree_growth.TreeData
    target: object  # fastfit.training.tree_growth.Target
    weight_of: Callable  # from a tree's seed to the weights of its samples, or None
    n_threads: int
    encoding: object  # fastfit.tree.category_encoding.CategoryEncoding, or None


class ForestFitting(ValidatesChangedParameters, CallbackSupportMixin):
    """Mixin before scikit-learn's class: the same forest, tree by tree, grown by fastfit's kernels."""

    def fit(self, X, y, sample_weight=None):
        """Grow the forest.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, converted to float32. NaN stands for a missing value; each split decides on which side
            those go. Sparse X is fitted by scikit-learn.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes (labels or strings) or target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample. With ``bootstrap=True`` these, multiplied by the weights of the classes, are what
            the probability of being drawn is proportional to; otherwise they count in the impurities and values.

        Returns
        -------
        self : object
            The fitted forest.
        """
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        with keep_former_fit(self):
            if self.__dict__.get("_skl_callbacks"):
                return self._fit_watched(X, y, sample_weight)
            return self._fit(X, y, sample_weight)

    @with_callbacks
    def _fit_watched(self, X, y, sample_weight):
        """Fit with the callbacks' hooks around it and around each tree."""
        callbacks = start_callbacks(self, X, y, sample_weight, self.n_estimators)
        self._fit(X, y, sample_weight, callbacks)
        callbacks.end()
        return self

    @property
    def feature_importances_(self):
        """Share of each feature in the decrease of impurity, averaged over the trees: shape (n_features,).

        The shares sum to 1, unless no tree has a split, when all are zero. High shares of features with many
        different values are often an artefact; :func:`sklearn.inspection.permutation_importance` has none of that.
        """
        check_is_fitted(self)
        trees = [estimator.tree_ for estimator in self.estimators_]
        grown = [tree for tree in trees if tree.node_count > 1]
        if not grown:
            return np.zeros(self.n_features_in_, dtype=np.float64)
        n_threads = threads_for(10.0 * sum(tree.node_count for tree in grown), self.n_jobs)
        of_trees = map_threads(lambda tree: tree.compute_feature_importances(), grown, n_threads)
        importances = np.mean(of_trees, axis=0, dtype=np.float64)
        return importances / np.sum(importances)

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.ensemble.ensemble_sharing import ForestSharing

        return ForestSharing()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # What only fastfit does, it does for dense X.
        tags.input_tags.sparse = getattr(self, "splitter", "best") == "best"
        limit_tags(self, tags)
        return tags

    def _fit(self, X, y, sample_weight, callbacks=None):
        if sp.issparse(y):
            raise ValueError("sparse multilabel-indicator for y is not supported.")
        reason = self._uncovered(X)
        if reason is not None:
            return self._fall_back(reason, X, y, sample_weight)
        encoding, given = None, (X, y, sample_weight)
        if getattr(self, "categorical_features", None) is not None:
            X = with_shape(X, self)
            encoding = self._fit_encoding(X)
        else:
            self._forget_encoding()
        if encoding is None:
            X, y = validate_data(
                self, X, y, multi_output=True, accept_sparse="csc", dtype=np.float32, ensure_all_finite=False
            )
            if sp.issparse(X):  # a data frame of sparse columns
                return self._fall_back("sparse X", *given)
            missing_mask = self._find_missing(X)
        else:
            validate_data(self, X, y, skip_check_array=True)
            X, missing_mask = encoding.encode_training(self, X, self._find_missing)
            y = _check_y(y, multi_output=True, estimator=self)
            check_consistent_length(X, y)
        if not (X.flags.c_contiguous or X.flags.f_contiguous):
            X = np.ascontiguousarray(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        y, class_weight = self._prepare_target(y, sample_weight)
        self._sample_weight = _product(sample_weight, class_weight)
        self._prepare_bootstrap(X)
        self._validate_estimator()
        if self.oob_score and not self.bootstrap:
            raise ValueError("Out of bag estimation only available if bootstrap=True")

        seeds = self._seeds_of_new_trees()
        if seeds:
            growth = self._prepare_growth(X, y, missing_mask, len(seeds), encoding)
            if not self.oob_score:
                del X  # the float32 copy has done its duty
            self._add_trees(seeds, growth, callbacks)
        if self.oob_score and (seeds or not hasattr(self, "oob_score_")):
            self._score_out_of_bag(X, y)
        if "classes_" in self.__dict__ and self.n_outputs_ == 1:
            self.n_classes_ = self.n_classes_[0]
            self.classes_ = self.classes_[0]
        return self

    def _find_missing(self, X):
        """Return which columns of X miss values, or None if none does."""
        criterion_only = type(self.estimator)(criterion=self.criterion)
        return criterion_only._compute_missing_values_in_feature_mask(X, estimator_name=type(self).__name__)

    def _fit_encoding(self, X):
        """Learn the codes of categories, unless there are trees already that know some; None without categories."""
        is_categorical = find_categorical(X, self.categorical_features)
        former = self.__dict__.get("_category_encoding")
        if is_categorical is None:
            self._forget_encoding()
        elif not self._kept_trees():
            self._category_encoding = CategoryEncoding(is_categorical).fit(X)
        elif former is None or not np.array_equal(former.is_categorical, is_categorical):
            self._refuse_other_categories()
        self.is_categorical_ = is_categorical
        return self.__dict__.get("_category_encoding")

    def _forget_encoding(self):
        if self._kept_trees() and "_category_encoding" in self.__dict__:
            self._refuse_other_categories()
        for name in CATEGORY_ATTRIBUTES:
            self.__dict__.pop(name, None)

    def _refuse_other_categories(self):
        raise ValueError(
            f"categorical_features={self.categorical_features!r} is not what it was for the trees that warm_start=True "
            "keeps."
        )

    def _uncovered(self, X):
        """Return what the kernels do not cover in these data or this setting, or None."""
        if sp.issparse(X):
            return "sparse X"
        if not isinstance(self.criterion, str):
            return "a criterion object"
        if type(self.estimator) not in map(vars(fastfit_tree).get, fastfit_tree.__all__):
            return "trees that are not fastfit's"
        return None

    def _fall_back(self, reason, X, y, sample_weight):
        splitter = getattr(self, "splitter", "best")
        if splitter != "best":
            raise ValueError(f"splitter={splitter!r} does not work with {reason}; use splitter='best'.")
        if find_categorical(X, getattr(self, "categorical_features", None)) is not None:
            raise ValueError(
                f"categorical_features={self.categorical_features!r} does not work with {reason}; use "
                "categorical_features=None."
            )
        self._forget_encoding()
        note_fallback(self, reason)
        if self.warm_start and "estimators_" in self.__dict__:
            # scikit-learn appends to this list, and it has to be the former one again if that fails.
            self.estimators_ = list(self.estimators_)
        with callbacks_kept_apart(self):
            super().fit(X, y, sample_weight)
        self.fit_engine_ = "scikit-learn"
        return self

    def _prepare_target(self, y, sample_weight):
        """Return y as (n_samples, n_outputs) float64, classes as their positions, and the weights by class."""
        y = np.atleast_1d(y)
        if y.ndim == 2 and y.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
                "(n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=stacklevel_of_caller(),
            )
        if y.ndim == 1:
            y = y.reshape(-1, 1)
        if self.criterion == "poisson":
            if np.any(y < 0):
                raise ValueError(
                    "Some value(s) of y are negative which is not allowed for Poisson regression."
                )
            if np.sum(y) <= 0:
                raise ValueError(
                    "Sum of y is not strictly positive which is necessary for Poisson regression."
                )
        self._n_samples, self.n_outputs_ = y.shape
        y, class_weight = self._validate_y_class_weight(y, sample_weight)
        return np.ascontiguousarray(y, dtype=np.float64), class_weight

    def _prepare_bootstrap(self, X):
        if not self.bootstrap and self.max_samples is not None:
            raise ValueError(
                "`max_sample` cannot be set if `bootstrap=False`. Either switch to `bootstrap=True` or set "
                "`max_sample=None`."
            )
        self._n_samples_bootstrap = None
        if self.bootstrap:
            self._n_samples_bootstrap = _get_n_samples_bootstrap(
                X.shape[0], self.max_samples, self._sample_weight
            )

    def _draws(self):
        return BootstrapDraws(self._n_samples, self._n_samples_bootstrap, self._sample_weight)

    def _kept_trees(self):
        return self.estimators_ if self.warm_start and "estimators_" in self.__dict__ else []

    def _seeds_of_new_trees(self):
        """Return the ``random_state`` of each tree that is to be grown."""
        random_state = check_random_state(self.random_state)
        n_kept = len(self._kept_trees())
        if self.n_estimators < n_kept:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to len(estimators_)={n_kept} when "
                "warm_start==True"
            )
        if self.n_estimators == n_kept:
            warnings.warn(
                "Warm-start fitting without increasing n_estimators does not fit new trees.",
                stacklevel=stacklevel_of_caller(),
            )
            return []
        # The seeds of the trees that are there already are drawn and dropped, as if all were grown at once.
        return random_state.randint(MAX_SEED, size=self.n_estimators)[n_kept:].tolist()

    def _prepare_growth(self, X, y, missing_mask, n_trees, encoding):
        """Return what the trees share."""
        # Kernels, and Numba with them, are loaded when they are needed.
        from fastfit.training.tree_growth import Target, mark_categories, prepare_tree_data

        n_classes = np.array(self.n_classes_, dtype=np.intp) if is_classifier(self) else None
        target = Target(y, n_classes)
        n_threads = self._n_threads(X.shape)
        template = self._make_estimator(append=False)
        if encoding is not None:
            check_category_setting(template, target, encoding.is_categorical)
        data = prepare_tree_data(
            X,
            missing_mask,
            n_threads=n_threads,
            splitter=template.splitter,
            max_bins=getattr(self, "max_bins", 255),
            is_shared=n_trees > 1,
        )
        if encoding is not None:
            mark_categories(data, encoding.n_categories)
        return Growth(template, data, target, self._tree_weights(X, y), n_threads, encoding)

    def _add_trees(self, seeds, growth, callbacks=None):
        trees = [unfitted_tree(growth.template, seed) for seed in seeds]
        n_side_by_side = min(growth.n_threads, len(trees))
        n_threads = growth.n_threads // n_side_by_side
        progress = Progress(self, len(trees), are_built=True)

        def grow(position):
            weight = growth.weight_of(seeds[position])
            grow_into(
                trees[position],
                growth.data,
                growth.target,
                weight,
                n_threads=n_threads,
                encoding=growth.encoding,
            )
            progress.done(position)

        with progress:
            if callbacks is None:
                map_threads(grow, range(len(trees)), n_side_by_side)
            else:
                wanted, trees = trees, self._grow_watched(trees, grow, n_side_by_side, callbacks)
                if len(trees) < len(wanted):
                    progress.stop()
        self.estimators_ = [*self._kept_trees(), *trees]
        for name in OUT_OF_BAG_ATTRIBUTES:
            self.__dict__.pop(name, None)
        self.fit_engine_ = "fastfit"

    def _grow_watched(self, trees, grow, n_side_by_side, callbacks):
        """Grow trees with the callbacks' hooks around each; returns those up to where one wanted to stop.

        As many trees as threads are grown at a time, and those behind the last one are dropped: which trees there are
        does not depend on the number of threads.
        """
        for first in range(0, len(trees), n_side_by_side):
            positions = range(first, min(first + n_side_by_side, len(trees)))
            tasks = [callbacks.begin_task("tree") for _ in positions]
            map_threads(grow, positions, n_side_by_side)
            for position, task in zip(positions, tasks, strict=True):
                n_grown = position + 1
                if callbacks.end_task(task, lambda n_grown=n_grown: self._forest_of(trees[:n_grown])):
                    for dropped in tasks[n_grown - first :]:
                        callbacks.end_task(dropped, None)
                    return trees[:n_grown]
        return trees

    def _forest_of(self, trees):
        """Return the attributes of a forest of these trees that can predict."""
        learned = {"estimators_": [*self._kept_trees(), *trees]}
        if is_classifier(self) and self.n_outputs_ == 1:
            learned |= {"n_classes_": self.n_classes_[0], "classes_": self.classes_[0]}
        return learned

    def _tree_weights(self, X, y):
        """Return the function from a tree's seed to the weights of its samples."""
        if not self.bootstrap:
            weight = self._sample_weight
            if weight is not None:
                weight = _check_sample_weight(weight, X, dtype=np.float64)
            return lambda seed: weight
        draws = self._draws()
        if getattr(self, "class_weight", None) != "balanced_subsample":
            return lambda seed: draws.counts(seed).astype(np.float64)
        balanced = BalancedSubsample(y)
        return lambda seed: balanced.weights(draws.counts(seed))

    def _n_threads(self, shape):
        """Return the number of threads that data of this shape are worth."""
        n_samples, n_features = shape
        n_levels = np.log2(n_samples + 1.0)
        if self.max_depth is not None:
            n_levels = min(n_levels, self.max_depth)
        n_looked_at = {None: n_features, "sqrt": n_features**0.5, "log2": np.log2(n_features + 1.0)}.get(
            self.max_features, n_features
        )
        work = WORK_PER_VALUE * n_samples * n_levels * n_looked_at
        return thread_budget(self.n_jobs) if work > WORK_OF_SMALL_TREE else threads_for(0.0, self.n_jobs)

    def _validate_y_class_weight(self, y, sample_weight):
        """Return y as positions of classes, and the weights by class that belong to the samples, or None.

        scikit-learn sorts y several times to find the classes.
        """
        if not is_classifier(self) or self.class_weight is not None:
            return super()._validate_y_class_weight(y, sample_weight)
        self.classes_, codes = encode_labels(y)
        self.n_classes_ = [len(classes) for classes in self.classes_]
        return codes, None

    def _score_out_of_bag(self, X, y):
        kind = type_of_target(y)
        if kind == "unknown" or (is_classifier(self) and kind == "multiclass-multioutput"):
            raise ValueError(
                f"The type of target cannot be used to compute OOB estimates. Got {kind} while only the following are "
                "supported: continuous, continuous-multioutput, binary, multiclass, multilabel-indicator."
            )
        if callable(self.oob_score):
            self._set_oob_score_and_attributes(X, y, scoring_function=self.oob_score)
        else:
            self._set_oob_score_and_attributes(X, y)


def unfitted_tree(template, seed):
    """Return a tree like the template, with its own seed: what scikit-learn's ``_make_estimator`` would return.

    That clones and sets the parameters one by one, which takes as long as growing a small tree.
    """
    tree = object.__new__(type(template))
    tree.__dict__.update(template.__dict__, random_state=seed)
    return tree


def _product(first, second):
    """Return the product of two weights, where None stands for ones."""
    if first is None or second is None:
        return second if first is None else first
    return first * second
