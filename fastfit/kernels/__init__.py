"""Numba kernels: one idea a file; NumPy arrays and NamedTuples in, nothing returned but numbers."""

import fastfit.runtime.numba_import  # noqa: F401 -- before any kernel imports numba itself, and more slowly
