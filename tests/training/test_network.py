"""Training and predictions of networks against a plain reference: solvers, activations, losses, odd sizes, threads."""

from itertools import pairwise

import numpy as np
import pytest

from fastfit.training import network as network_module
from fastfit.training.network import (
    Network,
    NetworkSpec,
    OptimizerSettings,
    adam_step_size,
    forward,
    make_training_data,
)
from tests.training import network_reference as reference

TOLERANCE = {"float64": 1e-7, "float32": 2e-3}
LOSS_OF = {"softmax": "log_loss", "logistic": "log_loss", "exp": "poisson", "identity": "squared_error"}
ALL_ACTIVATIONS = sorted(reference.ACTIVATIONS)


def make_problem(units, output="softmax", activation="tanh", dtype="float64", n=61, seed=0):
    """Return a spec, parameters, X and targets of shape (n, n_outputs)."""
    rng = np.random.default_rng(seed)
    spec = NetworkSpec(tuple(units), np.dtype(dtype), activation, output, LOSS_OF[output])
    coefs = [rng.normal(size=shape).astype(dtype) / np.sqrt(shape[0]) for shape in pairwise(units)]
    intercepts = [rng.normal(size=k).astype(dtype) * 0.3 for k in units[1:]]
    X = rng.normal(size=(n, units[0])).astype(dtype)
    if output == "softmax":
        y = np.eye(units[-1])[rng.integers(0, units[-1], n)]
    elif output == "logistic":
        y = rng.integers(0, 2, (n, units[-1])).astype(float)
    elif output == "exp":
        y = rng.poisson(1.5, (n, units[-1])).astype(float)
    else:
        y = rng.normal(size=(n, units[-1]))
    return spec, coefs, intercepts, X, y


def compare(problem, settings, *, batch_size=16, weight=None, rates=0.01, n_epochs=3, tolerance=None):
    """Train both and compare losses and parameters."""
    spec, coefs, intercepts, X, y = problem
    rng = np.random.default_rng(1)
    orders = [rng.permutation(len(X)) for _ in range(n_epochs)]
    network = Network(spec, coefs, intercepts)
    data = make_training_data(spec, X, y, weight)
    state = network.new_optimizer_state(settings)
    curve = [network.train_epoch(data, order, batch_size, settings, state, rates) for order in orders]
    told = np.ones(len(X)) if weight is None else weight
    expected = reference.train(spec, coefs, intercepts, X, y, told, orders, batch_size, settings, rates)
    tolerance = tolerance or TOLERANCE[spec.dtype.name]
    np.testing.assert_allclose(curve, expected[2], rtol=tolerance)
    for own, others in zip(network.parameters(), expected[:2], strict=True):
        for a, b in zip(own, others, strict=True):
            assert a.dtype == spec.dtype
            assert a.flags.c_contiguous
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert state.n_updates[0] == n_epochs * -(-len(X) // batch_size)
    return network


SOLVERS = [
    OptimizerSettings("sgd", alpha=0.1),
    OptimizerSettings("sgd", alpha=0.1, momentum=0.9, nesterov=True),
    OptimizerSettings("sgd", momentum=0.7, weight_decay=0.3),
    OptimizerSettings("adam", alpha=0.1, beta_1=0.8, beta_2=0.9),
    OptimizerSettings("adamw", weight_decay=0.3),
    OptimizerSettings("rmsprop", alpha=0.1, beta_2=0.9, momentum=0.5, epsilon=1e-3),
    OptimizerSettings("adam", alpha=0.1, clip_norm=0.05),
    OptimizerSettings("sgd", alpha=0.1, clip_norm=0.2),
]


@pytest.mark.parametrize("settings", SOLVERS, ids=lambda s: f"{s.solver}-{s.momentum}-{s.clip_norm}")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_solvers(settings, dtype):
    compare(make_problem((5, 9, 3), dtype=dtype), settings)


@pytest.mark.plain_python
def test_solver_without_a_compiler():
    weight = np.linspace(0.1, 2.0, 11)
    compare(make_problem((3, 4, 2), n=11), SOLVERS[3], batch_size=4, weight=weight, n_epochs=1)


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_activations(activation, dtype):
    compare(make_problem((5, 9, 6, 3), activation=activation, dtype=dtype), SOLVERS[3])


@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("n_outputs", [1, 2, 19])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(output, n_outputs, weighted):
    weight = np.random.default_rng(2).uniform(0.0, 2.0, 61) if weighted else None
    compare(make_problem((5, 9, n_outputs), output=output), SOLVERS[1], weight=weight)


@pytest.mark.parametrize("hidden", [(), (1,), (40,), (3, 40, 2), (5, 1, 17, 33)])
@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_layers(hidden, output):
    compare(make_problem((7, *hidden, 3), output=output), SOLVERS[3])


@pytest.mark.parametrize("units", [(1, 1, 1), (300, 5, 2), (4, 1000, 2), (2, 3, 1000)])
def test_odd_widths(units):
    compare(make_problem(units, output="identity"), SOLVERS[3], n_epochs=2)


@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (1, 200), (7, 1), (33, 32), (65, 64), (600, 299), (20, 7)]
)
def test_odd_batches(n, batch_size):
    compare(make_problem((5, 9, 3), n=n), SOLVERS[3], batch_size=batch_size)


def test_rows_may_be_few_of_all_or_repeated():
    spec, coefs, intercepts, X, y = make_problem((5, 9, 3))
    order = np.array([3, 3, 60, 0, 12])
    network = Network(spec, coefs, intercepts)
    settings = SOLVERS[0]
    state = network.new_optimizer_state(settings)
    loss = network.train_epoch(make_training_data(spec, X, y), order, 2, settings, state, 0.1)
    args = (spec, coefs, intercepts, X, y, np.ones(61), [order], 2, settings, 0.1)
    assert loss == pytest.approx(reference.train(*args)[2][0], rel=1e-9)


def test_rate_of_each_batch():
    compare(make_problem((5, 9, 3), n=50), SOLVERS[3], rates=np.array([0.1, 0.01, 0.02, 0.0]))


def test_classes_as_codes_are_classes_as_indicators():
    spec, coefs, intercepts, X, y = make_problem((5, 9, 3))
    curves = []
    for targets in (y, y.astype(bool), y.argmax(axis=1)):
        network = Network(spec, coefs, intercepts)
        state = network.new_optimizer_state(SOLVERS[3])
        data = make_training_data(spec, np.asfortranarray(X), targets)
        curves.append(network.train_epoch(data, None, 16, SOLVERS[3], state, 0.01))
    assert curves[0] == curves[1] == curves[2]


@pytest.mark.parametrize(
    "settings",
    [SOLVERS[3], SOLVERS[1], SOLVERS[6], SOLVERS[3]._replace(dropout=0.4, dropout_seed=5)],
    ids=["adam", "sgd", "clipped", "dropout"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_for_any_number_of_threads(settings, dtype, monkeypatch):
    spec, coefs, intercepts, X, y = make_problem((20, 40, 30, 5), dtype=dtype, n=150)
    weight = np.linspace(0.1, 1.0, 150)
    orders = None, np.random.default_rng(1).permutation(150), np.random.default_rng(2).permutation(150)[:81]
    results = []
    for n_threads in (1, 2, 3, 8):
        monkeypatch.setattr(Network, "n_threads_for", lambda *_, n=n_threads: n)
        network = Network(spec, coefs, intercepts)
        state = network.new_optimizer_state(settings)
        data = make_training_data(spec, X, y, weight)
        losses = [network.train_epoch(data, order, 37, settings, state, 0.01) for order in orders]
        gradient = network.loss_and_gradient(_pack(*network.parameters()), data, 0.1)
        results.append((losses, network.snapshot(), state.first, gradient[0], gradient[1]))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def _pack(coefs, intercepts):
    return np.concatenate([np.ravel(p).astype(np.float64) for p in [*coefs, *intercepts]])


@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
def test_gradient_is_that_of_the_loss(output, activation):
    # Squares are averaged over the outputs in scikit-learn's loss, and summed in its gradient: one output is both.
    n_outputs = 1 if output == "identity" else 2
    spec, coefs, intercepts, X, y = make_problem(
        (3, 4, 3, n_outputs), output=output, activation=activation, n=9
    )
    weight = np.linspace(0.5, 1.5, 9)
    network, data = Network(spec, coefs, intercepts), make_training_data(spec, X, y, weight)
    packed = _pack(coefs, intercepts)
    loss, gradient = network.loss_and_gradient(packed, data, 0.7)
    expected, *gradients = reference.loss_and_gradients(spec, coefs, intercepts, X, y, weight, 0.7)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, _pack(*gradients), rtol=1e-6, atol=1e-8)
    step = 1e-5
    for i in range(len(packed)):
        moved = [packed.copy(), packed.copy()]
        moved[0][i] += step
        moved[1][i] -= step
        above, below = (network.loss_and_gradient(p, data, 0.7)[0] for p in moved)
        assert gradient[i] == pytest.approx((above - below) / (2.0 * step), rel=1e-4, abs=1e-7)


def test_gradient_over_more_rows_than_are_taken_at_once():
    spec, coefs, intercepts, X, y = make_problem((3, 4, 2), n=2 * network_module.GRADIENT_BATCH + 5)
    weight = np.ones(len(X))
    network = Network(spec, coefs, intercepts)
    loss, gradient = network.loss_and_gradient(_pack(coefs, intercepts), make_training_data(spec, X, y), 0.0)
    expected, *gradients = reference.loss_and_gradients(spec, coefs, intercepts, X, y, weight, 0.0)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, _pack(*gradients), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
@pytest.mark.parametrize("output", LOSS_OF)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [0, 1, 70])
def test_forward(activation, output, dtype, n):
    spec, coefs, intercepts, X, _ = make_problem((5, 19, 3), output, activation, dtype, n=n)
    expected = reference.forward(spec, coefs, intercepts, X)[1][-1]
    out = forward(spec, coefs, intercepts, X)
    assert out.dtype == np.dtype(dtype)
    np.testing.assert_allclose(out, expected, rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-6)
    np.testing.assert_array_equal(Network(spec, coefs, intercepts).forward(X), out)


@pytest.mark.plain_python
def test_forward_takes_weights_as_they_lie():
    spec, coefs, intercepts, X, _ = make_problem((3, 4, 2), n=5)
    expected = forward(spec, coefs, intercepts, X)
    fortran = [np.asfortranarray(W) for W in coefs]
    strided = [np.hstack([W, W])[:, : W.shape[1]] for W in coefs]
    for others in (fortran, strided, [W[::-1, ::-1][::-1, ::-1] for W in coefs]):
        np.testing.assert_allclose(
            forward(spec, others, intercepts, np.asfortranarray(X)), expected, rtol=1e-14
        )


def test_forward_does_not_depend_on_threads(monkeypatch):
    from fastfit.training import network_prediction

    spec, coefs, intercepts, X, _ = make_problem((5, 19, 3), n=301)
    results = []
    for n_threads in (1, 3):
        monkeypatch.setattr(network_prediction, "threads_for", lambda *_, n=n_threads: n)
        results.append(forward(spec, coefs, intercepts, X))
    np.testing.assert_array_equal(*results)


def test_dropout_keeps_the_mean_and_drops_the_share():
    """With identity activations the mean output over many draws is that of the whole network."""
    units = (4, 200, 1)
    spec, coefs, intercepts, X, y = make_problem(units, output="identity", activation="identity", n=400)
    settings = OptimizerSettings("sgd", dropout=0.25, dropout_seed=3)
    intercepts = [np.zeros_like(b) for b in intercepts]
    # A rate of 0 moves nothing; the loss with dropout is the loss without and the variance of the output besides.
    network = Network(spec, coefs, intercepts)
    state = network.new_optimizer_state(settings)
    data = make_training_data(spec, X, y)
    hidden = X @ coefs[0]
    variance = ((hidden * coefs[1].T) ** 2).sum(axis=1) * 0.25 / 0.75
    plain = 0.5 * (y - hidden @ coefs[1]) ** 2
    expected = plain.sum() + 0.5 * variance.sum()
    drawn = [network.train_epoch(data, None, 50, settings, state, 0.0) for _ in range(40)]
    assert np.mean(drawn) == pytest.approx(expected, rel=0.03)
    assert len(set(drawn)) == 40
    network_2 = Network(spec, coefs, intercepts)
    state_2 = network_2.new_optimizer_state(settings)
    assert network_2.train_epoch(data, None, 50, settings, state_2, 0.0) == drawn[0]


def test_dropout_gradient():
    """The loss falls along the gradient of the same draw of neurons, by as much as the gradient says."""
    spec, coefs, intercepts, X, y = make_problem((5, 30, 20, 3), activation="silu")
    settings = OptimizerSettings("sgd", dropout=0.5, dropout_seed=1)
    data = make_training_data(spec, X, y)

    def run(coefs, intercepts, rate):
        network = Network(spec, coefs, intercepts)
        state = network.new_optimizer_state(settings)
        loss = network.train_epoch(data, None, len(X), settings, state, rate) / len(X)
        return loss, *network.parameters()

    loss, moved, moved_intercepts = run(coefs, intercepts, 1e-4)
    after = run(moved, moved_intercepts, 0.0)[0]
    squares = sum(
        ((a - b) ** 2).sum() for a, b in zip([*moved, *moved_intercepts], [*coefs, *intercepts], strict=True)
    )
    assert loss - after == pytest.approx(squares / 1e-4, rel=1e-2)


def test_ctrl_c_puts_the_epoch_back(monkeypatch):
    spec, coefs, intercepts, X, y = make_problem((5, 9, 3))
    network, settings = Network(spec, coefs, intercepts), SOLVERS[3]
    state, data = network.new_optimizer_state(settings), make_training_data(spec, X, y)
    network.train_epoch(data, None, 16, settings, state, 0.01)
    before = network.snapshot(), state.first.copy(), state.second.copy(), state.n_updates.copy()
    run_team = network_module.run_team

    def interrupted(*args, **kwargs):
        run_team(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(network_module, "run_team", interrupted)
    with pytest.raises(KeyboardInterrupt):
        network.train_epoch(data, None, 16, settings, state, 0.01)
    monkeypatch.undo()
    for own, old in zip((network.snapshot(), *state), before, strict=True):
        np.testing.assert_array_equal(own, old)
    first = network.train_epoch(data, None, 16, settings, state, 0.01)
    again = Network(spec, coefs, intercepts)
    state = again.new_optimizer_state(settings)
    assert [again.train_epoch(data, None, 16, settings, state, 0.01) for _ in range(2)][1] == first


def test_load_store_and_restore():
    spec, coefs, intercepts, X, y = make_problem((5, 9, 3))
    network = Network(spec, coefs, intercepts)
    snapshot, before = network.snapshot(), network.forward(X)
    state = network.new_optimizer_state(SOLVERS[3])
    data = make_training_data(spec, X, y)
    first = network.train_epoch(data, None, 16, SOLVERS[3], state, 0.1)
    assert not np.allclose(network.forward(X), before)
    own_coefs, own_intercepts = [np.empty_like(W) for W in coefs], [np.empty_like(b) for b in intercepts]
    network.store(own_coefs, own_intercepts)
    np.testing.assert_array_equal(_pack(own_coefs, own_intercepts), _pack(*network.parameters()))
    network.restore(snapshot)
    np.testing.assert_array_equal(network.forward(X), before)
    state = network.new_optimizer_state(SOLVERS[3])
    assert network.train_epoch(data, None, 16, SOLVERS[3], state, 0.1) == first
    network.load(own_coefs, own_intercepts)
    np.testing.assert_array_equal(network.parameters()[0][0], own_coefs[0])


def test_adam_step_size():
    settings = OptimizerSettings("adam")
    assert adam_step_size(settings, 0.5, 1) == pytest.approx(0.5 * np.sqrt(1e-3) / 0.1)


def test_small_work_stays_on_one_thread():
    spec, coefs, intercepts, *_ = make_problem((5, 9, 3))
    assert Network(spec, coefs, intercepts).n_threads_for(10_000, 32) == 1
    assert Network(spec, coefs, intercepts, n_jobs=1).n_threads_for(10**9, 10**6) == 1


@pytest.mark.plain_python
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_largest_output_is_that_of_softmax(dtype):
    """The first of equals; and 0 where softmax makes NaN of everything, as argmax finds it."""
    spec = NetworkSpec((3, 19), np.dtype(dtype), "relu", "softmax", "log_loss")
    rng = np.random.default_rng(0)
    X, coef = rng.integers(-2, 3, (40, 3)).astype(dtype), rng.integers(-1, 2, (3, 19)).astype(dtype)
    X[7], X[8] = [np.inf, 1.0, 1.0], [0.0, 0.0, 0.0]
    with np.errstate(all="ignore"):
        shares = forward(spec, [coef], [np.zeros(19)], X)
        found = forward(spec._replace(output="largest"), [coef], [np.zeros(19)], X)
    np.testing.assert_array_equal(found[:, 0], shares.argmax(axis=1))
