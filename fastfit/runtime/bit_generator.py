"""Draws from a NumPy bit generator inside kernels: the very stream that Python code would have drawn next.

NumPy gives out the address of a generator's state and of the C function that advances it
(``bit_generator.ctypes``). A kernel that calls it leaves the generator where the same draws in Python would have left
it, buffered half of a 64-bit draw included.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba.core import types

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import compiles

NO_GENERATOR = (0, 0)


def generator_addresses(generator):
    """Return the addresses of the function that draws a uint32 and of the state of a ``numpy.random.Generator``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.bit_generator import draw_uint32, generator_addresses
    >>> generator, same = np.random.default_rng(0), np.random.default_rng(0)
    >>> int(draw_uint32(*generator_addresses(generator))) == same.bit_generator.random_raw() & 0xFFFFFFFF
    True
    """
    interface = generator.bit_generator.ctypes
    return ctypes.cast(interface.next_uint32, ctypes.c_void_p).value, interface.state_address


def draw_uint32(function, state):
    """Return the next 32 bits, given the addresses of the function that draws and of its state."""
    return ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)(function)(state)


@compiles(draw_uint32)
def _define_draw_uint32(typing_context, function, state):
    def generate(context, builder, signature, values):
        address = ir.IntType(64)
        pointer = ir.FunctionType(ir.IntType(32), [address]).as_pointer()
        return builder.call(builder.inttoptr(values[0], pointer), [values[1]])

    if (function, state) == (types.int64, types.int64):
        return types.uint32(types.int64, types.int64), generate
    return None


@jit(internal=True)
def draw_below_or_at(function, state, highest):
    """Return an integer of [0, highest], as NumPy's shuffles draw one (highest below 2**32).

    As many bits as `highest` has are drawn until they are no greater.
    """
    mask = highest
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    value = np.int64(draw_uint32(function, state)) & mask
    while value > highest:
        value = np.int64(draw_uint32(function, state)) & mask
    return value


@jit(internal=True)
def shuffle_bytes(
    function,
    state,
    values,  # (n_values,) uint8, permuted in place
):
    """Permute like ``Generator.shuffle`` does an array of one dimension."""
    for last in range(len(values) - 1, 0, -1):
        position = draw_below_or_at(function, state, last)
        kept = values[last]
        values[last] = values[position]
        values[position] = kept
