"""Work that several fits on the same data share: what is prepared from the data is prepared by the first of them."""

import threading
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_scope = ContextVar("fastfit_shared_work", default=None)

# Values of an array that its fingerprint contains one by one.
N_SAMPLED = 64


class SharedWork:
    """What has been prepared so far, by key; threads that need the same wait for whichever came first.

    Attributes
    ----------
    n_made, n_reused : int
        How often something was prepared, and how often that was not necessary.
    """

    def __init__(self):
        self.n_made = self.n_reused = 0
        self._entries = {}
        self._lock = threading.Lock()

    def get(self, key, make):
        """Return what ``make()`` has returned for this key."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if entry.is_made:
                self.n_reused += 1
            else:
                entry.value = make()
                entry.is_made = True
                self.n_made += 1
            return entry.value

    @contextmanager
    def used(self):
        """Have all fits inside of the block share this work."""
        token = _scope.set(self)
        try:
            yield self
        finally:
            _scope.reset(token)


class _Entry:
    def __init__(self):
        self.lock = threading.Lock()
        self.is_made = False
        self.value = None


def is_sharing():
    """Return whether fits share their work here."""
    return _scope.get() is not None


def reuse(key, make):
    """Return ``make()``, or what it has returned for this key since the enclosing `SharedWork` began.

    Parameters
    ----------
    key : callable
        Returns a hashable that stands for everything that the result depends on; called only where work is shared.
    make : callable

    Examples
    --------
    >>> from fastfit.runtime.reuse import SharedWork, reuse
    >>> work = SharedWork()
    >>> with work.used():
    ...     [reuse(lambda: "sorted", lambda: sorted([3, 1, 2])) for _ in range(2)]
    [[1, 2, 3], [1, 2, 3]]
    >>> work.n_made, work.n_reused
    (1, 1)
    """
    work = _scope.get()
    return make() if work is None else work.get(key(), make)


def fingerprint(array):
    """Return a hashable that, of the data of one search, no other array has: shape, sums and some values.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.runtime.reuse import fingerprint
    >>> fingerprint(np.arange(4.0)) == fingerprint(np.arange(4.0))
    True
    >>> fingerprint(np.arange(4.0)) == fingerprint(np.arange(4.0)[::-1])
    False
    """
    if array is None:
        return None
    flat = (
        array.reshape(-1, order="A") if array.flags.contiguous or array.flags.f_contiguous else array.ravel()
    )
    some = flat[:: max(1, len(flat) // N_SAMPLED)]
    with np.errstate(all="ignore"):
        total = flat.sum(dtype=np.float64) if flat.dtype.kind in "fiub" else 0.0
    return array.shape, array.dtype.str, array.flags.c_contiguous, np.float64(total).tobytes(), some.tobytes()
