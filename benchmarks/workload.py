"""What a benchmark is made of: workloads (data, estimators, timed call, check) and probes (a new process).

A family's table is a list of these; see ``bench_linear.py``. Nothing here measures.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

OURS = "fastfit"
REFERENCE = "scikit-learn"

# "huge" is "full" with the largest memory probes.
SIZES = ("tiny", "quick", "full", "huge")
TINY_ROWS, TINY_COLUMNS = 240, 8
QUICK_SHARE = 10


class Build:
    """An estimator by its import path, ``package.module:Class``, so that a peer is imported only when run.

    Calling it gives a new estimator; ``ImportError`` says that the library is not installed.
    """

    def __init__(self, path, **params):
        self.path = path
        self.params = params

    def __call__(self):
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)(**self.params)


def ours_and_sklearn(path, *, ours=None, **params):
    """The two estimators every workload has: the same class and parameters; `ours` holds fastfit's extras."""
    return {
        OURS: Build(f"fastfit.{path}", **params, **(ours or {})),
        REFERENCE: Build(f"sklearn.{path}", **params),
    }


def fit(estimator, data):
    """Time ``fit``."""
    estimator.fit(data.X, data.y)


def predict(estimator, data):
    """Time ``predict`` of the rows that were fitted."""
    estimator.predict(data.X)


def predict_one_row(estimator, data):
    """Time ``predict`` of a single row."""
    estimator.predict(data.X[:1])


def held_out_score(estimator, data):
    """R2 or accuracy on rows that were not fitted."""
    return float(estimator.score(data.X_test, data.y_test))


def score_gap(estimator, reference, data):
    """Absolute difference of the scores."""
    return abs(held_out_score(estimator, data) - held_out_score(reference, data))


def score_shortfall(estimator, reference, data):
    """How much worse than the reference the score is; for workloads whose models are not meant to agree."""
    return max(0.0, held_out_score(reference, data) - held_out_score(estimator, data))


def coefficient_gap(estimator, reference, data):
    """Largest difference of a coefficient, relative to the largest coefficient of the reference."""
    theirs = np.append(np.ravel(reference.coef_), np.ravel(reference.intercept_))
    ours = np.append(np.ravel(estimator.coef_), np.ravel(estimator.intercept_))
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def prediction_gap(estimator, reference, data):
    """Share of held-out rows predicted differently (classes), or the largest relative difference."""
    ours, theirs = estimator.predict(data.X_test), reference.predict(data.X_test)
    if theirs.dtype.kind in "fc":
        return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))
    return float(np.mean(ours != theirs))


def one_fit(estimator):
    """The unit of most workloads: the call itself."""
    return 1


def epochs(estimator):
    """The unit of workloads stated by epoch: the passes over the data that the last fit made."""
    return int(np.max(estimator.n_iter_))


class Verdict(NamedTuple):
    """How far a model is from scikit-learn's, how far it may be, and whether it is meant to be equal."""

    gap: float
    tolerance: float
    exact: bool


@dataclass(frozen=True, eq=False)
class Workload:
    """Data of one shape, the estimators by library, what is timed and how their models are compared.

    Attributes
    ----------
    name : str
        Row heading, for example ``"SGDClassifier, 5 epochs"``.
    data : callable
        ``data(n_samples, n_features)`` gives a `Data`.
    n_samples, n_features : int
        The real size. ``size="quick"`` takes a tenth of the rows, ``"tiny"`` a handful.
    estimators : mapping of str to callable
        Factories by library; fastfit and scikit-learn, then any peers.
    call : callable, default=fit
        ``call(estimator, data)`` is what is timed; the estimator is fitted before.
    per : callable, default=one_fit
        ``per(estimator)`` divides the time (passes over the data, for example).
    score : callable
        ``score(estimator, data)``, shown for every library.
    gap, tolerance : callable, float
        ``gap(estimator, reference, data)`` above `tolerance` flags the row: the ratio of unequal models says
        nothing.
    peer_tolerance : float or None, default=None
        For peers that fit a model of their own, which `gap` would call wrong: how much worse than scikit-learn's
        their score may be. None: peers are judged as fastfit is.
    max_rounds : int or None, default=None
        The most turns to take, where one turn takes a minute.
    note : str
        Added to the shape, for example ``"float32"``.
    fixed_size : bool, default=False
        The data have one size only (iris).
    """

    name: str
    data: Callable
    n_samples: int
    n_features: int
    estimators: Mapping[str, Callable]
    call: Callable = fit
    per: Callable = one_fit
    score: Callable = held_out_score
    gap: Callable = score_gap
    tolerance: float = 1e-3
    peer_tolerance: float | None = None
    max_rounds: int | None = None
    note: str = ""
    fixed_size: bool = False

    def shape(self, size="full"):
        """Rows and columns at `size`, one of `SIZES`."""
        if size in ("full", "huge") or self.fixed_size:
            return self.n_samples, self.n_features
        if size == "quick":
            return max(self.n_samples // QUICK_SHARE, min(self.n_samples, 1000)), self.n_features
        return min(self.n_samples, TINY_ROWS), min(self.n_features, TINY_COLUMNS)

    def describe_shape(self, size="full"):
        """The shape in words, ``"500k x 50, float32"``."""
        n_samples, n_features = self.shape(size)
        text = f"{_thousands(n_samples)} x {n_features}"
        return f"{text}, {self.note}" if self.note else text

    def judge(self, library, estimator, reference, data):
        """Compare a fitted model with scikit-learn's; the `Verdict`."""
        if library != OURS and self.peer_tolerance is not None:
            return Verdict(score_shortfall(estimator, reference, data), self.peer_tolerance, False)
        gap = self.gap(estimator, reference, data)
        return Verdict(gap, self.tolerance, self.gap is not score_shortfall)

    def rounds(self, wanted):
        """Turns to take when `wanted` are asked for."""
        return wanted if self.max_rounds is None else min(wanted, self.max_rounds)

    def make_data(self, size="full"):
        """The data at `size`."""
        return self.data(*self.shape(size))


@dataclass(frozen=True, eq=False)
class Probe:
    """Something measured in a fresh process each time: an import, a first fit, a peak of memory.

    Attributes
    ----------
    name, note : str
        Row heading and what stands under it.
    measure : callable
        ``measure(library, size)`` gives one number.
    unit : str
        ``"s"``, or text to stand after the number (``"% of X"``).
    compare : {"ratio", "difference", "none"}
        What the comparison column says.
    limit : float or None
        The most that fastfit's median may be (with `compare`, its difference from scikit-learn's, or its multiple of
        scikit-learn's); above, the row is flagged.
    libraries : tuple of str
        What to measure.
    repeats : int
        Processes a library, taken in turns.
    """

    name: str
    measure: Callable
    unit: str = "s"
    note: str = ""
    compare: str = "none"
    limit: float | None = None
    libraries: tuple = (OURS, REFERENCE)
    repeats: int = 5

    def describe_shape(self, size="full"):
        """What stands under the name, as the shape does for a workload."""
        return self.note


def _thousands(count):
    if count >= 1_000_000 and count % 100_000 == 0:
        return f"{count / 1e6:g}M"
    return f"{count / 1000:g}k" if count >= 1000 and count % 100 == 0 else str(count)
