"""Elements of arrays written without a test of the index: the counterpart of :func:`fastfit.runtime.simd.element`.

Numba lets any index count from the end. Where it cannot see the sign, a store in a loop becomes a scatter if the loop
is vectorised at all: clearing a histogram took 16 times as long so. An addition to :mod:`fastfit.runtime.simd`, with
the same rules.
"""

from numba.core import types

from fastfit.runtime.simd import _align, _check_array, _pointer, compiles


def set_element(array, index, value):
    """Set ``array[index]`` of a 1-D contiguous array, for an index that is not negative."""
    array[index] = value


@compiles(set_element)
def _define_set_element(typing_context, array, index, value):
    _check_array(array, writes=True, of_floats=False)

    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1])
        builder.store(
            context.cast(builder, values[2], value, array.dtype), pointer, align=_align(array.dtype)
        )
        return context.get_dummy_value()

    return types.void(array, index, value), generate
