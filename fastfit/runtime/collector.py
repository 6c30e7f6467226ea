"""Python's garbage collector, paused where it would only be in the way."""

import gc
from contextlib import contextmanager


@contextmanager
def collector_paused():
    """Keep the cyclic garbage collector from running inside the block.

    Work that makes hundreds of thousands of long-lived objects, as Numba's import and its compiler do, has the
    collector look through all of them again and again; and in a timed sample it would run at somebody's expense.

    Examples
    --------
    >>> import gc
    >>> from fastfit.runtime.collector import collector_paused
    >>> with collector_paused():
    ...     gc.isenabled()
    False
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
