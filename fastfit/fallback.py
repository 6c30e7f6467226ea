"""What estimators do where fastfit's kernels do not cover what was asked for: one place for one rule."""

import warnings

from fastfit.runtime.config import get_config


def note_fallback(estimator, reason):
    """Say, as the configuration wants it, that scikit-learn's implementation is about to be used.

    Parameters
    ----------
    estimator : estimator
        Named in the message.
    reason : str
        What is not covered, as a noun: "sparse X".

    Raises
    ------
    RuntimeError
        If ``fastfit.get_config()["fallback"]`` is "error".
    ValueError
        If a callback of the estimator would change the model, and cannot: see `refuse_or_warn_of_callbacks`.

    Warns
    -----
    UserWarning
        If it is "warn"; and if the estimator has callbacks that would do nothing.

    Examples
    --------
    >>> from fastfit.fallback import note_fallback
    >>> from fastfit.runtime.config import config_context
    >>> with config_context(fallback="error"):
    ...     note_fallback("LinearRegression()", "sparse X")
    Traceback (most recent call last):
        ...
    RuntimeError: fastfit's kernels do not cover sparse X, and LinearRegression() would be fitted by
    scikit-learn...
    """
    refuse_or_warn_of_callbacks(estimator, reason)
    mode = get_config()["fallback"]
    if mode == "silent":
        return
    name = estimator if isinstance(estimator, str) else type(estimator).__name__
    if mode == "error":
        raise RuntimeError(
            f"fastfit's kernels do not cover {reason}, and {name} would be fitted by scikit-learn instead. "
            "fastfit.set_config(fallback='silent'), or 'warn', allows that."
        )
    warnings.warn(
        f"fastfit's kernels do not cover {reason}, and {name} is fitted by scikit-learn instead.",
        UserWarning,
        stacklevel=3,
    )


def refuse_or_warn_of_callbacks(estimator, reason):
    """Say that callbacks of fastfit's see no epochs, rounds or trees where scikit-learn fits.

    What they would do in a fit tells which: ``when_unwatched`` of the callback is "refuse" or "warn".
    """
    name = type(estimator).__name__
    for callback in getattr(estimator, "_skl_callbacks", ()):
        what = getattr(callback, "when_unwatched", None)
        text = (
            f"{type(callback).__name__} does not work on {name} with {reason}: scikit-learn fits that, and "
            "tells nobody of its epochs, rounds or trees."
        )
        if what == "refuse":
            raise ValueError(text)
        if what == "warn":
            warnings.warn(text, UserWarning, stacklevel=4)
