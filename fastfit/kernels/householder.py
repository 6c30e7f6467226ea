"""Householder elimination of rows against a triangle: the QR factor of a tall matrix, a few rows at a time.

Given an upper triangle R and further rows B, it finds the R of the QR factorisation of [R; B] (Golub and Van
Loan, "Matrix Computations", 4th edition, 5.1; the blocked form over a tall matrix is that of Demmel et al.,
"Communication-optimal parallel and sequential QR and LU factorizations", SIAM J. Sci. Comput. 34(1), 2012).
Unlike the Cholesky factor of a Gram matrix it does not square the condition number, at 2 n m^2 flops instead
of n m^2.
"""

import numpy as np

from fastfit.runtime.compile import REASSOCIATE, jit
from fastfit.runtime.team import stop_requested

# Rows eliminated together: with 50 to 200 columns they stay in the L2 cache.
BLOCK_ROWS = 256


@jit(internal=True, fastmath=REASSOCIATE)
def _reflect_columns(
    triangle_row,  # (m,) float64: row ``pivot`` of R
    rows_t,  # (m, n_rows) float64: the rows, transposed
    pivot,
    first,
    last,
    start,
    stop,
    head,
    tau,
):
    """Apply the reflection I - tau v v', v = (1, rows_t[pivot, start:stop] / head), to some columns."""
    vector = rows_t[pivot, start:stop]
    for k in range(first, last):
        column = rows_t[k, start:stop]
        total = 0.0
        for i in range(vector.size):
            total += vector[i] * column[i]
        factor = tau * (triangle_row[k] + total / head)
        triangle_row[k] -= factor
        factor /= head
        for i in range(vector.size):
            column[i] -= factor * vector[i]


@jit(internal=True, fastmath=REASSOCIATE)
def _sum_squares(vector):
    total = 0.0
    for i in range(vector.size):
        total += vector[i] * vector[i]
    return total


@jit
def eliminate_rows(
    control,
    thread_idx,
    n_threads,
    triangle,  # (m, m) float64, C: R, updated
    rows_t,  # (m, n_rows) float64, C: the rows, transposed; destroyed
):
    """Turn R into the triangular factor of [R; rows]. The entries below R's diagonal are not touched."""
    n_columns, n_rows = rows_t.shape
    for start in range(0, n_rows, BLOCK_ROWS):
        if stop_requested(control):
            return
        stop = min(start + BLOCK_ROWS, n_rows)
        for j in range(n_columns):
            squared_norm = _sum_squares(rows_t[j, start:stop])
            if squared_norm == 0.0:
                continue
            diagonal = triangle[j, j]
            new_diagonal = np.sqrt(diagonal * diagonal + squared_norm)
            if diagonal > 0.0:
                new_diagonal = -new_diagonal
            head = diagonal - new_diagonal
            tau = -head / new_diagonal
            triangle[j, j] = new_diagonal
            _reflect_columns(triangle[j], rows_t, j, j + 1, n_columns, start, stop, head, tau)
