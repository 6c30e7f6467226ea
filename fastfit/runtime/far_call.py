"""Calls of one kernel by another through an address, so that each is compiled and optimised once, apart.

What a kernel calls directly, LLVM optimises again with every kernel around it: a large part of a large kernel costs
its time to compile at every level, and again in each variant of what calls it. A far call costs some nanoseconds
instead, as nothing is inlined, and lets variants of a part (activations, losses) be chosen at run time while only those
in use are compiled.

    call_part = make_far_call(part)

    @jit
    def whole(part_address, x, y):
        call_part(part_address, (x, y))

    whole(address_of_kernel(part, x, y), x, y)

`address_of_kernel` takes arguments like those that the call will pass. That their types agree cannot be seen at run
time, so it must be evident where the two stand.
"""

from numba import config, types
from numba.extending import intrinsic

from fastfit.runtime.compile import standing_alone

_plain_kernels = []  # what an address stands for under NUMBA_DISABLE_JIT=1: a position in this list


def make_far_call(kernel=None):
    """Return ``far_call(address, args)``, for use in kernels: call what is at the address with a tuple of arguments.

    Parameters
    ----------
    kernel : numba dispatcher or None, default=None
        It, or another of the same signature, is at the address: it tells what the call returns. None where that is
        nothing, so that no kernel is compiled but those whose address is asked for.

    Returns
    -------
    far_call : numba intrinsic
    """
    if config.DISABLE_JIT:
        return lambda address, args: _plain_kernels[address](*args)

    @intrinsic
    def far_call(typing_context, address, args):
        argument_types = tuple(map(types.unliteral, args.types))
        result_type = (
            types.none if kernel is None else _compiled(kernel, argument_types).signature.return_type
        )
        passed = types.Tuple(argument_types)

        def generate(context, builder, signature, values):
            convention = context.call_conv
            function_type = convention.get_function_type(result_type, argument_types)
            function = builder.inttoptr(values[0], function_type.as_pointer())
            parts = [builder.extract_value(values[1], i) for i in range(len(argument_types))]
            return convention.call_function(builder, function, result_type, argument_types, parts)[1]

        return result_type(types.intp, passed), generate

    return far_call


def address_of_kernel(kernel, *args):
    """Return the address of a kernel compiled for arguments of these types, for `make_far_call`.

    Parameters
    ----------
    kernel : numba dispatcher
    *args
        Examples of the arguments.

    Returns
    -------
    address : int
        Valid as long as the process lives.

    Examples
    --------
    >>> from fastfit.runtime.compile import jit
    >>> from fastfit.runtime.far_call import address_of_kernel, make_far_call
    >>> @jit(internal=True)
    ... def double(x):
    ...     return 2.0 * x
    >>> call_double = make_far_call(double)
    >>> @jit
    ... def double_twice(address, x):
    ...     return call_double(address, (call_double(address, (x,)),))
    >>> double_twice(address_of_kernel(double, 1.0), 3.0)
    12.0
    """
    if config.DISABLE_JIT:
        if kernel not in _plain_kernels:
            _plain_kernels.append(kernel)
        return _plain_kernels.index(kernel)
    result = _compiled(kernel, tuple(map(kernel.typeof_pyval, args)))
    return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


def _compiled(kernel, argument_types):
    """Return what the compiler made of a kernel for these types, now or earlier."""
    kernel = standing_alone(kernel)
    kernel.compile(argument_types)
    return kernel.overloads[argument_types]
