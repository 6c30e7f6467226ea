"""What the user set beside what the fit learned."""

import inspect
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from fastfit.inspection.learned import learned_parameters, shortened, summarise_model
from fastfit.inspection.phrases import phrase_of
from fastfit.inspection.tables import Shown, Table, format_bytes

__all__ = ["EstimatorDescription", "Hyperparameter", "describe"]

NOT_FITTED = "Nothing is learned yet: call fit."


class Hyperparameter(NamedTuple):
    """One hyperparameter: what the user may set before the fit.

    Attributes
    ----------
    name : str
    value : object
    default : object
        ``inspect.Parameter.empty`` if there is none.
    changed : bool
        Whether the value differs from the default.
    controls : str
        What it controls, in a phrase.
    """

    name: str
    value: object
    default: object
    changed: bool
    controls: str


def describe(estimator):
    """Show what was set and what was learned.

    Parameters
    ----------
    estimator : estimator
        Fitted or not, of fastfit or any other with scikit-learn's conventions. It is not changed.

    Returns
    -------
    description : EstimatorDescription
        Prints as two tables, shows as HTML in a notebook, and has `to_dict`.

    Raises
    ------
    TypeError
        If `estimator` is a class, or has no ``get_params``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.inspection import describe
    >>> from fastfit.linear_model import LinearRegression
    >>> X = np.arange(5.0).reshape(-1, 1)
    >>> description = describe(LinearRegression(fit_intercept=True, tol=1e-8).fit(X, 2 * X[:, 0] + 1))
    >>> description.summary
    ['y = 2 x + 1']
    >>> [h.name for h in description.hyperparameters if h.changed]
    ['tol']
    >>> [(p.name, p.shape, p.n_bytes) for p in description.learned][:2]
    [('coef_', (1,), 8), ('intercept_', (), 8)]
    """
    if inspect.isclass(estimator):
        raise TypeError(f"describe needs an estimator, got the class {estimator.__name__}; pass an instance.")
    if not hasattr(estimator, "get_params"):
        raise TypeError(f"describe needs an estimator with get_params, got {type(estimator).__name__}.")
    return EstimatorDescription(
        type(estimator).__name__,
        _hyperparameters(estimator),
        learned_parameters(estimator),
        summarise_model(estimator),
        is_fitted=_is_fitted(estimator),
    )


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


def _hyperparameters(estimator):
    signature = inspect.signature(type(estimator).__init__).parameters
    found = []
    for name, value in estimator.get_params(deep=False).items():
        default = signature[name].default if name in signature else inspect.Parameter.empty
        is_changed = not _is_same(value, default)
        found.append(Hyperparameter(name, value, default, is_changed, phrase_of(type(estimator), name)))
    # Changed ones first; both in the order of the signature, which is that of importance.
    order = {name: position for position, name in enumerate(signature)}
    return sorted(found, key=lambda h: (not h.changed, order.get(h.name, len(order))))


def _is_same(value, default):
    if value is default:
        return True
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return np.array_equal(value, default)
    try:
        return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)
    except (TypeError, ValueError):
        return False


class EstimatorDescription(Shown):
    """What was set and what was learned; made by `describe`.

    Attributes
    ----------
    estimator_name : str
    hyperparameters : list of Hyperparameter
        Those that differ from their defaults first.
    learned : list of LearnedParameter
        Empty before a fit.
    summary : list of str
        The model in a few words: the line itself, a tree's depth, a network's layers.
    is_fitted : bool
    """

    def __init__(self, estimator_name, hyperparameters, learned, summary, *, is_fitted):
        self.estimator_name = estimator_name
        self.hyperparameters = hyperparameters
        self.learned = learned
        self.summary = summary
        self.is_fitted = is_fitted

    def __repr__(self):
        n_changed = sum(h.changed for h in self.hyperparameters)
        return (
            f"<EstimatorDescription of {self.estimator_name}: {len(self.hyperparameters)} hyperparameters, "
            f"{n_changed} changed; {len(self.learned)} learned>"
        )

    def to_dict(self):
        """Return all of it as a dict of plain values that ``json.dumps`` takes, names as keys.

        Returns
        -------
        content : dict
            "estimator", "summary", "hyperparameters" (value, default, changed, controls) and "learned" (shape, dtype,
            n_values, n_bytes, value).
        """
        return {
            "estimator": self.estimator_name,
            "summary": list(self.summary),
            "hyperparameters": {
                h.name: {
                    "value": _plain(h.value),
                    "default": None if h.default is inspect.Parameter.empty else _plain(h.default),
                    "changed": h.changed,
                    "controls": h.controls,
                }
                for h in self.hyperparameters
            },
            "learned": {
                p.name: {key: _plain(value) for key, value in p._asdict().items() if key != "name"}
                for p in self.learned
            },
        }

    def parts(self):
        """Return the texts and tables that show this description."""
        parts = [
            Table(
                f"{self.estimator_name}: hyperparameters, set by you",
                (
                    ("name", "left"),
                    ("value", "left"),
                    ("default", "left"),
                    ("", "left"),
                    ("controls", "left"),
                ),
                [
                    (h.name, _shown(h.value), _shown(h.default), "changed" if h.changed else "", h.controls)
                    for h in self.hyperparameters
                ],
                frozenset(i for i, h in enumerate(self.hyperparameters) if h.changed),
            )
        ]
        if not self.learned:
            text = "Nothing of its own is learned; describe its parts." if self.is_fitted else NOT_FITTED
            return [*parts, text]
        parts.append(
            Table(
                f"{self.estimator_name}: parameters, learned by fit",
                (
                    ("name", "left"),
                    ("shape", "left"),
                    ("dtype", "left"),
                    ("values", "right"),
                    ("bytes", "right"),
                    ("value", "left"),
                ),
                [
                    (
                        p.name,
                        " x ".join(map(str, p.shape)),
                        p.dtype,
                        f"{p.n_values:,}",
                        format_bytes(p.n_bytes),
                        p.value,
                    )
                    for p in self.learned
                ],
            )
        )
        return [*parts, "\n".join(self.summary)] if self.summary else parts


def _shown(value):
    return "(none)" if value is inspect.Parameter.empty else shortened(value)


def _plain(value):
    """Return a value as ``json.dumps`` takes it; of other objects what they look like."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return repr(value)
