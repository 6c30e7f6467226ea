"""The bits of a float32 as an integer, and integers of the same order, inside kernels and in plain Python.

Numba has ``x.view(dtype)`` for bits, which it compiles as a function of its own (0.15 s); here it is one instruction.
"""

import numpy as np
from llvmlite import ir
from numba import types

from fastfit.runtime.simd import compiles

# Greater than the key of any number, infinity too.
NAN_KEY = np.uint32(0xFFFFFFFF)

_SIGN_BIT = 0x80000000
_ALL_BITS = 0xFFFFFFFF
_INFINITY_BITS = 0x7F800000
_INT32 = ir.IntType(32)


def float_bits(value):
    """Return the bits of a float32 as a uint32.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.bits import float_bits
    >>> hex(float_bits(np.float32(1.0)))
    '0x3f800000'
    """
    return np.float32(value).view(np.uint32)


def bits_float(bits):
    """Return the float32 whose bits are a uint32's.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.bits import bits_float
    >>> float(bits_float(np.uint32(0x3F800000)))
    1.0
    """
    return np.uint32(bits).view(np.float32)


def float_to_key(value):
    """Return a uint32 for a float32, such that keys are in the order of the values.

    There is one key for both zeros, and one, the last, for NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.bits import float_to_key
    >>> values = np.array([-np.inf, -2.0, -0.0, 0.0, 1e-45, np.inf, np.nan], dtype=np.float32)
    >>> keys = [int(float_to_key(value)) for value in values]
    >>> keys == sorted(keys), keys[2] == keys[3], hex(keys[-1])
    (True, True, '0xffffffff')
    """
    bits = int(float_bits(value))
    magnitude = bits & ~_SIGN_BIT
    if magnitude > _INFINITY_BITS:
        return NAN_KEY
    if magnitude == 0:
        return np.uint32(_SIGN_BIT)
    return np.uint32(_ALL_BITS ^ bits if bits & _SIGN_BIT else bits | _SIGN_BIT)


def key_to_float(key):
    """Return the float32 of a key that `float_to_key` returned; 0.0 for zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.bits import float_to_key, key_to_float
    >>> float(key_to_float(float_to_key(np.float32(-2.5))))
    -2.5
    """
    key = int(key)
    return bits_float(np.uint32(key & ~_SIGN_BIT if key & _SIGN_BIT else _ALL_BITS ^ key))


def _number(value):
    return ir.Constant(_INT32, value)


def _build_key(builder, value):
    bits = builder.bitcast(value, _INT32)
    magnitude = builder.and_(bits, _number(_ALL_BITS ^ _SIGN_BIT))
    is_negative = builder.icmp_signed("<", bits, _number(0))
    key = builder.select(is_negative, builder.not_(bits), builder.or_(bits, _number(_SIGN_BIT)))
    key = builder.select(builder.icmp_unsigned("==", magnitude, _number(0)), _number(_SIGN_BIT), key)
    is_nan = builder.icmp_unsigned(">", magnitude, _number(_INFINITY_BITS))
    return builder.select(is_nan, _number(_ALL_BITS), key)


def _build_float(builder, key):
    is_positive = builder.icmp_signed("<", key, _number(0))
    bits = builder.select(is_positive, builder.and_(key, _number(_ALL_BITS ^ _SIGN_BIT)), builder.not_(key))
    return builder.bitcast(bits, ir.FloatType())


def _define(function, source, target, build):
    @compiles(function)
    def define(typing_context, value):
        if value != source:
            return None
        return target(source), lambda context, builder, signature, values: build(builder, values[0])


_define(float_bits, types.float32, types.uint32, lambda builder, value: builder.bitcast(value, _INT32))
_define(bits_float, types.uint32, types.float32, lambda builder, bits: builder.bitcast(bits, ir.FloatType()))
_define(float_to_key, types.float32, types.uint32, _build_key)
_define(key_to_float, types.uint32, types.float32, _build_float)
