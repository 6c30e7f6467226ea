"""What the trees of one fit share: the columns of X, sorted, ranked or binned once, each form when first needed."""

import functools
import threading

import numpy as np

from fastfit.kernels.presort import (
    COUNTS_SIZE,
    PresortScratch,
    SortedColumns,
    presort_columns,
    transpose_rows,
)
from fastfit.kernels.presort_entries import NEW_VALUE, bin_columns, sort_rows
from fastfit.kernels.presorted_columns import PADDING
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.reuse import fingerprint, is_sharing, reuse
from fastfit.runtime.threads import run_team

# Values of X from which it is transposed by a kernel of ours, which takes 0.3 s to compile.
LARGE_X = 1_000_000
# Samples below which no kind of column costs much; pairs of rows that are compared; and the share of equal ones from
# which most columns have a value that three rows in four share.
ENOUGH_ROWS = 1000
PAIRS_LOOKED_AT = 256
MOST_PAIRS = 0.6


def prepare_tree_data(X, missing_mask, *, n_threads, splitter="best", max_bins=255, is_shared=True):
    """Return X in the form that trees are grown from.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features) of float32
        In C or in Fortran order.
    missing_mask : ndarray of shape (n_features,) of bool, or None
        Which features have missing values; None: none has.
    n_threads : int
        How many threads may sort columns.
    splitter : {"best", "random", "hist"}, default="best"
        With "hist" a feature has at most ``max_bins`` values for the trees.
    max_bins : int, default=255
    is_shared : bool, default=True
        Whether more than one tree will be grown from the data. If not, the tree may use up the sorted columns.

    Returns
    -------
    data : TreeData
    """
    if not is_sharing():
        return _prepare(X, missing_mask, n_threads, splitter, max_bins, is_shared)
    n_bins = max_bins if splitter == "hist" else None
    return reuse(
        lambda: ("tree data", fingerprint(X), fingerprint(missing_mask), n_bins),
        lambda: _prepare(X, missing_mask, n_threads, splitter, max_bins, True),
    )


def _prepare(X, missing_mask, n_threads, splitter, max_bins, is_shared):
    if X.flags.f_contiguous or X.size < LARGE_X:
        X_t = np.ascontiguousarray(X.T)
    else:
        X_t = np.empty(X.shape[::-1], np.float32)
        run_team(transpose_rows, n_threads, as_readonly(X), X_t)
    has_missing = np.zeros(X.shape[1], np.uint8) if missing_mask is None else missing_mask.astype(np.uint8)
    # Trees that share the columns may read the values while others rank them.
    may_overwrite = not (is_sharing() or np.may_share_memory(X_t, X))
    data = TreeData(X_t, has_missing, n_threads, is_shared, may_overwrite=may_overwrite)
    return _binned(data, max_bins) if splitter == "hist" else data


def _binned(data, n_bins):
    """Return data with the number of its bin in place of every value."""
    rows, has_ties, is_close = data.sorted_rows
    cuts = np.full((data.n_features, n_bins), np.inf)
    bins = np.empty(data.shape, np.float32)
    run_team(bin_columns, data.team_for_columns(), data.X_t, rows, n_bins, cuts, bins)
    binned = TreeData(bins, data.has_missing, data.n_threads, data.is_shared, cuts, may_overwrite=True)
    binned.__dict__["_sorted_rows"] = rows, np.ones_like(has_ties), np.zeros_like(is_close)
    return binned


def _computed_once(function):
    """Return a property that is computed by the first of any threads that ask for it, and kept."""
    name = "_" + function.__name__

    @functools.wraps(function)
    def get(self):
        if name not in self.__dict__:
            with self._lock:
                if name not in self.__dict__:
                    self.__dict__[name] = function(self)
        return self.__dict__[name]

    return property(get)


class TreeData:
    """The columns of X, in the forms that the kernels for trees read.

    Attributes
    ----------
    shape : tuple of (n_features, n_samples)
    has_missing : ndarray of shape (n_features,) of uint8
        Whether a feature has missing values.
    n_threads : int
        How many threads may work on the columns.
    is_shared : bool
        Whether more than one tree is grown from the data.
    cuts : ndarray of shape (n_features, n_bins) of float64, or None
        If the values are numbers of bins, the thresholds between these, infinity behind the last.
    n_categories : ndarray of shape (n_features,) of int64, or None
        Number of categories of each feature, 0 of numbers; see `fastfit.training.category_growth`. None: all 0.
    """

    n_categories = None

    def __init__(self, X_t, has_missing, n_threads, is_shared, cuts=None, *, may_overwrite=False):
        self.shape = X_t.shape
        self.has_missing = has_missing
        self.n_threads = n_threads
        self.is_shared = is_shared
        self.cuts = cuts
        self._values = X_t
        # Ranks may take the place of values that nobody else has, or has asked for.
        self._may_overwrite = may_overwrite
        self._lock = threading.RLock()

    @property
    def X_t(self):
        """The values, (n_features, n_samples) float32, read-only."""
        with self._lock:
            if self._values is None:
                of_features = zip(self.ranks.levels, self.codes, strict=True)
                self._values = np.stack([levels[codes] for levels, codes in of_features])
            self._may_overwrite = False
            return as_readonly(self._values)

    @property
    def n_features(self):
        """Number of features."""
        return self.shape[0]

    @property
    def n_samples(self):
        """Number of samples."""
        return self.shape[1]

    @property
    def size(self):
        """Number of values."""
        return self.shape[0] * self.shape[1]

    @property
    def any_missing(self):
        """Whether any value is missing."""
        return bool(self.has_missing.any())

    @_computed_once
    def sorted_rows(self):
        """Rows of each column by ascending value, missing values last.

        Returns
        -------
        rows : ndarray of shape (n_features, n_samples + padding) of uint32
            The top bit of an entry says that its value, or its bin, differs from the one before.
        has_ties : ndarray of shape (n_features,) of uint8
            Whether some value, or bin, occurs twice.
        is_close : ndarray of shape (n_features,) of uint8
            Whether two values are different, but equal up to the threshold of scikit-learn's trees.
        """
        n_features, n_samples = self.shape
        n_threads = self.team_for_columns()
        rows = np.empty((n_features, n_samples + PADDING), np.uint32)
        has_ties, is_close = np.empty((2, n_features), np.uint8)
        words = np.empty((n_threads, 2, n_samples), np.uint64)
        counts = np.empty((n_threads, COUNTS_SIZE), np.uint32)
        values = self.X_t if self._values is None else as_readonly(self._values)
        run_team(sort_rows, n_threads, values, words, counts, rows, has_ties, is_close)
        return rows, has_ties, is_close

    @_computed_once
    def tied_share(self):
        """Greatest share of a column's entries that have the value of the one before."""
        rows, has_ties, _ = self.sorted_rows
        if not has_ties.any():
            return 0.0
        n_new = np.count_nonzero(rows[:, : self.n_samples] >= NEW_VALUE, axis=1)
        return 1.0 - n_new.min() / self.n_samples

    @_computed_once
    def has_common_values(self):
        """Whether columns have, on the average, one value nearly everywhere, as counts of words and flags have.

        Told by the share of pairs of rows that are equal in a column, the sum over its values of their shares squared.
        """
        if self.n_samples < ENOUGH_ROWS:
            return False
        values = self.codes if self._values is None else self._values
        half = self.n_samples // 2
        step = -(-half // PAIRS_LOOKED_AT)
        return bool(np.mean(values[:, :half:step] == values[:, half : 2 * half : step]) > MOST_PAIRS)

    def forget_sorted_rows(self):
        """Have the rows sorted again, after a tree has used them up."""
        if not self.is_shared:
            del self.__dict__["_sorted_rows"]

    @_computed_once
    def ranks(self):
        """Rank of every value among the values of its column, and the values behind the ranks, as `SortedColumns`."""
        n_features, n_samples = self.shape
        n_threads = self.team_for_columns()
        # A forest would otherwise have X twice beside its ranks. Who asks for the values later has them made anew.
        levels = self._values if self._may_overwrite else np.empty(self.shape, np.float32)
        columns = SortedColumns(
            np.empty(self.shape, np.uint32),
            levels,
            np.empty(n_features, np.int64),
            np.empty(n_features, np.uint8),
        )
        scratch = PresortScratch(
            np.empty((n_threads, 2, n_samples), np.uint64), np.empty((n_threads, COUNTS_SIZE), np.uint32)
        )
        run_team(presort_columns, n_threads, as_readonly(self._values), columns, scratch)
        if self._may_overwrite:
            self._values = None
        return columns

    @property
    def codes(self):
        """Ranks, (n_features, n_samples) uint32; missing values come behind all others."""
        return self.ranks.codes

    @property
    def n_levels(self):
        """Number of different values of each feature, (n_features,) int64, missing ones not counted."""
        return self.ranks.n_levels

    @property
    def is_close(self):
        """Whether a feature has values that are equal up to the threshold only, (n_features,) uint8."""
        return self.ranks.is_close

    @_computed_once
    def level_start(self):
        """Where the values of each feature begin in `levels`, (n_features,) int64."""
        return np.arange(self.n_features) * self.n_samples

    @property
    def levels(self):
        """The different values of each feature, ascending; float32, flat, `n_levels` from `level_start` for each."""
        return self.ranks.levels.reshape(-1)

    def team_for_columns(self):
        """Return how many threads to use for a pass over all columns."""
        return min(self.n_threads, self.n_features) if self.size > 50_000 else 1
