"""What trees that split by categories need beside the rest: codes that are categories, and buffers for their sets."""

import math

import numpy as np

from fastfit.kernels.category_words import FIRST_SET
from fastfit.kernels.general_categories import N_SUMS, CategoryBuffers
from fastfit.kernels.tree_node import LEAF_CHILD, LEFT_CHILD
from fastfit.runtime.compile import as_readonly
from fastfit.training.category_sets import CategorySets


def mark_categories(data, n_categories):
    """Have some features of the data count as categories.

    Parameters
    ----------
    data : TreeData
        The values of those features are 0, 1, ..., n_categories - 1, or NaN.
    n_categories : ndarray of shape (n_features,) of int64
        0 for features that are numbers.
    """
    codes = data.codes
    for feature in np.flatnonzero(n_categories):
        values = data.X_t[feature]
        # Ranks are among the categories of these data, which need not have all.
        codes[feature] = np.where(np.isnan(values), n_categories[feature], values)
    data.n_categories = as_readonly(n_categories)


def with_categories(problem, scratch, data):
    """Return the problem and the scratch of the general engine, with what it needs for categories."""
    n_samples, capacity = problem.n_root_samples, len(problem.values)
    n_codes = int(data.n_categories.max()) + 1
    # Each time that a sample is in the smaller child, its node shrinks to a half. No memory is taken before it is used.
    n_in_smaller = n_samples * math.ceil(math.log2(n_samples + 1)) // 2
    n_words = FIRST_SET + capacity + min(n_in_smaller, capacity * (n_codes // 32 + 1))
    buffers = CategoryBuffers(
        sums=np.zeros((n_codes, N_SUMS)),
        order=np.empty(n_codes + 1, np.int64),
        best_order=np.empty(n_codes + 1, np.int64),
        set_start=np.zeros(capacity, np.int64),
        words=np.empty(n_words, np.uint32),
        n_words=np.array([FIRST_SET]),
    )
    buffers.words[:FIRST_SET] = 0
    return problem._replace(n_categories=data.n_categories), scratch._replace(categories=buffers)


def category_sets(nodes, scratch):
    """Return the sets of a grown tree, whose leaves may have had a split that was not good enough."""
    buffers = scratch.categories
    is_split = nodes[:, LEFT_CHILD] != LEAF_CHILD
    start = np.where(is_split, buffers.set_start[: len(nodes)], 0)
    return CategorySets(start, buffers.words[: buffers.n_words[0]].copy())
