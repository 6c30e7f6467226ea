"""Global settings: process-wide by ``set_config``, for one block of code by ``config_context``."""

from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from types import MappingProxyType

FALLBACK_MODES = ("error", "silent", "warn")

_UNCHANGED = object()

_process_settings = {"n_threads": None, "fallback": "silent"}

# A context variable rather than a thread-local one: a block inside an asynchronous task stays with its task.
_context_settings = ContextVar("fastfit_config", default=MappingProxyType({}))


def set_config(*, n_threads=_UNCHANGED, fallback=_UNCHANGED):
    """Set the process-wide configuration; what is not given stays as it is.

    Parameters
    ----------
    n_threads : int or None
        Upper limit of the threads that all estimators of this process use together. None, as at the start,
        sets no limit beyond those that :func:`fastfit.runtime.threads.explain_budget` lists.
    fallback : {"silent", "warn", "error"}
        What to do when fastfit's kernels do not cover what was asked for and scikit-learn's own
        implementation would be used: nothing ("silent", as at the start), warn, or raise an error.

    See Also
    --------
    config_context : Change the configuration inside a ``with`` block only.
    get_config : The configuration in force.

    Examples
    --------
    >>> from fastfit.runtime.config import get_config, set_config
    >>> set_config(n_threads=4)
    >>> get_config()
    {'n_threads': 4, 'fallback': 'silent'}
    >>> set_config(n_threads=None)
    """
    _process_settings.update(_validated("set_config", n_threads, fallback))


def get_config():
    """Return the configuration in force here: that of the process under that of the enclosing blocks.

    Returns
    -------
    config : dict
        A copy, with the keys ``n_threads`` and ``fallback``.

    See Also
    --------
    config_context : Change the configuration inside a ``with`` block only.
    set_config : Change the configuration of the process.
    """
    return {**_process_settings, **_context_settings.get()}


@contextmanager
def config_context(*, n_threads=_UNCHANGED, fallback=_UNCHANGED):
    """Change the configuration inside a ``with`` block, for the current thread or asynchronous task only.

    Other threads, and worker processes of joblib, are not affected; use :func:`set_config` there. Blocks
    nest: the innermost one that names a setting decides, and where none does, the process-wide value holds.

    Parameters
    ----------
    n_threads : int or None
        As in :func:`set_config`.
    fallback : {"silent", "warn", "error"}
        As in :func:`set_config`.

    Examples
    --------
    >>> from fastfit.runtime.config import config_context, get_config
    >>> with config_context(n_threads=1):
    ...     get_config()["n_threads"]
    1
    """
    settings = _validated("config_context", n_threads, fallback)
    token = _context_settings.set({**_context_settings.get(), **settings})
    try:
        yield
    finally:
        _context_settings.reset(token)


def n_threads_limits():
    """Return the ``n_threads`` in force as (limit of the process, limit of this context); None for none."""
    context_settings = _context_settings.get()
    if "n_threads" in context_settings:
        return None, context_settings["n_threads"]
    return _process_settings["n_threads"], None


def _validated(caller_name, n_threads, fallback):
    settings = {}
    if n_threads is not _UNCHANGED:
        _check_n_threads(caller_name, n_threads)
        settings["n_threads"] = n_threads if n_threads is None else int(n_threads)
    if fallback is not _UNCHANGED:
        _check_fallback(caller_name, fallback)
        settings["fallback"] = fallback
    return settings


def _check_n_threads(caller_name, n_threads):
    if n_threads is None:
        return
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1:
        raise ValueError(
            f"The 'n_threads' parameter of {caller_name} must be an int in the range [1, inf) or None. "
            f"Got {n_threads!r} instead."
        )


def _check_fallback(caller_name, fallback):
    if not isinstance(fallback, str) or fallback not in FALLBACK_MODES:
        modes = ", ".join(map(repr, FALLBACK_MODES))
        raise ValueError(
            f"The 'fallback' parameter of {caller_name} must be a str among {{{modes}}}. "
            f"Got {fallback!r} instead."
        )
