"""Hyperparameters that scikit-learn's gradient boosting on histograms does not have, and what they may be."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

OWN_CONSTRAINTS = {
    "n_jobs": [Integral, None],
    "subsample": [Interval(Real, 0.0, 1.0, closed="right")],
    "colsample_bytree": [Interval(Real, 0.0, 1.0, closed="right")],
    "reg_alpha": [Interval(Real, 0.0, None, closed="left")],
    "min_gain_to_split": [Interval(Real, 0.0, None, closed="left")],
    "group_rare_categories": ["boolean"],
    "importance_type": [StrOptions({"gain", "split"})],
    "compact_pickle": ["boolean"],
}

# What changes the trees. With any of these off its neutral value, scikit-learn cannot make the fit.
NEUTRAL_VALUES = {
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_alpha": 0.0,
    "min_gain_to_split": 0.0,
    "group_rare_categories": False,
}


def own_arguments(estimator):
    """Return the names of fastfit's own hyperparameters that are set to change the trees.

    Examples
    --------
    >>> from fastfit.ensemble import HistGradientBoostingRegressor
    >>> from fastfit.ensemble.hist_gradient_boosting_arguments import own_arguments
    >>> own_arguments(HistGradientBoostingRegressor(reg_alpha=0.5, n_jobs=2))
    ['reg_alpha']
    """
    return [name for name, neutral in NEUTRAL_VALUES.items() if getattr(estimator, name) != neutral]
