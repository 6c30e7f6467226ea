"""The same forest of both libraries, and how they are compared."""

import numpy as np
from sklearn import ensemble as sklearn_ensemble
from sklearn.tree._tree import Tree

import fastfit
import fastfit.ensemble
from benchmarks.tree_comparison import ROUNDING, compare_models

CLASSIFIERS = ("RandomForestClassifier", "ExtraTreesClassifier")
REGRESSORS = ("RandomForestRegressor", "ExtraTreesRegressor")
FORESTS = (*CLASSIFIERS, *REGRESSORS)


def make_both(name, **params):
    """Return the forest of that name of fastfit and of scikit-learn."""
    return getattr(fastfit.ensemble, name)(**params), getattr(sklearn_ensemble, name)(**params)


def fit_both(name, X, y, sample_weight=None, **params):
    """Fit both; fastfit must not hand the fit to scikit-learn."""
    ours, theirs = make_both(name, **params)
    with fastfit.config_context(fallback="error"):
        ours.fit(X, y, sample_weight)
    return ours, theirs.fit(X, y, sample_weight)


def assert_same_forest(ours, theirs, exact=True):
    """Check that all trees are the same: in every bit, or up to the rounding of sums of fractions."""
    assert ours.fit_engine_ == "fastfit"
    assert len(ours.estimators_) == len(theirs.estimators_)
    assert {type(tree.tree_) for tree in ours.estimators_} == {Tree}
    assert [tree.random_state for tree in ours.estimators_] == [
        tree.random_state for tree in theirs.estimators_
    ]
    comparison = compare_models(ours, theirs, rtol=0.0 if exact else ROUNDING)
    assert comparison.n_departures == 0
    assert comparison.n_same == comparison.n_nodes


def assert_same_attributes(ours, theirs):
    """Check that what scikit-learn's forest has learned, ours has learned as well, but for the trees."""
    learned = {name for name in vars(theirs) if name.endswith("_") or name in PRIVATE}
    learned -= {"estimators_", "estimator_"}
    assert learned <= vars(ours).keys()
    for name in learned:
        value, expected = getattr(ours, name), getattr(theirs, name)
        assert type(value) is type(expected), name
        if isinstance(expected, list) or expected is None:
            np.testing.assert_equal(value, expected, err_msg=name)
        else:
            np.testing.assert_array_equal(value, expected, err_msg=name)
            assert np.asarray(value).dtype == np.asarray(expected).dtype, name


PRIVATE = ("_n_samples", "_n_samples_bootstrap", "_sample_weight")
