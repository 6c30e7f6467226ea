"""What ``_optimizer`` is: scikit-learn's optimizer objects, with the kernels' packed state in place of their lists.

They keep scikit-learn's rules for the learning rate after an epoch and for the end of training. The arithmetic is done
by kernels, on `OptimizerState`; where scikit-learn has to go on with a training run (sparse X in ``partial_fit``), or
has begun it, the lists of moments are unpacked and packed.
"""

import copy

from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, BaseOptimizer, SGDOptimizer

from fastfit.training.network import Network, NetworkSpec, OptimizerSettings

# The lists of scikit-learn's optimizers that the fields of OptimizerState stand for.
_MOMENTS = {"velocities": "first", "ms": "first", "vs": "second"}


class PackedSGD(SGDOptimizer):
    """Descent with momentum.

    Attributes
    ----------
    state : fastfit.training.network.OptimizerState or None
        None before the first epoch.
    """

    def __init__(self, estimator):
        super().__init__(
            [],
            estimator.learning_rate_init,
            estimator.learning_rate,
            estimator.momentum,
            estimator.nesterovs_momentum,
            estimator.power_t,
        )
        self.state = None


class PackedAdam(AdamOptimizer):
    """Adam, with the penalty in the gradient or, as AdamW, decoupled from it.

    Attributes
    ----------
    state : fastfit.training.network.OptimizerState or None
    """

    def __init__(self, estimator):
        super().__init__(
            [], estimator.learning_rate_init, estimator.beta_1, estimator.beta_2, estimator.epsilon
        )
        self.state = None


class PackedRMSProp(BaseOptimizer):
    """RMSprop: steps divided by the root of a running mean of squared gradients.

    Attributes
    ----------
    state : fastfit.training.network.OptimizerState or None
    """

    def __init__(self, estimator):
        super().__init__(estimator.learning_rate_init)
        self.rho = estimator.rho
        self.epsilon = estimator.epsilon
        self.state = None


_PACKED_CLASSES = {"sgd": PackedSGD, "adam": PackedAdam, "adamw": PackedAdam, "rmsprop": PackedRMSProp}
_SAME_KIND = {
    "sgd": SGDOptimizer,
    "adam": AdamOptimizer,
    "adamw": AdamOptimizer,
    "rmsprop": PackedRMSProp,
}


def next_optimizer(former, estimator):
    """Return an optimizer for a run of the estimator: a new one, or one that goes on where ``former`` is.

    Parameters
    ----------
    former : object or None
        None for a new optimizer. One of another kind than the estimator's solver gives a new one as well.
    estimator : MLPClassifier or MLPRegressor

    Returns
    -------
    optimizer : PackedSGD, PackedAdam or PackedRMSProp
        Shares no array with ``former``, which stays as it is. As in scikit-learn, an optimizer that goes on keeps
        the hyperparameters that it began with.
    """
    packed_class = _PACKED_CLASSES[estimator.solver]
    if not isinstance(former, _SAME_KIND[estimator.solver]):
        return packed_class(estimator)
    optimizer = packed_class.__new__(packed_class)
    optimizer.__dict__.update({"state": None}, **former.__dict__)
    if optimizer.state is not None:
        optimizer.state = copy.deepcopy(optimizer.state)
    return optimizer


def optimizer_settings(optimizer, estimator, dropout_seed=0):
    """Return the hyperparameters of an optimizer as the kernels take them.

    Returns
    -------
    settings : fastfit.training.network.OptimizerSettings
    """
    solver, alpha = estimator.solver, float(estimator.alpha)
    common = {
        "solver": solver,
        "alpha": 0.0 if solver == "adamw" else alpha,
        "weight_decay": alpha if solver == "adamw" else 0.0,
        "clip_norm": 0.0 if estimator.max_grad_norm is None else float(estimator.max_grad_norm),
        "dropout": float(estimator.dropout),
        "dropout_seed": dropout_seed,
    }
    if solver == "sgd":
        own = {"momentum": float(optimizer.momentum), "nesterov": bool(optimizer.nesterov)}
    elif solver == "rmsprop":
        own = {"beta_2": float(optimizer.rho), "epsilon": float(optimizer.epsilon)}
    else:
        own = {
            "beta_1": float(optimizer.beta_1),
            "beta_2": float(optimizer.beta_2),
            "epsilon": float(optimizer.epsilon),
        }
    return OptimizerSettings(**common, **own)


def prepare_state(optimizer, network, spec, settings):
    """Give the optimizer a state, unless it has one: zeros, or the moments that scikit-learn's own has come to."""
    if optimizer.state is not None:
        return
    optimizer.state = network.new_optimizer_state(settings)
    optimizer.state.n_updates[0] = getattr(optimizer, "t", 0)
    for name, field in _MOMENTS.items():
        moments = optimizer.__dict__.get(name)
        if moments:
            getattr(optimizer.state, field)[:] = _packed(spec, moments)
            optimizer.__dict__[name] = []


def unpacked_optimizer(optimizer, coefs, intercepts):
    """Return scikit-learn's own optimizer, to go on where a `PackedSGD` or `PackedAdam` of these weights is."""
    own_class = type(optimizer).__mro__[1]
    unpacked = own_class.__new__(own_class)
    attributes = optimizer.__dict__.copy()
    state = attributes.pop("state")
    layer_units = (coefs[0].shape[0], *(coef.shape[1] for coef in coefs))
    network = Network(
        NetworkSpec(layer_units, coefs[0].dtype, "identity", "identity", "squared_error"), coefs, intercepts
    )
    for name in _MOMENTS.keys() & attributes.keys():
        network.restore(getattr(state, _MOMENTS[name]))
        moments = network.parameters()
        attributes[name] = [*moments[0], *moments[1]]
    unpacked.__dict__.update(attributes)
    return unpacked


def _packed(spec, arrays):
    """Pack one array for each of the network's parameters as the network packs these."""
    half = len(arrays) // 2
    return Network(spec, arrays[:half], arrays[half:]).snapshot()
