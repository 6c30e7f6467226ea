"""Stochastic gradient descent of one linear model over prepared arrays: buffers, epochs, stopping, reports."""

import sys
import time
from typing import NamedTuple

import numpy as np

from fastfit.kernels.minibatch_sgd import (
    CHUNK_ROWS,
    BatchBuffers,
    OptimizerMemory,
    train_epochs_in_batches,
)
from fastfit.kernels.sgd import BLOCK_SIZE, Block, train_epochs
from fastfit.kernels.sgd_schedule import track_convergence
from fastfit.kernels.sgd_state import (
    AVERAGE_INTERCEPT,
    AVERAGE_SCALE,
    AVERAGE_SLOPE,
    BEST_OBJECTIVE,
    INTERCEPT,
    L1_NORM,
    LOSS,
    N_EPOCHS,
    N_SCALARS,
    OBJECTIVE,
    OPTIMIZER_ADAM,
    PENALTY_ELASTICNET,
    PENALTY_L1,
    RATE,
    SCALE,
    SQUARED_NORM,
    STATUS,
    STATUS_CONVERGED,
    STATUS_OVERFLOW,
    STATUS_RUNNING,
    STEP_COUNT,
    LinearModel,
    Samples,
)
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.memory import aligned_zeros, whole_lines
from fastfit.runtime.threads import run_team, thread_budget

# Epochs that one call of a kernel trains when nobody asks to see the model in between.
EPOCHS_PER_CALL = 1000
# A batch smaller than this is not worth two meetings of a team.
MIN_BATCH_BYTES_PER_THREAD = 1 << 15
# Nanoseconds for one value of X, and how many of them make a fit that a user may want to interrupt.
VALUE_NANOSECONDS = 0.5
LONG_NANOSECONDS = 5e7


class Start(NamedTuple):
    """Where the descent begins; its arrays are copied, never changed."""

    coef: np.ndarray  # (n_features,)
    intercept: float
    averaged: np.ndarray | None  # (n_features,); None without averaging
    average_intercept: float
    step_number: float  # of the next update, from 1
    memory: OptimizerMemory | None  # of an earlier fit that goes on


class Outcome(NamedTuple):
    """Where the descent ended."""

    coef: np.ndarray
    intercept: float
    averaged: np.ndarray | None
    average_intercept: float
    n_epochs: int
    objectives: np.ndarray  # (n_epochs,) mean objective of each epoch
    scores: list  # of the validation set, one for each epoch; empty without one
    step_number: float
    memory: OptimizerMemory | None


def descend(
    X, y, sample_weight, held_out, start, options, *, seed, max_epochs, score=None, verbose=False, n_jobs=None
):
    """Run stochastic gradient descent for one linear model.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), C-contiguous float32 or float64
    y : ndarray of shape (n_samples,) of X's dtype
    sample_weight : ndarray of shape (n_samples,) of X's dtype, or None
    held_out : ndarray of shape (n_samples,) of bool, or None
        Rows that are not trained on.
    start : Start
    options : SGDOptions
    seed : int or None
        Of the shuffle before each epoch; None keeps the order of the rows.
    max_epochs : int
    score : callable, default=None
        ``score(coef, intercept, scale)`` of the weights ``scale * coef``, higher is better, is asked after each epoch.
        It decides when to stop, in place of the objective, unless ``options.tracks_objective``.
    verbose : bool, default=False
        Report each epoch on standard output in scikit-learn's form.
    n_jobs : int, default=None
        Threads, within the process's budget; only large batches use more than one.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    ValueError
        If the weights overflow.
    """
    state = _Descent(X, y, sample_weight, held_out, start, options, seed, n_jobs)
    report = _Report(state) if verbose else None
    objectives, scores = [], []
    while state.status == STATUS_RUNNING and state.n_epochs < max_epochs:
        n_epochs = min(max_epochs - state.n_epochs, 1 if score or report else EPOCHS_PER_CALL)
        if report:
            report.begin_epoch()
        objectives.append(
            state.train(n_epochs, may_be_long=max_epochs * X.size * VALUE_NANOSECONDS > LONG_NANOSECONDS)
        )
        if state.status == STATUS_OVERFLOW:
            raise ValueError(
                f"Floating-point under-/overflow occurred at epoch #{state.n_epochs}. Scaling input data with "
                "StandardScaler or MinMaxScaler might help."
            )
        if score:
            scores.append(score(state.model.coef, state.scalars[INTERCEPT], state.scalars[SCALE]))
            if not options.tracks_objective:
                track_convergence(options, state.scalars, -scores[-1])
        if report:
            report.end_epoch(scores[-1] if score else None)
    return state.finish(objectives, scores)


class _Descent:
    """The arrays of one descent, and the kernel that works on them."""

    def __init__(self, X, y, sample_weight, held_out, start, options, seed, n_jobs):
        n_samples, self.n_features = X.shape
        self.options = options
        self.seed = -1 if seed is None else seed
        empty = np.empty(0, X.dtype)
        self.samples = Samples(
            as_readonly(X.reshape(-1)),
            self.n_features,
            as_readonly(y),
            as_readonly(empty if sample_weight is None else sample_weight),
            as_readonly(np.empty(0, bool) if held_out is None else held_out),
        )
        self.order = np.arange(n_samples, dtype=np.int32)
        n_training = n_samples if held_out is None else n_samples - np.count_nonzero(held_out)
        self.training_order = self.order if held_out is None else np.empty(n_training, np.int32)
        self.model = self._prepare_model(start, X.dtype)
        self.scalars = self.model.scalars
        self.memory = None
        self.kernel, self.n_threads, self.extra = self._prepare_kernel(start, n_jobs, X.dtype)

    def _prepare_model(self, start, dtype):
        options = self.options
        scalars = np.zeros(N_SCALARS)
        scalars[[INTERCEPT, AVERAGE_INTERCEPT]] = start.intercept, start.average_intercept
        scalars[[SCALE, AVERAGE_SCALE]] = 1.0
        scalars[[STEP_COUNT, RATE, BEST_OBJECTIVE]] = start.step_number, options.eta0, np.inf
        coef = aligned_zeros(self.n_features, dtype)
        coef[:] = start.coef
        scalars[SQUARED_NORM], scalars[L1_NORM] = coef @ coef, np.abs(coef).sum()
        has_l1 = options.penalty in (PENALTY_L1, PENALTY_ELASTICNET)
        return LinearModel(
            coef,
            np.zeros(len(coef) if has_l1 else 0, dtype),
            np.array(start.averaged, dtype) if options.average else np.empty(0, dtype),
            scalars,
        )

    def _prepare_kernel(self, start, n_jobs, dtype):
        options = self.options
        is_plain = options.batch_size == 1 and options.momentum == 0.0 and options.optimizer != OPTIMIZER_ADAM
        if is_plain:
            return train_epochs, 1, (Block(*np.empty((3, BLOCK_SIZE))),)
        n_values = self.n_features + 1
        self.memory = OptimizerMemory(
            np.zeros(n_values, dtype), np.zeros(n_values if options.optimizer == OPTIMIZER_ADAM else 0, dtype)
        )
        if start.memory is not None:
            for array, former in zip(self.memory, start.memory, strict=True):
                array[:] = former
        n_chunks = -(-min(options.batch_size, len(self.training_order)) // CHUNK_ROWS)
        chunk_bytes = CHUNK_ROWS * self.n_features * dtype.itemsize
        n_threads = min(n_chunks, n_chunks * chunk_bytes // MIN_BATCH_BYTES_PER_THREAD)
        n_threads = min(n_threads, thread_budget(n_jobs)) if n_threads > 1 else 1
        buffers = BatchBuffers(
            aligned_zeros((n_chunks, whole_lines(self.n_features, dtype)), dtype),
            np.empty((n_chunks, 2)),
            aligned_zeros((n_threads, 8), np.int64),
            aligned_zeros((n_threads, 8), np.float64),
        )
        return train_epochs_in_batches, n_threads, (buffers, self.memory)

    @property
    def status(self):
        return self.scalars[STATUS]

    @property
    def n_epochs(self):
        return int(self.scalars[N_EPOCHS])

    def train(self, n_epochs, may_be_long):
        """Train up to n_epochs epochs and return their mean objectives."""
        objectives = np.empty(n_epochs)
        before = self.n_epochs
        run_team(
            self.kernel,
            self.n_threads,
            self.samples,
            self.order,
            self.training_order,
            self.model,
            *self.extra,
            self.options,
            self.seed,
            objectives,
            may_be_long=may_be_long,
        )
        return objectives[: self.n_epochs - before]

    def finish(self, objectives, scores):
        scalars = self.scalars
        coef = self.model.coef
        averaged = None
        if self.options.average:
            slope, scale = scalars[AVERAGE_SLOPE], scalars[AVERAGE_SCALE]
            averaged = (self.model.averaged + slope * coef) / scale
            averaged = averaged.astype(coef.dtype, copy=False)
        return Outcome(
            coef * coef.dtype.type(scalars[SCALE]),
            scalars[INTERCEPT],
            averaged,
            scalars[AVERAGE_INTERCEPT],
            self.n_epochs,
            np.concatenate(objectives),
            scores,
            scalars[STEP_COUNT],
            self.memory,
        )


class _Report:
    """The lines that scikit-learn prints for each epoch."""

    def __init__(self, state):
        self.state = state
        self.first_step = state.scalars[STEP_COUNT]
        self.started = time.perf_counter()

    def begin_epoch(self):
        sys.stdout.write(f"-- Epoch {self.state.n_epochs + 1}\n")

    def end_epoch(self, score):
        state, scalars = self.state, self.state.scalars
        seconds = time.perf_counter() - self.started
        weights = scalars[SCALE] * state.model.coef
        line = (
            f"Norm: {np.linalg.norm(weights):.2f}, NNZs: {np.count_nonzero(weights)}, "
            f"Bias: {scalars[INTERCEPT]:.6f}, T: {scalars[STEP_COUNT] - self.first_step:.0f}, "
            f"Avg. loss: {scalars[LOSS]:.6f}, Objective: {scalars[OBJECTIVE]:.6f}"
        )
        if score is not None:
            line += f", Validation score: {score:.6f}"
        sys.stdout.write(f"{line}\nTotal training time: {seconds:.2f} seconds.\n")
        if state.status == STATUS_CONVERGED:
            sys.stdout.write(f"Convergence after {state.n_epochs} epochs took {seconds:.2f} seconds\n")
