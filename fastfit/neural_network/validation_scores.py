"""The score on validation data after each epoch, at a fraction of the cost of scikit-learn's metrics.

`accuracy_score` and `r2_score` look at their arguments for 100 to 300 us, which is longer than an epoch of a small
network. The numbers here are theirs.
"""

import math

import numpy as np


class Accuracy:
    """Share of the samples whose labels are all predicted.

    Parameters
    ----------
    target : ndarray of shape (n_samples,) of int, or (n_samples, n_outputs) of bool
        Indices of classes (below zero: a label that is not among the classes, and is never predicted), or the labels of
        a multilabel problem.
    sample_weight : ndarray of shape (n_samples,) or None
    """

    def __init__(self, target, sample_weight):
        self.target = target
        self.sample_weight = sample_weight

    def __call__(self, outputs):
        """Score the network's outputs, of shape (n_samples, n_outputs)."""
        if self.target.ndim == 2:
            hits = ((outputs > 0.5) == self.target).all(axis=1)
        elif outputs.shape[1] == 1:
            hits = (outputs[:, 0] > 0.5) == self.target
        else:
            hits = outputs.argmax(axis=1) == self.target
        return float(np.average(hits, weights=self.sample_weight))


class R2:
    """The coefficient of determination, averaged over the outputs; NaN where an output is not finite.

    Parameters
    ----------
    target : ndarray of shape (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
    """

    def __init__(self, target, sample_weight):
        self.target = target
        self.weight = None if sample_weight is None else sample_weight[:, np.newaxis]
        mean = np.average(target, axis=0, weights=sample_weight)
        self.total = self._squares(target - mean)

    def __call__(self, outputs):
        """Score the network's outputs, of shape (n_samples, n_outputs)."""
        if not math.isfinite(outputs.sum()) and not np.isfinite(outputs).all():
            return math.nan
        if len(self.target) < 2:
            return math.nan
        with np.errstate(all="ignore"):
            rest = self._squares(self.target - outputs)
            # A constant target is either predicted exactly, or not at all.
            scores = np.where(self.total != 0.0, 1.0 - rest / self.total, np.where(rest == 0.0, 1.0, 0.0))
        return float(np.mean(scores))

    def _squares(self, residuals):
        squares = residuals * residuals
        if self.weight is not None:
            squares = squares * self.weight
        return squares.sum(axis=0, dtype=np.float64)
