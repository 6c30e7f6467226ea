"""Sort and divide a node's samples by a feature that has one value nearly everywhere, as counts of words have.

scikit-learn's introsort begins with a partition around a median of three, which then is that common value: all samples
that have it stay where they are, but those that give way to one of the rare ones. So the rare samples are listed, 16
codes at a time; the moves are made for these alone; and what is left to sort is rare as well. The samples of the common
value are neither sorted nor looked at by the search for splits, which cannot divide them. In the same way a split that
leaves few samples on one side moves little more than those.

Where a value is common in the whole data the rows that have others are listed once, and an index tells where in the
node they are: a large node costs as much as they are, and not as all of its samples.
"""

import numpy as np

from fastfit.kernels.general_introsort import splits_allowed
from fastfit.kernels.general_order import sort_by_code
from fastfit.kernels.general_problem import CODE_SHIFT, INDEXED_FROM, PLACE_SHIFT, PLACES, ROW_MASK
from fastfit.kernels.node_sort import sort_keys
from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import VECTOR_BYTES, lanes
from fastfit.runtime.simd import element
from fastfit.runtime.simd_integers import (
    add_uint32,
    count_lanes,
    has_bits,
    is_below,
    keep_lanes,
    lane_numbers,
    load_uint32,
    store_uint32,
)

# At most one sample in so many may have another value. With more, sorting all of them is about as fast.
MIN_SAMPLES_A_RARE_ONE = 4
# Entries of the list of rare samples beyond these, for a vector that is written whole.
LIST_SPARE = 32
# What stands for no range of samples; no search comes upon it.
NO_RANGE = -1, -1
ALL_BITS = np.uint32(0xFFFFFFFF)
HALF = np.uint64(32)


@jit(inline=True, internal=True)
def _list_rare_by_vectors(codes, n_codes, common, most, rare):
    """List the positions of the codes that are not the common one; stop where there are more than ``most``."""
    n_rare = 0
    step = np.int64(lanes(np.uint32))
    offset = np.uint32(((1 << 32) - np.int64(common)) & 0xFFFFFFFF)
    i = 0
    while i < n_codes and n_rare <= most:
        is_rare = has_bits(add_uint32(load_uint32(codes, i), offset), ALL_BITS)
        is_rare = is_rare & is_below(lane_numbers(), n_codes - i)
        store_uint32(rare, n_rare, keep_lanes(add_uint32(lane_numbers(), i), is_rare))
        n_rare += count_lanes(is_rare)
        i += step
    return n_rare


@jit(inline=True, internal=True)
def _list_rare_one_by_one(codes, n_codes, common, most, rare):
    n_rare = 0
    i = 0
    while i < n_codes and n_rare <= most:
        rare[n_rare] = i
        n_rare += element(codes, i) != common
        i += 1
    return n_rare


@jit(inline=True, internal=True)
def _list_side_by_vectors(codes, n_codes, split_code, lists_left, most, rare):
    """List the positions of the codes up to ``split_code``, or of those above; stop above ``most``."""
    n_rare = 0
    step = np.int64(lanes(np.uint32))
    i = 0
    while i < n_codes and n_rare <= most:
        is_left = is_below(load_uint32(codes, i), split_code + 1)
        inside = is_below(lane_numbers(), n_codes - i)
        positions = add_uint32(lane_numbers(), i)
        if lists_left:
            store_uint32(rare, n_rare, keep_lanes(positions, is_left & inside))
            n_rare += count_lanes(is_left & inside)
        else:
            store_uint32(rare, n_rare, keep_lanes(positions, inside & ~is_left))
            n_rare += count_lanes(inside & ~is_left)
        i += step
    return n_rare


@jit(inline=True, internal=True)
def _list_side_one_by_one(codes, n_codes, split_code, lists_left, most, rare):
    n_rare = 0
    i = 0
    while i < n_codes and n_rare <= most:
        rare[n_rare] = i
        n_rare += (np.int64(element(codes, i)) <= split_code) == lists_left
        i += 1
    return n_rare


_list_side = _list_side_by_vectors if VECTOR_BYTES == 64 else _list_side_one_by_one
_list_rare = _list_rare_by_vectors if VECTOR_BYTES == 64 else _list_rare_one_by_one


@jit(inline=True, internal=True)
def _median_of_three(a, b, c):
    low, high = (a, b) if a < b else (b, a)
    if c < low:
        return low
    return high if c > high else c


@jit(internal=True)
def _part_rare(
    keys,  # (n_root_samples,) int64: rows in the lowest bits, the rest is to be overwritten
    start,
    n_keys,
    common,
    rare,  # (>= n_rare,) uint32: positions of the samples that have not the common code, ascending
    rare_codes,  # (>= n_rare,) uint32: their codes
    n_rare,
):
    """Make the moves of a partition around the common code; return where its samples begin and end.

    A sample below it changes places with the first of them, one above with the last that has not been looked at.
    """
    n_below = 0
    first_above = n_keys
    f = 0
    while f < n_rare and np.int64(rare[f]) < first_above:
        i = np.int64(rare[f])
        code = np.int64(rare_codes[f])
        f += 1
        key = code << CODE_SHIFT | keys[start + i] & ROW_MASK
        is_rare = True
        while is_rare and code > common:
            first_above -= 1
            other = keys[start + first_above]
            keys[start + first_above] = key
            is_rare = n_rare > f and np.int64(rare[n_rare - 1]) == first_above
            if is_rare:
                n_rare -= 1
                code = np.int64(rare_codes[n_rare])
                other = code << CODE_SHIFT | other & ROW_MASK
            if first_above > i:
                keys[start + i] = other
            key = other
        if is_rare and code < common:
            keys[start + i] = keys[start + n_below]
            keys[start + n_below] = key
            n_below += 1
    return start + n_below, start + first_above


@jit(internal=True)
def _sort_part(keys, unsigned_keys, start, end, keeps_ties, n_splits, buffers):
    if end - start < 2:
        return
    if end - start <= PLACES:
        for p in range(start, end):
            keys[p] = keys[p] & ~((PLACES - 1) << PLACE_SHIFT) | (p - start) << PLACE_SHIFT
    sort_by_code(keys, unsigned_keys, start, end, keeps_ties, n_splits, buffers)


@jit(internal=True)
def _sort_listed(keys, unsigned_keys, start, end, common, n_rare, keeps_ties, buffers):
    """Sort samples whose rare ones are listed; return where those with the common code begin and end."""
    first, stop = _part_rare(keys, start, end - start, common, buffers.rare, buffers.rare_codes, n_rare)
    code_bits = common << CODE_SHIFT
    keys[first] = code_bits | keys[first] & ROW_MASK
    keys[stop - 1] = code_bits | keys[stop - 1] & ROW_MASK
    n_splits = splits_allowed(end - start) - 1
    for is_above in range(2):
        low, high = (stop, end) if is_above == 1 else (start, first)
        _sort_part(keys, unsigned_keys, low, high, keeps_ties, n_splits, buffers)
    return first, stop


@jit(internal=True)
def sort_around_common(
    codes,  # (>= n_keys + 16,) uint32: of the samples keys[start:end]
    missing_code,
    keys,  # (n_root_samples,) int64: rows in the lowest bits
    unsigned_keys,  # (n_root_samples,) uint64, the same memory
    start,
    end,
    keeps_ties,  # whether keys of one code must be in scikit-learn's order
    buffers,  # SortBuffers
):
    """Sort samples by code if nearly all have the same; return where these begin and end, or NO_RANGE.

    Then nothing has been changed. Of those with the common code only the first and the last have it in their keys.
    """
    n_keys = end - start
    if n_keys <= PLACES:
        return NO_RANGE
    common = _median_of_three(codes[0], codes[n_keys // 2], codes[n_keys - 1])
    most = n_keys // MIN_SAMPLES_A_RARE_ONE
    n_rare = _list_rare(codes, n_keys, common, most, buffers.rare)
    if n_rare > most or common >= missing_code:
        return NO_RANGE
    for i in range(n_rare):
        buffers.rare_codes[i] = codes[buffers.rare[i]]
        if buffers.rare_codes[i] >= missing_code:
            return NO_RANGE
    return _sort_listed(keys, unsigned_keys, start, end, np.int64(common), n_rare, keeps_ties, buffers)


@jit(internal=True)
def _list_known_rare(codes, missing_code, rows, keys, start, end, buffers):
    """List the samples of a node among rows that are known to be rare; -1 if one has no value."""
    positions = buffers.positions
    listed = buffers.rare_keys
    n_rare = 0
    for i in range(len(rows)):
        row = np.int64(rows[i])
        p = np.int64(positions[row])
        # A row that is not in the node has a position that is out of date.
        if start <= p < end and keys[p] & ROW_MASK == row:
            listed[n_rare] = np.uint64(p - start) << HALF | np.uint64(codes[row])
            n_rare += 1
    if n_rare > 1:
        sort_keys(listed, buffers.buffer, buffers.scratch, n_rare, n_rare - n_rare)
    for i in range(n_rare):
        buffers.rare[i] = np.uint32(listed[i] >> HALF)
        buffers.rare_codes[i] = np.uint32(listed[i] & np.uint64(ALL_BITS))
        if buffers.rare_codes[i] >= missing_code:
            return -1
    return n_rare


@jit(internal=True)
def sort_around_known(
    codes,  # (n_samples,) uint32: of all rows
    missing_code,
    common,  # the code that nearly all rows have, or -1 if there is none
    rows,  # uint32: those that have it not
    keys,  # (n_root_samples,) int64: rows in the lowest bits
    unsigned_keys,  # (n_root_samples,) uint64, the same memory
    start,
    end,
    keeps_ties,
    marks,  # (N_MARKS,) int64: INDEXED_FROM is ``start`` if positions of the node's rows are up to date, else -1
    buffers,  # SortBuffers
):
    """Do what `sort_around_common` does, at the cost of the rare rows of the whole data where they are few."""
    n_keys = end - start
    if common < 0 or n_keys <= PLACES or len(rows) * MIN_SAMPLES_A_RARE_ONE > n_keys:
        return NO_RANGE
    a = codes[keys[start] & ROW_MASK]
    b = codes[keys[start + n_keys // 2] & ROW_MASK]
    if _median_of_three(a, b, codes[keys[end - 1] & ROW_MASK]) != common:
        return NO_RANGE
    positions = buffers.positions
    if marks[INDEXED_FROM] != start:
        for p in range(start, end):
            positions[element(keys, p) & ROW_MASK] = p
        marks[INDEXED_FROM] = start
    n_rare = _list_known_rare(codes, missing_code, rows, keys, start, end, buffers)
    if n_rare < 0:
        return NO_RANGE
    first, stop = _sort_listed(keys, unsigned_keys, start, end, common, n_rare, keeps_ties, buffers)
    for i in range(n_rare):
        p = start + np.int64(buffers.rare[i])
        positions[keys[p] & ROW_MASK] = p
    for p in range(start, first):
        positions[keys[p] & ROW_MASK] = p
    for p in range(stop, end):
        positions[keys[p] & ROW_MASK] = p
    return first, stop


@jit(internal=True)
def _move_few_right(keys, start, n_keys, rights, n_rights):
    """Have each sample that goes right change places with the last one that is not known to go right."""
    end = n_keys
    f = 0
    while f < n_rights and np.int64(rights[f]) < end:
        i = np.int64(rights[f])
        f += 1
        key = keys[start + i]
        end -= 1
        while n_rights > f and np.int64(rights[n_rights - 1]) == end:
            n_rights -= 1
            other = keys[start + end]
            keys[start + end] = key
            key = other
            end -= 1
        keys[start + i] = keys[start + end]
        keys[start + end] = key


@jit(internal=True)
def _move_many_right(keys, start, n_keys, lefts, n_lefts):
    """Do the same where few go left: what changes places with one that goes right, too, is moved by one place."""
    first = 0
    end = n_keys
    f = 0
    while first < end:
        if f < n_lefts and np.int64(lefts[f]) == first:
            f += 1
            first += 1
            continue
        key = keys[start + first]
        last_left = np.int64(lefts[n_lefts - 1]) if n_lefts > f else first
        left = keys[start + last_left]
        for p in range(start + last_left, start + end - 1):
            keys[p] = keys[p + 1]
        keys[start + end - 1] = key
        if n_lefts > f:
            n_lefts -= 1
            keys[start + first] = left
            first += 1
        end = last_left


@jit(internal=True)
def divide_lopsided(
    codes,  # (>= n_keys + 16,) uint32: of the samples keys[start:end]
    split_code,  # the greatest that goes left
    keys,  # (n_root_samples,) int64
    start,
    end,
    position,  # where the samples that go right will begin
    rare,  # (n_root_samples // 4 + 32,) uint32: a buffer
):
    """Divide samples of which few go to one side, as `divide` of `general_order` does; False if they are not few."""
    n_keys = end - start
    goes_few_left = position - start < end - position
    n_few = position - start if goes_few_left else end - position
    if n_few > n_keys // MIN_SAMPLES_A_RARE_ONE:
        return False
    n_listed = _list_side(codes, n_keys, split_code, goes_few_left, n_few, rare)
    if goes_few_left:
        _move_many_right(keys, start, n_keys, rare, n_listed)
    else:
        _move_few_right(keys, start, n_keys, rare, n_listed)
    return True
