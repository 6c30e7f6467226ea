"""How a multi-layer perceptron lies in memory: layers, batches and the arrays that its kernels share.

A layer's weights are (fan_in, fan_out) with the intercepts as one row more, and every row is filled up with zeros to
whole vectors, so that no kernel needs masks: the zeros stay zeros. A matrix of activations or of their errors has a
row for each sample of the batch, filled up likewise.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.gemm import TILE_ROWS
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import VECTOR_BYTES
from fastfit.runtime.simd import element

# Samples that one member takes through the whole network before the next ones: what they leave in cache is still
# there when the activation, and later the layer before, comes to it.
BLOCK_ROWS = max(32, 2 * TILE_ROWS)
# A group of samples that one member has to itself: its losses are then whole vectors of float64.
GROUP_ROWS = 8

N_FIELDS = 10  # of a Layer

SOLVER_NONE = 0  # sums gradients over all batches, for a caller that steps by itself
SOLVER_SGD = 1
SOLVER_ADAM = 2
SOLVER_RMSPROP = 3


class Layer(NamedTuple):
    """One layer's sizes, and where its parts begin in the arrays that all layers share; strides and positions in values."""

    fan_in: int
    fan_out: int
    in_stride: int
    out_stride: int
    parameters_at: int
    transposed_at: int
    input_at: int  # in the activations
    output_at: int
    input_error_at: int  # in the errors; -1 for the first layer, whose input has none
    error_at: int


class Parameters(NamedTuple):
    """What training changes; flat and aligned, of the network's dtype."""

    values: np.ndarray  # (n_parameters,) weights and intercepts of all layers
    transposed: np.ndarray  # (n_transposed,) weights of all layers but the first, (fan_out, fan_in)
    gradients: np.ndarray  # (n_parameters,)
    first: np.ndarray  # (n_parameters,) momentum or Adam's first moment
    second: np.ndarray  # (n_parameters,) Adam's second moment; (0,) but for adam and rmsprop


class Samples(NamedTuple):
    """Training data."""

    X: np.ndarray  # (n_samples * n_features,) of the network's dtype, read-only
    targets: (
        np.ndarray
    )  # (n_samples,) int32 classes, or (n_samples * n_outputs,) of the network's dtype; read-only
    sample_weight: np.ndarray  # (n_samples,) or (0,) float64, read-only
    order: np.ndarray  # (n,) int64 rows, read-only
    rates: np.ndarray  # (1,) or (n_batches,) float64 learning rates, read-only


class Workspace(NamedTuple):
    """Scratch of a team, flat and aligned."""

    activations: np.ndarray  # (batch_size * sum of strides,) of the network's dtype
    errors: (
        np.ndarray
    )  # derivatives of the loss by what enters each neuron, as the activations without the input
    slopes: np.ndarray  # derivatives of the activations, as the errors; (0,) where activations tell them
    outputs: np.ndarray  # (4 * n_threads, room) of the network's dtype, a block's outputs in a row each
    row_losses: np.ndarray  # (batch_size, filled up to whole groups) float64
    unit_sums: np.ndarray  # (2, n_units) float64: squared weights and squared gradients of each unit
    totals: np.ndarray  # (n_threads, 8) float64: the sum of the losses of the epoch


class Plan(NamedTuple):
    """Sizes, and how the work of an update is cut: from the network alone, never from the number of threads."""

    layers: np.ndarray  # (n_layers * N_FIELDS,) int64, read-only
    units: (
        np.ndarray
    )  # (3 * n_units,) int64, read-only: layer, first row and number of rows; intercepts are one row
    unit_starts: np.ndarray  # (n_threads + 1,) int64, read-only: which units each member has
    n_layers: int
    batch_size: int


class Settings(NamedTuple):
    """What a training run is told."""

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


@jit(inline=True, internal=True)
def layer_at(layers, number):
    """Read one layer of a plan."""
    at = number * N_FIELDS
    return Layer(
        element(layers, at),
        element(layers, at + 1),
        element(layers, at + 2),
        element(layers, at + 3),
        element(layers, at + 4),
        element(layers, at + 5),
        element(layers, at + 6),
        element(layers, at + 7),
        element(layers, at + 8),
        element(layers, at + 9),
    )


def lanes_of(itemsize):
    """Number of values of that many bytes in a vector."""
    return VECTOR_BYTES // itemsize
