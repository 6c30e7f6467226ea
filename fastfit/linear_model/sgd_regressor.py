"""Linear regression by stochastic gradient descent."""

import numpy as np
from sklearn import linear_model as sklearn_linear_model
from sklearn.utils import check_random_state

from fastfit.linear_model.prediction import predict_plain_array
from fastfit.linear_model.sgd_fitting import (
    MAX_SEED,
    PARAMETER_CONSTRAINTS,
    SGDFitting,
    score_given,
    score_held_out,
    start_of,
)


class SGDRegressor(SGDFitting, sklearn_linear_model.SGDRegressor):
    """Linear model fitted by minimising a regularised loss with stochastic gradient descent.

    The gradient of the loss is estimated from one sample, or from a batch, at a time, and the model is updated along
    the way with a decreasing step size. A drop-in replacement of :class:`sklearn.linear_model.SGDRegressor` with the
    same arguments and the same result; the arguments after ``average`` are fastfit's own.

    Parameters
    ----------
    loss : {'squared_error', 'huber', 'epsilon_insensitive', 'squared_epsilon_insensitive'}, default='squared_error'
        The loss: half the squared error; the same up to an error of ``epsilon`` and linear beyond; the error beyond
        ``epsilon``; or its square.

    penalty : {'l2', 'l1', 'elasticnet', None}, default='l2'
        The penalty on the weights: half their squared L2 norm, their L1 norm, a mixture of both, or none.

    alpha : float, default=0.0001
        Factor of the penalty, in [0, inf). The schedule 'optimal' computes its rate from it as well.

    l1_ratio : float or None, default=0.15
        Share of the L1 norm in the penalty 'elasticnet', in [0, 1].

    fit_intercept : bool, default=True
        Whether to learn an intercept.

    max_iter : int, default=1000
        Passes over the training data (epochs) at the most. Only for ``fit``.

    tol : float or None, default=1e-3
        Training stops when the mean objective of an epoch (the validation score with early stopping) is not better than
        the best so far by ``tol`` in ``n_iter_no_change`` epochs in turn. None: train for ``max_iter`` epochs.

    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.

    verbose : int, default=0
        With 1 or more, print the state after each epoch as scikit-learn does.

    epsilon : float, default=0.1
        Threshold of the losses 'huber', 'epsilon_insensitive' and 'squared_epsilon_insensitive', in units of y.

    random_state : int, RandomState instance or None, default=None
        Seed of the shuffles and of the validation split. The same seed gives scikit-learn's result.

    learning_rate : {'constant', 'optimal', 'invscaling', 'adaptive', 'pa1', 'pa2'}, default='invscaling'
        Size of the t-th update:

        - 'constant': ``eta0``
        - 'optimal': ``1 / (alpha * (t + t0))`` with t0 by a heuristic of Léon Bottou
        - 'invscaling': ``eta0 / t ** power_t``
        - 'adaptive': ``eta0``, divided by 5 whenever training would have stopped, until it is below 1e-6
        - 'pa1', 'pa2': the passive-aggressive algorithms of Crammer et al. (2006), for the loss 'epsilon_insensitive'

    eta0 : float, default=0.01
        The initial rate, in (0, inf); for 'pa1' and 'pa2' the aggressiveness C.

    power_t : float, default=0.25
        Exponent of the schedule 'invscaling'.

    early_stopping : bool, default=False
        Whether to stop by the score on validation data: ``X_val, y_val`` if ``fit`` is given them, else a part of the
        training data that is held out.

    validation_fraction : float, default=0.1
        Share of the training data to hold out for early stopping, in (0, 1).

    n_iter_no_change : int, default=5
        Epochs without improvement after which training stops.

    warm_start : bool, default=False
        Whether ``fit`` starts from the weights of the former fit.

    average : bool or int, default=False
        Whether to learn the average of the weights over all updates, or from the ``average``-th update on.

    batch_size : int, default=1
        Number of samples whose gradients are averaged for one update of the weights. 1, the default, is
        scikit-learn's own sequence of updates. A larger batch makes fewer and steadier updates, costs less time an
        epoch, and bears a larger learning rate. A batch larger than the training set is clipped with a warning;
        a smaller last batch of an epoch makes an update like the others, averaged over its own samples.

    optimizer : {'sgd', 'adam'}, default='sgd'
        What an update does with the gradient: 'sgd' steps along it, 'adam' (Kingma and Ba, 2015) adapts the step of
        every weight. ``eta0`` and ``learning_rate`` set the size of the step in both.

    momentum : float, default=0.0
        Share of the last update that is repeated in the next, in [0, 1). Only for ``optimizer='sgd'``.

    nesterov : bool, default=False
        Whether momentum looks ahead (Nesterov's accelerated gradient).

    beta_1 : float, default=0.9
        Decay rate of Adam's estimate of the gradient's mean, in [0, 1).

    beta_2 : float, default=0.999
        Decay rate of Adam's estimate of the gradient's square, in [0, 1).

    adam_epsilon : float, default=1e-8
        What keeps Adam from dividing by zero.

    n_jobs : int or None, default=None
        Threads for the rows of one batch, within fastfit's budget (None and -1: all of it). Only large batches use more
        than one, and the result does not depend on it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights of the features.

    intercept_ : ndarray of shape (1,)
        The intercept.

    n_iter_ : int
        Epochs before training stopped.

    t_ : float
        Number of the next update. With ``batch_size=1`` as in scikit-learn, ``n_iter_ * n_samples + 1``.

    loss_curve_ : ndarray of shape (n_iter_,)
        Mean objective (loss and penalty) seen in each epoch.

    validation_scores_ : ndarray of the same shape
        Score on the validation data after each epoch. Only with early stopping or ``X_val, y_val``.

    fit_engine_ : {'fastfit', 'scikit-learn'}
        What computed the fit.

    n_features_in_ : int
        Number of features seen during ``fit``.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    LinearRegression : Ordinary least squares by gradient descent.
    SGDClassifier : Linear classifiers fitted in the same way.

    Raises
    ------
    ValueError
        By ``fit`` and ``partial_fit``, for bad input and if the weights overflow; the former fit then stays as it was.

    Notes
    -----
    With ``batch_size=1``, ``optimizer='sgd'`` and ``momentum=0`` the coefficients are scikit-learn's for the same
    ``random_state``, up to rounding (float64: a relative 1e-7). With momentum or Adam the L2 penalty is part of the
    gradient. The L1 penalty is the cumulative one of Tsuruoka et al. (2009) in every case; with an L1
    penalty, averages are of the weights after its truncation, except with ``batch_size=1``, where scikit-learn takes
    them before it.

    Sparse X falls back: scikit-learn fits it, without the hyperparameters that only fastfit has. Nothing else does.

    ``set_callbacks`` takes callbacks of scikit-learn's protocol, which are told of every epoch; see
    :mod:`fastfit.callbacks`.

    References
    ----------
    - K. Crammer et al., "Online passive-aggressive algorithms", JMLR 7, 2006.
    - Y. Tsuruoka, J. Tsujii and S. Ananiadou, "Stochastic gradient descent training for L1-regularized log-linear
      models with cumulative penalty", ACL 2009.
    - L. Bottou, "Stochastic gradient descent tricks", in Neural Networks: Tricks of the Trade, 2012.
    - D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.linear_model import SGDRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2))
    >>> y = X @ [1.0, -2.0] + 0.5
    >>> model = SGDRegressor(batch_size=16, eta0=0.1, random_state=0).fit(X, y)
    >>> model.coef_.round(1)
    array([ 1., -2.])
    >>> model.fit_engine_
    'fastfit'
    """

    _parameter_constraints: dict = {
        **sklearn_linear_model.SGDRegressor._parameter_constraints,
        **PARAMETER_CONSTRAINTS,
    }

    def __init__(
        self,
        loss="squared_error",
        *,
        penalty="l2",
        alpha=0.0001,
        l1_ratio=0.15,
        fit_intercept=True,
        max_iter=1000,
        tol=1e-3,
        shuffle=True,
        verbose=0,
        epsilon=0.1,
        random_state=None,
        learning_rate="invscaling",
        eta0=0.01,
        power_t=0.25,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        warm_start=False,
        average=False,
        batch_size=1,
        optimizer="sgd",
        momentum=0.0,
        nesterov=False,
        beta_1=0.9,
        beta_2=0.999,
        adam_epsilon=1e-8,
        n_jobs=None,
    ):
        super().__init__(
            loss=loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            epsilon=epsilon,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            average=average,
        )
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.momentum = momentum
        self.nesterov = nesterov
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.adam_epsilon = adam_epsilon
        self.n_jobs = n_jobs

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None, X_val=None, y_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.

        y : array-like of shape (n_samples,)
            Target values.

        coef_init : array-like of shape (n_features,), default=None
            Weights to start from.

        intercept_init : array-like of shape (1,), default=None
            Intercept to start from.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss.

        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Validation data, scored after each epoch (``validation_scores_``). With early stopping they decide when to
            stop, and no training data are held out.

        y_val : array-like of shape (n_validation_samples,), default=None
            Target values of the validation data.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._fitting(X_val, y_val, starts_anew=not self.warm_start):
            return super().fit(
                X, y, coef_init=coef_init, intercept_init=intercept_init, sample_weight=sample_weight
            )

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on these samples, from where the model is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss.

        Returns
        -------
        self : object
            The estimator.
        """
        with self._fitting(starts_anew=not hasattr(self, "t_")):
            return super().partial_fit(X, y, sample_weight=sample_weight)

    def predict(self, X):
        """Predict with the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        predictions : ndarray of shape (n_samples,)
            Predicted values.
        """
        predictions = predict_plain_array(self, X)
        return super().predict(X) if predictions is None else predictions

    def _fit_regressor(self, X, y, alpha, loss, learning_rate, sample_weight, max_iter):
        """Replace scikit-learn's loop over samples; X and y are validated."""
        if self._falls_back(X):
            given = {"alpha": alpha, "loss": loss, "learning_rate": learning_rate, "max_iter": max_iter}
            return self._fit_by_scikit_learn(super()._fit_regressor, X, y, sample_weight, **given)
        if not hasattr(self, "t_"):
            self.t_ = 1.0
        held_out, score = self._validation_score(X, y, sample_weight)
        random_state = check_random_state(self.random_state)
        seed = random_state.randint(0, MAX_SEED)
        random_state.randint(1, MAX_SEED)  # scikit-learn's dataset draws a seed that it does not use
        options = self._options(alpha, loss, learning_rate, self.early_stopping, len(y))
        start = self._start()
        callbacks = self._start_callbacks(X, y, sample_weight, max_iter)
        run = self._run(
            X, y, sample_weight, held_out, score, start, options, seed, max_iter, n_jobs=self.n_jobs
        )
        if callbacks is not None:
            self._descend_watched(
                {0: run}, callbacks, lambda model, outcomes: model._store(*outcomes, len(y))
            )
        else:
            self._store(self._descend(run), len(y))

    def _validation_score(self, X, y, sample_weight):
        given = self._prepare_validation(X)
        if given is not None:
            return None, score_given(self, *given)
        held_out = self._make_validation_split(y, sample_mask=sample_weight > 0)
        return held_out, score_held_out(self, held_out, X, y, sample_weight)

    def _start(self):
        if self.average:
            return start_of(
                self._standard_coef,
                self._standard_intercept[0],
                self._average_coef,
                self._average_intercept[0],
                self.t_,
            )
        return start_of(self.coef_, self.intercept_[0], None, 0.0, self.t_)

    def _store(self, outcome, n_samples):
        self.n_iter_ = outcome.n_epochs
        self.loss_curve_ = outcome.objectives
        self._keep_scores([outcome])
        self.t_ = self._updates_done(outcome, n_samples)
        self.coef_, self.intercept_ = outcome.coef, np.array([outcome.intercept])
        if self.average > 0:
            self._standard_coef, self._standard_intercept = self.coef_, self.intercept_
            self._average_coef = outcome.averaged
            self._average_intercept = np.array([outcome.average_intercept])
            if self.average <= self.t_ - 1.0:
                self.coef_, self.intercept_ = self._average_coef, self._average_intercept
