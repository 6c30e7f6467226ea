"""What a verbose fit tells: scikit-learn's lines."""

import sys
import time
from contextlib import contextmanager


def _say(text, end="\n"):
    sys.stdout.write(text + end)
    sys.stdout.flush()


class Messages:
    """Writes to the standard output what an estimator's `verbose` asks for.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastfit.ensemble.hist_gradient_boosting_messages import Messages
    >>> Messages(SimpleNamespace(verbose=1)).begin()
    Fitting gradient boosted rounds:
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.verbose = estimator.verbose
        self.start = time.perf_counter() if self.verbose else 0.0

    @property
    def of_rounds(self):
        """Whether each round is told of."""
        return self.verbose >= 2

    @contextmanager
    def binning(self, what, X, rows):
        """Tell how long binning takes of these rows of X (None: of all)."""
        if not self.verbose:
            yield
            return
        n_bytes = X.nbytes if rows is None else X.nbytes * len(rows) / len(X)
        _say(f"Binning {n_bytes / 1e9:.3f} GB of {what} data: ", end="")
        start = time.perf_counter()
        yield
        _say(f"{time.perf_counter() - start:.3f} s")

    def begin(self):
        """Tell that the rounds begin."""
        if self.verbose:
            _say("Fitting gradient boosted rounds:")

    @contextmanager
    def round(self):
        """Tell what a round brought."""
        if not self.of_rounds:
            yield
            return
        # scikit-learn's line ends with the seconds since this.
        start = time.time()
        _say(f"[{len(self.estimator._predictors) + 1}/{self.estimator.max_iter}] ", end="")
        yield
        self.estimator._print_iteration_stats(start)

    def finish(self):
        """Tell how long the fit took."""
        if self.verbose:
            trees = list(self.estimator._all_predictors())
            n_leaves = sum(tree.get_n_leaf_nodes() for tree in trees)
            seconds = time.perf_counter() - self.start
            _say(f"Fit {len(trees)} trees in {seconds:.3f} s, ({n_leaves} total leaves)")
