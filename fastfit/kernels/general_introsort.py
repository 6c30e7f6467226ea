"""Put sorted keys of one code into the order in which scikit-learn's sort leaves samples of one value.

Sums over a node are taken in the order of its samples, and rounding depends on it; where many splits are equally good,
as among features with few values, rounding decides between them. So this makes the moves of scikit-learn's introsort
(Musser, Software: Practice and Experience 27(8), 1997): partitions of three parts around the median of three keys,
insertion sort for 15 keys or less, and heapsort where the pivots were poor. Since all keys have been sorted before by
faster means, only the parts that have equal codes in them are followed.
"""

from fastfit.kernels.general_problem import CODE_SHIFT
from fastfit.runtime.compile import jit
from fastfit.runtime.simd import element

# Ranges of up to so many keys are sorted by insertion, which keeps the order of equal codes.
INSERTION_SIZE = 15


@jit(inline=True, internal=True)
def splits_allowed(n_keys):
    """Return how many times an introsort splits a range of keys before it takes pivots for poor: 2 * log2(n_keys)."""
    n_splits = 0
    while n_keys > 1:
        n_keys >>= 1
        n_splits += 2
    return n_splits


@jit(inline=True, internal=True)
def _sort_by_insertion(keys, start, end):
    for i in range(start + 1, end):
        key = keys[i]
        code = key >> CODE_SHIFT
        j = i
        while j > start and keys[j - 1] >> CODE_SHIFT > code:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key


@jit(inline=True, internal=True)
def _median_code(keys, start, end):
    """Return the median code of the first, the middle and the last key."""
    a = keys[start] >> CODE_SHIFT
    b = keys[start + (end - start) // 2] >> CODE_SHIFT
    c = keys[end - 1] >> CODE_SHIFT
    low, high = (a, b) if a < b else (b, a)
    if c < low:
        return low
    return high if c > high else c


@jit(internal=True)
def _partition(
    keys,  # (n_keys,) int64, none negative
    start,
    end,
):
    """Order keys[start:end] as below, equal to and above the median of three; return where the last two begin.

    The moves depend on each other and cannot be foreseen, so they are computed and not chosen: a key that is below
    changes places with the first of the equal ones, one that is above with the last not looked at, which is next.
    """
    pivot = _median_code(keys, start, end)
    smallest = pivot << CODE_SHIFT
    greatest = smallest | ((1 << CODE_SHIFT) - 1)
    i = start
    key = element(keys, i)
    while i < end:
        is_below = (key - smallest) >> 63  # all bits set, or none
        is_above = (greatest - key) >> 63
        other = element(keys, end - 1)
        following = element(keys, i + 1 + is_above)
        keys[i] = key ^ (is_below & (key ^ element(keys, start)))
        keys[i ^ (is_below & (i ^ start)) ^ (is_above & (i ^ (end - 1)))] = key
        key = following ^ (is_above & (following ^ other))
        i += 1 + is_above
        start -= is_below
        end += is_above
    return start, end


@jit(inline=True, internal=True)
def _sort_by_heap(keys, start, end):
    n_keys = end - start
    root = (n_keys - 2) // 2
    while n_keys > 1:
        parent = root
        while True:
            largest = parent
            for child in range(2 * parent + 1, 2 * parent + 3):
                if child < n_keys and keys[start + largest] >> CODE_SHIFT < keys[start + child] >> CODE_SHIFT:
                    largest = child
            if largest == parent:
                break
            kept = keys[start + parent]
            keys[start + parent] = keys[start + largest]
            keys[start + largest] = kept
            parent = largest
        # First every parent is made greater than its children, then the greatest of all is taken out, again and again.
        if root > 0:
            root -= 1
        else:
            n_keys -= 1
            kept = keys[start]
            keys[start] = keys[start + n_keys]
            keys[start + n_keys] = kept


@jit(internal=True)
def introsort(
    keys,  # (> end,) int64, none negative
    start,
    end,
    stack,  # (128, 3) int64
):
    """Sort keys[start:end] by code, move for move as scikit-learn does."""
    sort_part(keys, start, end, splits_allowed(end - start), stack)


@jit(internal=True)
def sort_part(
    keys,  # (> end,) int64, none negative
    start,
    end,
    n_splits,  # how many partitions there may be, one within another
    stack,  # (128, 3) int64
):
    """Do the same with a part of what an introsort has begun to sort."""
    n_waiting = 0
    while True:
        while end - start > INSERTION_SIZE and n_splits > 0:
            n_splits -= 1
            equal, greater = _partition(keys, start, end)
            stack[n_waiting, 0] = greater
            stack[n_waiting, 1] = end
            stack[n_waiting, 2] = n_splits
            n_waiting += 1
            end = equal
        if end - start > INSERTION_SIZE:
            _sort_by_heap(keys, start, end)
        else:
            _sort_by_insertion(keys, start, end)
        if n_waiting == 0:
            return
        n_waiting -= 1
        start = stack[n_waiting, 0]
        end = stack[n_waiting, 1]
        n_splits = stack[n_waiting, 2]


@jit(internal=True)
def order_ties(
    keys,  # (n_keys,) int64
    start,
    end,
    n_splits,  # `splits_allowed` of the keys, or what is left of those of a range that they are a part of
    unsorted,  # (n_keys,) int64: what keys[start:end] were before they were sorted by code; spoilt
    stack,  # (128, 3) int64
):
    """Put the keys of one code into the order in which an introsort would have left them."""
    last = end
    tie = start + 1
    n_waiting = 0
    while True:
        # Ranges come from left to right.
        tie = tie if tie > start else start + 1
        while tie < last and (element(keys, tie) ^ element(keys, tie - 1)) >> CODE_SHIFT != 0:
            tie += 1
        if tie < end and end - start > INSERTION_SIZE and n_splits > 0:
            n_splits -= 1
            equal, greater = _partition(unsorted, start, end)
            for p in range(equal, greater):
                keys[p] = element(unsorted, p)
            stack[n_waiting, 0] = greater
            stack[n_waiting, 1] = end
            stack[n_waiting, 2] = n_splits
            n_waiting += 1
            end = equal
            continue
        if tie < end:
            if end - start > INSERTION_SIZE:
                _sort_by_heap(unsorted, start, end)
            else:
                _sort_by_insertion(unsorted, start, end)
            for p in range(start, end):
                keys[p] = element(unsorted, p)
        if n_waiting == 0 or tie >= last:
            return
        n_waiting -= 1
        start = stack[n_waiting, 0]
        end = stack[n_waiting, 1]
        n_splits = stack[n_waiting, 2]
