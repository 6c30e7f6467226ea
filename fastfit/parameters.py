"""Validation of hyperparameters at the price of those that were changed."""

import functools
import inspect

from sklearn.utils._param_validation import validate_parameter_constraints


@functools.cache
def default_parameters(estimator_class):
    """Return the defaults of an estimator class's hyperparameters, by name."""
    parameters = inspect.signature(estimator_class.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name != "self"}


class ValidatesChangedParameters:
    """Mixin before scikit-learn's class: defaults are valid, so only what differs from them is looked at.

    scikit-learn looks at every hyperparameter at every fit, which takes a hundred microseconds: as long as a fit of a
    small table.
    """

    def _validate_params(self):
        given = self.__dict__
        defaults = default_parameters(type(self))
        changed = {name: given[name] for name, default in defaults.items() if given[name] is not default}
        validate_parameter_constraints(self._parameter_constraints, changed, caller_name=type(self).__name__)
