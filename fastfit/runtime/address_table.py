"""Arrays handed to kernels by their addresses, in a table of integers.

An array is seven words of arguments to a kernel, and as many instructions to check for each that a caller in Python
passes. A kernel of a dozen arrays that calls another for some hundred nanoseconds of work spends more on the arguments
than on the work, and so do the compiler's passes. A table of (address, length) pairs is one array.

`table_of` writes it in Python, and `array_at` makes an array of a pair in a kernel, at the cost of two loads. Whoever
makes a table must keep its arrays alive while it is used.
"""

import ctypes

import numpy as np
from numba.core import types

from fastfit.runtime.simd import compiles


def table_of(arrays):
    """Return the (address, length) pairs of 1-D contiguous arrays, as a flat int64 array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.address_table import array_at, table_of
    >>> table = table_of([np.zeros(2), np.arange(3.0)])
    >>> table[1::2]
    array([2, 3])
    """
    pairs = [(array.__array_interface__["data"][0], array.size) for array in arrays]
    return np.array(pairs, dtype=np.int64).reshape(-1)


def array_at(table, number, like):
    """Return the array of a table's pair `number`; its dtype is that of the scalar, or the dtype, `like`."""
    address, length = int(table[2 * number]), int(table[2 * number + 1])
    dtype = np.dtype(like if isinstance(like, type) else type(like))
    if length == 0:
        return np.zeros(0, dtype)
    return np.frombuffer((ctypes.c_char * (length * dtype.itemsize)).from_address(address), dtype)


@compiles(array_at)
def _define_array_at(typing_context, table, number, like):
    dtype = getattr(like, "dtype", like)
    result = types.Array(dtype, 1, "C")

    def generate(context, builder, signature, values):
        pairs = context.make_array(table)(context, builder, values[0]).data
        index = builder.shl(
            context.cast(builder, values[1], number, types.intp), context.get_constant(types.intp, 1)
        )
        address = builder.load(builder.gep(pairs, [index]))
        length = builder.load(builder.gep(pairs, [builder.add(index, context.get_constant(types.intp, 1))]))
        array = context.make_array(result)(context, builder)
        itemsize = context.get_constant(types.intp, dtype.bitwidth // 8)
        context.populate_array(
            array,
            data=builder.inttoptr(address, context.get_value_type(dtype).as_pointer()),
            shape=[length],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return array._getvalue()

    return result(table, number, like), generate
