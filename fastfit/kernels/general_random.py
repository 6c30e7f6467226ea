"""The random splitter of the general engine: for each feature drawn try one threshold between its least and greatest
value in the node.

Codes are the values themselves in an order that integers can be compared by, so that nothing is sorted.
"""

import numpy as np

from fastfit.kernels.feature_draw import draw_int, make_try_features
from fastfit.kernels.general_block import column_of
from fastfit.kernels.general_order import divide
from fastfit.kernels.general_problem import FEATURE_THRESHOLD, LAST_FEATURE, MAX_KEY, ROW_MASK, SPLIT_CODE
from fastfit.kernels.general_split import bind, is_monotone, make_node_kernels
from fastfit.kernels.tree_node import (
    END,
    FEATURE,
    MISSING_LEFT,
    POSITION,
    PROXY,
    START,
    THRESHOLD,
    WEIGHT,
)
from fastfit.runtime.bits import bits_float, float_bits
from fastfit.runtime.compile import jit
from fastfit.runtime.random import MAX_RANDOM_INT, next_state
from fastfit.runtime.simd import element

# Codes of values are their bits as whole numbers with a sign.
SIGN_BIT = 0x80000000
MAX_MAGNITUDE = 0x7FFFFFFF
INFINITY_BITS = 0x7F800000
MISSING_CODE = MAX_MAGNITUDE
# Keys have no place here: a code, with its sign, above the row.
VALUE_SHIFT = 30


@jit(inline=True, internal=True)
def _greatest_key(code):
    """Return the greatest key of a code."""
    return code << VALUE_SHIFT | ((1 << VALUE_SHIFT) - 1)


@jit(inline=True, internal=True)
def _code_of_bits(bits):
    """Return an integer in the order of float32 values, from their bits; the same for both zeros."""
    magnitude = bits & MAX_MAGNITUDE
    code = -magnitude if bits >= SIGN_BIT else magnitude
    return MISSING_CODE if magnitude > INFINITY_BITS else code


@jit(inline=True, internal=True)
def _value_of_code(code):
    return bits_float(np.uint32(code if code >= 0 else SIGN_BIT - code))


@jit(inline=True, internal=True)
def _last_code_up_to(threshold):
    """Return the code of the greatest float32 that is not above a threshold."""
    value = np.float32(threshold)
    code = _code_of_bits(int(float_bits(value)))
    return code - 1 if np.float64(value) > threshold else code


@jit(inline=True, internal=True)
def _read_values(
    values,  # (n_samples,) float32
    first_row,  # number of the row that values[0] belongs to
    keys,  # (n_root_samples,) int64
    start,
    end,
    gathered,  # (n_root_samples,) uint32: a buffer, so that all else is done in vectors
):
    """Put the codes of a feature into keys[start:end]; return the least, the greatest and the number of missing ones.

    The least is above the greatest if all are missing.
    """
    n_keys = end - start
    for i in range(n_keys):
        gathered[i] = float_bits(element(values, (element(keys, start + i) & ROW_MASK) - first_row))
    low, high, n_missing = MISSING_CODE, -MISSING_CODE, 0
    for i in range(n_keys):
        code = _code_of_bits(int(element(gathered, i)))
        keys[start + i] = code << VALUE_SHIFT | (element(keys, start + i) & ROW_MASK)
        low = code if code < low else low
        known = code if code < MISSING_CODE else -MISSING_CODE
        high = known if known > high else high
        n_missing += code == MISSING_CODE
    return low, high, n_missing


@jit(inline=True, internal=True)
def _draw_uniform(random_state, low, high):
    """Draw a float64 of [low, high], as scikit-learn does."""
    state = next_state(random_state[0])
    random_state[0] = state
    return (high - low) * np.float64(state & MAX_RANDOM_INT) / np.float64(MAX_RANDOM_INT) + low


def make_general_random(criterion):
    """Return the engine of the random splitter for a `Criterion`: (bind, begin_node, find_split)."""
    split_at, proxy, child_values = criterion.split_at, criterion.proxy, criterion.child_values
    begin_node, end_search = make_node_kernels(criterion)

    @jit(inline=True, internal=True)
    def is_allowed(problem, work, node, feature, position, state):
        limits, weight = problem.limits, node.floats[WEIGHT]
        start = node.ints[START]
        if state[0] < limits.min_weight_leaf or weight - state[0] < limits.min_weight_leaf:
            return False
        if problem.is_bounded and limits.monotonic_cst[feature] != 0:
            left, right = child_values(problem, work, start, position, weight, state)
            return is_monotone(node, limits.monotonic_cst[feature], left, right)
        return True

    @jit(inline=True, internal=True)
    def evaluate(problem, work, node, feature):
        start, end, weight = node.ints[START], node.ints[END], node.floats[WEIGHT]
        random_state = work.draw.random_state
        work.marks[LAST_FEATURE] = feature
        values, first_row = column_of(problem, work, node, feature)
        low_code, high_code, n_missing = _read_values(values, first_row, work.keys, start, end, work.gathered)
        if low_code > high_code:
            return True
        low, high = _value_of_code(low_code), _value_of_code(high_code)
        if n_missing == 0 and high <= low + FEATURE_THRESHOLD:
            return True
        threshold = _draw_uniform(random_state, np.float64(low), np.float64(high))
        missing_left = n_missing > 0 and draw_int(random_state, 0, 2) == 1
        if threshold == high:
            threshold = np.float64(low)
        split_code = _last_code_up_to(threshold)
        greatest = _greatest_key(split_code)
        smallest_missing = MISSING_CODE << VALUE_SHIFT if missing_left else MAX_KEY
        position = divide(work.keys, start, end, greatest, smallest_missing)
        min_samples_leaf = problem.limits.min_samples_leaf
        if position - start < min_samples_leaf or end - position < min_samples_leaf:
            return False
        state = split_at(problem, work, start, end, position, weight)
        if is_allowed(problem, work, node, feature, position, state):
            current = proxy(problem, work, start, position, weight, state)
            if current > node.floats[PROXY]:
                node.floats[PROXY] = current
                node.floats[THRESHOLD] = threshold
                node.ints[FEATURE] = feature
                node.ints[POSITION] = position
                node.ints[MISSING_LEFT] = missing_left if n_missing > 0 else position - start > end - position
                work.marks[SPLIT_CODE] = split_code
        return False

    try_features = make_try_features(evaluate)

    @jit(internal=True)
    def find_split(problem, work, node, limits):
        start, end = node.ints[START], node.ints[END]
        node.floats[PROXY] = -np.inf
        node.ints[POSITION] = end
        try_features(problem, work, node, limits.max_features)
        feature = node.ints[FEATURE]
        if node.ints[POSITION] < end and feature != work.marks[LAST_FEATURE]:
            values, first_row = column_of(problem, work, node, feature)
            _read_values(values, first_row, work.keys, start, end, work.gathered)
            smallest_missing = MISSING_CODE << VALUE_SHIFT if node.ints[MISSING_LEFT] else MAX_KEY
            divide(work.keys, start, end, _greatest_key(work.marks[SPLIT_CODE]), smallest_missing)
        end_search(problem, work, node, limits)
        return True

    return bind, begin_node, find_split
