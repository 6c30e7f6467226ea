"""Selecting medians and quantiles of leaves against NumPy's, bit for bit."""

import numpy as np
import pytest

from fastfit.kernels.histogram_leaves import search_leaves
from fastfit.runtime.threads import run_team

VALUES = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "ties": lambda rng, n: rng.integers(0, 3, n) / 3.0,
    "one value": lambda rng, n: np.full(n, -2.5),
    "ascending": lambda rng, n: np.arange(n, dtype=np.float64),
    "descending": lambda rng, n: -np.arange(n, dtype=np.float64),
}


def search(y, leaf_of, n_leaves, quantile, n_threads, rate=0.3):
    """Return (values of leaves, predictions) by the kernel, whose members have two parts of each leaf."""
    segments = np.zeros((2, n_leaves, 2), np.int64)
    samples = np.argsort(leaf_of, kind="stable").astype(np.uint32)
    ends = np.cumsum(np.bincount(leaf_of, minlength=n_leaves))
    sizes = np.diff(ends, prepend=0)
    middles = ends - sizes // 3
    segments[0] = np.stack([ends - sizes, middles], axis=1)
    segments[1] = np.stack([middles, ends], axis=1)
    raw = np.linspace(-0.5, 0.5, len(y))
    values = np.empty(n_leaves)
    leaves = np.stack([np.arange(n_leaves), ends - sizes])
    scratch = np.empty((2, len(y)))
    options = (quantile, rate)
    run_team(search_leaves, n_threads, samples, segments, leaves, y.copy(), raw, options, scratch, values)
    return values, raw


def check(kind, quantile, n_threads, n_samples=700, n_leaves=7):
    rng = np.random.default_rng(3)
    y = VALUES[kind](rng, n_samples)
    leaf_of = rng.permutation(np.arange(n_samples) ** 2 * n_leaves // n_samples**2)
    values, raw = search(y, leaf_of, n_leaves, quantile, n_threads)
    before = np.linspace(-0.5, 0.5, n_samples)
    for leaf in range(n_leaves):
        residuals = (y - before)[leaf_of == leaf]
        step = np.median(residuals) if quantile < 0 else np.percentile(residuals, 100 * quantile)
        assert values[leaf] == 0.3 * step
    np.testing.assert_array_equal(raw, before + values[leaf_of])


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("quantile", [-1.0, 0.0, 0.1, 0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("kind", VALUES)
def test_values_of_leaves_are_numpys(kind, quantile, n_threads):
    check(kind, quantile, n_threads)


@pytest.mark.parametrize("quantile", [-1.0, 0.3])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 4, 5])
def test_few_samples(n_samples, quantile):
    check("normal", quantile, 1, n_samples, n_leaves=1)


@pytest.mark.plain_python
def test_in_plain_python():
    check("ties", 0.8, 1, n_samples=40, n_leaves=2)
