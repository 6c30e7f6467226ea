"""From a grown tree to the steps of its leaves: which rows each leaf has, and sums over them.

Sums are NumPy's own, pairwise over the rows in ascending order: a leaf's step is scikit-learn's to the last bit.
"""

from fastfit.kernels.tree_node import LEFT_CHILD, RIGHT_CHILD, SPLIT_FEATURE, SPLIT_THRESHOLD
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.team import stop_requested, take_next

# Rows that a member takes at a time.
ROWS_AT_A_TIME = 2048
# Up to so many numbers NumPy adds in eight accumulators, longer ranges it halves.
PAIRWISE_SIZE = 128
# How the second derivative of a loss follows from the negative gradient and the target.
BINOMIAL, EXPONENTIAL = 0, 1


@jit
def find_leaves(
    control,
    thread_idx,
    n_threads,
    X_t,  # (n_features, n_samples) float32, read-only, without missing values
    ints,  # (n_nodes, NODE_FIELDS) int64
    floats,  # (n_nodes, NODE_FIELDS) float64, the same memory
    leaves_out,  # (n_samples,) int32
):
    """Find the leaf of every row; members of a team take blocks of rows in turn."""
    n_samples = X_t.shape[1]
    while not stop_requested(control):
        start = take_next(control, 0) * ROWS_AT_A_TIME
        if start >= n_samples:
            return
        end = start + ROWS_AT_A_TIME if n_samples - start > ROWS_AT_A_TIME else n_samples
        for i in range(start, end):
            node = 0
            while ints[node, LEFT_CHILD] >= 0:
                goes_left = X_t[ints[node, SPLIT_FEATURE], i] <= floats[node, SPLIT_THRESHOLD]
                node = ints[node, LEFT_CHILD if goes_left else RIGHT_CHILD]
            leaves_out[i] = node


@jit
def order_by_leaf(
    leaves,  # (n_samples,) int32
    in_bag,  # (n_samples,) uint8, or (0,): all are
    starts_out,  # (n_nodes + 2,) int64: rows of node i stand from starts[i] up to starts[i + 1]
    rows_out,  # (n_samples,) int32
):
    """Sort the rows of the bag by their leaf, ascending within each (counting sort)."""
    has_bag = len(in_bag) > 0
    for i in range(len(starts_out)):
        starts_out[i] = 0
    for i in range(len(leaves)):
        if not has_bag or in_bag[i]:
            starts_out[leaves[i] + 2] += 1
    for i in range(2, len(starts_out)):
        starts_out[i] += starts_out[i - 1]
    for i in range(len(leaves)):
        if not has_bag or in_bag[i]:
            place = starts_out[leaves[i] + 1]
            rows_out[place] = i
            starts_out[leaves[i] + 1] = place + 1


@jit(internal=True)
def _sum_block(values, start, n):
    """Add up to PAIRWISE_SIZE numbers as NumPy does."""
    if n < 8:
        total = 0.0
        for i in range(start, start + n):
            total += element(values, i)
        return total
    r0, r1, r2, r3 = values[start], values[start + 1], values[start + 2], values[start + 3]
    r4, r5, r6, r7 = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    end = start + n - n % 8
    for i in range(start + 8, end, 8):
        r0 += element(values, i)
        r1 += element(values, i + 1)
        r2 += element(values, i + 2)
        r3 += element(values, i + 3)
        r4 += element(values, i + 4)
        r5 += element(values, i + 5)
        r6 += element(values, i + 6)
        r7 += element(values, i + 7)
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(end, start + n):
        total += element(values, i)
    return total


@jit(internal=True)
def pairwise_sum(
    values,  # (> start + n,) float64
    start,
    n,
    sizes,  # (64,) int64, scratch
    sums,  # (64,) float64, scratch
):
    """Return the sum that ``np.sum`` gives for contiguous values[start:start + n], bit for bit.

    Ranges are halved, at multiples of eight, until they are short. ``sizes`` has the ranges that are still to be added,
    and below 0 stands for an addition of the last two sums.
    """
    n_waiting, n_sums = 1, 0
    sizes[0] = n
    while n_waiting > 0:
        n_waiting -= 1
        size = sizes[n_waiting]
        if size < 0:
            n_sums -= 1
            sums[n_sums - 1] += sums[n_sums]
        elif size <= PAIRWISE_SIZE:
            sums[n_sums] = _sum_block(values, start, size)
            n_sums += 1
            start += size
        else:
            half = size // 2
            half -= half % 8
            sizes[n_waiting] = -1
            sizes[n_waiting + 1] = size - half
            sizes[n_waiting + 2] = half
            n_waiting += 3
    return sums[0]


@jit(internal=True)
def sum_leaf(
    kind,  # BINOMIAL or EXPONENTIAL
    start,
    n,
    rows,  # (n_samples,) int32 of order_by_leaf
    y,  # (n_samples,) float64, 0 or 1
    neg_gradient,  # (n_samples,) float64
    weight,  # (n_samples,) float64, or (0,): ones
    values,  # (3, n_samples) float64, scratch: each leaf has its own range
    numbers,  # (64,) int64, scratch
    products,  # (64,) float64, scratch
    sums_out,  # (3,) float64: of the weights, and weighted of the negative gradients and second derivatives
):
    """Sum over the rows of one leaf, which stand from ``start`` on."""
    has_weight = len(weight) > 0
    for p in range(start, start + n):
        row = element(rows, p)
        step = neg_gradient[row]
        w = weight[row] if has_weight else 1.0
        if kind == EXPONENTIAL:
            curvature = -step if y[row] == 0.0 else step
        else:
            prob = y[row] - step
            curvature = prob * (1.0 - prob)
        values[0, p] = w
        values[1, p] = step * w
        values[2, p] = curvature * w
    sums_out[0] = pairwise_sum(values[0], start, n, numbers, products) if has_weight else n
    sums_out[1] = pairwise_sum(values[1], start, n, numbers, products)
    sums_out[2] = pairwise_sum(values[2], start, n, numbers, products)


@jit
def sum_leaves(
    control,
    thread_idx,
    n_threads,
    kind,  # BINOMIAL or EXPONENTIAL
    starts,  # (n_nodes + 2,) int64 of order_by_leaf
    rows,  # (n_samples,) int32 of order_by_leaf
    y,  # (n_samples,) float64, 0 or 1
    neg_gradient,  # (n_samples,) float64
    weight,  # (n_samples,) float64, or (0,): ones
    values,  # (3, n_samples) float64, scratch
    scratch,  # ((n_threads, 64) int64, (n_threads, 64) float64)
    sums_out,  # (n_nodes, 3) float64, see sum_leaf
):
    """Sum over the rows of every leaf; members of a team take leaves in turn."""
    numbers, products = scratch[0][thread_idx], scratch[1][thread_idx]
    node = take_next(control, 0)
    while node < len(sums_out) and not stop_requested(control):
        start, n = starts[node], starts[node + 1] - starts[node]
        sum_leaf(
            kind,
            start,
            n,
            rows,
            y,
            neg_gradient,
            weight,
            values,
            numbers,
            products,
            sums_out[node],
        )
        node = take_next(control, 0)
