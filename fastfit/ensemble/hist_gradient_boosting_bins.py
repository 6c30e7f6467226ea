"""Bins of the training and the validation data, and scikit-learn's own mapper that holds what they are."""

from typing import NamedTuple

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.utils import check_random_state
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from fastfit.runtime.reuse import fingerprint, reuse

# Of more samples scikit-learn draws those whose quantiles are taken.
FEW_SAMPLES = 200_000


class Part(NamedTuple):
    """Some of the samples: those to learn from, or those to validate with."""

    bins: object  # fastfit.training.binned_data.BinnedData
    y: np.ndarray  # (n_samples,) float64
    sample_weight: np.ndarray | None  # (n_samples,) float64


def fit_bin_mapper(X, rows, sample_weight, *, max_bins, is_categorical, known_categories, seed, n_jobs):
    """Return a fitted ``_BinMapper``: the thresholds that scikit-learn finds, value for value.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64
    rows : ndarray of int, or None
        The rows to make bins from; None for all.
    sample_weight : ndarray of float64, or None
        Weights of these rows.
    max_bins : int
    is_categorical : ndarray of shape (n_features,) of bool, or None
    known_categories : list, or None
        For each feature the codes of its categories, or None.
    seed : int
        Draws the rows whose quantiles are taken, where there are many.
    n_jobs : int or None

    Returns
    -------
    mapper : sklearn.ensemble._hist_gradient_boosting.binning._BinMapper
    """
    given = X, rows, sample_weight, max_bins, is_categorical, known_categories, seed, n_jobs
    return reuse(lambda: _key_of_mapper(*given), lambda: _fit_bin_mapper(*given))


def _key_of_mapper(X, rows, sample_weight, max_bins, is_categorical, known_categories, seed, n_jobs):
    """Return what stands for all that the thresholds depend on: of few samples no draw, and never the threads."""
    known = None
    if known_categories is not None:
        known = tuple(fingerprint(of_feature) for of_feature in known_categories)
    arrays = map(fingerprint, (X, rows, sample_weight, is_categorical))
    return "bin mapper", *arrays, known, max_bins, seed if len(X) > FEW_SAMPLES else None


def _fit_bin_mapper(X, rows, sample_weight, max_bins, is_categorical, known_categories, seed, n_jobs):
    from fastfit.training.bin_thresholds import find_bin_thresholds

    mapper = _BinMapper(
        n_bins=max_bins + 1,
        is_categorical=is_categorical,
        known_categories=known_categories,
        random_state=seed,
        n_threads=_openmp_effective_n_threads(),
    )
    n_features = X.shape[1]
    of_feature = np.zeros(n_features) if is_categorical is None else is_categorical
    mapper.is_categorical_ = np.asarray(of_feature, dtype=np.uint8)
    mapper.missing_values_bin_idx_ = max_bins
    rows, sample_weight = _drawn_rows(mapper, len(X), rows, sample_weight)
    if rows is not None and sample_weight is not None:
        X, rows = X.take(rows, axis=0), None
    columns = np.flatnonzero(mapper.is_categorical_ == 0)
    found = find_bin_thresholds(
        X, max_bins, columns=columns, subset=rows, sample_weight=sample_weight, n_jobs=n_jobs
    )
    for column, of_column in zip(columns.tolist(), found, strict=True):
        if len(of_column) == 0:
            _check_some_value(X[:, column], rows, sample_weight, column)
    thresholds = list(known_categories) if known_categories is not None else [None] * n_features
    for column, of_column in zip(columns.tolist(), found, strict=True):
        thresholds[column] = of_column
    mapper.bin_thresholds_ = thresholds
    # A threshold lies between two bins; a category is one.
    n_bins = [len(of_feature) for of_feature in thresholds]
    mapper.n_bins_non_missing_ = (np.array(n_bins) + (mapper.is_categorical_ == 0)).astype(np.uint32)
    return mapper


def _check_some_value(values, rows, sample_weight, column):
    """Raise ValueError if a column of these rows holds nothing but NaN, as scikit-learn does in other words."""
    values = values if rows is None else values[rows]
    is_value = ~np.isnan(values)
    if sample_weight is not None:
        is_value &= sample_weight != 0
    if not is_value.any():
        raise ValueError(
            f"Feature {column} has no value to make bins from: it is NaN in all training samples of positive weight."
        )


def _drawn_rows(mapper, n_samples, rows, sample_weight):
    """Return the rows to take quantiles of, and their weights: of very many a draw that replaces the weights."""
    n_rows = n_samples if rows is None else len(rows)
    if n_rows <= mapper.subsample:
        return rows, sample_weight
    probabilities = None if sample_weight is None else sample_weight / np.sum(sample_weight)
    rng = check_random_state(mapper.random_state)
    drawn = rng.choice(n_rows, mapper.subsample, p=probabilities, replace=True)
    return drawn if rows is None else rows[drawn], None


def bin_rows(mapper, X, rows, *, for_growth, n_jobs):
    """Return these rows of X as bins, all rows for None.

    Returns
    -------
    bins : fastfit.training.binned_data.BinnedData
    """
    # The mapper is part of the result, so that no other one can have its place in memory meanwhile.
    return reuse(
        lambda: ("bins", id(mapper), fingerprint(X), fingerprint(rows), for_growth),
        lambda: (mapper, _bin_rows(mapper, X, rows, for_growth, n_jobs)),
    )[1]


def _bin_rows(mapper, X, rows, for_growth, n_jobs):
    from fastfit.training.binned_data import bin_data

    return bin_data(
        X if rows is None else X.take(rows, axis=0),
        [_without_nan(thresholds) for thresholds in mapper.bin_thresholds_],
        mapper.is_categorical_,
        mapper.missing_values_bin_idx_,
        for_growth=for_growth,
        n_jobs=n_jobs,
    )


def _without_nan(thresholds):
    """Return thresholds of which the last is not NaN, as a quantile between infinities is.

    scikit-learn's search puts nothing below a threshold of NaN. Repeating the one before it does the same.
    """
    if len(thresholds) == 0 or not np.isnan(thresholds[-1]):
        return thresholds
    return np.append(thresholds[:-1], thresholds[-2] if len(thresholds) > 1 else -np.inf)
