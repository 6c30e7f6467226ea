"""scikit-learn's random stream, reproduced."""

import numpy as np
import pytest
from sklearn.utils._seq_dataset import ArrayDataset64

from fastfit.runtime.random import next_state, shuffle

pytestmark = pytest.mark.plain_python


def scikit_learn_order(n_samples, seeds):
    """The order in which scikit-learn visits samples after it has shuffled with each seed in turn."""
    rows = np.arange(n_samples, dtype=float)
    dataset = ArrayDataset64(rows.reshape(-1, 1), rows, np.ones(n_samples), seed=1)
    for seed in seeds:
        dataset._shuffle_py(seed)
    return [int(dataset._next_py()[1]) for _ in range(n_samples)]


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31 - 2, 2**31, 2**32 - 1])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 257])
def test_shuffle_is_that_of_scikit_learn(n_samples, seed):
    order = np.arange(n_samples, dtype=np.int32)
    shuffle(order, seed)
    shuffle(order, seed)
    assert order.tolist() == scikit_learn_order(n_samples, [seed, seed])


def test_stream_of_marsaglia():
    """The first numbers of the xorshift (13, 17, 5) that starts at 1, computed by hand."""
    order = np.arange(2**12, dtype=np.int32)
    shuffle(order, 1)
    assert order[0] == 270369 % 2**12
    if not hasattr(next_state, "py_func"):
        assert next_state(1) == 270369
        assert next_state(270369) == 67634689
