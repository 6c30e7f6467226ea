"""The rounds of a fit: trees from fastfit's kernels, as scikit-learn's tree predictors."""

from typing import NamedTuple

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.common import G_H_DTYPE, PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from fastfit.fit_callbacks import scheduled_rate_of

# Names of the kernels' losses; those of regression are scikit-learn's.
BINARY, MULTICLASS = "log_loss_binary", "log_loss_multiclass"


class Sampling(NamedTuple):
    """Rows and features that are drawn for each round."""

    rng: np.random.Generator
    subsample: float
    colsample_bytree: float

    def draw(self, n_samples, n_features):
        """Return (row indices in order or None, mask of the features or None) of one round."""
        rows = columns = None
        if self.subsample < 1.0:
            n_drawn = max(1, int(self.subsample * n_samples))
            rows = np.sort(self.rng.permutation(n_samples)[:n_drawn]).astype(np.uint32)
        if self.colsample_bytree < 1.0:
            n_drawn = max(1, int(self.colsample_bytree * n_features))
            columns = np.zeros(n_features, dtype=bool)
            columns[self.rng.permutation(n_features)[:n_drawn]] = True
        return rows, columns


def make_predictors(trees):
    """Return scikit-learn's ``TreePredictor`` of each grown tree, their nodes in one array.

    Parameters
    ----------
    trees : list of fastfit.training.histogram_boosting.GrownTree

    Returns
    -------
    predictors : list of TreePredictor
    """
    from fastfit.training.histogram_boosting import predictor_nodes

    nodes = predictor_nodes(trees, PREDICTOR_RECORD_DTYPE)
    return [
        TreePredictor(of_tree, tree.binned_left_cat_bitsets, tree.raw_left_cat_bitsets)
        for of_tree, tree in zip(nodes, trees, strict=True)
    ]


class Rounds:
    """Boosting of one estimator, round by round.

    Parameters
    ----------
    estimator : HistGradientBoostingFitting
        Its ``_predictors`` grow.
    training, validation : Part
        The latter may be None.
    raw_training, raw_validation : ndarray of shape (n_samples, n_trees_per_iteration), F-contiguous, or None
        Predictions of the trees there are, which the rounds update in place.
    options : fastfit.training.histogram_boosting.GrowthOptions
    sampling : Sampling or None
    """

    def __init__(self, estimator, training, validation, raw_training, raw_validation, options, sampling=None):
        from fastfit.training.histogram_boosting import HistogramBooster

        self.estimator = estimator
        self.training, self.validation = training, validation
        self.raw_training, self.raw_validation = raw_training, raw_validation
        self.sampling = sampling
        self.loss = loss_name(estimator)
        self.quantile = getattr(estimator, "quantile", None) if self.loss == "quantile" else None
        self.feature_rng = estimator._feature_subsample_rng if options.max_features < 1.0 else None
        self.booster = HistogramBooster(
            training.bins,
            self.loss,
            training.y,
            training.sample_weight,
            raw_training,
            options,
            quantile=self.quantile,
            n_jobs=estimator.n_jobs,
        )
        self.losses = []  # the mean training loss at the start of each round

    def run_all(self, n_rounds):
        """Grow so many rounds at once: the least that Python has to do."""
        rounds = [self._grow() for _ in range(n_rounds)]
        predictors = iter(make_predictors([tree for trees in rounds for tree in trees]))
        self.estimator._predictors += [[next(predictors) for _ in trees] for trees in rounds]

    def run_one(self):
        """Grow one round."""
        rate = scheduled_rate_of(self.estimator)
        if rate is not None:
            self.booster.set_learning_rate(rate)
        trees = self._grow()
        self.estimator._predictors.append(make_predictors(trees))
        if self.raw_validation is not None:
            self._add_to_validation(trees)

    def _grow(self):
        rows = columns = gradients = hessians = None
        if self.sampling is not None:
            rows, columns = self.sampling.draw(*self.training.bins.rows.shape)
        if self.loss is None:
            self.losses.append(self.training_loss())
            gradients, hessians = self._gradients()
        trees = self.booster.boost_round(
            feature_rng=self.feature_rng, rows=rows, columns=columns, gradients=gradients, hessians=hessians
        )
        self.losses += self.booster.loss_curve[len(self.losses) :]
        return trees

    def training_loss(self):
        """Return the mean loss of the training data."""
        if self.loss is None:
            training = self.training
            return self.estimator._loss(training.y, self.raw_training, training.sample_weight)
        return self.booster.loss_value()

    def validation_loss(self):
        """Return the mean loss of the validation data."""
        from fastfit.training.histogram_boosting import loss_value

        validation = self.validation
        if self.loss is None:
            return self.estimator._loss(validation.y, self.raw_validation, validation.sample_weight)
        return loss_value(
            self.loss, validation.y, self.raw_validation, validation.sample_weight, quantile=self.quantile
        )

    def _add_to_validation(self, trees):
        from fastfit.training.boosting_prediction import add_tree_binned

        for k, tree in enumerate(trees):
            add_tree_binned(
                tree, self.validation.bins.rows, self.training.bins.missing_bin, self.raw_validation[:, k]
            )

    def _gradients(self):
        """Return gradients and hessians of a loss object of scikit-learn's."""
        loss, training = self.estimator._loss, self.training
        n_samples = len(training.y)
        gradients, hessians = loss.init_gradient_and_hessian(n_samples, dtype=G_H_DTYPE, order="F")
        given = {
            "y_true": training.y,
            "raw_prediction": self.raw_training,
            "sample_weight": training.sample_weight,
        }
        if loss.constant_hessian:
            loss.gradient(**given, gradient_out=gradients)
        else:
            loss.gradient_hessian(**given, gradient_out=gradients, hessian_out=hessians)
        return gradients.reshape(n_samples, -1), hessians.reshape(len(hessians), -1)


def loss_name(estimator):
    """Return the kernels' name of the loss, or None for an object."""
    if not isinstance(estimator.loss, str):
        return None
    if estimator.loss == "log_loss":
        return BINARY if estimator.n_trees_per_iteration_ == 1 else MULTICLASS
    return estimator.loss
