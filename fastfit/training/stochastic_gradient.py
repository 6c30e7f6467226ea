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
from fastfit.kernels.sgd_schedule import note_score
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
    RATE_CONSTANT,
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
# A batch smaller than this is not worth the meeting of a team.
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
    run = Run(
        X,
        y,
        sample_weight,
        held_out,
        start,
        options,
        seed=seed,
        max_epochs=max_epochs,
        score=score,
        verbose=verbose,
        n_jobs=n_jobs,
    )
    while run.goes_on:
        run.advance()
    return run.outcome()


class Run:
    """A descent that can be watched: `advance` while it `goes_on`, and ask for its `outcome` at any time.

    The parameters are those of `descend`.
    """

    def __init__(
        self,
        X,
        y,
        sample_weight,
        held_out,
        start,
        options,
        *,
        seed,
        max_epochs,
        score=None,
        verbose=False,
        n_jobs=None,
    ):
        self.state = _Descent(X, y, sample_weight, held_out, start, options, seed, n_jobs)
        self.max_epochs = max_epochs
        self.score = score
        self.report = _Report(self.state) if verbose else None
        self.may_be_long = max_epochs * X.size * VALUE_NANOSECONDS > LONG_NANOSECONDS
        self.objectives, self.scores = [], []

    @property
    def goes_on(self):
        """Whether there are epochs to come."""
        return self.state.status == STATUS_RUNNING and self.state.n_epochs < self.max_epochs

    def set_rate(self, rate):
        """Let all further updates have this size, whatever the schedule says."""
        self.state.options = self.state.options._replace(learning_rate=RATE_CONSTANT, eta0=rate)
        self.state.scalars[RATE] = rate

    def advance(self, n_epochs=EPOCHS_PER_CALL):
        """Train so many epochs at the most, and a single one where somebody wants to see it.

        Raises
        ------
        ValueError
            If the weights overflow.
        """
        state, report, score = self.state, self.report, self.score
        n_epochs = min(self.max_epochs - state.n_epochs, 1 if score or report else n_epochs)
        if report:
            report.begin_epoch()
        self.objectives.append(state.train(n_epochs, may_be_long=self.may_be_long))
        if state.status == STATUS_OVERFLOW:
            raise ValueError(
                f"Floating-point under-/overflow occurred at epoch #{state.n_epochs}. Scaling input data with "
                "StandardScaler or MinMaxScaler might help."
            )
        if score:
            coef = state.model.coef[: state.n_features]
            self.scores.append(score(coef, state.scalars[INTERCEPT], state.scalars[SCALE]))
            if not state.options.tracks_objective:
                note_score(state.options, state.scalars, self.scores[-1])
        if report:
            report.end_epoch(self.scores[-1] if score else None)

    def outcome(self):
        """Return where the descent is now."""
        return self.state.finish(self.objectives, self.scores)


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
        self.n_threads = 1
        if self._is_in_batches():
            self.n_threads = self._count_threads(n_jobs, X.dtype.itemsize)
        self.prepare_team(start, self.n_threads, X.dtype)

    def _is_in_batches(self):
        options = self.options
        return options.batch_size > 1 or options.momentum > 0.0 or options.optimizer == OPTIMIZER_ADAM

    def _count_chunks(self):
        return -(-min(self.options.batch_size, len(self.training_order)) // CHUNK_ROWS)

    def _count_threads(self, n_jobs, item_bytes):
        n_chunks = self._count_chunks()
        batch_bytes = n_chunks * CHUNK_ROWS * self.n_features * item_bytes
        n_threads = min(n_chunks, batch_bytes // MIN_BATCH_BYTES_PER_THREAD)
        return min(n_threads, thread_budget(n_jobs)) if n_threads > 1 else 1

    def prepare_team(self, start, n_threads, dtype):
        """Choose the kernel, and make what a team of n_threads writes to."""
        self.n_threads = n_threads
        models = self._prepare_models(start, dtype)
        self.model = LinearModel(*(array[0] for array in models))
        self.scalars = self.model.scalars
        self.memory = None
        if not self._is_in_batches():
            self.kernel, self.written = train_epochs, (self.model, Block(*np.empty((3, BLOCK_SIZE))))
            return
        memories = self._prepare_memories(start.memory, dtype)
        self.memory = OptimizerMemory(*(array[0] for array in memories))
        n_chunks, n_values = self._count_chunks(), whole_lines(self.n_features + 1, dtype)
        buffers = BatchBuffers(
            aligned_zeros((2 * n_chunks, n_values), dtype),
            np.empty((2 * n_chunks, 2)),
            aligned_zeros((n_threads, n_values), dtype),
            aligned_zeros((n_threads, 8), np.int64),
            aligned_zeros((n_threads, 8), np.float64),
        )
        self.kernel, self.written = train_epochs_in_batches, (models, buffers, memories)

    def _prepare_models(self, start, dtype):
        """The arrays of a model for each member; the first one is where the descent begins."""
        options = self.options
        # Batches keep the intercept behind the weights.
        shape = self.n_threads, whole_lines(self.n_features + 1, dtype)
        unused = self.n_threads, 0
        has_l1 = options.penalty in (PENALTY_L1, PENALTY_ELASTICNET)
        models = LinearModel(
            aligned_zeros(shape, dtype),
            aligned_zeros(shape if has_l1 else unused, dtype),
            aligned_zeros(shape if options.average else unused, dtype),
            aligned_zeros((self.n_threads, whole_lines(N_SCALARS, np.float64)), np.float64),
        )
        coef, scalars = models.coef[0], models.scalars[0]
        coef[: self.n_features] = start.coef
        if options.average:
            models.averaged[0, : self.n_features] = start.averaged
        scalars[[INTERCEPT, AVERAGE_INTERCEPT]] = start.intercept, start.average_intercept
        scalars[[SCALE, AVERAGE_SCALE]] = 1.0
        scalars[[STEP_COUNT, RATE, BEST_OBJECTIVE]] = start.step_number, options.eta0, np.inf
        scalars[SQUARED_NORM], scalars[L1_NORM] = coef @ coef, np.abs(coef).sum()
        return models

    def _prepare_memories(self, former, dtype):
        """The optimizer's memory for each member; the first one goes on from a former fit's."""
        shape = self.n_threads, whole_lines(self.n_features + 1, dtype)
        has_second_moment = self.options.optimizer == OPTIMIZER_ADAM
        memories = OptimizerMemory(
            aligned_zeros(shape, dtype),
            aligned_zeros(shape if has_second_moment else (self.n_threads, 0), dtype),
        )
        # The memory of another optimizer, or in another dtype, means nothing here.
        if former is not None and [array[0].shape for array in memories] == [
            values.shape for values in former
        ]:
            for array, values in zip(memories, former, strict=True):
                array[0] = values
        return memories

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
            *self.written,
            self.options,
            self.seed,
            objectives,
            may_be_long=may_be_long,
        )
        return objectives[: self.n_epochs - before]

    def finish(self, objectives, scores):
        scalars = self.scalars
        coef = self.model.coef[: self.n_features]
        averaged = None
        if self.options.average:
            slope, scale = scalars[AVERAGE_SLOPE], scalars[AVERAGE_SCALE]
            averaged = (self.model.averaged[: self.n_features] + slope * coef) / scale
            averaged = averaged.astype(coef.dtype, copy=False)
        return Outcome(
            coef * coef.dtype.type(scalars[SCALE]),
            scalars[INTERCEPT],
            averaged,
            scalars[AVERAGE_INTERCEPT],
            self.n_epochs,
            np.concatenate(objectives) if objectives else np.empty(0),
            list(scores),
            scalars[STEP_COUNT],
            self.memory and OptimizerMemory(*map(np.copy, self.memory)),
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
        weights = scalars[SCALE] * state.model.coef[: state.n_features]
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
