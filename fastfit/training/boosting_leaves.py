"""The last step of a round of boosting: what each leaf of a new tree adds to the predictions."""

import math
import warnings

import numpy as np

from fastfit.kernels.boosting_leaves import BINOMIAL, EXPONENTIAL, find_leaves, order_by_leaf, sum_leaves
from fastfit.kernels.tree_node import LEAF_CHILD, LEFT_CHILD
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.threads import run_team, threads_for

__all__ = ["LeafRows", "leaf_of_rows", "newton_steps", "residual_steps", "weighted_percentile"]

_NOTHING = np.empty(0)
_EVERY_ROW = np.empty(0, np.uint8)
_KINDS = {"binomial": BINOMIAL, "exponential": EXPONENTIAL}
# Nanoseconds, roughly, that a row takes to find its leaf, and to be added to the sums of one.
WALK_WORK, SUM_WORK = 10.0, 10.0
# Denominators that stand for zero: the loss cannot be lowered.
TINY = 1e-150


def leaf_of_rows(X_t, nodes, *, n_jobs=None):
    """Return the number of the leaf that each sample ends in.

    Parameters
    ----------
    X_t : ndarray of shape (n_features, n_samples) of float32, read-only
    nodes : ndarray of shape (n_nodes, 8) of int64
        scikit-learn's nodes, byte for byte.
    n_jobs : int or None, default=None

    Returns
    -------
    leaves : ndarray of shape (n_samples,) of int32
    """
    leaves = np.empty(X_t.shape[1], np.int32)
    n_threads = threads_for(WALK_WORK * len(leaves), n_jobs)
    run_team(find_leaves, n_threads, X_t, as_readonly(nodes), as_readonly(nodes.view(np.float64)), leaves)
    return leaves


class LeafRows:
    """The rows of each leaf, as far as they are in the bag.

    Parameters
    ----------
    leaves : ndarray of shape (n_samples,) of int32
        Leaf of each row.
    nodes : ndarray of shape (n_nodes, 8) of int64
    in_bag : ndarray of shape (n_samples,) of bool, or None

    Attributes
    ----------
    leaf_nodes : ndarray of shape (n_leaves,)
        Numbers of the nodes that are leaves.
    starts : ndarray of shape (n_nodes + 2,) of int64
        Rows of node i are ``rows[starts[i]:starts[i + 1]]``, ascending.
    rows : ndarray of shape (n_samples,) of int32
    """

    def __init__(self, leaves, nodes, in_bag=None):
        self.leaf_nodes = np.flatnonzero(nodes[:, LEFT_CHILD] == LEAF_CHILD)
        self.starts = np.empty(len(nodes) + 2, np.int64)
        self.rows = np.empty(len(leaves), np.int32)
        in_bag = _EVERY_ROW if in_bag is None else in_bag.view(np.uint8)
        order_by_leaf(leaves, in_bag, self.starts, self.rows)

    @classmethod
    def of_known(cls, nodes, starts, rows):
        """Return an instance for rows that are in order already."""
        known = object.__new__(cls)
        known.leaf_nodes = np.flatnonzero(nodes[:, LEFT_CHILD] == LEAF_CHILD)
        known.starts = starts
        known.rows = rows
        return known

    def rows_of(self, node):
        """Return the rows of a leaf."""
        return self.rows[self.starts[node] : self.starts[node + 1]]


def newton_steps(kind, leaf_rows, y, neg_gradient, weight, factor=1.0, scratch=None):
    """Return the step of each leaf by Newton's method: mean negative gradient over mean second derivative.

    Parameters
    ----------
    kind : {"binomial", "exponential"}
        How the second derivative follows from gradient and target: for a loss with probabilities it is p (1 - p).
    leaf_rows : LeafRows
    y : ndarray of shape (n_samples,) of float64
        0 or 1.
    neg_gradient : ndarray of shape (n_samples,) of float64
    weight : ndarray of shape (n_samples,) of float64, or None
    factor : float, default=1.0
        What the numerators are multiplied by.
    scratch : ndarray of shape (3, n_samples) of float64, default=None

    Returns
    -------
    steps : ndarray of shape (n_leaves,) of float64

    Notes
    -----
    Friedman, Hastie and Tibshirani, "Additive logistic regression: a statistical view of boosting", Annals of
    Statistics 28(2), 2000. Sums are taken in scikit-learn's order.
    """
    n_samples = len(y)
    n_threads = threads_for(SUM_WORK * n_samples)
    sums = np.empty((len(leaf_rows.starts) - 2, 3))
    run_team(
        sum_leaves,
        n_threads,
        _KINDS[kind],
        leaf_rows.starts,
        leaf_rows.rows,
        as_readonly(y),
        neg_gradient,
        _NOTHING if weight is None else weight,
        np.empty((3, n_samples)) if scratch is None else scratch,
        (np.empty((n_threads, 64), np.int64), np.empty((n_threads, 64))),
        sums,
    )
    weights, gradients, curvatures = sums[leaf_rows.leaf_nodes].T
    numerators = gradients / weights
    if factor != 1.0:
        numerators *= factor
    denominators = curvatures / weights
    is_tiny = np.abs(denominators) < TINY
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        steps = np.where(is_tiny, 0.0, numerators / denominators)
    if np.isinf(steps).any():
        warnings.warn("overflow encountered in _safe_divide", RuntimeWarning, stacklevel=2)
    return steps


def residual_steps(leaf_rows, residuals, weight, rank, delta=None):
    """Return the step of each leaf that minimises a loss of the residuals: a quantile, or Huber's estimate.

    Parameters
    ----------
    leaf_rows : LeafRows
    residuals : ndarray of shape (n_samples,) of float64
    weight : ndarray of shape (n_samples,) of float64, or None
    rank : float
        Of the quantile, in percent.
    delta : float or None, default=None
        Where Huber's loss becomes linear; None for a quantile.

    Returns
    -------
    steps : ndarray of shape (n_leaves,) of float64

    Notes
    -----
    J. Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29(5), 2001.
    """
    steps = np.empty(len(leaf_rows.leaf_nodes))
    for i, node in enumerate(leaf_rows.leaf_nodes):
        rows = leaf_rows.rows_of(node)
        own = residuals[rows]
        own_weight = None if weight is None else weight[rows]
        steps[i] = weighted_percentile(own, own_weight, rank)
        if delta is not None:
            diff = own - steps[i]
            term = np.sign(diff) * np.minimum(delta, np.abs(diff))
            steps[i] += np.average(term, weights=own_weight)
    return steps


def weighted_percentile(values, weight, rank):
    """Return the least value up to which there is at least a share of the weight.

    Parameters
    ----------
    values : ndarray of shape (n,) of float64
    weight : ndarray of shape (n,) of float64, or None
    rank : float
        The share, in percent.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.boosting_leaves import weighted_percentile
    >>> float(weighted_percentile(np.array([3.0, 1.0, 2.0]), None, 50))
    2.0
    """
    if weight is None:
        place = max(math.ceil(rank / 100 * len(values)) - 1, 0)
        return np.partition(values, place)[place]
    if not weight.any():
        return np.nan
    order = np.argsort(values)
    cumulated = np.cumsum(weight[order])
    least = rank / 100 * cumulated[-1]
    if least == 0.0:
        least = np.nextafter(0.0, 1.0)
    place = min(np.searchsorted(cumulated, least), len(values) - 1)
    return values[order[place]]
