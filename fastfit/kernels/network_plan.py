"""How a multi-layer perceptron lies in memory: layers, batches, and the arrays that its kernels share.

A layer's weights are (fan_in, fan_out) with the intercepts as one row more, and every row is filled up with zeros to
whole vectors, so that hardly a kernel needs masks: the zeros stay zeros. A matrix of activations or of their errors has
a row for each sample of the batch, filled up likewise. Members of a team share out neurons by whole cache lines.

All arrays are in one table of addresses (`fastfit.runtime.address_table`), in the order of the constants below.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.gemm import TILE_ROWS
from fastfit.runtime.address_table import array_at
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import address_of, element

# Samples that one member takes through the whole network before the next ones: what they leave in cache is still
# there when the activation, and later the layer before, comes to it.
BLOCK_ROWS = max(32, 2 * TILE_ROWS)
# A group of samples that one member has to itself: its losses are then whole vectors of float64.
GROUP_ROWS = 8
# Neurons are shared out in groups whose values fill a cache line, so that no line is written by two members. Nor may
# one member's lines lie between another's: cores fetch ahead, and moving parameters in rows that two members share took
# five times as long. So the parameters of each member's neurons of the first hidden layer are a matrix of their own.
GROUP_BYTES = 64
# Bytes of parameters that are updated together, while their gradients are in the first cache.
UNIT_BYTES = 8192

SOLVER_NONE = 0  # sums gradients over all batches, for a caller that steps by itself
SOLVER_SGD = 1
SOLVER_ADAM = 2
SOLVER_RMSPROP = 3


class Table(NamedTuple):
    """The arrays of a training run, flat; of the network's dtype where nothing else is said."""

    values: np.ndarray  # (n_parameters,) weights and intercepts of all layers
    transposed: np.ndarray  # (n_transposed,) weights of all layers but the first, (fan_out, fan_in)
    gradients: np.ndarray  # (n_parameters + n_threads * scratch_size,) and scratch of each member
    first: np.ndarray  # (n_parameters,) momentum or Adam's first moment
    second: np.ndarray  # (n_parameters,) Adam's second moment; (0,) but for adam and rmsprop
    X: np.ndarray  # (n_samples * n_features,)
    targets: np.ndarray  # (n_samples,) int32 classes for softmax, else (n_samples * n_outputs,)
    sample_weight: np.ndarray  # (n_samples,) or (0,) float64
    order: np.ndarray  # (n,) int64 rows
    rates: np.ndarray  # (1,) or (n_batches,) float64 learning rates
    # (n_buffers * batch_size * stride of the input,) rows of X; two buffers for several members, which take turns.
    inputs: np.ndarray
    activations: np.ndarray  # (batch_size * sum of the strides of all outputs,)
    errors: np.ndarray  # derivatives of the loss by what enters each neuron, as the activations
    slopes: np.ndarray  # derivatives of the activations, as the errors; (0,) where activations tell them
    outputs: np.ndarray  # (n_threads * 3 * room,) a block's outputs, targets and losses side by side
    row_losses: np.ndarray  # (batch_size, filled up to whole groups) float64
    penalties: (
        np.ndarray
    )  # (n_parameters,) what weights add to the loss by their squares, noted for groups of rows
    squares: np.ndarray  # (n_slots,) float64: squared gradients, of a group of neurons or of a row of weights
    totals: np.ndarray  # (1,) float64: the sum of the losses of the epoch
    layers: np.ndarray  # (n_layers * fields of a Layer,) int64
    units: np.ndarray  # (n_units * fields of a Unit,) int64
    unit_starts: np.ndarray  # (n_threads + 1,) int64: which units each member has
    column_starts: np.ndarray  # (n_threads + 1,) int64: which neurons of the first layer each has
    settings: np.ndarray  # (fields of Settings,) float64
    sizes: np.ndarray  # (fields of Sizes,) int64
    parts: np.ndarray  # (fields of Parts,) int64


(
    _VALUES,
    _TRANSPOSED,
    _GRADIENTS,
    _FIRST,
    _SECOND,
    _X,
    _TARGETS,
    _SAMPLE_WEIGHT,
    _ORDER,
    _RATES,
    _INPUTS,
    _ACTIVATIONS,
    _ERRORS,
    _SLOPES,
    _OUTPUTS,
    _ROW_LOSSES,
    _PENALTIES,
    _SQUARES,
    _TOTALS,
    _LAYERS,
    _UNITS,
    _UNIT_STARTS,
    _COLUMN_STARTS,
    _SETTINGS,
    _SIZES,
    _PARTS,
) = range(len(Table._fields))
TARGETS = _TARGETS  # whose dtype depends on the loss


class Layer(NamedTuple):
    """One layer's sizes, and where its parts begin in the arrays that all layers share; all in values."""

    fan_in: int
    fan_out: int
    in_stride: int
    out_stride: int
    parameters_at: int
    transposed_at: int
    input_at: int  # in the activations, errors and slopes; -1 for the first layer, whose input stands apart
    output_at: int


N_FIELDS = len(Layer._fields)


class Unit(NamedTuple):
    """Parameters of a layer that one member updates together: some rows and columns, the intercepts being one row."""

    layer: int
    first_row: int
    n_rows: int
    first_column: int
    n_columns: int
    at: int  # where the first of its parameters is
    stride: int  # of their rows
    scratch_at: (
        int  # of its gradients, in a member's scratch: a layer has one place, so the ends of rows stay zero
    )


N_UNIT_FIELDS = len(Unit._fields)


class Sizes(NamedTuple):
    """Numbers of things."""

    n_layers: int
    batch_size: int
    room: int  # for a block's outputs
    scratch_at: int  # where the gradients end
    scratch_size: int
    n_buffers: int  # of inputs; 0 where batches are neighbouring rows of X, and are read where they lie


class Settings(NamedTuple):
    """What a training run is told; kept as float64."""

    solver: int
    alpha: float  # L2 penalty, divided by the weight of a batch
    weight_decay: float
    momentum: float
    nesterov: int
    beta_1: float
    beta_2: float
    epsilon: float
    clip_norm: float  # 0: no limit
    dropout: float  # probability
    seed: int
    n_updates: int  # before this epoch
    leak: float  # slope of the activation below 0, where it has one
    keeps_slopes: int  # 1: where activations do not tell their own slopes


class Parts(NamedTuple):
    """Addresses of the kernels that a network's training is made of; 0 for what it does not need."""

    multiply: int  # gemm_at
    activate: int
    pull_back: int
    drop_neurons: int
    finish_output: int
    gather: int
    advance: int
    enter: int
    pass_block: int
    update_units: int
    move: int
    penalize: int
    square_gradients: int


class Parameters(NamedTuple):
    """What training changes: see `Table`."""

    values: np.ndarray
    transposed: np.ndarray
    gradients: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Samples(NamedTuple):
    """Training data but for the targets: see `Table`."""

    X: np.ndarray
    sample_weight: np.ndarray
    order: np.ndarray
    rates: np.ndarray


class Workspace(NamedTuple):
    """Scratch of a team: see `Table`."""

    inputs: np.ndarray
    activations: np.ndarray
    errors: np.ndarray
    slopes: np.ndarray
    outputs: np.ndarray
    row_losses: np.ndarray
    penalties: np.ndarray
    squares: np.ndarray
    totals: np.ndarray


@jit(inline=True, internal=True)
def parameters_of(table, like):
    """The parameters in a table; `like` is any scalar of the network's dtype."""
    return Parameters(
        array_at(table, _VALUES, like),
        array_at(table, _TRANSPOSED, like),
        array_at(table, _GRADIENTS, like),
        array_at(table, _FIRST, like),
        array_at(table, _SECOND, like),
    )


@jit(inline=True, internal=True)
def samples_of(table, like):
    """The samples in a table."""
    return Samples(
        array_at(table, _X, like),
        array_at(table, _SAMPLE_WEIGHT, np.float64),
        array_at(table, _ORDER, np.int64),
        array_at(table, _RATES, np.float64),
    )


@jit(inline=True, internal=True)
def workspace_of(table, like):
    """The scratch in a table."""
    return Workspace(
        array_at(table, _INPUTS, like),
        array_at(table, _ACTIVATIONS, like),
        array_at(table, _ERRORS, like),
        array_at(table, _SLOPES, like),
        array_at(table, _OUTPUTS, like),
        array_at(table, _ROW_LOSSES, np.float64),
        array_at(table, _PENALTIES, like),
        array_at(table, _SQUARES, np.float64),
        array_at(table, _TOTALS, np.float64),
    )


@jit(inline=True, internal=True)
def share_of(table, thread_idx):
    """The member's units as the first and the one behind the last, and its neurons of the first layer likewise."""
    units, columns = array_at(table, _UNIT_STARTS, np.int64), array_at(table, _COLUMN_STARTS, np.int64)
    return (
        element(units, thread_idx),
        element(units, thread_idx + 1),
        element(columns, thread_idx),
        element(columns, thread_idx + 1),
    )


@jit(inline=True, internal=True)
def n_members(table):
    """How many share the work."""
    return len(array_at(table, _UNIT_STARTS, np.int64)) - 1


@jit(inline=True, internal=True)
def unit_of(table, number):
    """A unit of parameters."""
    a = array_at(table, _UNITS, np.int64)
    at = number * N_UNIT_FIELDS
    return Unit(
        element(a, at),
        element(a, at + 1),
        element(a, at + 2),
        element(a, at + 3),
        element(a, at + 4),
        element(a, at + 5),
        element(a, at + 6),
        element(a, at + 7),
    )


@jit(inline=True, internal=True)
def whole_groups(n_neurons, itemsize):
    """Round a number of neurons up to whole groups."""
    return (n_neurons * itemsize + GROUP_BYTES - 1) // GROUP_BYTES * (GROUP_BYTES // itemsize)


@jit(inline=True, internal=True)
def sizes_of(table):
    """The numbers of things."""
    a = array_at(table, _SIZES, np.int64)
    return Sizes(
        element(a, 0),
        element(a, 1),
        element(a, 2),
        element(a, 3),
        element(a, 4),
        element(a, 5),
    )


@jit(inline=True, internal=True)
def input_at(table, like, batch, row):
    """The address of a row of a batch's input."""
    sizes = sizes_of(table)
    stride = layer_of(table, 0).in_stride
    if sizes.n_buffers == 0:
        return address_of(samples_of(table, like).X, (batch * sizes.batch_size + row) * stride)
    buffer = batch % 2 if sizes.n_buffers > 1 else 0
    return address_of(workspace_of(table, like).inputs, (buffer * sizes.batch_size + row) * stride)


@jit(inline=True, internal=True)
def parts_of(table):
    """The addresses of kernels."""
    a = array_at(table, _PARTS, np.int64)
    return Parts(
        element(a, 0),
        element(a, 1),
        element(a, 2),
        element(a, 3),
        element(a, 4),
        element(a, 5),
        element(a, 6),
        element(a, 7),
        element(a, 8),
        element(a, 9),
        element(a, 10),
        element(a, 11),
        element(a, 12),
    )


@jit(inline=True, internal=True)
def settings_of(table):
    """The settings."""
    a = array_at(table, _SETTINGS, np.float64)
    return Settings(
        np.int64(element(a, 0)),
        element(a, 1),
        element(a, 2),
        element(a, 3),
        np.int64(element(a, 4)),
        element(a, 5),
        element(a, 6),
        element(a, 7),
        element(a, 8),
        element(a, 9),
        np.int64(element(a, 10)),
        np.int64(element(a, 11)),
        element(a, 12),
        np.int64(element(a, 13)),
    )


@jit(inline=True, internal=True)
def layer_of(table, number):
    """A layer."""
    a = array_at(table, _LAYERS, np.int64)
    at = number * N_FIELDS
    return Layer(
        element(a, at),
        element(a, at + 1),
        element(a, at + 2),
        element(a, at + 3),
        element(a, at + 4),
        element(a, at + 5),
        element(a, at + 6),
        element(a, at + 7),
    )
