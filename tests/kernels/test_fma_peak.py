"""The kernel whose speed is the peak does what it counts."""

import numpy as np
import pytest

from fastfit.kernels.fma_peak import N_CHAINS, multiply_add
from fastfit.runtime.cpu import lanes
from fastfit.runtime.memory import aligned_zeros
from fastfit.training.machine_peak import peak_flops


@pytest.mark.plain_python
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_value_is_multiplied_and_added_to(dtype):
    n_values = N_CHAINS * lanes(dtype)
    values = aligned_zeros(n_values, dtype)
    values[:] = np.arange(n_values)
    expected = values.copy()
    multiply_add(values, dtype(0.5), 3)
    for _ in range(3):
        expected = dtype(0.5) * expected + dtype(0.5)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_narrow_values_are_computed_twice_as_fast():
    # Whatever else the machine does: both are measured in short samples of one thread.
    assert 1.5 < peak_flops("float32", 1) / peak_flops("float64", 1) < 2.5
    assert peak_flops("float64", 1) > 5e8
