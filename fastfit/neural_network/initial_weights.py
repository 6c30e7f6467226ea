"""The weights that training starts from: scikit-learn's draws, in its order."""

from itertools import pairwise

import numpy as np


def draw_initial_weights(random_state, layer_units, activation, dtype):
    """Draw coefficients and intercepts uniformly within the bounds of Glorot and Bengio (2010).

    Parameters
    ----------
    random_state : RandomState
        Layer by layer, it gives the coefficients and then the intercepts.
    layer_units : sequence of int
        ``(n_features, *hidden_layer_sizes, n_outputs)``.
    activation : str
        Of the hidden layers; 'logistic' starts within narrower bounds.
    dtype : dtype
        The draws are float64, and are rounded to this.

    Returns
    -------
    coefs : list of ndarray of shape (layer_units[i], layer_units[i + 1])
    intercepts : list of ndarray of shape (layer_units[i + 1],)

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.neural_network.initial_weights import draw_initial_weights
    >>> coefs, intercepts = draw_initial_weights(np.random.RandomState(0), (4, 3, 1), "relu", np.float32)
    >>> [coef.shape for coef in coefs], [intercept.shape for intercept in intercepts]
    ([(4, 3), (3, 1)], [(3,), (1,)])
    """
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(layer_units):
        bound = np.sqrt(factor / (fan_in + fan_out))
        coefs.append(random_state.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype, copy=False))
        intercepts.append(random_state.uniform(-bound, bound, fan_out).astype(dtype, copy=False))
    return coefs, intercepts
