"""What settings of a tree share: the sorted columns, and, where limits alone differ, the splits of all nodes.

A tree of smaller depth is not simply the top of a deeper one: scikit-learn tries features in a random order, which
decides between splits that are equally good, and a tree with fewer nodes draws other numbers. What is known of a node
does not depend on the draws, though, and is found once for all limits (see `fastfit.kernels.tree_memo`).
"""

import numpy as np
from sklearn.base import clone

from fastfit.sharing import Run, Sharing, is_valid, like
from fastfit.tree.tree_fitting import draw_seed, growth_options, set_tree

LIMITS = ("max_depth", "min_samples_split", "min_impurity_decrease")


class TreeSharing(Sharing):
    """One memory of nodes for all limits."""

    varied = LIMITS
    unit = "trees"

    def covers(self, estimator):
        """Return whether the kernels that remember nodes may grow this tree; of the data they are asked in `fit`."""
        return (
            estimator.criterion == "gini"
            and estimator.splitter == "best"
            and estimator.max_leaf_nodes is None
            and estimator.ccp_alpha == 0.0
            and estimator.monotonic_cst is None
            and estimator.class_weight is None
            and estimator.min_weight_fraction_leaf == 0.0
            and is_valid(estimator)
        )

    def fit(self, estimators, X, y, fit_params):
        """Grow the trees; see `Sharing.fit`."""
        if len(estimators) > 1 and not fit_params:
            run = _remember(self, estimators, X, y)
            if run is not None:
                return run
        return Run(self, estimators, X, y, fit_params)


def _remember(sharing, estimators, X, y):
    """Return a `MemoryRun`, or None where the data are not for it."""
    first = clone(estimators[0])
    if first._uncovered(X) is not None:
        return None
    checked = first._check_data(X, y)
    if checked is None:
        return None
    X, y, missing_mask = checked
    data, target, weight, options, classes, _ = first._prepare_fit(X, y, None, missing_mask)
    from fastfit.training import tree_memo

    if not tree_memo.covers(data, target, weight, options):
        return None
    memory = tree_memo.TreeMemory(data, target, options.min_samples_leaf)
    first.classes_ = classes[0]
    return MemoryRun(sharing, estimators, first, memory, target)


class MemoryRun:
    """Trees that differ in their limits, read out of one memory of nodes; see `Run`.

    Attributes
    ----------
    n_fits, work : int
        1: the memory is filled about as fast as the largest tree grows.
    """

    n_fits = work = 1

    def __init__(self, sharing, estimators, first, memory, target):
        self.sharing = sharing
        self.estimators = estimators
        self.first = first
        self.memory = memory
        self.target = target
        self.seed = draw_seed(first.random_state)
        self.asked = []
        self.present = None
        n_features = first.n_features_in_
        self.options = [growth_options(one, target, n_features, None) for one in estimators]
        # The deeper, the later: one that its depth has not bounded is the same for all greater depths.
        self.order = sorted(range(len(estimators)), key=lambda i: self._limits(i))

    def work_of(self, i):
        """Return 1: a tree."""
        return 1

    def answers(self, X):
        """Yield what each model predicts for X; see `Run.answers`."""
        position = len(self.asked)
        self.asked.append(self.first._validate_X_predict(X, check_input=True))
        return iter(lambda: self._answer(position), None)

    def models(self):
        """Yield (position, fitted estimator), the shallowest first."""
        X = None if not self.asked else np.ascontiguousarray(np.concatenate(self.asked))
        former = None
        for i in self.order:
            options = self.options[i]
            limits = self._limits(i)[:-1]
            if former is None or former[0] != limits:
                former = limits, *self.memory.grow(options, self.seed, X)
            _, grown, leaves, is_bounded = former
            model = like(self.first, self.estimators[i], LIMITS, {})
            set_tree(model, grown, self.target, options.max_features)
            self.present = model, grown, leaves
            yield i, model
            if is_bounded:
                former = None

    def _limits(self, i):
        options = self.options[i]
        return options.min_samples_split, options.min_impurity_decrease, options.max_depth

    def _answer(self, position):
        """Return the methods that know what the model that is next in turn predicts."""
        start = sum(map(len, self.asked[:position]))
        rows = slice(start, start + len(self.asked[position]))

        def predict():
            model, grown, leaves = self.present
            return model.classes_.take(grown.values[:, 0].argmax(axis=1).take(leaves[rows]))

        def predict_proba():
            _, grown, leaves = self.present
            return grown.values[:, 0].take(leaves[rows], axis=0)

        return [("predict", predict), ("predict_proba", predict_proba)]
