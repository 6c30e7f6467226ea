"""Cholesky factor and triangular systems of a size that a core's caches hold.

BLAS libraries share even small systems out to threads, which then wait for each other: where other processes are busy,
a system of 200 unknowns took 8 ms instead of 0.1, and its factor as much as 500 ms. These run on the calling thread,
along rows that are contiguous.
"""

from fastfit.runtime.compile import REASSOCIATE, jit


@jit(internal=True, fastmath=REASSOCIATE)
def _subtract_rows(
    matrix,  # (m, m) float64, C
    i,
    first,
    last,
):
    """Take what the finished rows ``first`` to ``last`` explain off row i, four of them at a time."""
    m = matrix.shape[0]
    row = matrix[i]
    k = first
    while k + 4 <= last:
        row_0, row_1, row_2, row_3 = matrix[k], matrix[k + 1], matrix[k + 2], matrix[k + 3]
        factor_0, factor_1, factor_2, factor_3 = row_0[i], row_1[i], row_2[i], row_3[i]
        for j in range(i, m):
            row[j] -= factor_0 * row_0[j] + factor_1 * row_1[j] + factor_2 * row_2[j] + factor_3 * row_3[j]
        k += 4
    while k < last:
        other = matrix[k]
        factor = other[i]
        for j in range(i, m):
            row[j] -= factor * other[j]
        k += 1


@jit
def factor_cholesky(
    matrix,  # (m, m) float64, C: symmetric, upper triangle read; its upper triangle becomes R, the rest zero
):
    """Factor a matrix as R'R in place; return False if it is not positive definite. Costs m^3 / 3 flops."""
    m = matrix.shape[0]
    for i in range(m):
        _subtract_rows(matrix, i, 0, i)
        pivot = matrix[i, i]
        if not pivot > 0.0:
            return False
        scale = 1.0 / pivot**0.5
        for j in range(i):
            matrix[i, j] = 0.0
        for j in range(i, m):
            matrix[i, j] *= scale
    return True


@jit(fastmath=REASSOCIATE)
def solve_triangle(
    triangle,  # (m, m) float64, C: R, upper
    transposed,  # bool
    systems,  # (n_systems, m) float64, C: right-hand sides, replaced by the solutions
):
    """Solve R x = b, or R'x = b, for every row b of ``systems``. Costs m^2 flops a system."""
    m = triangle.shape[0]
    for k in range(systems.shape[0]):
        x = systems[k]
        if transposed:
            for i in range(m):
                row = triangle[i]
                x[i] /= row[i]
                value = x[i]
                for j in range(i + 1, m):
                    x[j] -= value * row[j]
        else:
            for i in range(m - 1, -1, -1):
                row = triangle[i]
                total = 0.0
                for j in range(i + 1, m):
                    total += row[j] * x[j]
                x[i] = (x[i] - total) / row[i]
