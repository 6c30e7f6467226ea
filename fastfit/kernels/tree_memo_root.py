"""The root of a memory of nodes: all samples by ascending value of each feature."""

import numpy as np

from fastfit.kernels.presort_entries import NEW_VALUE, ROW_BITS
from fastfit.kernels.tree_memo import CODE_SHIFT, ROW_SHIFT
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element


@jit
def fill_root(
    control,
    thread_idx,
    n_threads,
    X_t,  # (n_features, n_samples) float32
    sorted_rows,  # (n_features, n_samples or more) uint32, with bits of `presort_entries`
    classes,  # (n_samples,) uint64
    levels_out,  # (n_features * n_samples,) float32: the different values of each feature, ascending
    entries_out,  # (n_features, n_samples or more) uint64: number of the value, row and class
):
    """Write the entries of the root, and the values that their numbers stand for."""
    n_features, n_samples = X_t.shape
    for feature in range(n_features):
        column, rows, entries = X_t[feature], sorted_rows[feature], entries_out[feature]
        code = -1
        start = feature * n_samples
        for i in range(n_samples):
            row = np.int64(rows[i] & ROW_BITS)
            code += np.int64(rows[i] >= NEW_VALUE or i == 0)
            # Equal values are written again; the last one of them stays.
            levels_out[start + code] = element(column, row)
            entries[i] = (
                np.uint64(code) << np.uint64(CODE_SHIFT)
                | np.uint64(row) << np.uint64(ROW_SHIFT)
                | element(classes, row)
            )
