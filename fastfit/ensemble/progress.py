"""What a verbose forest tells of its work, where scikit-learn and joblib tell it."""

import sys
import time

# From this verbosity on, joblib writes to the standard output instead of the standard error.
LOUD = 50


class Progress:
    """Reports on work that takes as many steps as there are trees.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastfit.ensemble.progress import Progress
    >>> progress = Progress(SimpleNamespace(verbose=2), 3)
    >>> progress.announce(0)
    building tree 1 of 3
    """

    def __init__(self, estimator, n_trees):
        self.name = type(estimator).__name__
        self.verbose = estimator.verbose
        self.n_trees = n_trees
        self.start = time.perf_counter() if self.verbose else 0.0

    def announce(self, position):
        """Say that a tree is begun."""
        if self.verbose > 1:
            # In one piece, since threads write in turn.
            sys.stdout.write(f"building tree {position + 1} of {self.n_trees}\n")

    def finish(self):
        """Say how long the work took."""
        if self.verbose:
            seconds = time.perf_counter() - self.start
            stream = sys.stderr if self.verbose < LOUD else sys.stdout
            stream.write(
                f"[{self.name}]: Done {self.n_trees} out of {self.n_trees} | elapsed: {seconds:.1f}s finished\n"
            )
