"""The same boosted ensemble of both libraries, and how they are compared."""

import numpy as np
from sklearn import ensemble as sklearn_ensemble
from sklearn.tree._tree import Tree

import fastfit
import fastfit.ensemble
from benchmarks.tree_comparison import ROUNDING, compare_trees

CLASSIFIER = "GradientBoostingClassifier"
REGRESSOR = "GradientBoostingRegressor"


def make_both(name, **params):
    """Return the ensemble of that name of fastfit and of scikit-learn."""
    return getattr(fastfit.ensemble, name)(**params), getattr(sklearn_ensemble, name)(**params)


def fit_both(name, X, y, sample_weight=None, **params):
    """Fit both; fastfit must not hand the fit to scikit-learn."""
    params = {"n_estimators": 4, "random_state": 0, **params}
    ours, theirs = make_both(name, **params)
    with fastfit.config_context(fallback="error"):
        ours.fit(X, y, sample_weight)
    return ours, theirs.fit(X, y, sample_weight)


def assert_same_ensemble(ours, theirs, X, exact=True):
    """Check that all trees, scores and predictions are the same: in every bit, or up to rounding."""
    assert ours.fit_engine_ == "fastfit"
    assert ours.estimators_.shape == theirs.estimators_.shape
    for own, reference in zip(ours.estimators_.ravel(), theirs.estimators_.ravel(), strict=True):
        assert type(own.tree_) is Tree
        comparison = compare_trees(own.tree_, reference.tree_, rtol=0.0 if exact else ROUNDING)
        assert comparison.n_departures == 0
        assert comparison.n_same == comparison.n_nodes
    equal = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    for name in ("train_score_", "oob_improvement_", "oob_scores_", "feature_importances_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if hasattr(theirs, name):
            equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    of_both = [
        model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)
        for model in (ours, theirs)
    ]
    equal(*of_both)
    np.testing.assert_array_equal(ours.apply(X), theirs.apply(X))
