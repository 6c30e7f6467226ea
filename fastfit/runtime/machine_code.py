"""Kernels' machine code from disk: what tells one kernel's code from another's, loading it, and counting.

Numba's own cache does not fit. It ignores the options a function is compiled with and the functions and
constants it refers to, works on the disk while modules are imported, fails on a truncated file, and before
it loads anything it imports all that is needed to compile: 0.2 to 0.3 s where loading a kernel takes 2 ms.
`MachineCode` takes the place of that cache in a dispatcher; the files are those of `fastfit.runtime.cache`.
"""

import functools
import hashlib
import pickle
import time
import types
import warnings
from typing import NamedTuple

import llvmlite.binding as llvm
import numba.core.event
import numpy as np
from numba.core import sigutils
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.serialize import dumps
from numba.extending import _Intrinsic

from fastfit.runtime.cache import code_directory, environment_digest, read_entries, write_entry

__all__ = ["CompileStatistics", "MachineCode", "cache_directory", "compile_statistics"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic, np.dtype)


# ---------------------------------------------------------------- what a kernel is made from


def _names_in(code):
    """Return the global names and attributes that a code object, or one inside it, uses."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names


def _facts_of_code(code):
    """Yield what a code object does; neither its file nor its line."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _facts_of_code(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant)))
        else:
            yield repr(constant)


def _facts_of(value, names, package, seen):
    """Yield texts that tell what a value contributes to the machine code of a kernel that refers to it.

    Plain values count by content, kernels and functions of the same package by what they do and refer to in
    turn. Of a module only the attributes among *names* count. Anything else is taken to be as its source
    says.
    """
    if isinstance(value, Dispatcher):
        for name, option in sorted(value.targetoptions.items()):
            yield f"{name}={sorted(option) if isinstance(option, (set, frozenset)) else option}"
        value = value.py_func
    elif isinstance(value, _Intrinsic):
        value = value._defn
    if isinstance(value, types.FunctionType):
        yield f"{value.__module__}.{value.__qualname__.partition('[')[0]}"
        if str(value.__module__).partition(".")[0] == package and id(value) not in seen:
            seen.add(id(value))
            yield from _facts_of_function(value, package, seen)
    elif isinstance(value, types.ModuleType):
        for name in sorted(names & vars(value).keys()):
            yield name
            yield from _facts_of(getattr(value, name), set(), package, seen)
    elif isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _facts_of(item, names, package, seen)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"


def _facts_of_function(function, package, seen):
    """Yield what a function does, then what it refers to: captured variables, default arguments, globals."""
    yield from _facts_of_code(function.__code__)
    names = _names_in(function.__code__)
    for cell in function.__closure__ or ():
        yield from _facts_of(cell.cell_contents, names, package, seen)
    yield from _facts_of(function.__defaults__ or (), names, package, seen)
    for name in sorted(names & function.__globals__.keys()):
        yield name
        yield from _facts_of(function.__globals__[name], names, package, seen)


def _digest(texts):
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:20]


def fingerprint(kernel):
    """Return the digest of a kernel's options, code, and all that it refers to.

    The digest of all sources in a directory's name catches every edit. This one tells apart what comes from
    one place in the source: a function compiled with two sets of options, the results of a factory,
    constants that depend on the machine or on the environment.
    """
    return _digest(_facts_of(kernel, set(), str(kernel.py_func.__module__).partition(".")[0], set()))


# ------------------------------------------------------------------------ loading and saving


class _Entry(NamedTuple):
    """What is kept of one compiled signature."""

    library_name: str
    object_code: bytes
    bitcode: bytes
    symbols_defined: frozenset
    symbols_needed: frozenset
    rest: tuple  # of what numba's CompileResult is rebuilt from


def _reduce(result):
    """Return the entry of a compiled signature."""
    (name, _, (object_code, bitcode)), *rest = result._reduce()
    module = result.library._get_module_for_linking()
    symbols = [*module.functions, *module.global_variables]
    needed = {s.name for s in symbols if s.is_declaration and not s.name.startswith("llvm.")}
    defined = {s.name for s in symbols if not s.is_declaration}
    return _Entry(name, object_code, bitcode, frozenset(defined), frozenset(needed), tuple(rest))


def _rebuild(entry, target_context):
    """Make an entry's code callable, like numba's own cache, but leave its bitcode alone for now.

    The bitcode serves to inline a kernel into another that is being compiled. Parsing it would be half the
    time of a load.
    """
    # Numba reads these from the bitcode. A name it takes for undefined becomes a function at address zero.
    target_context.codegen()._engine._defined_symbols |= entry.symbols_defined
    stored = (entry.library_name, "object", (entry.object_code, _empty_bitcode()))
    result = CompileResult._rebuild(target_context, stored, *entry.rest)
    parse_bitcode = functools.partial(llvm.parse_bitcode, entry.bitcode)
    result.library._get_module_for_linking = functools.cache(parse_bitcode)
    return result


@functools.cache
def _empty_bitcode():
    return llvm.parse_assembly("").as_bitcode()


def _unknown(symbols):
    return [name for name in symbols if llvm.address_of_symbol(name) is None]


def _provide_symbols(symbols, target_context):
    """Make the C functions known that stored code calls, at the least cost; tell whether all are.

    LLVM ends the process when it links code to a name that it does not know. The names are known to numba's
    context from the start, but for those of its memory manager (microseconds) and, seldom, those that come
    with its library of compilable functions (0.2 s).
    """
    missing = _unknown(symbols)
    if missing:
        _add_memory_manager_symbols()
        missing = _unknown(missing)
    if missing:
        target_context.refresh()
        missing = _unknown(missing)
    return not missing


@functools.cache
def _add_memory_manager_symbols():
    """Do the half of ``rtsys.initialize`` that loaded code needs; the other half compiles, in 20 ms."""
    from numba.core.runtime import _nrt_python

    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class MachineCode(_Cache):
    """What a kernel's dispatcher asks for machine code before it compiles, and hands it to afterwards.

    Numba calls it with its compiler's lock held.

    Parameters
    ----------
    kernel : numba dispatcher
    """

    def __init__(self, kernel):
        self._kernel = kernel
        self._enabled = True
        self._flushed = False

    @property
    def cache_path(self):
        """Where numba's ``stats`` says the code is."""
        return str(cache_directory())

    def enable(self):
        """Use the disk."""
        self._enabled = True

    def disable(self):
        """Do not use the disk."""
        self._enabled = False

    def flush(self):
        """Read nothing from disk any more, only write; numba's ``recompile`` asks for it."""
        self._flushed = True

    def load_overload(self, sig, target_context):
        """Return the compiled result of a signature from disk, or None."""
        start = time.perf_counter()
        place = self._place(sig, target_context)
        for body in read_entries(*place) if place and not self._flushed else ():
            # An entry with the right digest can still fail to load, say when a class in a signature has
            # moved. Whatever the reason, there is a remedy: to compile.
            try:
                entry = pickle.loads(body)
                if not _provide_symbols(entry.symbols_needed, target_context):
                    continue
                result = _rebuild(entry, target_context)
            except Exception:
                continue
            if tuple(result.signature.args) == sigutils.normalize_signature(sig)[0]:
                _counts.n_loaded += 1
                _counts.load_seconds += time.perf_counter() - start
                return result
        return None

    def save_overload(self, sig, data):
        """Keep what has just been compiled on disk, if it will be of use to another process."""
        _counts.n_compiled += 1
        place = self._place(sig, data.target_context)
        if place is None:
            return
        if data.library.has_dynamic_globals:
            name = self._kernel.py_func.__qualname__
            message = f"{name} refers to a ctypes function or a big array: it cannot be kept on disk."
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        else:
            write_entry(*place, dumps(_reduce(data)))

    def _place(self, sig, target_context):
        """Return the environment, name and key of a signature's entry, or None if it is not to be kept."""
        signature = repr(sigutils.normalize_signature(sig))
        if not self._enabled or " at 0x" in signature:  # a function as argument: known to this process alone
            return None
        environment = environment_digest(target_context.codegen().magic_tuple())
        if environment is None:
            return None
        function = self._kernel.py_func
        own = fingerprint(self._kernel)
        label = f"{str(function.__module__).rpartition('.')[2]}.{function.__name__.strip('<>')}"[:60]
        if function.__closure__:
            # LLVM's names are made of this name and a number that is unique in one process only. Where code
            # of several processes meets, two results of a factory could share one, and a call would reach
            # the wrong one.
            function.__qualname__ = f"{function.__qualname__.partition('[')[0]}[{own}]"
        return environment, f"{label}-{own}-{_digest([signature])[:12]}", f"{environment} {own} {signature}"


def cache_directory():
    """Return the directory of the machine code made by this version for this CPU, or None if none is kept.

    Returns
    -------
    directory : pathlib.Path or None
        The one that holds some, or else the first that will be tried.
    """
    environment = environment_digest(cpu_target.target_context.codegen().magic_tuple())
    return None if environment is None else code_directory(environment)


# ---------------------------------------------------------------------------------- counting


class CompileStatistics(NamedTuple):
    """What getting machine code has cost this process."""

    n_compiled: int  # signatures of kernels, those that another kernel called included
    n_loaded: int  # from disk
    compile_seconds: float
    load_seconds: float


class _Counts(numba.core.event.Listener):
    """Sums up; numba tells when each compilation starts and ends, those that happen inside another one too."""

    def __init__(self):
        self.n_compiled = 0
        self.n_loaded = 0
        self.compile_seconds = 0.0
        self.load_seconds = 0.0
        self._depth = 0
        self._start = 0.0

    @staticmethod
    def _is_ours(event):
        return isinstance(getattr(event.data["dispatcher"], "_cache", None), MachineCode)

    def on_start(self, event):
        if self._is_ours(event):
            if self._depth == 0:
                self._start = time.perf_counter()
            self._depth += 1

    def on_end(self, event):
        if self._is_ours(event):
            self._depth -= 1
            if self._depth == 0:
                self.compile_seconds += time.perf_counter() - self._start


_counts = _Counts()
numba.core.event.register("numba:compile", _counts)


def compile_statistics():
    """Return how many signatures of kernels this process has compiled and loaded, and how long that took.

    Returns
    -------
    statistics : CompileStatistics

    Examples
    --------
    Fits that found all their code, compiled earlier in this process or by another, compile nothing:

    >>> from fastfit.runtime.compile import compile_statistics
    >>> before = compile_statistics()
    >>> compile_statistics().n_compiled - before.n_compiled
    0
    """
    return CompileStatistics(
        _counts.n_compiled, _counts.n_loaded, _counts.compile_seconds, _counts.load_seconds
    )
