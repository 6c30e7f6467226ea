"""Vectors of unsigned 32-bit integers inside kernels: packed fields, running sums, looked-up bits, sorting out lanes.

An addition to :mod:`fastfit.runtime.simd`, with the same rules: vectors of the host's width in the local variables of
a kernel, and small NumPy arrays in plain Python. Lanes become numbers of the vectors there by `lower_float64` and
`upper_float64`, since a vector of float64 has half as many.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import _INDEX, Vector, _check, _check_array, _part, _pointer, _splat, compiles

_LANES = lanes("uint32")
_BITS = ir.IntType(32)
_UINT32 = Vector(types.uint32, _LANES)
_FLOAT64 = Vector(types.float64, _LANES // 2)
_VECTOR = ir.VectorType(_BITS, _LANES)


# --- In plain Python ----------------------------------------------------------------------------------------


def load_uint32(array, index):
    """Return as many values of a 1-D contiguous uint32 array as fill a vector, from ``array[index]`` on.

    The array may be a part of a longer one that ends before the vector does; such lanes have no meaning.
    """
    vector = np.zeros(_LANES, np.uint32)
    values = array[index : index + _LANES]
    vector[: len(values)] = values
    return vector


def store_uint32(array, index, vector):
    """Write a vector to ``array[index], array[index + 1], ...``."""
    array[index : index + _LANES] = vector


def store_first_uint32(array, index, count, vector):
    """Write the first ``count`` lanes of a vector."""
    array[index : index + count] = vector[:count]


def field(vector, shift, mask):
    """Return ``(vector >> shift) & mask``, the field of packed integers."""
    return (vector >> np.uint32(shift)) & np.uint32(mask)


def shift_left(vector, shift):
    """Return the vector with every lane shifted to the left."""
    return vector << np.uint32(shift)


def join_bits(vector, other):
    """Return the bits that are set in either of two vectors."""
    return vector | other


def add_uint32(vector, other):
    """Return the sum of a vector and another, or a number."""
    return vector + np.uint32(other) if np.ndim(other) == 0 else vector + other


def multiply_uint32(vector, other):
    """Return the product of two vectors, lane by lane."""
    return vector * other


def has_bits(vector, bits):
    """Return the mask of the lanes with any of the bits set."""
    return (vector & np.uint32(bits)) != 0


def sums_before(vector):
    """Return for each lane the sum of the lanes before it."""
    sums = np.cumsum(vector, dtype=np.uint32)
    return (sums - vector).astype(np.uint32)


def last_lane(vector):
    """Return the last lane."""
    return vector[-1]


def lane_at(vector, index):
    """Return one lane."""
    return vector[index]


def shift_in(first, vector):
    """Return the vector moved by one lane, with a number in the first."""
    return np.concatenate([[np.uint32(first)], vector[:-1]]).astype(np.uint32)


def differs(vector, other):
    """Return the mask of the lanes in which two vectors differ."""
    return vector != other


def set_bits(vector, mask, bits):
    """Return the vector with bits set in the lanes under a mask, and cleared in the others."""
    return np.where(mask, vector | np.uint32(bits), vector & ~np.uint32(bits))


def lower_float64(vector):
    """Return the first half of the lanes as a vector of float64 (lanes below 2**31)."""
    return vector[: _LANES // 2].astype(np.float64)


def upper_float64(vector):
    """Return the second half of the lanes as a vector of float64 (lanes below 2**31)."""
    return vector[_LANES // 2 :].astype(np.float64)


def lower_mask(mask):
    """Return the first half of a mask's lanes."""
    return mask[: _LANES // 2]


def upper_mask(mask):
    """Return the second half of a mask's lanes."""
    return mask[_LANES // 2 :]


def lane_numbers():
    """Return the vector 0, 1, 2, ... of uint32."""
    return np.arange(_LANES, dtype=np.uint32)


def is_below(vector, limit):
    """Return the mask of the lanes that are less than a number, all taken as signed."""
    return vector.astype(np.int64) < limit


def bits_equal(words, positions, bit):
    """Return the mask of the lanes whose position p has the bit, 0 or 1, at ``p % 32`` of ``words[p // 32]``."""
    return (words[positions >> np.uint32(5)] >> (positions & np.uint32(31))) & np.uint32(1) == bit


def gather_uint32(array, positions):
    """Return ``array[p]`` of a 1-D contiguous uint32 array for each position p."""
    return array[positions]


def keep_lanes(vector, mask):
    """Return the lanes under the mask moved to the front, in order; what follows them has no meaning."""
    kept = np.zeros_like(vector)
    chosen = vector[mask]
    kept[: len(chosen)] = chosen
    return kept


def count_lanes(mask):
    """Return how many lanes of a mask are true."""
    return int(np.count_nonzero(mask))


# --- In compiled code ---------------------------------------------------------------------------------------


def _is_uint32(*operands):
    return all(operand == _UINT32 for operand in operands)


def _scalar(context, builder, value, source):
    return _splat(builder, context.cast(builder, value, source, types.uint32), _LANES)


def _constant(values):
    return ir.Constant(_VECTOR, list(values))


def _call(builder, name, result, operands):
    function_type = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), operands)


@compiles(load_uint32)
def _define_load(typing_context, array, index):
    _check_array(array, of_floats=False)

    def generate(context, builder, signature, values):
        return builder.load(_pointer(context, builder, array, values[0], index, values[1], _VECTOR), align=4)

    return _UINT32(array, index), generate


@compiles(store_uint32)
def _define_store(typing_context, array, index, vector):
    _check_array(array, writes=True, of_floats=False)

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1], _VECTOR)
        builder.store(values[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector), generate


@compiles(store_first_uint32)
def _define_store_first(typing_context, array, index, count, vector):
    _check_array(array, writes=True, of_floats=False)

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1], _VECTOR)
        limit = _scalar(context, builder, values[2], count)
        mask = builder.icmp_signed("<", _constant(range(_LANES)), limit)
        operands = [values[3], pointer, ir.Constant(_INDEX, 4), mask]
        _call(builder, f"llvm.masked.store.v{_LANES}i32.p0", ir.VoidType(), operands)
        return context.get_dummy_value()

    return types.void(array, index, count, vector), generate


@compiles(field)
def _define_field(typing_context, vector, shift, mask):
    if not _is_uint32(vector):
        return None

    def generate(context, builder, signature, values):
        shifted = builder.lshr(values[0], _scalar(context, builder, values[1], shift))
        return builder.and_(shifted, _scalar(context, builder, values[2], mask))

    return _UINT32(vector, shift, mask), generate


def _define_arithmetic(function, method):
    @compiles(function)
    def define(typing_context, vector, other):
        if not _is_uint32(vector):
            return None

        def generate(context, builder, signature, values):
            second = values[1] if _is_uint32(other) else _scalar(context, builder, values[1], other)
            return getattr(builder, method)(values[0], second)

        return _UINT32(vector, other), generate


_define_arithmetic(add_uint32, "add")
_define_arithmetic(shift_left, "shl")
_define_arithmetic(join_bits, "or_")
_define_arithmetic(multiply_uint32, "mul")


@compiles(has_bits)
def _define_has_bits(typing_context, vector, bits):
    def generate(context, builder, signature, values):
        kept = builder.and_(values[0], _scalar(context, builder, values[1], bits))
        return builder.icmp_unsigned("!=", kept, _constant([0] * _LANES))

    return Vector(types.boolean, _LANES)(vector, bits), generate


@compiles(sums_before)
def _define_sums_before(typing_context, vector):
    def generate(context, builder, signature, values):
        # Shift by one lane, then add the vector shifted by 1, 2, 4, ... lanes (Hillis and Steele, 1986).
        zeros = _constant([0] * _LANES)

        def shifted(value, count):
            lanes_taken = [_LANES + i - count if i >= count else 0 for i in range(_LANES)]
            return builder.shuffle_vector(zeros, value, _constant(lanes_taken))

        total = shifted(values[0], 1)
        step = 1
        while step < _LANES:
            total = builder.add(total, shifted(total, step))
            step *= 2
        return total

    return _UINT32(vector), generate


@compiles(last_lane)
def _define_last_lane(typing_context, vector):
    def generate(context, builder, signature, values):
        return builder.extract_element(values[0], ir.Constant(_INDEX, _LANES - 1))

    return types.uint32(vector), generate


@compiles(lane_at)
def _define_lane_at(typing_context, vector, index):
    def generate(context, builder, signature, values):
        return builder.extract_element(values[0], context.cast(builder, values[1], index, types.int32))

    return types.uint32(vector, index), generate


@compiles(shift_in)
def _define_shift_in(typing_context, first, vector):
    def generate(context, builder, signature, values):
        others = _scalar(context, builder, values[0], first)
        return builder.shuffle_vector(others, values[1], _constant([0, *range(_LANES, 2 * _LANES - 1)]))

    return _UINT32(first, vector), generate


@compiles(differs)
def _define_differs(typing_context, vector, other):
    if not _is_uint32(vector, other):
        return None

    def generate(context, builder, signature, values):
        return builder.icmp_unsigned("!=", *values)

    return Vector(types.boolean, _LANES)(vector, other), generate


@compiles(set_bits)
def _define_set_bits(typing_context, vector, mask, bits):
    def generate(context, builder, signature, values):
        wanted = _scalar(context, builder, values[2], bits)
        return builder.select(
            values[1], builder.or_(values[0], wanted), builder.and_(values[0], builder.not_(wanted))
        )

    return _UINT32(vector, mask, bits), generate


def _define_half(function, start):
    @compiles(function)
    def define(typing_context, vector):
        def generate(context, builder, signature, values):
            half = _part(builder, values[0], start, _LANES // 2)
            return builder.sitofp(half, ir.VectorType(ir.DoubleType(), _LANES // 2))

        return _FLOAT64(vector), generate


_define_half(lower_float64, 0)
_define_half(upper_float64, _LANES // 2)


def _define_half_mask(function, start):
    @compiles(function)
    def define(typing_context, mask):
        def generate(context, builder, signature, values):
            return _part(builder, values[0], start, _LANES // 2)

        return Vector(types.boolean, _LANES // 2)(mask), generate


_define_half_mask(lower_mask, 0)
_define_half_mask(upper_mask, _LANES // 2)


@compiles(lane_numbers)
def _define_lane_numbers(typing_context):
    return _UINT32(), lambda context, builder, signature, values: _constant(range(_LANES))


@compiles(is_below)
def _define_is_below(typing_context, vector, limit):
    def generate(context, builder, signature, values):
        return builder.icmp_signed("<", values[0], _scalar(context, builder, values[1], limit))

    return Vector(types.boolean, _LANES)(vector, limit), generate


def _gather(context, builder, array_type, array, positions):
    data = context.make_array(array_type)(context, builder, array).data
    start = _splat(builder, builder.ptrtoint(data, ir.IntType(64)), _LANES)
    offset = builder.shl(builder.zext(positions, start.type), ir.Constant(start.type, [2] * _LANES))
    pointers = builder.inttoptr(builder.add(start, offset), ir.VectorType(_BITS.as_pointer(), _LANES))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(1), _LANES), [1] * _LANES)
    operands = [pointers, ir.Constant(_INDEX, 4), everywhere, _constant([0] * _LANES)]
    return _call(builder, f"llvm.masked.gather.v{_LANES}i32.v{_LANES}p0", _VECTOR, operands)


@compiles(gather_uint32)
def _define_gather(typing_context, array, positions):
    _check_array(array, of_floats=False)
    _check(array.dtype == types.uint32, f"expected an array of uint32, got {array}")

    def generate(context, builder, signature, values):
        return _gather(context, builder, array, *values)

    return _UINT32(array, positions), generate


@compiles(bits_equal)
def _define_bits_equal(typing_context, words, positions, bit):
    _check_array(words, of_floats=False)
    _check(words.dtype == types.uint32, f"expected an array of uint32, got {words}")

    def generate(context, builder, signature, values):
        index = builder.lshr(values[1], _constant([5] * _LANES))
        place = builder.and_(values[1], _constant([31] * _LANES))
        found = _gather(context, builder, words, values[0], index)
        found = builder.and_(builder.lshr(found, place), _constant([1] * _LANES))
        return builder.icmp_unsigned("==", found, _scalar(context, builder, values[2], bit))

    return Vector(types.boolean, _LANES)(words, positions, bit), generate


@compiles(keep_lanes)
def _define_keep_lanes(typing_context, vector, mask):
    def generate(context, builder, signature, values):
        operands = [values[0], values[1], ir.Constant(_VECTOR, ir.Undefined)]
        return _call(builder, f"llvm.experimental.vector.compress.v{_LANES}i32", _VECTOR, operands)

    return _UINT32(vector, mask), generate


@compiles(count_lanes)
def _define_count_lanes(typing_context, mask):
    def generate(context, builder, signature, values):
        bits = builder.zext(builder.bitcast(values[0], ir.IntType(mask.lanes)), _BITS)
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.int64(mask), generate
