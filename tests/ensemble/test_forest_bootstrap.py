"""The draws of bootstrap samples, and weights within them, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.ensemble._forest import _generate_sample_indices
from sklearn.utils import compute_sample_weight

from fastfit.ensemble.bootstrap import BalancedSubsample, BootstrapDraws

N = 3000
GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    "even": None,
    "fractions": GENERATOR.random(N),
    "mostly zero": np.where(np.arange(N) % 50 == 0, GENERATOR.random(N), 0.0),
    "whole numbers": GENERATOR.integers(0, 5, N),
    "float32": GENERATOR.random(N).astype(np.float32),
    "one row": np.where(np.arange(N) == 7, 2.0, 0.0),
    "extreme": 10.0 ** GENERATOR.uniform(-300, 300, N),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("n_draws", [1, 40, N, 3 * N])
def test_counts_are_those_of_scikit_learn(weights, n_draws):
    draws = BootstrapDraws(N, n_draws, WEIGHTS[weights])
    for seed in (0, 1, 2**31 - 2, 0):
        indices = _generate_sample_indices(seed, N, n_draws, WEIGHTS[weights])
        np.testing.assert_array_equal(draws.counts(seed), np.bincount(indices, minlength=N))


def test_draws_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    BootstrapDraws(N, N, WEIGHTS["fractions"]).counts(0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [([1.0, -0.5], "not non-negative"), ([1.0, np.nan], "NaN"), ([1.0, -1.0], "NaN|negative")],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_no_probabilities(weights, complaint):
    with pytest.raises(ValueError, match=complaint):
        BootstrapDraws(2, 2, np.array(weights))


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@pytest.mark.parametrize("n_draws", [3, N])
def test_balanced_weights_are_those_of_scikit_learn(n_outputs, n_draws):
    y = np.column_stack([GENERATOR.integers(0, 2 + 3 * k, N) for k in range(n_outputs)]).astype(np.float64)
    draws = BootstrapDraws(N, n_draws, None)
    balanced = BalancedSubsample(y)
    for seed in range(4):
        counts = draws.counts(seed)
        indices = _generate_sample_indices(seed, N, n_draws, None)
        expected = counts * compute_sample_weight("balanced", y, indices=indices)
        np.testing.assert_array_equal(balanced.weights(counts), expected)
