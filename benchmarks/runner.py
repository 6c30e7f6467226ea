"""Measure workloads and probes; the outcome of each is a `Row`."""

import functools
import math
import statistics
import warnings
from dataclasses import dataclass, field

from benchmarks.workload import OURS, REFERENCE, Probe, Workload, fit
from fastfit.runtime.compile import CompileStatistics, compile_statistics
from fastfit.runtime.timing import paired_ratio, time_in_turns


@dataclass
class Row:
    """What was measured of one workload or probe, by library.

    Attributes
    ----------
    seconds : dict of str to list of float
        One sample a turn, per unit of the workload; a probe's numbers, whatever their unit.
    ratios : dict of str to Ratio
        Peer by peer (scikit-learn first): the peer's time over fastfit's, above 1 where fastfit is faster.
    scores, gaps : dict of str to float
        Score of every library, and its distance from scikit-learn's model.
    problems : list of str
        Why the row should not be trusted; empty for a good row.
    missing : list of str
        Peers that are not installed.
    kernels : CompileStatistics or None
        What was compiled or loaded from disk before the timing began.
    """

    name: str
    shape: str
    unit: str = "s"
    compare: str = "ratio"
    seconds: dict = field(default_factory=dict)
    ratios: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    gaps: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    kernels: CompileStatistics | None = None

    def median(self, library):
        """Median of the library's samples, or nan where there is none."""
        samples = self.seconds.get(library)
        return statistics.median(samples) if samples else math.nan

    @property
    def difference(self):
        """Median difference fastfit minus scikit-learn of the samples taken in the same turn."""
        pairs = zip(self.seconds[OURS], self.seconds[REFERENCE], strict=True)
        return statistics.median(ours - theirs for ours, theirs in pairs)

    def best_peer(self):
        """Name and ratio of the fastest library other than scikit-learn, or None."""
        peers = {name: ratio for name, ratio in self.ratios.items() if name != REFERENCE}
        return min(peers.items(), key=lambda item: item[1].median) if peers else None

    def to_dict(self):
        """Everything, with the raw samples, for a JSON file."""
        return {
            "workload": self.name,
            "shape": self.shape,
            "unit": self.unit,
            "samples": self.seconds,
            "ratios": {name: ratio._asdict() for name, ratio in self.ratios.items()},
            "scores": self.scores,
            "gaps": self.gaps,
            "problems": self.problems,
            "not_installed": self.missing,
            "kernels": None if self.kernels is None else self.kernels._asdict(),
        }


def run(item, *, size="full", rounds=7, on_step=None):
    """Measure one entry of a family's table; an exception is a problem of its row, not the end of the run."""
    run_item = run_probe if isinstance(item, Probe) else run_workload
    try:
        return run_item(item, size=size, rounds=rounds, on_step=on_step)
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Row(
            item.name, item.describe_shape(size), problems=[f"failed: {type(error).__name__}: {first_line}"]
        )


def run_workload(workload: Workload, *, size="full", rounds=7, on_step=None):
    """Warm up every library, check that the models agree, then time them in turns."""
    data = workload.make_data(size)
    row = Row(workload.name, workload.describe_shape(size))
    before = compile_statistics()
    estimators = {}
    for library, build in workload.estimators.items():
        try:
            estimators[library] = build()
        except ImportError:
            if library in (OURS, REFERENCE):
                raise
            row.missing.append(library)
            continue
        quietly(estimators[library].fit, data.X, data.y)
        if workload.call is not fit:
            quietly(workload.call, estimators[library], data)
        _advance(on_step)
    _compare_models(row, workload, estimators, data, size)
    after = compile_statistics()
    row.kernels = CompileStatistics(*(new - old for new, old in zip(after, before, strict=True)))
    calls = {
        library: functools.partial(workload.call, fitted, data) for library, fitted in estimators.items()
    }
    turns = workload.rounds(rounds)
    seconds = quietly(time_in_turns, calls, rounds=turns, on_round=lambda *_: _advance(on_step))
    if compile_statistics()[:2] != after[:2]:
        row.problems.append("a kernel was compiled or loaded while the clock ran")
    for library, samples in seconds.items():
        n_units = workload.per(estimators[library])
        row.seconds[library] = [sample / n_units for sample in samples]
    row.ratios = _ratios(row.seconds)
    return row


def _compare_models(row, workload, estimators, data, size):
    for library, estimator in estimators.items():
        row.scores[library] = workload.score(estimator, data)
        if library == REFERENCE or REFERENCE not in estimators:
            continue
        gap, tolerance, exact = workload.judge(library, estimator, estimators[REFERENCE], data)
        row.gaps[library] = gap
        # A model that is not meant to be equal, only as good, is judged at the size that its settings are for.
        if (exact or size in ("full", "huge")) and not gap <= tolerance:
            row.problems.append(f"{library} and {REFERENCE} disagree by {gap:.2g} (allowed {tolerance:g})")


def run_probe(probe: Probe, *, size="full", rounds=7, on_step=None):
    """Repeat a probe, the libraries in turns; `rounds` below the probe's own repeats shortens it."""
    row = Row(probe.name, probe.note, unit=probe.unit, compare=probe.compare)
    row.seconds = {library: [] for library in probe.libraries}
    for _ in range(min(probe.repeats, rounds)):
        for library in probe.libraries:
            row.seconds[library].append(probe.measure(library, size))
            _advance(on_step)
    if probe.compare == "ratio":
        row.ratios = _ratios(row.seconds)
    if probe.limit is not None and OURS in row.seconds:
        _check_limit(row, probe)
    return row


def _check_limit(row, probe):
    value, unit = row.median(OURS), probe.unit
    if probe.compare == "difference":
        value = row.difference
    elif probe.compare == "ratio":
        value, unit = 1.0 / row.ratios[REFERENCE].median, f"times {REFERENCE}'s"
    if not value <= probe.limit:
        row.problems.append(f"above its limit of {probe.limit:g} {unit}")


def n_steps(item, rounds):
    """How many times `run` will report a step, for a progress bar (short workloads take more turns)."""
    if isinstance(item, Probe):
        return min(item.repeats, rounds) * len(item.libraries)
    return len(item.estimators) + item.rounds(rounds)


def _ratios(seconds):
    """Every other library's time over fastfit's."""
    if OURS not in seconds:
        return {}
    ours = seconds[OURS]
    return {library: paired_ratio(theirs, ours) for library, theirs in seconds.items() if library != OURS}


def quietly(function, *args, **kwargs):
    """Call without warnings (an unconverged fit is meant here), which would also cost time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def _advance(on_step):
    if on_step is not None:
        on_step()
