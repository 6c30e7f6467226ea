"""A block of samples on its way through a network and back: activations forward, errors backward (Rumelhart et al., 1986).

With A the activations of a layer's input, W its weights and b its intercepts, the output is f(A W + b). With D the errors
of the output, those of the input are D W' f'(A), for which W' is kept beside W. A block touches nothing but its own
rows, so members of a team need not meet on the way.
"""

import functools

import numpy as np

from fastfit.kernels.activation import ACTIVATIONS, NEED_INPUT
from fastfit.kernels.gemm import Matrices, gemm_at
from fastfit.kernels.network_plan import layer_at
from fastfit.kernels.output_loss import OUTPUTS
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.simd import address_of, broadcast, element, load, prefetch, store

_MASK_32 = 0xFFFFFFFF
_LINE_BYTES = 64


@jit(internal=True)
def _gather_rows(block, batch_rows, layer, samples, activations):
    """Copy a block's rows of X into the batch, and ask for the rows that take their place in the next batch."""
    first, n_rows, batch_first = block
    n_features = layer.fan_in
    n_lanes = lanes(activations.dtype)
    whole = n_features // n_lanes * n_lanes
    for i in range(first, first + n_rows):
        source = element(samples.order, batch_first + i) * n_features
        target = layer.input_at + i * layer.in_stride
        for j in range(0, whole, n_lanes):
            store(activations, target + j, load(samples.X, source + j))
        for j in range(whole, n_features):
            activations[target + j] = element(samples.X, source + j)
        if batch_first + batch_rows + i < len(samples.order):
            ahead = element(samples.order, batch_first + batch_rows + i) * n_features
            for j in range(0, n_features, _LINE_BYTES // activations.itemsize):
                prefetch(samples.X, ahead + j)


@jit(inline=True, internal=True)
def _random_bits(seed, position):
    """A 32-bit hash of a position, by the finalizer of Appleby's MurmurHash3, in an int64 where no bits are lost."""
    bits = (position * 0x9E3779B1 + seed) & _MASK_32
    bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) & _MASK_32
    bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) & _MASK_32
    return bits ^ (bits >> 16)


@jit(internal=True)
def drop_neurons(first, n_rows, number, seed, layer, dropout, workspace):
    """Drop neurons of some rows at random and enlarge the rest (Srivastava et al., JMLR 15, 2014): values and slopes."""
    activations, slopes = workspace.activations, workspace.slopes
    limit = np.int64(dropout * (_MASK_32 + 1))
    kept = activations.dtype.type(1.0 / (1.0 - dropout))
    dropped = activations.dtype.type(0.0)
    for i in range(first, first + n_rows):
        at, error_at = layer.output_at + i * layer.out_stride, layer.error_at + i * layer.out_stride
        row_seed = _random_bits(_random_bits(seed, number), i)
        for j in range(layer.fan_out):
            factor = dropped if _random_bits(row_seed, j) < limit else kept
            activations[at + j] *= factor
            slopes[error_at + j] *= factor


@jit(internal=True)
def multiply_weights(like, values_address, target_address, layer, parameters, n_rows):
    """A block's input times the weights of a layer."""
    size = parameters.values.itemsize
    weights = address_of(parameters.values, layer.parameters_at)
    at = Matrices(
        values_address, layer.in_stride, 1, weights, layer.out_stride, target_address, layer.out_stride, size
    )
    gemm_at(like, at, n_rows, layer.out_stride, layer.fan_in, 0)


@functools.cache
def make_pass(activation, output, loss):
    """Make ``pass_block(block, batch_rows, update, samples, parameters, workspace, plan, settings, scratch)``.

    It takes the rows of a block, ``(first, n_rows, batch_first)``, through the network and back: their activations and
    errors, and the loss of each, weighted, are in the workspace afterwards.
    """
    apply, pull = ACTIVATIONS[activation]
    needs_input = activation in NEED_INPUT
    finish_output, kind = OUTPUTS[output, loss]

    @jit(internal=True)
    def activate(first, n_rows, layer, is_last, keeps_slopes, leak, parameters, workspace):
        """Add the intercepts and apply the activation, unless this is the last layer."""
        activations, values, slopes = workspace.activations, parameters.values, workspace.slopes
        dtype = activations.dtype
        intercepts_at = layer.parameters_at + layer.fan_in * layer.out_stride
        n_lanes = lanes(dtype)
        one = broadcast(1.0, dtype)
        for i in range(first, first + n_rows):
            at, error_at = layer.output_at + i * layer.out_stride, layer.error_at + i * layer.out_stride
            for j in range(0, layer.out_stride, n_lanes):
                z = load(activations, at + j) + load(values, intercepts_at + j)
                if is_last:
                    store(activations, at + j, z)
                else:
                    a = apply(z, leak)
                    store(activations, at + j, a)
                    if keeps_slopes:
                        store(slopes, error_at + j, pull(one, a, z, leak))

    @jit(internal=True)
    def pull_back(first, n_rows, layer, keeps_slopes, leak, workspace):
        """Multiply the errors of a layer's input by the derivatives of its activations."""
        activations, errors, slopes = workspace.activations, workspace.errors, workspace.slopes
        n_lanes = lanes(activations.dtype)
        for k in range(first * layer.in_stride, (first + n_rows) * layer.in_stride, n_lanes):
            error = load(errors, layer.input_error_at + k)
            if keeps_slopes:
                error = error * load(slopes, layer.input_error_at + k)
            else:
                a = load(activations, layer.input_at + k)
                error = pull(error, a, a, leak)
            store(errors, layer.input_error_at + k, error)

    @jit(internal=True)
    def pass_block(block, batch_rows, update, samples, parameters, workspace, plan, settings, scratch):
        first, n_rows, _ = block
        activations, errors = workspace.activations, workspace.errors
        like, size = parameters.values[0], parameters.values.itemsize
        keeps_slopes = needs_input or settings.dropout > 0.0
        layer = layer_at(plan.layers, 0)
        _gather_rows(block, batch_rows, layer, samples, activations)
        for number in range(plan.n_layers):
            layer = layer_at(plan.layers, number)
            source = address_of(activations, layer.input_at + first * layer.in_stride)
            target = address_of(activations, layer.output_at + first * layer.out_stride)
            multiply_weights(like, source, target, layer, parameters, n_rows)
            is_last = number == plan.n_layers - 1
            activate(first, n_rows, layer, is_last, keeps_slopes, settings.leak, parameters, workspace)
            if settings.dropout > 0.0 and not is_last:
                drop_neurons(
                    first,
                    n_rows,
                    update * plan.n_layers + number,
                    settings.seed,
                    layer,
                    settings.dropout,
                    workspace,
                )
        finish_output(block, layer, layer.fan_out, kind, samples, workspace, scratch)
        for number in range(plan.n_layers - 1, 0, -1):
            layer = layer_at(plan.layers, number)
            source = address_of(errors, layer.error_at + first * layer.out_stride)
            weights = address_of(parameters.transposed, layer.transposed_at)
            target = address_of(errors, layer.input_error_at + first * layer.in_stride)
            at = Matrices(
                source, layer.out_stride, 1, weights, layer.in_stride, target, layer.in_stride, size
            )
            gemm_at(like, at, n_rows, layer.in_stride, layer.fan_out, 0)
            pull_back(first, n_rows, layer, keeps_slopes, settings.leak, workspace)

    return pass_block
