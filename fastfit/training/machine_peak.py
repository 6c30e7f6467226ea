"""The floating-point peak of this machine, measured once a process."""

import functools
import time

import numpy as np

from fastfit.kernels.fma_peak import N_CHAINS, multiply_add
from fastfit.runtime.cpu import lanes
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import map_threads

N_ROUNDS = 200_000
N_SAMPLES = 40


@functools.cache
def peak_flops(dtype_name, n_threads):
    """Return the most floating-point operations a second that kernels on so many threads can do.

    A fused multiply-add counts as two. The best of many samples of about a millisecond is taken, since whatever
    else the machine does can only slow it down.

    Parameters
    ----------
    dtype_name : {"float32", "float64"}
    n_threads : int

    Returns
    -------
    flops : float

    Examples
    --------
    >>> from fastfit.training.machine_peak import peak_flops
    >>> peak_flops("float32", 1) > 1e8
    True
    """
    dtype = np.dtype(dtype_name)
    n_values = N_CHAINS * lanes(dtype)
    factor = dtype.type(0.5)
    buffers = [aligned_zeros(n_values, dtype) for _ in range(n_threads)]
    multiply_add(buffers[0], factor, 1)  # compiles

    def work(values):
        multiply_add(values, factor, N_ROUNDS)

    best = np.inf
    for _ in range(N_SAMPLES):
        start = time.perf_counter()
        map_threads(work, buffers, n_threads)
        best = min(best, time.perf_counter() - start)
    return 2.0 * n_values * N_ROUNDS * n_threads / best
