"""A multi-layer perceptron in plain NumPy, slow and short: what the kernels must agree with."""

import numpy as np


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def _gelu(z):
    return 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3)))


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0.0, z, 0.01 * z),
    "logistic": _sigmoid,
    "tanh": np.tanh,
    "elu": lambda z: np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
    "silu": lambda z: z * _sigmoid(z),
    "gelu": _gelu,
}
OUTPUTS = {"identity": lambda z: z, "exp": np.exp, "logistic": _sigmoid, "softmax": _softmax}


def slope(activation, z):
    """The derivative of an activation, by central differences: nothing to derive, nothing to mistake."""
    if activation in ("relu", "leaky_relu"):
        return np.where(z > 0.0, 1.0, 0.0 if activation == "relu" else 0.01)
    h = 1e-6
    f = ACTIVATIONS[activation]
    return (f(z + h) - f(z - h)) / (2.0 * h)


def forward(spec, coefs, intercepts, X):
    """Return what enters each layer, and the activations of all, the output last."""
    inputs, activations = [], [np.asarray(X, dtype=np.float64)]
    for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        inputs.append(activations[-1] @ W + b)
        is_last = i == len(coefs) - 1
        activations.append((OUTPUTS[spec.output] if is_last else ACTIVATIONS[spec.activation])(inputs[-1]))
    return inputs, activations


def losses(spec, y, p):
    """The loss of each row; y is (n, n_outputs)."""
    if spec.loss == "squared_error":
        return 0.5 * ((y - p) ** 2).mean(axis=1)
    if spec.loss == "poisson":
        return (np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / p), 0.0) - y + p).sum(axis=1)
    eps = np.finfo(spec.dtype).eps
    p = np.clip(p, eps, 1.0 - eps)
    if spec.output == "softmax":
        return -(y * np.log(p)).sum(axis=1)
    return -(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)).sum(axis=1)


def loss_and_gradients(spec, coefs, intercepts, X, y, weight, alpha):
    """Mean loss with its penalty, and its gradients, as scikit-learn counts them."""
    inputs, activations = forward(spec, coefs, intercepts, X)
    total = weight.sum()
    loss = (losses(spec, y, activations[-1]) * weight).sum() / total
    loss += 0.5 * alpha * sum((W**2).sum() for W in coefs) / total
    error = (activations[-1] - y) * weight[:, None]
    coef_gradients, intercept_gradients = [], []
    for i in range(len(coefs) - 1, -1, -1):
        coef_gradients.insert(0, (activations[i].T @ error + alpha * coefs[i]) / total)
        intercept_gradients.insert(0, error.sum(axis=0) / total)
        if i:
            error = (error @ coefs[i].T) * slope(spec.activation, inputs[i - 1])
    return loss, coef_gradients, intercept_gradients


class Optimizer:
    """The solvers, one parameter array at a time."""

    def __init__(self, settings, parameters):
        self.settings = settings
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]
        self.t = 0

    def step(self, parameters, gradients, rate, n_coefs):
        """Move the parameters, of which the first `n_coefs` arrays are weights."""
        s = self.settings
        self.t += 1
        if s.clip_norm > 0.0:
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1.0, s.clip_norm / norm) for g in gradients]
        for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            decay = rate * s.weight_decay * p if i < n_coefs else 0.0
            if s.solver == "sgd":
                self.first[i] = s.momentum * self.first[i] - rate * g
                move = s.momentum * self.first[i] - rate * g if s.nesterov else self.first[i]
            else:
                self.second[i] = s.beta_2 * self.second[i] + (1.0 - s.beta_2) * g**2
                root = np.sqrt(self.second[i]) + s.epsilon
                if s.solver == "rmsprop":
                    self.first[i] = s.momentum * self.first[i] + g / root
                    move = -rate * self.first[i]
                else:
                    self.first[i] = s.beta_1 * self.first[i] + (1.0 - s.beta_1) * g
                    size = rate * np.sqrt(1.0 - s.beta_2**self.t) / (1.0 - s.beta_1**self.t)
                    move = -size * self.first[i] / root
            p += move - decay


def train(spec, coefs, intercepts, X, y, weight, orders, batch_size, settings, rates):
    """Train over epochs; return the parameters and the sums of the batches' losses times their rows."""
    parameters = [np.array(p, dtype=np.float64) for p in [*coefs, *intercepts]]
    n, optimizer, curve = len(coefs), Optimizer(settings, parameters), []
    for order in orders:
        total = 0.0
        for number, first in enumerate(range(0, len(order), batch_size)):
            rows = order[first : first + batch_size]
            loss, *gradients = loss_and_gradients(
                spec, parameters[:n], parameters[n:], X[rows], y[rows], weight[rows], settings.alpha
            )
            total += loss * len(rows)
            rate = rates[number] if np.ndim(rates) else rates
            optimizer.step(parameters, gradients[0] + gradients[1], rate, n)
        curve.append(total)
    return parameters[:n], parameters[n:], curve
