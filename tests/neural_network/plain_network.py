"""A plain reference: networks in a few lines of NumPy, for what scikit-learn's own do not have.

Written from the equations, one sample set at a time, without a thought for speed. What scikit-learn has as well is
tested against scikit-learn.
"""

import numpy as np
from scipy.special import expit, xlogy


def gelu(z):
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def gelu_slope(z):
    share = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    return 0.5 * (1 + share) + 0.5 * z * (1 - share**2) * inner


# value and derivative, both as functions of a unit's input
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "logistic": (expit, lambda z: expit(z) * (1 - expit(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z: np.where(z > 0, 1.0, np.exp(z))),
    "gelu": (gelu, gelu_slope),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * (1 - expit(z)))),
}


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


OUTPUTS = {"identity": lambda z: z, "exp": np.exp, "logistic": expit, "softmax": softmax}


class PlainNetwork:
    """Weights ``coefs`` and ``intercepts``, and what an optimizer remembers of their gradients."""

    def __init__(self, coefs, intercepts, activation, output, loss, alpha):
        self.coefs = [coef.astype(np.float64) for coef in coefs]
        self.intercepts = [intercept.astype(np.float64) for intercept in intercepts]
        self.activation, self.output, self.loss, self.alpha = activation, output, loss, alpha
        self.first = [np.zeros_like(array) for array in self.arrays]
        self.second = [np.zeros_like(array) for array in self.arrays]
        self.n_updates = 0

    @property
    def arrays(self):
        return [*self.coefs, *self.intercepts]

    def forward(self, X):
        """Inputs of every layer's units, and the outputs of the last."""
        value = ACTIVATIONS[self.activation][0]
        inputs, below = [], X
        for coef, intercept in zip(self.coefs, self.intercepts, strict=True):
            inputs.append(below @ coef + intercept)
            below = value(inputs[-1])
        return inputs, OUTPUTS[self.output](inputs[-1])

    def loss_and_gradients(self, X, Y, weight=None):
        """Loss with the penalty, and its gradients by all weights and then by all intercepts."""
        weight = np.ones(len(X)) if weight is None else weight
        inputs, outputs = self.forward(X)
        value, slope = ACTIVATIONS[self.activation]
        if self.loss == "squared_error":
            losses = 0.5 * np.mean((Y - outputs) ** 2, axis=1)
        elif self.loss == "poisson":
            losses = np.sum(xlogy(Y, Y / outputs) - Y + outputs, axis=1)
        elif self.output == "softmax":
            losses = -np.sum(xlogy(Y, outputs), axis=1)
        else:
            losses = -np.sum(xlogy(Y, outputs) + xlogy(1 - Y, 1 - outputs), axis=1)
        total = weight.sum()
        squares = sum(np.sum(coef**2) for coef in self.coefs)
        loss = (weight @ losses + 0.5 * self.alpha * squares) / total
        error = (outputs - Y) * weight[:, np.newaxis]
        of_coefs, of_intercepts = [], []
        for layer in reversed(range(len(self.coefs))):
            below = value(inputs[layer - 1]) if layer else X
            of_coefs.insert(0, (below.T @ error + self.alpha * self.coefs[layer]) / total)
            of_intercepts.insert(0, error.sum(axis=0) / total)
            if layer:
                error = (error @ self.coefs[layer].T) * slope(inputs[layer - 1])
        return loss, [*of_coefs, *of_intercepts]

    def update(self, gradients, solver, rate, *, decay=0.0, max_norm=None, rho=0.9, epsilon=1e-8):
        """One update; `decay` is AdamW's."""
        if max_norm is not None:
            norm_of_all = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
            gradients = [gradient * min(1.0, max_norm / norm_of_all) for gradient in gradients]
        self.n_updates += 1
        for k, (array, gradient) in enumerate(zip(self.arrays, gradients, strict=True)):
            if k < len(self.coefs):
                array *= 1.0 - rate * decay
            if solver == "sgd":
                array -= rate * gradient
            elif solver == "rmsprop":
                self.second[k] = rho * self.second[k] + (1 - rho) * gradient**2
                array -= rate * gradient / (np.sqrt(self.second[k]) + epsilon)
            else:
                self.first[k] = 0.9 * self.first[k] + 0.1 * gradient
                self.second[k] = 0.999 * self.second[k] + 0.001 * gradient**2
                scale = np.sqrt(1 - 0.999**self.n_updates) / (1 - 0.9**self.n_updates)
                array -= rate * scale * self.first[k] / (np.sqrt(self.second[k]) + epsilon)

    def train_epoch(self, X, Y, order, batch_size, solver, rates, **settings):
        """Update batch by batch; return the mean loss of a row."""
        total = 0.0
        for batch, start in enumerate(range(0, len(order), batch_size)):
            rows = order[start : start + batch_size]
            loss, gradients = self.loss_and_gradients(X[rows], Y[rows])
            self.update(gradients, solver, rates[batch], **settings)
            total += loss * len(rows)
        return total / len(order)
