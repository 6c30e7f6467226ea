"""How the learning rate moves from epoch to epoch, and within one: 'cosine', 'step' and a warm-up.

scikit-learn's own schedules, 'invscaling' and 'adaptive', live in its optimizer objects, which are used as they are.
"""

import math

import numpy as np


def scheduled_rate(estimator, base_rate, epoch, n_batches):
    """Return the learning rate of an epoch: a number, or one for each batch where it moves within the epoch.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Gives ``learning_rate``, ``max_iter``, ``step_epochs``, ``step_factor`` and ``warmup_epochs``.
    base_rate : float
        What the schedule scales.
    epoch : int
        Epochs done before this one.
    n_batches : int

    Returns
    -------
    rate : float, or ndarray of shape (n_batches,) of float64

    Notes
    -----
    With the progress ``p = epoch + batch / n_batches``: 'cosine' scales by ``(1 + cos(pi p / max_iter)) / 2``
    (Loshchilov and Hutter, 2017, without restarts), 'step' by ``step_factor ** (epoch // step_epochs)``, and the
    warm-up by ``min(1, (p + 1 / n_batches) / warmup_epochs)`` on top.

    Examples
    --------
    >>> from fastfit.neural_network import MLPRegressor
    >>> from fastfit.neural_network.learning_rates import scheduled_rate
    >>> model = MLPRegressor(learning_rate="step", step_epochs=2, step_factor=0.5)
    >>> [scheduled_rate(model, 1.0, epoch, n_batches=3) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> scheduled_rate(MLPRegressor(warmup_epochs=2), 1.0, 0, n_batches=4)
    array([0.125, 0.25 , 0.375, 0.5  ])
    """
    if estimator.learning_rate == "step":
        base_rate *= estimator.step_factor ** (epoch // estimator.step_epochs)
    is_cosine = estimator.learning_rate == "cosine"
    is_warming_up = epoch < estimator.warmup_epochs
    if not (is_cosine or is_warming_up):
        return base_rate
    progress = epoch + np.arange(n_batches) / n_batches
    rates = np.full(n_batches, float(base_rate))
    if is_cosine:
        rates *= 0.5 * (1.0 + np.cos(math.pi * np.minimum(progress / estimator.max_iter, 1.0)))
    if is_warming_up:
        rates *= np.minimum((progress + 1.0 / n_batches) / estimator.warmup_epochs, 1.0)
    return rates
