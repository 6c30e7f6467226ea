"""Classification by a neural network."""

from sklearn import neural_network as sklearn_neural_network
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastfit.former_fit import keep_former_fit
from fastfit.neural_network import class_targets
from fastfit.neural_network.mlp_fitting import PARAMETER_CONSTRAINTS, MLPFitting
from fastfit.neural_network.plain_arrays import fits_estimator, is_plain_matrix


class MLPClassifier(MLPFitting, sklearn_neural_network.MLPClassifier):
    """Multi-layer perceptron that minimises the log-loss: two classes, more, or many labels a sample.

    A drop-in replacement of :class:`sklearn.neural_network.MLPClassifier` with the same arguments and the same training
    run; the arguments after ``max_fun`` are fastfit's own, and so are some choices of ``activation``, ``solver`` and
    ``learning_rate``. A whole epoch is trained in one call of a compiled kernel.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of shape (n_layers - 2,), default=(100,)
        Units of each hidden layer; ``()`` for a network without hidden layers.

    activation : {'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', 'silu'}, default='relu'
        What a unit of a hidden layer does with its input z. scikit-learn's: z itself, ``1 / (1 + exp(-z))``,
        ``tanh(z)``, ``max(0, z)``. fastfit's: ``max(0.01 z, z)``; z where it is positive, else ``exp(z) - 1``;
        ``z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z**3)))``, close to z times the normal distribution function;
        ``z / (1 + exp(-z))``.

    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'rmsprop'}, default='adam'
        'lbfgs' minimises the loss of all samples by a quasi-Newton method, for small data. The others take
        mini-batches: 'sgd' is descent with momentum, 'adam' that of Kingma and Ba (2015). fastfit's: 'adamw'
        (Loshchilov and Hutter, 2019) shrinks the weights by a share of ``alpha`` times the learning rate at each update
        instead of having ``alpha`` in the loss; 'rmsprop' (Tieleman and Hinton, 2012) divides steps by the root of a
        running mean of squared gradients.

    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights, which is divided by the number of samples. For 'adamw' the rate at
        which weights decay; 0.01 is usual there.

    batch_size : int or 'auto', default='auto'
        Samples of a mini-batch; 'auto' is ``min(200, n_samples)``. Larger than the data is clipped with a warning.

    learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'step'}, default='constant'
        How the rate moves:

        - 'constant': ``learning_rate_init``
        - 'invscaling': ``learning_rate_init / t ** power_t``, for 'sgd' only
        - 'adaptive': divided by 5 whenever training would have stopped, until it is below 1e-6, for 'sgd' only
        - 'cosine': along half a cosine from ``learning_rate_init`` to zero after ``max_iter`` epochs
        - 'step': times ``step_factor`` after every ``step_epochs`` epochs

    learning_rate_init : float, default=0.001
        The initial learning rate, in (0, inf).

    power_t : float, default=0.5
        Exponent of the schedule 'invscaling'.

    max_iter : int, default=200
        Epochs at the most; for 'lbfgs' iterations.

    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.

    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, the validation split, the shuffles and dropout. The same seed gives scikit-learn's
        training run.

    tol : float, default=1e-4
        Training stops when the loss of an epoch (the validation score with early stopping) is not better than the best
        by ``tol`` in ``n_iter_no_change`` epochs in turn. For 'lbfgs' the tolerance of the projected gradient.

    verbose : bool, default=False
        Whether to print the loss of each epoch, as scikit-learn does.

    warm_start : bool, default=False
        Whether ``fit`` starts from the weights of the former fit.

    momentum : float, default=0.9
        Share of the last update that is repeated in the next, in [0, 1]. For 'sgd'.

    nesterovs_momentum : bool, default=True
        Whether momentum looks ahead. For 'sgd'.

    early_stopping : bool, default=False
        Whether to stop by the score on validation data (``X_val, y_val`` if ``fit`` is given them, else a part of the
        training data that is held out), and to keep the weights with the best one.

    validation_fraction : float, default=0.1
        Share of the training data to hold out for early stopping, in [0, 1).

    beta_1 : float, default=0.9
        Decay rate of Adam's estimate of the gradient's mean, in [0, 1).

    beta_2 : float, default=0.999
        Decay rate of Adam's estimate of the gradient's square, in [0, 1).

    epsilon : float, default=1e-8
        What keeps Adam and RMSprop from dividing by zero.

    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.

    max_fun : int, default=15000
        Evaluations of the loss at the most. For 'lbfgs'.

    n_jobs : int or None, default=None
        Threads for batches that are large enough, within fastfit's budget (None and -1: all of it). The result has the
        same bits for any number.

    dtype : {'auto', 'float32', 'float64'}, default='auto'
        What X is converted to before anything else, in ``predict`` as well; 'auto' keeps float32 and float64. float32
        takes half the time and memory, and is precise enough for most networks.

    class_weight : dict, list of dict, 'balanced' or None, default=None
        Weights of the classes in the loss, ``{class_label: weight}``; 'balanced' makes them inversely proportional to
        the classes' frequencies. A list has one dict for each output of a multilabel problem. They multiply
        ``sample_weight``.

    dropout : float, default=0.0
        Probability with which a unit of a hidden layer is left out of an update (Srivastava et al., 2014), in [0, 1).
        The units that stay are scaled up, so that predictions need no correction.

    max_grad_norm : float or None, default=None
        Gradients longer than this (all layers together) are scaled down to it.

    rho : float, default=0.9
        Decay rate of RMSprop's running mean of squares, in [0, 1].

    step_epochs : int, default=10
        Epochs between two steps of the schedule 'step'.

    step_factor : float, default=0.1
        What a step of that schedule multiplies the learning rate by, in (0, 1].

    warmup_epochs : float, default=0
        Epochs in which the learning rate rises from zero to its schedule, batch by batch.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray of shape (n_classes,)
        The classes.

    coefs_ : list of ndarray of shape (n_units of layer i, n_units of layer i + 1)
        The weights of each layer.

    intercepts_ : list of ndarray of shape (n_units of layer i + 1,)
        The intercepts of each layer.

    loss_ : float
        Loss of the last epoch, with the penalty.

    loss_curve_ : list of float
        Loss of each epoch. Not for 'lbfgs'.

    best_loss_ : float or None
        The least of them; None with early stopping.

    validation_scores_ : list of float or None
        Accuracy on the validation data after each epoch; None without early stopping and ``X_val, y_val``.

    best_validation_score_ : float or None
        The best of them.

    n_iter_ : int
        Epochs, or iterations of 'lbfgs', of the last fit.

    t_ : int
        Training samples seen in all epochs.

    n_layers_ : int
        Number of layers, input and output included.

    n_outputs_ : int
        Units of the last layer.

    out_activation_ : str
        Activation of the last layer.

    fit_engine_ : {'fastfit', 'scikit-learn'}
        What computed the fit.

    n_features_in_ : int
        Number of features seen during ``fit``.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    MLPRegressor : Regression by a neural network.

    Raises
    ------
    ValueError
        By ``fit`` and ``partial_fit``, for bad input and if the weights overflow; the former fit then stays as it was.

    Warns
    -----
    ConvergenceWarning
        If training ended by ``max_iter``.
    UserWarning
        If Ctrl-C ended it. The weights are those after the last whole epoch, and the estimator is fitted.

    Notes
    -----
    The training run is scikit-learn's for the same ``random_state``: its first weights, its shuffles, its updates.
    Losses, scores and weights agree up to rounding, which a network amplifies from epoch to epoch: to a relative 1e-6
    for float64 and 1e-3 for float32 over the first 20 epochs, and in what they are worth thereafter. One exception: if
    a warm start with early stopping finds no better score, the former best weights are kept; scikit-learn has written
    over them.

    Callbacks of scikit-learn's protocol (``set_callbacks(ProgressBar())``) are called around the fit and each epoch,
    and can end it.

    Sparse X falls back: scikit-learn fits it, without the hyperparameters that only fastfit has and without hooks for
    each epoch. Nothing else does.

    References
    ----------
    - D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016.
    - X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
      2010.
    - D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    - I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    - N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
    - T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from fastfit.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, max_iter=100, tol=0.01, random_state=0).fit(scale(X), y)
    >>> model.score(scale(X), y) > 0.95
    True
    >>> model.fit_engine_
    'fastfit'
    """

    _parameter_constraints: dict = {
        **sklearn_neural_network.MLPClassifier._parameter_constraints,
        **PARAMETER_CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
        dtype="auto",
        class_weight=None,
        dropout=0.0,
        max_grad_norm=None,
        rho=0.9,
        step_epochs=10,
        step_factor=0.1,
        warmup_epochs=0,
    ):
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.n_jobs = n_jobs
        self.dtype = dtype
        self.class_weight = class_weight
        self.dropout = dropout
        self.max_grad_norm = max_grad_norm
        self.rho = rho
        self.step_epochs = step_epochs
        self.step_factor = step_factor
        self.warmup_epochs = warmup_epochs

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels; a matrix of 0 and 1 for many labels a sample.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss.

        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Validation data, scored after each epoch (``validation_scores_``). With early stopping they decide when to
            stop, and no training data are held out.

        y_val : array-like of shape (n_validation_samples,) or (n_validation_samples, n_labels), default=None
            Class labels of the validation data.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit_whole(super().fit, X, y, sample_weight, X_val, y_val)

    @available_if(lambda estimator: estimator._check_solver())
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on these samples, from where the model is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the loss.

        classes : array-like of shape (n_classes,), default=None
            All classes that will ever be seen. Needed at the first call.

        Returns
        -------
        self : object
            The estimator.
        """
        with keep_former_fit(self):
            return super().partial_fit(X, y, sample_weight=sample_weight, classes=classes)

    def predict(self, X):
        """Predict the class, or the labels, of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Class labels.
        """
        check_is_fitted(self)
        return self._predict(X)

    def _predict(self, X, check_input=True):
        if self.out_activation_ == "softmax":
            return self.classes_[self._outputs(X, check_input, "largest")[:, 0].astype("intp")]
        outputs = self._forward_pass_fast(X, check_input=check_input)
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(outputs[:, 0] > 0.5).view("int8")]
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def _check_data(self, X, y, incremental, reset):
        """Return (X, target, number of outputs), checked as scikit-learn does; X may turn out sparse."""
        if is_plain_matrix(X) and class_targets.is_plain_label_array(y, len(X)):
            codes = self._encode(y, incremental)
            if codes is not None and fits_estimator(self, X, reset):
                return X, *class_targets.target_of_codes(codes, len(self.classes_))
        X, indicators = self._validate_input(X, y, incremental, reset)
        return X, *class_targets.target_of_indicators(indicators, self._label_binarizer.y_type_)

    def _encode(self, y, incremental):
        """Plain labels as indices of ``classes_``, which they define in a new fit; None for scikit-learn's errors."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self.classes_, codes, _ = class_targets.encode_plain_labels(y)
            self._label_binarizer = class_targets.binarizer_of(self.classes_)
            return codes
        if self._label_binarizer.y_type_ not in ("binary", "multiclass"):
            return None
        _, codes, n_found = class_targets.encode_plain_labels(y, self.classes_)
        return None if self.warm_start and n_found < len(self.classes_) else codes

    def _total_weight(self, sample_weight, target, incremental):
        if self.class_weight is not None:
            if incremental and isinstance(self.class_weight, str):
                raise ValueError(
                    "class_weight='balanced' needs all samples, and partial_fit sees some; use a dict, for example of "
                    "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y)."
                )
            of_class = class_targets.weight_of_classes(self.class_weight, target, self.classes_)
            sample_weight = of_class if sample_weight is None else sample_weight * of_class
        return super()._total_weight(sample_weight, target, incremental)

    def _validation_target(self, y_val, n_samples, n_outputs):
        target = class_targets.validation_target(y_val, self.classes_, self._label_binarizer)
        if len(target) != n_samples:
            raise ValueError(f"X_val has {n_samples} samples, but y_val has {len(target)}.")
        return target
