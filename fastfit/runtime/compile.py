"""The one place that compiles: the decorator of all kernels, which owns every flag of Numba.

Kernels are compiled when they are first called, run without the GIL, divide like NumPy, do not check bounds,
and keep their machine code on disk (`fastfit.runtime.cache`).
"""

import functools

import numba
import numpy as np

from fastfit.runtime.cache import cache_size, clear_cache
from fastfit.runtime.collector import collector_paused
from fastfit.runtime.libraries import PartCompiler, WholeCompiler
from fastfit.runtime.machine_code import CompileStatistics, MachineCode, cache_directory, compile_statistics

__all__ = [
    "REASSOCIATE",
    "CompileStatistics",
    "as_readonly",
    "cache_directory",
    "cache_size",
    "clear_cache",
    "compile_statistics",
    "jit",
    "standing_alone",
]

# Sums in any order, a * b + c rounded once, x / y as x * (1 / y), zeros without sign: lets LLVM vectorise a sum.
REASSOCIATE = frozenset({"reassoc", "contract", "arcp", "nsz"})
# LLVM's flags but for nnan and ninf, and fast, which implies them: they turn tests for NaN and infinity into
# constants.
_FASTMATH_FLAGS = REASSOCIATE | {"afn"}


def jit(function=None, *, fastmath=frozenset(), inline=False, internal=False):
    """Compile a function when it is called, for the types it is called with.

    Parameters
    ----------
    function : function
        Usually defined at the top of a module. What it refers to must be there before its first call.
    fastmath : set of str, default=frozenset()
        Liberties LLVM may take with floating-point operations, of "reassoc", "contract", "arcp", "nsz" and
        "afn"; see `REASSOCIATE`.
    inline : bool, default=False
        Always have LLVM put the code of this function in place of calls; for small helpers of other kernels.
    internal : bool, default=False
        Only kernels call it: it is not optimised, turned into machine code or kept on disk by itself, but as a part of
        each kernel that calls it. A call from Python is a TypeError.

    Returns
    -------
    kernel : numba dispatcher, or the function itself under ``NUMBA_DISABLE_JIT=1``

    Raises
    ------
    ValueError
        If `fastmath` allows anything else, as True and "fast", "nnan" and "ninf" do: with those a test
        for NaN or infinity is no test any more.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.compile import REASSOCIATE, jit
    >>> @jit(fastmath=REASSOCIATE)
    ... def sum_squares(x):
    ...     total = 0.0
    ...     for i in range(x.shape[0]):
    ...         total += x[i] * x[i]
    ...     return total
    >>> sum_squares(np.array([1.0, 2.0, 3.0]))
    14.0
    """
    if isinstance(fastmath, (bool, str)) or not set(fastmath) <= _FASTMATH_FLAGS:
        raise ValueError(f"fastmath must be a set of {sorted(_FASTMATH_FLAGS)}, got {fastmath!r}.")
    if function is None:
        return functools.partial(jit, fastmath=fastmath, inline=inline, internal=internal)
    kernel = _dispatcher(function, PartCompiler if internal else WholeCompiler, internal, fastmath, inline)
    if kernel is function:
        return kernel
    if internal:
        _close_to_python(kernel)
        kernel._compile_standing_alone = functools.partial(
            _dispatcher, function, WholeCompiler, internal, fastmath, inline
        )
    else:
        _keep_on_disk(kernel)
    return kernel


def standing_alone(kernel):
    """Return a kernel that has machine code of its own: the same, or of an internal one another with the same source.

    For calls through an address (:mod:`fastfit.runtime.far_call`).

    Parameters
    ----------
    kernel : numba dispatcher

    Returns
    -------
    kernel : numba dispatcher
    """
    compile_standing_alone = vars(kernel).get("_compile_standing_alone")
    if compile_standing_alone is None:
        return kernel
    if "_standing_alone" not in vars(kernel):
        kernel._standing_alone = compile_standing_alone()
        _close_to_python(kernel._standing_alone)
        _keep_on_disk(kernel._standing_alone)
    return kernel._standing_alone


def _dispatcher(function, compiler, internal, fastmath, inline):
    """Return Numba's dispatcher of a function, with every flag that kernels have."""
    return numba.njit(
        nogil=True,
        error_model="numpy",
        boundscheck=False,
        no_cfunc_wrapper=True,
        no_cpython_wrapper=internal,
        # Arrays belong to the caller: no reference is counted in a kernel (an atomic add for every view of an
        # array in a hot loop, where Numba cannot prove it needless), and a kernel that allocates does not
        # compile.
        _nrt=False,
        fastmath=set(fastmath),
        forceinline=inline,
        pipeline_class=compiler,
    )(function)


def _keep_on_disk(kernel):
    kernel._cache = MachineCode(kernel)
    _compile_without_collector(kernel)


def _compile_without_collector(kernel):
    """Pause the garbage collector while the kernel, and what it calls, is compiled: that saves a tenth of the time."""
    compile_signature = kernel.compile

    def compile_paused(signature):
        with collector_paused():
            return compile_signature(signature)

    kernel.compile = compile_paused


def _close_to_python(kernel):
    """Make a call from Python an error: there is no code for it, and Numba would jump to address zero."""

    def refuse(*args, **kwargs):
        raise TypeError(f"{kernel.py_func.__qualname__} is internal: only other kernels can call it.")

    def add_overload(result):
        kernel.overloads[tuple(result.signature.args)] = result

    kernel._compile_for_args = refuse
    kernel.add_overload = add_overload  # without Numba's table of what Python may call


def as_readonly(array):
    """Return a read-only view of an array, the type in which kernels take what they only read.

    Numba compiles anew for read-only arrays, so one type for all serves memory maps and writable arrays
    alike.

    Parameters
    ----------
    array : array-like

    Returns
    -------
    view : ndarray
        Of NumPy's own class, not of a subclass.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.compile import as_readonly
    >>> as_readonly(np.zeros(3)).flags.writeable
    False
    """
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
