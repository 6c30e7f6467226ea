"""The floating-point peak of this machine, measured once a process."""

import functools
import time

import numpy as np

from fastfit.kernels.fma_peak import N_CHAINS, multiply_add
from fastfit.runtime.cpu import lanes
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import map_threads

N_ROUNDS = 20_000  # 0.1 ms
N_SAMPLES = 200


@functools.cache
def peak_flops(dtype_name, n_threads):
    """Return the most floating-point operations a second that kernels on so many threads can do.

    A fused multiply-add counts as two. All threads work at the same time, each on many short samples, of which the
    lower quartile counts: what the threads take from each other is in it, a preemption by something else is not.

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

    def measure(values):
        seconds = []
        for _ in range(N_SAMPLES):
            start = time.perf_counter()
            multiply_add(values, factor, N_ROUNDS)
            seconds.append(time.perf_counter() - start)
        return float(np.quantile(seconds, 0.25))

    of_threads = map_threads(measure, buffers, n_threads)
    return sum(2.0 * n_values * N_ROUNDS / seconds for seconds in of_threads)
