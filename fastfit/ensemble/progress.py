"""What a verbose forest tells of its work: scikit-learn's lines and joblib's, by joblib itself.

scikit-learn hands each tree to joblib, which tells now and then how many are done. fastfit's trees are grown, and
predict, in threads of its own; so a joblib of the same settings is given tasks that wait for these trees.
"""

import sys
import threading

from joblib import Parallel, delayed, effective_n_jobs


class Progress:
    """Reports on work that takes as many steps as there are trees, in a ``with`` statement around the work.

    Parameters
    ----------
    estimator : object
        With ``verbose`` and ``n_jobs``.
    n_trees : int
    are_built : bool, default=False
        Whether to say when each of the trees is begun, from ``verbose=2`` on.
    least_jobs : bool, default=False
        Whether there are at most as many jobs as trees, as where scikit-learn predicts.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastfit.ensemble.progress import Progress
    >>> with Progress(SimpleNamespace(verbose=2, n_jobs=None), 2, are_built=True) as progress:
    ...     progress.done(0)
    ...     progress.done(1)
    building tree 1 of 2
    building tree 2 of 2
    """

    def __init__(self, estimator, n_trees, *, are_built=False, least_jobs=False):
        self.verbose = estimator.verbose
        self.n_trees = n_trees
        self.are_built = are_built
        self.teller = self.error = None
        self.is_given_up = False
        if not self.verbose or n_trees == 0:
            return
        self.are_done = [threading.Event() for _ in range(n_trees)]
        # Made here: what joblib is to use by default is known to this thread only.
        n_jobs = min(effective_n_jobs(estimator.n_jobs), n_trees) if least_jobs else estimator.n_jobs
        self.parallel = Parallel(n_jobs=n_jobs, verbose=self.verbose, prefer="threads")
        self.teller = threading.Thread(target=self._tell, name="fastfit-progress", daemon=True)

    def __enter__(self):
        if self.teller is not None:
            self.teller.start()
        return self

    def __exit__(self, error_type, error, traceback):
        if self.teller is None:
            return
        self.is_given_up |= error is not None
        for event in self.are_done:
            event.set()
        self.teller.join()
        if self.error is not None and error is None:
            raise self.error

    def done(self, position):
        """Note that a tree is finished."""
        if self.teller is not None:
            self.are_done[position].set()

    def stop(self):
        """Note that there are no further trees: nothing more is told."""
        self.is_given_up = True

    def _tell(self):
        try:
            self.parallel(delayed(self._wait_for)(position) for position in range(self.n_trees))
        except _GivenUp:
            pass
        except (
            Exception
        ) as error:  # the output is closed, say: as if it had been written from the thread that fits
            self.error = error

    def _wait_for(self, position):
        if self.are_built and self.verbose > 1:
            # In one piece, since threads write in turn.
            sys.stdout.write(f"building tree {position + 1} of {self.n_trees}\n")
        self.are_done[position].wait()
        if self.is_given_up:
            raise _GivenUp


class _GivenUp(Exception):
    """Ends joblib's tasks, and with them what it tells."""
