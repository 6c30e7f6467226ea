"""Vectors of the host's width inside kernels.

Where the compiler does not vectorise by itself, or not well (a tile kept in registers, rows in random order,
a sum in a fixed order), a kernel says what it wants: ``load`` a vector from an array, ``fma``, ``store``. In
compiled code a vector is one LLVM vector of ``lanes(dtype)`` values (Numba type `Vector`), and each function
here becomes the few instructions it names, in the kernel itself: nothing is called or compiled apart. In
plain Python (``NUMBA_DISABLE_JIT=1``) the same names work on small NumPy arrays.

Vectors support ``+ - * /``, unary minus, ``abs``, the six comparisons, which give masks, and masks ``& | ~``.
A scalar operand is converted to the vector's dtype. There is no ``+=``: in plain Python it would change every
name of the vector. Most functions also take scalars, so that mathematics can be written once for both. A
vector lives in the local variables of kernels and of their ``jit(inline=True, internal=True)`` helpers; it
cannot be passed from or to Python.

The instructions take the fast-math flags of the kernel they stand in.
"""

import ctypes
import operator

import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template
from numba.extending import models, register_model

from fastfit.runtime import cpu
from fastfit.runtime.cpu import lanes

_INDEX = ir.IntType(32)


class Vector(types.Type):
    """Numba type of a vector: `lanes` values of the Numba type `dtype` (a boolean dtype makes it a mask)."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        is_mask = vector.dtype == types.boolean
        element = ir.IntType(1) if is_mask else manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


# --- How the functions get their compiled form --------------------------------------------------------------


def compiles(function):
    """Return a decorator that gives `function`, plain Python elsewhere, a form for compiled code.

    The decorated definition takes the typing context and the Numba types of the arguments, and returns a
    signature and a code generator, as for `numba.extending.intrinsic`; but the name stays callable in plain
    Python. No compilation of its own is added, as `numba.extending.overload` would.
    """

    def register(define):
        template = make_intrinsic_template(function, define, function.__name__)
        infer(template)
        infer_global(function, types.Function(template))
        return define

    return register


def host_vector(dtype):
    """Return the `Vector` type of the host's width for a Numba float32 or float64 type."""
    return Vector(dtype, lanes(str(dtype)))


def _is_float(numba_type):
    return numba_type in (types.float32, types.float64)


def _check(condition, message):
    if not condition:
        raise errors.TypingError(message)


def _common_type(typing_context, operands):
    """Return the type that the operands of one operation meet in: their vector type if there is one."""
    vectors = {operand for operand in operands if isinstance(operand, Vector)}
    _check(len(vectors) < 2, f"vectors of different types do not mix: {', '.join(map(str, vectors))}")
    if vectors:
        return vectors.pop()
    unified = typing_context.unify_types(*operands)
    _check(_is_float(unified), f"expected float32, float64 or vectors, got {', '.join(map(str, operands))}")
    return unified


def convert(context, builder, value, source, target):
    """Convert a scalar to a scalar or vector type; leave what has the type already."""
    if not isinstance(target, Vector):
        return context.cast(builder, value, source, target)
    if isinstance(source, Vector):
        return _convert_lanes(builder, value, source.dtype, target.dtype)
    return _splat(builder, context.cast(builder, value, source, target.dtype), target.lanes)


def _convert_lanes(builder, value, source, target):
    """Round a float64 vector to float32, or widen a float32 vector."""
    if source == target:
        return value
    element = ir.FloatType() if target == types.float32 else ir.DoubleType()
    change = builder.fptrunc if target == types.float32 else builder.fpext
    return change(value, ir.VectorType(element, value.type.count))


def _splat(builder, scalar, count):
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INDEX, count), [0] * count))


def constant_like(llvm_type, value):
    """Return the LLVM constant `value`, in every lane if `llvm_type` is a vector."""
    is_vector = isinstance(llvm_type, ir.VectorType)
    return ir.Constant(llvm_type, [value] * llvm_type.count if is_vector else value)


def call_llvm(builder, name, result, operands):
    """Call the LLVM intrinsic `name`, overloaded on the LLVM type of its result or first operand."""
    overloaded = operands[0].type if isinstance(result, ir.VoidType) else result
    element = overloaded.element if isinstance(overloaded, ir.VectorType) else overloaded
    suffix = "f32" if isinstance(element, ir.FloatType) else "f64"
    if isinstance(overloaded, ir.VectorType):
        suffix = f"v{overloaded.count}{suffix}"
    signature = ir.FunctionType(result, [operand.type for operand in operands])
    function = cgutils.get_or_insert_function(builder.module, signature, name.format(suffix))
    return builder.call(function, operands)


def define_elementwise(function, arity, build, *, scalars=True, masks=False, result_dtype=None):
    """Compile `function` of `arity` operands to what ``build(builder, *values)`` emits for like values.

    Operators that Numba has for scalars are defined for vectors only (`scalars`); bitwise ones are for masks.
    """

    def define(typing_context, *operands):
        if not scalars and not any(isinstance(operand, Vector) for operand in operands):
            return None
        common = _common_type(typing_context, operands)
        if masks != (getattr(common, "dtype", common) == types.boolean):
            return None

        def generate(context, builder, signature, values):
            values = [convert(context, builder, v, t, common) for v, t in zip(values, operands, strict=True)]
            return build(builder, *values)

        result = common if result_dtype is None else Vector(result_dtype, common.lanes)
        return result(*operands), generate

    by_arity = {
        1: lambda typing_context, a: define(typing_context, a),
        2: lambda typing_context, a, b: define(typing_context, a, b),
        3: lambda typing_context, a, b, c: define(typing_context, a, b, c),
    }
    compiles(function)(by_arity[arity])


# --- Loads and stores ---------------------------------------------------------------------------------------


def load(array, index, dtype=None):
    """Return the lanes ``array[index], array[index + 1], …`` of a 1-D contiguous float32 or float64 array.

    With `dtype` the values are converted to it, and as many are loaded as fill a vector of that dtype. No
    alignment is needed. The array may be read-only.
    """
    return _plain_lanes(array, index, lanes(dtype or array.dtype)).astype(dtype or array.dtype)


def store(array, index, vector):
    """Write a vector to ``array[index], array[index + 1], …``, converted to the array's dtype."""
    _plain_lanes(array, index, len(vector))[:] = vector


def load_partial(array, index, count, dtype=None):
    """Return the first `count` lanes as `load` does; the others are 0, and nothing is read for them."""
    vector = np.zeros(lanes(dtype or array.dtype), dtype or array.dtype)
    count = max(0, min(count, len(vector)))
    vector[:count] = _plain_lanes(array, index, count)
    return vector


def store_partial(array, index, count, vector):
    """Write the first `count` lanes of a vector as `store` does."""
    count = max(0, min(count, len(vector)))
    _plain_lanes(array, index, count)[:] = vector[:count]


def load_address(address, dtype):
    """Return the vector of `dtype` (np.float32 or np.float64) at a byte address."""
    return np.frombuffer(_plain_memory(address), dtype).copy()


def store_address(address, vector):
    """Write a vector to a byte address."""
    np.frombuffer(_plain_memory(address), vector.dtype)[:] = vector


def address_of(array, index):
    """Return the byte address of ``array[index]`` of a 1-D contiguous array."""
    return array.ctypes.data + index * array.itemsize


def element(array, index):
    """Return ``array[index]`` of a 1-D contiguous array, for an index that is not negative.

    Numba lets any index count from the end, and where it cannot see the sign it tests every one; no loop is vectorised
    then.
    """
    return array[index]


def prefetch(array, index):
    """Ask for the cache line of ``array[index]`` ahead of its use; an index out of range does no harm."""


def _plain_lanes(array, index, count):
    if not 0 <= index <= len(array) - count:
        raise IndexError(f"lanes {index} to {index + count} are not within an array of {len(array)}")
    return array[index : index + count]


def _plain_memory(address):
    return (ctypes.c_char * cpu.VECTOR_BYTES).from_address(address)


def _check_array(array, writes=False, of_floats=True):
    contiguous = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    accepted = contiguous and (_is_float(array.dtype) or not of_floats)
    _check(accepted, f"expected a 1-D contiguous {'float ' if of_floats else ''}array, got {array}")
    _check(array.mutable or not writes, f"cannot store to {array}")


def _pointer(context, builder, array_type, array, index_type, index, vector=None):
    """Return the address of an array's element, as that of a vector if an LLVM vector type is given."""
    data = context.make_array(array_type)(context, builder, array).data
    index = context.cast(builder, index, index_type, types.intp)
    element = builder.gep(data, [index])
    return element if vector is None else builder.bitcast(element, vector.as_pointer())


def _align(dtype):
    return dtype.bitwidth // 8


def _check_vector(vector):
    _check(
        isinstance(vector, Vector) and _is_float(vector.dtype), f"expected a vector of floats, got {vector}"
    )


def _loaded_types(array, dtype):
    """Return the type of the vector in memory and of the vector it becomes."""
    _check_array(array)
    result = host_vector(array.dtype if dtype is None else dtype.dtype)
    return Vector(array.dtype, result.lanes), result


def _first_lanes(context, builder, count_type, count, number):
    """Return the mask of the first `count` of `number` lanes."""
    count = context.cast(builder, count, count_type, types.intp)
    limit = ir.Constant(count.type, number)
    count = builder.select(builder.icmp_signed("<", count, limit), count, limit)
    positions = ir.Constant(ir.VectorType(_INDEX, number), list(range(number)))
    return builder.icmp_signed("<", positions, _splat(builder, builder.trunc(count, _INDEX), number))


@compiles(load)
def _define_load(typing_context, array, index, dtype=None):
    in_memory, result = _loaded_types(array, dtype)

    def generate(context, builder, signature, values):
        vector = context.get_value_type(in_memory)
        pointer = _pointer(context, builder, array, values[0], index, values[1], vector)
        loaded = builder.load(pointer, align=_align(array.dtype))
        return _convert_lanes(builder, loaded, array.dtype, result.dtype)

    return result(array, index, types.none if dtype is None else dtype), generate


@compiles(store)
def _define_store(typing_context, array, index, vector):
    _check_array(array, writes=True)
    _check_vector(vector)

    def generate(context, builder, signature, values):
        value = _convert_lanes(builder, values[2], vector.dtype, array.dtype)
        pointer = _pointer(context, builder, array, values[0], index, values[1], value.type)
        builder.store(value, pointer, align=_align(array.dtype))
        return context.get_dummy_value()

    return types.void(array, index, vector), generate


@compiles(load_partial)
def _define_load_partial(typing_context, array, index, count, dtype=None):
    in_memory, result = _loaded_types(array, dtype)

    def generate(context, builder, signature, values):
        vector = context.get_value_type(in_memory)
        pointer = _pointer(context, builder, array, values[0], index, values[1], vector)
        mask = _first_lanes(context, builder, count, values[2], result.lanes)
        align = ir.Constant(_INDEX, _align(array.dtype))
        operands = [pointer, align, mask, constant_like(vector, 0.0)]
        loaded = call_llvm(builder, "llvm.masked.load.{}.p0", vector, operands)
        return _convert_lanes(builder, loaded, array.dtype, result.dtype)

    return result(array, index, count, types.none if dtype is None else dtype), generate


@compiles(store_partial)
def _define_store_partial(typing_context, array, index, count, vector):
    _check_array(array, writes=True)
    _check_vector(vector)

    def generate(context, builder, signature, values):
        value = _convert_lanes(builder, values[3], vector.dtype, array.dtype)
        pointer = _pointer(context, builder, array, values[0], index, values[1], value.type)
        mask = _first_lanes(context, builder, count, values[2], vector.lanes)
        align = ir.Constant(_INDEX, _align(array.dtype))
        call_llvm(builder, "llvm.masked.store.{}.p0", ir.VoidType(), [value, pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, index, count, vector), generate


@compiles(load_address)
def _define_load_address(typing_context, address, dtype):
    result = host_vector(dtype.dtype)

    def generate(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], context.get_value_type(result).as_pointer())
        return builder.load(pointer, align=_align(result.dtype))

    return result(types.intp, dtype), generate


@compiles(store_address)
def _define_store_address(typing_context, address, vector):
    _check_vector(vector)

    def generate(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], values[1].type.as_pointer())
        builder.store(values[1], pointer, align=_align(vector.dtype))
        return context.get_dummy_value()

    return types.void(types.intp, vector), generate


@compiles(address_of)
def _define_address_of(typing_context, array, index):
    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1])
        return builder.ptrtoint(pointer, context.get_value_type(types.intp))

    return types.intp(array, index), generate


@compiles(element)
def _define_element(typing_context, array, index):
    _check_array(array, of_floats=False)

    def generate(context, builder, signature, values):
        return builder.load(
            _pointer(context, builder, array, values[0], index, values[1]), align=_align(array.dtype)
        )

    return array.dtype(array, index), generate


@compiles(prefetch)
def _define_prefetch(typing_context, array, index):
    def generate(context, builder, signature, values):
        pointer = _pointer(context, builder, array, values[0], index, values[1])
        hints = [ir.Constant(_INDEX, hint) for hint in (0, 2, 1)]  # for reading, into the second level, data
        call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *hints])
        return context.get_dummy_value()

    return types.void(array, index), generate


# --- Making and choosing ------------------------------------------------------------------------------------


def broadcast(value, dtype=None):
    """Return a vector with `value` in every lane, of the value's own dtype unless one is given."""
    dtype = dtype or getattr(value, "dtype", np.float64)
    return np.full(lanes(dtype), value, dtype)


def first_lanes(vector, count):
    """Return the mask of the first `count` lanes of a vector."""
    return np.arange(len(vector)) < count


def select(condition, a, b):
    """Return `a` where the mask (or the bool) is true and `b` elsewhere."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, a, b)
    return a if condition else b


def by_dtype(x, single, double):
    """Return `single` if the scalar or vector `x` is float32, else `double`: decided at compile time."""
    return single if getattr(x, "dtype", None) == np.float32 else double


@compiles(lanes)
def _define_lanes(typing_context, dtype):
    number = lanes(str(dtype.dtype))
    return types.intp(dtype), lambda context, *_: context.get_constant(types.intp, number)


@compiles(broadcast)
def _define_broadcast(typing_context, value, dtype=None):
    if dtype is None:
        _check(_is_float(value), f"expected a float to broadcast, got {value}; or name the dtype")
    result = host_vector(value if dtype is None else dtype.dtype)

    def generate(context, builder, signature, values):
        return convert(context, builder, values[0], value, result)

    return result(value, types.none if dtype is None else dtype), generate


@compiles(first_lanes)
def _define_first_lanes(typing_context, vector, count):
    _check_vector(vector)

    def generate(context, builder, signature, values):
        return _first_lanes(context, builder, count, values[1], vector.lanes)

    return Vector(types.boolean, vector.lanes)(vector, count), generate


@compiles(select)
def _define_select(typing_context, condition, a, b):
    common = _common_type(typing_context, (a, b))
    is_mask = isinstance(condition, Vector)
    if is_mask and not isinstance(common, Vector):
        common = Vector(common, condition.lanes)
    _check(is_mask or condition == types.boolean, f"expected a mask or a bool, got {condition}")

    def generate(context, builder, signature, values):
        values = [values[0]] + [convert(context, builder, values[i], t, common) for i, t in ((1, a), (2, b))]
        return builder.select(*values)

    return common(condition, a, b), generate


@compiles(by_dtype)
def _define_by_dtype(typing_context, x, single, double):
    position = 1 if getattr(x, "dtype", x) == types.float32 else 2
    chosen = (x, single, double)[position]
    return chosen(x, single, double), lambda context, builder, signature, values: values[position]


# --- Arithmetic ---------------------------------------------------------------------------------------------


def fma(a, b, c):
    """Return ``a * b + c``: rounded once where the CPU has the instruction, else twice; never a call."""
    return a * b + c


def minimum(a, b):
    """Return `b` where it is less than `a`, else `a`: one instruction. NaN in `a` stays, in `b` not."""
    return select(b < a, b, a)


def maximum(a, b):
    """Return `b` where it exceeds `a`, else `a`: one instruction. NaN in `a` stays, in `b` not."""
    return select(b > a, b, a)


def copysign(magnitude, sign):
    """Return `magnitude` with the sign bit of `sign`."""
    return np.copysign(magnitude, sign)


def sqrt(x):
    """Return the square root, correctly rounded."""
    return np.sqrt(x)


def floor(x):
    """Return the greatest integer not above x (a C library call on x86 CPUs older than SSE4.1)."""
    return np.floor(x)


def rint(x):
    """Return the nearest integer, ties to even (a C library call on x86 CPUs older than SSE4.1)."""
    return np.rint(x)


def build_fma(builder, a, b, c):
    if cpu.HAS_FMA:
        return call_llvm(builder, "llvm.fma.{}", a.type, [a, b, c])
    return builder.fadd(builder.fmul(a, b), c)


def _build_choice(comparison):
    return lambda builder, a, b: builder.select(builder.fcmp_ordered(comparison, b, a), b, a)


def _build_call(name):
    return lambda builder, *values: call_llvm(builder, name, values[0].type, values)


def _build_method(name):
    return lambda builder, *values: getattr(builder, name)(*values)


def _build_comparison(comparison):
    compare = "fcmp_unordered" if comparison == "!=" else "fcmp_ordered"
    return lambda builder, a, b: getattr(builder, compare)(comparison, a, b)


define_elementwise(fma, 3, build_fma)
define_elementwise(minimum, 2, _build_choice("<"))
define_elementwise(maximum, 2, _build_choice(">"))
define_elementwise(copysign, 2, _build_call("llvm.copysign.{}"))
for _function in (sqrt, floor, rint):
    define_elementwise(_function, 1, _build_call(f"llvm.{_function.__name__}.{{}}"))
define_elementwise(abs, 1, _build_call("llvm.fabs.{}"), scalars=False)
define_elementwise(operator.neg, 1, _build_method("fneg"), scalars=False)
for _name, _method in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    define_elementwise(getattr(operator, _name), 2, _build_method(_method), scalars=False)
for _name, _sign in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    _compare = _build_comparison(_sign)
    define_elementwise(getattr(operator, _name), 2, _compare, scalars=False, result_dtype=types.boolean)
define_elementwise(operator.and_, 2, _build_method("and_"), scalars=False, masks=True)
define_elementwise(operator.or_, 2, _build_method("or_"), scalars=False, masks=True)
define_elementwise(operator.invert, 1, _build_method("not_"), scalars=False, masks=True)


# --- Reductions ---------------------------------------------------------------------------------------------


def reduce_add(vector):
    """Return the sum of the lanes: the upper half is added to the lower until one is left (a fixed order)."""
    while len(vector) > 1:
        vector = vector[: len(vector) // 2] + vector[len(vector) // 2 :]
    return vector[0]


def reduce_max(vector):
    """Return the greatest lane (NaN may be passed over)."""
    while len(vector) > 1:
        vector = maximum(vector[: len(vector) // 2], vector[len(vector) // 2 :])
    return vector[0]


def any_lane(mask):
    """Return whether any lane of a mask (or a bool itself) is true."""
    return bool(np.any(mask))


def _define_reduction(function, combine):
    @compiles(function)
    def define(typing_context, vector):
        _check_vector(vector)

        def generate(context, builder, signature, values):
            value = values[0]
            while value.type.count > 1:
                half = value.type.count // 2
                value = combine(builder, _part(builder, value, 0, half), _part(builder, value, half, half))
            return builder.extract_element(value, ir.Constant(_INDEX, 0))

        return vector.dtype(vector), generate


def _part(builder, value, start, count):
    """Return `count` neighbouring lanes of a vector as a shorter vector."""
    positions = ir.Constant(ir.VectorType(_INDEX, count), list(range(start, start + count)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), positions)


_define_reduction(reduce_add, _build_method("fadd"))
_define_reduction(reduce_max, _build_choice(">"))


@compiles(any_lane)
def _define_any_lane(typing_context, mask):
    if not isinstance(mask, Vector):
        return types.boolean(mask), lambda context, builder, signature, values: values[0]

    def generate(context, builder, signature, values):
        bits = builder.bitcast(values[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), generate
