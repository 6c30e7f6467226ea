"""Importances of features in boosted trees."""

import numpy as np


def feature_importances(estimator, kind):
    """Return the share of each feature in the gains of all splits, or in their number.

    Parameters
    ----------
    estimator : HistGradientBoostingFitting
        Fitted.
    kind : {"gain", "split"}

    Returns
    -------
    importances : ndarray of shape (n_features_in_,), float64
        In the order of the columns of X. They sum to 1, or are zeros if there is no split.
    """
    totals = np.zeros(estimator.n_features_in_)
    tables = [tree.nodes for tree in estimator._all_predictors()]
    nodes = np.concatenate(tables)
    splits = nodes[nodes["is_leaf"] == 0]
    weights = splits["gain"] if kind == "gain" else None
    totals += np.bincount(splits["feature_idx"], weights=weights, minlength=len(totals))
    if estimator.is_categorical_ is not None:
        # Among the preprocessed columns the categories come first.
        is_categorical = estimator.is_categorical_
        columns = np.concatenate([np.flatnonzero(is_categorical), np.flatnonzero(~is_categorical)])
        of_columns = np.empty_like(totals)
        of_columns[columns] = totals
        totals = of_columns
    total = totals.sum()
    return totals / total if total > 0.0 else totals
