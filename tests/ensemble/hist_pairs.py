"""The same boosted trees of both libraries, and how they are compared."""

from dataclasses import dataclass, field

import numpy as np
from sklearn import ensemble as sklearn_ensemble
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from threadpoolctl import ThreadpoolController

import fastfit
import fastfit.ensemble

CLASSIFIER = "HistGradientBoostingClassifier"
REGRESSOR = "HistGradientBoostingRegressor"
BOTH = (CLASSIFIER, REGRESSOR)

_LIBRARIES = ThreadpoolController()

# What decides a split, and what follows from it exactly.
SPLIT_FIELDS = ("feature_idx", "bin_threshold", "num_threshold", "missing_go_to_left", "is_categorical")


def make_ours(name, **params):
    """Return fastfit's estimator of that name."""
    return getattr(fastfit.ensemble, name)(**params)


def make_both(name, **params):
    """Return the estimator of that name of fastfit and of scikit-learn."""
    return make_ours(name, **params), getattr(sklearn_ensemble, name)(**params)


def fit_both(name, X, y, sample_weight=None, fit_params=None, **params):
    """Fit both; fastfit must not hand the fit to scikit-learn."""
    ours, theirs = make_both(name, **params)
    # On few rows, and where others compute as well, threads of OpenMP mostly wait for each other.
    with _LIBRARIES.limit(limits=1, user_api="openmp"):
        with fastfit.config_context(fallback="error"):
            ours.fit(X, y, sample_weight, **(fit_params or {}))
        theirs.fit(X, y, sample_weight, **(fit_params or {}))
    assert ours.fit_engine_ == "fastfit"
    return ours, theirs


@dataclass
class Comparison:
    """Counts over pairs of trees.

    Attributes
    ----------
    n_nodes, n_same : int
        Nodes of scikit-learn's trees, and those that are the same in ours.
    n_trees, n_same_trees : int
    departures : list of float
        For each place where the trees part: by how much the better gain exceeds the other, relative to it.
    value_gap, gain_gap : float
        Largest difference of the values of common leaves (relative to the largest value of the tree), and of the
        gains of common splits (relative to the tree's largest).
    """

    n_nodes: int = 0
    n_same: int = 0
    n_trees: int = 0
    n_same_trees: int = 0
    departures: list = field(default_factory=list)
    value_gap: float = 0.0
    gain_gap: float = 0.0

    def add(self, ours, theirs):
        """Compare one tree with its counterpart, node by node from the root."""
        self.n_nodes += len(theirs.nodes)
        self.n_trees += 1
        n_before = len(self.departures)
        scale = np.abs(theirs.nodes["value"][theirs.nodes["is_leaf"] == 1]).max() or 1.0
        largest_gain = max(theirs.nodes["gain"].max(), 1e-300)
        waiting = [(0, 0)]
        while waiting:
            a, b = waiting.pop()
            one, other = ours.nodes[a], theirs.nodes[b]
            if one["is_leaf"] != other["is_leaf"] or not _same_split(ours, theirs, one, other):
                self.departures.append(_gain_gap(one, other, largest_gain))
                continue
            assert one["count"] == other["count"]
            assert one["depth"] == other["depth"]
            self.n_same += 1
            if other["is_leaf"]:
                self.value_gap = max(self.value_gap, abs(one["value"] - other["value"]) / scale)
            else:
                self.gain_gap = max(self.gain_gap, abs(one["gain"] - other["gain"]) / largest_gain)
                waiting += [(one["left"], other["left"]), (one["right"], other["right"])]
        self.n_same_trees += len(self.departures) == n_before


def _same_split(ours, theirs, one, other):
    if any(one[name] != other[name] for name in SPLIT_FIELDS):
        return False
    if not other["is_categorical"] or other["is_leaf"]:
        return True
    a, b = one["bitset_idx"], other["bitset_idx"]
    return all(
        np.array_equal(getattr(ours, name)[a], getattr(theirs, name)[b])
        for name in ("raw_left_cat_bitsets", "binned_left_cat_bitsets")
    )


def _gain_gap(one, other, largest_gain):
    """Return by how much the gains of two nodes differ, relative to the tree's largest; a leaf's is 0."""
    gains = [0.0 if node["is_leaf"] else node["gain"] for node in (one, other)]
    return abs(gains[0] - gains[1]) / largest_gain


def compare_rounds(ours, theirs, n_rounds=None):
    """Compare the trees of the first rounds, up to and with the one where they first part."""
    comparison = Comparison()
    for our_round, their_round in zip(
        ours._predictors[:n_rounds], theirs._predictors[:n_rounds], strict=True
    ):
        for one, other in zip(our_round, their_round, strict=True):
            assert type(one) is TreePredictor
            assert one.nodes.dtype == other.nodes.dtype
            comparison.add(one, other)
        if comparison.departures:
            break
    return comparison
