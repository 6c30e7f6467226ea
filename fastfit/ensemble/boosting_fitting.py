"""What both classes of exact gradient boosting share in ``fit``: scikit-learn's rounds around fastfit's trees."""

import functools

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from sklearn._loss import loss as losses
from sklearn.base import is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.dummy import DummyRegressor
from sklearn.ensemble._gb import BaseGradientBoosting, VerboseReporter
from sklearn.ensemble._gradient_boosting import _random_sample_mask
from sklearn.tree._tree import NODE_DTYPE, Tree
from sklearn.utils import check_random_state

from fastfit.ensemble.boosting_callbacks import RoundReports
from fastfit.ensemble.boosting_small_rounds import do_small_rounds, fit_dummy
from fastfit.ensemble.forest_fitting import unfitted_tree
from fastfit.fallback import note_fallback
from fastfit.fit_callbacks import scheduled_rate_of
from fastfit.former_fit import keep_former_fit
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import threads_for
from fastfit.tree import DecisionTreeRegressor
from fastfit.tree.class_labels import encode_labels
from fastfit.tree.plain_arrays import is_plain_target, take_plain_features
from fastfit.tree.tree_fitting import MAX_SEED, draw_seed, growth_options

# Nanoseconds, roughly, that a value of X takes in one round.
WORK_PER_VALUE = 10.0

# Values of X from which its memory matters, and rows that are turned into columns at a time, within the second cache.
LARGE_X, ROWS_AT_ONCE = 100_000, 2048

# What trees take from the ensemble.
TREE_PARAMETERS = (
    "max_depth",
    "min_samples_split",
    "min_samples_leaf",
    "min_weight_fraction_leaf",
    "min_impurity_decrease",
    "max_features",
    "max_leaf_nodes",
    "ccp_alpha",
)
# Losses whose value scikit-learn reports twice as large as they are defined.
HALVED_LOSSES = (losses.HalfSquaredError, losses.HalfBinomialLoss)


_ONE_VALUE = np.ones(1, dtype=np.intp)


class BoostingFitting(ValidatesChangedParameters, CallbackSupportMixin):
    """Mixin before scikit-learn's class: its checks, draws and learned attributes around fastfit's kernels."""

    def fit(self, X, y, sample_weight=None, monitor=None):
        """Fit the ensemble, round by round.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, used as float32, without missing values. Sparse X is fitted by scikit-learn.

        y : array-like of shape (n_samples,)
            Classes (labels or strings), or target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. Splits are not considered if they leave a child without positive weight.

        monitor : callable, default=None
            Called after every round as ``monitor(i, self, variables)`` with the number of the round and scikit-learn's
            local variables by name; if it returns True, this round is the last.

        Returns
        -------
        self : object
            The fitted ensemble. If the fit fails, the former fit stays.
        """
        with keep_former_fit(self):
            return self._fit(X, y, sample_weight, monitor)

    @with_callbacks
    def _fit(self, X, y, sample_weight, monitor):
        self._given = X, y, sample_weight
        try:
            plain = self._plain_data(X, y, sample_weight, monitor)
            if plain is not None:
                return self._fit_plain(*plain, monitor)
            return super().fit(X, y, sample_weight, monitor)
        finally:
            self.__dict__.pop("_given", None)

    def _plain_data(self, X, y, sample_weight, monitor):
        """Return X as float32 and y if data and settings need none of scikit-learn's checks and detours, else None.

        Those take a millisecond: as long as ten rounds on a small table.
        """
        if sample_weight is not None or self.init is not None or self.n_iter_no_change is not None:
            return None
        if self.warm_start or self.criterion != "deprecated" or not is_plain_target(y) or y.ndim != 1:
            return None
        if monitor is None:
            X = _in_columns(X)
        X = take_plain_features(X, lambda: False)
        return None if X is None or len(X[0]) != len(y) else (X[0], y)

    def _fit_plain(self, X, y, monitor):
        """Do what scikit-learn's ``fit`` does, for what `_plain_data` returned."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        self._clear_state()
        self.__dict__.pop("feature_names_in_", None)
        n_samples, self.n_features_in_ = X.shape
        y = np.ascontiguousarray(self._encode_y(y=y, sample_weight=None))
        sample_weight = np.broadcast_to(1.0, n_samples)
        self._set_max_features()
        self._loss = self._get_loss(sample_weight=sample_weight)
        self._init_state()
        fit_dummy(self.init_, X, y, codes_of_classes=is_classifier(self))
        raw = np.empty((n_samples, self.n_trees_per_iteration_))
        raw[:] = raw_of_dummy(self.init_, self._loss)
        self._rng = check_random_state(self.random_state)
        n_rounds = self._fit_stages(X, y, raw, sample_weight, self._rng, None, None, None, 0, monitor)
        if n_rounds != len(self.estimators_):
            self.estimators_ = self.estimators_[:n_rounds]
            self.train_score_ = self.train_score_[:n_rounds]
            if self.subsample < 1.0:
                self.oob_improvement_ = self.oob_improvement_[:n_rounds]
                self.oob_scores_ = self.oob_scores_[:n_rounds]
                self.oob_score_ = self.oob_scores_[-1]
        self.n_estimators_ = n_rounds
        return self

    def _takes_scheduled_rate(self):
        """Return why a callback cannot set the learning rate, or an empty text where nothing hinders it."""
        if self.learning_rate == 0.0:
            return (
                "learning_rate=0 multiplies every tree, whatever its own rate; set it to any number above 0"
            )
        return ""

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.ensemble.ensemble_sharing import BoostingSharing

        return BoostingSharing()

    def _fit_stages(
        self,
        X,
        y,
        raw_predictions,
        sample_weight,
        random_state,
        X_val,
        y_val,
        sample_weight_val,
        begin_at_stage=0,
        monitor=None,
    ):
        """Do the rounds, and return their number: called by scikit-learn's ``fit`` with data that it has checked."""
        if sp.issparse(X):
            note_fallback(self, "sparse X")
            self.fit_engine_ = "scikit-learn"
            reports = RoundReports(self, 0, self._given, dict)
            n_rounds = super()._fit_stages(
                X,
                y,
                raw_predictions,
                sample_weight,
                random_state,
                X_val,
                y_val,
                sample_weight_val,
                begin_at_stage,
                monitor,
            )
            reports.fitted_so_far = functools.partial(self._fitted_so_far, n_rounds)
            reports.finish()
            return n_rounds
        self.fit_engine_ = "fastfit"
        rounds = _Rounds(self, X, y, raw_predictions, sample_weight, random_state)
        early_stopping = None
        if self.n_iter_no_change is not None:
            early_stopping = _EarlyStopping(self, X_val, y_val, sample_weight_val, rounds.factor)
        reporter = None
        if self.verbose:
            reporter = VerboseReporter(verbose=self.verbose)
            reporter.init(self, begin_at_stage)
        i = begin_at_stage
        n_rounds = self.n_estimators - begin_at_stage
        reports = RoundReports(self, n_rounds, self._given, lambda: self._fitted_so_far(i + 1))
        is_watched = reports.wanted or early_stopping or reporter or monitor is not None
        if n_rounds > 0 and not is_watched and rounds.are_small:
            do_small_rounds(rounds, begin_at_stage, n_rounds)
            return self.n_estimators
        for i in range(begin_at_stage, self.n_estimators):
            with reports.round() as report:
                rounds.do_round(i)
                if reporter is not None:
                    reporter.update(i, self)
                should_stop = monitor is not None and monitor(i, self, rounds.variables(i, X, begin_at_stage))
                should_stop = should_stop or (early_stopping is not None and early_stopping.must_stop(i))
            if should_stop or report.wants_to_stop:
                break
        reports.finish()
        return i + 1

    def _fitted_so_far(self, n_rounds):
        """Return the attributes of an ensemble of so many rounds that can predict."""
        of_rounds = ("estimators_", "train_score_", "oob_improvement_", "oob_scores_")
        attributes = {name: getattr(self, name)[:n_rounds] for name in of_rounds if hasattr(self, name)}
        return {**attributes, "n_estimators_": n_rounds}


def _in_columns(X):
    """Return a large array of float64 as float32 with columns in memory, as trees read it, anything else as it is.

    scikit-learn keeps its own float32 in rows; to have both would take as much memory as all of its fit.
    """
    if type(X) is not np.ndarray or X.dtype != np.float64 or X.ndim != 2 or X.size < LARGE_X:
        return X
    X_t = np.empty(X.shape[::-1], np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, len(X), ROWS_AT_ONCE):
            X_t[:, start : start + ROWS_AT_ONCE] = X[start : start + ROWS_AT_ONCE].T
    return X_t.T


class ClassifierFitting(BoostingFitting):
    """Mixin before scikit-learn's class for classification."""

    def _encode_y(self, y, sample_weight):
        """Set what is known of the classes, and return their numbers as float64."""
        if y.ndim != 1:
            return super()._encode_y(y, sample_weight)
        (self.classes_,), codes = encode_labels(y.reshape(-1, 1))
        self.n_classes_ = len(self.classes_)
        self.n_trees_per_iteration_ = 1 if self.n_classes_ <= 2 else self.n_classes_
        n_weighted = self.n_classes_
        if sample_weight is not None:
            n_weighted = np.count_nonzero(np.bincount(codes[:, 0], sample_weight))
        if n_weighted < 2:
            raise ValueError(
                f"y contains {n_weighted} class after sample_weight trimmed classes with zero weights, while a minimum "
                "of 2 classes are required."
            )
        return codes[:, 0].astype(np.float64)


class _EarlyStopping:
    """Tells when the loss on the rows that are kept back has stopped to improve."""

    def __init__(self, estimator, X_val, y_val, sample_weight_val, factor):
        self.loss = estimator._loss
        self.tol = estimator.tol
        self.y = y_val
        self.sample_weight = sample_weight_val
        self.factor = factor
        self.history = np.full(estimator.n_iter_no_change, np.inf)
        # scikit-learn's own: it walks down each tree once that tree is there.
        self.predictions = BaseGradientBoosting._staged_raw_predict(estimator, X_val, check_input=False)

    def must_stop(self, i):
        value = self.factor * self.loss(self.y, next(self.predictions), self.sample_weight)
        if np.any(value + self.tol < self.history):
            self.history[i % len(self.history)] = value
            return False
        return True


class _Rounds:
    """The rounds of one fit: gradients, a tree for each column of them, and the steps of its leaves."""

    def __init__(self, estimator, X, y, raw_predictions, sample_weight, random_state):
        from fastfit.training.boosting_trees import BoostedTrees
        from fastfit.training.tree_growth import Target

        self.estimator = estimator
        self.loss = estimator._loss
        self.y = y
        self.sample_weight = sample_weight
        self.random_state = random_state
        self.n_samples, self.n_features = X.shape
        # Ones change nothing, and kernels without weights are faster.
        self.weight = None if (sample_weight == 1.0).all() else sample_weight
        self.has_bag = estimator.subsample < 1.0
        self.n_in_bag = max(1, int(estimator.subsample * self.n_samples))
        self.in_bag = np.ones(self.n_samples, dtype=bool)
        self.factor = 2 if isinstance(self.loss, HALVED_LOSSES) else 1
        self.template = self._make_template()
        self.options = growth_options(
            self.template, Target(y.reshape(-1, 1), None), self.n_features, self.weight
        )
        self.raw = np.ascontiguousarray(raw_predictions)
        self.kind, self.step_factor = _kind_of_steps(self.loss)
        # For each tree of a round: numbers, or 0 and 1.
        self.targets = [y]
        if self.loss.is_multiclass:
            self.targets = [(y == k).astype(np.float64) for k in range(self.raw.shape[1])]
        n_threads = threads_for(WORK_PER_VALUE * X.size, estimator.n_jobs)
        n_rows = self.n_in_bag if self.has_bag else self.n_samples
        self.trees = BoostedTrees(X, self.options, n_rows, self.weight is not None, n_threads)
        # Nothing that lasts longer than a step is kept in it.
        self.loss_values = self.trees.scratch[2]
        self.small = self._make_small(X)

    def _make_small(self, X):
        """Return the `SmallBoosting` for these data, or None if they are not small."""
        from fastfit.training import small_boosting

        is_better_known = self.trees.frequent is not None
        if is_better_known or not small_boosting.covers(X, self.options, self.template.ccp_alpha):
            return None
        return small_boosting.SmallBoosting(
            self.trees.data.X_t,
            np.stack(self.targets),
            self.raw,
            np.ones(self.n_samples) if self.weight is None else self.weight,
            self.options,
            self.kind,
            self.step_factor,
            self.estimator.learning_rate,
        )

    @property
    def are_small(self):
        """Whether a round is one call of a kernel."""
        return self.small is not None and self.kind is not None and not self.has_bag

    def _make_template(self):
        of_ensemble = {name: getattr(self.estimator, name) for name in TREE_PARAMETERS}
        template = DecisionTreeRegressor(random_state=self.random_state, **of_ensemble)
        template.n_features_in_ = self.n_features
        template.n_outputs_ = 1
        template.fit_engine_ = "fastfit"
        return template

    def do_round(self, i):
        """Fit the trees of round i, and score them."""
        estimator = self.estimator
        if not self.has_bag:
            self._fit_trees(i)
            estimator.train_score_[i] = self.mean_loss_of_all(self.raw)
            return
        self.in_bag = _random_sample_mask(self.n_samples, self.n_in_bag, self.random_state)
        out_of_bag = np.flatnonzero(~self.in_bag)
        former = self._mean_losses(out_of_bag)[0] if i == 0 else estimator.oob_scores_[i - 1]
        self._fit_trees(i)
        estimator.train_score_[i], own = self._mean_losses(np.flatnonzero(self.in_bag), out_of_bag)
        estimator.oob_scores_[i] = own
        estimator.oob_improvement_[i] = former - own
        estimator.oob_score_ = estimator.oob_scores_[-1]

    def variables(self, i, X, begin_at_stage):
        """Return what a monitor may look at, by scikit-learn's names."""
        return {
            "self": self.estimator,
            "i": i,
            "X": X,
            "y": self.y,
            "raw_predictions": self.raw,
            "sample_weight": self.sample_weight,
            "sample_mask": self.in_bag,
            "random_state": self.random_state,
            "begin_at_stage": begin_at_stage,
            "n_samples": self.n_samples,
            "n_inbag": self.n_in_bag,
            "do_oob": self.has_bag,
            "factor": self.factor,
        }

    def mean_loss_of_all(self, raw):
        """Return the mean loss of all rows."""
        values = self._losses(raw)
        if self.weight is None:
            return self.factor * (np.add.reduce(values) / self.n_samples)
        return self.factor * (np.add.reduce(values * self.weight) / np.add.reduce(self.weight))

    def _mean_losses(self, *groups):
        """Return the mean loss of each group of rows, NaN of none."""
        values = self._losses(self.raw)
        means = []
        for rows in groups:
            own = values.take(rows)
            weight = None if self.weight is None else self.weight.take(rows)
            means.append(self.factor * np.average(own, weights=weight))
        return means

    def _losses(self, raw):
        return self.loss.loss(
            y_true=self.y, raw_prediction=raw, sample_weight=None, loss_out=self.loss_values
        )

    def _fit_trees(self, i):
        from fastfit.training.boosting_leaves import weighted_percentile

        loss = self.loss
        if isinstance(loss, losses.HuberLoss):
            errors = np.abs(self.y - self.raw[:, 0])
            loss.closs.delta = float(weighted_percentile(errors, self.weight, 100 * loss.quantile))
        weight = self.weight
        if self.has_bag:
            weight = self.in_bag.astype(np.float64)
            if self.weight is not None:
                weight *= self.weight
            if self.options.min_weight_leaf > 0.0:
                least = self.template.min_weight_fraction_leaf * weight.sum()
                self.options = self.options._replace(min_weight_leaf=float(least))
        if self.small is not None:
            self._do_small_round(i, weight)
            return
        neg_gradient = loss.gradient(y_true=self.y, raw_prediction=self.raw, sample_weight=None)
        np.negative(neg_gradient, out=neg_gradient)
        neg_gradient = neg_gradient.reshape(self.n_samples, -1)
        for k in range(neg_gradient.shape[1]):
            self._fit_tree(i, k, np.ascontiguousarray(neg_gradient[:, k]), weight)

    def _do_small_round(self, i, weight):
        small = self.small
        if self.has_bag:
            small.set_bag(self.in_bag, weight, self.options)
        gradient = small.gradient
        if not self.loss.is_multiclass:
            gradient = gradient[:, 0]
        scale = self._scale_of_steps()
        former_raw = None if scale == 1.0 else self.raw.copy()
        self.loss.gradient(y_true=self.y, raw_prediction=self.raw, sample_weight=None, gradient_out=gradient)
        # One by one scikit-learn's trees would draw the same.
        seeds = self.random_state.randint(0, MAX_SEED, size=len(self.targets))
        trees = small.do_round(seeds)
        if former_raw is not None:
            self.raw[:] = former_raw  # the kernel has added the steps as they were
        for k, grown in enumerate(trees):
            if self.kind is None:
                steps = self._residual_steps(grown.leaf_rows, k, weight)
                grown.values[grown.leaf_rows.leaf_nodes, 0, 0] = steps
            if scale != 1.0:
                grown.values[:] *= scale
            if self.kind is None or scale != 1.0:
                self.raw[:, k] += self.estimator.learning_rate * grown.values[:, 0, 0].take(grown.leaves)
            self._keep_tree(i, k, grown)

    def _keep_tree(self, i, k, grown):
        """Make an estimator of a tree, and return it."""
        estimator = unfitted_tree(self.template, self.random_state)
        estimator.tree_ = _make_tree(self.template, grown)
        estimator.max_features_ = self.options.max_features
        self.estimator.estimators_[i, k] = estimator
        return estimator

    def _fit_tree(self, i, k, neg_gradient, weight):
        from fastfit.training.boosting_leaves import LeafRows, newton_steps

        in_bag = self.in_bag if self.has_bag else None
        seed = draw_seed(self.random_state)
        grown = self.trees.grow(neg_gradient, in_bag, weight, self.options, seed)
        estimator = self._keep_tree(i, k, grown)
        if estimator.ccp_alpha != 0.0:
            estimator._prune_tree()
            nodes = np.ascontiguousarray(estimator.tree_.__getstate__()["nodes"])
            nodes = nodes.view(np.int64).reshape(len(nodes), -1)
            grown = grown._replace(nodes=nodes, leaves=None, leaf_rows=None)
        leaves = self.trees.find_leaves(grown.nodes) if grown.leaves is None else grown.leaves
        values = estimator.tree_.value[:, 0, 0]
        if self.kind != "mean":
            leaf_rows = LeafRows(leaves, grown.nodes, in_bag) if grown.leaf_rows is None else grown.leaf_rows
            if self.kind is None:
                steps = self._residual_steps(leaf_rows, k, weight)
            else:
                steps = newton_steps(
                    self.kind,
                    leaf_rows,
                    self.targets[k],
                    neg_gradient,
                    weight,
                    self.step_factor,
                    self.trees.scratch,
                )
            values[leaf_rows.leaf_nodes] = steps
        scale = self._scale_of_steps()
        if scale != 1.0:
            values *= scale
        steps_of_rows = self.loss_values
        (self.estimator.learning_rate * values).take(leaves, out=steps_of_rows, mode="clip")
        self.raw[:, k] += steps_of_rows

    def _scale_of_steps(self):
        """Return what the values of this round's trees are multiplied by.

        Whoever predicts multiplies the values of all trees by `learning_rate`: fastfit, scikit-learn's staged
        predictions and partial dependence, and whatever reads the trees. So a rate that a callback sets for one round
        goes into the values of its trees, relative to that constant.
        """
        rate = scheduled_rate_of(self.estimator)
        return 1.0 if rate is None else rate / self.estimator.learning_rate

    def _residual_steps(self, leaf_rows, k, weight):
        """Return the steps of leaves for losses that have no second derivative."""
        from fastfit.training.boosting_leaves import residual_steps

        loss = self.loss
        residuals = self.y - self.raw[:, k]
        if isinstance(loss, losses.HuberLoss):
            return residual_steps(leaf_rows, residuals, weight, 50, loss.closs.delta)
        rank = 100 * loss.closs.quantile if isinstance(loss, losses.PinballLoss) else 50
        return residual_steps(leaf_rows, residuals, weight, rank)


def raw_of_dummy(init, loss):
    """Return the raw predictions of one sample by a dummy that is fitted: bit for bit those of scikit-learn."""
    if isinstance(init, DummyRegressor):
        return loss.link.link(np.float64(init.constant_[0, 0]))
    smallest = np.finfo(np.float64).eps
    shares = np.clip(init.class_prior_, smallest, 1.0 - smallest)
    if loss.is_multiclass:
        return np.log(shares / np.exp(np.mean(np.log(shares))))
    return loss.link.link(shares[1:])


def _kind_of_steps(loss):
    """Return how the steps of leaves are computed, and what their numerators are multiplied by."""
    if isinstance(loss, losses.HalfSquaredError):
        return "mean", 1.0
    if isinstance(loss, losses.HalfBinomialLoss):
        return "binomial", 1.0
    if isinstance(loss, losses.HalfMultinomialLoss):
        return "binomial", (loss.n_classes - 1) / loss.n_classes
    if isinstance(loss, losses.ExponentialLoss):
        return "exponential", 1.0
    return None, 1.0


def _make_tree(template, grown):
    """Return scikit-learn's tree of what was grown."""
    tree = Tree(template.n_features_in_, _ONE_VALUE, 1)
    tree.__setstate__(
        {
            "max_depth": int(grown.max_depth),
            "node_count": len(grown.nodes),
            "nodes": grown.nodes.view(NODE_DTYPE).ravel(),
            "values": grown.values,
        }
    )
    return tree
