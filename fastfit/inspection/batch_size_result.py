"""What a batch-size profile found, in numbers, in words, and as tables."""

import math
from typing import NamedTuple

import numpy as np

from fastfit.inspection.tables import Shown, Table, format_bytes
from fastfit.runtime.cpu import cache_sizes
from fastfit.runtime.timing import format_seconds

__all__ = ["BatchSizeProfile", "Measured", "ProfileRow", "Target"]

# Of the fastest time to the target: what is as good as the fastest.
TOLERANCE = 0.05
# Of the way from the highest first loss to the lowest that all fits of a batch size came to: where a target lies that
# nobody has set.
AUTOMATIC_SHARE = 0.95


class Target(NamedTuple):
    """What is to be reached: a loss to get down to, or a score to get up to."""

    kind: str  # "training loss" or "validation score"
    value: float
    given: bool  # by the caller, or found

    def first_epoch(self, losses, scores):
        """Return the number of the first epoch, from 1, after which the target is reached, or None."""
        for number, (loss, score) in enumerate(zip(losses, scores, strict=True), start=1):
            if loss <= self.value if self.kind == "training loss" else score >= self.value:
                return number
        return None


class Measured:
    """The fits with one batch size."""

    def __init__(self, batch_size):
        self.batch_size = batch_size
        self.costs = None
        self.peak_memory = None
        self.diverged = False
        self.seconds, self.losses, self.scores = [], [], []  # a list for each repeat

    def add(self, seconds, losses, scores):
        """Take over what one fit gave, epoch by epoch."""
        self.seconds.append(seconds)
        self.losses.append(losses)
        self.scores.append(scores)
        self.diverged |= bool(losses) and not math.isfinite(losses[-1])

    def median_curves(self):
        """Return cumulative seconds, losses and scores after each epoch: medians over the repeats that got there."""
        n_epochs = max(map(len, self.losses), default=0)
        curves = []
        for lists in (map(np.cumsum, self.seconds), self.losses, self.scores):
            lists = list(lists)
            reached = [[values[i] for values in lists if len(values) > i] for i in range(n_epochs)]
            curves.append([float(np.median(values)) for values in reached])
        return curves


class ProfileRow(NamedTuple):
    """What one batch size did. None stands for what could not be measured, or was not reached.

    Attributes
    ----------
    batch_size : int
    epoch_seconds : float
        Median over all epochs of all repeats.
    samples_per_second, updates_per_second : float
    gflops : float
        Billions of multiplications and additions a second, counted from the shapes.
    peak_share : float
        Of the machine's measured peak.
    working_set_bytes : int
        What one update goes over.
    fits_in : str
        The smallest cache that holds the working set, or "memory".
    peak_memory_bytes : int
        What a fit has allocated at the most.
    final_loss : float
        On the training data, without penalty, after the last epoch: median over the repeats.
    final_score : float
        On the validation data.
    epochs_to_target, seconds_to_target : float
        Medians; None if half of the repeats or more have not reached it.
    diverged : bool
        Whether the weights overflowed in one of the fits.
    """

    batch_size: int
    epoch_seconds: float
    samples_per_second: float
    updates_per_second: float
    gflops: float
    peak_share: float
    working_set_bytes: int
    fits_in: str
    peak_memory_bytes: int
    final_loss: float
    final_score: float
    epochs_to_target: float
    seconds_to_target: float
    diverged: bool


class BatchSizeProfile(Shown):
    """Result of :func:`fastfit.inspection.batch_size_profile`: prints as a table, shows as HTML in a notebook.

    Attributes
    ----------
    rows_ : list of ProfileRow
        One for each batch size.
    batch_sizes_ : list of int
    curves_ : dict of int to dict
        For each batch size the lists "seconds" (of training, cumulative), "loss" (on the training data) and "score" (on
        the validation data) after each epoch: medians over the repeats.
    target_ : Target
        What was to be reached, given or found.
    recommendation_ : str
        Which batch size to take, and why.
    recommended_batch_size_ : int or None
        None if all fits diverged.
    noise_scales_ : list of (int, NoiseScale)
        After the epochs 1, 2, 4, 8, ... of the fit with the batch size ``noise_batch_size_``.
    critical_batch_size_ : float or None
        The median of the noise scales: batches well above it waste samples. None if none could be measured; infinite
        where the gradient could not be told from zero.
    constant_score_ : float or None
        Validation score of a model that predicts the same for all samples: what is to be beaten.
    peak_gflops_ : float
        The machine's measured peak, of fused multiply-adds in registers.
    cache_sizes_ : tuple of (int or None)
        Bytes of the level 1, 2 and 3 data caches.
    """

    def __init__(
        self,
        estimator_name,
        shape,
        measured,
        target,
        noise_scales,
        *,
        noise_batch_size,
        peak,
        peak_text,
        n_repeats,
        constant_score=None,
    ):
        self.estimator_name = estimator_name
        self.n_samples, self.n_features = shape
        self.n_repeats = n_repeats
        self.constant_score_ = constant_score
        self.noise_scales_ = noise_scales
        self.noise_batch_size_ = noise_batch_size
        self.peak_gflops_ = peak / 1e9
        self.peak_text_ = peak_text
        self.cache_sizes_ = tuple(cache_sizes())
        self.target_ = _automatic_target(measured) if target is None else target
        names = ("seconds", "loss", "score")
        self.curves_ = {
            m.batch_size: dict(zip(names, m.median_curves(), strict=True)) for m in measured if m.losses
        }
        self.rows_ = [self._row(m) for m in measured]
        self.batch_sizes_ = [row.batch_size for row in self.rows_]
        scales = [noise.noise_scale for _, noise in noise_scales]
        self.critical_batch_size_ = float(np.median(scales)) if scales else None
        self.recommended_batch_size_, self.recommendation_ = self._recommend()

    def _row(self, measured):
        size = measured.batch_size
        seconds = [value for values in measured.seconds for value in values]
        curves = self.curves_.get(size, {"loss": [], "score": []})
        epoch = float(np.median(seconds)) if seconds else None
        flops = working_set = None
        if measured.costs is not None:
            working_set = int(measured.costs.working_set_bytes(size))
            flops = None if epoch is None else measured.costs.flops_per_epoch(self.n_samples, size) / epoch
        epochs, to_target = self._to_target(measured)
        return ProfileRow(
            batch_size=size,
            epoch_seconds=epoch,
            samples_per_second=None if epoch is None else self.n_samples / epoch,
            updates_per_second=None if epoch is None else -(-self.n_samples // size) / epoch,
            gflops=None if flops is None else flops / 1e9,
            peak_share=None if flops is None else flops / (1e9 * self.peak_gflops_),
            working_set_bytes=working_set,
            fits_in=self._fits_in(working_set),
            peak_memory_bytes=measured.peak_memory,
            final_loss=curves["loss"][-1] if curves["loss"] else None,
            final_score=curves["score"][-1] if curves["score"] else None,
            epochs_to_target=epochs,
            seconds_to_target=to_target,
            diverged=measured.diverged,
        )

    def _to_target(self, measured):
        """Return the medians of epochs and seconds to the target, or (None, None)."""
        if self.target_ is None or measured.diverged:
            return None, None
        epochs, seconds = [], []
        for of_epochs, losses, scores in zip(measured.seconds, measured.losses, measured.scores, strict=True):
            number = self.target_.first_epoch(losses, scores)
            epochs.append(math.inf if number is None else number)
            seconds.append(math.inf if number is None else sum(of_epochs[:number]))
        if not epochs or np.median(epochs) == math.inf or math.isnan(np.median(seconds)):
            return None, None
        return float(np.median(epochs)), float(np.median(seconds))

    def _fits_in(self, n_bytes):
        if n_bytes is None:
            return ""
        for level, size in enumerate(self.cache_sizes_, start=1):
            if size is not None and n_bytes <= size:
                return f"L{level}"
        return "memory"

    # --------------------------------------------------------------------------------------------- in words

    def _recommend(self):
        """Return the batch size to take, and a text with the reason."""
        trained = [row for row in self.rows_ if row.final_loss is not None and not row.diverged]
        if not trained:
            text = "Training diverged with every batch size: lower the learning rate, or scale the features."
            return None, text
        reached = [row for row in trained if row.seconds_to_target is not None]
        parts = []
        if reached:
            fastest = min(reached, key=lambda row: row.seconds_to_target)
            limit = (1.0 + TOLERANCE) * fastest.seconds_to_target
            best = max(
                (row for row in reached if row.seconds_to_target <= limit), key=lambda row: row.batch_size
            )
            reason = "the fastest to"
            if best is not fastest:
                reason = f"the largest within {TOLERANCE:.0%} of the fastest, {fastest.batch_size}, to"
            parts.append(
                f"Take batch size {best.batch_size}: {reason} the {self._target_text()}, in "
                f"{format_seconds(best.seconds_to_target)} and {_epochs(best.epochs_to_target)}."
            )
        else:
            best = min(trained, key=lambda row: row.final_loss)
            which = f"The {self._target_text()} was not reached" if self.target_ else "There is no target"
            parts.append(
                f"{which} with any batch size. Batch size {best.batch_size} came to the lowest training loss, "
                f"{best.final_loss:.4g}; train longer, or set a target within reach."
            )
        missed = [str(row.batch_size) for row in trained if row.seconds_to_target is None]
        if reached and missed:
            parts.append(f"Not reached with {', '.join(missed)}.")
        diverged = [str(row.batch_size) for row in self.rows_ if row.diverged]
        if diverged:
            parts.append(
                f"Training diverged with {', '.join(diverged)}: the learning rate is too high for it."
            )
        parts.append(self._constant_text(best))
        parts.append(self._noise_text(best.batch_size))
        return best.batch_size, " ".join(filter(None, parts))

    def _target_text(self):
        how = "" if self.target_.given else " (95% of the way to the lowest)"
        return f"{self.target_.kind} of {self.target_.value:.4g}{how}"

    def _constant_text(self, row):
        """Return a warning if nothing was learned."""
        score, constant = row.final_score, self.constant_score_
        if constant is None or score is None or score > constant:
            return ""
        return (
            f"But its validation score of {score:.4g} is no better than that of a constant prediction, {constant:.4g}: "
            "train longer, or change the learning rate or the scale of the features, before you choose."
        )

    def _noise_text(self, size):
        if self.critical_batch_size_ is None:
            return ""
        if not math.isfinite(self.critical_batch_size_):
            return (
                "The gradient noise scale is beyond what these data can show: the mean gradient cannot be told from "
                "zero, and larger batches still average out noise."
            )
        where = "below" if size < self.critical_batch_size_ else "above"
        first, last = self.noise_scales_[0][1].noise_scale, self.noise_scales_[-1][1].noise_scale
        return (
            f"The gradient noise scale predicts a critical batch size of about {_number(self.critical_batch_size_)} "
            f"({_number(first)} after the first epoch, {_number(last)} at the end); {size} is {where} it."
        )

    # -------------------------------------------------------------------------------------------- as values

    def to_dict(self):
        """Return all of it as plain values that ``json.dumps`` takes; what is not finite becomes None.

        Returns
        -------
        content : dict
        """
        return _plain(
            {
                "estimator": self.estimator_name,
                "n_samples": self.n_samples,
                "n_features": self.n_features,
                "n_repeats": self.n_repeats,
                "constant_score": self.constant_score_,
                "target": None if self.target_ is None else self.target_._asdict(),
                "recommended_batch_size": self.recommended_batch_size_,
                "recommendation": self.recommendation_,
                "critical_batch_size": self.critical_batch_size_,
                "noise_scales": [{"epoch": epoch, **noise._asdict()} for epoch, noise in self.noise_scales_],
                "noise_batch_size": self.noise_batch_size_,
                "peak_gflops": self.peak_gflops_,
                "cache_sizes": list(self.cache_sizes_),
                "rows": [row._asdict() for row in self.rows_],
                "curves": {str(size): curves for size, curves in self.curves_.items()},
            }
        )

    def to_frame(self):
        """Return the rows as a :class:`pandas.DataFrame`, indexed by batch size.

        Raises
        ------
        ImportError
            If pandas is not installed; `to_dict` needs nothing.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("to_frame needs pandas, which is not installed; to_dict does not.") from None
        return pandas.DataFrame([row._asdict() for row in self.rows_]).set_index("batch_size")

    def __repr__(self):
        sizes = ", ".join(map(str, self.batch_sizes_))
        return f"<BatchSizeProfile of {self.estimator_name}: batch sizes {sizes}>"

    def parts(self):
        """Return the tables and texts that show this profile."""
        speed = Table(
            f"{self.estimator_name} on {self.n_samples:,} training samples x {self.n_features}: speed",
            tuple(
                (heading, "right")
                for heading in (
                    "batch\nsize",
                    "epoch",
                    "samples\na second",
                    "updates\na second",
                    "GFLOP/s",
                    "of\npeak",
                    "working\nset",
                    "fits\nin",
                    "peak\nmemory",
                )
            ),
            [self._speed_cells(row) for row in self.rows_],
            self._marked(),
        )
        learning = Table(
            f"Learning, medians of {self.n_repeats} fits",
            tuple(
                (heading, "right")
                for heading in (
                    "batch\nsize",
                    "epochs\nto target",
                    "time\nto target",
                    "final\nloss",
                    "validation\nscore",
                    "",
                )
            ),
            [self._learning_cells(row) for row in self.rows_],
            self._marked(),
        )
        return [speed, self._machine_text(), learning, self._explain_target(), self.recommendation_]

    def _marked(self):
        return frozenset(
            i for i, row in enumerate(self.rows_) if row.batch_size == self.recommended_batch_size_
        )

    def _speed_cells(self, row):
        share = "" if row.peak_share is None else f"{row.peak_share:.1%}"
        return (
            str(row.batch_size),
            "" if row.epoch_seconds is None else format_seconds(row.epoch_seconds),
            _rate(row.samples_per_second),
            _rate(row.updates_per_second),
            "" if row.gflops is None else f"{row.gflops:.3g}",
            share,
            "" if row.working_set_bytes is None else format_bytes(row.working_set_bytes),
            row.fits_in,
            "" if row.peak_memory_bytes is None else format_bytes(row.peak_memory_bytes),
        )

    def _learning_cells(self, row):
        reached = row.seconds_to_target is not None
        note = (
            "diverged"
            if row.diverged
            else "recommended"
            if row.batch_size == self.recommended_batch_size_
            else ""
        )
        return (
            str(row.batch_size),
            _number(row.epochs_to_target) if reached else "not reached",
            format_seconds(row.seconds_to_target) if reached else "",
            "" if row.final_loss is None else f"{row.final_loss:.4g}",
            "" if row.final_score is None else f"{row.final_score:.4f}",
            note,
        )

    def _machine_text(self):
        caches = ", ".join(
            f"L{level} {format_bytes(size)}" for level, size in enumerate(self.cache_sizes_, 1) if size
        )
        peak = f"Peak: {self.peak_gflops_:.0f} GFLOP/s measured, {self.peak_text_}."
        return f"{peak} Data caches: {caches}." if caches else peak

    def _explain_target(self):
        if self.target_ is None:
            return "No target: no fit came to a finite loss."
        how = (
            "given"
            if self.target_.given
            else "95% of the way from the highest first loss to the lowest that all fits of a batch size came to"
        )
        return f"Target: a {self.target_.kind} of {self.target_.value:.4g}, {how}."


def _automatic_target(measured):
    """Return a target loss that the better batch sizes reach, or None if nothing was learned."""
    trained = [m for m in measured if not m.diverged and m.losses and all(m.losses)]
    firsts = [losses[0] for m in trained for losses in m.losses]
    high = max(filter(math.isfinite, firsts), default=None)
    # Of each batch size what all of its fits came down to, so that one of them at least reaches the target.
    lows = [max(np.nanmin(losses) for losses in m.losses) for m in trained]
    low = min(filter(math.isfinite, lows), default=None)
    if high is None or low is None:
        return None
    return Target("training loss", float(high - AUTOMATIC_SHARE * (high - low)), given=False)


def _plain(value):
    """Return nested dicts and lists of Python's own numbers; None for what is not finite."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _rate(value):
    if value is None:
        return ""
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}"


def _epochs(value):
    return "1 epoch" if value == 1 else f"{_number(value)} epochs"


def _number(value):
    if not math.isfinite(value):
        return "unbounded"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
