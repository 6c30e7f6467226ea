"""scikit-learn's own pseudo-random stream, reproduced bit for bit inside kernels.

scikit-learn draws from a 32-bit xorshift generator (Marsaglia, "Xorshift RNGs", Journal of Statistical
Software 8(14), 2003; triple 13, 17, 5) wherever a model is fitted without the GIL: the order of the samples in
stochastic gradient descent, the features of a tree's split. The same seed must give the same model here, so the
stream and the Fisher-Yates shuffle built on it are the same, including the quirks: a zero seed becomes one,
and the top bit of the state is not part of the number drawn.
"""

import numpy as np

from fastfit.runtime.compile import jit

_MASK_32 = 0xFFFFFFFF
# What scikit-learn's our_rand_r returns is the state without its top bit.
MAX_RANDOM_INT = 0x7FFFFFFF


@jit(inline=True, internal=True)
def next_state(state):
    """Advance the xorshift state: a non-zero 32-bit number held in an int64, where the shifts cannot lose bits."""
    if state == 0:
        state = 1
    state ^= (state << 13) & _MASK_32
    state ^= state >> 17
    state ^= (state << 5) & _MASK_32
    return state


@jit
def shuffle(
    order,  # (n_samples,) int32, permuted in place
    seed,
):
    """Permute ``order`` by the Fisher-Yates shuffle of scikit-learn's ``SequentialDataset``.

    Position i is exchanged with position ``i + draw % (n - i)``. Every epoch passes the same seed and permutes
    the order which the epoch before left behind, as scikit-learn does.
    """
    n = len(order)
    state = np.int64(seed)
    for i in range(n - 1):
        state = next_state(state)
        # An unsigned 32-bit remainder costs a third of the signed 64-bit one that int64 operands would give.
        j = i + np.int64(np.uint32(state & MAX_RANDOM_INT) % np.uint32(n - i))
        swapped = order[i]
        order[i] = order[j]
        order[j] = swapped
