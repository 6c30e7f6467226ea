"""What settings of one estimator share: the words in which estimators say so, each in one small place of its own.

An estimator whose settings share work has a method ``_sharing()`` that returns a `Sharing`. A search asks it which
settings belong together, has it fit them as one, and gets a fitted estimator for each.
"""

from numbers import Integral

import numpy as np
from sklearn.base import clone

from fastfit.parameters import default_parameters


class Sharing:
    """Settings that share nothing but what is prepared from the data: each is fitted by itself.

    Attributes
    ----------
    varied : tuple of str
        Hyperparameters in which settings may differ and still be fitted as one.
    unit : str
        What work is counted in.
    """

    varied = ()
    unit = "fits"

    def covers(self, estimator):
        """Return whether this setting can be fitted together with others."""
        return False

    def key(self, estimator):
        """Return a hashable that is equal for settings that can be fitted as one; None: by itself."""
        if not self.covers(estimator):
            return None
        return fixed_parameters(estimator, self.varied)

    def work(self, estimator):
        """Return how much work, in `unit`, a fit of this setting by itself takes."""
        return 1

    def parts(self, estimators):
        """Return lists of positions of settings of one key: nearly nothing is lost if each list is fitted as one.

        Parts can be in work at the same time. Those that take longer come first.
        """
        return [range(len(estimators))]

    def goes_on(self, estimator, name):
        """Return whether a fit can go on to a larger value of this hyperparameter; see `go_on`."""
        return False

    def fit(self, estimators, X, y, fit_params):
        """Fit settings of one key.

        Parameters
        ----------
        estimators : list of estimators
            Unfitted, one for each setting; they stay as they are.
        X, y : what ``fit`` takes
        fit_params : dict
            Further arguments of ``fit``.

        Returns
        -------
        run : Run
        """
        return Run(self, estimators, X, y, fit_params)

    def begin(self, estimators, X, y, fit_params):
        """Fit as `fit` does, and keep what `go_on` needs."""
        return self.fit(estimators, X, y, fit_params)


class Run:
    """Settings of one key, fitted.

    Attributes
    ----------
    n_fits : int
        How many fits were run.
    work : int
        How much work that was, in the unit of the sharing.
    """

    def __init__(self, sharing, estimators, X, y, fit_params):
        self.sharing = sharing
        self.estimators = estimators
        self.n_fits = len(estimators)
        self.fitted = [fit_clone(estimator, X, y, fit_params) for estimator in estimators]
        self.work = sum(map(sharing.work, estimators))

    def work_of(self, i):
        """Return how much of that a fit of one setting by itself takes."""
        return self.sharing.work(self.estimators[i])

    def models(self):
        """Yield (position, fitted estimator) for each setting, in an order of the run's own.

        None in place of an estimator: this one cannot be fitted, as a fit by itself will tell.
        """
        yield from enumerate(self.fitted)

    def answers(self, X):
        """Return an iterator over what the models, in the order of `models`, predict for X; None: ask them.

        Each item is a list of (name, make): ``model.name(X)``, which predictions go through, returns ``make()``.
        The iterator is to be made before the models are asked for, and advanced once for each of them.
        """
        return


class PrefixSharing(Sharing):
    """Settings that differ in a number of steps, where the first steps of a long fit are those of a shorter one.

    Subclasses say which hyperparameter it is (`varied`), and how a fit is cut (`cut`) and predicts (`stages`).
    """

    answer = None  # name of the method that all predictions go through

    def count(self, estimator):
        """Return the number of steps of a setting."""
        return int(getattr(estimator, self.varied[0]))

    work = count

    def fit(self, estimators, X, y, fit_params):
        """Fit the longest; see `Sharing.fit`."""
        longest = max(estimators, key=self.count)
        return PrefixRun(self, estimators, fit_clone(longest, X, y, fit_params))

    def go_on(self, run, estimators, X, y, fit_params):
        """Fit settings with more steps than those of ``run``, which was on the same data, from where that ended.

        Returns
        -------
        run : PrefixRun
            Its work is what was done in addition.
        """
        longest = max(estimators, key=self.count)
        former = run.longest
        model = like(former, longest, self.varied, {"warm_start": True})
        model.fit(X, y, **fit_params)
        model.warm_start = False
        further = PrefixRun(self, estimators, model)
        further.work -= run.sharing.work_done(former)
        return further

    def cut(self, longest, count):
        """Return what ``longest`` would have learned in ``count`` steps, as attributes by name."""
        raise NotImplementedError

    def stages(self, longest, counts, X):
        """Return an iterator over the values of `answer` for X after so many steps each, ascending; or None."""
        return

    def work_done(self, longest):
        """Return the number of steps that the longest fit has made."""
        return self.count(longest)


class PrefixRun:
    """The longest of some fits, to be cut to all of them; see `Run`."""

    n_fits = 1

    def __init__(self, sharing, estimators, longest):
        self.sharing = sharing
        self.estimators = estimators
        self.longest = longest
        self.work = sharing.work_done(longest)
        self.order = sorted(range(len(estimators)), key=lambda i: sharing.count(estimators[i]))
        self.counts = [sharing.count(estimators[i]) for i in self.order]

    def work_of(self, i):
        """Return the steps that a fit of one setting by itself takes; it may end before it has to."""
        return max(1, min(self.sharing.count(self.estimators[i]), self.sharing.work_done(self.longest)))

    def models(self):
        """Yield (position, fitted estimator), the fewest steps first."""
        for position, count in zip(self.order, self.counts, strict=True):
            learned = self.sharing.cut(self.longest, count)
            yield position, like(self.longest, self.estimators[position], self.sharing.varied, learned)

    def answers(self, X):
        """Yield [(name, make)] for each model; see `Run.answers`."""
        values = self.sharing.stages(self.longest, self.counts, X)
        return None if values is None else ([(self.sharing.answer, lambda v=v: v)] for v in values)


def fit_clone(estimator, X, y, fit_params):
    """Return a fitted clone."""
    model = clone(estimator)
    return model.fit(X, **fit_params) if y is None else model.fit(X, y, **fit_params)


def like(fitted, estimator, varied, learned):
    """Return a model as ``fitted`` with some hyperparameters of ``estimator`` and other learned attributes."""
    model = object.__new__(type(fitted))
    model.__dict__.update(fitted.__dict__)
    for name in varied:
        model.__dict__[name] = estimator.__dict__[name]
    model.__dict__.update(learned)
    return model


def fixed_parameters(estimator, varied):
    """Return a hashable that is equal for settings that differ in ``varied`` hyperparameters alone."""
    names = default_parameters(type(estimator))
    given = estimator.__dict__
    return tuple((name, hashable_form(given[name])) for name in names if name not in varied)


def is_valid(estimator):
    """Return whether the hyperparameters are such that ``fit`` will not complain about one of them."""
    try:
        estimator._validate_params()
    except (TypeError, ValueError):
        return False
    return True


def is_repeatable(estimator):
    """Return whether the same random numbers are drawn by a fit that goes on as by one that starts anew."""
    return isinstance(estimator.random_state, Integral)


def has_callbacks(estimator):
    """Return whether callbacks watch the fits of this estimator."""
    return bool(getattr(estimator, "_skl_callbacks", ()))


def hashable_form(value):
    """Return a hashable that is equal for values that mean the same.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.sharing import hashable_form
    >>> hashable_form(np.arange(3)) == hashable_form(np.arange(3))
    True
    >>> hashable_form(1) == hashable_form(1.0), hashable_form(None) == hashable_form(False)
    (False, False)
    """
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return type(value).__name__, value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return "ndarray", value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state()
        return "RandomState", kind, keys.tobytes(), *rest
    if type(value) in (list, tuple):
        return type(value).__name__, *map(hashable_form, value)
    if type(value) is dict:
        return "dict", *((hashable_form(key), hashable_form(value[key])) for key in value)
    # Whatever else it is, it means the same as itself.
    return type(value).__name__, id(value)
