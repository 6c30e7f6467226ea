"""Orders of up to 16 things in one 64-bit word: nibble p is the number of the thing at position p.

A vector holds the words of several orders, as many as float64 fill a vector. Another addition to
:mod:`fastfit.runtime.simd`, with the same rules; compiled code needs AVX-512 (`HAS_NIBBLES`), plain Python nothing.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from fastfit.runtime.cpu import VECTOR_BYTES, lanes
from fastfit.runtime.simd import _INDEX, Vector, _check, _check_array, _pointer, compiles

HAS_NIBBLES = VECTOR_BYTES == 64

_LANES = lanes("float64")
_BITS = ir.IntType(64)
_WORDS = Vector(types.uint64, _LANES)
_NUMBERS = Vector(types.float64, _LANES)
_VECTOR = ir.VectorType(_BITS, _LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), _LANES)
_BYTES = ir.VectorType(ir.IntType(8), 8 * _LANES)
# 0x0F in every byte.
_LOW_NIBBLES = 0x0F0F0F0F0F0F0F0F


# --- In plain Python ----------------------------------------------------------------------------------------


def load_words(array, index):
    """Return as many words of a 1-D contiguous uint64 array as fill a vector, from ``array[index]`` on."""
    return array[index : index + _LANES].copy()


def store_words(array, index, words):
    """Write a vector of words to ``array[index], array[index + 1], ...``."""
    array[index : index + _LANES] = words


def look_up(table, words):
    """Return the vector of ``table[first nibble of the word]``, of a float64 array of 16."""
    return table[(words & np.uint64(15)).astype(np.int64)]


def without_first(words):
    """Return the words without their first nibbles: all others move up by one position."""
    return words >> np.uint64(4)


def nibbles_of(words, members):
    """Return words with 15 at each position whose thing is a member, and 0 elsewhere.

    ``members`` is an integer, with bit i set if thing i is a member.
    """
    result = np.zeros_like(words)
    for lane in range(len(words)):
        for position in range(16):
            thing = (int(words[lane]) >> 4 * position) & 15
            if int(members) >> thing & 1:
                result[lane] |= np.uint64(15 << 4 * position)
    return result


def take_bits(word, mask):
    """Return the bits of a uint64 under a mask, moved together to the low end."""
    result = 0
    n_taken = 0
    for i in range(64):
        if int(mask) >> i & 1:
            result |= (int(word) >> i & 1) << n_taken
            n_taken += 1
    return np.uint64(result)


# --- In compiled code ---------------------------------------------------------------------------------------


def _call(builder, name, result, operands):
    function_type = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), operands)


def _splat(builder, value, count):
    """Return a vector with the bits of a scalar of any type in every lane."""
    vector = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INDEX, count), [0] * count))


def _check_words(array, writes=False):
    _check_array(array, writes=writes, of_floats=False)
    _check(array.dtype == types.uint64, f"expected an array of uint64, got {array}")


@compiles(load_words)
def _define_load(typing_context, array, index):
    _check_words(array)

    def generate(context, builder, signature, values):
        return builder.load(_pointer(context, builder, array, values[0], index, values[1], _VECTOR), align=8)

    return _WORDS(array, index), generate


@compiles(store_words)
def _define_store(typing_context, array, index, words):
    _check_words(array, writes=True)

    def generate(context, builder, signature, values):
        builder.store(
            values[2], _pointer(context, builder, array, values[0], index, values[1], _VECTOR), align=8
        )
        return context.get_dummy_value()

    return types.void(array, index, words), generate


@compiles(look_up)
def _define_look_up(typing_context, table, words):
    _check_array(table)
    _check(table.dtype == types.float64, f"expected an array of float64, got {table}")

    def generate(context, builder, signature, values):
        data = context.make_array(table)(context, builder, values[0]).data
        halves = [builder.gep(data, [ir.Constant(_BITS, start)]) for start in (0, _LANES)]
        low, high = (builder.load(builder.bitcast(half, _DOUBLES.as_pointer()), align=8) for half in halves)
        # Of an index the instruction reads the low four bits: which of the two halves, and which lane.
        return _call(builder, "llvm.x86.avx512.vpermi2var.pd.512", _DOUBLES, [low, values[1], high])

    return _NUMBERS(table, words), generate


@compiles(without_first)
def _define_without_first(typing_context, words):
    def generate(context, builder, signature, values):
        return builder.lshr(values[0], ir.Constant(_VECTOR, [4] * _LANES))

    return _WORDS(words), generate


@compiles(nibbles_of)
def _define_nibbles_of(typing_context, words, members):
    def generate(context, builder, signature, values):
        bits = builder.trunc(context.cast(builder, values[1], members, types.int64), ir.IntType(16))
        is_member = builder.bitcast(bits, ir.VectorType(ir.IntType(1), 16))
        table = builder.sext(is_member, ir.VectorType(ir.IntType(8), 16))
        table = builder.shuffle_vector(
            table, table, ir.Constant(ir.VectorType(_INDEX, 64), [*range(16)] * (8 * _LANES // 16))
        )
        low_nibbles = ir.Constant(_VECTOR, [_LOW_NIBBLES] * _LANES)

        def looked_up(nibbles):
            operands = [table, builder.bitcast(nibbles, _BYTES)]
            return builder.bitcast(_call(builder, "llvm.x86.avx512.pshuf.b.512", _BYTES, operands), _VECTOR)

        first = builder.and_(looked_up(builder.and_(values[0], low_nibbles)), low_nibbles)
        moved = builder.lshr(values[0], ir.Constant(_VECTOR, [4] * _LANES))
        second = looked_up(builder.and_(moved, low_nibbles))
        return builder.or_(first, builder.and_(second, builder.not_(low_nibbles)))

    return _WORDS(words, members), generate


@compiles(take_bits)
def _define_take_bits(typing_context, word, mask):
    def generate(context, builder, signature, values):
        operands = [
            context.cast(builder, value, source, types.uint64)
            for value, source in zip(values, (word, mask), strict=True)
        ]
        return _call(builder, "llvm.x86.bmi.pext.64", _BITS, operands)

    return types.uint64(word, mask), generate
