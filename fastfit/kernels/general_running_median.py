"""Running medians and absolute errors of samples that are added one by one, where weights are whole numbers.

All medians of a growing set are found by shrinking it: samples are taken out of a linked list over the ranks of y in
the reverse order, and the median moves by a step or two each time, which is O(1) a sample where weights do not differ
much (after Tukey's and others' use of linked lists for running medians). The sums of weight * y up to the median come
from a binary indexed tree, since its order of additions makes scikit-learn's rounding.
"""

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element


@jit(internal=True)
def _store_medians(
    ranks,  # (n_samples,) int64: of y, of the samples in their order
    weights,  # (n_samples,) float64, positive whole numbers
    first,  # the samples are added from place first to place last, either way
    last,
    links,  # (2, n_ranks + 2) int64: the ranks before and behind each in the list, from 1 on, 0 and the last for none
    rank_weights,  # (n_ranks + 2,) float64: of the sample of each rank, from 1 on; 0 for none
    medians_out,  # (2, n_samples) int64: rank of the median when a sample was added; of the one before if between two
    below_out,  # (n_samples,) float64: weight below the median
):
    n_ranks = len(weights)
    before, behind = links[0], links[1]
    total, below = 0.0, 0.0
    for i in range(n_ranks):
        rank_weights[ranks[i] + 1] = weights[i]
        total += weights[i]
    rank_weights[0] = 0.0
    rank_weights[n_ranks + 1] = 0.0
    for rank in range(n_ranks + 2):
        before[rank] = rank - 1
        behind[rank] = rank + 1
    median = 1
    while 2 * (below + rank_weights[median]) <= total:
        below += rank_weights[median]
        median += 1
    step = 1 if first <= last else -1
    for place in range(last, first - step, -step):
        medians_out[0, place] = median - 1
        medians_out[1, place] = (before[median] if 2 * below == total else median) - 1
        below_out[place] = below
        rank = element(ranks, place) + 1
        total -= rank_weights[rank]
        behind[before[rank]] = behind[rank]
        before[behind[rank]] = before[rank]
        if rank < median:
            below -= rank_weights[rank]
        elif rank == median:
            median = behind[rank]
        while 2 * below > total:
            median = before[median]
            below -= rank_weights[median]
        while 2 * (below + rank_weights[median]) <= total and place != first:
            below += rank_weights[median]
            median = behind[median]


@jit(internal=True)
def _sum_up_to(
    tree,  # (n_ranks + 1,) float64
    top_bit,
    rank,
):
    """Return the sum over the ranks below, with the largest parts of the tree first."""
    total = 0.0
    i = 0
    bit = top_bit
    while bit > 0:
        i += rank & bit
        total += element(tree, i) if rank & bit else 0.0
        bit >>= 1
    return total


@jit(internal=True)
def _store_errors(
    ranks,  # (n_samples,) int64
    weights,  # (n_samples,) float64
    sorted_y,  # (n_ranks,) float64
    first,
    last,
    medians,  # (2, n_samples) int64
    below,  # (n_samples,) float64
    tree,  # (n_ranks + 1,) float64
    adds,  # whether errors of another output stand there already
    errors_out,  # (n_samples,) float64: of all samples up to each
    medians_out,  # (n_samples,) float64
):
    n_ranks = len(weights)
    top_bit = 1
    while 2 * top_bit <= n_ranks:
        top_bit *= 2
    for i in range(n_ranks + 1):
        tree[i] = 0.0
    total_weight, total_moment = 0.0, 0.0
    step = 1 if first <= last else -1
    for place in range(first, last + step, step):
        rank = element(ranks, place)
        moment = weights[place] * sorted_y[rank]
        i = rank + 1
        while i <= n_ranks:
            tree[i] += moment
            i += i & -i
        total_weight += weights[place]
        total_moment += moment
        rank, before = medians[0, place], medians[1, place]
        median = sorted_y[rank] if rank == before else (sorted_y[before] + sorted_y[rank]) / 2
        moment_below = _sum_up_to(tree, top_bit, rank)
        error = ((total_moment - moment_below) - median * (total_weight - below[place])) + (
            median * below[place] - moment_below
        )
        medians_out[place] = median
        errors_out[place] = errors_out[place] + error if adds else error


@jit(internal=True)
def store_all_errors(sums, k, n_samples):
    """Store the errors and medians of output k of both children, for all splits of samples whose ranks are read."""
    ranks, weights, sorted_y = sums.ranks[:n_samples], sums.weights[:n_samples], sums.sorted_y[k, :n_samples]
    for is_left in range(2):
        first = 0 if is_left else n_samples - 1
        last = n_samples - 1 - first
        _store_medians(
            ranks, weights, first, last, sums.links, sums.tree_weights, sums.median_ranks, sums.below
        )
        errors = sums.left_errors if is_left else sums.right_errors
        medians = sums.left_medians if is_left else sums.right_medians
        _store_errors(
            ranks,
            weights,
            sorted_y,
            first,
            last,
            sums.median_ranks,
            sums.below,
            sums.tree_moments,
            k > 0,
            errors,
            medians,
        )
