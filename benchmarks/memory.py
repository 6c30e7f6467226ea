"""Peak of a process's memory while a function runs, from the operating system's own counter."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_growth(function):
    """Bytes by which the peak of resident memory during ``function()`` exceeds the memory in use before it.

    On Linux the peak is reset first. Elsewhere the peak of the whole process is all there is, so that the
    growth is right only where the call sets a new peak; it is never below zero.
    """
    _reset_peak()
    before = _resident()
    function()
    return max(0, _peak() - before)


def _reset_peak():
    # Not every container allows it; the peak then is the process's own, and the growth at most too small.
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return


def _status_bytes(key):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(key)


def _peak():
    if _STATUS.exists():
        return _status_bytes("VmHWM")
    import resource  # absent on Windows, which has no such counter

    kibibytes_or_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes_or_bytes * (1 if sys.platform == "darwin" else 1024)


def _resident():
    return _status_bytes("VmRSS") if _STATUS.exists() else _peak()
