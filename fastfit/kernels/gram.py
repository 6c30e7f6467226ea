"""Gram matrices: one pass over X for the weighted, centred products X'X and X'Y and the sums they need.

Columns of ``Z = [X | 1 | Y]`` are handled in units of ``UNIT``. Blocks of rows of Z are packed, converted to
float64, shifted and scaled by sqrt(weight), into a small buffer that stays in cache, and the tiles of Z'Z are
updated from there by the register micro-kernel, whose left operand is the same buffer read by columns.
Of Z'Z only these tiles are computed: the upper triangle of X'X and, where 1 and Y do not fit into the padding of
X's last unit, their rows against the columns of X and 1, with the tiles on their own diagonal.

With a shift s near the column means, ``sum w (x - m)(x - m)' = sum w (x - s)(x - s)' - (m - s)(m - s)' sum w``
loses no digits however far the means are from zero. Cost: n d^2 flops, at the speed of the micro-kernel.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.gemm import TILE_ROWS, TILE_VECTORS, Matrices, gemm_at, make_micro_kernel
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import address_of, fma, load, load_partial, prefetch, store, store_partial
from fastfit.runtime.team import barrier, stop_requested, take_next

LANES = lanes(np.float64)
UNIT = max(TILE_ROWS, LANES)  # columns handled together: a tile's height, and a whole number of vectors
UNIT_VECTORS = UNIT // LANES
N_LOW_ROWS = 2  # height of the low tiles: the rows of 1 and of a single target
ALIGNMENT = 8  # values of a cache line: buffers have so many to spare, so that no vector straddles two lines

_tile_1 = make_micro_kernel(np.float64, UNIT, 1)
_tile_2 = make_micro_kernel(np.float64, UNIT, 2)
_tile_3 = make_micro_kernel(np.float64, UNIT, 3)
_low_tile_3 = make_micro_kernel(np.float64, N_LOW_ROWS, 3)


class GramPlan(NamedTuple):
    """How the work is cut: from the data's shape alone, never from the number of threads."""

    n_rows: int
    n_columns: int  # of X
    n_targets: int
    centred: int  # 1 where the products are centred
    by_columns: int  # 1 where X lies column by column
    with_targets: int  # 0 where Z is X alone
    x_units: int
    n_units: int  # of Z
    block_units: int  # units in a block of columns; a work item is a chunk of rows and a pair of blocks
    n_blocks: int
    chunk_rows: int
    n_chunks: int
    depth: int  # rows packed at a time
    stride: int  # of a packed row
    sums_stride: int  # of a row of the partial sums


class GramData(NamedTuple):
    """What a Gram matrix is made of, each array flat and contiguous."""

    X: np.ndarray  # (n_rows * n_columns,) float32 or float64, read-only
    Y: np.ndarray  # (n_rows * n_targets,) float64, read-only
    sample_weight: np.ndarray  # (n_rows,) or (0,) float64, read-only
    shift: np.ndarray  # (n_columns + 1 + n_targets,) float64, subtracted from the columns of Z
    row_shift: np.ndarray  # (n_rows,) or (0,) float64, subtracted from the rows of X


class GramOut(NamedTuple):
    """Results, all float64, flat and contiguous."""

    gram: np.ndarray  # (n_columns * n_columns,)
    cross: np.ndarray  # (n_columns * n_targets,)
    means: np.ndarray  # (n_columns + 1 + n_targets,) of the columns of Z; 0 where not centred
    sums: np.ndarray  # (n_columns + 1 + n_targets,) of the weighted, shifted columns; 0 where not centred
    y_sum_squares: np.ndarray  # (n_targets,)
    sum_weights: np.ndarray  # (1,)


@jit(inline=True)
def aligned_start(buffer):
    """Return the index of the first element of a buffer that starts a cache line."""
    return -(address_of(buffer, 0) // 8) % ALIGNMENT


@jit(internal=True)
def _pack_rows(data, plan, rows, columns, buffer, start):
    """Write sqrt(weight) * (Z - shift) of some rows and columns from ``start`` on."""
    X, Y, sample_weight, shift, row_shift = data
    last_x = min(columns[1], plan.n_columns)
    n_z_columns = plan.n_columns + 1 + plan.n_targets
    next_block = (
        plan.depth * plan.n_columns
    )  # asked for early: it arrives while tiles are updated (8 % less time)
    for i in range(rows[0], rows[1]):
        scale = np.sqrt(sample_weight[i]) if sample_weight.size else 1.0
        bias = -row_shift[i] * scale if row_shift.size else 0.0
        target = start + (i - rows[0]) * plan.stride - columns[0]
        source = i * plan.n_columns
        j = columns[0]
        while plan.by_columns and j < last_x:
            store(buffer, target + j, fma(load(buffer, target + j), scale, bias))
            j += LANES
        while j + LANES <= last_x:
            x = load(X, source + j, np.float64) - load(shift, j)
            store(buffer, target + j, fma(x, scale, bias))
            prefetch(X, source + next_block + j)
            j += LANES
        if j < last_x:
            x = load_partial(X, source + j, last_x - j, np.float64) - load_partial(shift, j, last_x - j)
            store(buffer, target + j, fma(x, scale, bias))
            j = last_x
        for j in range(max(columns[0], plan.n_columns), min(columns[1], n_z_columns)):
            value = 1.0
            if j > plan.n_columns:
                value = Y[i * plan.n_targets + j - plan.n_columns - 1] - shift[j]
            buffer[target + j] = value * scale


@jit(internal=True)
def _pack_columns(data, plan, rows, columns, buffer, start):
    """Write X - shift where X lies by columns: each is read as it lies, and its unit of the buffer stays in cache."""
    X, shift = data.X, data.shift
    for j in range(columns[0], min(columns[1], plan.n_columns)):
        x_shift = shift[j]
        target = start + j - columns[0]
        for source in range(j * plan.n_rows + rows[0], j * plan.n_rows + rows[1]):
            buffer[target] = X[source] - x_shift
            target += plan.stride


class TileOperands(NamedTuple):
    """Where a packed block and the sums it is added to lie: byte addresses, and strides in elements."""

    left: int  # of row unit 0, if it were packed
    right: int  # of column unit 0, if it were packed
    stride: int
    sums: int  # of row unit 0 and column unit 0
    sums_stride: int
    depth: int


@jit(internal=True)
def _update_tiles(at, plan, row_units, column_units):
    """Update the tiles of some units of rows and columns; a panel of the right operand stays in cache for all rows.

    Units of X need the columns from their own to the last of X, others all columns up to the end of the range.
    """
    first_vector, last_vector = column_units[0] * UNIT_VECTORS, column_units[1] * UNIT_VECTORS
    for panel in range(first_vector, last_vector, TILE_VECTORS):
        for row in range(row_units[0], row_units[1]):
            vector, end = panel, min(panel + TILE_VECTORS, last_vector)
            if row < plan.x_units:
                vector, end = max(panel, row * UNIT_VECTORS), min(end, plan.x_units * UNIT_VECTORS)
            a = at.left + row * UNIT * 8
            b = at.right + vector * LANES * 8
            c = at.sums + (row * UNIT * at.sums_stride + vector * LANES) * 8
            if end - vector == 3:
                if plan.n_columns + 1 + plan.n_targets - row * UNIT <= N_LOW_ROWS:
                    _low_tile_3(a, 1, at.stride, b, at.stride, c, at.sums_stride, at.depth, 1)
                else:
                    _tile_3(a, 1, at.stride, b, at.stride, c, at.sums_stride, at.depth, 1)
            elif end - vector == 2:
                _tile_2(a, 1, at.stride, b, at.stride, c, at.sums_stride, at.depth, 1)
            elif end - vector == 1:
                _tile_1(a, 1, at.stride, b, at.stride, c, at.sums_stride, at.depth, 1)


@jit(internal=True)
def _pair_of_blocks(plan, pair):
    """Return the units of rows that a pair of blocks has to update, and its units of columns."""
    i, j = divmod(pair, plan.n_blocks)
    left = (i * plan.block_units, min((i + 1) * plan.block_units, plan.n_units))
    right = (j * plan.block_units, min((j + 1) * plan.block_units, plan.n_units))
    first_extra = max(left[0], plan.x_units)  # the units that have no column of X
    last = left[1] if right[0] <= plan.x_units or i == j else first_extra
    x_last = min(left[1], right[1], plan.x_units)
    if left[0] >= x_last or right[0] >= plan.x_units:
        return (first_extra, last), right
    return (left[0], last if first_extra < last else x_last), right


@jit(internal=True)
def _tiles_of_pair(plan, left, right, k):
    """Return the k-th group of tiles of a pair of blocks: units of rows, of columns, how far columns are moved.

    The first group has the columns that all share. The others are the diagonal tiles of units further on: nothing
    else needs their columns, and they are stored behind the shared ones. There are no groups from some k on.
    """
    first_own = plan.x_units + 1
    if k == 0:
        return left, (right[0], min(right[1], first_own)), 0
    unit = max(left[0], first_own) + k - 1
    if left != right or unit >= left[1]:
        unit = -1
    return (unit, unit + 1), (unit, unit + 1), first_own - unit


@jit
def sum_products(control, thread_idx, n_threads, data, plan, buffers, partials):
    """Compute the tiles of Z'Z of each chunk of rows, by a team.

    ``buffers`` is (n_threads * depth * stride,) and ``partials`` (n_chunks * n_units * UNIT * sums_stride,) zeros,
    each with ALIGNMENT elements to spare.
    """
    buffer = aligned_start(buffers) + thread_idx * plan.depth * plan.stride
    n_pairs = plan.n_blocks * plan.n_blocks
    item = take_next(control, 0)
    while item < plan.n_chunks * n_pairs and not stop_requested(control):
        chunk = item // n_pairs
        left, right = _pair_of_blocks(plan, item % n_pairs)
        stop = min((chunk + 1) * plan.chunk_rows, plan.n_rows) if left[0] < left[1] else 0
        sums = address_of(partials, aligned_start(partials) + chunk * plan.n_units * UNIT * plan.sums_stride)
        for first in range(chunk * plan.chunk_rows, stop, plan.depth):
            rows = (first, min(first + plan.depth, stop))
            start = buffer
            for side in range(1 if left == right else 2):
                units = right if side else left
                start = buffer + side * (left[1] - left[0]) * UNIT
                columns = (units[0] * UNIT, units[1] * UNIT)
                if plan.by_columns:
                    _pack_columns(data, plan, rows, columns, buffers, start)
                _pack_rows(data, plan, rows, columns, buffers, start)
            a = address_of(buffers, buffer - left[0] * UNIT)
            b = address_of(buffers, start - right[0] * UNIT)
            for k in range(1 + plan.n_units):
                row_units, column_units, moved = _tiles_of_pair(plan, left, right, k)
                if row_units[0] < 0:
                    break
                c = sums + moved * UNIT * 8
                at = TileOperands(a, b, plan.stride, c, plan.sums_stride, rows[1] - rows[0])
                _update_tiles(at, plan, row_units, column_units)
        item = take_next(control, 0)


@jit(internal=True)
def _merge_chunks(plan, unit, partials, start):
    """Add the chunks' sums for one unit of rows to the first chunk's, in the chunks' order."""
    unit_size = UNIT * plan.sums_stride
    first = start + unit * unit_size
    for chunk in range(1, plan.n_chunks):
        ahead = chunk * plan.n_units * unit_size
        for j in range(first, first + unit_size, LANES):
            store(partials, j, load(partials, j) + load(partials, ahead + j))


@jit(internal=True)
def _entry(plan, total, start, a, b):
    """Read element (a, b) of the symmetric Z'Z, which must be among those computed."""
    low, high = min(a, b), max(a, b)
    unit = high // UNIT
    if unit < plan.x_units:
        return total[start + low * plan.sums_stride + high]
    if low // UNIT == unit:
        low = min(unit, plan.x_units + 1) * UNIT + low % UNIT
    return total[start + high * plan.sums_stride + low]


@jit(internal=True)
def _read_sums(plan, total, start, shift, out):
    """Take the sums of weights, columns and targets, and the targets' centred squares, from Z'Z."""
    ones = plan.n_columns
    sum_weights = _entry(plan, total, start, ones, ones)
    out.sum_weights[0] = sum_weights
    scale = 1.0 / sum_weights if plan.centred and sum_weights > 0.0 else 0.0
    for j in range(ones + 1 + plan.n_targets):
        column_sum = _entry(plan, total, start, ones, j) if plan.centred else 0.0
        out.sums[j] = column_sum
        out.means[j] = shift[j] + column_sum * scale
        if j > ones:
            sum_squares = _entry(plan, total, start, j, j) - column_sum * column_sum * scale
            out.y_sum_squares[j - ones - 1] = max(sum_squares, 0.0)


@jit(internal=True)
def _write_rows(plan, unit, total, start, out):
    """Write one unit of rows of the centred X'X, with its mirror image, and of X'Y."""
    gram, sums, n = out.gram, out.sums, plan.n_columns
    scale = 1.0 / out.sum_weights[0] if plan.centred and out.sum_weights[0] > 0.0 else 0.0
    first, last = unit * UNIT, min((unit + 1) * UNIT, n)
    for i in range(first, last):
        mean = sums[i] * scale
        for j in range(first, n, LANES):
            n_left = min(n - j, LANES)
            lost = load_partial(sums, j, n_left) * mean
            store_partial(gram, i * n + j, n_left, load(total, start + i * plan.sums_stride + j) - lost)
        for t in range(plan.n_targets):
            j = n + 1 + t
            out.cross[i * plan.n_targets + t] = _entry(plan, total, start, i, j) - mean * sums[j]
    for j in range(first + 1, n):
        for i in range(first, min(j, last)):
            gram[j * n + i] = gram[i * n + j]


@jit
def finish_products(control, thread_idx, n_threads, plan, partials, shift, out):
    """Merge the chunks and write the centred products, by a team."""
    start = aligned_start(partials)
    unit = take_next(control, 0)
    while unit < plan.n_units:
        _merge_chunks(plan, unit, partials, start)
        unit = take_next(control, 0)
    if not barrier(control, n_threads):
        return
    if thread_idx == 0 and plan.with_targets:
        _read_sums(plan, partials, start, shift, out)
    if not barrier(control, n_threads):
        return
    unit = take_next(control, 1)
    while unit < plan.x_units:
        _write_rows(plan, unit, partials, start, out)
        unit = take_next(control, 1)


@jit
def sum_residual_gradients(control, thread_idx, n_threads, data, plan, coef, buffers, partials):
    """Compute X_c' W R and the squares of R, where R = Y_c - X_c B, of each chunk of rows, by a team.

    In terms of the packed block P, which holds sqrt(weight) * (Z - shift), the weighted residuals are P times
    ``coef``, (n_units * UNIT * n_targets,): -B in the rows of X, ones where a target meets its own column, else 0.
    Their product with P is stored a row for each target in ``partials``, (n_chunks * n_targets * sums_stride,), with
    the sum of their squares behind it. ``buffers`` has (depth * (stride + n_targets)) elements a thread.
    """
    n_targets, width = plan.n_targets, plan.n_units * UNIT
    packed = aligned_start(buffers) + thread_idx * plan.depth * (plan.stride + n_targets)
    residuals = packed + plan.depth * plan.stride
    block, residual_block = address_of(buffers, packed), address_of(buffers, residuals)
    chunk = take_next(control, 0)
    while chunk < plan.n_chunks and not stop_requested(control):
        gradient = chunk * n_targets * plan.sums_stride
        stop = min((chunk + 1) * plan.chunk_rows, plan.n_rows)
        for first in range(chunk * plan.chunk_rows, stop, plan.depth):
            rows = (first, min(first + plan.depth, stop))
            n_rows = rows[1] - first
            if plan.by_columns:
                _pack_columns(data, plan, rows, (0, width), buffers, packed)
            _pack_rows(data, plan, rows, (0, width), buffers, packed)
            at = Matrices(block, plan.stride, 1, address_of(coef, 0), n_targets, residual_block, n_targets, 8)
            gemm_at(0.0, at, n_rows, n_targets, width, 0)
            sums = address_of(partials, gradient)
            at = Matrices(residual_block, 1, n_targets, block, plan.stride, sums, plan.sums_stride, 8)
            gemm_at(0.0, at, n_targets, width, n_rows, 1)
            for k in range(n_rows * n_targets):
                residual = buffers[residuals + k]
                partials[gradient + k % n_targets * plan.sums_stride + width] += residual * residual
        chunk = take_next(control, 0)
