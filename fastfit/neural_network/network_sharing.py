"""What settings of a network share: the first epochs of a long training are those of a shorter one."""

import warnings

from sklearn.exceptions import ConvergenceWarning

from fastfit.neural_network.mlp_fitting import STOCHASTIC_SOLVERS
from fastfit.sharing import PrefixRun, PrefixSharing, is_repeatable, is_valid


class NetworkSharing(PrefixSharing):
    """The epochs of one training for all ``max_iter``."""

    varied = ("max_iter",)
    unit = "epochs"

    def covers(self, estimator):
        """Return whether training goes by epochs that do not depend on how many there are to be."""
        return (
            is_valid(estimator)
            and estimator.solver in STOCHASTIC_SOLVERS
            and estimator.learning_rate != "cosine"
            and not estimator.warm_start
            and not estimator.verbose
        )

    def fit(self, estimators, X, y, fit_params):
        """Train for the most epochs, and keep what there was after each of the other numbers."""
        return self._train(estimators, X, y, fit_params)

    def _train(self, estimators, X, y, fit_params, loops=None):
        from sklearn.base import clone

        longest = clone(max(estimators, key=self.count))
        longest._epochs_to_keep = {self.count(estimator): None for estimator in estimators}
        if loops is not None:
            longest._loops = loops
        longest.fit(X, y, **fit_params)
        longest.__dict__.pop("_loops", None)
        run = PrefixRun(self, estimators, longest)
        run.loops = loops
        return run

    def goes_on(self, estimator, name):
        """Return whether epochs can be added; early stopping has put the best weights in place of the last."""
        return name in self.varied and is_repeatable(estimator) and not estimator.early_stopping

    def begin(self, estimators, X, y, fit_params):
        """Train as `fit` does, and keep the training."""
        return self._train(estimators, X, y, fit_params, loops=[])

    def go_on(self, run, estimators, X, y, fit_params):
        """Train for more epochs, from where ``run`` ended."""
        longest, loops = run.longest, run.loops
        before = longest.n_iter_
        if len(loops) != 1 or (min(map(self.count, estimators)) <= before and not loops[0].has_ended):
            return self.begin(estimators, X, y, fit_params)
        longest.max_iter = max(map(self.count, estimators))
        longest._epochs_to_keep = {self.count(estimator): None for estimator in estimators}
        longest.loss_curve_ = longest.loss_curve_.copy()
        if not loops[0].has_ended:
            loops[0].go_on()
        further = PrefixRun(self, estimators, longest)
        further.loops = loops
        further.work -= before
        return further

    def cut(self, longest, count):
        """Return what was learned in so many epochs; ``tol`` may have ended the training before."""
        kept = longest._epochs_to_keep.get(count)
        learned = {} if kept is None else dict(kept)
        if kept is not None and count < self.count(longest):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({count}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return learned

    def work_done(self, longest):
        """Return the number of epochs."""
        return longest.n_iter_
