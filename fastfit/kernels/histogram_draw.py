"""Which features a node may try: those of its tree, of the groups of its path, and of those some that are drawn."""

import numpy as np

from fastfit.runtime.bit_generator import shuffle_bytes
from fastfit.runtime.compile import jit


@jit(internal=True)
def draw_features(
    n_features,
    constraints,  # Constraints
    limits,  # GrowthLimits
    groups,  # (n_groups,) uint8: those that hold the node's path
    tries,  # (2 * n_features,) uint8, out, and scratch behind
):
    """Write down which features a node may try: those of the tree, of its path's groups, and drawn for it."""
    n_allowed = 0
    for feature in range(n_features):
        may_try = constraints.columns[feature]
        if len(groups) > 0:
            is_in_group = np.uint8(0)
            for group in range(len(groups)):
                is_in_group |= constraints.groups[group, feature] & groups[group]
            may_try &= is_in_group
        tries[feature] = may_try
        n_allowed += may_try
    if limits.has_draws and n_allowed > 0:
        n_drawn = np.int64(np.ceil(limits.max_features * n_allowed))
        mask = tries[n_features : n_features + n_allowed]
        for i in range(n_allowed):
            mask[i] = i < n_drawn or i == 0
        shuffle_bytes(limits.draw_function, limits.draw_state, mask)
        position = 0
        for feature in range(n_features):
            if tries[feature]:
                tries[feature] = mask[position]
                position += 1
