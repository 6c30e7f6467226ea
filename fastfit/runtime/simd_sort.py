"""Sorting unsigned integers in vectors: networks for a few, and the split of many by a pivot.

As in `fastfit.runtime.simd`, a function here becomes vector instructions of the host's width in compiled code, where it
stands, and is NumPy in plain Python. Keys are 1-D contiguous arrays of uint32 or uint64.

A network exchanges keys by minimum and maximum, without a branch. Keys lie in rows of one vector each: first every lane
is sorted by itself, over the rows (Batcher's odd-even merge sort), then lanes are merged in pairs, pairs in fours, and
so on (bitonic merges), which needs a permutation a row only where lanes are compared with each other. Batcher, "Sorting
networks and their applications", AFIPS 1968. The split is that of Bramas, "A novel hybrid quicksort algorithm
vectorized using AVX-512", IJACSA 2017, with a buffer for one side.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors

from fastfit.runtime.cpu import VECTOR_BYTES, lanes
from fastfit.runtime.simd import compiles

# Whether an instruction moves together the lanes that a mask selects. Without it `split` works, but slowly.
CAN_COMPRESS = VECTOR_BYTES == 64
# Twice as many keys take twice as long to compile, 0.15 s, and half of that again in every kernel around it; they save
# 0.3 ns a key where there are more than 64. More rows than 8 do not fit into 16 registers.
MAX_NETWORK_KEYS = 64
MAX_NETWORK_ROWS = 8

_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)


def network_size(dtype):
    """Return the greatest number of keys of a dtype that `sort_few` sorts."""
    n_lanes, n_rows = _network_shapes(lanes(dtype))[-1]
    return n_lanes * n_rows


def sort_few(keys, start, count):
    """Sort keys[start : start + count] in ascending order, for 0 <= count <= network_size(dtype)."""
    keys[start : start + count].sort()


def pick_pivot(keys, start, count):
    """Return a key near the median of keys[start : start + count], for count >= network_size(dtype).

    It is a median of medians: of nine vectors at even distances, lane by lane, and then of nine lanes.
    """
    return np.sort(keys[start : start + count : max(1, count // 9)])[4]


def split(keys, buffer, start, stop, pivot):
    """Move the keys of keys[start : stop] that are not above the pivot before those that are; return their end.

    ``buffer``, of the same dtype, has room for stop - start keys and a vector.
    """
    part = keys[start:stop]
    is_low = part <= pivot
    part[:] = np.concatenate((part[is_low], part[~is_low]))
    return start + int(np.count_nonzero(is_low))


# --- Vectors of keys ----------------------------------------------------------------------------------------


class _Keys:
    """Writes LLVM code for vectors of the keys of arrays of one type."""

    def __init__(self, context, builder, array_type, n_lanes=None):
        self.context = context
        self.builder = builder
        self.array_type = array_type
        self.n_bits = array_type.dtype.bitwidth
        self.lanes = n_lanes or 8 * VECTOR_BYTES // self.n_bits
        self.type = ir.VectorType(ir.IntType(self.n_bits), self.lanes)
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)
        self.suffix = f"v{self.lanes}i{self.n_bits}"
        self.align = ir.Constant(_INT32, self.n_bits // 8)
        self.undefined = ir.Constant(self.type, ir.Undefined)

    def number(self, value):
        return ir.Constant(_INT64, value)

    def call(self, name, result, operands):
        function_type = ir.FunctionType(result, [operand.type for operand in operands])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, operands)

    def pointer(self, array, index):
        data = self.context.make_array(self.array_type)(self.context, self.builder, array).data
        return self.builder.bitcast(self.builder.gep(data, [index]), self.type.as_pointer())

    def load(self, array, index):
        return self.builder.load(self.pointer(array, index), align=self.align.constant)

    def store(self, vector, array, index):
        self.builder.store(vector, self.pointer(array, index), align=self.align.constant)

    def load_first(self, array, index, mask):
        """Load the lanes of a mask; the others are greater than or equal to any key."""
        greatest = ir.Constant(self.type, [2**self.n_bits - 1] * self.lanes)
        operands = [self.pointer(array, index), self.align, mask, greatest]
        return self.call(f"llvm.masked.load.{self.suffix}.p0", self.type, operands)

    def store_first(self, vector, array, index, mask):
        operands = [vector, self.pointer(array, index), self.align, mask]
        self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), operands)

    def first_lanes(self, count):
        """Return the mask of the first `count` lanes: of none if it is negative, of all if there are fewer."""
        builder = self.builder
        for limit, beyond in ((0, "<"), (self.lanes, ">")):
            is_beyond = builder.icmp_signed(beyond, count, self.number(limit))
            count = builder.select(is_beyond, self.number(limit), count)
        counts = ir.VectorType(_INT32, self.lanes)
        undefined = ir.Constant(counts, ir.Undefined)
        first = builder.insert_element(undefined, builder.trunc(count, _INT32), ir.Constant(_INT32, 0))
        count = builder.shuffle_vector(first, undefined, ir.Constant(counts, [0] * self.lanes))
        return builder.icmp_signed("<", ir.Constant(counts, list(range(self.lanes))), count)

    def splat(self, key):
        first = self.builder.insert_element(self.undefined, key, ir.Constant(_INT32, 0))
        return self.permute(first, [0] * self.lanes)

    def permute(self, vector, positions, other=None):
        positions = ir.Constant(ir.VectorType(_INT32, self.lanes), list(positions))
        return self.builder.shuffle_vector(vector, self.undefined if other is None else other, positions)

    def minimum(self, a, b):
        return self.call(f"llvm.umin.{self.suffix}", self.type, [a, b])

    def maximum(self, a, b):
        return self.call(f"llvm.umax.{self.suffix}", self.type, [a, b])

    def median(self, a, b, c):
        return self.maximum(self.minimum(a, b), self.minimum(self.maximum(a, b), c))

    def compress(self, vector, mask):
        """Move the lanes of a mask to the front."""
        name = f"llvm.experimental.vector.compress.{self.suffix}"
        return self.call(name, self.type, [vector, mask, self.undefined])

    def count_lanes(self, mask):
        bits = self.builder.bitcast(mask, ir.IntType(self.lanes))
        return self.builder.zext(self.call(f"llvm.ctpop.i{self.lanes}", bits.type, [bits]), _INT64)


def _check_keys(*arrays):
    for array in arrays:
        is_flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.mutable
        if not is_flat or array.dtype not in (types.uint32, types.uint64) or array != arrays[0]:
            raise errors.TypingError(
                f"expected 1-D contiguous arrays of uint32 or uint64, all of one dtype, got {array}"
            )


# --- Networks -----------------------------------------------------------------------------------------------


def exchanges(n):
    """Return the pairs of positions, lower first, that Batcher's odd-even merge sort of n = 2^k values compares.

    Examples
    --------
    >>> from fastfit.runtime.simd_sort import exchanges
    >>> exchanges(4)
    [(0, 1), (2, 3), (0, 2), (1, 3), (1, 2)]
    """
    pairs = []
    p = 1
    while p < n:
        distance = p
        while distance >= 1:
            for start in range(distance % p, n - distance, 2 * distance):
                for i in range(start, min(start + distance, n - distance)):
                    if i // (2 * p) == (i + distance) // (2 * p):
                        pairs.append((i, i + distance))
            distance //= 2
        p *= 2
    return pairs


def _exchange(keys, rows, pairs):
    for i, j in pairs:
        rows[i], rows[j] = keys.minimum(rows[i], rows[j]), keys.maximum(rows[i], rows[j])


def _exchange_lanes(keys, rows, others, flip, half):
    """Compare each lane of a row with lane ^ flip of another; lanes without the bit `half` take the minimum."""
    takes_minimum = ir.Constant(keys.mask_type, [int(lane & half == 0) for lane in range(keys.lanes)])
    results = []
    for row, other in zip(rows, others, strict=True):
        partner = keys.permute(other, [lane ^ flip for lane in range(keys.lanes)])
        lower, upper = keys.minimum(row, partner), keys.maximum(row, partner)
        results.append(keys.builder.select(takes_minimum, lower, upper))
    return results


def _halves(n):
    """Return n / 2, n / 4, ..., 1."""
    return [n >> k for k in range(1, n.bit_length())]


def _sort_rows(keys, rows):
    """Sort the keys of all rows, and return the rows."""
    n = len(rows)
    _exchange(keys, rows, exchanges(n))
    block = 2
    while block <= keys.lanes:
        # Neighbouring blocks of lanes are sorted, down the rows of one lane after the other. The second is read
        # backwards, which makes the two one bitonic sequence.
        rows = _exchange_lanes(keys, rows, rows[::-1], block - 1, block // 2)
        for half in _halves(block // 2):
            rows = _exchange_lanes(keys, rows, rows, half, half)
        for half in _halves(n):
            _exchange(keys, rows, [(r, r + half) for r in range(n) if not r & half])
        block *= 2
    for _ in _halves(n):  # down the rows -> along the lanes
        rows = [_interleave(keys, rows[r // 2], rows[(r + n) // 2], r % 2) for r in range(n)]
    return rows


def _interleave(keys, a, b, upper):
    """Return the lanes of two rows in turn, those of their lower or upper halves."""
    start = upper * keys.lanes // 2
    return keys.permute(
        a, [lane + k for lane in range(start, start + keys.lanes // 2) for k in (0, keys.lanes)], b
    )


def _network_shapes(n_lanes):
    """Return lanes and rows of the networks, for ever more keys."""
    narrow = [(n_lanes // part, 1) for part in (4, 2) if n_lanes // part > 1]
    n_rows = min(MAX_NETWORK_ROWS, MAX_NETWORK_KEYS // n_lanes)
    return narrow + [(n_lanes, 1 << k) for k in range(n_rows.bit_length())]


@compiles(network_size)
def _define_network_size(typing_context, dtype):
    number = network_size(str(dtype.dtype))
    return types.intp(dtype), lambda context, *_: context.get_constant(types.intp, number)


@compiles(sort_few)
def _define_sort_few(typing_context, keys, start, count):
    _check_keys(keys)

    def generate(context, builder, signature, values):
        array, start, count = values
        sorted_block = builder.append_basic_block("sorted")
        for n_lanes, n_rows in _network_shapes(8 * VECTOR_BYTES // keys.dtype.bitwidth):
            vectors = _Keys(context, builder, keys, n_lanes)
            network, more = builder.append_basic_block("network"), builder.append_basic_block("more")
            fits = builder.icmp_signed("<=", count, vectors.number(n_lanes * n_rows))
            builder.cbranch(fits, network, more)
            builder.position_at_end(network)
            offsets = [vectors.number(row * n_lanes) for row in range(n_rows)]
            places = [
                (array, builder.add(start, x), vectors.first_lanes(builder.sub(count, x))) for x in offsets
            ]
            rows = _sort_rows(vectors, [vectors.load_first(*place) for place in places])
            for row, place in zip(rows, places, strict=True):
                vectors.store_first(row, *place)
            builder.branch(sorted_block)
            builder.position_at_end(more)
        builder.branch(sorted_block)
        builder.position_at_end(sorted_block)
        return context.get_dummy_value()

    return types.void(keys, types.intp, types.intp), generate


# --- Splitting ----------------------------------------------------------------------------------------------


@compiles(pick_pivot)
def _define_pick_pivot(typing_context, keys, start, count):
    _check_keys(keys)

    def generate(context, builder, signature, values):
        array, position, count = values
        vectors = _Keys(context, builder, keys)
        distance = builder.udiv(builder.sub(count, vectors.number(vectors.lanes)), vectors.number(8))
        sample = []
        for _ in range(9):
            sample.append(vectors.load(array, position))
            position = builder.add(position, distance)
        median = vectors.median(*[vectors.median(*sample[k : k + 3]) for k in (0, 3, 6)])
        for turn in (1, 3):
            turned = [[(lane + k * turn) % vectors.lanes for lane in range(vectors.lanes)] for k in (1, 2)]
            median = vectors.median(median, *[vectors.permute(median, positions) for positions in turned])
        return builder.extract_element(median, ir.Constant(_INT32, 0))

    return keys.dtype(keys, types.intp, types.intp), generate


def _write_loop(builder, start, stop, step, state, body):
    """Write ``state = body(i, *state)`` for i = start, start + step, ..., while i + step <= stop.

    Returns the first i that was left out, and the state.
    """
    before = builder.block
    head, inside, behind = (builder.append_basic_block(name) for name in ("head", "inside", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(_INT64) for _ in range(1 + len(state))]
    end = builder.add(phis[0], step)
    builder.cbranch(builder.icmp_signed("<=", end, stop), inside, behind)
    builder.position_at_end(inside)
    results = body(*phis)
    for phi, first, following in zip(phis, [start, *state], [end, *results], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(following, builder.block)
    builder.branch(head)
    builder.position_at_end(behind)
    return phis


@compiles(split)
def _define_split(typing_context, keys, buffer, start, stop, pivot):
    _check_keys(keys, buffer)

    def generate(context, builder, signature, values):
        array, other, start, stop, pivot = values
        vectors = _Keys(context, builder, keys)
        width = vectors.number(vectors.lanes)
        pivot = vectors.splat(pivot)

        # The lower side never overtakes the reading: whole vectors can be stored, and what is too much of them is
        # overwritten or has been read.
        def move(i, low, high):
            vector = vectors.load(array, i)
            is_low = builder.icmp_unsigned("<=", vector, pivot)
            vectors.store(vectors.compress(vector, is_low), array, low)
            vectors.store(vectors.compress(vector, builder.not_(is_low)), other, high)
            n_low = vectors.count_lanes(is_low)
            return builder.add(low, n_low), builder.add(high, builder.sub(width, n_low))

        i, low, high = _write_loop(builder, start, stop, width, [start, vectors.number(0)], move)
        is_left = vectors.first_lanes(builder.sub(stop, i))
        vector = vectors.load_first(array, i, is_left)
        is_low = builder.and_(is_left, builder.icmp_unsigned("<=", vector, pivot))
        n_low = vectors.count_lanes(is_low)
        vectors.store_first(vectors.compress(vector, is_low), array, low, vectors.first_lanes(n_low))
        vectors.store(vectors.compress(vector, builder.not_(is_low)), other, high)
        low = builder.add(low, n_low)

        def copy(i, source):
            vectors.store(vectors.load(other, source), array, i)
            return (builder.add(source, width),)

        i, source = _write_loop(builder, low, stop, width, [vectors.number(0)], copy)
        is_left = vectors.first_lanes(builder.sub(stop, i))
        vectors.store_first(vectors.load(other, source), array, i, is_left)
        return low

    return types.intp(keys, buffer, types.intp, types.intp, keys.dtype), generate
