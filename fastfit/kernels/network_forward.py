"""Predictions of a network: activations forward, a block of rows at a time, from weights where they lie.

Nothing is packed, so that one row costs hardly more than reading the weights once. Two blocks of activations take
turns.
"""

import functools
from typing import NamedTuple

import numpy as np

from fastfit.kernels.activation import ACTIVATIONS
from fastfit.kernels.gemm import Matrices
from fastfit.kernels.network_plan import BLOCK_ROWS
from fastfit.kernels.output_loss import highest_of_row, softmax_row
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.simd import (
    address_of,
    any_lane,
    broadcast,
    element,
    first_lanes,
    load,
    reduce_add,
    store,
)
from fastfit.runtime.team import stop_requested
from fastfit.runtime.vector_math import exp, logistic

N_FORWARD_FIELDS = 5
IDENTITY, EXPONENTIAL, LOGISTIC, SOFTMAX, LARGEST = 0, 1, 2, 3, 4

_call_multiply = make_far_call()


class ForwardPlan(NamedTuple):
    """What a prediction reads and writes."""

    # (n_layers * N_FORWARD_FIELDS,) int64: fan_in, fan_out, address and row stride of the weights, and where the
    # layer's intercepts begin.
    layers: np.ndarray
    intercepts: np.ndarray  # flat, every layer's filled up to whole vectors
    scratch: np.ndarray  # (n_threads * 2 * rows of a block * stride,) of the network's dtype
    n_layers: int
    stride: int  # of the widest layer but the input
    output: int
    leak: float
    multiply: int  # address of gemm_at
    sums: np.ndarray  # (n_threads,) float64: of each member's rows of X, finite only where X is


@jit(inline=True, internal=True)
def _largest_of_row(values, at, n_outputs):
    """Return which output is the largest, the first of equals; 0 where softmax would make all of them NaN."""
    dtype, top = values.dtype, highest_of_row(values, at, n_outputs)
    for j in range(0, n_outputs, lanes(dtype)):
        gap = load(values, at + j) - top
        if any_lane(first_lanes(gap, n_outputs - j) & (gap != gap)):
            return 0
    for j in range(n_outputs):
        if element(values, at + j) == top:
            return j
    return 0


@jit(internal=True)
def _finish_rows(
    output,
    source,  # where the block's values begin
    n_rows,
    stride,
    n_outputs,
    values,  # flat
    first,
    out,  # (n, n_outputs), or (n, 1) for the largest output
):
    """Apply the output's activation to a block of rows and write them to the result."""
    dtype = values.dtype
    n_lanes = lanes(dtype)
    width = (n_outputs + n_lanes - 1) // n_lanes * n_lanes
    for i in range(n_rows):
        at = source + i * stride
        scale = dtype.type(1.0)
        if output == LARGEST:
            out[first + i, 0] = _largest_of_row(values, at, n_outputs)
            continue
        if output == SOFTMAX:
            scale = scale / softmax_row(values, at, n_outputs)
        elif output == EXPONENTIAL:
            for j in range(0, width, n_lanes):
                store(values, at + j, exp(load(values, at + j)))
        elif output == LOGISTIC:
            for j in range(0, width, n_lanes):
                store(values, at + j, logistic(load(values, at + j)))
        for j in range(n_outputs):
            out[first + i, j] = element(values, at + j) * scale


@jit(inline=True, internal=True)
def _sum_values(X, begin, end):
    """Sum some values of X, NaN if one is NaN."""
    n_lanes = lanes(X.dtype)
    total, rest = broadcast(0.0, X.dtype), 0.0
    whole = begin + (end - begin) // n_lanes * n_lanes
    for j in range(begin, whole, n_lanes):
        total = total + load(X, j)
    for j in range(whole, end):
        rest += element(X, j)
    return rest + reduce_add(total)


@functools.cache
def make_forward(activation):
    """Make the kernel that predicts with networks of this activation."""
    apply, _ = ACTIVATIONS[activation]

    @jit(internal=True)
    def activate_rows(source, n_rows, stride, width, is_hidden, intercepts_at, leak, values, intercepts):
        n_lanes = lanes(values.dtype)
        for i in range(n_rows):
            for j in range(0, width, n_lanes):
                at = source + i * stride + j
                z = load(values, at) + load(intercepts, intercepts_at + j)
                if is_hidden:
                    z = apply(z, leak)
                store(values, at, z)

    @jit
    def forward(
        control,
        thread_idx,
        n_threads,
        plan,
        X,  # (n * n_features,) of the network's dtype, read-only
        out,  # (n, n_outputs)
    ):
        values, stride, size = plan.scratch, plan.stride, plan.scratch.itemsize
        like, n_lanes, n = values[0], lanes(values.dtype), len(out)
        n_features = element(plan.layers, 0)
        n_blocks = (n + BLOCK_ROWS - 1) // BLOCK_ROWS
        half = stride * (BLOCK_ROWS if n > BLOCK_ROWS else n)
        begin = thread_idx * 2 * half
        total = 0.0
        for block in range(n_blocks * thread_idx // n_threads, n_blocks * (thread_idx + 1) // n_threads):
            if stop_requested(control):
                return
            first = block * BLOCK_ROWS
            n_rows = BLOCK_ROWS if n - first >= BLOCK_ROWS else n - first
            total += _sum_values(X, first * n_features, (first + n_rows) * n_features)
            source, source_stride, target = address_of(X, first * n_features), n_features, begin
            for number in range(plan.n_layers):
                at = number * N_FORWARD_FIELDS
                fan_in, fan_out = element(plan.layers, at), element(plan.layers, at + 1)
                weights, weights_stride = element(plan.layers, at + 2), element(plan.layers, at + 3)
                width = (fan_out + n_lanes - 1) // n_lanes * n_lanes
                at = Matrices(
                    source,
                    source_stride,
                    1,
                    weights,
                    weights_stride,
                    address_of(values, target),
                    stride,
                    size,
                )
                _call_multiply(plan.multiply, (like, at, n_rows, fan_out, fan_in, 0))
                intercepts_at = element(plan.layers, number * N_FORWARD_FIELDS + 4)
                is_hidden = number < plan.n_layers - 1
                activate_rows(
                    target,
                    n_rows,
                    stride,
                    width,
                    is_hidden,
                    intercepts_at,
                    plan.leak,
                    values,
                    plan.intercepts,
                )
                if is_hidden:
                    source, source_stride = address_of(values, target), stride
                    target = 2 * begin + half - target
            _finish_rows(plan.output, target, n_rows, stride, fan_out, values, first, out)
        plan.sums[thread_idx] = total

    return forward
