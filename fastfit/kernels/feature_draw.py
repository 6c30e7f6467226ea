"""Which features a node tries, and in what order: scikit-learn's draw, reproduced number by number.

Features are drawn without replacement by a Fisher-Yates shuffle that keeps apart those known to be constant in the node
or in one of its ancestors: they are drawn, count, and cost nothing. The order decides between splits that are equally
good, so it is part of the model even where every feature is tried. The positions of ``features`` are, in turn:
constants drawn in this node, other constants known before, constants found in this node, features not drawn yet, and
features drawn and tried.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.tree_node import N_CONSTANTS
from fastfit.runtime.compile import jit
from fastfit.runtime.random import MAX_RANDOM_INT, next_state


class DrawState(NamedTuple):
    """What the draw carries from node to node."""

    features: np.ndarray  # (n_features,) int64, a permutation, 0, 1, ... at first
    constants: np.ndarray  # (n_features,) int64: the known constants of the current path, in the order found
    random_state: np.ndarray  # (1,) int64: state of scikit-learn's generator


@jit(inline=True, internal=True)
def draw_int(random_state, low, high):
    """Draw an integer of [low, high)."""
    state = next_state(random_state[0])
    random_state[0] = state
    return low + np.int64(np.uint32(state & MAX_RANDOM_INT) % np.uint32(high - low))


@jit(inline=True, internal=True)
def _swap(features, i, j):
    kept = features[i]
    features[i] = features[j]
    features[j] = kept


@jit(internal=True)
def skip_draws(draw, n_splits):
    """Draw the features of a number of splits that try every feature and find none of them constant."""
    features = draw.features
    for _ in range(n_splits):
        for end in range(len(features), 0, -1):
            position = draw_int(draw.random_state, 0, end)
            _swap(features, end - 1, position)


def make_try_features(evaluate):
    """Return a kernel that draws features and evaluates them, ``try_features(problem, work, node, max_features)``.

    Parameters
    ----------
    evaluate : kernel
        ``evaluate(problem, work, node, feature)`` returns True if the feature is constant in the node. Otherwise it
        looks for the feature's best split, and enters it in ``node`` if its proxy is above ``node.floats[PROXY]``.
        ``work.draw`` is a `DrawState`.
    """

    @jit(internal=True)
    def try_features(problem, work, node, max_features):
        features = work.draw.features
        constants = work.draw.constants
        random_state = work.draw.random_state
        n_known = node.ints[N_CONSTANTS]
        n_drawn = 0
        n_found = 0
        n_total = n_known
        n_visited = 0
        end = len(features)
        while end > n_total and (n_visited < max_features or n_visited <= n_found + n_drawn):
            n_visited += 1
            position = draw_int(random_state, n_drawn, end - n_found)
            if position < n_known:
                _swap(features, n_drawn, position)
                n_drawn += 1
                continue
            position += n_found
            if evaluate(problem, work, node, features[position]):
                _swap(features, position, n_total)
                n_found += 1
                n_total += 1
                continue
            end -= 1
            _swap(features, end, position)
        # Siblings and descendants find the known constants in the order in which they were found.
        for i in range(n_known):
            features[i] = constants[i]
        for i in range(n_known, n_total):
            constants[i] = features[i]
        node.ints[N_CONSTANTS] = n_total

    return try_features
