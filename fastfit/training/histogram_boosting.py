"""Boosting on histograms: rounds of gradients, trees and predictions over prepared data."""

import numpy as np

from fastfit.kernels.histogram_leaves import search_leaves
from fastfit.kernels.histogram_tree import T_IS_LEAF, T_NODE, T_VALUE
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import map_threads, run_team, threads_for
from fastfit.training.boosting_losses import (
    LINE_SEARCH_LOSSES,
    LOSSES,
    UNIT_HESSIAN_LOSSES,
    fill_slopes,
    loss_value,
)
from fastfit.training.histogram_growth import GrownTree, GrowthOptions, TreeGrower, predictor_nodes

__all__ = ["GrownTree", "GrowthOptions", "HistogramBooster", "loss_value", "predictor_nodes"]

# Nanoseconds of a tree for each value of X, about.
_VALUE_WORK = 1.5


class HistogramBooster:
    """Rounds of boosting on binned data, one tree a round for each raw prediction of a sample.

    Parameters
    ----------
    bins : fastfit.training.binned_data.BinnedData
        Made ``for_growth``.
    loss : str or None
        One of :data:`fastfit.training.boosting_losses.LOSSES`; None if the caller hands in gradients.
    y : ndarray of shape (n_samples,), float64
    sample_weight : ndarray of shape (n_samples,), float64, or None
        None negative.
    raw_predictions : ndarray of shape (n_samples, n_trees), float64, F-contiguous
        Changed in place by every round.
    options : GrowthOptions
    quantile : float or None, default=None
        Of the loss "quantile".
    n_jobs : int or None, default=None
        As for :func:`fastfit.runtime.threads.threads_for`.
    n_threads : int or None, default=None
        Exact number of threads, in place of `n_jobs`. No bit of the result depends on it.
    """

    def __init__(
        self,
        bins,
        loss,
        y,
        sample_weight,
        raw_predictions,
        options,
        *,
        quantile=None,
        n_jobs=None,
        n_threads=None,
    ):
        if loss is not None and loss not in LOSSES:
            raise ValueError(f"loss must be None or one of {LOSSES}, got {loss!r}.")
        if not raw_predictions.flags.f_contiguous or raw_predictions.dtype != np.float64:
            raise ValueError("raw_predictions must be float64 and F-contiguous.")
        n_trees = raw_predictions.shape[1]
        if n_threads is None:
            n_threads = threads_for(_VALUE_WORK * bins.rows.size, n_jobs)
        self.loss = loss
        self.y = np.ascontiguousarray(y, dtype=np.float64)
        self.sample_weight = (
            None if sample_weight is None else np.ascontiguousarray(sample_weight, dtype=np.float64)
        )
        self.raw_predictions = raw_predictions
        self.quantile = quantile
        self.n_threads = n_threads
        # The mean loss before each round; empty if the caller hands in gradients.
        self.loss_curve = []
        self._raw = raw_predictions.T.reshape(-1)
        self._searches = loss in LINE_SEARCH_LOSSES
        self._scratch = None
        self._options = options
        self._grower = TreeGrower(
            bins,
            options,
            n_trees,
            n_threads,
            updates_raw=not self._searches,
            unit_hessians=sample_weight is None and loss in UNIT_HESSIAN_LOSSES,
        )

    def boost_round(self, *, feature_rng=None, rows=None, columns=None, gradients=None, hessians=None):
        """Grow the trees of one round and add their values to the predictions.

        Parameters
        ----------
        feature_rng : numpy.random.Generator or None, default=None
            Needed if ``options.max_features`` is below 1; drawn from as scikit-learn does.
        rows : ndarray of int or None, default=None
            The samples to grow the trees on, in ascending order, without repetition. The others' predictions are
            updated by walking down the trees.
        columns : ndarray of bool of shape (n_features,) or None, default=None
            The features to grow the trees on.
        gradients, hessians : ndarray of shape (n_samples, n_trees), or None, default=None
            In place of those of the loss. Hessians may have a single row, for all samples.

        Returns
        -------
        trees : list of GrownTree
        """
        values = self._grower.values
        if gradients is None:
            loss = fill_slopes(
                self.loss, self.y, self._raw, self.sample_weight, self.quantile, values, self.n_threads
            )
            self.loss_curve.append(self.loss_value() if loss is None else loss)
        else:
            values[:, ::2] = np.asarray(gradients).reshape(len(self.y), -1).T
            values[:, 1::2] = np.asarray(hessians).reshape(-1, len(values)).T
        trees = self._grower.grow(self._raw, feature_rng=feature_rng, rows=rows, columns=columns)
        if self._searches:
            trees = [self._search_line(tree) for tree in trees]
        if rows is not None:
            self._update_others(trees, rows)
        return trees

    def set_learning_rate(self, rate):
        """Shrink the trees of all further rounds by this factor."""
        self._options = self._options._replace(learning_rate=rate)
        self._grower.limits = self._grower.limits._replace(shrinkage=float(rate))

    def boost(self, n_rounds, feature_rng=None):
        """Return the trees of several rounds, a list for each, as `boost_round` would."""
        return [self.boost_round(feature_rng=feature_rng) for _ in range(n_rounds)]

    def loss_value(self):
        """Return the mean loss of the predictions so far."""
        return loss_value(
            self.loss,
            self.y,
            self.raw_predictions,
            self.sample_weight,
            self.quantile,
            n_threads=self.n_threads,
        )

    def _search_line(self, tree):
        """Set each leaf's value to the quantile of what is left to explain in it, and update the predictions.

        The loss has no second derivative, so that a Newton step says nothing; this is what minimises it in a leaf.
        """
        samples = self._grower.buffers.samples
        segments = self._grower.buffers.segments
        leaves = np.flatnonzero(tree.ints[:, T_IS_LEAF])
        nodes = tree.ints[leaves, T_NODE]
        raw = self._raw
        if self.sample_weight is None:
            sizes = np.diff(segments[:, nodes]).sum(axis=(0, 2))
            # NumPy's percentiles divide by 100 again.
            quantile = -1.0 if self.loss == "absolute_error" else 100 * self.quantile / 100.0
            values = np.empty(len(leaves))
            run_team(
                search_leaves,
                self.n_threads,
                samples,
                segments,
                np.stack([nodes, np.cumsum(sizes) - sizes]),
                self.y,
                raw,
                (quantile, float(self._options.learning_rate)),
                self._search_scratch(),
                values,
            )
            tree.floats[leaves, T_VALUE] = values
            return tree
        rank = 50.0 if self.loss == "absolute_error" else 100 * self.quantile

        def search(leaf):
            own = np.concatenate([samples[start:end] for start, end in segments[:, nodes[leaf]]])
            step = _weighted_percentile(self.y[own] - raw[own], self.sample_weight[own], rank)
            value = self._options.learning_rate * step
            raw[own] += value
            return value

        tree.floats[leaves, T_VALUE] = map_threads(search, range(len(leaves)), self.n_threads)
        return tree

    def _search_scratch(self):
        if self._scratch is None:
            self._scratch = aligned_zeros((2, len(self.y)), np.float64)
        return self._scratch

    def _update_others(self, trees, rows):
        """Add the trees' values to the predictions of the samples that they were not grown on."""
        from fastfit.training.boosting_prediction import add_tree_binned

        others = np.ones(len(self.y), bool)
        others[rows] = False
        others = np.flatnonzero(others)
        bins = self._grower.bins
        for tree_idx, tree in enumerate(trees):
            values = np.zeros(len(others))
            add_tree_binned(tree, bins.rows[others], bins.missing_bin, values, n_threads=self.n_threads)
            self.raw_predictions[others, tree_idx] += values


def _weighted_percentile(values, weights, rank):
    """Return the least value with ``rank`` percent of the weight at or below it."""
    if not weights.any():
        return np.nan
    order = np.argsort(values.reshape(-1, 1), axis=0)[:, 0]
    cumulated = np.cumsum(weights[order])
    wanted = rank / 100 * cumulated[-1]
    if wanted == 0:
        wanted = np.nextafter(wanted, wanted + 1)
    place = min(int(np.searchsorted(cumulated, wanted)), len(values) - 1)
    return values[order[place]]
