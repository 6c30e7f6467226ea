"""Sums of weights by class, or of weighted targets, as a split moves through a node, in scikit-learn's order.

The sums over the left child grow sample by sample, or, where that is shorter, are the node's less the samples to the
right of the split, from the last one on. Those over the right child are always the difference.
"""

from fastfit.kernels.general_problem import ROW_MASK
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element


def make_sums(begin, end_sums, add, subtract):
    """Return the kernels ``begin``, ``begin_walk``, ``advance`` and ``split_at`` of a `Criterion`.

    Parameters
    ----------
    begin : kernel, inlined
        ``begin(problem, work)`` returns the state of a split to the left of all samples.
    end_sums : kernel, inlined
        ``end_sums(work, weight)`` returns the state of a split to the right of all samples.
    add, subtract : kernel, inlined
        ``add(problem, work, row, state)`` returns the state with one more sample in the left child, or one less.
    """

    @jit(inline=True, internal=True)
    def begin_walk(problem, work, start, end):
        return begin(problem, work)

    @jit(inline=True, internal=True)
    def advance(problem, work, end, position, next_position, weight, state):
        if next_position - position <= end - next_position:
            for p in range(position, next_position):
                state = add(problem, work, element(work.keys, p) & ROW_MASK, state)
            return state
        state = end_sums(work, weight)
        for p in range(end - 1, next_position - 1, -1):
            state = subtract(problem, work, element(work.keys, p) & ROW_MASK, state)
        return state

    @jit(inline=True, internal=True)
    def split_at(problem, work, start, end, position, weight):
        return advance(problem, work, end, start, position, weight, begin(problem, work))

    return begin, begin_walk, advance, split_at


@jit(inline=True, internal=True)
def begin_table(problem, work):
    """Empty the table of sums, and return the state for it: the weight alone."""
    left = work.sums.left
    for i in range(len(left)):
        left[i] = 0.0
    return (0.0,)


@jit(inline=True, internal=True)
def end_table(work, weight):
    """Put the sums of all samples into the table."""
    left, total = work.sums.left, work.sums.total
    for i in range(len(left)):
        left[i] = total[i]
    return (weight,)
