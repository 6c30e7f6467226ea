"""A batch-size profile as one figure."""

import math

from fastfit.inspection.plotting import decimal_numbers, load_pyplot, mark_powers_of_two, span

__all__ = ["BatchSizeProfileDisplay"]

# From this quotient on a logarithmic axis shows more than a linear one.
WIDE = 10.0
RECOMMENDED_COLOR = "tab:red"


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
            figure, ax = plt.subplots(1, 3, figsize=(15, 5.6), layout="constrained")
            figure.suptitle(self._headline(), fontsize="x-large")
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
        margin = max((last / first) ** 0.12, 1.2)
        ax.set_xlim(first / margin, last * margin)
        ax.grid(alpha=0.3)

    def _headline(self):
        """Return what the figure is of, and what to take from it."""
        profile = self.profile
        size = profile.recommended_batch_size_
        advice = (
            "training diverged with every batch size" if size is None else f"recommended batch size {size}"
        )
        return f"{profile.estimator_name}, {profile.n_samples:,} samples x {profile.n_features}: {advice}"

    def _mark_recommended(self, ax, value):
        """Mark the recommended batch size, and its point if it has a value."""
        size = self.profile.recommended_batch_size_
        if size is None:
            return
        label = f"recommended: {size}"
        if value is None:
            ax.axvline(size, color=RECOMMENDED_COLOR, linestyle="--", linewidth=1, label=label)
            return
        ax.axvline(size, color=RECOMMENDED_COLOR, linestyle="--", linewidth=1, zorder=1)
        ax.plot([size], [value], "*", color=RECOMMENDED_COLOR, markersize=15, zorder=4, label=label)

    def _value_at_recommended(self, field):
        for row in self.profile.rows_:
            if row.batch_size == self.profile.recommended_batch_size_:
                return getattr(row, field)
        return None

    def _plot_throughput(self, ax):
        rows = [row for row in self.profile.rows_ if row.samples_per_second is not None]
        sizes, rates = [row.batch_size for row in rows], [row.samples_per_second for row in rows]
        ax.plot(sizes, rates, "o-")
        _label_points(ax, sizes, rates, [f"{row.peak_share:.1%}" for row in rows])
        self._sizes_axis(ax)
        if span(rates) > WIDE:
            _leave_room(ax, rates)
        elif rates:
            ax.set_ylim(0, 1.15 * max(rates))
        ax.set_ylabel("samples a second (labels: share of the measured peak)")
        _with_prefixes(ax.yaxis)
        self._mark_recommended(ax, self._value_at_recommended("samples_per_second"))
        if self.profile.recommended_batch_size_ is not None:
            _legend_below(ax, 1)
        ax.set_title("Throughput")

    def _plot_target(self, ax):
        rows = [row for row in self.profile.rows_ if row.seconds_to_target is not None]
        missed = [row.batch_size for row in self.profile.rows_ if row.seconds_to_target is None]
        seconds = [row.seconds_to_target for row in rows]
        if rows:
            ax.plot([row.batch_size for row in rows], seconds, "o-", label="reached")
            _label_points(ax, [row.batch_size for row in rows], seconds, [_epochs_text(row) for row in rows])
        self._sizes_axis(ax)
        if span(seconds) > WIDE:
            _leave_room(ax, seconds)
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
        self._mark_recommended(ax, self._value_at_recommended("seconds_to_target"))
        target = self.profile.target_
        what = "" if target is None else f" ({target.kind} {target.value:.3g})"
        ax.set_ylabel(f"time to target{what}")
        _with_prefixes(ax.yaxis, "s")
        _legend_below(ax, 2)
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
                marker="o" if len(curve["loss"]) == 1 else None,
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
            value = profile.target_.value
            ax.axhline(value, color="gray", linestyle="--", linewidth=1, label=f"target {value:.3g}")
        ax.set_xlabel("time of training")
        _with_prefixes(ax.xaxis, "s")
        if ax.get_yscale() == "log":
            decimal_numbers(ax.yaxis)
        ax.set_ylabel("training loss")
        ax.grid(alpha=0.3)
        if curves:
            _legend_below(ax, 4, title="batch size")
        ax.set_title("Loss against time")


def _epochs_text(row):
    epochs = f"{row.epochs_to_target:g}"
    return f"{epochs} {'epoch' if epochs == '1' else 'epochs'}"


def _label_points(ax, sizes, values, texts):
    """Write a small text beside each point of a line, on a side where the line is not and the frame is not either."""
    last = len(values) - 1
    for i, (size, value, text) in enumerate(zip(sizes, values, texts, strict=True)):
        before = i > 0 and _sign(value - values[i - 1])
        after = i < last and _sign(values[i + 1] - value)
        if before * after < 0 or not (before or after):  # a peak, a valley, or a single point
            across, up = 0, -1 if before < 0 else 1
        elif before + after > 0:
            across, up = (1, -1) if i == 0 else (-1, 1)
        else:
            across, up = (-1, -1) if i == last else (1, 1)
        ax.annotate(
            text,
            (size, value),
            textcoords="offset points",
            xytext=((7 if up > 0 else 9) * across, 8 * up),
            ha=("right", "center", "left")[across + 1],
            va="bottom" if up > 0 else "top",
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
            zorder=5,
        )


def _legend_below(ax, n_columns, **arguments):
    """Set a legend where it hides neither points nor what is written beside them."""
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=n_columns, **arguments)


def _leave_room(ax, values):
    """Set a logarithmic scale with room for what is written above and below the points."""
    ax.set_yscale("log")
    margin = span(values) ** 0.15
    ax.set_ylim(min(values) / margin, max(values) * margin)


def _sign(number):
    return (number > 0) - (number < 0)


def _with_prefixes(axis, unit=""):
    """Write numbers with prefixes, 250k or 40 ms, and on a logarithmic axis also those between powers of ten."""
    from matplotlib.ticker import EngFormatter

    if axis.get_scale() == "log":
        decimal_numbers(axis)
    axis.set_major_formatter(EngFormatter(unit, sep=" " if unit else ""))
