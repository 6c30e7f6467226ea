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

    Warns
    -----
    UserWarning
        If it is "warn".

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
