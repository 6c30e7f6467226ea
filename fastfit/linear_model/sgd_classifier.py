"""Linear classification by stochastic gradient descent."""

import numpy as np
from sklearn import linear_model as sklearn_linear_model
from sklearn.utils import check_random_state

from fastfit.linear_model.prediction import predict_plain_array
from fastfit.linear_model.sgd_fitting import (
    MAX_SEED,
    PARAMETER_CONSTRAINTS,
    SGDFitting,
    joint_curve,
    score_given,
    score_held_out,
    start_of,
)
from fastfit.runtime.threads import map_threads, thread_budget

# Values of X below which the classes are fitted one after the other: waking a team would take longer.
SMALL_X = 100_000


class SGDClassifier(SGDFitting, sklearn_linear_model.SGDClassifier):
    """Linear classifiers (SVM, logistic regression and others) fitted by stochastic gradient descent.

    The gradient of the loss is estimated from one sample, or from a batch, at a time, and the model is updated along
    the way with a decreasing step size. Several classes are told apart one against all the others. A drop-in
    replacement of :class:`sklearn.linear_model.SGDClassifier` with the same arguments and the same result; the
    arguments after ``average`` are fastfit's own.

    Parameters
    ----------
    loss : {'hinge', 'log_loss', 'modified_huber', 'squared_hinge', 'perceptron', 'squared_error', 'huber', \
'epsilon_insensitive', 'squared_epsilon_insensitive'}, default='hinge'
        The loss: 'hinge' gives a linear support vector machine, 'log_loss' logistic regression, 'modified_huber' a
        smooth loss that bears outliers and gives probabilities, 'squared_hinge' a hinge squared, 'perceptron' the
        perceptron's linear loss; the others are those of :class:`SGDRegressor`.

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

    n_jobs : int or None, default=None
        Threads for the classes of a problem with more than two, and for the rows of large batches, within fastfit's
        budget (None and -1: all of it). The result does not depend on it.

    random_state : int, RandomState instance or None, default=None
        Seed of the shuffles and of the validation split. The same seed gives scikit-learn's result.

    learning_rate : {'constant', 'optimal', 'invscaling', 'adaptive', 'pa1', 'pa2'}, default='optimal'
        Size of the t-th update:

        - 'constant': ``eta0``
        - 'optimal': ``1 / (alpha * (t + t0))`` with t0 by a heuristic of Léon Bottou
        - 'invscaling': ``eta0 / t ** power_t``
        - 'adaptive': ``eta0``, divided by 5 whenever training would have stopped, until it is below 1e-6
        - 'pa1', 'pa2': the passive-aggressive algorithms of Crammer et al. (2006), for the loss 'hinge'

    eta0 : float, default=0.01
        The initial rate, in (0, inf); for 'pa1' and 'pa2' the aggressiveness C.

    power_t : float, default=0.5
        Exponent of the schedule 'invscaling'.

    early_stopping : bool, default=False
        Whether to stop by the score on validation data: ``X_val, y_val`` if ``fit`` is given them, else a part of the
        training data that is held out.

    validation_fraction : float, default=0.1
        Share of the training data to hold out for early stopping, in (0, 1).

    n_iter_no_change : int, default=5
        Epochs without improvement after which training stops.

    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, ``{class_label: weight}``; 'balanced' makes them inversely proportional to the classes'
        frequencies.

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

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) for two classes, else (n_classes, n_features)
        Weights of the features.

    intercept_ : ndarray of shape (1,) for two classes, else (n_classes,)
        The intercepts.

    classes_ : ndarray of shape (n_classes,)
        The classes.

    n_iter_ : int
        Epochs before training stopped, of the class that took the most.

    t_ : float
        Number of the next update. With ``batch_size=1`` as in scikit-learn, ``n_iter_ * n_samples + 1``.

    loss_curve_ : ndarray of shape (n_iter_,), or (n_classes, n_iter_) for more than two classes
        Mean objective (loss and penalty) seen in each epoch;
        NaN after the last epoch of a class.

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
    SGDRegressor : Linear regression fitted in the same way.

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
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from fastfit.linear_model import SGDClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SGDClassifier(loss="log_loss", random_state=0).fit(scale(X), y)
    >>> model.score(scale(X), y) > 0.9
    True
    >>> model.fit_engine_
    'fastfit'
    """

    _parameter_constraints: dict = {
        **sklearn_linear_model.SGDClassifier._parameter_constraints,
        **PARAMETER_CONSTRAINTS,
    }

    def __init__(
        self,
        loss="hinge",
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
        n_jobs=None,
        random_state=None,
        learning_rate="optimal",
        eta0=0.01,
        power_t=0.5,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        class_weight=None,
        warm_start=False,
        average=False,
        batch_size=1,
        optimizer="sgd",
        momentum=0.0,
        nesterov=False,
        beta_1=0.9,
        beta_2=0.999,
        adam_epsilon=1e-8,
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
            n_jobs=n_jobs,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
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

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None, X_val=None, y_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.

        y : array-like of shape (n_samples,)
            Class labels.

        coef_init : array-like of shape (n_classes, n_features), default=None
            Weights to start from.

        intercept_init : array-like of shape (n_classes,), default=None
            Intercepts to start from.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss, multiplied by the weight of its class.

        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Validation data, scored after each epoch (``validation_scores_``). With early stopping they decide when to
            stop, and no training data are held out.

        y_val : array-like of shape (n_validation_samples,), default=None
            Class labels of the validation data.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with self._fitting(X_val, y_val, starts_anew=not self.warm_start):
            return super().fit(
                X, y, coef_init=coef_init, intercept_init=intercept_init, sample_weight=sample_weight
            )

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on these samples, from where the model is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Class labels.

        classes : array-like of shape (n_classes,), default=None
            All classes that will ever be seen. Needed at the first call.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss.

        Returns
        -------
        self : object
            The estimator.
        """
        with self._fitting(starts_anew=not hasattr(self, "t_")):
            return super().partial_fit(X, y, classes=classes, sample_weight=sample_weight)

    def decision_function(self, X):
        """Confidence scores, proportional to the signed distance from the separating hyperplane.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
            For two classes, above zero means ``classes_[1]``.
        """
        scores = predict_plain_array(self, X)
        if scores is None:
            return super().decision_function(X)
        return scores.ravel() if scores.shape[1] == 1 else scores

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Class labels.
        """
        scores = predict_plain_array(self, X)
        if scores is None:
            return super().predict(X)
        best = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.intp)
        return self.classes_[best]

    def _fit_binary(self, X, y, alpha, sample_weight, learning_rate, max_iter):
        """Replace scikit-learn's fit of two classes; X and y are validated."""
        if self._falls_back(X):
            given = {"alpha": alpha, "learning_rate": learning_rate, "max_iter": max_iter}
            return self._fit_by_scikit_learn(super()._fit_binary, X, y, sample_weight, **given)
        weights = self._expanded_class_weight[1], self._expanded_class_weight[0]
        options = self._options(alpha, self.loss, learning_rate, self.early_stopping, len(y), weights)
        given = self._prepare_validation(X)
        callbacks = self._start_callbacks(X, y, sample_weight, max_iter)
        run = self._run_class(
            1, X, y, sample_weight, options, None, given, self.random_state, max_iter, self.n_jobs
        )
        if callbacks is not None:
            self._descend_watched({1: run}, callbacks, lambda model, outcomes: model._store(outcomes, len(y)))
        else:
            self._store([self._descend(run, 1)], len(y))

    def _fit_multiclass(self, X, y, alpha, learning_rate, sample_weight, max_iter):
        """Replace scikit-learn's one-versus-all fit; X and y are validated."""
        if self._falls_back(X):
            given = {"alpha": alpha, "learning_rate": learning_rate, "max_iter": max_iter}
            return self._fit_by_scikit_learn(super()._fit_multiclass, X, y, sample_weight, **given)
        given = self._prepare_validation(X)
        held_out = self._make_validation_split(y, sample_mask=sample_weight > 0)
        seeds = check_random_state(self.random_state).randint(MAX_SEED, size=len(self.classes_))
        options = self._options(alpha, self.loss, learning_rate, self.early_stopping, len(y))

        def run_class(i):
            weighted = options._replace(weight_pos=float(self._expanded_class_weight[i]))
            return self._run_class(i, X, y, sample_weight, weighted, held_out, given, seeds[i], max_iter)

        n_threads = thread_budget(self.n_jobs) if X.size > SMALL_X else 1
        callbacks = self._start_callbacks(X, y, sample_weight, max_iter)
        if callbacks is not None:
            runs = {i: run_class(i) for i in range(len(seeds))}
            self._descend_watched(
                runs, callbacks, lambda model, outcomes: model._store(outcomes, len(y)), n_threads
            )
            return
        self._store(self._descend_classes(run_class, len(seeds), n_threads), len(y))

    def _descend_classes(self, run_class, n_classes, n_threads):
        """Take the model of each class to the end of its descent; with `verbose` joblib tells of it, as it would."""
        if not self.verbose:
            return map_threads(lambda i: self._descend(run_class(i), i), range(n_classes), n_threads)
        from fastfit.ensemble.progress import Progress

        with Progress(self, n_classes) as progress:

            def descend(i):
                outcome = self._descend(run_class(i), i)
                progress.done(i)
                return outcome

            return map_threads(descend, range(n_classes), n_threads)

    def _make_validation_split(self, y, sample_mask):
        if self._validation_data is not None:
            return np.zeros(len(y), dtype=bool)
        return super()._make_validation_split(y, sample_mask)

    def _run_class(self, i, X, y, sample_weight, options, held_out, given, random_state, max_iter, n_jobs=1):
        """Prepare the fit of class i against the others."""
        negative = 0.0 if self.loss == "log_loss" else -1.0
        y_i = np.where(y == self.classes_[i], 1.0, negative).astype(X.dtype, copy=False)
        random_state = check_random_state(random_state)
        random_state.randint(1, MAX_SEED)  # scikit-learn's dataset draws a seed that it does not use
        if held_out is None:
            held_out = self._make_validation_split(y_i, sample_mask=sample_weight > 0)
        if given is not None:
            X_val, y_val = given
            coded = np.where(y_val == self.classes_[i], 1.0, negative)
            score = score_given(self, X_val, coded, classes=np.array([negative, 1.0]))
        else:
            classes = np.array([-1, 1], dtype=X.dtype)
            score = score_held_out(self, held_out, X, y_i, sample_weight, classes=classes)
        seed = random_state.randint(MAX_SEED)
        start = self._start(i)
        return self._run(X, y_i, sample_weight, held_out, score, start, options, seed, max_iter, i, n_jobs)

    def _start(self, i):
        i = i if len(self.classes_) > 2 else 0
        if self.average:
            coefs, averages = np.atleast_2d(self._standard_coef), np.atleast_2d(self._average_coef)
            return start_of(
                coefs[i], self._standard_intercept[i], averages[i], self._average_intercept[i], self.t_
            )
        return start_of(np.atleast_2d(self.coef_)[i], self.intercept_[i], None, 0.0, self.t_)

    def _store(self, outcomes, n_samples):
        longest = max(outcomes, key=lambda outcome: outcome.n_epochs)
        self.n_iter_ = longest.n_epochs
        self.t_ = self._updates_done(longest, n_samples)
        self.loss_curve_ = joint_curve([outcome.objectives for outcome in outcomes])
        self._keep_scores(outcomes)
        self.coef_ = np.array([outcome.coef for outcome in outcomes])
        # scikit-learn keeps the intercept of two classes in float64, those of more in the dtype of X.
        dtype = np.float64 if len(outcomes) == 1 else self.coef_.dtype
        intercept = np.array([outcome.intercept for outcome in outcomes], dtype)
        if self.average > 0:
            self._store_averages(outcomes, intercept)
        else:
            self.intercept_ = intercept

    def _store_averages(self, outcomes, intercept):
        """Keep the weights and their averages, and show the averages once there are any.

        Which intercept the next ``partial_fit`` starts from follows scikit-learn: with two classes the one of the last
        fit without averages, with more the one that ``intercept_`` named.
        """
        self._standard_coef = self.coef_
        self._average_coef = np.array([outcome.averaged for outcome in outcomes])
        averages = np.array(
            [outcome.average_intercept for outcome in outcomes], self._average_intercept.dtype
        )
        if len(outcomes) > 1:
            if self.intercept_ is self._average_intercept:
                averages = intercept
            else:
                self._standard_intercept = intercept
        self._average_intercept = averages
        if self.average <= self.t_ - 1.0:
            self.coef_, self.intercept_ = self._average_coef, averages
        else:
            self.intercept_ = self._standard_intercept = intercept
