"""What the displays share: matplotlib, loaded when something is drawn."""

import math

import numpy as np

__all__ = ["axes_for", "decimal_numbers", "is_logarithmic", "load_pyplot", "mark_powers_of_two", "span"]

# From so many powers of ten on an axis is labelled with these only.
WIDE_DECADES = 3


def load_pyplot(name):
    """Return matplotlib.pyplot.

    Raises
    ------
    ImportError
        If matplotlib is not installed; `name` says who needs it.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(f"{name}.plot needs matplotlib: pip install 'fastfit[plot]'.") from None
    return plt


def axes_for(name, ax):
    """Return (figure, axes): new ones, or those that `ax` is."""
    plt = load_pyplot(name)
    if ax is None:
        return plt.subplots(layout="constrained")
    return ax.figure, ax


def is_logarithmic(values):
    """Return whether values of a grid are spread evenly on a logarithmic scale rather than on a linear one.

    Examples
    --------
    >>> from fastfit.inspection.plotting import is_logarithmic
    >>> is_logarithmic([0.001, 0.01, 0.1, 1]), is_logarithmic([1, 2, 3, 4]), is_logarithmic([2, 4, 8])
    (True, False, True)
    >>> is_logarithmic([1, 100]), is_logarithmic([1, 2]), is_logarithmic([0, 1, 10])
    (True, False, False)
    """
    values = np.unique(np.asarray(values, dtype=float))
    if len(values) < 2 or not np.isfinite(values).all() or values[0] <= 0.0:
        return False
    if len(values) == 2:
        return bool(values[1] / values[0] >= 10.0)

    def unevenness(points):
        steps = np.diff(points)
        return np.std(steps) / np.mean(steps)

    return bool(unevenness(np.log(values)) < unevenness(values))


def mark_powers_of_two(axis, sizes):
    """Label an axis of batch sizes with the sizes themselves."""
    axis.set_ticks(sizes, labels=[str(size) for size in sizes])
    axis.set_minor_locator(_no_ticks())


def decimal_numbers(axis):
    """Label a logarithmic axis with 0.1, 0.2, 0.5, 1, ... in place of powers of ten; of a wide one only 0.1, 1, ..."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = sorted(axis.get_view_interval())
    is_wide = low > 0.0 and high / low > 10.0**WIDE_DECADES
    axis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_locator(_no_ticks())


def _no_ticks():
    from matplotlib.ticker import NullLocator

    return NullLocator()


def span(values):
    """Return the quotient of the largest and the smallest positive value."""
    positive = [value for value in values if value is not None and value > 0.0 and math.isfinite(value)]
    return max(positive) / min(positive) if positive else 1.0
