"""A fit that fails leaves the estimator as it was."""

from contextlib import contextmanager

import numpy as np


@contextmanager
def keep_former_fit(estimator):
    """Undo every change of attributes of the estimator if the block ends in an exception, Ctrl-C included.

    scikit-learn's ``fit`` forgets the former fit before it looks at the data; a typing error in a notebook should not
    cost a model that took an hour. Arrays are not copied: the block must replace learned arrays, not write into them.
    Random generators that a warm start goes on with are set back.

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
    states = _states_of_generators(former) if former.get("warm_start") else ()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(former)
        for bit_generator, state in states:
            bit_generator.state = state
        raise


def _states_of_generators(attributes):
    """Return (bit generator, state) of each generator that an estimator keeps for itself."""
    generators = [
        value._bit_generator if isinstance(value, np.random.RandomState) else value.bit_generator
        for name, value in attributes.items()
        if name.startswith("_") and isinstance(value, (np.random.RandomState, np.random.Generator))
    ]
    return [(bit_generator, bit_generator.state) for bit_generator in generators]
