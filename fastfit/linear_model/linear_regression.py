"""Linear regression by gradient descent, full batch or in mini-batches."""

import copy
import warnings
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from sklearn import linear_model as sklearn_linear_model
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._array_api import get_namespace
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastfit.fallback import note_fallback
from fastfit.fit_callbacks import callbacks_kept_apart, scheduled_rate_of, start_callbacks
from fastfit.former_fit import keep_former_fit
from fastfit.kernels.descent import DescentOptions
from fastfit.kernels.minibatch_least_squares import BatchOptions
from fastfit.linear_model.plain_arrays import FLOAT_DTYPES, take_plain_arrays
from fastfit.linear_model.prediction import predict_plain_array
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import threads_for
from fastfit.training.gradient_descent import UnstableRateError, fit_with_rate, fit_with_rates
from fastfit.training.least_squares import LeastSquaresData, NotFiniteError, fit_least_squares, gram_fits
from fastfit.training.minibatch_descent import EpochOptions, fit_in_batches
from fastfit.training.non_negative import fit_non_negative
from fastfit.training.triangular_factor import singular_values

DEFAULT_MAX_STEPS = 10_000
DEFAULT_MAX_EPOCHS = 200

# What fit learns, beside n_features_in_ and feature_names_in_. A new fit leaves nothing of the former one
# behind.
_LEARNED = (
    "coef_",
    "intercept_",
    "n_iter_",
    "loss_curve_",
    "learning_rate_",
    "rank_",
    "fit_engine_",
    "_triangle",
    "_singular_values",
)


class LinearRegression(
    ValidatesChangedParameters, CallbackSupportMixin, sklearn_linear_model.LinearRegression
):
    """Ordinary least squares linear regression by gradient descent.

    Minimises the mean squared error ``(1 / 2n) ||y - X w - b||^2`` (weighted: the weighted mean). It takes
    the place of :class:`sklearn.linear_model.LinearRegression`: with the arguments that both have, it finds
    the same coefficients.

    The gradient of this loss needs only the centred Gram matrix of X and its product with y. One threaded
    pass over X computes both, in float64 and without a copy of X, and the descent then runs on them.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether to fit an intercept. If False, X and y are taken as centred.

    copy_X : bool, default=True
        Has no effect: X is never overwritten, and never copied to be centred.

    tol : float, default=1e-6
        - With ``learning_rate="auto"`` and ``batch_size=None``, singular values of the centred X at or below
          `tol` times the largest count as zero, as in scikit-learn.
        - With a number as `learning_rate` and ``batch_size=None``, the descent ends when the norm of the
          gradient is at most `tol` times that at zero coefficients.
        - With `batch_size`, an epoch has to lower the loss by `tol` times the best loss so far.

    n_jobs : int or None, default=None
        Number of threads, within the budget of the process; None takes the whole budget, but only as many as
        the data are worth. The result has the same bits for any number of threads.

    positive : bool, default=False
        Whether to constrain the coefficients to be non-negative.

    solver : {"gd", "lstsq"}, default="gd"
        "gd" is gradient descent by fastfit. "lstsq" is scikit-learn's own solver, for comparison; it takes
        none of the arguments that follow.

    learning_rate : "auto" or float, default="auto"
        - "auto" and ``batch_size=None``: the descent is preconditioned with the triangular factor of the Gram
          matrix, and reaches the least-squares solution, of least norm if there are several, in one step.
          Where the Gram matrix is too large (see Notes) these are conjugate gradients, which go as far as
          rounding lets them.
        - "auto" and `batch_size`: half the inverse of the expected smoothness of batches of that size,
          divided by 10 whenever the loss has not improved for `n_iter_no_change` epochs.
        - A number: plain gradient descent with this rate, from zero coefficients.

    batch_size : int or None, default=None
        Number of samples in a batch of mini-batch descent. None is full-batch descent. More than the number
        of samples is taken as their number, with a warning.

    max_iter : int or None, default=None
        Largest number of steps of full-batch descent (None: 10 000), or of epochs of mini-batch descent
        (None: 200). With ``learning_rate="auto"`` and ``batch_size=None`` it limits the conjugate gradients
        (None: four times the smaller side of X) and the changes of the active set for `positive` (None: three
        for each feature).

    momentum : float, default=0.0
        Share of the last step, in [0, 1), that is added to the next. Only used where there is a learning
        rate: with a number as `learning_rate`, or with `batch_size`.

    nesterov : bool, default=False
        Whether to take the gradient where the momentum leads to.

    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch of mini-batch descent.

    warm_start : bool, default=False
        Whether a descent with a learning rate starts from the coefficients of the last fit instead of zero.

    random_state : int, RandomState instance or None, default=None
        Determines the shuffling. Pass an int for the same result in every call.

    n_iter_no_change : int, default=5
        Number of epochs of mini-batch descent without an improvement by `tol` after which it ends or, with
        ``learning_rate="auto"``, goes on with a lower rate.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, of X's dtype if that is float32 and float64 otherwise; 2-D if y is.

    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in the units of y; 0.0 if ``fit_intercept=False``.

    n_iter_ : int
        Number of steps or epochs; 1 where scikit-learn fitted.

    loss_curve_ : ndarray of shape (n_iter_,)
        Loss, averaged over the targets, after each step; of mini-batch descent the mean over the batches of
        an epoch, each before its update.

    learning_rate_ : float or None
        The rate that was used, the first one if it was lowered; None where the steps have no common rate.

    rank_ : int
        Rank of the centred X, as scikit-learn counts it. Only with ``learning_rate="auto"``,
        ``batch_size=None`` and ``positive=False``, and unless conjugate gradients were used.

    singular_ : ndarray of shape (min(n_samples, n_features),)
        Singular values of the centred X. Available where `rank_` is; computed when first asked for.

    fit_engine_ : {"fastfit", "scikit-learn"}
        Which implementation fitted this estimator.

    n_features_in_ : int
        Number of features seen during :term:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during :term:`fit`. Defined only when `X` has feature names that are all
        strings.

    Raises
    ------
    ValueError
        From ``fit``: for bad input, as in scikit-learn, and for a learning rate that makes the descent
        diverge; the message names the largest stable rate. An estimator whose fit failed keeps its former
        fit.

    Notes
    -----
    fastfit's kernels do not cover, and scikit-learn's implementation fits (see :func:`fastfit.set_config`):

    - sparse X or y, and arrays of other libraries under scikit-learn's array API dispatch;
    - ``solver="lstsq"``, where it was asked for by name;
    - values so large, about 1e150, that their squares overflow;
    - ``positive=True`` with ``learning_rate="auto"`` and more features than a Gram matrix can be made for.

    A Gram matrix has as many rows as X has samples or features, whichever is less, and is made if it takes at
    most 256 MiB or a quarter of X. It squares the condition number of X. Where that would cost more than half
    of the digits, Householder elimination of the rows of X takes over, so that ill-conditioned and collinear
    data are fitted as well as by scikit-learn [1]_. Non-negative coefficients come from the active-set method
    on the Gram matrix [2]_ or, for ill-conditioned data, from :func:`scipy.optimize.nnls` on the triangular
    factor of X. The rates of mini-batch descent come from [3]_; the last batch of an epoch, if it is smaller,
    changes the coefficients by so much less that all samples count the same. Mini-batch descent copies X if it
    is not in row order, and any fit does if X is neither in row nor in column order.

    ``set_callbacks`` takes callbacks of scikit-learn's protocol, which are told of every epoch of mini-batch
    descent; see :mod:`fastfit.callbacks`.

    References
    ----------
    .. [1] G. H. Golub and C. F. Van Loan, "Matrix Computations", 4th edition, section 5.3, 2013.
    .. [2] R. Bro and S. De Jong, "A fast non-negativity-constrained least squares algorithm", Journal of
           Chemometrics 11, 1997.
    .. [3] R. M. Gower et al., "SGD: general analysis and improved rates", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.linear_model import LinearRegression
    >>> X = np.array([[1, 1], [1, 2], [2, 2], [2, 3]])
    >>> y = X @ np.array([1, 2]) + 3
    >>> model = LinearRegression().fit(X, y)
    >>> model.coef_.round(6), model.intercept_.round(6)
    (array([1., 2.]), np.float64(3.0))
    >>> model.predict(np.array([[3, 5]])).round(6)
    array([16.])
    >>> slow = LinearRegression(learning_rate=0.1, momentum=0.9).fit(X, y)
    >>> slow.coef_.round(3), slow.fit_engine_
    (array([1., 2.]), 'fastfit')
    """

    _parameter_constraints: dict = {
        **sklearn_linear_model.LinearRegression._parameter_constraints,
        "solver": [StrOptions({"gd", "lstsq"})],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "batch_size": [None, Interval(Integral, 1, None, closed="left")],
        "max_iter": [None, Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        fit_intercept=True,
        copy_X=True,
        tol=1e-6,
        n_jobs=None,
        positive=False,
        solver="gd",
        learning_rate="auto",
        batch_size=None,
        max_iter=None,
        momentum=0.0,
        nesterov=False,
        shuffle=True,
        warm_start=False,
        random_state=None,
        n_iter_no_change=5,
    ):
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.momentum = momentum
        self.nesterov = nesterov
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_iter_no_change = n_iter_no_change

    def fit(self, X, y, sample_weight=None):
        """Fit the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. float32 and float64 arrays in C or Fortran order are read in place; sparse X is
            fitted by scikit-learn.

        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Target values.

        sample_weight : array-like of shape (n_samples,), default=None
            Individual weights for each sample, not negative.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        with keep_former_fit(self):
            if self.__dict__.get("_skl_callbacks"):
                return self._fit_watched(X, y, sample_weight)
            return self._fit(X, y, sample_weight)

    def predict(self, X):
        """Predict using the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predicted values.
        """
        predictions = predict_plain_array(self, X)
        return super().predict(X) if predictions is None else predictions

    @property
    def singular_(self):
        """Singular values of the centred X, of shape (min(n_samples, n_features),)."""
        fitted = self.__dict__
        if "_singular_values" not in fitted:
            if "_triangle" not in fitted:
                raise AttributeError(f"'{type(self).__name__}' object has no attribute 'singular_'")
            triangle, n_values = fitted["_triangle"]
            self._singular_values = singular_values(triangle, n_values).astype(self.coef_.dtype)
            fitted.pop("_triangle", None)
        return fitted["_singular_values"]

    @singular_.setter
    def singular_(self, values):
        # scikit-learn's own fit sets it.
        self._singular_values = values

    def __getstate__(self):
        # What singular_ is computed from is larger than singular_, and need not travel.
        if "_triangle" in self.__dict__:
            self.singular_  # noqa: B018
        return super().__getstate__()

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.linear_model.linear_sharing import LeastSquaresSharing

        return LeastSquaresSharing()

    def _fit(self, X, y, sample_weight, callbacks=None):
        reason = self._uncovered(X, y)
        if reason is not None:
            return self._fall_back(reason, X, y, sample_weight)
        checked = take_plain_arrays(X, y, sample_weight)
        is_plain = checked is not None
        try:
            names = None
            if not is_plain:
                checked = self._validate(X, y, sample_weight)
                names = self.__dict__.get("feature_names_in_")
            watch = callbacks and EpochWatch(self, callbacks, checked[0], checked[1])
            fit = self._descend(*checked, watch)
        except NotFiniteError:
            if is_plain:
                self._validate(X, y, sample_weight)  # has the right words, if it is NaN or infinity
            return self._fall_back("values whose squares overflow", X, y, sample_weight)
        if fit is None:
            return self._fall_back("positive=True with this many features", X, y, sample_weight)
        self._store(fit, checked[0], checked[1], names)
        return self

    def _takes_scheduled_rate(self):
        """Return why a callback cannot set the learning rate, or an empty text."""
        return "it learns in epochs only with a batch_size" if self.batch_size is None else ""

    @with_callbacks
    def _fit_watched(self, X, y, sample_weight):
        """Fit with the callbacks' hooks around it and, in mini-batches, around each epoch."""
        n_epochs = 0 if self.batch_size is None else self.max_iter or DEFAULT_MAX_EPOCHS
        callbacks = start_callbacks(self, X, y, sample_weight, n_epochs)
        self._fit(X, y, sample_weight, callbacks)
        callbacks.end()
        return self

    def _uncovered(self, X, y):
        """Return what the kernels do not cover in these data or this setting, or None."""
        if self.solver == "lstsq":
            return "solver='lstsq'"
        if type(X) is np.ndarray and type(y) is np.ndarray:
            return None
        if sp.issparse(X) or sp.issparse(y):
            return "sparse X" if sp.issparse(X) else "sparse y"
        if get_config()["array_api_dispatch"] and "numpy" not in get_namespace(X)[0].__name__:
            return "arrays that are not NumPy's"
        return None

    def _fall_back(self, reason, X, y, sample_weight):
        if self.solver != "lstsq":
            note_fallback(self, reason)
        self._forget()
        with callbacks_kept_apart(self):
            super().fit(X, y, sample_weight)
        self.n_iter_ = 1
        self.fit_engine_ = "scikit-learn"
        return self

    def _validate(self, X, y, sample_weight):
        X, y = validate_data(self, X, y, y_numeric=True, multi_output=True)
        if X.dtype not in FLOAT_DTYPES:
            X = X.astype(np.float64)
        if not (X.flags.c_contiguous or X.flags.f_contiguous):
            X = np.ascontiguousarray(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        return X, y, sample_weight

    def _descend(self, X, y, sample_weight, watch):
        Y = np.ascontiguousarray(y.reshape(-1, 1) if y.ndim == 1 else y, dtype=np.float64)
        if sample_weight is not None:
            sample_weight = sample_weight.astype(np.float64, copy=False)
        n_samples, n_features = X.shape
        # Nanoseconds of one thread: reading X, and the multiplications for half a matrix.
        work = n_samples * n_features * (0.3 + 0.015 * n_features)
        data = LeastSquaresData(X, Y, sample_weight, self.fit_intercept, threads_for(work, self.n_jobs))
        try:
            if self.batch_size is not None:
                return self._descend_in_batches(data, watch)
            if self.learning_rate != "auto":
                return self._descend_with_rate(data)
        except UnstableRateError as error:
            batches = "" if self.batch_size is None else f", batch_size={self.batch_size!r}"
            about = "" if self.batch_size is None else "about "
            raise ValueError(
                f"learning_rate={self.learning_rate!r} makes the descent diverge. For these data, with "
                f"momentum={self.momentum!r}, nesterov={self.nesterov!r}{batches}, it must be below {about}"
                f"{error.largest_stable:.6g}, the largest stable rate. Scaling the features to unit variance "
                "raises that bound."
            ) from None
        if not self.positive:
            return fit_least_squares(data, self.tol, self.max_iter)
        return fit_non_negative(data, self.max_iter) if gram_fits(data, n_features) else None

    def _descend_with_rate(self, data):
        options = DescentOptions(
            learning_rate=float(self.learning_rate),
            momentum=float(self.momentum),
            nesterov=bool(self.nesterov),
            positive=bool(self.positive),
            in_row_space=False,
            tol=float(self.tol),
        )
        if "_rates_to_try" in self.__dict__:
            # A search wants the fits of several rates; it does not matter which of them is this estimator's.
            self._fits_by_rate = fit_with_rates(data, options, self._rates_to_try)
            if self._fits_by_rate:
                return next(iter(self._fits_by_rate.values()))
        kept = self.__dict__.get("_steps_to_keep")
        return fit_with_rate(data, options, self.max_iter or DEFAULT_MAX_STEPS, self._start(data), kept)

    def _descend_in_batches(self, data, watch):
        n_samples = data.X.shape[0]
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` larger than sample size. It is going to be clipped.", stacklevel=5
            )
        batch = BatchOptions(
            batch_size=min(int(self.batch_size), n_samples),
            learning_rate=np.nan if self.learning_rate == "auto" else float(self.learning_rate),
            momentum=float(self.momentum),
            nesterov=bool(self.nesterov),
            positive=bool(self.positive),
        )
        options = EpochOptions(
            batch,
            self.max_iter or DEFAULT_MAX_EPOCHS,
            float(self.tol),
            self.n_iter_no_change,
            self.shuffle,
            int(check_random_state(self.random_state).randint(1, np.iinfo(np.int32).max)),
        )
        return fit_in_batches(data, options, self._start(data), watch)

    def _start(self, data):
        """Return the coefficients to start from, or None for zero."""
        coef = self.__dict__.get("coef_")
        if not self.warm_start or coef is None:
            return None
        shape = (data.Y.shape[1], data.X.shape[1])
        if np.atleast_2d(coef).shape != shape:
            raise ValueError(
                f"warm_start=True needs data of the shape of the last fit: coef_ has shape {coef.shape}, "
                f"and these data have {shape[1]} features and {shape[0]} targets."
            )
        return np.atleast_2d(coef).astype(np.float64)

    def _forget(self):
        for name in _LEARNED:
            self.__dict__.pop(name, None)

    def _store(self, fit, X, y, names):
        """Set the learned attributes, all at once."""
        dtype = X.dtype
        coef, intercept = fit.coef, 0.0
        if self.fit_intercept:
            intercept = (fit.y_mean - coef @ fit.x_mean).astype(dtype, copy=False)
            if y.ndim == 1:
                intercept = intercept[0]
        self._forget()
        self.coef_ = (coef[0] if y.ndim == 1 else coef).astype(dtype, copy=False)
        self.intercept_ = intercept
        self.n_iter_ = len(fit.losses)
        self.loss_curve_ = np.array(fit.losses)
        self.learning_rate_ = fit.learning_rate
        self.fit_engine_ = "fastfit"
        self.n_features_in_ = X.shape[1]
        if names is None:
            self.__dict__.pop("feature_names_in_", None)
        if fit.rank is not None:
            self.rank_ = fit.rank
            self._triangle = (fit.triangle, min(X.shape))
        if not fit.converged:
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to "
                "improve the fit.",
                ConvergenceWarning,
                stacklevel=4,
            )


class EpochWatch:
    """Calls the callbacks' hooks around the epochs of one mini-batch descent."""

    def __init__(self, estimator, callbacks, X, y):
        self.estimator = estimator
        self.callbacks = callbacks
        self.data = X, y

    def begin_epoch(self):
        """Begin an epoch; returns the learning rate that a callback wants, or None."""
        self.callbacks.begin_epoch()
        return scheduled_rate_of(self.estimator)

    def end_epoch(self, fit_so_far):
        """End an epoch; returns whether a callback wants the descent to end."""

        def learned():
            fitted = copy.copy(self.estimator)
            fitted._store(fit_so_far(), *self.data, fitted.__dict__.get("feature_names_in_"))
            return {name: value for name, value in vars(fitted).items() if name.endswith("_")}

        return self.callbacks.end_epoch(learned)
