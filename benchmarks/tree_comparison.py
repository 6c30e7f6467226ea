"""How many nodes of a decision tree are not scikit-learn's: the measure behind "the same trees"."""

from typing import NamedTuple

import numpy as np

_LEAF = -1
# What sums of the same numbers in another order may differ by.
ROUNDING = 1e-9


class TreeComparison(NamedTuple):
    """Counts of nodes; sums of comparisons are comparisons of forests.

    Attributes
    ----------
    n_nodes : int
        Nodes of the larger tree.
    n_same : int
        Nodes that are in the same place of the table, under the same splits, and equal in every field.
    n_departures : int
        Nodes reached by the same splits that are themselves split differently, or in one tree only: the trees part
        there, and everything below them counts as not the same although it was never a choice.
    """

    n_nodes: int
    n_same: int
    n_departures: int

    @property
    def share_different(self):
        """Share of the nodes that are not the same."""
        return 1.0 - self.n_same / self.n_nodes


def compare_trees(ours, theirs, rtol=0.0):
    """Compare two ``sklearn.tree._tree.Tree`` node by node, from the roots down.

    Parameters
    ----------
    ours, theirs : Tree
        What a fitted estimator has as ``tree_``.
    rtol : float, default=0.0
        Difference of impurities, weights and values that still counts as equal, relative to the largest in the tree.
        With 0 they must have the same bits. Splits and counts must be equal whatever it is.

    Returns
    -------
    comparison : TreeComparison
    """
    a, b = ours.__getstate__(), theirs.__getstate__()
    tables, values = (a["nodes"], b["nodes"]), (a["values"], b["values"])
    n_nodes = max(map(len, tables))
    if values[0].shape[1:] != values[1].shape[1:]:
        return TreeComparison(n_nodes, 0, 1)
    n_same = n_displaced = n_departures = 0
    pair = np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.intp)
    while len(pair[0]):
        left, right = (table[idx] for table, idx in zip(tables, pair, strict=True))
        same_split = _same_split(left, right)
        same = same_split & (left["n_node_samples"] == right["n_node_samples"])
        for field in ("impurity", "weighted_n_node_samples"):
            same &= _equal(left[field], right[field], rtol, np.abs(tables[1][field]).max())
        values_same = _equal(values[0][pair[0]], values[1][pair[1]], rtol, np.abs(values[1]).max())
        same &= values_same.all(axis=(1, 2))
        n_same += int(same.sum())
        n_displaced += int((same & (pair[0] != pair[1])).sum())
        n_departures += int((~same_split).sum())
        inner = same_split & (left["left_child"] != _LEAF)
        pair = tuple(
            np.concatenate([nodes[inner]["left_child"], nodes[inner]["right_child"]])
            for nodes in (left, right)
        )
    # Behind a departure every later node has another position; without one, positions are part of the promise.
    return TreeComparison(n_nodes, n_same - (0 if n_departures else n_displaced), n_departures)


def compare_models(ours, theirs, rtol=0.0):
    """Compare all trees of two fitted estimators, be they trees or forests; gives the sum of their comparisons."""
    pairs = zip(_trees(ours), _trees(theirs), strict=True)
    return TreeComparison(*map(sum, zip(*(compare_trees(a, b, rtol) for a, b in pairs), strict=True)))


def node_gap(estimator, reference, data):
    """Share of nodes that are not scikit-learn's, bit for bit."""
    return compare_models(estimator, reference).share_different


def rounded_node_gap(estimator, reference, data):
    """Share of nodes that are not scikit-learn's, up to rounding of impurities and values."""
    return compare_models(estimator, reference, rtol=ROUNDING).share_different


def _trees(model):
    return [model.tree_] if hasattr(model, "tree_") else [member.tree_ for member in model.estimators_]


def _same_split(left, right):
    same = (left["feature"] == right["feature"]) & (left["threshold"] == right["threshold"])
    same &= left["missing_go_to_left"] == right["missing_go_to_left"]
    return same & ((left["left_child"] == _LEAF) == (right["left_child"] == _LEAF))


def _equal(left, right, rtol, scale):
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    return same if rtol == 0.0 else same | (np.abs(left - right) <= rtol * scale)
