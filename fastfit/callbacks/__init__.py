"""Callbacks of scikit-learn's protocol, for every estimator that trains in epochs, rounds or trees.

``estimator.set_callbacks(EarlyStopping(X_val, y_val), TimeBudget(60))`` sets them. scikit-learn's own, ``ProgressBar``
and ``ScoringMonitor``, work on fastfit's estimators just so.
"""

from fastfit.callbacks.early_stopping import EarlyStopping
from fastfit.callbacks.learning_rate_schedule import LearningRateSchedule
from fastfit.callbacks.model_checkpoint import ModelCheckpoint
from fastfit.callbacks.time_budget import TimeBudget

__all__ = ["EarlyStopping", "LearningRateSchedule", "ModelCheckpoint", "TimeBudget"]
