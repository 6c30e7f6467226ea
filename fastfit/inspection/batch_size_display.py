"""A batch-size profile as one figure."""

import math

from fastfit.inspection.plotting import load_pyplot, mark_powers_of_two, span

__all__ = ["BatchSizeProfileDisplay"]

# From this quotient on a logarithmic axis shows more than a linear one.
WIDE = 10.0
RECOMMENDED_COLOR = "tab:red"
MAX_NAMED_CURVES = 6


class BatchSizeProfileDisplay:
    """Throughput, time to the target, and loss against time, side by side.

    Use `from_estimator` or `from_profile` to make one.

    Parameters
    ----------
    profile : BatchSizeProfile

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : ndarray of shape (3,) of matplotlib Axes
        Throughput, time to the target, loss against seconds.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastfit.inspection import BatchSizeProfileDisplay
    >>> from fastfit.linear_model import SGDClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> display = BatchSizeProfileDisplay.from_estimator(
    ...     SGDClassifier(), X / 16, y, batch_sizes=[4, 64], epochs=3, n_repeats=1, random_state=0
    ... )
    >>> [ax.get_title() for ax in display.ax_]
    ['Throughput', 'Time to target', 'Loss against time']
    """

    def __init__(self, profile):
        self.profile = profile

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, **profile_arguments):
        """Profile an estimator and draw the result.

        Parameters
        ----------
        estimator, X, y
            See :func:`fastfit.inspection.batch_size_profile`.
        ax : sequence of three matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **profile_arguments
            The other arguments of :func:`fastfit.inspection.batch_size_profile`.

        Returns
        -------
        display : BatchSizeProfileDisplay
        """
        from fastfit.inspection.batch_size import batch_size_profile

        load_pyplot(cls.__name__)  # before the work, not after it
        return cls.from_profile(batch_size_profile(estimator, X, y, **profile_arguments), ax=ax)

    @classmethod
    def from_profile(cls, profile, *, ax=None):
        """Draw a profile that was made before.

        Parameters
        ----------
        profile : BatchSizeProfile
        ax : sequence of three matplotlib Axes, default=None

        Returns
        -------
        display : BatchSizeProfileDisplay
        """
        return cls(profile).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : BatchSizeProfileDisplay
        """
        plt = load_pyplot(type(self).__name__)
        if ax is None:
            _, ax = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
        if len(ax) != 3:
            raise ValueError(f"ax must be three axes, got {len(ax)}.")
        self.ax_ = ax
        self.figure_ = ax[0].figure
        self._plot_throughput(ax[0])
        self._plot_target(ax[1])
        self._plot_losses(ax[2])
        return self

    def _sizes_axis(self, ax):
        ax.set_xscale("log", base=2)
        mark_powers_of_two(ax.xaxis, self.profile.batch_sizes_)
        ax.set_xlabel("batch size")
        # Room for what is written above the first and the last point.
        first, last = self.profile.batch_sizes_[0], self.profile.batch_sizes_[-1]
        margin = max((last / first) ** 0.09, 1.2)
        ax.set_xlim(first / margin, last * margin)
        ax.grid(alpha=0.3)

    def _mark_recommended(self, ax, label="recommended"):
        size = self.profile.recommended_batch_size_
        if size is not None:
            ax.axvline(size, color=RECOMMENDED_COLOR, linestyle="--", linewidth=1, label=label)

    def _plot_throughput(self, ax):
        rows = [row for row in self.profile.rows_ if row.samples_per_second is not None]
        sizes, rates = [row.batch_size for row in rows], [row.samples_per_second for row in rows]
        ax.plot(sizes, rates, "o-")
        for row in rows:
            _write_above(ax, row.batch_size, row.samples_per_second, f"{row.peak_share:.1%}")
        self._sizes_axis(ax)
        if span(rates) > WIDE:
            ax.set_yscale("log")
        elif rates:
            ax.set_ylim(0, 1.15 * max(rates))
        ax.set_ylabel("samples a second (labels: share of peak)")
        _plain_numbers(ax.yaxis)
        self._mark_recommended(ax)
        ax.set_title("Throughput")

    def _plot_target(self, ax):
        rows = [row for row in self.profile.rows_ if row.seconds_to_target is not None]
        missed = [row.batch_size for row in self.profile.rows_ if row.seconds_to_target is None]
        seconds = [row.seconds_to_target for row in rows]
        if rows:
            ax.plot([row.batch_size for row in rows], seconds, "o-", label="reached")
            for row in rows:
                epochs = f"{row.epochs_to_target:g}"
                noun = "epoch" if epochs == "1" else "epochs"
                _write_above(ax, row.batch_size, row.seconds_to_target, f"{epochs} {noun}")
        self._sizes_axis(ax)
        if span(seconds) > WIDE:
            ax.set_yscale("log")
        elif seconds:
            ax.set_ylim(0, 1.3 * max(seconds))
        if missed:
            # At the upper edge, whatever the scale is.
            ax.plot(
                missed,
                [0.95] * len(missed),
                "x",
                color="gray",
                transform=ax.get_xaxis_transform(),
                label="not reached",
            )
        critical = self.profile.critical_batch_size_
        sizes = self.profile.batch_sizes_
        if critical is not None and math.isfinite(critical) and sizes[0] <= critical <= sizes[-1]:
            ax.axvline(
                critical,
                color="tab:green",
                linestyle=":",
                label=f"critical by gradient noise: {critical:.0f}",
            )
        self._mark_recommended(ax)
        target = self.profile.target_
        what = "" if target is None else f" ({target.kind} {target.value:.3g})"
        ax.set_ylabel(f"seconds to target{what}")
        ax.legend(fontsize="small", loc="lower right" if missed else "best")
        ax.set_title("Time to target")

    def _plot_losses(self, ax):
        from matplotlib import colormaps

        profile = self.profile
        colors = colormaps["viridis"]
        curves = profile.curves_
        losses = [value for curve in curves.values() for value in curve["loss"]]
        seconds = [value for curve in curves.values() for value in curve["seconds"]]
        for position, (size, curve) in enumerate(curves.items()):
            is_recommended = size == profile.recommended_batch_size_
            ax.plot(
                curve["seconds"],
                curve["loss"],
                color=RECOMMENDED_COLOR
                if is_recommended
                else colors(position / max(1, len(curves) - 1) * 0.9),
                linewidth=2.5 if is_recommended else 1.2,
                zorder=3 if is_recommended else 2,
                label=f"{size}{' (recommended)' if is_recommended else ''}",
            )
        if span(seconds) > WIDE:
            ax.set_xscale("log")
        if span(losses) > WIDE:
            ax.set_yscale("log")
        if profile.target_ is not None and profile.target_.kind == "training loss":
            ax.axhline(profile.target_.value, color="gray", linestyle="--", linewidth=1, label="target")
        ax.set_xlabel("seconds of training")
        ax.set_ylabel("training loss")
        ax.grid(alpha=0.3)
        if curves:
            n_columns = 1 if len(curves) <= MAX_NAMED_CURVES else 2
            ax.legend(title="batch size", fontsize="small", ncols=n_columns)
        ax.set_title("Loss against time")


def _write_above(ax, x, y, text):
    """Write a small text above a point, readable where lines run behind it."""
    ax.annotate(
        text,
        (x, y),
        textcoords="offset points",
        xytext=(0, 8),
        ha="center",
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        zorder=5,
    )


def _plain_numbers(axis):
    from matplotlib.ticker import EngFormatter

    axis.set_major_formatter(EngFormatter(sep=""))
