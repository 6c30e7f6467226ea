"""Errors for bad input that only shows in the training: NaN, infinity, and weights that sum to zero.

To look for these in advance would be another pass over X. They cannot hide, since every row takes part in a gradient,
and a product with NaN or infinity is not finite or, with infinity times zero, not a number.
"""

import numpy as np
from sklearn.utils.validation import assert_all_finite

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)


def raise_for_input(estimator, X, sample_weight, order=None, batch_size=None):
    """Raise scikit-learn's error if the training data explain a result that is not finite; return if they do not.

    Parameters
    ----------
    estimator : estimator
        Named in the message.
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None
    order : ndarray of shape (n_training_samples,) of integers, or None
        The rows of the batches, in their order.
    batch_size : int or None
        None for a full batch.

    Raises
    ------
    ValueError
        If X holds NaN or infinity.
    ZeroDivisionError
        If the weights of a batch sum to zero.
    """
    assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
    if sample_weight is None:
        return
    weight = sample_weight if order is None else sample_weight[order]
    starts = np.arange(0, len(weight), batch_size or len(weight))
    if not np.add.reduceat(weight, starts).all():
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
