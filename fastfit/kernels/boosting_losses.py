"""Gradients, hessians and losses of raw predictions: scikit-learn's formulas for each sample, in vectors.

Of a loss only what is used is compiled. All is computed in float64; gradients and hessians are then rounded to float32,
as scikit-learn does, side by side for the histograms. The losses leave out what does not depend on the prediction.

Without weights, gradients bring the loss along: log(factor) + rest of each sample, with one logarithm for the product
of 16 factors. That is exact to 1e-15 of a sample, and costs a tenth of a pass of its own.
"""

import functools

import numpy as np

from fastfit.kernels.histogram_tree import begin_and_end
from fastfit.runtime.compile import jit
from fastfit.runtime.elements import set_element
from fastfit.runtime.simd import element
from fastfit.runtime.vector_math import exp, log, softplus

# Samples whose losses are added up one after the other, and then block by block: any number of threads adds likewise.
LOSS_BLOCK = 4096
# Samples of many classes that are done at a time.
CLASS_BLOCK = 128
# Samples whose gradients are done at a time, and how many factors of their losses are multiplied.
SLOPE_BLOCK = 512
FACTORS = 16
# A factor of a loss stays below, so that the product of all is finite.
LARGEST_FACTOR = 2.0**60


@jit(inline=True, internal=True)
def _log_loss_slopes(y, raw, quantile):
    e = exp(-raw if raw > -700.0 else 700.0)
    below = 1.0 + e
    is_large = below > LARGEST_FACTOR  # then log(1 + e) + raw is less than 1e-18
    factor = 1.0 if is_large else below
    rest = (0.0 if is_large else raw) - y * raw
    return ((1.0 - y) - y * e) / below, e / (below * below), factor, rest


@jit(inline=True, internal=True)
def _log_loss(y, raw, quantile):
    return softplus(raw) - y * raw


@jit(inline=True, internal=True)
def _squared_slopes(y, raw, quantile):
    return raw - y, 1.0, 1.0, _squared(y, raw, quantile)


@jit(inline=True, internal=True)
def _squared(y, raw, quantile):
    return 0.5 * (raw - y) * (raw - y)


@jit(inline=True, internal=True)
def _absolute_slopes(y, raw, quantile):
    return 1.0 if raw > y else -1.0, 1.0, 1.0, _absolute(y, raw, quantile)


@jit(inline=True, internal=True)
def _absolute(y, raw, quantile):
    return abs(raw - y)


@jit(inline=True, internal=True)
def _quantile_slopes(y, raw, quantile):
    return -quantile if y >= raw else 1.0 - quantile, 1.0, 1.0, _quantile(y, raw, quantile)


@jit(inline=True, internal=True)
def _quantile(y, raw, quantile):
    return quantile * (y - raw) if y >= raw else (1.0 - quantile) * (raw - y)


@jit(inline=True, internal=True)
def _poisson_slopes(y, raw, quantile):
    mean = exp(raw)
    return mean - y, mean, 1.0, mean - y * raw


@jit(inline=True, internal=True)
def _poisson(y, raw, quantile):
    return exp(raw) - y * raw


@jit(inline=True, internal=True)
def _gamma_slopes(y, raw, quantile):
    ratio = y * exp(-raw)
    return 1.0 - ratio, ratio, 1.0, raw + ratio


@jit(inline=True, internal=True)
def _gamma(y, raw, quantile):
    return raw + y * exp(-raw)


_POINTWISE = {
    "log_loss_binary": (_log_loss_slopes, _log_loss),
    "squared_error": (_squared_slopes, _squared),
    "absolute_error": (_absolute_slopes, _absolute),
    "quantile": (_quantile_slopes, _quantile),
    "poisson": (_poisson_slopes, _poisson),
    "gamma": (_gamma_slopes, _gamma),
}


@jit(internal=True)
def _sum_of_losses(parts, size, block):
    """Return the sum of log(factor) + rest, given ``block`` factors, then as many rests; ``size`` of them are set."""
    for i in range(size, block):
        set_element(parts, i, 1.0)
        set_element(parts, block + i, 0.0)
    width = block
    while width > block // FACTORS:
        width //= 2
        for i in range(width):
            set_element(parts, i, element(parts, i) * element(parts, width + i))
            set_element(parts, block + i, element(parts, block + i) + element(parts, block + width + i))
    for i in range(width):
        set_element(parts, i, log(element(parts, i)) + element(parts, block + i))
    total = 0.0
    for i in range(width):
        total += parts[i]
    return total


@functools.cache
def slopes_kernel(loss):
    """Return the kernel that fills in the gradients and hessians of a loss.

    ``fill(control, thread_idx, n_threads, y, raw, weights, quantile, values, sums, scratch)``: y (n,), raw
    (n_classes * n,) and weights (n,) or (0,) float64; values (n_classes, 2 * n) float32, out, gradients and hessians in
    turn; sums (n_blocks,) float64, out: without weights, the sums of the losses of LOSS_BLOCK samples each.
    """
    if loss == "log_loss_multiclass":
        return _fill_multiclass
    slopes = _POINTWISE[loss][0]

    @jit
    def fill(control, thread_idx, n_threads, y, raw, weights, quantile, values, sums, scratch):
        first, last = begin_and_end(len(sums), thread_idx, n_threads)
        out = values[0]
        parts = scratch[thread_idx]
        for block in range(first, last):
            total = 0.0
            block_end = (block + 1) * LOSS_BLOCK if (block + 1) * LOSS_BLOCK < len(y) else len(y)
            for start in range(block * LOSS_BLOCK, block_end, SLOPE_BLOCK):
                size = block_end - start if block_end - start < SLOPE_BLOCK else SLOPE_BLOCK
                for i in range(size):
                    g, h, factor, rest = slopes(element(y, start + i), element(raw, start + i), quantile)
                    weight = 1.0 if len(weights) == 0 else element(weights, start + i)
                    set_element(out, 2 * (start + i), np.float32(g * weight))
                    set_element(out, 2 * (start + i) + 1, np.float32(h * weight))
                    set_element(parts, i, factor)
                    set_element(parts, SLOPE_BLOCK + i, rest)
                if len(weights) == 0:
                    total += _sum_of_losses(parts, size, SLOPE_BLOCK)
            sums[block] = total

    return fill


@functools.cache
def losses_kernel(loss):
    """Return the kernel that adds up a loss by blocks of samples.

    ``add_up(control, thread_idx, n_threads, y, raw, weights, quantile, sums, scratch)``: sums (n_blocks,) float64, out.
    """
    if loss == "log_loss_multiclass":
        return _add_up_multiclass
    value = _POINTWISE[loss][1]

    @jit
    def add_up(control, thread_idx, n_threads, y, raw, weights, quantile, sums, scratch):
        first, last = begin_and_end(len(sums), thread_idx, n_threads)
        block_losses = scratch[thread_idx]
        for block in range(first, last):
            start = block * LOSS_BLOCK
            size = len(y) - start if len(y) - start < LOSS_BLOCK else LOSS_BLOCK
            for i in range(size):
                set_element(block_losses, i, value(element(y, start + i), element(raw, start + i), quantile))
            total = 0.0
            for i in range(size):
                weight = 1.0 if len(weights) == 0 else weights[start + i]
                total += block_losses[i] * weight
            sums[block] = total

    return add_up


@jit(internal=True)
def _exponentials(raw, n_samples, n_classes, start, size, scratch):
    """Fill scratch with exp(raw - the sample's greatest), class after class; then the greatest ones, and the sums."""
    greatest = n_classes * CLASS_BLOCK
    sums = greatest + CLASS_BLOCK
    for i in range(size):
        set_element(scratch, greatest + i, element(raw, start + i))
        set_element(scratch, sums + i, 0.0)
    for k in range(1, n_classes):
        for i in range(size):
            value = element(raw, k * n_samples + start + i)
            before = element(scratch, greatest + i)
            set_element(scratch, greatest + i, value if value > before else before)
    for k in range(n_classes):
        for i in range(size):
            e = exp(element(raw, k * n_samples + start + i) - element(scratch, greatest + i))
            set_element(scratch, k * CLASS_BLOCK + i, e)
            set_element(scratch, sums + i, element(scratch, sums + i) + e)
    return greatest, sums


@jit(internal=True)
def _fill_class(own, sums, y, weights, k, start, size, out):
    """Write the gradients and hessians of one class."""
    for i in range(size):
        p = element(own, k * CLASS_BLOCK + i) / element(own, sums + i)
        g = p - (1.0 if element(y, start + i) == k else 0.0)
        h = p * (1.0 - p)
        weight = 1.0 if len(weights) == 0 else element(weights, start + i)
        set_element(out, 2 * (start + i), np.float32(g * weight))
        set_element(out, 2 * (start + i) + 1, np.float32(h * weight))


@jit
def _fill_multiclass(control, thread_idx, n_threads, y, raw, weights, quantile, values, sums, scratch):
    n_classes = len(values)
    own = scratch[thread_idx]
    parts = own[(n_classes + 2) * CLASS_BLOCK :]
    first, last = begin_and_end(len(sums), thread_idx, n_threads)
    for block in range(first, last):
        total = 0.0
        block_end = (block + 1) * LOSS_BLOCK if (block + 1) * LOSS_BLOCK < len(y) else len(y)
        for start in range(block * LOSS_BLOCK, block_end, CLASS_BLOCK):
            size = block_end - start if block_end - start < CLASS_BLOCK else CLASS_BLOCK
            greatest, totals = _exponentials(raw, len(y), n_classes, start, size, own)
            for k in range(n_classes):
                _fill_class(own, totals, y, weights, k, start, size, values[k])
            if len(weights) == 0:
                for i in range(size):
                    own_raw = raw[np.int64(element(y, start + i)) * len(y) + start + i]
                    set_element(parts, i, element(own, totals + i))
                    set_element(parts, CLASS_BLOCK + i, element(own, greatest + i) - own_raw)
                total += _sum_of_losses(parts, size, CLASS_BLOCK)
        sums[block] = total


@jit
def _add_up_multiclass(control, thread_idx, n_threads, y, raw, weights, quantile, sums, scratch):
    n_classes = len(raw) // len(y)
    own = scratch[thread_idx]
    first, last = begin_and_end(len(sums), thread_idx, n_threads)
    for block in range(first, last):
        total = 0.0
        block_end = (block + 1) * LOSS_BLOCK if (block + 1) * LOSS_BLOCK < len(y) else len(y)
        for start in range(block * LOSS_BLOCK, block_end, CLASS_BLOCK):
            size = block_end - start if block_end - start < CLASS_BLOCK else CLASS_BLOCK
            greatest, totals = _exponentials(raw, len(y), n_classes, start, size, own)
            for i in range(size):
                weight = 1.0 if len(weights) == 0 else weights[start + i]
                own_raw = raw[np.int64(y[start + i]) * len(y) + start + i]
                total += (log(own[totals + i]) + own[greatest + i] - own_raw) * weight
        sums[block] = total
