"""How a tree's samples are packed into 32 bits: the row, its class, and its weight where it is a small whole number."""

import numpy as np

from fastfit.kernels.presort_entries import LEFT_OUT
from fastfit.kernels.presorted_columns import EntryLayout

# Bits of an entry beside those of a new and of a nearly equal value.
ENTRY_BITS = 30
MAX_WEIGHT = 2**16


def whole_weights(sample_weight):
    """Return weights as integers, None for none, or False if they are not small whole numbers."""
    if sample_weight is None:
        return None
    greatest = sample_weight.max()
    if not (0.0 < greatest < MAX_WEIGHT and sample_weight.min() >= 0.0):
        return False
    whole = sample_weight.astype(np.int64)
    return whole if np.array_equal(whole, sample_weight) else False


def entry_layout(target, weights):
    """Return how entries are packed, or None if 32 bits do not hold one."""
    if weights is False:
        return None
    row_bits = max(1, (len(target.y) - 1).bit_length())
    class_bits = 0 if target.n_classes is None else (int(target.n_classes[0]) - 1).bit_length()
    weight_bits = 0 if weights is None else int(weights.max() - 1).bit_length()
    if row_bits + class_bits + weight_bits > ENTRY_BITS:
        return None
    fields = (
        (1 << row_bits) - 1,
        row_bits,
        (1 << class_bits) - 1,
        row_bits + class_bits,
        (1 << weight_bits) - 1,
    )
    return EntryLayout(*map(np.uint32, fields))


def entry_payloads(target, weights, layout):
    """Return class and weight of each row where an entry has them, and how many rows have a weight."""
    n_samples = len(target.y)
    payloads = np.zeros(n_samples, np.uint32)
    if target.n_classes is not None:
        payloads |= target.y[:, 0].astype(np.uint32) << layout.class_shift
    if weights is None:
        return payloads, n_samples
    payloads |= (weights - 1).astype(np.uint32) << layout.weight_shift
    payloads[weights == 0] = LEFT_OUT
    return payloads, int(np.count_nonzero(weights))
