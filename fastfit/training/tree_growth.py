"""Grow one tree: choose the kernels that cover what is asked for, lend them buffers, and return what they made."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.tree_node import LEAF_CHILD, LEFT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD
from fastfit.training.category_sets import CategorySets
from fastfit.training.tree_data import prepare_tree_data

__all__ = ["GrownTree", "GrowthOptions", "Target", "grow_tree", "mark_categories", "prepare_tree_data"]


class GrowthOptions(NamedTuple):
    """Hyperparameters of a tree, resolved: fractions are counts and weights, names are those of kernels."""

    criterion: str  # "gini", "entropy", "squared_error", "absolute_error" or "poisson"
    splitter: str  # "best", "random" or "hist"
    max_depth: int
    min_samples_split: int
    min_samples_leaf: int
    min_weight_leaf: float
    min_impurity_decrease: float
    max_leaf_nodes: int  # -1: no bound
    max_features: int
    monotonic_cst: np.ndarray | None  # (n_features,) int8


class Target(NamedTuple):
    """What a tree learns."""

    y: np.ndarray  # (n_samples, n_outputs) float64: numbers, or indices of classes
    n_classes: np.ndarray | None  # (n_outputs,) of intp, or None for a regression


class GrownTree(NamedTuple):
    """A finished tree."""

    nodes: np.ndarray  # (n_nodes, 8) int64: scikit-learn's nodes, byte for byte
    values: np.ndarray  # (n_nodes, n_outputs, max_n_classes) float64
    max_depth: int
    category_sets: CategorySets | None = None  # which categories go left, where features are categories


def mark_categories(data, n_categories):
    """Have some features of the data count as categories; see `fastfit.training.category_growth.mark_categories`."""
    from fastfit.training import category_growth

    category_growth.mark_categories(data, n_categories)


def grow_tree(data, target, sample_weight, options, seed, *, n_threads=1):
    """Grow a tree, the one that scikit-learn grows from the same data, options and seed.

    Parameters
    ----------
    data : TreeData
    target : Target
    sample_weight : ndarray of shape (n_samples,) of float64, or None
        Samples of weight zero are left out.
    options : GrowthOptions
    seed : int
        State of scikit-learn's generator at the start.
    n_threads : int, default=1
        Threads that share the work on each node; the tree does not depend on it.

    Returns
    -------
    tree : GrownTree
    """
    grown = _grow(data, target, sample_weight, options, seed, n_threads)
    if data.cuts is not None:
        _turn_bins_into_values(grown.nodes, data.cuts)
    return grown


def _grow(data, target, sample_weight, options, seed, n_threads):
    # Each family of kernels is loaded when a tree needs it.
    if data.n_categories is not None:
        from fastfit.training.general_growth import grow_general

        return grow_general(data, target, sample_weight, options, seed)
    if options.splitter == "random":
        from fastfit.training import random_growth

        if random_growth.covers(data, target, sample_weight, options):
            return random_growth.grow_random(data, target, sample_weight, options, seed)
    else:
        from fastfit.training import drawn_growth, presorted_growth

        if presorted_growth.covers(data, target, sample_weight, options):
            return presorted_growth.grow_presorted(data, target, sample_weight, options, seed, n_threads)
        if drawn_growth.covers(data, target, sample_weight, options):
            return drawn_growth.grow_drawn(data, target, sample_weight, options, seed)
    from fastfit.training.general_growth import grow_general

    # Bins are values to the kernels.
    splitter = "random" if options.splitter == "random" else "best"
    return grow_general(data, target, sample_weight, options._replace(splitter=splitter), seed)


def _turn_bins_into_values(nodes, cuts):
    """Replace thresholds between numbers of bins, in place, by a cut between these bins."""
    is_split = nodes[:, LEFT_CHILD] != LEAF_CHILD
    thresholds = nodes.view(np.float64)[:, SPLIT_THRESHOLD]
    between_values = is_split & np.isfinite(thresholds)
    bins_below = np.floor(thresholds[between_values]).astype(np.int64)
    thresholds[between_values] = cuts[nodes[between_values, SPLIT_FEATURE], bins_below]
