"""The categories that the nodes of a tree send left, in the compact form that the kernels write and read."""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.category_words import SET_IS_LIST, SET_OTHERS_LEFT, SET_SIZE_SHIFT


class CategorySets(NamedTuple):
    """The sets of a tree's nodes, as `fastfit.kernels.category_words` tells."""

    start: (
        np.ndarray
    )  # (n_nodes,) int64: where a node's set begins in `words`, 0 if it is not split by categories
    words: np.ndarray  # (n_words,) uint32


def left_mask(sets, node, n_categories):
    """Return which categories a node sends left, as bool of shape (n_categories + 1,), missing values last.

    Parameters
    ----------
    sets : CategorySets
    node : int
        That is split by categories.
    n_categories : int
        Of the node's feature.

    Examples
    --------
    The categories 1 and 33 go left, all others right:

    >>> import numpy as np
    >>> from fastfit.training.category_sets import CategorySets, left_mask
    >>> words = np.array([0, 2 << 2 | 0, 1 << 1, 1 << 1], np.uint32)
    >>> np.flatnonzero(left_mask(CategorySets(np.array([1]), words), 0, 40))
    array([ 1, 33])
    """
    start = sets.start[node]
    head = int(sets.words[start])
    words = sets.words[start + 1 : start + 1 + (head >> SET_SIZE_SHIFT)]
    is_in = np.zeros(n_categories + 1, dtype=bool)
    if head & SET_IS_LIST:
        is_in[words] = True
    else:
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")[: len(is_in)]
        is_in[: len(bits)] = bits
    return ~is_in if head & SET_OTHERS_LEFT else is_in


def sets_of_kept_nodes(sets, former_children, children):
    """Return the sets of a pruned tree, whose nodes have new numbers.

    Parameters
    ----------
    sets : CategorySets
        Of the tree before it was pruned.
    former_children, children : tuple of ndarray
        ``(children_left, children_right)`` of the tree before, of shape (n_former_nodes,), and after, (n_nodes,).

    Returns
    -------
    CategorySets
    """
    former_of = np.zeros(len(children[0]), dtype=np.int64)
    nodes = np.zeros(1, dtype=np.int64)
    is_split = children[0] >= 0
    while len(nodes):
        nodes = nodes[is_split[nodes]]
        for of_former, of_new in zip(former_children, children, strict=True):
            former_of[of_new[nodes]] = of_former[former_of[nodes]]
        nodes = np.concatenate([children[0][nodes], children[1][nodes]])
    return CategorySets(np.where(is_split, sets.start[former_of], 0), sets.words)
