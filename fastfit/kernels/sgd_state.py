"""What stochastic gradient descent reads, changes and is told: the types shared by its kernels.

Hyperparameters and arrays travel in NamedTuples, each field of one fixed type, so that one compilation serves every
setting. The scalars that an epoch changes live in one float64 vector, at the positions named below.
"""

from typing import NamedTuple

import numpy as np

PENALTY_NONE, PENALTY_L1, PENALTY_L2, PENALTY_ELASTICNET = 0, 1, 2, 3
RATE_CONSTANT, RATE_OPTIMAL, RATE_INVSCALING, RATE_ADAPTIVE, RATE_PA1, RATE_PA2 = 1, 2, 3, 4, 5, 6
OPTIMIZER_SGD, OPTIMIZER_ADAM = 0, 1
STATUS_RUNNING, STATUS_CONVERGED, STATUS_OVERFLOW, STATUS_STOPPED = 0, 1, 2, 3

(
    INTERCEPT,
    AVERAGE_INTERCEPT,
    SCALE,  # the weights are SCALE * coef
    SQUARED_NORM,
    L1_NORM,
    AVERAGE_SLOPE,  # the averaged weights are (averaged + AVERAGE_SLOPE * coef) / AVERAGE_SCALE
    AVERAGE_SCALE,
    L1_CREDIT,  # the L1 penalty that every weight should have received by now
    STEP_COUNT,  # number of the next update, from 1
    RATE,  # step size of the constant and adaptive schedules
    OPTIMAL_START,  # t0 of the optimal schedule 1 / (alpha (t0 + t - 1))
    STABLE_STEP,  # steps up to this one do not magnify rounding errors; 0 before it is known
    BEST_OBJECTIVE,
    N_NO_CHANGE,
    LOSS,  # mean loss of the last epoch
    OBJECTIVE,  # the same with the mean penalty
    N_EPOCHS,
    STATUS,
    N_SCALARS,
) = range(19)

# The gradient of a loss is clipped here, as in scikit-learn, so that one wild sample does not overflow the weights.
MAX_GRADIENT = 1e12


class Samples(NamedTuple):
    """Training data, read only."""

    X: np.ndarray  # (n_samples * n_features,) float32 | float64, row after row
    n_features: int
    y: np.ndarray  # (n_samples,) of X's dtype
    weight: np.ndarray  # (n_samples,) of X's dtype; (0,) where every sample weighs one
    held_out: np.ndarray  # (n_samples,) bool, rows that are not trained on; (0,) where there are none


class LinearModel(NamedTuple):
    """What an epoch changes."""

    coef: np.ndarray  # (more than n_features,) of X's dtype, zeros behind the weights
    l1_paid: np.ndarray  # (n_features,) L1 penalty that each weight has received; (0,) without one
    averaged: np.ndarray  # (n_features,) running average; (0,) without averaging
    scalars: np.ndarray  # (N_SCALARS,) float64


class SGDOptions(NamedTuple):
    """Hyperparameters."""

    loss: int
    loss_parameter: float
    loss_curvature: float  # largest second derivative of the loss
    penalty: int
    alpha: float
    l1_ratio: float
    learning_rate: int
    eta0: float
    power_t: float
    fit_intercept: int
    average: int
    weight_pos: float
    weight_neg: float
    tol: float
    n_iter_no_change: int
    tracks_objective: int
    batch_size: int
    optimizer: int
    momentum: float
    nesterov: int
    beta_1: float
    beta_2: float
    adam_epsilon: float
