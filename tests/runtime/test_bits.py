"""Bits and ordered keys of float32 values, the same in kernels and in plain Python."""

import numpy as np
import pytest

from fastfit.runtime.bits import NAN_KEY, bits_float, float_bits, float_to_key, key_to_float
from fastfit.runtime.compile import jit

pytestmark = pytest.mark.plain_python

AWKWARD = [
    -np.inf,
    -3.4e38,
    -1.5,
    -1e-38,
    -1e-45,
    -0.0,
    0.0,
    1e-45,
    1e-38,
    1.5,
    1.5000001,
    3.4e38,
    np.inf,
    np.nan,
]


@jit
def convert(values, bits_out, floats_out, keys_out, values_out):
    for i in range(len(values)):
        bits_out[i] = float_bits(values[i])
        floats_out[i] = bits_float(bits_out[i])
        keys_out[i] = float_to_key(values[i])
        values_out[i] = key_to_float(keys_out[i])


def test_bits_and_keys():
    rng = np.random.default_rng(0)
    random_bits = rng.integers(0, 2**32, 200, dtype=np.uint32).view(np.float32)
    negative_nan = np.array([0xFFC00001], np.uint32).view(np.float32)
    values = np.concatenate([np.array(AWKWARD, np.float32), random_bits, negative_nan])
    bits, keys = np.empty((2, len(values)), np.uint32)
    floats, back = np.empty((2, len(values)), np.float32)
    convert(values, bits, floats, keys, back)
    np.testing.assert_array_equal(bits, values.view(np.uint32))
    np.testing.assert_array_equal(floats.view(np.uint32), bits)
    np.testing.assert_array_equal(back, values)
    assert not np.signbit(back[values == 0]).any()
    is_nan = np.isnan(values)
    assert (keys[is_nan] == NAN_KEY).all()
    numbers, keys = values[~is_nan], keys[~is_nan]
    assert keys.max() < NAN_KEY
    np.testing.assert_array_equal(keys[:, np.newaxis] < keys, numbers[:, np.newaxis] < numbers)
