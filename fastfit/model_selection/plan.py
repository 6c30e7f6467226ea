"""Which settings are fitted as one: asked of the estimator, for each setting, and known to nobody else."""

from typing import NamedTuple

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from fastfit.sharing import Sharing, has_callbacks, hashable_form

_SCALARS = (type(None), bool, int, float, str)


class Group(NamedTuple):
    """Settings that are fitted as one.

    Attributes
    ----------
    sharing : fastfit.sharing.Sharing
    positions : list of int
        Of the settings.
    estimators : list of estimators
        Unfitted, one for each setting; of pipelines the last steps.
    head : Head or None
        What comes before the last step of a pipeline.
    key : tuple
        What is the same for all of them.
    """

    sharing: Sharing
    positions: list
    estimators: list
    head: object
    key: tuple


class Head(NamedTuple):
    """The steps of a pipeline but for the last one.

    Attributes
    ----------
    key : tuple
        Equal for steps that do the same.
    pipeline : Pipeline
        The whole pipeline, unfitted.
    """

    key: tuple
    pipeline: Pipeline


class Plan(NamedTuple):
    """How settings are fitted.

    Attributes
    ----------
    groups : list of Group
        Settings of fastfit's estimators.
    others : list of int
        Positions of settings that have to be fitted by themselves: of other estimators, and with callbacks.
    """

    groups: list
    others: list


def plan(estimator, settings):
    """Return which settings are fitted as one.

    Parameters
    ----------
    estimator : estimator
        fastfit's, or a pipeline that ends with one; all others share nothing.
    settings : list of dict
        Hyperparameters by name, as for ``set_params``.

    Returns
    -------
    plan : Plan
        The positions of its groups and of its others are those of all settings, each once.

    Examples
    --------
    >>> from fastfit.ensemble import RandomForestClassifier
    >>> from fastfit.model_selection.plan import plan
    >>> settings = [{"n_estimators": 10}, {"n_estimators": 10, "max_depth": 2}, {"n_estimators": 20}]
    >>> [group.positions for group in plan(RandomForestClassifier(), settings).groups]
    [[0, 2], [1]]
    """
    if not (hasattr(estimator, "_sharing") or type(estimator) is Pipeline):
        return Plan([], list(range(len(settings))))
    by_key, others = {}, []
    configure = _configurer(estimator)
    for position, setting in enumerate(settings):
        try:
            model = configure(setting)
        except (TypeError, ValueError):
            # Whoever fits it will hear what is wrong with it.
            others.append(position)
            continue
        head = None
        if isinstance(model, Pipeline):
            head, model = _split(model)
        declare = getattr(model, "_sharing", None)
        # Callbacks are told of every step of every fit.
        if declare is None or has_callbacks(model):
            others.append(position)
            continue
        sharing = declare()
        key = sharing.key(model)
        # What cannot be fitted with others is a group of one.
        key = (position,) if key is None else (type(model), key, None if head is None else head.key)
        group = by_key.setdefault(key, Group(sharing, [], [], head, key))
        group.positions.append(position)
        group.estimators.append(model)
    return Plan([part for group in by_key.values() for part in _parts(group)], others)


def _parts(group):
    """Return the groups that this one is cut into."""
    return [
        group._replace(
            positions=[group.positions[i] for i in part], estimators=[group.estimators[i] for i in part]
        )
        for part in group.sharing.parts(group.estimators)
    ]


def _configurer(estimator):
    """Return a function from a setting to an estimator that has it."""
    if getattr(estimator, "_sharing", None) is None or isinstance(estimator, type):
        return lambda setting: clone(estimator).set_params(**clone(setting, safe=False))
    template = clone(estimator)
    names = set(template.get_params(deep=False))

    def configure(setting):
        # Cloning an estimator takes as long as scoring one.
        if not names.issuperset(setting):
            return clone(estimator).set_params(**clone(setting, safe=False))
        model = object.__new__(type(template))
        model.__dict__.update(template.__dict__)
        for name, value in setting.items():
            setattr(model, name, value if isinstance(value, _SCALARS) else clone(value, safe=False))
        return model

    return configure


def _split(pipeline):
    """Return (Head, last step) of a pipeline, or (None, pipeline) if it has to be fitted as a whole."""
    if type(pipeline) is not Pipeline or pipeline.memory is not None or pipeline.verbose:
        return None, pipeline
    if getattr(pipeline, "transform_input", None) is not None or getattr(pipeline, "_skl_callbacks", ()):
        return None, pipeline
    steps = pipeline.steps[:-1]
    key = tuple((name, _form_of(step)) for name, step in steps)
    return Head(key, pipeline), pipeline.steps[-1][1]


def _form_of(step):
    if not hasattr(step, "get_params"):
        return hashable_form(step)
    given = step.get_params(deep=False)
    return type(step), *((name, _form_of(given[name])) for name in sorted(given))
