"""A fit that fails leaves the estimator as it was."""

from contextlib import contextmanager


@contextmanager
def keep_former_fit(estimator):
    """Undo every change of attributes of the estimator if the block ends in an exception, Ctrl-C included.

    scikit-learn's ``fit`` forgets the former fit before it looks at the data; a typing error in a notebook should not
    cost a model that took an hour. Arrays are not copied: the block must replace learned arrays, not write into them.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastfit.former_fit import keep_former_fit
    >>> estimator = SimpleNamespace(coef_=1.0)
    >>> try:
    ...     with keep_former_fit(estimator):
    ...         estimator.coef_ = None
    ...         raise ValueError("bad data")
    ... except ValueError:
    ...     estimator.coef_
    1.0
    """
    former = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(former)
        raise
