"""Plain, slow references: the mathematics written out in NumPy, to compare the kernels with.

Nothing here is shared with the library, and nothing is done for speed.
"""

from typing import NamedTuple

import numpy as np


def hinge_like(threshold, power):
    """Return max(0, threshold - y p) ** power and its derivative in p, for y in {-1, 1}."""

    def loss(y, p):
        return np.maximum(0.0, threshold - y * p) ** power

    def gradient(y, p):
        # At the kink of the hinge, scikit-learn takes the slope of the side that is not flat.
        short = threshold - y * p
        return np.where(short >= 0, -y * (1.0 if power == 1 else 2.0 * short), 0.0)

    return loss, gradient


def log_loss():
    """Return log(1 + exp(-y p)) and its derivative in p, for y in {-1, 1}."""
    return (
        lambda y, p: np.logaddexp(0.0, -y * p),
        lambda y, p: -y * np.exp(-np.logaddexp(0.0, y * p)),
    )


def modified_huber():
    """Return the squared hinge, linear below a margin of -1, and its derivative in p, for y in {-1, 1}."""
    return (
        lambda y, p: np.where(y * p >= -1, np.maximum(0.0, 1 - y * p) ** 2, -4 * y * p),
        lambda y, p: np.where(y * p >= 1, 0.0, np.where(y * p >= -1, -2 * (1 - y * p) * y, -4 * y)),
    )


def squared_error():
    """Return (p - y) ** 2 / 2 and its derivative in p."""
    return lambda y, p: 0.5 * (p - y) ** 2, lambda y, p: p - y


def huber(epsilon):
    """Return the squared error with linear tails beyond epsilon, and its derivative in p."""
    return (
        lambda y, p: np.where(
            np.abs(p - y) <= epsilon, 0.5 * (p - y) ** 2, epsilon * (np.abs(p - y) - 0.5 * epsilon)
        ),
        lambda y, p: np.clip(p - y, -epsilon, epsilon),
    )


def epsilon_insensitive(epsilon, power):
    """Return max(0, |p - y| - epsilon) ** power and its derivative in p."""

    def loss(y, p):
        return np.maximum(0.0, np.abs(p - y) - epsilon) ** power

    def gradient(y, p):
        excess = np.abs(p - y) - epsilon
        return np.where(excess > 0, np.sign(p - y) * (1.0 if power == 1 else 2.0 * excess), 0.0)

    return loss, gradient


def linear_loss(name, epsilon=0.1):
    """Return a loss of scikit-learn's SGD and its derivative, both functions of (y, prediction)."""
    makers = {
        "hinge": lambda: hinge_like(1.0, 1),
        "squared_hinge": lambda: hinge_like(1.0, 2),
        "perceptron": lambda: hinge_like(0.0, 1),
        "log_loss": log_loss,
        "modified_huber": modified_huber,
        "squared_error": squared_error,
        "huber": lambda: huber(epsilon),
        "epsilon_insensitive": lambda: epsilon_insensitive(epsilon, 1),
        "squared_epsilon_insensitive": lambda: epsilon_insensitive(epsilon, 2),
    }
    return makers[name]()


def step_sizes(learning_rate, eta0, power_t, alpha, gradient):
    """Return the step of the t-th update, t = 1, 2, ..., as a function of t."""
    if learning_rate == "optimal":
        # Bottou's heuristic: weights of a typical size must be reachable by the first steps.
        typical_weight = np.sqrt(1.0 / np.sqrt(alpha))
        first_step = typical_weight / max(1.0, float(gradient(1.0, -typical_weight)))
        return lambda t: 1.0 / (alpha * (1.0 / (first_step * alpha) + t - 1))
    if learning_rate == "invscaling":
        return lambda t: eta0 / t**power_t
    return lambda t: eta0


class CumulativeL1:
    """Truncation by the cumulative L1 penalty.

    Every weight may be pulled towards zero by all that was due so far less what it has paid, and stops at
    zero (Y. Tsuruoka, J. Tsujii and S. Ananiadou, "Stochastic gradient descent training for L1-regularized
    log-linear models with cumulative penalty", ACL 2009).
    """

    def __init__(self, n_features):
        self.due = 0.0
        self.paid = np.zeros(n_features)

    def apply(self, coef, amount):
        self.due += amount
        shrunk = np.where(
            coef > 0,
            np.maximum(0.0, coef - (self.due + self.paid)),
            np.where(coef < 0, np.minimum(0.0, coef + (self.due - self.paid)), coef),
        )
        self.paid += shrunk - coef
        return shrunk


class SGDState:
    """Descent by the gradient alone or with momentum: v <- momentum v - eta g, w <- w + v.

    With Nesterov's momentum w <- w + momentum v - eta g, where v is the new one.
    """

    def __init__(self, size, momentum, nesterov):
        self.velocity = np.zeros(size)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, gradient, eta):
        self.velocity = self.momentum * self.velocity - eta * gradient
        return self.momentum * self.velocity - eta * gradient if self.nesterov else self.velocity


class AdamState:
    """Adam (D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015).

    The corrections for moments that start at zero are folded into the step, as the end of the paper's section 2
    proposes and as scikit-learn's multi-layer perceptron does, so epsilon stands beside the uncorrected moment.
    """

    def __init__(self, size, beta_1, beta_2, epsilon):
        self.first_moment, self.second_moment = np.zeros(size), np.zeros(size)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.t = 0

    def update(self, gradient, eta):
        self.t += 1
        self.first_moment = self.beta_1 * self.first_moment + (1 - self.beta_1) * gradient
        self.second_moment = self.beta_2 * self.second_moment + (1 - self.beta_2) * gradient**2
        corrected_eta = eta * np.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)
        return -corrected_eta * self.first_moment / (np.sqrt(self.second_moment) + self.epsilon)


class SGDResult(NamedTuple):
    """What a run of `sgd_reference` ends with; the averages are over the updates from the `average`-th on."""

    coef: np.ndarray
    intercept: float
    average_coef: np.ndarray
    average_intercept: float
    objectives: list


def sgd_reference(
    X,
    y,
    *,
    loss="squared_error",
    penalty="l2",
    alpha=1e-4,
    l1_ratio=0.15,
    learning_rate="invscaling",
    eta0=0.01,
    power_t=0.25,
    epsilon=0.1,
    fit_intercept=True,
    sample_weight=None,
    n_epochs=5,
    batch_size=1,
    order=None,
    average=0,
    optimizer="sgd",
    momentum=0.0,
    nesterov=False,
    beta_1=0.9,
    beta_2=0.999,
    adam_epsilon=1e-8,
):
    """Mini-batch stochastic gradient descent on scikit-learn's regularised objective,

        mean_i s_i L(y_i, x_i'w + b) + alpha ((1 - rho) |w|^2 / 2 + rho |w|_1),

    with rho = l1_ratio (0 for "l2", 1 for "l1"). A batch B makes one update by g = sum_B s_i L' x_i / |B|:

        w <- max(0, 1 - eta alpha (1 - rho)) w - eta g,

    and then the cumulative L1 penalty grows by eta alpha rho. With momentum or Adam the L2 term belongs to
    the gradient instead. The averages are of w and b as an update leaves them. ``batch_size=1`` is
    scikit-learn's SGD, but for its averages under an L1 penalty, which miss the truncation of their time.

    Classes are y in {-1, 1}; ``order`` holds the samples' order for each epoch (None: as they come). The
    objectives are the means over an epoch's samples of the loss, unweighted, and the penalty, both as they
    are just before the sample's update.
    """
    n_samples, n_features = X.shape
    s = np.ones(n_samples) if sample_weight is None else sample_weight
    rho = {"l2": 0.0, "l1": 1.0, "elasticnet": l1_ratio, None: 0.0}[penalty]
    value, slope = linear_loss(loss, epsilon)
    step_size = step_sizes(learning_rate, eta0, power_t, alpha, slope)
    plain = optimizer == "sgd" and momentum == 0
    if optimizer == "sgd":
        state = SGDState(n_features + 1, momentum, nesterov)
    else:
        state = AdamState(n_features + 1, beta_1, beta_2, adam_epsilon)
    if penalty is None:
        alpha = 0.0
    l1 = CumulativeL1(n_features)
    w, b = np.zeros(n_features), 0.0
    mean_w, mean_b = np.zeros(n_features), 0.0
    objectives = []
    t = 1
    for epoch in range(n_epochs):
        objective = 0.0
        rows = np.arange(n_samples) if order is None else order[epoch]
        for start in range(0, n_samples, batch_size):
            batch = rows[start : start + batch_size]
            eta = step_size(t)
            p = X[batch] @ w + b
            penalty_value = alpha * ((1 - rho) * 0.5 * (w @ w) + rho * np.abs(w).sum())
            objective += value(y[batch], p).sum() + len(batch) * penalty_value
            slopes = s[batch] * np.clip(slope(y[batch], p), -1e12, 1e12)
            gradient = np.append(X[batch].T @ slopes, slopes.sum()) / len(batch)
            if plain:
                w = max(0.0, 1 - eta * alpha * (1 - rho)) * w
            else:
                gradient[:-1] += alpha * (1 - rho) * w
            change = state.update(gradient, eta)
            w = w + change[:-1]
            b = b + change[-1] if fit_intercept else b
            if penalty in ("l1", "elasticnet"):
                w = l1.apply(w, eta * alpha * rho)
            if 0 < average <= t:
                share = 1.0 / (t - average + 1)
                mean_w = mean_w + share * (w - mean_w)
                mean_b = mean_b + share * (b - mean_b)
            t += 1
        objectives.append(objective / n_samples)
    return SGDResult(w, b, mean_w, mean_b, objectives)


def gradient_descent_reference(
    X,
    y,
    *,
    learning_rate,
    n_iter,
    momentum=0.0,
    nesterov=False,
    fit_intercept=True,
    positive=False,
    sample_weight=None,
):
    """Full-batch gradient descent on sum_i s_i (x_i'w + b - y_i)^2 / (2 sum_i s_i), started at w = 0.

    With an intercept X and y are centred first, by their weighted means, and b follows from w. The heavy ball
    is v <- momentum v - rate grad(w), w <- w + v (Polyak, 1964); Nesterov's variant takes the gradient at
    w + momentum v (Sutskever et al., ICML 2013). ``positive`` projects each w on w >= 0.

    Returns the iterates of w, (n_iter, n_features) or (n_iter, n_targets, n_features), and the last b.
    """
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    x_mean = np.average(X, axis=0, weights=s) if fit_intercept else np.zeros(X.shape[1])
    y_mean = np.average(y, axis=0, weights=s) if fit_intercept else np.zeros(y.shape[1:])
    centred_X, centred_y = X - x_mean, y - y_mean
    w = np.zeros((X.shape[1], *y.shape[1:]))
    v = np.zeros_like(w)
    iterates = []
    for _ in range(n_iter):
        looked_at = w + momentum * v if nesterov else w
        gradient = centred_X.T @ ((centred_X @ looked_at - centred_y).T * s).T / s.sum()
        v = momentum * v - learning_rate * gradient
        w_next = np.maximum(0.0, w + v) if positive else w + v
        v, w = w_next - w, w_next
        iterates.append(w.T)
    return np.array(iterates), y_mean - x_mean @ w
