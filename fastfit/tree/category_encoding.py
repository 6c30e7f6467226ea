"""Columns of categories: which they are, and the codes that stand for them."""

import numpy as np
from scipy.sparse import issparse
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils._missing import is_scalar_nan
from sklearn.utils.validation import _check_categorical_features, validate_data

from fastfit.tree.plain_arrays import FLOAT_DTYPES

# Codes are float32, as X is, and have to be exact.
MAX_CATEGORIES = 1 << 24


def find_categorical(X, categorical_features):
    """Return which features of X are categorical, as ``categorical_features`` says.

    Parameters
    ----------
    X : array, sparse array or data frame of shape (n_samples, n_features)
    categorical_features : None, "from_dtype" or array-like
        As of :class:`sklearn.ensemble.HistGradientBoostingClassifier`.

    Returns
    -------
    is_categorical : ndarray of shape (n_features,) of bool, or None
        None if no feature is.

    Raises
    ------
    ValueError
        If ``categorical_features`` does not fit X.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.category_encoding import find_categorical
    >>> find_categorical(np.zeros((5, 3)), [0, 2])
    array([ True, False,  True])
    """
    if categorical_features is None:
        return None
    if not hasattr(X, "shape"):
        X = np.asarray(X, dtype=object)
    try:
        is_categorical = _check_categorical_features(X, categorical_features)
    except ValueError as error:
        raise ValueError(f"{error} (categorical_features={categorical_features!r})") from None
    return None if is_categorical is None else np.array(is_categorical, dtype=bool)


class CategoryEncoding:
    """The codes of the categories of a training set: 0, 1, …, in ascending order of the categories of each column.

    What was missing, or was not there in training, has the code NaN.

    Attributes
    ----------
    is_categorical : ndarray of shape (n_features,) of bool
    categories : list of ndarray, or None, one a feature
        The categories in the order of their codes, missing ones not among them; None of numbers.
    n_categories : ndarray of shape (n_features,) of int64
        0 of numbers.
    """

    def __init__(self, is_categorical):
        self.is_categorical = is_categorical

    def fit(self, X):
        """Learn the codes.

        Parameters
        ----------
        X : ndarray, or data frame
            What `with_shape` returned.

        Returns
        -------
        self : CategoryEncoding
        """
        self.encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
            dtype=np.float32,
        )
        columns = np.flatnonzero(self.is_categorical)
        self.encoder.fit(_safe_indexing(X, columns, axis=1))
        self.categories = [None] * len(self.is_categorical)
        self.n_categories = np.zeros(len(self.is_categorical), dtype=np.int64)
        for column, categories in zip(columns, self.encoder.categories_, strict=True):
            if len(categories) and (is_scalar_nan(categories[-1]) or categories[-1] is None):
                categories = categories[:-1]
            if len(categories) > MAX_CATEGORIES:
                raise ValueError(
                    f"categorical_features may have up to {MAX_CATEGORIES} categories, and feature {column} has "
                    f"{len(categories)}."
                )
            self.categories[column] = categories
            # A column without any category still is one of categories: all of its values are missing.
            self.n_categories[column] = max(len(categories), 1)
        return self

    def encode_training(self, estimator, X, find_missing):
        """Return X as `encode` does, and which of its columns miss values.

        Parameters
        ----------
        estimator : tree or forest
        X : ndarray, or data frame
            What `with_shape` returned.
        find_missing : callable
            Of scikit-learn: returns which columns of an array of floats miss values, or None if none does, and raises
            if they must not.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) of float32, in Fortran order
        missing_mask : ndarray of shape (n_features,) of bool, or None
        """
        encoded = self._encode(X, False, estimator)
        missing_mask = np.zeros(encoded.shape[1], dtype=bool)
        if not self.is_categorical.all():
            of_numbers = find_missing(encoded[:, ~self.is_categorical])
            missing_mask[~self.is_categorical] = False if of_numbers is None else of_numbers
        missing_mask[self.is_categorical] = np.isnan(encoded[:, self.is_categorical]).any(axis=0)
        return encoded, missing_mask if missing_mask.any() else None

    def encode(self, estimator, X, allow_nan):
        """Return X as float32 with codes in place of categories.

        Parameters
        ----------
        estimator : tree or forest
        X : array-like of shape (n_samples, n_features)
        allow_nan : bool
            Whether numbers may be missing; categories always may.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) of float32

        Raises
        ------
        ValueError
            If X is not valid, in scikit-learn's words.
        """
        X = with_shape(X, estimator)
        validate_data(estimator, X, skip_check_array=True, reset=False)
        return self._encode(X, "allow-nan" if allow_nan else True, estimator)

    def _encode(self, X, ensure_all_finite, estimator):
        encoded = np.empty((X.shape[0], len(self.is_categorical)), dtype=np.float32, order="F")
        columns = np.flatnonzero(self.is_categorical)
        if type(X) is np.ndarray and X.dtype in FLOAT_DTYPES and self._are_plain(columns):
            for column in columns:
                values, n_categories = X[:, column], len(self.categories[column])
                with np.errstate(invalid="ignore"):
                    is_known = (values >= 0) & (values < n_categories) & (values == np.floor(values))
                encoded[:, column] = np.where(is_known, values, np.nan)
        else:
            encoded[:, columns] = self.encoder.transform(_safe_indexing(X, columns, axis=1))
        others = np.flatnonzero(~self.is_categorical)
        if len(others):
            encoded[:, others] = check_array(
                _safe_indexing(X, others, axis=1),
                dtype=np.float32,
                ensure_all_finite=ensure_all_finite,
                estimator=estimator,
                input_name="X",
            )
        return encoded

    def _are_plain(self, columns):
        """Tell whether all categories are numbers and their own codes already."""
        of_columns = [self.categories[column] for column in columns]
        return all(
            categories.dtype.kind in "fiu" and np.array_equal(categories, np.arange(len(categories)))
            for categories in of_columns
        )


def with_shape(X, estimator):
    """Return X as an array or a data frame, checked for its shape.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    if issparse(X):
        raise ValueError(
            f"categorical_features={estimator.categorical_features!r} is for dense X, and this X is sparse."
        )
    if hasattr(X, "columns") and hasattr(X, "shape"):
        return X
    return check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name="X")


def check_category_setting(estimator, target, is_categorical):
    """Raise a ValueError where no exact split by categories is known.

    Parameters
    ----------
    estimator : tree or forest
    target : fastfit.training.tree_growth.Target
    is_categorical : ndarray of shape (n_features,) of bool
    """
    given = f"categorical_features={estimator.categorical_features!r}"
    if estimator.splitter != "best":
        raise ValueError(f"{given} needs splitter='best', got splitter={estimator.splitter!r}.")
    if target.y.shape[1] > 1:
        raise ValueError(f"{given} is for a single output, and y has {target.y.shape[1]} outputs.")
    if target.n_classes is not None and target.n_classes[0] > 2:
        raise ValueError(
            f"{given} is for two classes and for regression, where the best split by categories is found exactly, and "
            f"y has {target.n_classes[0]} classes."
        )
    if estimator.criterion == "absolute_error":
        raise ValueError(
            f"{given} does not work with criterion='absolute_error', for which the best split by categories is not "
            "among those that their order gives; use criterion='squared_error'."
        )
    if estimator.monotonic_cst is not None:
        constraints = np.asarray(estimator.monotonic_cst)
        if constraints.shape == is_categorical.shape and np.any(constraints[is_categorical] != 0):
            raise ValueError(
                f"monotonic_cst={estimator.monotonic_cst!r} constrains categorical features, which have no order: "
                f"{np.flatnonzero(is_categorical & (constraints != 0)).tolist()}."
            )
