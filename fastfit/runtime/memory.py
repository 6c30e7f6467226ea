"""Buffers that begin where a cache line begins."""

import math

import numpy as np

CACHE_LINE_BYTES = 64


def aligned_zeros(shape, dtype):
    """Return an array of zeros, C-contiguous, whose first value begins a cache line.

    A vector of 64 bytes that is stored across two lines cannot be handed to a load that follows it closely, and NumPy
    aligns to 16 bytes only. For a 2-D array every row begins a line if a row is a whole number of lines.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.memory import aligned_zeros
    >>> aligned_zeros((2, 8), np.float64).ctypes.data % 64
    0
    """
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else shape
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.zeros(n_bytes + CACHE_LINE_BYTES, np.uint8)
    offset = -memory.ctypes.data % CACHE_LINE_BYTES
    return memory[offset : offset + n_bytes].view(dtype).reshape(shape)


def whole_lines(n_values, dtype):
    """Return the number of values of whole cache lines that hold n_values."""
    per_line = CACHE_LINE_BYTES // np.dtype(dtype).itemsize
    return -(-n_values // per_line) * per_line
