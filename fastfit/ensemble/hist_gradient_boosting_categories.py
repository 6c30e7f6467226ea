"""Categorical features of more categories than there are bins: the rarest of them share one."""

import numpy as np
from sklearn.utils._missing import is_scalar_nan

from fastfit.tree.plain_arrays import FLOAT_DTYPES


def _is_plain(X):
    """Tell whether X is a table of floats, any of which will do, with nothing to know of its columns."""
    return type(X) is np.ndarray and X.dtype in FLOAT_DTYPES and X.ndim == 2 and 0 not in X.shape


def _takes_categories_from_types(estimator):
    given = estimator.categorical_features
    return given is None or (isinstance(given, str) and given == "from_dtype")


class RareCategories:
    """Mixin before scikit-learn's class: what `group_rare_categories` does.

    The groups are those of :class:`sklearn.preprocessing.OrdinalEncoder`, which is part of the fitted model, so that
    scikit-learn's own class predicts with them, too.
    """

    def _preprocess_X(self, X, *, reset):
        """Return X as floats, codes of categories first; when fitting, also the codes of each feature or None."""
        if reset and _is_plain(X) and _takes_categories_from_types(self):
            # scikit-learn's checks take as long as five rounds on a small table.
            self.is_categorical_ = self._preprocessor = self._is_categorical_remapped = None
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = X.shape[1]
            return X.astype(np.float64, copy=False), None
        if not reset or not self.group_rare_categories:
            return super()._preprocess_X(X, reset=reset)
        preprocessed, known_categories = super()._preprocess_X(X, reset=True)
        if known_categories is None or all(
            codes is None or len(codes) <= self.max_bins for codes in known_categories
        ):
            return preprocessed, known_categories
        self._preprocessor.set_params(encoder__max_categories=self.max_bins)
        return self._preprocessor.fit_transform(X), self._check_categories()

    def _check_categories(self):
        """Return the codes of each feature's categories, None for numbers."""
        if not self.group_rare_categories:
            return super()._check_categories()
        known_categories = [None] * self._preprocessor.n_features_in_
        columns = np.arange(len(known_categories))[self._preprocessor.output_indices_["encoder"]]
        encoder = self._preprocessor.named_transformers_["encoder"]
        groups = [None] * len(columns) if encoder.max_categories is None else encoder.infrequent_categories_
        for column, categories, rare in zip(columns, encoder.categories_, groups, strict=True):
            n_codes = len(categories) - (len(categories) > 0 and is_scalar_nan(categories[-1]))
            if rare is not None:
                n_codes += 1 - len(rare)
            known_categories[column] = np.arange(n_codes, dtype=np.float64)
        return known_categories
