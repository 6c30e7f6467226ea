"""Pairs of 64-bit integers, added to a histogram in one instruction, and what feeds them: packed bins, early loads.

A slot of a histogram is two neighbouring int64 of 16 bytes together, and adding a pair to it is one load, one add and
one store of 128 bits: measured 0.34 ns where the histogram is in the first-level cache (0.47 ns in the second), the
price of adding a single integer. An addition to :mod:`fastfit.runtime.simd`, with the same rules; in plain Python a
pair is a small NumPy array.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from fastfit.runtime.simd import Vector, _check, _check_array, _pointer, call_llvm, compiles

_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_PAIR = Vector(types.int64, 2)
_PAIR_OF_INT64 = ir.VectorType(_INT64, 2)
_PAIR_OF_INT32 = ir.VectorType(_INT32, 2)


# --- In plain Python ----------------------------------------------------------------------------------------


def load_pair(array, index, unit):
    """Return the low half of ``array[index]``, a 1-D contiguous int64 array, and its high half plus `unit`, as a pair.

    Both halves are signed.
    """
    word = int(array[index])
    low = (word & 0xFFFFFFFF) - ((word & 0x80000000) << 1)
    return np.array([low, (word >> 32) + unit], np.int64)


def load_two(array, index):
    """Return ``array[index]`` of a 1-D contiguous int64 array and its neighbour as a pair; `index` is even.

    The array begins where a cache line begins (:mod:`fastfit.runtime.memory`).
    """
    return array[index : index + 2].copy()


def add_to_slots(bins, place, count, address, width, added):
    """Add an int64, or a pair, to a slot in each of `count` neighbouring parts of a histogram.

    Part k begins at the byte `address` + k * `width`, and its slot is ``bins[place + k]``; `bins` is a 1-D array of
    uint8, and `count`, known at compile time, is 1, 2, 4 or 8. The bins are read at once, and take two instructions
    each instead of a load and two more.
    """
    words = 1 if np.ndim(added) == 0 else 2
    for k in range(count):
        slot = int(address) + k * int(width) + 8 * words * int(bins[place + k])
        np.frombuffer((ctypes.c_int64 * words).from_address(slot), np.int64)[:] += added


def ask_for_line(array, index):
    """Ask for the cache line of ``array[index]`` ahead of its use; an index out of range does no harm.

    Unlike `fastfit.runtime.simd.prefetch` it can be used with arrays of several dtypes in one kernel, and brings the
    line into the first level.
    """


def nearest_int32(value):
    """Return the integer nearest to a float32, the even one of two; it must be an int32."""
    return np.int32(np.rint(value))


# --- In compiled code ---------------------------------------------------------------------------------------


@compiles(load_pair)
def _define_load_pair(typing_context, array, index, unit):
    _check_array(array, of_floats=False)
    _check(array.dtype == types.int64, f"expected an array of int64, got {array}")

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1], _PAIR_OF_INT32)
        pair = builder.sext(builder.load(pointer, align=8), _PAIR_OF_INT64)
        second = context.cast(builder, values[2], unit, types.int64)
        units = builder.insert_element(ir.Constant(_PAIR_OF_INT64, [0, 0]), second, ir.Constant(_INT32, 1))
        return builder.add(pair, units)

    return _PAIR(array, index, unit), generate


@compiles(load_two)
def _define_load_two(typing_context, array, index):
    _check_array(array, of_floats=False)
    _check(array.dtype == types.int64, f"expected an array of int64, got {array}")

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1], _PAIR_OF_INT64)
        return builder.load(pointer, align=16)

    return _PAIR(array, index), generate


@compiles(add_to_slots)
def _define_add_to_slots(typing_context, bins, place, count, address, width, added):
    _check_array(bins, of_floats=False)
    _check(isinstance(count, types.IntegerLiteral), f"expected a number known at compile time, got {count}")
    n_words = 2 if isinstance(added, Vector) else 1
    n_parts = count.literal_value
    shift = 3 if n_words == 1 else 4  # log2 of the bytes of a slot

    def generate(context, builder, signature, values):
        slot_type = _PAIR_OF_INT64 if n_words == 2 else _INT64
        first = context.cast(builder, values[3], address, types.int64)
        step = context.cast(builder, values[4], width, types.int64)
        pointer = _pointer(context, builder, bins, values[0], place, values[1])
        packed_type = ir.IntType(8 * n_parts)
        packed = builder.load(builder.bitcast(pointer, packed_type.as_pointer()), align=1)
        packed = packed if n_parts == 8 else builder.zext(packed, _INT64)
        for k in range(n_parts):
            distance = 8 * k - shift
            move = builder.shl if distance < 0 else builder.lshr
            offset = builder.and_(move(packed, _INT64(abs(distance))), _INT64(0xFF << shift))
            place_k = builder.add(first, builder.add(offset, builder.mul(step, _INT64(k))))
            slot = builder.inttoptr(place_k, slot_type.as_pointer())
            total = builder.add(builder.load(slot, align=8 * n_words), values[5])
            builder.store(total, slot, align=8 * n_words)
        return context.get_dummy_value()

    return types.void(bins, place, count, address, width, added), generate


@compiles(ask_for_line)
def _define_ask_for_line(typing_context, array, index):
    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1])
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        hints = [ir.Constant(_INT32, hint) for hint in (0, 3, 1)]  # for reading, into the first level, data
        operands = [pointer, *hints]
        function_type = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        builder.call(function, operands)
        return context.get_dummy_value()

    return types.void(array, index), generate


@compiles(nearest_int32)
def _define_nearest_int32(typing_context, value):
    if value != types.float32:
        return None

    def generate(context, builder, signature, values):
        rounded = call_llvm(builder, "llvm.rint.{}", ir.FloatType(), values)
        return builder.fptosi(rounded, _INT32)

    return types.int32(value), generate
