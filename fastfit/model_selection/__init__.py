"""Search over hyperparameters that never fits the same thing twice: scikit-learn's names and results."""

from fastfit.model_selection.curves import cross_validate_many, validation_curve
from fastfit.model_selection.fit_many import fit_many
from fastfit.model_selection.grid_search import GridSearchCV, RandomizedSearchCV
from fastfit.model_selection.halving import HalvingGridSearchCV, HalvingRandomSearchCV
from fastfit.model_selection.report import SharingReport

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
    "SharingReport",
    "cross_validate_many",
    "fit_many",
    "validation_curve",
]
