"""Order the samples of a node: read a feature's codes, sort by them, divide by them.

Each step leaves the samples in the order in which scikit-learn leaves them.
"""

from fastfit.kernels.general_introsort import INSERTION_SIZE, order_ties
from fastfit.kernels.general_problem import CODE_SHIFT, PLACE_SHIFT, PLACES, ROW_MASK
from fastfit.kernels.node_sort import sort_keys
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element


@jit(internal=True)
def gather_codes(
    codes,  # (n_samples,) uint32
    first_row,  # number of the row that codes[0] belongs to
    keys,  # (n_root_samples,) int64
    start,
    end,
    codes_out,  # (>= end - start,) uint32
):
    """Read the codes of a feature, of the samples keys[start:end]."""
    for i in range(end - start):
        codes_out[i] = element(codes, (element(keys, start + i) & ROW_MASK) - first_row)


@jit(internal=True)
def pack_codes(
    gathered,  # (>= end - start,) uint32: what `gather_codes` has read, so that all else is done in vectors
    missing_code,
    keys,  # (n_root_samples,) int64
    start,
    end,
):
    """Put the codes of a feature into keys[start:end]; return their least and greatest and the number of missing ones.

    The least is above the greatest if all are missing.
    """
    n_keys = end - start
    low = missing_code
    high = -missing_code - 1
    n_missing = 0
    place_step = 1 << PLACE_SHIFT if n_keys <= PLACES else 0
    for i in range(n_keys):
        code = int(element(gathered, i))
        keys[start + i] = code << CODE_SHIFT | i * place_step | (element(keys, start + i) & ROW_MASK)
        low = code if code < low else low
        known = code if code < missing_code else -1
        high = known if known > high else high
        n_missing += code >= missing_code
    return low, high, n_missing


@jit(internal=True)
def move_missing_right(keys, start, end, missing_code):
    """Exchange missing values with the last known ones, so that all stand behind those; number the places anew."""
    smallest = missing_code << CODE_SHIFT
    first, last = start, end - 1
    while first <= last:
        if keys[last] >= smallest:
            last -= 1
            continue
        if keys[first] >= smallest:
            key = keys[first]
            keys[first] = keys[last]
            keys[last] = key
            last -= 1
        first += 1
    if end - start <= PLACES:
        for p in range(start, end):
            keys[p] = keys[p] & ~((PLACES - 1) << PLACE_SHIFT) | (p - start) << PLACE_SHIFT


@jit(internal=True)
def move_missing_left(keys, start, end, n_missing, buffer):
    """Put the last ``n_missing`` keys before the others; both parts keep their order."""
    for i in range(n_missing):
        buffer[i] = keys[end - n_missing + i]
    for p in range(end - 1, start + n_missing - 1, -1):
        keys[p] = keys[p - n_missing]
    for i in range(n_missing):
        keys[start + i] = buffer[i]


@jit(internal=True)
def divide(
    keys,  # (> end,) int64, of less than 63 bits and sign
    start,
    end,
    greatest,  # the greatest key that goes left ...
    smallest_missing,  # ... but for those from this one on, which go left, too
):
    """Move keys to the left and to the right; return where the right ones begin.

    A sample that goes right changes places with the last one that is not known to go right.
    """
    key = element(keys, start)
    while start < end:
        # 0 if the key goes left, else -1. Computed and not chosen: there is nothing to predict a branch by.
        goes_right = ((greatest - key) & (key - smallest_missing)) >> 63
        other = element(keys, end - 1)
        following = element(keys, start + 1)
        keys[end - 1] = key ^ (~goes_right & (key ^ other))
        keys[start] = key
        key = following ^ (goes_right & (following ^ other))
        start += 1 + goes_right
        end += goes_right
    return start


@jit(internal=True)
def sort_by_code(
    keys,  # (n_keys,) int64
    unsigned_keys,  # (n_keys,) uint64, the same memory
    start,
    end,
    keeps_ties,  # whether keys of one code must be in scikit-learn's order
    n_splits,  # as for `order_ties`
    buffers,  # SortBuffers
):
    """Sort keys[start:end] by code; up to INSERTION_SIZE keys of one code keep their order in any case."""
    n_keys = end - start
    keeps_ties = keeps_ties and n_keys > INSERTION_SIZE
    if keeps_ties:
        for p in range(start, end):
            buffers.unsorted[p] = element(keys, p)
    low_bits = PLACE_SHIFT if n_keys <= PLACES else CODE_SHIFT
    sort_keys(unsigned_keys[start:end], buffers.buffer, buffers.scratch, n_keys, low_bits)
    if keeps_ties:
        order_ties(keys, start, end, n_splits, buffers.unsorted, buffers.stack)
