"""Keep the best model of a fit in a file, whatever happens to the fit."""

import copy
import os
import pickle
import tempfile
import threading
from numbers import Integral

from sklearn.callback._callback_context import get_context_path

from fastfit.callbacks.fit_states import FitState, FitStates, Scoring

# What belongs to the fit under way and not to the model.
OF_THE_FIT = ("_skl_callbacks", "_skl_callbacks_to_teardown", "_callback_fit_ctx", "_parent_callback_ctx")


class ModelCheckpoint(FitStates):
    """Write models to a file while they are trained.

    A model is pickled to a file beside the one it is meant for and takes its name when it is complete, so that the
    file holds a whole model at any time.

    Parameters
    ----------
    path : str or path-like
        Of the file. ``{iteration}`` in it stands for the number of the epoch, round or tree, ``{task}`` for the place
        of the fit in a search, such as ``0-3-0``. Fits of one search that share a file keep the best of them all,
        unless they run in several processes: then use ``{task}``.
    X_val, y_val : array-like, default=None
        Data to score on, as the estimator itself would get them. None: the training data.
    scoring : str, callable or None, default=None
        As in scikit-learn; None is the estimator's own ``score``. Higher is better.
    save_best_only : bool, default=True
        Whether only a model that scores higher than those before is written. Otherwise nothing is scored.
    every : int, default=1
        Look at every so manieth epoch, round or tree only.

    Attributes
    ----------
    best_score_ : float
        Of what was written last; only with `save_best_only`.
    last_path_ : str
        The file that was written last, in this process.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_diabetes
    >>> from fastfit.callbacks import ModelCheckpoint
    >>> from fastfit.neural_network import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = ModelCheckpoint(os.path.join(folder, "best.pkl"))
    ...     model = MLPRegressor(max_iter=300, random_state=0).set_callbacks(checkpoint).fit(X, y)
    ...     best = ModelCheckpoint.load(checkpoint.last_path_)
    >>> best.score(X, y) == checkpoint.best_score_
    True
    """

    def __init__(self, path, X_val=None, y_val=None, *, scoring=None, save_best_only=True, every=1):
        super().__init__()
        if not isinstance(every, Integral) or isinstance(every, bool) or every < 1:
            raise ValueError(f"every must be an integer of at least 1, got {every!r}.")
        self.path = os.fspath(path)
        self.save_best_only = save_best_only
        self.every = every
        self._scoring = Scoring(scoring, X_val, y_val)
        self._best_of_file = {}
        self._lock = threading.Lock()
        self._file_name(1, [])  # raises for a name in braces that means nothing

    def __getstate__(self):
        state = super().__getstate__()
        del state["_lock"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @staticmethod
    def load(path):
        """Return the model in a file. As with any pickle: only from files that you trust."""
        with open(path, "rb") as file:
            return pickle.load(file)

    def _new_state(self, estimator, context):
        state = FitState(context)
        state.scorer = self._scoring.scorer_for(estimator) if self.save_best_only else None
        return state

    def _file_name(self, iteration, path):
        task = "-".join(str(context.task_id) for context in path[1:])
        try:
            return self.path.format(iteration=iteration, task=task or "0")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"path={self.path!r} has braces other than {{iteration}} and {{task}}: {error}."
            ) from None

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        """Write the model, if it is to be written; never stops the fit."""
        state = self._state_of(estimator)
        if not state.is_iteration(context) or fitted_estimator is None:
            return False
        state.n_iterations += 1
        if state.n_iterations % self.every:
            return False
        file_name = self._file_name(state.n_iterations, get_context_path(state.context))
        if not self.save_best_only:
            with self._lock:
                self._write(file_name, fitted_estimator)
            return False
        score = self._scoring.score(state.scorer, fitted_estimator, X, y)
        with self._lock:
            # Fits of one search have the same root; a fit that begins later does not compete with a former one.
            key = context.root_uuid, file_name if "{iteration}" not in self.path else self.path
            best = self._best_of_file.get(key)
            if best is None or score > best:
                self._best_of_file[key] = self.best_score_ = score
                self._write(file_name, fitted_estimator)
        return False

    def teardown(self, estimator, context):
        """Forget the fit."""
        super().teardown(estimator, context)
        if context.parent is None:
            for key in [key for key in self._best_of_file if key[0] == context.root_uuid]:
                del self._best_of_file[key]

    def _write(self, file_name, model):
        model = copy.copy(model)
        for name in OF_THE_FIT:
            vars(model).pop(name, None)
        folder = os.path.dirname(file_name) or "."
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(file_name)}.")
        try:
            with os.fdopen(handle, "wb") as file:
                pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, file_name)
        except BaseException:
            os.unlink(temporary)
            raise
        self.last_path_ = file_name
