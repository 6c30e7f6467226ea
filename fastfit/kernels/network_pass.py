"""Samples on their way through a network and back: activations forward, errors backward.

With A the activations of a layer's input, W its weights and b its intercepts, the output is f(A W + b). With D the
errors of the output, those of the input are D W' f'(A), for which W' is kept beside W (Rumelhart, Hinton and Williams,
Nature 323, 1986).

The first hidden layer is shared out by neurons (`enter_columns`, `return_columns`): a member's weights there then are
its own, in its cache, for good. From there on it is by rows (`pass_block`), so members need not meet on the way.

Products, activations and losses are far calls: each is compiled once, and of the activations and losses only those that
are used.
"""

import functools

import numpy as np

from fastfit.kernels.activation import ACTIVATIONS
from fastfit.kernels.gemm import Matrices
from fastfit.kernels.network_plan import (
    BLOCK_ROWS,
    input_at,
    layer_of,
    n_members,
    parameters_of,
    parts_of,
    samples_of,
    settings_of,
    share_of,
    sizes_of,
    whole_groups,
    workspace_of,
)
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import VECTOR_BYTES, lanes
from fastfit.runtime.far_call import make_far_call
from fastfit.runtime.simd import address_of, broadcast, element, load, prefetch, store

_MASK_32 = 0xFFFFFFFF
_LINE_BYTES = 64
_BYTES_AHEAD = 8192  # of X that are on their way: some of them while the rows before are multiplied
_ENTERING_ROWS = (
    128  # of a batch, through the first layer: its weights then come from the second cache less often
)

call_multiply = make_far_call()
call_gather = make_far_call()
_call_advance = make_far_call()
_call_activate = make_far_call()
_call_pull_back = make_far_call()
_call_drop_neurons = make_far_call()
_call_finish_output = make_far_call()


@jit(inline=True, internal=True)
def half_vectors(n, itemsize):
    """Round a number of columns up to halves of vectors: what a product may write where rows are filled up."""
    half = VECTOR_BYTES // 2 // itemsize
    return (n + half - 1) // half * half


@jit(inline=True, internal=True)
def columns_at(table, layer, first_column, n_columns, itemsize):
    """Where the outputs of some of a layer's neurons begin, for all rows of a batch, and the stride of the rows.

    Each member's neurons of the first hidden layer are a matrix of their own, as their parameters are.
    """
    begin = layer.output_at + first_column * sizes_of(table).batch_size
    return begin, whole_groups(n_columns, itemsize)


@jit(internal=True)
def gather_rows(table, like, batch, first, last):
    """Copy rows of X for some samples of a batch to its inputs.

    Rows are asked for some time before they are copied, as their places are random: after the last of these the first
    of the next batch.
    """
    layer, sizes = layer_of(table, 0), sizes_of(table)
    samples, inputs = samples_of(table, like), workspace_of(table, like).inputs
    n_features, n_lanes, line = layer.fan_in, lanes(inputs.dtype), _LINE_BYTES // inputs.itemsize
    whole = n_features // n_lanes * n_lanes
    buffer = batch % 2 if sizes.n_buffers > 1 else 0
    target = (buffer * sizes.batch_size + first) * layer.in_stride
    n_ahead = 1 + _BYTES_AHEAD // (n_features * inputs.itemsize)
    behind, to_next = batch * sizes.batch_size + last, sizes.batch_size - (last - first)
    if sizes.n_buffers == 1:
        to_next = 0  # the rest of the batch comes next
    for i in range(batch * sizes.batch_size + first, behind):
        ahead = i + n_ahead
        if ahead >= behind:
            ahead += to_next
        ahead = element(samples.order, ahead if ahead < len(samples.order) else i) * n_features
        for j in range(0, n_features, line):
            prefetch(samples.X, ahead + j)
        source = element(samples.order, i) * n_features
        for j in range(0, whole, n_lanes):
            store(inputs, target + j, load(samples.X, source + j))
        for j in range(whole, n_features):
            inputs[target + j] = element(samples.X, source + j)
        target += layer.in_stride


@jit(inline=True, internal=True)
def _random_bits(seed, position):
    """A 32-bit hash of a position, by the finalizer of Appleby's MurmurHash3, in an int64 where no bits are lost."""
    bits = (position * 0x9E3779B1 + seed) & _MASK_32
    bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) & _MASK_32
    bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) & _MASK_32
    return bits ^ (bits >> 16)


@jit(internal=True)
def drop_neurons(table, like, number, first, n_rows, first_column, n_columns, update):
    """Drop neurons of a layer's output at random and enlarge the rest: values and slopes of some rows.

    Srivastava et al., "Dropout", JMLR 15, 2014. Whether a neuron is dropped depends on the update and its place alone.
    """
    layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
    activations, slopes = workspace.activations, workspace.slopes
    limit = np.int64(settings.dropout * (_MASK_32 + 1))
    kept = activations.dtype.type(1.0 / (1.0 - settings.dropout))
    dropped = activations.dtype.type(0.0)
    begin, width = columns_at(table, layer, first_column, n_columns, activations.itemsize)
    for i in range(first, first + n_rows):
        at = begin + i * width
        row_seed = _random_bits(_random_bits(settings.seed, update * sizes_of(table).n_layers + number), i)
        for j in range(n_columns):
            factor = dropped if _random_bits(row_seed, first_column + j) < limit else kept
            activations[at + j] *= factor
            slopes[at + j] *= factor


@functools.cache
def make_activation(name):
    """Make ``activate`` and ``pull_back`` of an activation function."""
    apply, pull = ACTIVATIONS[name]

    @jit(internal=True)
    def activate(table, like, number, first, n_rows, first_column, n_columns):
        """Add the intercepts and, unless this is the last layer, apply the activation; keep its slopes if wanted."""
        layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
        is_last = number == sizes_of(table).n_layers - 1
        activations, slopes, values = (
            workspace.activations,
            workspace.slopes,
            parameters_of(table, like).values,
        )
        begin, width = columns_at(table, layer, first_column, n_columns, activations.itemsize)
        intercepts_at = layer.parameters_at + first_column * (layer.fan_in + 1) + layer.fan_in * width
        n_lanes = lanes(activations.dtype)
        one = broadcast(1.0, activations.dtype)
        for i in range(first, first + n_rows):
            row_at = begin + i * width
            for j in range(0, n_columns, n_lanes):
                z = load(activations, row_at + j) + load(values, intercepts_at + j)
                a = z if is_last else apply(z, settings.leak)
                store(activations, row_at + j, a)
                if settings.keeps_slopes and not is_last:
                    store(slopes, row_at + j, pull(one, a, z, settings.leak))

    @jit(internal=True)
    def pull_back(table, like, number, first, n_rows, first_column, n_columns):
        """Multiply the errors of a layer's output by the slopes of its activations."""
        layer, settings, workspace = layer_of(table, number), settings_of(table), workspace_of(table, like)
        activations, errors, slopes = workspace.activations, workspace.errors, workspace.slopes
        n_lanes = lanes(activations.dtype)
        begin, width = columns_at(table, layer, first_column, n_columns, activations.itemsize)
        for i in range(first, first + n_rows):
            for j in range(0, n_columns, n_lanes):
                at = begin + i * width + j
                error = load(errors, at)
                if settings.keeps_slopes:
                    error = error * load(slopes, at)
                else:
                    a = load(activations, at)
                    error = pull(error, a, a, settings.leak)
                store(errors, at, error)

    return activate, pull_back


@jit(internal=True)
def advance(table, like, number, source, first, n_rows, first_column, n_columns, update):
    """Compute the outputs of some of a layer's neurons for some rows.

    The inputs are at an address; for the second layer they are where the members have them.
    """
    values, activations = parameters_of(table, like).values, workspace_of(table, like).activations
    parts, layer, size = parts_of(table), layer_of(table, number), activations.itemsize
    begin, width = columns_at(table, layer, first_column, n_columns, size)
    weights_at = layer.parameters_at + first_column * (layer.fan_in + 1)
    target, n_halves = address_of(activations, begin + first * width), half_vectors(n_columns, size)
    if number == 1:
        for member in range(n_members(table)):
            _, _, low, high = share_of(table, member)
            if high > low:
                begin, stride = columns_at(table, layer_of(table, 0), low, high - low, size)
                source = address_of(activations, begin + first * stride)
                weights = address_of(values, weights_at + low * width)
                at = Matrices(source, stride, 1, weights, width, target, width, size)
                call_multiply(parts.multiply, (like, at, n_rows, n_halves, high - low, low))
    else:
        weights = address_of(values, weights_at)
        at = Matrices(source, layer.in_stride, 1, weights, width, target, width, size)
        call_multiply(parts.multiply, (like, at, n_rows, n_halves, layer.fan_in, 0))
    _call_activate(parts.activate, (table, like, number, first, n_rows, first_column, n_columns))
    if settings_of(table).dropout > 0.0 and number < sizes_of(table).n_layers - 1:
        _call_drop_neurons(
            parts.drop_neurons, (table, like, number, first, n_rows, first_column, n_columns, update)
        )


@jit(inline=True, internal=True)
def _retreat(table, like, number, first, n_rows, first_column, n_columns):
    """Compute the errors of some of a layer's neurons for some rows, from those of the following layer."""
    parameters, errors = parameters_of(table, like), workspace_of(table, like).errors
    parts, layer, following = parts_of(table), layer_of(table, number), layer_of(table, number + 1)
    size = errors.itemsize
    begin, width = columns_at(table, layer, first_column, n_columns, size)
    source = address_of(errors, following.output_at + first * following.out_stride)
    weights = address_of(parameters.transposed, following.transposed_at + first_column)
    target = address_of(errors, begin + first * width)
    at = Matrices(source, following.out_stride, 1, weights, layer.out_stride, target, width, size)
    call_multiply(parts.multiply, (like, at, n_rows, half_vectors(n_columns, size), following.fan_out, 0))
    _call_pull_back(parts.pull_back, (table, like, number, first, n_rows, first_column, n_columns))


@jit(internal=True)
def enter_columns(table, like, batch, batch_rows, first_column, last_column, update):
    """Compute the outputs of some neurons of the first hidden layer for all rows of a batch.

    A member alone fetches the rows itself, some at a time.
    """
    advance_at, n_columns = parts_of(table).advance, last_column - first_column
    for first in range(0, batch_rows, BLOCK_ROWS):
        n_rows = BLOCK_ROWS if batch_rows - first >= BLOCK_ROWS else batch_rows - first
        if sizes_of(table).n_buffers == 1:
            call_gather(parts_of(table).gather, (table, like, batch, first, first + n_rows))
        if n_columns > 0:
            source = input_at(table, like, batch, first)
            _call_advance(
                advance_at, (table, like, 0, source, first, n_rows, first_column, n_columns, update)
            )


@jit(inline=True, internal=True)
def return_columns(table, like, batch_rows, first_column, last_column):
    """Compute the errors of some neurons of the first hidden layer for all rows of a batch."""
    for first in range(0, batch_rows, BLOCK_ROWS):
        n_rows = BLOCK_ROWS if batch_rows - first >= BLOCK_ROWS else batch_rows - first
        # A literal would be a type of its own, and compiled for itself.
        _retreat(table, like, np.int64(0), first, n_rows, first_column, last_column - first_column)


@jit(internal=True)
def pass_block(table, like, first, n_rows, batch, update, thread_idx):
    """Take some rows of a batch on from the first hidden layer, or from the input where there is none, and back.

    Their activations, weighted losses, and errors of all layers but the first hidden one are in the workspace then.
    """
    sizes, workspace, parts = sizes_of(table), workspace_of(table, like), parts_of(table)
    n_layers = sizes.n_layers
    for number in range(1 if n_layers > 1 else 0, n_layers):
        layer = layer_of(table, number)
        if number > 0:
            source = address_of(workspace.activations, layer.input_at + first * layer.in_stride)
        else:
            source = input_at(table, like, batch, first)
        _call_advance(parts.advance, (table, like, number, source, first, n_rows, 0, layer.fan_out, update))
    batch_first = batch * sizes.batch_size
    _call_finish_output(parts.finish_output, (table, like, first, n_rows, batch_first, thread_idx))
    for step in range(n_layers - 2):
        number = n_layers - 2 - step
        _retreat(table, like, number, first, n_rows, np.int64(0), layer_of(table, number).fan_out)
