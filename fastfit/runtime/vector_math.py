"""exp, log, log1p, tanh, logistic and softplus, written once for scalars and vectors, float32 and float64.

Each is free of branches, tables and calls, so that a plain loop over an array vectorises, too, and is inlined
where it is used: in kernels only, Python cannot call it (save under ``NUMBA_DISABLE_JIT=1``). The greatest
errors that were found, in units in the last place (ulp), are in the docstrings; they hold with and without
fused multiply-add, and where results are subnormal. NaN gives NaN; infinities and signed zeros are exact.

Method (Cody and Waite, Software Manual for the Elementary Functions, 1980; Muller, Elementary Functions, 3rd
edition, 2016):

- exp(x) = 2**n exp(r), with n the integer nearest to x / ln 2. Of ln 2 = high + low, `high` has so few bits
  that n * high is exact, so r = (x - n high) - n low is accurate. exp(r) = 1 + r + r**2 q(r).
- log(2**e m) = e ln 2 + log(1 + f), with m = 1 + f from sqrt(1/2) to sqrt(2). With s = f / (2 + f), it is
  log(1 + f) = log((1 + s) / (1 - s)) = 2 s + s**3 p(s**2) = f - (f**2 / 2 - s (f**2 / 2 + s**2 p(s**2))).
  The last form, known from Sun's fdlibm, leads with the exact f, so that little is lost in rounding.
- The others follow from these two, with care where a sum loses what matters.

The coefficients of q and p minimise the greatest relative error of exp and of log. They come from our own
Remez exchange, run with 200 bits over the reduced range widened by 2**-10, and were then rounded; the first
of q was fixed at 1/2. What remains is an error of 2**-27.9 (float32) and 2**-57.1 (float64) in exp, of
2**-29.8 and 2**-58.9 in log, and with q_wide of 2**-30.2 and 2**-59.3.

All is compiled without fast-math, whatever the kernel around it: reassociation would undo the reductions.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import (
    build_fma,
    by_dtype,
    call_llvm,
    compiles,
    constant_like,
    convert,
    copysign,
    define_elementwise,
    fma,
    maximum,
    minimum,
    select,
)


class _ExpConstants(NamedTuple):
    zero: float
    half: float
    one: float
    three_halves: float
    two: float
    lowest: float  # exp of anything below is 0,
    highest: float  # and above it infinity
    saturation: float  # tanh(x) rounds to 1 for 2 |x| above
    log2_e: float
    ln2_high: float
    ln2_low: float
    shift: float  # 1.5 times 2**(bits of the fraction): adding it rounds to an integer
    q: tuple  # for r within ln(2) / 2,
    q_wide: tuple  # and with r up to 1/2


class _LogConstants(NamedTuple):
    zero: float
    root_two_less_one: float
    half: float
    one: float
    two: float
    infinity: float
    nan: float
    smallest_normal: float
    subnormal_scale: float
    subnormal_exponent: float
    ln2_high: float
    ln2_low: float
    p: tuple


def _as_single(constants):
    """Return the constants with every number as float32."""
    return type(constants)(
        *(
            tuple(map(np.float32, field)) if isinstance(field, tuple) else np.float32(field)
            for field in constants
        )
    )


_LN2_SINGLE = (float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20"))
_LN2_DOUBLE = (float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45"))
_LOG2_E = 1.4426950408889634

_EXP_SINGLE = _as_single(
    _ExpConstants(
        zero=0.0,
        half=0.5,
        one=1.0,
        three_halves=1.5,
        two=2.0,
        lowest=-105.0,
        highest=89.0,
        saturation=24.0,
        log2_e=_LOG2_E,
        ln2_high=_LN2_SINGLE[0],
        ln2_low=_LN2_SINGLE[1],
        shift=1.5 * 2.0**23,
        q=(0.5, 0.16666533, 0.041667242, 0.008367541, 0.0013863728),
        q_wide=(0.5, 0.16666676, 0.041666433, 0.00833085, 0.0013935893, 0.00021225571),
    )
)
_EXP_DOUBLE = _ExpConstants(
    zero=0.0,
    half=0.5,
    one=1.0,
    three_halves=1.5,
    two=2.0,
    lowest=-750.0,
    highest=710.0,
    saturation=44.0,
    log2_e=_LOG2_E,
    ln2_high=_LN2_DOUBLE[0],
    ln2_low=_LN2_DOUBLE[1],
    shift=1.5 * 2.0**52,
    q=(
        0.5,
        0.16666666666666433,
        0.04166666666660351,
        0.008333333333501213,
        0.0013888888926999986,
        0.00019841269464242832,
        2.4801508400687318e-05,
        2.7557641983668393e-06,
        2.762530857748207e-07,
        2.4978258555737923e-08,
    ),
    q_wide=(
        0.5,
        0.16666666666666632,
        0.04166666666667355,
        0.008333333333360338,
        0.0013888888885344116,
        0.00019841269790430287,
        2.480159382873227e-05,
        2.75573349024568e-06,
        2.755213105151786e-07,
        2.5079685516054065e-08,
        2.240242719988196e-09,
    ),
)
_LOG_SINGLE = _as_single(
    _LogConstants(
        zero=0.0,
        root_two_less_one=0.4142135623730951,
        half=0.5,
        one=1.0,
        two=2.0,
        infinity=np.inf,
        nan=np.nan,
        smallest_normal=2.0**-126,
        subnormal_scale=2.0**24,
        subnormal_exponent=24.0,
        ln2_high=_LN2_SINGLE[0],
        ln2_low=_LN2_SINGLE[1],
        p=(0.66666776, 0.3997772, 0.29867992),
    )
)
_LOG_DOUBLE = _LogConstants(
    zero=0.0,
    root_two_less_one=0.4142135623730951,
    half=0.5,
    one=1.0,
    two=2.0,
    infinity=np.inf,
    nan=np.nan,
    smallest_normal=2.0**-1022,
    subnormal_scale=2.0**54,
    subnormal_exponent=54.0,
    ln2_high=_LN2_DOUBLE[0],
    ln2_low=_LN2_DOUBLE[1],
    p=(
        0.6666666666666726,
        0.39999999999455377,
        0.285714287348234,
        0.2222219924545809,
        0.18183533381549935,
        0.1531476244268788,
        0.14789475473195934,
    ),
)


# --- What they do with bits ---------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """Where the parts of a float lie in its bits."""

    integer: ir.IntType
    fraction_bits: int
    bias: int
    bits_of_one: int
    bits_of_root_half: int


_SINGLE_LAYOUT = _Layout(ir.IntType(32), 23, 127, 0x3F800000, 0x3F3504F3)
_DOUBLE_LAYOUT = _Layout(ir.IntType(64), 52, 1023, 0x3FF0000000000000, 0x3FE6A09E667F3BCD)


def scale(x, n):
    """Return ``x * 2**n`` for an x near 1 and a whole number n, a float within 2000 (float32: 250)."""
    with np.errstate(all="ignore"):
        return np.ldexp(x, np.asarray(n, np.int32))


def exponent(x):
    """Return the integer e with x = m 2**e and sqrt(1/2) <= m < sqrt(2), for a positive normal x."""
    return _plain_split(x)[1]


def mantissa(x):
    """Return m with x = m 2**e and sqrt(1/2) <= m < sqrt(2), for a positive normal x."""
    return _plain_split(x)[0]


def polynomial(x, coefficients):
    """Return ``coefficients[0] + coefficients[1] * x + …`` in pairs (Estrin), so that few steps must wait."""
    return _evaluate_by_pairs(fma, lambda a, b: a * b, x, coefficients)


def _plain_split(x):
    m, e = np.frexp(x)
    is_small = m < by_dtype(x, np.float32(np.sqrt(0.5)), np.sqrt(0.5))
    return select(is_small, m + m, m), select(is_small, e - 1, e).astype(m.dtype)


def _evaluate_by_pairs(fma, multiply, x, terms):
    while len(terms) > 1:
        pairs = [fma(x, terms[i + 1], terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + list(terms[2 * len(pairs) :])
        x = multiply(x, x)
    return terms[0]


def _layout(x):
    """Return the layout of the bits of an LLVM float or vector of floats, and its integer type."""
    element = x.type.element if isinstance(x.type, ir.VectorType) else x.type
    layout = _SINGLE_LAYOUT if isinstance(element, ir.FloatType) else _DOUBLE_LAYOUT
    is_vector = isinstance(x.type, ir.VectorType)
    return layout, ir.VectorType(layout.integer, x.type.count) if is_vector else layout.integer


def _build_scale(builder, x, n):
    """Multiply by 2**(n // 2), which is exact as x is near 1, and then by 2**(n - n // 2), which rounds."""
    layout, integer = _layout(x)
    if isinstance(x.type, ir.VectorType) and x.type.count * layout.integer.width == 512:
        return _build_scalef(builder, x, n)
    shift = constant_like(x.type, 1.5 * 2.0**layout.fraction_bits)
    bits_of_shift = (2 * (layout.bias + layout.fraction_bits) + 1) << layout.fraction_bits - 1
    n = builder.bitcast(builder.fadd(n, shift), integer)
    n = builder.sub(n, constant_like(integer, bits_of_shift - 2 * layout.bias))
    half = builder.lshr(n, constant_like(integer, 1))
    for biased in (half, builder.sub(n, half)):
        power = builder.shl(biased, constant_like(integer, layout.fraction_bits))
        x = builder.fmul(x, builder.bitcast(power, x.type))
    return x


def _build_scalef(builder, x, n):
    """Scale by AVX-512's own instruction: the same result, and exp takes 0.85 of the time."""
    suffix = "ps" if x.type.count == 16 else "pd"
    every_lane = ir.Constant(ir.IntType(x.type.count), -1)
    round_to_nearest = ir.Constant(ir.IntType(32), 4)  # 4: as the control register says
    operands = [x, n, x, every_lane, round_to_nearest]
    return call_llvm(builder, f"llvm.x86.avx512.mask.scalef.{suffix}.512", x.type, operands)


def _build_biased_exponent(builder, x, layout, integer):
    """Return e + bias as an integer: the exponent field of x once sqrt(1/2) is moved to where 1 was."""
    offset = constant_like(integer, layout.bits_of_one - layout.bits_of_root_half)
    shifted = builder.add(builder.bitcast(x, integer), offset)
    return builder.lshr(shifted, constant_like(integer, layout.fraction_bits))


def _build_exponent(builder, x):
    """Set e + bias as the low bits of 2**fraction_bits: a conversion that even SSE2 has for 64 bits."""
    layout, integer = _layout(x)
    power = constant_like(integer, layout.bias + layout.fraction_bits << layout.fraction_bits)
    number = builder.bitcast(builder.or_(_build_biased_exponent(builder, x, layout, integer), power), x.type)
    return builder.fsub(number, constant_like(x.type, 2.0**layout.fraction_bits + layout.bias))


def _build_mantissa(builder, x):
    layout, integer = _layout(x)
    e = builder.sub(_build_biased_exponent(builder, x, layout, integer), constant_like(integer, layout.bias))
    e = builder.shl(e, constant_like(integer, layout.fraction_bits))
    return builder.bitcast(builder.sub(builder.bitcast(x, integer), e), x.type)


define_elementwise(scale, 2, _build_scale)
define_elementwise(exponent, 1, _build_exponent)
define_elementwise(mantissa, 1, _build_mantissa)


@compiles(polynomial)
def _define_polynomial(typing_context, x, coefficients):
    def generate(context, builder, signature, values):
        terms = [builder.extract_value(values[1], i) for i in range(len(coefficients))]
        terms = [convert(context, builder, term, coefficients.dtype, x) for term in terms]
        return _evaluate_by_pairs(partial(build_fma, builder), builder.fmul, values[0], terms)

    return x(x, coefficients), generate


# --- The functions ------------------------------------------------------------------------------------------


@jit(inline=True, internal=True)
def _doublings(x):
    """Return n, the integer nearest to x / ln(2): exp(x) is 1 doubled about n times."""
    c = by_dtype(x, _EXP_SINGLE, _EXP_DOUBLE)
    return fma(x, c.log2_e, c.shift) - c.shift


@jit(inline=True, internal=True)
def _exp_parts(x, n, q):
    """Return s and a small t with exp(x) = 2**n (s + t), given the coefficients of q for this n."""
    c = by_dtype(x, _EXP_SINGLE, _EXP_DOUBLE)
    r = fma(n, -c.ln2_low, fma(n, -c.ln2_high, x))
    s = c.one + r
    return s, fma(r * r, polynomial(r, q), r - (s - c.one))


@jit(inline=True, internal=True)
def exp(x):
    """Return e**x, within 0.9 ulp, with gradual underflow."""
    c = by_dtype(x, _EXP_SINGLE, _EXP_DOUBLE)
    x = minimum(maximum(x, c.lowest), c.highest)
    n = _doublings(x)
    s, t = _exp_parts(x, n, c.q)
    return scale(s + t, n)


@jit(inline=True, internal=True)
def _log_of_product(f, e):
    """Return e ln(2) + log(1 + f), for f between sqrt(1/2) - 1 and sqrt(2) - 1 and an integer e."""
    c = by_dtype(f, _LOG_SINGLE, _LOG_DOUBLE)
    s = f / (c.two + f)
    s_squared = s * s
    half_square = c.half * f * f
    correction = fma(s_squared, polynomial(s_squared, c.p), half_square)
    return fma(e, c.ln2_high, f - (half_square - fma(s, correction, e * c.ln2_low)))


@jit(inline=True, internal=True)
def log(x):
    """Return the natural logarithm, within 0.9 ulp; of 0 it is -infinity, below NaN."""
    c = by_dtype(x, _LOG_SINGLE, _LOG_DOUBLE)
    is_subnormal = x < c.smallest_normal
    scaled = select(is_subnormal, x * c.subnormal_scale, x)
    e = exponent(scaled)
    e = select(is_subnormal, e - c.subnormal_exponent, e)
    result = _log_of_product(mantissa(scaled) - c.one, e)
    result = select(x < c.infinity, result, x)
    return select(x > c.zero, result, select(x == c.zero, -c.infinity, c.nan))


@jit(inline=True, internal=True)
def log1p(x):
    """Return log(1 + x), within 1.5 ulp, accurate near 0; of -1 it is -infinity, below NaN."""
    c = by_dtype(x, _LOG_SINGLE, _LOG_DOUBLE)
    u = c.one + x
    x_in_u = u - c.one
    lost = (c.one - (u - x_in_u)) + (x - x_in_u)  # 1 + x = u + lost exactly (Knuth's TwoSum)
    e = exponent(u)
    result = _log_of_product((mantissa(u) - c.one) + scale(lost, -e), e)
    result = select(u < c.infinity, result, x)
    result = select(u > c.zero, result, select(u == c.zero, -c.infinity, c.nan))
    return select(x == c.zero, x, result)  # keeps the sign of 0


@jit(inline=True, internal=True)
def tanh(x):
    """Return the hyperbolic tangent, expm1(2x) / (expm1(2x) + 2), within 1.6 ulp."""
    c = by_dtype(x, _EXP_SINGLE, _EXP_DOUBLE)
    twice = minimum(abs(x + x), c.saturation)
    n = select(twice > c.half, _doublings(twice), c.zero)
    s, t = _exp_parts(twice, n, c.q_wide)
    power = scale(c.one, n)
    most = fma(power, s, -c.one)
    expm1 = fma(power, t, most)
    denominator = expm1 + c.two
    is_large = expm1 > c.two
    quotient = select(is_large, c.two, expm1) / denominator
    # Near 0 put back what rounding took from numerator and denominator; their inverse is (1 - quotient) / 2.
    lost_above = fma(power, t, most - expm1)
    lost_below = lost_above + (expm1 - (denominator - c.two))
    inverse = fma(quotient, -c.half, c.half)
    small = fma(fma(quotient, -lost_below, lost_above), inverse, quotient)
    return copysign(select(is_large, c.one - quotient, small), x)


@jit(inline=True, internal=True)
def logistic(x):
    """Return 1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) below 0, within 1.3 ulp, with gradual underflow."""
    c = by_dtype(x, _EXP_SINGLE, _EXP_DOUBLE)
    below = maximum(-abs(x), c.lowest)
    n = _doublings(below)
    s, t = _exp_parts(below, n, c.q)
    e = scale(s + t, n)
    denominator = c.one + e
    is_negative = x < c.zero
    quotient = select(is_negative, e, c.one) / denominator
    # Put back what rounding took from numerator and denominator; their inverse is needed roughly only.
    lost_in_e = scale(t - ((s + t) - s), n)
    lost_above = select(is_negative, lost_in_e, c.zero)
    lost_below = lost_in_e + (e - (denominator - c.one))
    inverse = fma(denominator, -c.half, c.three_halves)
    return fma(fma(quotient, -lost_below, lost_above), inverse, quotient)


@jit(inline=True, internal=True)
def softplus(x):
    """Return log(1 + exp(x)), within 1.8 ulp, without overflow."""
    c = by_dtype(x, _LOG_SINGLE, _LOG_DOUBLE)
    y = exp(-abs(x))
    # As 0 <= y <= 1, 1 + y is 1 + f or 2 (1 + f), with an f that needs no rounding.
    is_double = y > c.root_two_less_one
    f = select(is_double, c.half * (y - c.one), y)
    return maximum(x, c.zero) + _log_of_product(f, select(is_double, c.one, c.zero))


@jit(inline=True, internal=True)
def log_logistic(x):
    """Return log(logistic(x)) = -softplus(-x), within 1.8 ulp."""
    return -softplus(-x)
