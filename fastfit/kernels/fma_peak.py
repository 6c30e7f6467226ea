"""As many multiplications and additions as one core can do: what the shares of peak are shares of."""

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import broadcast, fma, lanes, load, store

# Chains of dependent fused multiply-adds. Two units with a latency of four or five cycles need ten in flight.
N_CHAINS = 12


@jit
def multiply_add(
    values,  # (N_CHAINS * lanes,) float32 or float64, read and written, so that nothing is optimised away
    factor,  # float of the same precision, near 1
    n_rounds,
):
    """values = factor * values + factor, n_rounds times: 2 * N_CHAINS * lanes operations a round, none from memory."""
    n = lanes(values.dtype)
    f = broadcast(factor, values.dtype)
    a, b, c = load(values, 0), load(values, n), load(values, 2 * n)
    d, e, g = load(values, 3 * n), load(values, 4 * n), load(values, 5 * n)
    h, i, j = load(values, 6 * n), load(values, 7 * n), load(values, 8 * n)
    k, l, m = load(values, 9 * n), load(values, 10 * n), load(values, 11 * n)
    for _ in range(n_rounds):
        a, b, c, d = fma(f, a, f), fma(f, b, f), fma(f, c, f), fma(f, d, f)
        e, g, h, i = fma(f, e, f), fma(f, g, f), fma(f, h, f), fma(f, i, f)
        j, k, l, m = fma(f, j, f), fma(f, k, f), fma(f, l, f), fma(f, m, f)
    store(values, 0, a)
    store(values, n, b)
    store(values, 2 * n, c)
    store(values, 3 * n, d)
    store(values, 4 * n, e)
    store(values, 5 * n, g)
    store(values, 6 * n, h)
    store(values, 7 * n, i)
    store(values, 8 * n, j)
    store(values, 9 * n, k)
    store(values, 10 * n, l)
    store(values, 11 * n, m)
