"""What MLPClassifier and MLPRegressor share: from hyperparameters and data to a training run, and its fallback."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastfit.fallback import note_fallback
from fastfit.fit_callbacks import start_callbacks
from fastfit.former_fit import keep_former_fit
from fastfit.neural_network.plain_arrays import FLOAT_DTYPES, is_plain_weight
from fastfit.neural_network.prediction import (
    is_beyond_doubt,
    is_much_work,
    is_plain_input,
    network_outputs,
    outputs_of_many,
)
from fastfit.parameters import ValidatesChangedParameters
from fastfit.runtime.threads import threads_for

STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw", "rmsprop")

# What scikit-learn's networks have of the hyperparameters that fastfit adds choices to.
SKLEARN_CHOICES = {
    "activation": ("identity", "logistic", "tanh", "relu"),
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
}
# fastfit's own hyperparameters, with the values that leave scikit-learn's training as it is.
PLAIN_VALUES = {
    "dtype": "auto",
    "class_weight": None,
    "dropout": 0.0,
    "max_grad_norm": None,
    "warmup_epochs": 0,
}
# Those that L-BFGS has no place for.
NOT_FOR_LBFGS = ("dropout", "max_grad_norm", "warmup_epochs")

PARAMETER_CONSTRAINTS = {
    "activation": [StrOptions({*SKLEARN_CHOICES["activation"], "leaky_relu", "elu", "gelu", "silu"})],
    "solver": [StrOptions({"lbfgs", *STOCHASTIC_SOLVERS})],
    "learning_rate": [StrOptions({*SKLEARN_CHOICES["learning_rate"], "cosine", "step"})],
    "n_jobs": [None, Integral],
    "dtype": [StrOptions({"auto", "float32", "float64"})],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "max_grad_norm": [None, Interval(Real, 0, None, closed="neither")],
    "rho": [Interval(Real, 0, 1, closed="left")],
    "step_epochs": [Interval(Integral, 1, None, closed="left")],
    "step_factor": [Interval(Real, 0, 1, closed="right")],
    "warmup_epochs": [Interval(Real, 0, None, closed="left")],
}


class MLPFitting(ValidatesChangedParameters, CallbackSupportMixin):
    """Mixin before scikit-learn's class: its checks, errors and learned attributes around fastfit's kernels."""

    def _fit_whole(self, fit, X, y, sample_weight, X_val, y_val):
        """What ``fit`` does around ``fit`` of scikit-learn's class, which calls `_fit`."""
        if (X_val is None) != (y_val is None):
            given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} was given without {missing}; give both or neither.")
        with keep_former_fit(self):
            self._validation_data = None if X_val is None else (X_val, y_val)
            fit(X, y, sample_weight=sample_weight)
            del self._validation_data
        return self

    def _fit(self, X, y, sample_weight=None, incremental=False):
        """Fit; scikit-learn's ``fit`` and ``partial_fit`` call this with validated hyperparameters."""
        # Here, since whoever only predicts a few rows never needs Numba.
        from fastfit.neural_network import training_run

        if issparse(X):
            return self._fall_back(X, y, sample_weight, incremental)
        training_run.hidden_layer_sizes(self)
        threads_for(0.0, self.n_jobs)  # raises for an n_jobs that makes no sense
        self._check_settings(incremental)
        n_tasks = 1 if incremental else self.max_iter + (self.solver == "lbfgs")
        callbacks = start_callbacks(self, X, y, sample_weight, n_tasks)
        starts_anew = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        checked, target, n_outputs = self._check_data(X, y, incremental, starts_anew)
        if issparse(checked):
            # A DataFrame of sparse columns, which is sparse only once it is converted.
            return self._fall_back(X, y, sample_weight, incremental)
        checked = self._converted(checked, starts_anew)
        if sample_weight is not None and not is_plain_weight(sample_weight, len(checked)):
            sample_weight = _check_sample_weight(sample_weight, checked)
        samples = training_run.Samples(
            checked, target, self._total_weight(sample_weight, target, incremental)
        )
        self._random_state = check_random_state(self.random_state)
        held_out = (
            None if incremental else self._checked_validation_data(checked, n_outputs, training_run.Samples)
        )
        self.fit_engine_ = "fastfit"
        training_run.train(
            self, samples, n_outputs, held_out=held_out, incremental=incremental, callbacks=callbacks
        )
        if callbacks is not None:
            callbacks.end()
        return self

    def _sharing(self):
        """Return what settings of this estimator share."""
        from fastfit.neural_network.network_sharing import NetworkSharing

        return NetworkSharing()

    def _check_settings(self, incremental):
        """Raise where hyperparameters that are valid one by one do not go together."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver == "lbfgs":
            for name in NOT_FOR_LBFGS:
                if getattr(self, name) != PLAIN_VALUES[name]:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} has no meaning for solver='lbfgs', which takes full batches "
                        f"and finds its own step sizes; use {name}={PLAIN_VALUES[name]!r}."
                    )
            if self.__dict__.get("_validation_data") is not None:
                raise ValueError("X_val and y_val have no meaning for solver='lbfgs', which knows no epochs.")

    def _converted(self, X, starts_anew):
        """X with the dtype to compute in: its own, the one asked for, or that of the weights to go on with."""
        dtype = X.dtype if self.dtype == "auto" else np.dtype(self.dtype)
        if not starts_anew and self.coefs_[0].dtype in FLOAT_DTYPES:
            dtype = self.coefs_[0].dtype
        return X.astype(dtype, copy=False)

    def _total_weight(self, sample_weight, target, incremental):
        """The weights of the samples, times those of their classes; None where all are one."""
        return None if sample_weight is None or (sample_weight == 1.0).all() else sample_weight

    def _checked_validation_data(self, X, n_outputs, samples_class):
        """The validation data given to ``fit``, checked, or None."""
        given = self.__dict__.get("_validation_data")
        if given is None:
            return None
        X_val, y_val = given
        X_val = validate_data(self, X_val, reset=False, dtype=X.dtype, order="C")
        return samples_class(X_val, self._validation_target(y_val, len(X_val), n_outputs), None)

    def _fall_back(self, X, y, sample_weight, incremental):
        """Let scikit-learn fit sparse X, if it has all that was asked for."""
        if self.__dict__.get("_validation_data") is not None:
            raise ValueError("X_val and y_val need dense X.")
        for name, value in self._beyond_scikit_learn():
            raise ValueError(
                f"{name}={value!r} needs dense X; scikit-learn, which fits sparse X, does not have it."
            )
        note_fallback(self, "sparse X")
        if incremental:
            self._hand_over_optimizer()
        callbacks = start_callbacks(self, X, y, sample_weight, n_tasks=0)
        super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        self.fit_engine_ = "scikit-learn"
        if callbacks is not None:
            callbacks.end()
        return self

    def _beyond_scikit_learn(self):
        """Yield (name, value) of the hyperparameters that scikit-learn's class does not have."""
        for name, choices in SKLEARN_CHOICES.items():
            if getattr(self, name) not in choices:
                yield name, getattr(self, name)
        for name, plain in PLAIN_VALUES.items():
            if getattr(self, name, plain) != plain:
                yield name, getattr(self, name)

    def _hand_over_optimizer(self):
        """Replace an optimizer of fastfit's by scikit-learn's own in the same state, with weights of its own."""
        if getattr(self.__dict__.get("_optimizer"), "state", None) is None:
            return
        from fastfit.neural_network.optimizers import unpacked_optimizer

        self._optimizer = unpacked_optimizer(self._optimizer, self.coefs_, self.intercepts_)
        # scikit-learn writes into them.
        self.coefs_ = [coef.copy() for coef in self.coefs_]
        self.intercepts_ = [intercept.copy() for intercept in self.intercepts_]

    def _takes_scheduled_rate(self):
        """Return why a callback cannot set the learning rate, or an empty text."""
        return "solver='lbfgs' finds its own step sizes" if self.solver == "lbfgs" else ""

    def _check_solver(self):
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _forward_pass_fast(self, X, check_input=True):
        """Outputs of the last layer, of shape (n_samples, n_outputs); scikit-learn's predictions call this."""
        return self._outputs(X, check_input, self.out_activation_)

    def _outputs(self, X, check_input, out_activation):
        # Where a kernel reads X, it sees whether X is finite: another pass over X would take a tenth of the time.
        is_checked_on_the_way = check_input and is_plain_input(self, X) and is_much_work(X, self.coefs_)
        if check_input and not is_checked_on_the_way and not is_beyond_doubt(self, X):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        values = X if self.dtype == "auto" else X.astype(self.dtype, copy=False)
        network = self.coefs_, self.intercepts_, self.activation, out_activation, self.n_jobs
        if not is_checked_on_the_way:
            return network_outputs(values, *network)
        outputs, is_finite = outputs_of_many(values, *network)
        if not is_finite:
            validate_data(self, X, reset=False)  # raises, but for finite values whose sum is not
        return outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # What only fastfit does, it does for dense X.
        tags.input_tags.sparse = next(self._beyond_scikit_learn(), None) is None
        return tags
