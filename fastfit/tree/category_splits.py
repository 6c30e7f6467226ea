"""Trees that split by categories: what they learn beside ``tree_``, which knows of thresholds only."""

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils.validation import check_is_fitted

# What a fit without categories has to forget.
CATEGORY_ATTRIBUTES = ("is_categorical_", "_category_encoding", "_category_sets")


class CategorySplits:
    """Mixin before scikit-learn's class: predictions, paths and pruning of trees that split by categories."""

    @property
    def left_categories_(self):
        """The categories that each node sends left, a list of arrays, None of nodes that are not split by categories.

        Categories that were absent from the node are among them if the left child has more samples. Missing values, and
        categories that were not there in training, go left where ``tree_.missing_go_to_left`` says so.
        """
        check_is_fitted(self)
        left_categories = [None] * self.tree_.node_count
        sets = self.__dict__.get("_category_sets")
        if sets is not None:
            from fastfit.training.category_sets import left_mask

            categories = self._category_encoding.categories
            for node in np.flatnonzero(sets.start):
                of_feature = categories[self.tree_.feature[node]]
                left_categories[node] = of_feature[left_mask(sets, node, len(of_feature))[:-1]]
        return left_categories

    def decision_path(self, X, check_input=True):
        """Return the nodes that each sample passes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, used as float32.

        check_input : bool, default=True
            False skips all checks but that of the number of features; X must be float32 then, codes in place of
            categories.

        Returns
        -------
        indicator : sparse matrix of shape (n_samples, n_nodes)
            1 where a sample passes a node, in CSR format.
        """
        if self.__dict__.get("_category_encoding") is None:
            return super().decision_path(X, check_input)
        leaves = self.apply(X, check_input)
        tree = self.tree_
        parents = np.full(tree.node_count, -1)
        depths = np.zeros(tree.node_count, dtype=np.intp)
        nodes = np.zeros(1, dtype=np.intp)
        while len(nodes):
            nodes = nodes[tree.children_left[nodes] >= 0]
            for children in (tree.children_left[nodes], tree.children_right[nodes]):
                parents[children] = nodes
                depths[children] = depths[nodes] + 1
            nodes = np.concatenate([tree.children_left[nodes], tree.children_right[nodes]])
        ends = np.cumsum(depths[leaves] + 1)
        passed = np.empty(ends[-1] if len(ends) else 0, dtype=np.intp)
        places, nodes = ends - 1, leaves
        while len(nodes):
            passed[places] = nodes
            nodes = parents[nodes]
            goes_on = nodes >= 0
            places, nodes = places[goes_on] - 1, nodes[goes_on]
        shape = len(leaves), tree.node_count
        return csr_matrix((np.ones(len(passed), dtype=np.intp), passed, np.r_[0, ends]), shape=shape)

    def _validate_X_predict(self, X, check_input):
        encoding = self.__dict__.get("_category_encoding")
        if encoding is None or not check_input:
            return super()._validate_X_predict(X, check_input)
        return encoding.encode(self, X, self._support_missing_values(X))

    def _find_many_leaves(self, X):
        encoding = self.__dict__.get("_category_encoding")
        if encoding is None:
            return super()._find_many_leaves(X)
        # However few rows: scikit-learn's own loop knows no categories.
        from fastfit.training.tree_prediction import apply_forest, flatten_forest

        state = self.tree_.__getstate__()
        flat = flatten_forest(
            [state["nodes"]],
            [state["values"]],
            self.n_features_in_,
            encoding.n_categories,
            [self.__dict__.get("_category_sets")],
        )
        return apply_forest(flat, np.asarray(X, dtype=np.float32), n_jobs=self.n_jobs)[:, 0]

    def _prune_tree(self):
        former = self.tree_
        super()._prune_tree()
        sets = self.__dict__.get("_category_sets")
        if sets is not None and self.tree_ is not former:
            from fastfit.training.category_sets import sets_of_kept_nodes

            former_children = former.children_left, former.children_right
            children = self.tree_.children_left, self.tree_.children_right
            self._category_sets = sets_of_kept_nodes(sets, former_children, children)

    def _compute_partial_dependence_recursion(self, grid, target_features):
        refuse_recursion(self)
        return super()._compute_partial_dependence_recursion(grid, target_features)


def refuse_recursion(estimator):
    """Raise a ValueError if the estimator splits by categories: scikit-learn's recursion does not know of them."""
    if estimator.__dict__.get("_category_encoding") is not None:
        raise ValueError(
            f"method='recursion' does not know of categorical_features={estimator.categorical_features!r}; use "
            "method='brute'."
        )
