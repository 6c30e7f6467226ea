"""The validation scores of a finished search over two of its hyperparameters."""

import numbers

import numpy as np

from fastfit.inspection.plotting import axes_for, is_logarithmic

__all__ = ["ValidationSurfaceDisplay"]

MAX_WRITTEN_CELLS = 120


class ValidationSurfaceDisplay:
    """A heat map of scores over two hyperparameters, the best combination marked.

    Use `from_search`, or `from_estimator`, which is the same, to make one. Where other hyperparameters were searched as
    well, each cell shows the best over them.

    Parameters
    ----------
    x_name, y_name : str
        The hyperparameters.
    x_values, y_values : list
        Their values, in order.
    scores : ndarray of shape (n_y_values, n_x_values)
        NaN where a combination was not tried.
    score_name : str

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    mesh_ : matplotlib QuadMesh
    best_ : tuple
        (x value, y value) of the best combination.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import GridSearchCV
    >>> from fastfit.ensemble import HistGradientBoostingRegressor
    >>> from fastfit.inspection import ValidationSurfaceDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> grid = {"learning_rate": [0.01, 0.1, 1.0], "max_iter": [5, 10]}
    >>> search = GridSearchCV(HistGradientBoostingRegressor(), grid, cv=3).fit(X, y)
    >>> display = ValidationSurfaceDisplay.from_search(search, "learning_rate", "max_iter")
    >>> display.ax_.get_xscale(), display.best_
    ('log', (0.1, 10))
    """

    def __init__(self, x_name, y_name, x_values, y_values, scores, score_name):
        self.x_name, self.y_name = x_name, y_name
        self.x_values, self.y_values = x_values, y_values
        self.scores = scores
        self.score_name = score_name

    @classmethod
    def from_search(cls, search, x_name=None, y_name=None, *, metric=None, ax=None, cmap="viridis"):
        """Draw a finished search.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or alike
            With ``cv_results_``.
        x_name, y_name : str, default=None
            The hyperparameters to draw. None: the two that were searched, if they are two.
        metric : str, default=None
            Of a search with several metrics, the one to draw.
        ax : matplotlib Axes, default=None
        cmap : str or Colormap, default="viridis"

        Returns
        -------
        display : ValidationSurfaceDisplay

        Raises
        ------
        ValueError
            If the search is not finished, or has no such hyperparameters or metric.
        """
        results = getattr(search, "cv_results_", None)
        if results is None:
            raise ValueError(f"this {type(search).__name__} has no cv_results_: call fit first.")
        names = [key.removeprefix("param_") for key in results if key.startswith("param_")]
        x_name, y_name = _chosen_names(names, x_name, y_name)
        scores = _scores_of(results, metric)
        x_all, y_all = ([_plain(v) for v in results[f"param_{name}"]] for name in (x_name, y_name))
        x_values, y_values = _ordered(x_all), _ordered(y_all)
        surface = np.full((len(y_values), len(x_values)), np.nan)
        for x, y, score in zip(x_all, y_all, scores, strict=True):
            row, column = _position(y_values, y), _position(x_values, x)
            surface[row, column] = np.fmax(surface[row, column], score)
        name = "mean test score" if metric is None else f"mean test {metric}"
        return cls(x_name, y_name, x_values, y_values, surface, name).plot(ax=ax, cmap=cmap)

    @classmethod
    def from_estimator(cls, estimator, x_name=None, y_name=None, *, metric=None, ax=None, cmap="viridis"):
        """Draw a finished search: as `from_search`, by the name that scikit-learn's displays have."""
        return cls.from_search(estimator, x_name, y_name, metric=metric, ax=ax, cmap=cmap)

    def plot(self, ax=None, *, cmap="viridis"):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        cmap : str or Colormap, default="viridis"

        Returns
        -------
        display : ValidationSurfaceDisplay
        """
        self.figure_, self.ax_ = axes_for(type(self).__name__, ax)
        x_places, x_edges = self._lay_out("x", self.x_values)
        y_places, y_edges = self._lay_out("y", self.y_values)
        masked = np.ma.masked_invalid(self.scores)
        self.mesh_ = self.ax_.pcolormesh(x_edges, y_edges, masked, cmap=cmap)
        self.figure_.colorbar(self.mesh_, ax=self.ax_, label=self.score_name)
        self.ax_.set_xlabel(self.x_name)
        self.ax_.set_ylabel(self.y_name)
        self.best_ = None
        if not np.isnan(self.scores).all():
            row, column = np.unravel_index(np.nanargmax(self.scores), self.scores.shape)
            self.best_ = self.x_values[column], self.y_values[row]
            self._mark_best(x_edges, y_edges, row, column)
        self._write_scores(x_places, y_places)
        return self

    def _mark_best(self, x_edges, y_edges, row, column):
        from matplotlib.patches import Rectangle

        corner = x_edges[column], y_edges[row]
        sides = x_edges[column + 1] - corner[0], y_edges[row + 1] - corner[1]
        # Over the border of the axes, too, so that a cell there is framed on all sides.
        frame = Rectangle(
            corner, *sides, fill=False, edgecolor="tab:red", linewidth=4, zorder=4, clip_on=False
        )
        self.ax_.add_patch(frame)
        best = self.scores[row, column]
        x, y = self.best_
        self.ax_.set_title(
            f"best: {best:.4g} at {self.x_name}={_text(x)}, {self.y_name}={_text(y)}", fontsize="medium"
        )

    def _write_scores(self, x_places, y_places):
        """Write the score into each cell, in black or white, whichever stands out."""
        if self.scores.size > MAX_WRITTEN_CELLS:
            return
        size = "small" if self.scores.size <= 40 else "x-small"
        for row, y in enumerate(y_places):
            for column, x in enumerate(x_places):
                score = self.scores[row, column]
                if np.isnan(score):
                    continue
                red, green, blue, _ = self.mesh_.cmap(self.mesh_.norm(score))
                is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                color = "white" if is_dark else "black"
                self.ax_.text(
                    x, y, f"{score:.3f}", color=color, ha="center", va="center", fontsize=size, zorder=5
                )

    def _lay_out(self, which, values):
        """Set the scale and the ticks of an axis; return the places of the values and the edges of their cells."""
        axis, set_scale = getattr(self.ax_, f"{which}axis"), getattr(self.ax_, f"set_{which}scale")
        if all(_is_number(value) for value in values) and len(values) > 1:
            places = np.asarray(values, dtype=float)
            is_log = is_logarithmic(places)
            if is_log:
                set_scale("log")
            points = np.log(places) if is_log else places
            middles = (points[1:] + points[:-1]) / 2.0
            first, last = 2 * points[0] - middles[0], 2 * points[-1] - middles[-1]
            edges = np.concatenate([[first], middles, [last]])
            edges = np.exp(edges) if is_log else edges
        else:
            places, edges = np.arange(len(values), dtype=float), np.arange(len(values) + 1) - 0.5
        axis.set_ticks(places, labels=[_text(value) for value in values])
        axis.set_tick_params(which="minor", length=0)
        axis.set_minor_locator(_no_ticks())
        if which == "x" and len(values) * max(len(_text(value)) for value in values) > 60:
            axis.set_tick_params(rotation=45)
        return places, edges


def _no_ticks():
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _chosen_names(names, x_name, y_name):
    if x_name is None and y_name is None:
        if len(names) != 2:
            raise ValueError(
                f"the search is over {len(names)} hyperparameters ({', '.join(names)}); name two as x_name and y_name."
            )
        return names
    for argument, name in (("x_name", x_name), ("y_name", y_name)):
        if name is None:
            raise ValueError(f"{argument} is missing; name two hyperparameters or none.")
        if name not in names:
            raise ValueError(f"{argument}={name!r} was not searched; there are: {', '.join(names)}.")
    if x_name == y_name:
        raise ValueError(f"x_name and y_name are both {x_name!r}.")
    return x_name, y_name


def _scores_of(results, metric):
    key = f"mean_test_{'score' if metric is None else metric}"
    if key not in results:
        there = [name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_")]
        raise ValueError(f"no metric {metric or 'score'!r} in the search; there are: {', '.join(there)}.")
    return np.asarray(results[key], dtype=float)


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _ordered(values):
    """Return the different values: numbers in ascending order, all else as they first appear."""
    different = []
    for value in values:
        if not any(_is_same(value, other) for other in different):
            different.append(value)
    return sorted(different) if all(map(_is_number, different)) else different


def _is_same(value, other):
    return repr(value) == repr(other) if type(value) is not type(other) else value == other


def _position(values, value):
    return next(i for i, other in enumerate(values) if _is_same(value, other))


def _text(value):
    return f"{value:g}" if isinstance(value, float) else str(value)
