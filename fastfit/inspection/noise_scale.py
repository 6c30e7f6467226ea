"""The gradient noise scale: how large a batch is worth having.

McCandlish et al., "An empirical model of large-batch training", 2018: with the gradient G of the whole population and
the covariance S of the gradients of single samples, a batch of B samples estimates G with a squared error of tr(S) / B.
Once B is well above ``tr(S) / |G|^2`` the batch's gradient is nearly G itself, and more samples buy no better step;
well below it, an update with twice the batch makes almost twice the progress.
"""

from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state, compute_sample_weight

from fastfit.inspection.batched_estimators import NETWORKS, check_has_batches
from fastfit.inspection.losses import output_slopes
from fastfit.linear_model import LinearRegression

__all__ = ["NoiseScale", "gradient_noise_scale"]

MAX_ROWS = 65_536
MAX_BATCHES = 1024
# For the standard error, by the jackknife.
N_GROUPS = 16


class NoiseScale(NamedTuple):
    """The noise scale at one point of the training.

    Attributes
    ----------
    noise_scale : float
        tr(S) / |G|^2 in samples: the critical batch size. Infinite where the gradient cannot be told from zero.
    standard_error : float
        Of `noise_scale`, by the jackknife; NaN where it is infinite.
    trace : float
        Estimate of tr(S).
    gradient_square : float
        Estimate of |G|^2, which is unbiased and so may be negative where G is nearly zero.
    small_batch, large_batch : int
        The two batch sizes that the estimates come from.
    """

    noise_scale: float
    standard_error: float
    trace: float
    gradient_square: float
    small_batch: int
    large_batch: int


def gradient_noise_scale(estimator, X, y, *, batch_size=None, random_state=None):
    """Estimate the gradient noise scale of a fitted estimator, at its present parameters.

    The data are cut into batches of one size at random. From the mean squared length of their gradients and the
    squared length of the mean of these, which is the gradient of one large batch, the unbiased estimates of
    appendix A.1 of [1]_ follow. Gradients are of the loss on the data, without penalty and dropout.

    Parameters
    ----------
    estimator : SGDRegressor, SGDClassifier, LinearRegression, MLPRegressor or MLPClassifier
        Fitted. It is not changed.
    X : array-like of shape (n_samples, n_features)
        Of more than 65,536 samples so many are drawn.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    batch_size : int, default=None
        Samples in a small batch. None: as few as make at most 1024 batches.
    random_state : int, RandomState instance or None, default=None
        Determines the batches.

    Returns
    -------
    noise : NoiseScale

    Raises
    ------
    ValueError
        If the estimator has no batches, or there are fewer than two batches.

    References
    ----------
    .. [1] S. McCandlish, J. Kaplan, D. Amodei et al., "An empirical model of large-batch training", 2018,
           arXiv:1812.06162.

    Examples
    --------
    At zero weights, with d features of unit variance, noise of variance s^2 and true weights w, the noise scale is
    ``d + 1 + d s^2 / |w|^2``.

    >>> import numpy as np
    >>> from fastfit.inspection import gradient_noise_scale
    >>> from fastfit.linear_model import SGDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50_000, 4))
    >>> y = X @ [1.0, 0.0, 0.0, 0.0] + rng.normal(size=50_000)
    >>> start = SGDRegressor(fit_intercept=False).partial_fit(X[:1], y[:1])
    >>> start.coef_ = np.zeros(4)
    >>> noise = gradient_noise_scale(start, X, y, random_state=0)
    >>> 8 < noise.noise_scale < 10
    True
    """
    check_has_batches(estimator)
    X, y = np.asarray(X), np.asarray(y)
    order = check_random_state(random_state).permutation(len(X))[:MAX_ROWS]
    if batch_size is None:
        batch_size = -(-len(order) // MAX_BATCHES)
    n_batches = len(order) // batch_size
    if n_batches < 2:
        raise ValueError(
            f"the noise scale needs two batches at least, and {len(order)} samples make {n_batches} of {batch_size}."
        )
    make_gradient = _network_gradients if isinstance(estimator, NETWORKS) else _linear_gradients
    gradient_of = make_gradient(estimator, X, y)
    n_groups = min(N_GROUPS, n_batches)
    sums, squares, counts = None, np.zeros(n_groups), np.zeros(n_groups)
    for number in range(n_batches):
        gradient = gradient_of(order[number * batch_size : (number + 1) * batch_size])
        if sums is None:
            sums = np.zeros((n_groups, gradient.size))
        group = number % n_groups
        sums[group] += gradient
        squares[group] += gradient @ gradient
        counts[group] += 1
    return _estimate(sums, squares, counts, batch_size)


def _estimate(sums, squares, counts, batch_size):
    trace, square = _moments(sums.sum(axis=0), squares.sum(), counts.sum(), batch_size)
    scale = trace / square if square > 0.0 else np.inf
    total, total_squares, n_batches = sums.sum(axis=0), squares.sum(), counts.sum()
    left_out = []
    for group in range(len(counts)):
        rest = n_batches - counts[group]
        if rest < 2:
            continue
        t, s = _moments(total - sums[group], total_squares - squares[group], rest, batch_size)
        left_out.append(t / s if s > 0.0 else np.inf)
    left_out = np.array(left_out)
    error = np.nan
    if np.isfinite(scale) and len(left_out) > 1 and np.isfinite(left_out).all():
        error = float(np.sqrt((len(left_out) - 1) * np.var(left_out)))
    return NoiseScale(
        float(scale), error, float(trace), float(square), int(batch_size), int(batch_size * n_batches)
    )


def _moments(total, total_squares, n_batches, batch_size):
    """Return the unbiased tr(S) and |G|^2 from batches of one size and the large batch that they make together."""
    small, large = batch_size, batch_size * n_batches
    of_small, of_large = total_squares / n_batches, (total @ total) / n_batches**2
    square = (large * of_large - small * of_small) / (large - small)
    trace = (of_small - of_large) / (1.0 / small - 1.0 / large)
    return trace, square


def _class_weights(estimator, y):
    weight = getattr(estimator, "class_weight", None)
    return None if weight is None else compute_sample_weight(weight, y)


def _linear_gradients(estimator, X, y):
    slopes = output_slopes(estimator, X, y)
    weight = _class_weights(estimator, y)
    if weight is not None:
        slopes = slopes * weight[:, None]
    # LinearRegression descends on centred data, and its intercept follows from the means.
    mean = X.mean(axis=0) if isinstance(estimator, LinearRegression) and estimator.fit_intercept else 0.0
    has_intercept = estimator.fit_intercept and not isinstance(estimator, LinearRegression)

    def gradient_of(rows):
        of_weights = (slopes[rows].T @ (X[rows] - mean)) / len(rows)
        if not has_intercept:
            return of_weights.ravel()
        return np.concatenate([of_weights.ravel(), slopes[rows].mean(axis=0)])

    return gradient_of


def _network_gradients(estimator, X, y):
    from fastfit.training.network import Network, NetworkSpec, make_training_data

    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    spec = NetworkSpec(
        (coefs[0].shape[0], *(coef.shape[1] for coef in coefs)),
        coefs[0].dtype,
        estimator.activation,
        estimator.out_activation_,
        estimator.loss,
    )
    network = Network(spec, coefs, intercepts, n_jobs=1)
    packed = np.concatenate([array.ravel() for array in (*coefs, *intercepts)])
    weight = _class_weights(estimator, y)
    if hasattr(estimator, "classes_") and y.ndim == 1:
        y = np.searchsorted(estimator.classes_, y)
    X = np.ascontiguousarray(X, dtype=coefs[0].dtype)

    def gradient_of(rows):
        data = make_training_data(spec, X[rows], y[rows], None if weight is None else weight[rows])
        return network.loss_and_gradient(packed, data, 0.0)[1]

    return gradient_of
