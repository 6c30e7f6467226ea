"""Stochastic gradient descents that differ in numbers alone, over the same samples in the same order, as one."""

import numpy as np

from fastfit.kernels.sgd import BLOCK_SIZE
from fastfit.kernels.sgd_state import (
    AVERAGE_SCALE,
    BEST_OBJECTIVE,
    INTERCEPT,
    N_EPOCHS,
    N_SCALARS,
    OPTIMIZER_SGD,
    PENALTY_ELASTICNET,
    PENALTY_L1,
    RATE,
    RATE_PA1,
    SCALE,
    STATUS,
    STATUS_OVERFLOW,
    STATUS_RUNNING,
    STEP_COUNT,
)
from fastfit.kernels.sgd_together import N_ROWS, VARIED, Models, Packs, train_together
from fastfit.runtime.cpu import lanes
from fastfit.runtime.memory import aligned_zeros, whole_lines
from fastfit.runtime.threads import run_team
from fastfit.training.stochastic_gradient import EPOCHS_PER_CALL, LONG_NANOSECONDS, VALUE_NANOSECONDS, Outcome

# Settings that a member of a team should have at least: with fewer the processor waits for the chain of updates.
MIN_SETTINGS_PER_THREAD = 8


def covers(options):
    """Tell whether descents with these options can be taken through the samples together."""
    return (
        options.batch_size == 1
        and options.momentum == 0.0
        and options.optimizer == OPTIMIZER_SGD
        and options.average == 0
        and options.learning_rate < RATE_PA1
        and bool(options.tracks_objective)
    )


def covers_samples(samples):
    """Tell whether descents can be taken through these samples together."""
    return samples.X.dtype == np.float64 and len(samples.held_out) == 0


def shared_options(options):
    """Return what has to be equal for descents that are taken through the samples together."""
    return options._replace(**dict.fromkeys(VARIED, 0))


def descend_together(samples, seed, settings, n_threads=1):
    """Run stochastic gradient descents from zero, all on the same samples in the same order.

    Parameters
    ----------
    samples : Samples
        Without rows that are held out.
    seed : int
        Of the shuffle before each epoch; negative: the rows keep their order.
    settings : dict of SGDOptions to set of int
        The numbers of epochs after which each descent is to be looked at. They differ in `VARIED` fields alone, and
        are such that `covers` says yes.
    n_threads : int, default=1

    Returns
    -------
    outcomes : dict of (SGDOptions, int) to Outcome
        For each setting and number of epochs; those whose weights overflow are left out.
    n_epochs : int
        Sum over the descents.
    """
    descents = _Descents(samples, seed, list(settings), n_threads)
    outcomes = {}
    done = 0
    for stop in sorted(set().union(*settings.values())):
        descents.train(stop - done)
        done = stop
        for i, (options, stops) in enumerate(settings.items()):
            if stop in stops and descents.status[i] != STATUS_OVERFLOW:
                outcomes[options, stop] = descents.outcome(i)
    return outcomes, int(descents.n_epochs.sum())


def whole_packs(n_settings):
    """Return the number of places of as many whole packs as so many settings need."""
    width = lanes("float64")
    return -(-n_settings // width) * width


class _Descents:
    """The arrays of some descents, and the kernel that works on them."""

    def __init__(self, samples, seed, options, n_threads):
        self.samples = samples
        self.seed = seed
        self.common = options[0]
        self.varied = np.array([[float(getattr(one, name)) for name in VARIED] for one in options])
        dtype, n_settings, n_samples = samples.X.dtype, len(options), len(samples.y)
        n_values = whole_lines(samples.n_features + 1, dtype)
        has_l1 = self.common.penalty in (PENALTY_L1, PENALTY_ELASTICNET)
        self.models = Models(
            aligned_zeros((n_settings, n_values), dtype),
            aligned_zeros((n_settings, n_values if has_l1 else 0), dtype),
            aligned_zeros((n_settings, whole_lines(N_SCALARS, np.float64)), np.float64),
            aligned_zeros((n_settings, 0), dtype),
        )
        scalars = self.models.scalars
        scalars[:, [SCALE, AVERAGE_SCALE, STEP_COUNT]] = 1.0
        scalars[:, RATE], scalars[:, BEST_OBJECTIVE] = self.varied[:, VARIED.index("eta0")], np.inf
        self.n_threads = max(1, min(n_threads, n_settings // MIN_SETTINGS_PER_THREAD))
        self.orders = np.repeat(np.arange(n_samples, dtype=np.int32)[np.newaxis], self.n_threads, axis=0)
        n_places = whole_packs(-(-n_settings // self.n_threads))
        shape = self.n_threads, n_places * n_values
        self.packs = Packs(
            np.empty((self.n_threads, n_places), np.int64),
            aligned_zeros(shape, np.float64),
            aligned_zeros(shape if has_l1 else (self.n_threads, 0), np.float64),
            aligned_zeros((self.n_threads, N_ROWS * n_places), np.float64),
            aligned_zeros((self.n_threads, BLOCK_SIZE * n_places), np.float64),
            np.empty((self.n_threads, BLOCK_SIZE)),
        )
        self.objectives = []

    @property
    def status(self):
        return self.models.scalars[:, STATUS]

    @property
    def n_epochs(self):
        return self.models.scalars[:, N_EPOCHS].astype(np.int64)

    def train(self, n_epochs):
        """Train those that go on for so many epochs."""
        X = self.samples.X
        while n_epochs > 0 and (self.status == STATUS_RUNNING).any():
            n_now = min(n_epochs, EPOCHS_PER_CALL)
            objectives = np.full((len(self.varied), n_now), np.nan)
            run_team(
                train_together,
                self.n_threads,
                self.samples,
                self.orders,
                self.models,
                self.common,
                self.varied,
                self.packs,
                self.seed,
                objectives,
                may_be_long=len(self.varied) * n_now * X.size * VALUE_NANOSECONDS > LONG_NANOSECONDS,
            )
            self.objectives.append(objectives)
            n_epochs -= n_now

    def outcome(self, i):
        """Return where a descent is now."""
        scalars, coef = self.models.scalars[i], self.models.coef[i, : self.samples.n_features]
        n_epochs = int(scalars[N_EPOCHS])
        return Outcome(
            coef * coef.dtype.type(scalars[SCALE]),
            scalars[INTERCEPT],
            None,
            0.0,
            n_epochs,
            np.concatenate([some[i] for some in self.objectives])[:n_epochs],
            [],
            scalars[STEP_COUNT],
            None,
        )
