"""Sort the samples of a node by a feature: keys of a code above, and a payload below that goes with it.

The keys are unsigned integers of 32 or 64 bits, ``code << low_bits | payload``, for instance the rank of the feature's
value and the sample's position in the node. They are sorted by code alone; payloads of equal codes come in any order,
the same for the same keys. Nothing that is sorted shares a branch with the data until there are more than fit into a
network (64 keys of 32 bits where vectors have 512 bits).
"""

import numpy as np

from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element
from fastfit.runtime.simd_sort import CAN_COMPRESS, network_size, pick_pivot, sort_few, split

# Of the scratch array: parts of the keys that wait to be sorted, less than one for each halving, or a digit's counters.
WAITING_FIELDS = 5
SCRATCH_SIZE = 64 * WAITING_FIELDS
# Keys that the buffer must have room for beyond those that are sorted: a vector.
BUFFER_SPARE = 16
# A split that leaves less than 1 / 16 on one side is not worth its pass.
LOPSIDED = 16

DIGIT_BITS = 8
RADIX = 1 << DIGIT_BITS
ONE = np.uint64(1)


@jit(inline=True, internal=True)
def gather_keys(
    codes,  # (n_samples,) uint32: ranks of the feature's values
    samples,  # (>= stop,) unsigned integers: the node's samples are samples[start : stop]
    payload,  # (>= stop,) uint32: of the sample at the same position, below 2 ** low_bits
    start,
    stop,
    low_bits,
    keys_out,  # (>= stop - start,) uint32 or uint64
):
    """Set keys_out[i] to codes[samples[start + i]] << low_bits | payload[start + i].

    0.5 ns a key where the samples ascend, as they do below a root whose samples do if every split keeps their order,
    and a few ns where they are in random order and the codes outgrow the second cache.
    """
    shift = keys_out.dtype.type(low_bits)
    for i in range(stop - start):
        code = keys_out.dtype.type(element(codes, element(samples, start + i)))
        keys_out[i] = code << shift | element(payload, start + i)


@jit(inline=True, internal=True)
def _find_range(keys, start, stop):
    least = keys[start]
    greatest = least
    for i in range(start, stop):
        key = element(keys, i)
        least = key if key < least else least
        greatest = key if key > greatest else greatest
    return np.uint64(least), np.uint64(greatest)


@jit(internal=True)
def sort_by_splits(
    keys,  # (>= n,) uint32 or uint64
    buffer,  # (>= n + BUFFER_SPARE,) of the same dtype
    scratch,  # (SCRATCH_SIZE,) uint64
    n,
    low_bits,
):
    """Sort keys[:n] by their bits from `low_bits` on: quicksort with vectors, and networks for what fits into one.

    A part whose codes are all the same is sorted. Bounds of the codes follow from the pivots; after a lopsided split
    they are looked up, because it tells of ties, and after three the pivot is the middle of the bounds. Of four splits
    on the way to a key at most three are lopsided, but for as many as keys have bits: no order of keys takes more than
    O(n (log n + bits)).
    """
    few = network_size(keys.dtype)
    mask = (ONE << np.uint64(low_bits)) - ONE
    start, stop, n_lopsided, n_waiting = np.int64(0), np.int64(n), np.int64(1), np.int64(0)
    low, high = np.uint64(0), np.uint64(0)
    while True:
        size = stop - start
        if size <= few:
            sort_few(keys, start, size)
        elif n_lopsided > 0:
            low, high = _find_range(keys, start, stop)
        if size <= few or low | mask >= high:
            if n_waiting == 0:
                return
            n_waiting -= WAITING_FIELDS
            start, stop = np.int64(scratch[n_waiting]), np.int64(scratch[n_waiting + 1])
            low, high = scratch[n_waiting + 2], scratch[n_waiting + 3]
            n_lopsided = np.int64(scratch[n_waiting + 4])
            continue
        pivot = low + (high - low >> ONE) if n_lopsided > 2 else np.uint64(pick_pivot(keys, start, size))
        # Codes are not torn apart, and the greatest one is split off where it is the median.
        pivot = pivot | mask if pivot | mask < high else (high & ~mask) - ONE
        middle = split(keys, buffer, start, stop, keys.dtype.type(pivot))
        left_is_smaller = middle - start < stop - middle
        smaller = middle - start if left_is_smaller else stop - middle
        n_lopsided = n_lopsided + 1 if smaller * LOPSIDED < size else 0
        # The smaller side is next: sides that wait are at most as many as halvings.
        scratch[n_waiting] = middle if left_is_smaller else start
        scratch[n_waiting + 1] = stop if left_is_smaller else middle
        scratch[n_waiting + 2] = pivot + ONE if left_is_smaller else low
        scratch[n_waiting + 3] = high if left_is_smaller else pivot
        scratch[n_waiting + 4] = n_lopsided
        n_waiting += WAITING_FIELDS
        if left_is_smaller:
            stop, high = middle, pivot
        else:
            start, low = middle, pivot + ONE


@jit(internal=True)
def sort_by_digits(keys, buffer, scratch, n, low_bits):
    """Do what `sort_by_splits` does by a radix sort of the bits that differ, for CPUs that cannot compress vectors.

    Equal codes keep their order where n exceeds network_size(dtype).
    """
    if n <= network_size(keys.dtype):
        sort_few(keys, 0, n)
        return
    least, greatest = _find_range(keys, 0, n)
    source, target = keys, buffer
    shift = np.uint64(low_bits)
    mask = np.uint64(RADIX - 1)
    is_moved = False
    while shift < np.uint64(8 * keys.itemsize) and (least ^ greatest) >> shift:
        for digit in range(RADIX):
            scratch[digit] = 0
        for i in range(n):
            scratch[np.uint64(source[i]) >> shift & mask] += ONE
        position = np.uint64(0)
        for digit in range(RADIX):
            count = scratch[digit]
            scratch[digit] = position
            position += count
        for i in range(n):
            digit = np.uint64(source[i]) >> shift & mask
            target[scratch[digit]] = source[i]
            scratch[digit] += ONE
        source, target = target, source
        is_moved = not is_moved
        shift += np.uint64(DIGIT_BITS)
    if is_moved:
        for i in range(n):
            keys[i] = buffer[i]


sort_keys = sort_by_splits if CAN_COMPRESS else sort_by_digits
