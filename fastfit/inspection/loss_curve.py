"""How the loss fell: by epoch, by round or by tree."""

from typing import NamedTuple

import numpy as np

from fastfit.inspection.plotting import axes_for, decimal_numbers, span

__all__ = ["Curve", "LossCurveDisplay", "curves_of"]

WIDE = 30.0
SCORE_NAMES = ("validation score",)
STYLES = {
    "training loss": "-",
    "validation loss": "--",
    "loss on the data given": "-.",
    "validation score": ":",
}


class Curve(NamedTuple):
    """One curve of a fit.

    Attributes
    ----------
    kind : str
        "training loss", "validation loss", "validation score" or "loss on the data given".
    step : str
        "epoch", "round" or "tree": what the positions count.
    positions : ndarray
    values : ndarray
    """

    kind: str
    step: str
    positions: np.ndarray
    values: np.ndarray


def curves_of(estimator, X=None, y=None):
    """Return the curves that a fitted estimator has recorded, or those of data that it is given.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X, y : array-like, default=None
        Validation data. For boosting and forests, which keep all their rounds and trees, the loss on these data after
        each of them is computed; others recorded their validation scores in ``fit`` or not at all.

    Returns
    -------
    curves : list of Curve

    Raises
    ------
    ValueError
        If the estimator has recorded nothing.
    """
    learned = vars(estimator)
    name = type(estimator).__name__
    if "_predictors" in learned:
        curves = _boosting_curves(estimator)
    elif isinstance(learned.get("estimators_"), np.ndarray):
        curves = [_curve("training loss", "round", estimator.train_score_[: len(estimator.estimators_)])]
    elif "estimators_" in learned:
        curves = []
    elif "loss_curve_" in learned:
        curves = _epoch_curves(estimator)
    else:
        what = "is not fitted" if not _has_learned(learned) else "has recorded no losses"
        raise ValueError(f"this {name} {what}: there is no curve to draw.")
    if X is not None:
        curves += _curves_on(estimator, X, y)
    if not curves:
        raise ValueError(
            f"{name} records no losses in its fit; give X and y to see the loss after each tree."
        )
    return curves


def _has_learned(learned):
    return any(name.endswith("_") and not name.startswith("_") for name in learned)


def _curve(kind, step, values, first=1):
    values = np.asarray(values, dtype=float)
    return Curve(kind, step, np.arange(first, first + len(values)), values)


def _epoch_curves(estimator):
    losses = np.atleast_2d(estimator.loss_curve_)
    # One-versus-all: the mean over the classes that still learn.
    curves = [_curve("training loss", "epoch", _mean_of_rows(losses))]
    scores = getattr(estimator, "validation_scores_", None)
    if scores is not None and np.size(scores):
        curves.append(_curve("validation score", "epoch", _mean_of_rows(np.atleast_2d(scores))))
    return curves


def _mean_of_rows(rows):
    rows = np.asarray(rows, dtype=float)
    present = ~np.isnan(rows)
    # A class that has stopped keeps its last value.
    for row, known in zip(rows, present, strict=True):
        if known.any():
            last = np.flatnonzero(known)[-1]
            row[last + 1 :] = row[last]
    return rows.mean(axis=0)


def _boosting_curves(estimator):
    curves = []
    if estimator.loss_curve_.size if hasattr(estimator, "loss_curve_") else 0:
        # Before each round; round 0 is the constant prediction.
        curves.append(_curve("training loss", "round", estimator.loss_curve_, first=0))
    elif np.size(estimator.train_score_):
        curves.append(_curve("training loss", "round", -np.asarray(estimator.train_score_), first=0))
    if np.size(estimator.validation_score_):
        is_loss = estimator.scoring == "loss"
        values = np.asarray(estimator.validation_score_)
        kind = "validation loss" if is_loss else "validation score"
        curves.append(_curve(kind, "round", -values if is_loss else values, first=0))
    return curves


def _curves_on(estimator, X, y):
    """Return the loss on data after each round or tree."""
    staged, step = None, "round"
    is_classifier = hasattr(estimator, "classes_")
    if hasattr(estimator, "staged_predict"):
        staged = (estimator.staged_predict_proba if is_classifier else estimator.staged_predict)(X)
    elif isinstance(getattr(estimator, "estimators_", None), list):
        staged, step = _staged_forest(estimator, X, is_classifier), "tree"
    if staged is None:
        raise ValueError(
            f"{type(estimator).__name__} keeps no models of single epochs; give X_val and y_val to its fit to record "
            "validation scores."
        )
    losses = [_loss(estimator, prediction, y, is_classifier) for prediction in staged]
    return [_curve("loss on the data given", step, losses)]


def _staged_forest(estimator, X, is_classifier):
    """Yield the predictions of the first tree, the first two, ...: means of the trees'."""
    if estimator.n_outputs_ != 1:
        raise ValueError("curves of forests are drawn for one target; this one has several.")
    X = estimator._validate_X_predict(X)
    total = 0.0
    for number, tree in enumerate(estimator.estimators_, start=1):
        values = (
            tree.predict_proba(X, check_input=False) if is_classifier else tree.predict(X, check_input=False)
        )
        total = total + values
        yield total / number


def _loss(estimator, prediction, y, is_classifier):
    y = np.asarray(y)
    if not is_classifier:
        return 0.5 * float(np.mean((prediction - y) ** 2))
    codes = np.searchsorted(estimator.classes_, y)
    chosen = prediction[np.arange(len(y)), codes]
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(float).eps))))


class LossCurveDisplay:
    """Training and validation losses by epoch, round or tree, of one estimator or several.

    Use `from_estimator` to make one.

    Parameters
    ----------
    curves : dict of str to list of Curve
        By the name of the estimator.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    score_ax_ : matplotlib Axes or None
        A second scale, for validation scores; None if there are none.
    lines_ : list of matplotlib Line2D

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastfit.inspection import LossCurveDisplay
    >>> from fastfit.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier((10,), max_iter=5, early_stopping=True, random_state=0)
    >>> display = LossCurveDisplay.from_estimator(model.fit(X, y))
    >>> [line.get_label() for line in display.lines_]
    ['MLPClassifier, training loss', 'MLPClassifier, validation score']
    """

    def __init__(self, curves):
        self.curves = curves

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, names=None, ax=None):
        """Draw the curves of fitted estimators.

        Parameters
        ----------
        estimator : estimator, or list or dict of them
            A dict gives their names.
        X, y : array-like, default=None
            Validation data, for boosting and forests: the loss on them after each round or tree is drawn, too.
        names : list of str, default=None
            Names of the estimators in the legend. None: those of their classes, with what differs between them.
        ax : matplotlib Axes, default=None

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If an estimator is not fitted or has recorded no losses.
        """
        if isinstance(estimator, dict):
            names, estimators = list(estimator), list(estimator.values())
        else:
            estimators = list(estimator) if isinstance(estimator, list | tuple) else [estimator]
        if (X is None) != (y is None):
            raise ValueError("X and y go together; give both or neither.")
        if names is None:
            names = _names_of(estimators)
        if len(names) != len(estimators) or len(set(names)) != len(names):
            raise ValueError(f"names must be {len(estimators)} different names, got {list(names)}.")
        curves = {name: curves_of(model, X, y) for name, model in zip(names, estimators, strict=True)}
        return cls(curves).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        display : LossCurveDisplay
        """
        self.figure_, self.ax_ = axes_for(type(self).__name__, ax)
        every = [curve for curves in self.curves.values() for curve in curves]
        self.score_ax_ = None
        if any(curve.kind in SCORE_NAMES for curve in every):
            if all(curve.kind in SCORE_NAMES for curve in every):
                self.score_ax_ = self.ax_
            else:
                self.score_ax_ = self.ax_.twinx()
        self.lines_ = []
        for number, (name, curves) in enumerate(self.curves.items()):
            for curve in curves:
                self._plot_curve(name, number, curve)
        self._label_axes(every)
        return self

    def _plot_curve(self, name, number, curve):
        ax = self.score_ax_ if curve.kind in SCORE_NAMES else self.ax_
        style = STYLES[curve.kind]
        label = f"{name}, {curve.kind}"
        marker = "o" if len(curve.values) == 1 else None
        (line,) = ax.plot(
            curve.positions, curve.values, style, color=f"C{number % 10}", label=label, marker=marker
        )
        self.lines_.append(line)

    def _label_axes(self, every):
        steps = sorted({curve.step for curve in every})
        self.ax_.set_xlabel(" or ".join(steps))
        losses = [value for curve in every if curve.kind not in SCORE_NAMES for value in curve.values]
        lengths = [len(curve.values) for curve in every]
        if losses and min(losses) > 0.0 and span(losses) > WIDE:
            self.ax_.set_yscale("log")
            decimal_numbers(self.ax_.yaxis)
        if len(lengths) > 1 and max(lengths) > WIDE * min(lengths) and all(c.positions[0] > 0 for c in every):
            self.ax_.set_xscale("log")
        if self.ax_ is not self.score_ax_:
            self.ax_.set_ylabel("loss")
        if self.score_ax_ is not None:
            self.score_ax_.set_ylabel("validation score")
        if self.ax_.get_xscale() == "linear":
            from matplotlib.ticker import MaxNLocator

            self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        self.ax_.grid(alpha=0.3)
        # One legend for both scales, above the axes, where it hides no curve.
        self.ax_.legend(
            handles=self.lines_,
            fontsize="small",
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            borderaxespad=0.3,
        )


def _names_of(estimators):
    """Return names that differ: classes, with the hyperparameters in which estimators of one class differ."""
    classes = [type(estimator).__name__ for estimator in estimators]
    names = []
    for number, (estimator, name) in enumerate(zip(estimators, classes, strict=True)):
        alike = [e for e, other in zip(estimators, classes, strict=True) if other == name]
        if len(alike) == 1:
            names.append(name)
            continue
        params = [e.get_params(deep=False) for e in alike]
        own = estimator.get_params(deep=False)
        differing = [key for key in own if any(repr(p.get(key)) != repr(own[key]) for p in params)]
        settings = ", ".join(f"{key}={own[key]!r}" for key in differing)
        names.append(f"{name}({settings})" if settings else f"{name} {number + 1}")
    return [n if names.count(n) == 1 else f"{n} [{i + 1}]" for i, n in enumerate(names)]
