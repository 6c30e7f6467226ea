"""Warnings that point at the user's line, however many of our own functions lie between."""

import sys

# From Python 3.12 on, the argument skip_file_prefixes of warnings.warn does this.
OUR_MODULES = "fastfit."


def stacklevel_of_caller():
    """Return the ``stacklevel`` with which a warning, given by who calls this, names the first line outside fastfit."""
    level = 1
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(OUR_MODULES):
        frame = frame.f_back
        level += 1
    return level
