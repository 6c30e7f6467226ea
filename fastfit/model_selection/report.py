"""What a search has spared: candidates, fits and time."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SharingReport:
    """How much of a search's work was shared.

    Attributes
    ----------
    n_candidates : int
    n_fits_apart : int
        Fits that scikit-learn would have run, the refit aside.
    n_fits : int
        Fits that were run.
    work_apart, work : dict of str to int
        The same in the units of the families, such as "trees" and "rounds".
    fit_seconds : float
        Time that the fits took, summed over threads.
    seconds_saved : float
        Estimated: as if a fit took time in proportion to its trees, rounds or epochs.

    Examples
    --------
    >>> from fastfit.model_selection.report import SharingReport
    >>> report = SharingReport(20, 100, 5, {"rounds": 10500}, {"rounds": 1000}, 0.5, 4.75)
    >>> print(report)
    20 candidates: 5 fits in place of 100 (1000 rounds in place of 10500), about 4.75 s saved
    """

    n_candidates: int
    n_fits_apart: int
    n_fits: int
    work_apart: dict = field(default_factory=dict)
    work: dict = field(default_factory=dict)
    fit_seconds: float = 0.0
    seconds_saved: float = 0.0

    @classmethod
    def of(cls, n_candidates, n_fits_apart, efforts):
        """Sum up the efforts of a search."""
        work, work_apart = Counter(), Counter()
        for effort in efforts:
            work[effort.unit] += effort.work
            work_apart[effort.unit] += effort.work_apart
        seconds = sum(effort.seconds for effort in efforts)
        apart = sum(effort.seconds_apart for effort in efforts)
        n_fits = sum(effort.n_fits for effort in efforts)
        return cls(n_candidates, n_fits_apart, n_fits, dict(work_apart), dict(work), seconds, apart - seconds)

    def __str__(self):
        units = [
            f"{self.work[unit]} {unit} in place of {self.work_apart[unit]}"
            for unit in self.work
            if unit != "fits"
        ]
        of_units = f" ({', '.join(units)})" if units else ""
        return (
            f"{self.n_candidates} candidates: {self.n_fits} fits in place of {self.n_fits_apart}{of_units}, about "
            f"{self.seconds_saved:.3g} s saved"
        )

    def plot(self, ax=None):
        """Draw the fits of scikit-learn and those that were run as two bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None: into a new figure.

        Returns
        -------
        ax : matplotlib Axes
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(6, 1.8))
        bars = ax.barh(["each by itself", "shared"], [self.n_fits_apart, self.n_fits])
        ax.bar_label(bars)
        ax.invert_yaxis()
        ax.set_xlabel("fits")
        ax.set_title(f"{self.n_candidates} candidates, about {self.seconds_saved:.3g} s saved")
        return ax
