"""What settings of linear models share: the steps of a long descent are, at first, those of a shorter one.

The Gram matrix, which all learning rates and numbers of steps need, is shared where it is made.
"""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastfit.sharing import PrefixRun, PrefixSharing, fit_clone, is_valid, like


class LeastSquaresSharing(PrefixSharing):
    """The steps of gradient descent for all ``max_iter``."""

    varied = ("max_iter",)
    unit = "steps"

    def covers(self, estimator):
        """Return whether the fit takes steps of a given length on the Gram matrix."""
        return (
            is_valid(estimator)
            and estimator.solver != "lstsq"
            and estimator.learning_rate != "auto"
            and estimator.batch_size is None
            and estimator.max_iter is not None
            and not estimator.warm_start
        )

    def fit(self, estimators, X, y, fit_params):
        """Take the most steps, and keep the coefficients after the other numbers of them."""
        longest = clone(max(estimators, key=self.count))
        longest._steps_to_keep = {self.count(estimator): None for estimator in estimators}
        longest.fit(X, y, **fit_params)
        return _StepsRun(self, estimators, longest, X, y, fit_params)

    def work(self, estimator):
        """Return the number of steps."""
        return 1 if estimator.max_iter is None else int(estimator.max_iter)

    def cut(self, longest, count):
        """Return what was learned in so many steps."""
        fit = longest._steps_to_keep[count]
        shape, dtype = longest.coef_.shape, longest.coef_.dtype
        learned = {
            "coef_": fit.coef.reshape(shape).astype(dtype, copy=False),
            "n_iter_": len(fit.losses),
            "loss_curve_": np.array(fit.losses),
        }
        if longest.fit_intercept:
            intercept = (fit.y_mean - fit.coef @ fit.x_mean).astype(dtype, copy=False)
            learned["intercept_"] = intercept[0] if len(shape) == 1 else intercept
        return learned

    def work_done(self, longest):
        """Return the number of steps."""
        return longest.n_iter_


class StochasticSharing(PrefixSharing):
    """One descent for all ``max_iter`` that it does not reach."""

    varied = ("max_iter",)
    unit = "epochs"

    def covers(self, estimator):
        """Return whether the fit may end before ``max_iter``."""
        return is_valid(estimator) and estimator.tol is not None and not estimator.warm_start

    def fit(self, estimators, X, y, fit_params):
        """Descend for the most epochs, and anew for numbers that are too few to converge."""
        longest = fit_clone(max(estimators, key=self.count), X, y, fit_params)
        return _StepsRun(self, estimators, longest, X, y, fit_params)

    def cut(self, longest, count):
        """Return nothing: the descent is the same."""
        return {}

    def work_done(self, longest):
        """Return the number of epochs."""
        return longest.n_iter_


class _StepsRun(PrefixRun):
    """A descent that serves those settings that it has something for; the others are fitted by themselves."""

    def __init__(self, sharing, estimators, longest, X, y, fit_params):
        super().__init__(sharing, estimators, longest)
        self.given = X, y, fit_params
        most = self.counts[-1]
        kept = longest.__dict__.pop("_steps_to_keep", {})
        self.kept = {count: fit for count, fit in kept.items() if fit is not None}
        n_steps = longest.n_iter_
        self.is_alone = [
            count not in self.kept and not (count == most or count > n_steps) for count in self.counts
        ]
        self.n_fits = 1 + sum(self.is_alone)
        self.work += sum(
            count for count, is_alone in zip(self.counts, self.is_alone, strict=True) if is_alone
        )

    def models(self):
        """Yield (position, fitted estimator), the fewest steps first."""
        for position, count, is_alone in zip(self.order, self.counts, self.is_alone, strict=True):
            estimator = self.estimators[position]
            if is_alone:
                yield position, fit_clone(estimator, *self.given)
                continue
            learned = {}
            if count in self.kept:
                self.longest._steps_to_keep = self.kept
                learned = self.sharing.cut(self.longest, count)
                del self.longest._steps_to_keep
                warnings.warn(
                    "Maximum number of iteration reached before convergence. Consider increasing max_iter to "
                    "improve the fit.",
                    ConvergenceWarning,
                    stacklevel=3,
                )
            yield position, like(self.longest, estimator, self.sharing.varied, learned)
