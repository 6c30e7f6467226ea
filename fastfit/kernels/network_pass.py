"""A block of samples on its way through a network and back: activations forward, errors backward.

With A the activations of a layer's input, W its weights and b its intercepts, the output is f(A W + b). With D the
errors of the output, those of the input are D W' f'(A), for which W' is kept beside W (Rumelhart, Hinton and Williams,
Nature 323, 1986). A block touches nothing but its own rows, so members of a team need not meet on the way.

Products, activations and losses are far calls: each is compiled once, and of the activations and losses only those that
are used.
"""

import functools

import numpy as np

from fastfit.kernels.activation import ACTIVATIONS
from fastfit.kernels.gemm import Matrices
from fastfit.kernels.network_plan import (
    layer_of,
    parameters_of,
    parts_of,
    samples_of,
    settings_of,
    sizes_of,
    workspace_of,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import lanes
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.simd import address_of, broadcast, element, load, prefetch, store

_MASK_32 = 0xFFFFFFFF
_LINE_BYTES = 64

call_multiply = make_far_call()
_call_activate = make_far_call()
_call_pull_back = make_far_call()
_call_drop_neurons = make_far_call()
_call_finish_output = make_far_call()


@jit(inline=True, internal=True)
def _gather_rows(first, last, batch_first, layer, samples, activations):
    """Copy rows of X into the batch."""
    n_features = layer.fan_in
    n_lanes = lanes(activations.dtype)
    whole = n_features // n_lanes * n_lanes
    for i in range(first, last):
        source = element(samples.order, batch_first + i) * n_features
        target = layer.input_at + i * layer.in_stride
        for j in range(0, whole, n_lanes):
            store(activations, target + j, load(samples.X, source + j))
        for j in range(whole, n_features):
            activations[target + j] = element(samples.X, source + j)


@jit(inline=True, internal=True)
def _request_rows(first, last, n_features, samples):
    """Ask for the rows of X at some places of the order, as far as it goes: they arrive while others are computed."""
    if last > len(samples.order):
        last = len(samples.order)
    for i in range(first, last):
        source = element(samples.order, i) * n_features
        for j in range(0, n_features, _LINE_BYTES // samples.X.itemsize):
            prefetch(samples.X, source + j)


@jit(inline=True, internal=True)
def _random_bits(seed, position):
    """A 32-bit hash of a position, by the finalizer of Appleby's MurmurHash3, in an int64 where no bits are lost."""
    bits = (position * 0x9E3779B1 + seed) & _MASK_32
    bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) & _MASK_32
    bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) & _MASK_32
    return bits ^ (bits >> 16)


@jit(internal=True)
def drop_neurons(table, like, number, first, n_rows, update):
    """Drop neurons of a layer's output at random and enlarge the rest: values and slopes of some rows.

    Srivastava et al., "Dropout", JMLR 15, 2014. Whether a neuron is dropped depends on the update and its place alone.
    """
    layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
    activations, slopes = workspace.activations, workspace.slopes
    limit = np.int64(settings.dropout * (_MASK_32 + 1))
    kept = activations.dtype.type(1.0 / (1.0 - settings.dropout))
    dropped = activations.dtype.type(0.0)
    for i in range(first, first + n_rows):
        at, error_at = layer.output_at + i * layer.out_stride, layer.error_at + i * layer.out_stride
        row_seed = _random_bits(_random_bits(settings.seed, update * sizes_of(table).n_layers + number), i)
        for j in range(layer.fan_out):
            factor = dropped if _random_bits(row_seed, j) < limit else kept
            activations[at + j] *= factor
            slopes[error_at + j] *= factor


@functools.cache
def make_activation(name):
    """Make ``activate`` and ``pull_back`` of an activation function."""
    apply, pull = ACTIVATIONS[name]

    @jit(internal=True)
    def activate(table, like, number, first, n_rows):
        """Add the intercepts and, unless this is the last layer, apply the activation; keep its slopes if wanted."""
        layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
        is_last = number == sizes_of(table).n_layers - 1
        values, activations, slopes = (
            parameters_of(table, like).values,
            workspace.activations,
            workspace.slopes,
        )
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
                    a = apply(z, settings.leak)
                    store(activations, at + j, a)
                    if settings.keeps_slopes:
                        store(slopes, error_at + j, pull(one, a, z, settings.leak))

    @jit(internal=True)
    def pull_back(table, like, number, first, n_rows):
        """Multiply the errors of a layer's input by the slopes of its activations."""
        layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
        activations, errors, slopes = workspace.activations, workspace.errors, workspace.slopes
        n_lanes = lanes(activations.dtype)
        for k in range(first * layer.in_stride, (first + n_rows) * layer.in_stride, n_lanes):
            error = load(errors, layer.input_error_at + k)
            if settings.keeps_slopes:
                error = error * load(slopes, layer.input_error_at + k)
            else:
                a = load(activations, layer.input_at + k)
                error = pull(error, a, a, settings.leak)
            store(errors, layer.input_error_at + k, error)

    return activate, pull_back


@jit(internal=True)
def pass_block(table, like, first, n_rows, batch_first, ahead, update, thread_idx):
    """Take some rows of a batch through the network and back.

    Their activations, errors and weighted losses are in the workspace afterwards. Meanwhile as many rows are asked for
    that this member needs next, from `ahead` in the order, some before each product: all at once they would hold up
    everything else, and much earlier they would be out of the cache again.
    """
    parameters, samples, workspace = (
        parameters_of(table, like),
        samples_of(table, like),
        workspace_of(table, like),
    )
    n_layers, parts, size = sizes_of(table).n_layers, parts_of(table), parameters.values.itemsize
    activations, errors = workspace.activations, workspace.errors
    has_dropout = settings_of(table).dropout > 0.0
    input_layer = layer_of(table, 0)
    _gather_rows(first, first + n_rows, batch_first, input_layer, samples, activations)
    last_ahead = ahead + n_rows
    n_asked = n_rows // (2 * n_layers - 1) + 1
    for turn in range(2 * n_layers - 1):
        number = turn if turn < n_layers else 2 * n_layers - 1 - turn
        layer = layer_of(table, number)
        until = ahead + n_asked if ahead + n_asked < last_ahead else last_ahead
        _request_rows(ahead, until, input_layer.fan_in, samples)
        ahead = until
        if turn < n_layers:
            width, depth = layer.out_stride, layer.fan_in
            source = address_of(activations, layer.input_at + first * layer.in_stride)
            weights = address_of(parameters.values, layer.parameters_at)
            target = address_of(activations, layer.output_at + first * layer.out_stride)
            at = Matrices(source, layer.in_stride, 1, weights, width, target, width, size)
        else:
            width, depth = layer.in_stride, layer.fan_out
            source = address_of(errors, layer.error_at + first * layer.out_stride)
            weights = address_of(parameters.transposed, layer.transposed_at)
            target = address_of(errors, layer.input_error_at + first * layer.in_stride)
            at = Matrices(source, layer.out_stride, 1, weights, width, target, width, size)
        call_multiply(parts.multiply, (like, at, n_rows, width, depth, 0))
        if turn >= n_layers:
            _call_pull_back(parts.pull_back, (table, like, number, first, n_rows))
        else:
            _call_activate(parts.activate, (table, like, number, first, n_rows))
        if has_dropout and turn < n_layers - 1:
            _call_drop_neurons(parts.drop_neurons, (table, like, number, first, n_rows, update))
        if turn == n_layers - 1:
            _call_finish_output(parts.finish_output, (table, like, first, n_rows, batch_first, thread_idx))
