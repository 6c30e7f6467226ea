"""The number of the lowest bit that is set, as one instruction inside kernels and in plain Python."""

from llvmlite import ir
from numba import types

from fastfit.runtime.simd import compiles


def lowest_bit(word):
    """Return the number of the lowest bit that is set in a uint64; of no bit, 64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.lowest_bit import lowest_bit
    >>> lowest_bit(np.uint64(40)), lowest_bit(np.uint64(0))
    (3, 64)
    """
    word = int(word)
    return (word & -word).bit_length() - 1 if word else 64


@compiles(lowest_bit)
def _define_lowest_bit(typing_context, word):
    if word != types.uint64:
        return None

    def generate(context, builder, signature, values):
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate
