"""Logarithms near enough to tell that a split cannot be the best, several times as fast as exact ones.

Most splits are far from the best one. A polynomial shows that for a tenth of the cost of scikit-learn's logarithms,
which decide only between what remains.
"""

import numpy as np

from fastfit.runtime.bits import bits_float, float_bits
from fastfit.runtime.compile import REASSOCIATE, jit

# Bound of the error of `approximate_log2`, with a margin for that of sums of it.
LOG_ERROR = 3e-5
EXPONENT_BIAS = 127
MANTISSA_BITS = 23
# Interpolation of log2(1 + t) at the Chebyshev nodes of [0, 1]: off by no more than 1.7e-5.
_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (0.04300495779, -0.1874886046, 0.4094702987, -0.7064864491, 1.441492412, 1.651467088e-05)
)
C5, C4, C3, C2, C1, C0 = _COEFFICIENTS


@jit(inline=True, internal=True, fastmath=REASSOCIATE)
def approximate_log2(x):
    """Return log2(x) of a positive float64 in the range of normal float32; for 0 a number below -126."""
    bits = np.int64(float_bits(np.float32(x)))
    exponent = (bits >> MANTISSA_BITS) - EXPONENT_BIAS
    mantissa = bits & ((1 << MANTISSA_BITS) - 1) | EXPONENT_BIAS << MANTISSA_BITS
    t = bits_float(np.uint32(mantissa)) - np.float32(1.0)
    fraction = ((((C5 * t + C4) * t + C3) * t + C2) * t + C1) * t + C0
    return np.float64(np.float32(exponent) + fraction)
