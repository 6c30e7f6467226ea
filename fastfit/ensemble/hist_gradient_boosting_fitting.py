"""What both estimators of gradient boosting on histograms share in ``fit``: scikit-learn's checks around our rounds."""

from itertools import chain

import numpy as np
from sklearn import config_context, get_config
from sklearn._loss.loss import BaseLoss
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_monotonic_cst,
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
)

from fastfit.ensemble.boosting_callbacks import RoundReports
from fastfit.ensemble.hist_gradient_boosting_arguments import own_arguments
from fastfit.ensemble.hist_gradient_boosting_bins import Part, bin_rows, fit_bin_mapper
from fastfit.ensemble.hist_gradient_boosting_categories import RareCategories
from fastfit.ensemble.hist_gradient_boosting_importances import feature_importances
from fastfit.ensemble.hist_gradient_boosting_labels import multinomial_baseline
from fastfit.ensemble.hist_gradient_boosting_messages import Messages
from fastfit.ensemble.hist_gradient_boosting_pickling import CompactPickles
from fastfit.ensemble.hist_gradient_boosting_rounds import MULTICLASS, Rounds, Sampling, loss_name
from fastfit.ensemble.hist_gradient_boosting_validation import EarlyStopping, split_rows
from fastfit.fallback import note_fallback
from fastfit.former_fit import keep_former_fit
from fastfit.parameters import ValidatesChangedParameters
from fastfit.tree.plain_arrays import is_plain_target

LARGEST_SEED = np.iinfo(np.uint32).max


class HistGradientBoostingFitting(
    CompactPickles, RareCategories, ValidatesChangedParameters, CallbackSupportMixin
):
    """Mixin before scikit-learn's class: the same rounds of trees, grown by fastfit's kernels."""

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the trees, round by round.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data. NaN stands for a missing value; each split decides on which side those go.

        y : array-like of shape (n_samples,)
            Classes (labels or strings) or target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample.

        X_val, y_val, sample_weight_val : array-like, default=None
            Data to score for early stopping, instead of a part of the training data.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        # As around scikit-learn's ``fit``: what it calls with parameters of ours has no words of its own for them.
        with config_context(skip_parameter_validation=True), keep_former_fit(self):
            return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    @property
    def feature_importances_(self):
        """Share of each feature in the gains of all splits, or in their number: shape (n_features,).

        The shares sum to 1, unless no tree has a split, when all are zero.
        """
        check_is_fitted(self)
        return feature_importances(self, self.importance_type)

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.ensemble.ensemble_sharing import HistogramBoostingSharing

        return HistogramBoostingSharing()

    @with_callbacks
    def _fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val):
        reason = self._uncovered()
        if reason is not None:
            return self._fall_back(
                reason, X, y, sample_weight, X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val
            )
        given = X, y, sample_weight
        is_warm = self.warm_start and self._is_fitted()
        messages = Messages(self)
        X, known_categories = self._preprocess_X(X, reset=True)
        is_plain = is_plain_target(y) and y.ndim == 1
        y = self._encode_y(np.ascontiguousarray(y) if is_plain else _check_y(y, estimator=self))
        check_consistent_length(X, y)
        if not is_warm:
            self.__dict__.pop("_fitted_with_sw", None)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
            self._fitted_with_sw = True  # partial dependence by recursion does not know of weights
        sample_weight = self._finalize_sample_weight(sample_weight, y)
        of_validation = self._check_validation_data(X_val, y_val, sample_weight_val)
        self._draw_seeds(is_warm)
        options = self._growth_options(X.shape[1])
        n_samples, self._n_features = X.shape
        self._loss = self.loss if isinstance(self.loss, BaseLoss) else self._get_loss(sample_weight)
        self.do_early_stopping_ = n_samples > 10_000 if self.early_stopping == "auto" else self.early_stopping
        self._use_validation_data = self.validation_fraction is not None or of_validation is not None
        parts = self._make_parts(X, y, sample_weight, of_validation, known_categories, messages)
        del X, y, of_validation
        self._boost(*parts, options, is_warm, given, messages)
        self.fit_engine_ = "fastfit"
        return self

    def _takes_scheduled_rate(self):
        """Return why a callback cannot set the learning rate, or an empty text: nothing hinders it."""
        return ""

    def _uncovered(self):
        """Return what the kernels do not cover in this setting, or None."""
        if isinstance(self.loss, BaseLoss) and not self.loss.differentiable:
            return "a loss object that is not differentiable"
        return None

    def _fall_back(self, reason, X, y, sample_weight, **validation):
        own = own_arguments(self)
        if own:
            raise ValueError(f"{own[0]}={getattr(self, own[0])!r} does not work with {reason}.")
        note_fallback(self, reason)
        if self.warm_start and self._is_fitted():
            # scikit-learn appends to this list, and it has to be the former one again if that fails.
            self._predictors = list(self._predictors)
        super().fit(X, y, sample_weight, **validation)
        self.__dict__.pop("loss_curve_", None)
        self.fit_engine_ = "scikit-learn"
        return self

    def _check_validation_data(self, X_val, y_val, sample_weight_val):
        """Return (X, y, weights) of the validation data, checked, or None where none are given."""
        if X_val is None and y_val is None:
            return None
        if y_val is None:
            raise ValueError("X_val is provided, but y_val was not provided.")
        if X_val is None:
            raise ValueError("y_val is provided, but X_val was not provided.")
        X_val = self._preprocess_X(X_val, reset=False)
        y_val = self._encode_y_val(_check_y(y_val, estimator=self))
        check_consistent_length(X_val, y_val)
        if sample_weight_val is not None:
            sample_weight_val = _check_sample_weight(sample_weight_val, X_val, dtype=np.float64)
        if self.early_stopping is False:
            raise ValueError(
                "X_val and y_val are passed to fit while at the same time early_stopping is False. When passing "
                "X_val and y_val to fit,early_stopping should be set to either 'auto' or True."
            )
        return X_val, y_val, sample_weight_val

    def _draw_seeds(self, is_warm):
        """Draw what scikit-learn draws, in its order; a warm start goes on with the streams there are."""
        rng = check_random_state(self.random_state)
        if not is_warm:
            self._random_seed = rng.randint(LARGEST_SEED, dtype="u8")
            self._feature_subsample_rng = np.random.default_rng(rng.randint(LARGEST_SEED, dtype="u8"))
            self.__dict__.pop("_sampling_rng", None)

    def _sampling(self):
        """Return how rows and features are drawn for each round, or None."""
        if self.subsample == 1.0 and self.colsample_bytree == 1.0:
            return None
        if not hasattr(self, "_sampling_rng"):
            self._sampling_rng = np.random.default_rng([int(self._random_seed), 1])
        return Sampling(self._sampling_rng, self.subsample, self.colsample_bytree)

    def _growth_options(self, n_features):
        from fastfit.training.histogram_boosting import GrowthOptions

        self._validate_parameters()
        monotonic_cst = _check_monotonic_cst(self, self.monotonic_cst)
        if self.is_categorical_ is not None:
            # The categories come first among the preprocessed columns.
            if np.any(monotonic_cst[self.is_categorical_]):
                raise ValueError("Categorical features cannot have monotonic constraints.")
            monotonic_cst = np.concatenate(
                [monotonic_cst[self.is_categorical_], monotonic_cst[~self.is_categorical_]]
            )
        return GrowthOptions(
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            max_features=self.max_features,
            min_gain_to_split=self.min_gain_to_split,
            reg_alpha=self.reg_alpha,
            monotonic_cst=monotonic_cst if np.any(monotonic_cst) else None,
            interaction_cst=self._check_interaction_cst(n_features),
        )

    def _make_parts(self, X, y, sample_weight, of_validation, known_categories, messages):
        """Bin the data; return the `Part` to learn from and the one to validate with, or None."""
        rows = validation_rows = None
        if self.do_early_stopping_ and self.validation_fraction is not None and of_validation is None:
            rows, validation_rows = split_rows(
                len(X),
                y,
                validation_fraction=self.validation_fraction,
                stratify=hasattr(self._loss, "predict_proba"),
                seed=self._random_seed,
            )
        y_training, weight_training = y, sample_weight
        if rows is not None:
            y_training, weight_training = y[rows], _take(sample_weight, rows)
        with messages.binning("training", X, rows):
            self._bin_mapper = fit_bin_mapper(
                X,
                rows,
                weight_training,
                max_bins=self.max_bins,
                is_categorical=self._is_categorical_remapped,
                known_categories=known_categories,
                seed=self._random_seed,
                n_jobs=self.n_jobs,
            )
            bins = bin_rows(self._bin_mapper, X, rows, for_growth=True, n_jobs=self.n_jobs)
        training = Part(bins, y_training, weight_training)
        if validation_rows is not None:
            of_validation = X, y[validation_rows], _take(sample_weight, validation_rows)
        if of_validation is None:
            return training, None
        X, y, sample_weight = of_validation
        with messages.binning("validation", X, validation_rows):
            bins = bin_rows(self._bin_mapper, X, validation_rows, for_growth=False, n_jobs=self.n_jobs)
        return training, Part(bins, y, sample_weight)

    def _boost(self, training, validation, options, is_warm, given, messages):
        """Add rounds until there are `max_iter`, or early stopping or a callback ends it."""
        if is_warm and self.max_iter < len(self._predictors):
            raise ValueError(
                f"max_iter={self.max_iter} must be larger than or equal to n_iter_={len(self._predictors)} when "
                "warm_start==True"
            )
        self._start_lists(training, is_warm)
        if not self.do_early_stopping_:
            validation = None
        raw = self._raw_of(training, is_warm)
        raw_validation = None if validation is None else self._raw_of(validation, is_warm)
        rounds = Rounds(self, training, validation, raw, raw_validation, options, self._sampling())
        stopping = EarlyStopping(self, rounds, training, validation) if self.do_early_stopping_ else None
        if stopping is not None and not is_warm:
            stopping.score()
        n_rounds = self.max_iter - len(self._predictors)
        messages.begin()
        reports = RoundReports(self, n_rounds, given, self._fitted_so_far)
        if stopping is None and not reports.wanted and not messages.of_rounds:
            rounds.run_all(n_rounds)
        else:
            self._run_watched(rounds, n_rounds, stopping, reports, messages)
        reports.finish()
        messages.finish()
        self._finish_lists(rounds)

    def _fitted_so_far(self):
        return {"_predictors": list(self._predictors), "_in_fit": None}

    def _run_watched(self, rounds, n_rounds, stopping, reports, messages):
        for _ in range(n_rounds):
            with messages.round(), reports.round() as report:
                rounds.run_one()
                should_stop = stopping is not None and stopping.score()
            if should_stop or report.wants_to_stop:
                break

    def _start_lists(self, training, is_warm):
        """Begin the attributes that grow with the rounds: as new lists, so that a failed fit leaves the old ones."""
        if is_warm:
            self._predictors = list(self._predictors)
            self.train_score_ = self.train_score_.tolist()
            self.validation_score_ = self.validation_score_.tolist()
            return
        self._baseline_prediction = self._find_baseline(training).reshape((1, -1))
        self._predictors = []
        self._scorer = None
        self.train_score_, self.validation_score_ = [], []
        self.loss_curve_ = np.empty(0)

    def _find_baseline(self, training):
        """Return the best constant raw prediction."""
        y, sample_weight = training.y, training.sample_weight
        if sample_weight is None and loss_name(self) == MULTICLASS:
            return multinomial_baseline(y, self.n_trees_per_iteration_)
        return self._loss.fit_intercept_only(y_true=y, sample_weight=sample_weight)

    def _finish_lists(self, rounds):
        self.train_score_ = np.asarray(self.train_score_)
        self.validation_score_ = np.asarray(self.validation_score_)
        former = getattr(self, "loss_curve_", np.empty(0))
        self.loss_curve_ = np.concatenate([former, rounds.losses])
        self.__dict__.pop("_in_fit", None)

    def _raw_of(self, part, is_warm):
        """Return the raw predictions, of the trees there are, of binned data: (n_samples, n_trees_per_iteration)."""
        if is_warm and self._predictors:
            from fastfit.training.boosting_prediction import predict_binned

            raw = predict_binned(
                self._pack(self._predictors),
                part.bins.rows,
                self._bin_mapper.missing_values_bin_idx_,
                self._baseline_prediction,
                n_jobs=self.n_jobs,
            )
            return np.asfortranarray(raw)
        raw = np.empty((len(part.y), self.n_trees_per_iteration_), dtype=np.float64, order="F")
        raw[:] = self._baseline_prediction
        return raw

    def _all_predictors(self):
        """Iterate over the trees of all rounds."""
        return chain.from_iterable(self._predictors)


def _take(values, rows):
    return None if values is None else values[rows]
