"""How the members of a team meet inside a kernel: a barrier, a flag to stop, and counters that hand out work.

A kernel that ``fastfit.runtime.threads.run_team`` runs gets ``control`` as its first argument, an int64 array
made for this one run. Everything here is lock-free and takes that array:

- ``barrier(control, n_threads)``: every member of the team must reach every barrier.
- ``stop_requested(control)``: to be asked now and then in loops that last long between barriers.
- ``take_next(control, slot)``: the next item of a shared list of work, each number handed out once.
- ``reset_counter(control, slot)``: start such a list again.

Once the team is told to stop (an error in a member, Ctrl-C) the flag stays up, all barriers return False, and
each member should return as soon as it sees that; what the kernel has written by then is thrown away.

Without the JIT (``NUMBA_DISABLE_JIT=1``) the same names are plain Python, and members are real threads.
"""

import platform
import sys
import threading
import time

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastfit.runtime.compile import jit
from fastfit.runtime.threads import ARRIVALS, FIRST_COUNTER, LINE, STOP

# About 5 us: members of a balanced team do not wait longer for each other, and those who do give their core
# away, because the member they wait for may have lost its own. Three members on two cores need 7 us for a
# barrier so, and 190 us with 2000 pauses; two members on two cores need 0.07 us with any number.
SPINS_BEFORE_YIELD = 200


def _element_pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _is_control(array_type):
    return isinstance(array_type, types.Array) and array_type.dtype == types.int64 and array_type.ndim == 1


@intrinsic
def _load(typing_context, control, index):
    """Read one element atomically: a plain load may be hoisted out of the loop that waits for a change."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    if _is_control(control):
        return types.int64(control, types.intp), generate


@intrinsic
def _store(typing_context, control, index, value):
    def generate(context, builder, signature, arguments):
        array, index, value = arguments
        pointer = _element_pointer(context, builder, signature.args[0], array, index)
        builder.store_atomic(value, pointer, "release", 8)
        return context.get_dummy_value()

    if _is_control(control):
        return types.void(control, types.intp, types.int64), generate


@intrinsic
def _fetch_add(typing_context, control, index, value):
    """Add to one element and return what it was before; orders the memory accesses around it."""

    def generate(context, builder, signature, arguments):
        array, index, value = arguments
        pointer = _element_pointer(context, builder, signature.args[0], array, index)
        return builder.atomic_rmw("add", pointer, value, "acq_rel")

    if _is_control(control):
        return types.int64(control, types.intp, types.int64), generate


@intrinsic
def _pause(typing_context):
    """Tell the core that it is spinning: it saves power and lets its other hyperthread run."""

    def generate(context, builder, signature, arguments):
        machine = platform.machine()
        if machine in ("x86_64", "AMD64"):
            function_type = ir.FunctionType(ir.VoidType(), [])
            name, hint = "llvm.x86.sse2.pause", []
        elif machine in ("aarch64", "arm64"):
            function_type = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            name, hint = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]
        else:
            return context.get_dummy_value()
        builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), hint)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _yield_core(typing_context):
    """Let another thread have this core; on Windows, which has no ``sched_yield``, go on spinning.

    The symbol is looked up by name when the machine code is loaded, so that kernels stay cacheable.
    """

    def generate(context, builder, signature, arguments):
        if sys.platform != "win32":
            function_type = ir.FunctionType(ir.IntType(32), [])
            function = cgutils.get_or_insert_function(builder.module, function_type, "sched_yield")
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


if config.DISABLE_JIT:
    _counter_lock = threading.Lock()

    def _load(control, index):
        return int(control[index])

    def _store(control, index, value):
        control[index] = value

    def _fetch_add(control, index, value):
        with _counter_lock:
            before = int(control[index])
            control[index] = before + value
        return before

    def _pause():
        pass

    def _yield_core():
        time.sleep(0)


@jit(inline=True, internal=True)
def stop_requested(control):
    """Tell whether this team was told to stop. Costs one load from a cache line that all members share."""
    return _load(control, STOP) != 0


@jit(internal=True)
def barrier(control, n_threads):
    """Wait until all members are here; return False if the team was told to stop, and True otherwise.

    What any member wrote before the barrier, every member can read after it. When it returns False the caller
    should return: from then on no barrier waits for anybody.

    Arrivals are only ever counted up, so that nobody has to reset them: the k-th barrier is passed when
    ``k * n_threads`` members have arrived in all (a generation barrier).
    """
    if n_threads > 1:
        generation = _fetch_add(control, ARRIVALS, 1) // n_threads
        target = (generation + 1) * n_threads
        n_spins = 0
        while _load(control, ARRIVALS) < target:
            if _load(control, STOP) != 0:
                return False
            if n_spins < SPINS_BEFORE_YIELD:
                n_spins += 1
                _pause()
            else:
                _yield_core()
    return _load(control, STOP) == 0


@jit(inline=True, internal=True)
def take_next(control, slot):
    """Return 0, 1, 2, ... : each number to one member only, whoever asks first (``slot`` 0 to 7).

    Which member gets which number differs from run to run, so results must depend on the number alone.
    """
    return _fetch_add(control, FIRST_COUNTER + slot * LINE, 1)


@jit(inline=True, internal=True)
def reset_counter(control, slot):
    """Let ``take_next`` start at 0 again.

    One member calls it while no member can be in ``take_next`` of the same slot: between two barriers. With
    two slots in turn one barrier a round is enough: reset the other slot before the barrier that ends this
    round.
    """
    _store(control, FIRST_COUNTER + slot * LINE, 0)
