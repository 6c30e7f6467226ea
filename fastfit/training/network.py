"""Multi-layer perceptrons over prepared arrays: parameters packed for the kernels, epochs, gradients."""

import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastfit.kernels.activation import LEAKS, NEED_INPUT
from fastfit.kernels.gemm import Matrices, gemm_at
from fastfit.kernels.network_epoch import square_gradients, train_epoch, update_units
from fastfit.kernels.network_pass import (
    advance,
    drop_neurons,
    enter_columns,
    gather_rows,
    make_activation,
    pass_block,
)
from fastfit.kernels.network_plan import (
    BLOCK_ROWS,
    GROUP_ROWS,
    SOLVER_ADAM,
    SOLVER_NONE,
    SOLVER_RMSPROP,
    SOLVER_SGD,
    Parts,
    Settings,
    Sizes,
    Table,
)
from fastfit.kernels.optimizer_step import MOVES, Block, Step, penalize
from fastfit.kernels.output_loss import OUTPUT_LOSSES
from fastfit.runtime.address_table import table_of
from fastfit.runtime.compile import as_readonly
from fastfit.runtime.far_call import address_of_kernel
from fastfit.runtime.memory import aligned_zeros
from fastfit.runtime.threads import run_team, threads_for
from fastfit.training.network_packing import Packing, whole_groups
from fastfit.training.network_prediction import forward

__all__ = [
    "Network",
    "NetworkSpec",
    "OptimizerSettings",
    "OptimizerState",
    "TrainingData",
    "adam_step_size",
    "forward",
    "make_training_data",
]

SOLVERS = {"sgd": SOLVER_SGD, "adam": SOLVER_ADAM, "adamw": SOLVER_ADAM, "rmsprop": SOLVER_RMSPROP}
FLOPS_PER_NANOSECOND = {4: 80.0, 8: 40.0}  # of one thread, roughly
MIN_BATCH_WORK = 10_000  # nanoseconds that a batch must cost for a second thread to be worth two meetings
SECONDS_PER_BUDGET = 0.02  # for which threads are counted on: to ask takes 10 us, and an epoch may take 100
LONG_WORK = 50_000_000  # nanoseconds: from there on Ctrl-C must be heard within an epoch
GRADIENT_BATCH = (
    256  # rows at a time where all of the data count for one gradient: they stay in the second cache
)

_PLACES = {name: 2 * number for number, name in enumerate(Table._fields)}
_NO_STEPS = Settings(SOLVER_NONE, 0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, 0)
_EMPTY = np.zeros(0)
_parts_of_networks = {}


class NetworkSpec(NamedTuple):
    """What a network is.

    Attributes
    ----------
    layer_units : tuple of int
        Number of features, neurons of each hidden layer, number of outputs.
    dtype : dtype
        float32 or float64, of the parameters and of all arithmetic; losses are summed in float64.
    activation : str
        Of the hidden layers: a key of ``fastfit.kernels.activation.ACTIVATIONS``.
    output : {"identity", "exp", "logistic", "softmax"}
        Activation of the last layer.
    loss : {"squared_error", "poisson", "log_loss"}
        The one that belongs to the output.
    """

    layer_units: tuple
    dtype: np.dtype
    activation: str
    output: str
    loss: str


class OptimizerSettings(NamedTuple):
    """How parameters move.

    Attributes
    ----------
    solver : {"sgd", "adam", "adamw", "rmsprop"}
    alpha : float
        L2 penalty, which scikit-learn divides by the weight of a batch.
    weight_decay : float
        Shrinks weights by ``learning_rate * weight_decay`` of themselves at every update, apart from the gradient.
    momentum : float
        Of sgd and rmsprop.
    nesterov : bool
        Of sgd.
    beta_1, beta_2 : float
        Decay of Adam's moments; `beta_2` is that of rmsprop's squares, too.
    epsilon : float
    clip_norm : float
        The greatest 2-norm of the gradient of all layers, penalty included; 0 for none.
    dropout : float
        Probability with which a hidden neuron is dropped in training.
    dropout_seed : int
    """

    solver: str
    alpha: float = 0.0
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    dropout: float = 0.0
    dropout_seed: int = 0


class OptimizerState(NamedTuple):
    """What an optimizer remembers, written in place by training: arrays only, which copy and pickle."""

    first: np.ndarray
    second: np.ndarray
    n_updates: np.ndarray


class TrainingData(NamedTuple):
    """Data as kernels take them; made by `make_training_data`."""

    X: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray
    n_samples: int


def make_training_data(spec, X, y, sample_weight=None):
    """Convert data for `Network.train_epoch`; what has the right dtype and order is not copied.

    Parameters
    ----------
    spec : NetworkSpec
    X : ndarray of shape (n_samples, n_features)
    y : ndarray
        For softmax (n_samples,) integers or (n_samples, n_outputs) with 1 at the class; else (n_samples,) or
        (n_samples, n_outputs).
    sample_weight : ndarray of shape (n_samples,) or None, default=None

    Returns
    -------
    data : TrainingData
    """
    X = np.ascontiguousarray(X, dtype=spec.dtype)
    y = np.asarray(y)
    if spec.output == "softmax":
        codes = y if y.ndim == 1 else y.argmax(axis=1)
        targets = np.ascontiguousarray(codes, dtype=np.int32)
    else:
        targets = np.ascontiguousarray(y, dtype=spec.dtype).ravel()
    weight = np.zeros(0) if sample_weight is None else np.ascontiguousarray(sample_weight, dtype=np.float64)
    return TrainingData(as_readonly(X.ravel()), as_readonly(targets), as_readonly(weight), X.shape[0])


def adam_step_size(settings, learning_rate, n_updates):
    """Return the step size of Adam's update number `n_updates`, which scikit-learn shows as its learning rate."""
    return learning_rate * np.sqrt(1.0 - settings.beta_2**n_updates) / (1.0 - settings.beta_1**n_updates)


class Network:
    """The parameters of a multi-layer perceptron, and what it takes to train it.

    Parameters
    ----------
    spec : NetworkSpec
    coefs, intercepts : list of ndarray
        As scikit-learn has them: (fan_in, fan_out) and (fan_out,) for each layer. They are copied.
    n_jobs : int or None, default=None
        Threads, within the process's budget.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.training.network import Network, NetworkSpec, OptimizerSettings, make_training_data
    >>> spec = NetworkSpec((1, 1), np.dtype(np.float64), "relu", "identity", "squared_error")
    >>> network = Network(spec, [np.zeros((1, 1))], [np.zeros(1)])
    >>> data = make_training_data(spec, np.array([[1.0], [2.0]]), np.array([2.0, 4.0]))
    >>> settings = OptimizerSettings("sgd")
    >>> state = network.new_optimizer_state(settings)
    >>> network.train_epoch(data, None, 2, settings, state, learning_rate=0.1)
    10.0
    >>> network.parameters()
    ([array([[0.5]])], [array([0.3])])
    """

    def __init__(self, spec, coefs, intercepts, n_jobs=None):
        self.spec = spec._replace(dtype=np.dtype(spec.dtype))
        self.n_jobs = n_jobs
        self._packing = Packing.of(self.spec)
        self._values = aligned_zeros(self._packing.n_values, self.spec.dtype)
        self._transposed = aligned_zeros(self._packing.n_transposed, self.spec.dtype)
        self._workspace_key = self._kept = None
        self._threads = None, 0.0, 1  # for which rows, until when, and how many
        self._own_views = list(self._views(self._values))
        self._transposed_views = []
        for layer in self._packing.layers[1:]:
            part = self._transposed[
                layer.transposed_at : layer.transposed_at + layer.fan_out * layer.in_stride
            ]
            self._transposed_views.append(part.reshape(layer.fan_out, -1)[:, : layer.fan_in])
        self.load(coefs, intercepts)

    # ------------------------------------------------------------------------------------------ parameters

    def _views(self, packed):
        """Yield each layer's weights and intercepts as views of packed parameters."""
        for layer in self._packing.layers:
            n = layer.fan_in * layer.out_stride
            block = packed[layer.parameters_at : layer.parameters_at + n + layer.out_stride]
            yield block[:n].reshape(layer.fan_in, -1)[:, : layer.fan_out], block[n : n + layer.fan_out]

    def load(self, coefs, intercepts):
        """Take over parameters."""
        for (weights, shifts), coef, intercept in zip(self._own_views, coefs, intercepts, strict=True):
            weights[...], shifts[...] = coef, intercept
        self._transpose()

    def _transpose(self):
        for (weights, _), transposed in zip(self._own_views[1:], self._transposed_views, strict=True):
            transposed[...] = weights.T

    def parameters(self):
        """Return the weights and the intercepts of all layers as lists of new arrays."""
        views = self._own_views
        return [weights.copy() for weights, _ in views], [shifts.copy() for _, shifts in views]

    def store(self, coefs, intercepts):
        """Write the parameters into arrays of scikit-learn's shapes."""
        for (weights, shifts), coef, intercept in zip(self._own_views, coefs, intercepts, strict=True):
            coef[...], intercept[...] = weights, shifts

    def snapshot(self):
        """Return a copy of the parameters for `restore`."""
        return self._values.copy()

    def restore(self, snapshot):
        """Go back to the parameters of a `snapshot`."""
        self._values[...] = snapshot
        self._transpose()

    def forward(self, X):
        """Return the activations of the last layer, of shape (n_samples, n_outputs), with the present parameters."""
        views = self._own_views
        return forward(self.spec, [v[0] for v in views], [v[1] for v in views], X, self.n_jobs)

    # -------------------------------------------------------------------------------------------- training

    def new_optimizer_state(self, settings):
        """Return the state before the first update."""
        n = self._packing.n_values
        n_second = 0 if settings.solver == "sgd" else n
        dtype = self.spec.dtype
        return OptimizerState(aligned_zeros(n, dtype), aligned_zeros(n_second, dtype), np.zeros(1, np.int64))

    def _flops_per_row(self):
        layers = self._packing.layers
        per_layer = [2.0 * layer.fan_in * layer.out_stride for layer in layers]
        return 3.0 * sum(per_layer) - per_layer[0]

    def _work(self, n_rows, batch_size):
        """Nanoseconds that one thread needs for an epoch, and for a batch, roughly."""
        rate = FLOPS_PER_NANOSECOND[self.spec.dtype.itemsize]
        updates = 0.05 * self.spec.dtype.itemsize * self._packing.n_values
        per_batch = batch_size * self._flops_per_row() / rate + updates
        return per_batch * -(-n_rows // batch_size), per_batch

    def n_threads_for(self, n_rows, batch_size):
        """Return how many threads an epoch is worth."""
        work, per_batch = self._work(n_rows, batch_size)
        if per_batch < MIN_BATCH_WORK:
            return 1
        by_work = int(per_batch / (MIN_BATCH_WORK / 2))
        return max(1, min(threads_for(work, self.n_jobs), by_work))

    def _n_threads_now(self, n_rows, batch_size):
        """`n_threads_for`, asked anew now and then: other threads may come and go while this one trains."""
        rows, until, n_threads = self._threads
        now = time.monotonic()
        if rows != (n_rows, batch_size) or now > until:
            n_threads = self.n_threads_for(n_rows, batch_size)
            self._threads = (n_rows, batch_size), now + SECONDS_PER_BUDGET, n_threads
        return n_threads

    def _workspace(self, batch_size, n_threads, keeps_slopes, in_place):
        """Return a `Table` with what depends on these alone, and its addresses.

        They are kept: the next epoch usually is like the last.
        """
        key = (batch_size, n_threads, keeps_slopes, in_place)
        if self._workspace_key != key:
            packing, dtype = self._packing, self.spec.dtype
            units, unit_starts, column_starts, scratch_size = packing.shares(n_threads, dtype.itemsize)
            n_activations = packing.row_values * batch_size
            room = BLOCK_ROWS * packing.layers[-1].out_stride
            n_buffers = 0 if in_place else min(n_threads, 2)
            sizes = Sizes(len(packing.layers), batch_size, room, packing.n_values, scratch_size, n_buffers)
            arrays = Table(*[_EMPTY] * len(Table._fields))._replace(
                values=self._values if n_threads == 1 else aligned_zeros(packing.n_values, dtype),
                transposed=self._transposed,
                gradients=aligned_zeros(packing.n_values + n_threads * scratch_size, dtype),
                inputs=aligned_zeros(n_buffers * packing.layers[0].in_stride * batch_size, dtype),
                activations=aligned_zeros(n_activations, dtype),
                errors=aligned_zeros(n_activations, dtype),
                slopes=aligned_zeros(n_activations if keeps_slopes else 0, dtype),
                outputs=aligned_zeros(3 * n_threads * room, dtype),
                row_losses=aligned_zeros(-(-batch_size // GROUP_ROWS) * GROUP_ROWS, np.float64),
                first=aligned_zeros(packing.n_values if n_threads > 1 else 0, dtype),
                second=aligned_zeros(packing.n_values if n_threads > 1 else 0, dtype),
                penalties=aligned_zeros(packing.n_values, dtype),
                squares=np.zeros(
                    packing.layers[0].out_stride + sum(layer.fan_in + 1 for layer in packing.layers)
                ),
                totals=np.zeros(1),
                layers=packing.for_batch(batch_size, in_place),
                units=np.array(units, dtype=np.int64).ravel(),
                unit_starts=np.array(unit_starts, dtype=np.int64),
                column_starts=np.array(column_starts, dtype=np.int64),
                sizes=np.array(sizes, dtype=np.int64),
            )
            self._workspace_key, self._kept = key, (arrays, table_of(arrays))
        return self._kept

    def _parts(self, solver, has_dropout, clips):
        """Return the addresses of the kernels that this network needs, compiled for its dtype."""
        spec = self.spec
        has_hidden = len(spec.layer_units) > 2
        key = (solver, has_dropout, clips, has_hidden, spec.dtype, spec.activation, spec.output, spec.loss)
        if key not in _parts_of_networks:
            table, like = table_of([_EMPTY]), spec.dtype.type(0)
            activate, pull_back = make_activation(spec.activation)
            at = Matrices(*[0] * len(Matrices._fields))
            step, block = Step(0.0, 0.0, 0.0, 0.0, 0.0, 0), Block(*[0] * len(Block._fields))
            finish_output = OUTPUT_LOSSES[spec.output, spec.loss]
            parts = Parts(
                multiply=address_of_kernel(gemm_at, like, at, 0, 0, 0, 0),
                activate=address_of_kernel(activate, table, like, 0, 0, 0, 0, 0),
                pull_back=address_of_kernel(pull_back, table, like, 0, 0, 0, 0, 0) if has_hidden else 0,
                drop_neurons=(
                    address_of_kernel(drop_neurons, table, like, 0, 0, 0, 0, 0, 0) if has_dropout else 0
                ),
                finish_output=address_of_kernel(finish_output, table, like, 0, 0, 0, 0),
                gather=address_of_kernel(gather_rows, table, like, 0, 0, 0),
                advance=address_of_kernel(advance, table, like, 0, 0, 0, 0, 0, 0, 0),
                enter=address_of_kernel(enter_columns, table, like, 0, 0, 0, 0, 0),
                pass_block=address_of_kernel(pass_block, table, like, 0, 0, 0, 0, 0),
                update_units=address_of_kernel(update_units, table, like, 0, 0, 0, 0, step),
                move=address_of_kernel(MOVES[solver], block, step, table, like) if solver in MOVES else 0,
                penalize=address_of_kernel(penalize, block, step, table, like) if clips else 0,
                square_gradients=address_of_kernel(square_gradients, table, like, 0, 0) if clips else 0,
            )
            _parts_of_networks[key] = np.array(parts, dtype=np.int64)
        return _parts_of_networks[key]

    def _run_epoch(self, data, order, batch_size, rates, settings, state):
        n_rows = data.n_samples if order is None else len(order)
        batch_size = int(min(batch_size, max(n_rows, 1)))
        n_threads = self._n_threads_now(n_rows, batch_size)
        arrays, table = self._workspace(batch_size, n_threads, settings.keeps_slopes, order is None)
        kept = (self._values, state.first, state.second)
        shared = (arrays.values, arrays.first, arrays.second) if n_threads > 1 else kept
        if n_threads > 1:
            self._share_out(kept, shared, arrays.column_starts)
        changing = {
            "first": shared[1],
            "second": shared[2],
            "X": data.X,
            "targets": data.targets,
            "sample_weight": data.sample_weight,
            "order": np.ascontiguousarray(np.arange(n_rows) if order is None else order, dtype=np.int64),
            "rates": np.array(rates, dtype=np.float64, ndmin=1),
            "settings": np.array(settings, dtype=np.float64),
            "parts": self._parts(settings.solver, settings.dropout > 0.0, settings.clip_norm > 0.0),
        }
        if settings.solver != SOLVER_NONE:
            arrays.penalties[...] = 0.0
        table = table.copy()
        for name, array in changing.items():
            place = _PLACES[name]
            table[place : place + 2] = array.__array_interface__["data"][0], array.size
        may_be_long = self._work(n_rows, batch_size)[0] > LONG_WORK
        run_team(train_epoch, n_threads, table, self.spec.dtype.type(0), may_be_long=may_be_long)
        loss, penalties = float(arrays.totals[0]), arrays.penalties
        if settings.solver != SOLVER_NONE:
            if n_threads > 1:
                penalties = np.empty_like(penalties)
                kept, shared = (*kept, penalties), (*shared, arrays.penalties)
                self._share_out(kept, shared, arrays.column_starts, back=True)
            loss += float(penalties.sum(dtype=np.float64))
        return loss, -(-n_rows // batch_size), arrays

    def _share_out(self, kept, shared, column_starts, back=False):
        """Copy packed parameters to where each member's neurons of the first hidden layer are a matrix, or back."""
        layer = self._packing.layers[0]
        n_rows = layer.fan_in + 1
        ends = [whole_groups(int(end), self.spec.dtype.itemsize) for end in column_starts]
        n_cut = n_rows * ends[-1]
        for ours, theirs in zip(kept, shared, strict=True):
            if len(ours) == 0:
                continue
            pairs = [(ours[n_cut:], theirs[n_cut : len(ours)])]
            for begin, end in pairwise(ends):
                columns = ours[:n_cut].reshape(n_rows, ends[-1])[:, begin:end]
                pairs.append((columns, theirs[n_rows * begin : n_rows * end].reshape(n_rows, end - begin)))
            for here, there in pairs:
                if back:
                    here[...] = there
                else:
                    there[...] = here

    def train_epoch(self, data, order, batch_size, settings, state, learning_rate):
        """Train for one epoch.

        Parameters
        ----------
        data : TrainingData
        order : ndarray of shape (n,) of int, or None
            The rows in the order in which they are taken; None for all as they stand.
        batch_size : int
        settings : OptimizerSettings
        state : OptimizerState
            Written in place.
        learning_rate : float or ndarray of shape (n_batches,)
            One for all batches, or one for each. Adam's correction for its zero start is not part of it.

        Returns
        -------
        loss : float
            The sum over batches of their mean loss, penalty included, times their number of rows.

        Raises
        ------
        KeyboardInterrupt
            With parameters and `state` as they were before this epoch.
        """
        before = self._values.copy(), state.first.copy(), state.second.copy()
        told = Settings(
            solver=SOLVERS[settings.solver],
            alpha=float(settings.alpha),
            weight_decay=float(settings.weight_decay),
            momentum=float(settings.momentum),
            nesterov=int(settings.nesterov),
            beta_1=float(settings.beta_1),
            beta_2=float(settings.beta_2),
            epsilon=float(settings.epsilon),
            clip_norm=float(settings.clip_norm),
            dropout=float(settings.dropout),
            seed=int(settings.dropout_seed) & 0x7FFFFFFF,
            n_updates=int(state.n_updates[0]),
            leak=LEAKS.get(self.spec.activation, 0.0),
            keeps_slopes=int(self.spec.activation in NEED_INPUT or settings.dropout > 0.0),
        )
        try:
            loss, n_batches, _ = self._run_epoch(data, order, batch_size, learning_rate, told, state)
        except BaseException:
            self.restore(before[0])
            state.first[...], state.second[...] = before[1:]
            raise
        state.n_updates[0] += n_batches
        return loss

    def loss_and_gradient(self, packed, data, alpha):
        """Return the loss of all of the data, penalty included, and its gradient.

        Parameters
        ----------
        packed : ndarray of shape (n_parameters,)
            All weights, raveled, then all intercepts.
        data : TrainingData
        alpha : float
            L2 penalty.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_parameters,) of float64
        """
        self.load(*self._unpack(packed))
        empty = np.zeros(0, self.spec.dtype)
        state = OptimizerState(empty, empty, np.zeros(1, np.int64))
        told = _NO_STEPS._replace(
            leak=LEAKS.get(self.spec.activation, 0.0), keeps_slopes=int(self.spec.activation in NEED_INPUT)
        )
        loss, _, arrays = self._run_epoch(data, None, GRADIENT_BATCH, 0.0, told, state)
        weight = float(data.sample_weight.sum()) if data.sample_weight.size else float(data.n_samples)
        gradients = arrays.gradients[: self._packing.n_values]
        if len(arrays.unit_starts) > 2:
            gradients = np.empty_like(gradients)
            self._share_out([gradients], [arrays.gradients], arrays.column_starts, back=True)
        gradient = np.empty(len(packed))
        parts = zip(*self._unpack(gradient), self._views(gradients), strict=True)
        squares = 0.0
        for (coef_out, intercept_out, (slopes, shifts)), (weights, _) in zip(
            parts, self._own_views, strict=True
        ):
            np.divide(slopes + alpha * weights, weight, out=coef_out)
            np.divide(shifts, weight, out=intercept_out)
            squares += float(np.vdot(weights, weights))
        return (loss + 0.5 * alpha * squares) / weight, gradient

    def _unpack(self, packed):
        """Return views of a packed vector in scikit-learn's order, as lists."""
        units = self.spec.layer_units
        coefs, intercepts, at = [], [], 0
        for fan_in, fan_out in pairwise(units):
            coefs.append(packed[at : at + fan_in * fan_out].reshape(fan_in, fan_out))
            at += fan_in * fan_out
        for fan_out in units[1:]:
            intercepts.append(packed[at : at + fan_out])
            at += fan_out
        return coefs, intercepts
