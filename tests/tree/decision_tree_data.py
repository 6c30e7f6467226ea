"""Data for trees, pairs of scikit-learn's estimator and ours, and what it means that both are the same."""

import numpy as np
import pytest
from sklearn import tree as sklearn_tree

from fastfit import tree as fastfit_tree

NAMES = fastfit_tree.__all__
CLASSIFIERS = [name for name in NAMES if name.endswith("Classifier")]


def make_data(n_samples=60, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    return (
        X,
        (X[:, 0] + 0.3 * rng.normal(size=n_samples) > 0).astype(np.int64),
        rng.uniform(0.5, 2, n_samples),
    )


def both(name, **parameters):
    """Return scikit-learn's estimator of a name and ours."""
    return getattr(sklearn_tree, name)(**parameters), getattr(fastfit_tree, name)(**parameters)


def assert_same_tree(found, expected):
    assert found.node_count == expected.node_count
    for name in ("children_left", "children_right", "feature", "n_node_samples", "missing_go_to_left"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("threshold", "impurity", "weighted_n_node_samples", "value"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-12)
    assert found.max_depth == expected.max_depth


def assert_same_learned(found, expected):
    """Compare all that a fit sets: the names, their types and their values."""
    learned = {name: value for name, value in vars(expected).items() if name.endswith("_")}
    assert {name for name in vars(found) if name.endswith("_")} == learned.keys() | {"fit_engine_"}
    for name, value in learned.items():
        assert type(getattr(found, name)) is type(value)
        if name == "tree_":
            assert_same_tree(found.tree_, value)
        elif isinstance(value, list):
            for ours, theirs in zip(getattr(found, name), value, strict=True):
                np.testing.assert_array_equal(ours, theirs)
                assert ours.dtype == theirs.dtype
        else:
            np.testing.assert_array_equal(getattr(found, name), value)
            assert np.asarray(getattr(found, name)).dtype == np.asarray(value).dtype


def assert_same_error(call_theirs, call_ours):
    with pytest.raises((ValueError, TypeError)) as expected:
        call_theirs()
    with pytest.raises(type(expected.value)) as found:
        call_ours()
    assert str(found.value) == str(expected.value)
