"""What settings of a tree share: the sorted columns, and, where limits alone differ, the splits of all nodes.

A tree of smaller depth is not simply the top of a deeper one: scikit-learn tries features in a random order, which
decides between splits that are equally good, and a tree with fewer nodes draws other numbers. What is known of a node
does not depend on the draws, though, and is found once for all limits (see `fastfit.kernels.tree_memo`).
"""

import numpy as np
from sklearn.base import clone
from sklearn.tree._tree import Tree

from fastfit.sharing import Run, Sharing, fixed_parameters, is_repeatable, is_valid, like
from fastfit.tree.tree_fitting import draw_seed, growth_options, set_tree

# In what settings may differ that share a tree in one way or another; any tree may be pruned in the end.
VARIED = {
    "limits": ("max_depth", "min_samples_split", "min_impurity_decrease", "ccp_alpha"),
    "leaves": ("max_leaf_nodes", "ccp_alpha"),
    "pruned": ("ccp_alpha",),
}


class TreeSharing(Sharing):
    """One memory of nodes for all limits; one order of splits for all ``max_leaf_nodes``; one tree to prune."""

    unit = "trees"

    def key(self, estimator):
        """Return what is the same for settings that share a tree: how they do, and all that they may not differ in."""
        if not is_valid(estimator) or not isinstance(estimator.criterion, str):
            return None
        if getattr(estimator, "categorical_features", None) is not None:
            return None
        kind = _kind(estimator)
        return kind, *fixed_parameters(estimator, VARIED[kind])

    def goes_on(self, estimator, name):
        """Return whether a tree with another limit can be read out of the same memory."""
        return (
            self.key(estimator) is not None
            and _kind(estimator) == "limits"
            and name in VARIED["limits"]
            and is_repeatable(estimator)
        )

    def begin(self, estimators, X, y, fit_params):
        """Grow the trees, and keep their memory, also of a single one."""
        run = None if fit_params else _remember(self, estimators, X, y)
        return self.fit(estimators, X, y, fit_params) if run is None else run

    def go_on(self, run, estimators, X, y, fit_params):
        """Read further trees out of the memory of a run."""
        if not isinstance(run, MemoryRun):
            return self.begin(estimators, X, y, fit_params)
        further = MemoryRun(self, estimators, run.first, run.memory, run.target)
        further.n_fits = further.work = 0
        return further

    def fit(self, estimators, X, y, fit_params):
        """Grow the trees; see `Sharing.fit`."""
        if len(estimators) > 1:
            kind = _kind(estimators[0])
            run = None
            if kind == "limits" and not fit_params:
                run = _remember(self, estimators, X, y)
            elif kind != "limits":
                run = _grow_largest(self, estimators, X, y, fit_params, VARIED[kind])
            if run is not None:
                return run
        return Run(self, estimators, X, y, fit_params)


def _kind(estimator):
    """Return in what way a setting may share a tree with others."""
    if estimator.max_leaf_nodes is not None:
        return "leaves"
    remembers = (
        estimator.criterion == "gini"
        and estimator.splitter == "best"
        and estimator.max_features is None
        and estimator.monotonic_cst is None
        and estimator.class_weight is None
        and estimator.min_weight_fraction_leaf == 0.0
    )
    return "limits" if remembers else "pruned"


def _grow_largest(sharing, estimators, X, y, fit_params, varied):
    """Return a `CutRun` of the tree with the most leaves, not pruned; or None if scikit-learn had to grow it."""
    largest = clone(max(estimators, key=lambda estimator: estimator.max_leaf_nodes or 0)).set_params(
        ccp_alpha=0.0
    )
    largest.fit(X, y, **fit_params)
    return CutRun(sharing, estimators, largest, varied) if largest.fit_engine_ == "fastfit" else None


class CutRun:
    """Trees that are cut out of the largest, and then pruned; see `Run`.

    Best first, a tree with fewer leaves is begun like one with more, draws included, and its nodes are the first of the
    larger one.
    """

    n_fits = work = 1

    def __init__(self, sharing, estimators, largest, varied):
        self.sharing = sharing
        self.estimators = estimators
        self.largest = largest
        self.varied = varied
        self.state = largest.tree_.__getstate__()

    def work_of(self, i):
        """Return 1: a tree."""
        return 1

    def answers(self, X):
        """Return None: the models are asked."""
        return

    def models(self):
        """Yield (position, fitted estimator)."""
        for i, estimator in enumerate(self.estimators):
            model = like(self.largest, estimator, self.varied, {})
            if estimator.max_leaf_nodes is not None:
                model.tree_ = self._cut(2 * estimator.max_leaf_nodes - 1)
            if estimator.ccp_alpha != 0.0:
                model._prune_tree()
            yield i, model

    def _cut(self, n_nodes):
        """Return the tree of the first nodes."""
        tree = self.largest.tree_
        if n_nodes >= tree.node_count:
            return tree
        nodes = self.state["nodes"][:n_nodes].copy()
        is_cut = nodes["left_child"] >= n_nodes
        for name, of_leaf in (("left_child", -1), ("right_child", -1), ("feature", -2), ("threshold", -2.0)):
            nodes[name][is_cut] = of_leaf
        depth = np.zeros(n_nodes, np.int64)
        for node in np.flatnonzero(nodes["left_child"] >= 0).tolist():
            depth[[nodes["left_child"][node], nodes["right_child"][node]]] = depth[node] + 1
        cut = Tree(tree.n_features, tree.n_classes, tree.n_outputs)
        values = self.state["values"][:n_nodes]
        cut.__setstate__(
            {"max_depth": int(depth.max()), "node_count": n_nodes, "nodes": nodes, "values": values}
        )
        return cut


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
        test_t = None if not self.asked else np.ascontiguousarray(np.concatenate(self.asked).T)
        former = None
        for i in self.order:
            options = self.options[i]
            limits = self._limits(i)[:-1]
            if former is None or former[0] != limits:
                former = limits, *self.memory.grow(options, self.seed, test_t)
            _, grown, leaves, is_bounded = former
            model = like(self.first, self.estimators[i], VARIED["limits"], {})
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
        if self.present[0].ccp_alpha != 0.0:
            return []
        start = sum(map(len, self.asked[:position]))
        rows = slice(start, start + len(self.asked[position]))

        def predict():
            model, grown, leaves = self.present
            return model.classes_.take(grown.values[:, 0].argmax(axis=1).take(leaves[rows]))

        def predict_proba():
            _, grown, leaves = self.present
            return grown.values[:, 0].take(leaves[rows], axis=0)

        return [("predict", predict), ("predict_proba", predict_proba)]
