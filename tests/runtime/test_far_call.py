"""Calls through an address, and arrays from a table of addresses."""

from typing import NamedTuple

import numpy as np
import pytest

from fastfit.runtime.address_table import array_at, table_of
from fastfit.runtime.compile import jit
from fastfit.runtime.far_call import address_of_kernel, make_far_call


class Scaled(NamedTuple):
    """An array and a factor."""

    values: np.ndarray
    factor: int


@jit(internal=True)
def _add(scaled, x, index):
    scaled.values[index] += scaled.factor * x
    return scaled.values[index]


@jit(internal=True)
def _subtract(scaled, x, index):
    scaled.values[index] -= scaled.factor * x
    return scaled.values[index]


@jit(internal=True)
def _clear(scaled):
    scaled.values[0] = 0.0


_call_add = make_far_call(_add)
_call_nothing = make_far_call()


@jit
def add_thrice(address, scaled, x):
    """Call what is at the address with indices 0 to 2, the first of them a literal."""
    total = _call_add(address, (scaled, x, 0))
    for i in range(1, 3):
        total += _call_add(address, (scaled, x, i))
    return total


@jit
def clear(address, scaled):
    """Call something that returns nothing."""
    _call_nothing(address, (scaled,))


@pytest.mark.plain_python
def test_what_is_at_the_address_is_called():
    scaled = Scaled(np.arange(4.0), 2)
    assert add_thrice(address_of_kernel(_add, scaled, 1.0, 0), scaled, 1.5) == 3.0 + 4.0 + 5.0
    np.testing.assert_array_equal(scaled.values, [3.0, 4.0, 5.0, 3.0])
    assert add_thrice(address_of_kernel(_subtract, scaled, 1.0, 0), scaled, 1.5) == 0.0 + 1.0 + 2.0
    clear(address_of_kernel(_clear, scaled), scaled)
    assert scaled.values[0] == 0.0


def test_an_address_stays():
    scaled = Scaled(np.arange(4.0), 2)
    assert address_of_kernel(_add, scaled, 1.0, 0) == address_of_kernel(_add, scaled, 2.0, 1)


@jit
def move_between(table, like):
    """Add the integers of pair 1 to the floats of pair 0, and return the length of pair 2."""
    floats, integers = array_at(table, 0, like), array_at(table, 1, np.int32)
    for i in range(len(integers)):
        floats[i] += integers[i]
    return len(array_at(table, 2, like))


@pytest.mark.plain_python
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_a_table(dtype):
    floats, integers = np.arange(5, dtype=dtype), np.array([10, 20], dtype=np.int32)
    table = table_of([floats, integers, np.zeros(0)])
    assert move_between(table, dtype(0)) == 0
    np.testing.assert_array_equal(floats, [10, 21, 2, 3, 4])
