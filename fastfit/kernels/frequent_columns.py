"""Columns most of whose values are one and the same: sort and divide the samples of a node by the others alone.

Counts, dummies of categories and sparse measurements are such columns. scikit-learn sorts all samples of a node by them
and leaves ties as its introsort does, and sums in that order decide between splits that are equally good. Where the
pivot of its first partition is the frequent value, that partition moves none but the other samples and those whose
places they take, so that its moves are made here one by one without a look at the rest: at 2% others a node costs a
fiftieth. What comes before and after the frequent value is sorted on as usual.

Samples are entries [START, END) of ``keys``, packed as in :mod:`fastfit.kernels.general_problem`; the codes above the
rows are there only where a sort has just written them.
"""

from typing import NamedTuple

import numpy as np

from fastfit.kernels.general_introsort import INSERTION_SIZE, introsort, sort_part
from fastfit.kernels.general_order import divide
from fastfit.kernels.general_problem import CODE_SHIFT, FEATURE_THRESHOLD, MAX_KEY, ROW_MASK
from fastfit.runtime.compile import jit
from fastfit.runtime.lowest_bit import lowest_bit
from fastfit.runtime.simd import element

# A list of the others is walked if it is shorter than this share of a node; else the node's samples are asked.
LIST_SHARE = 3
# Others that are more than this share of a node are not worth to be treated apart.
OTHERS_SHARE = 3
# Entries of FrequentBuffers.state: whether ``place_of`` knows the samples of the node, and whether others are listed.
ARE_PLACED, ARE_LISTED = 0, 1


class FrequentColumns(NamedTuple):
    """What trees of one fit read."""

    codes: np.ndarray  # (n_features, n_samples) uint32: ranks of the values of a feature
    levels: np.ndarray  # flat float32: the values behind the ranks
    level_start: np.ndarray  # (n_features,) int64
    is_close: (
        np.ndarray
    )  # (n_features,) uint8: whether two values are different but equal up to the threshold
    n_levels: np.ndarray  # (n_features,) int64: number of different values
    frequent: np.ndarray  # (n_features,) int64: code of the most frequent value
    # (n_others,) int64: code and row of the samples with other values, packed as keys are, feature after feature; by
    # ascending value
    others: np.ndarray
    others_start: np.ndarray  # (n_features + 1,) int64
    has_ties: np.ndarray  # (n_features,) bool: whether a value occurs twice among the others


class FrequentBuffers(NamedTuple):
    """What sorting takes, for trees of any samples."""

    place_of: np.ndarray  # (n_samples,) int64: where a row stands in keys; -1 for rows that are left out
    words: np.ndarray  # (n_samples // 64 + 1,) uint64: bits of places, zero
    found: np.ndarray  # (n_samples + 1,) int64: places of others in the node, ascending
    listed: (
        np.ndarray
    )  # (n_samples + 1,) int64: keys of others in the node in the order of the list, if that was walked
    sorting: np.ndarray  # (128, 3) int64
    state: np.ndarray  # (2,) int64


@jit(inline=True, internal=True)
def are_close(columns, feature, low, high):
    """Tell whether the values of two codes are equal up to the threshold."""
    if low == high or columns.is_close[feature] == 0:
        return low == high
    start = columns.level_start[feature]
    return columns.levels[start + high] <= columns.levels[start + low] + FEATURE_THRESHOLD


@jit(inline=True, internal=True)
def place_samples(buffers, keys, start, end):
    """Have ``place_of`` know where the samples of a node stand."""
    if buffers.state[ARE_PLACED] == 0:
        for p in range(start, end):
            buffers.place_of[element(keys, p) & ROW_MASK] = p
        buffers.state[ARE_PLACED] = 1


@jit(inline=True, internal=True)
def _place_others(buffers, keys, start, equal, greater, end, n_found):
    """Do so after others were moved to both ends, and took places with those that had stood there."""
    if buffers.state[ARE_PLACED] != 0:
        for i in range(n_found):
            place = element(buffers.found, i)
            buffers.place_of[element(keys, place) & ROW_MASK] = place
        for p in range(start, equal):
            buffers.place_of[element(keys, p) & ROW_MASK] = p
        for p in range(greater, end):
            buffers.place_of[element(keys, p) & ROW_MASK] = p


@jit(internal=True)
def _find_others(columns, buffers, keys, start, end, feature):
    """List where samples with other values stand; return how many there are."""
    found, words, place_of = buffers.found, buffers.words, buffers.place_of
    listed, n_listed = buffers.listed, 0
    first, last = columns.others_start[feature], columns.others_start[feature + 1]
    n_found = 0
    buffers.state[ARE_LISTED] = (last - first) * LIST_SHARE < end - start
    if (last - first) * LIST_SHARE >= end - start:
        codes, frequent = columns.codes[feature], np.uint32(columns.frequent[feature])
        for p in range(start, end):
            found[n_found] = p
            n_found += element(codes, element(keys, p) & ROW_MASK) != frequent
        return n_found
    place_samples(buffers, keys, start, end)
    for i in range(first, last):
        key = element(columns.others, i)
        place = element(place_of, key & ROW_MASK) - start
        listed[n_listed] = key
        if np.uint64(place) < np.uint64(end - start):
            words[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
            n_listed += 1
    for w in range((end - start + 63) >> 6):
        word = element(words, w)
        while word != np.uint64(0):
            found[n_found] = start + (w << 6) + lowest_bit(word)
            n_found += 1
            word &= word - np.uint64(1)
        words[w] = np.uint64(0)
    return n_found


@jit(inline=True, internal=True)
def _median_is_frequent(codes, keys, start, end, frequent):
    """Tell whether the pivot of scikit-learn's first partition is the frequent value."""
    a = np.int64(codes[keys[start] & ROW_MASK])
    b = np.int64(codes[keys[start + (end - start) // 2] & ROW_MASK])
    c = np.int64(codes[keys[end - 1] & ROW_MASK])
    n_below = np.int64(a < frequent) + np.int64(b < frequent) + np.int64(c < frequent)
    n_above = np.int64(a > frequent) + np.int64(b > frequent) + np.int64(c > frequent)
    return n_below < 2 and n_above < 2


@jit(inline=True, internal=True)
def _swap(keys, i, j):
    kept = keys[i]
    keys[i] = keys[j]
    keys[j] = kept


@jit(internal=True)
def _part_others(codes, frequent, keys, start, end, found, n_found):
    """Make the moves of a partition around the frequent value; return where that begins and ends."""
    equal, greater, first, last = start, end, 0, n_found - 1
    while first <= last:
        place = found[first]
        first += 1
        is_known = True
        while is_known:
            row = keys[place] & ROW_MASK
            code = np.int64(codes[row])
            keys[place] = code << CODE_SHIFT | row
            if code < frequent:
                _swap(keys, place, equal)
                equal += 1
                break
            greater -= 1
            _swap(keys, place, greater)
            # What came from there may be another that is not looked at yet.
            is_known = first <= last and found[last] == greater
            last -= np.int64(is_known)
    return equal, greater


@jit(internal=True)
def _sort_all(columns, keys, start, end, feature, stack):
    codes = columns.codes[feature]
    for p in range(start, end):
        row = element(keys, p) & ROW_MASK
        keys[p] = np.int64(element(codes, row)) << CODE_SHIFT | row
    introsort(keys, start, end, stack)


@jit(internal=True)
def sort_samples(
    columns,  # FrequentColumns
    buffers,  # FrequentBuffers
    keys,  # (> end,) int64
    start,
    end,
    feature,
):
    """Sort samples by a feature, move for move as scikit-learn does.

    Return where the frequent value begins and ends; there keys have no codes. Both are ``end`` if all keys have them.
    """
    codes, frequent = columns.codes[feature], columns.frequent[feature]
    n_keys = end - start
    if n_keys > INSERTION_SIZE:
        n_found = _find_others(columns, buffers, keys, start, end, feature)
        if n_found == 0:
            return start, end
        if n_found * OTHERS_SHARE < n_keys and _median_is_frequent(codes, keys, start, end, frequent):
            found = buffers.found
            equal, greater = _part_others(codes, frequent, keys, start, end, found, n_found)
            if buffers.state[ARE_LISTED] != 0 and not columns.has_ties[feature]:
                # There is one order only.
                n_below = equal - start
                for i in range(n_below):
                    keys[start + i] = buffers.listed[i]
                for i in range(end - greater):
                    keys[greater + i] = buffers.listed[n_below + i]
            elif columns.n_levels[feature] > 2:
                n_splits = -1
                while n_keys > 1:
                    n_keys >>= 1
                    n_splits += 2
                sort_part(keys, start, equal, n_splits, buffers.sorting)
                sort_part(keys, greater, end, n_splits, buffers.sorting)
            _place_others(buffers, keys, start, equal, greater, end, n_found)
            return equal, greater
    _sort_all(columns, keys, start, end, feature, buffers.sorting)
    buffers.state[ARE_PLACED] = 0
    return end, end


@jit(internal=True)
def divide_samples(columns, buffers, keys, start, end, feature, greatest_code):
    """Move samples whose code is greater to the right, as scikit-learn does."""
    codes, found = columns.codes[feature], buffers.found
    if columns.frequent[feature] > greatest_code:
        for p in range(start, end):
            row = element(keys, p) & ROW_MASK
            keys[p] = np.int64(element(codes, row)) << CODE_SHIFT | row
        divide(keys, start, end, ((greatest_code + 1) << CODE_SHIFT) - 1, MAX_KEY)
        buffers.state[ARE_PLACED] = 0
        return
    n_found = _find_others(columns, buffers, keys, start, end, feature)
    n_right = 0
    for i in range(n_found):
        place = found[i]
        found[n_right] = place
        n_right += np.int64(codes[keys[place] & ROW_MASK]) > greatest_code
    first, last, position = 0, n_right - 1, end
    while first <= last:
        place = found[first]
        first += 1
        is_known = True
        while is_known:
            position -= 1
            _swap(keys, place, position)
            is_known = first <= last and found[last] == position
            last -= np.int64(is_known)
    _place_others(buffers, keys, start, start, position, end, n_right)
