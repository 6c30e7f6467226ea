"""The kernels that grow a tree with the general engine, one for each criterion, splitter and order of growth."""

import functools

from fastfit.kernels.best_first import make_grow_best_first
from fastfit.kernels.depth_first import make_grow_depth_first


def _make_criterion(name, is_simple):
    """Return the `Criterion` of a name, and import no other."""
    if name in ("gini", "entropy"):
        from fastfit.kernels import general_classification as module
    elif name in ("squared_error", "poisson"):
        from fastfit.kernels import general_regression as module
    elif name == "absolute_error":
        from fastfit.kernels import general_absolute_error as module
    else:
        raise ValueError(f"no criterion is called {name!r}")
    return getattr(module, f"make_{name}")(is_simple)


@functools.cache
def general_engine(criterion, splitter, is_simple, has_categories=False):
    """Return the kernels (bind, begin_node, find_split) of a criterion's name and a splitter, "best" or "random"."""
    if has_categories:
        return _engine_with_categories(criterion, splitter, is_simple)
    if splitter == "best":
        from fastfit.kernels.general_best import make_general_best as make_engine
    elif splitter == "random":
        from fastfit.kernels.general_random import make_general_random as make_engine
    else:
        raise ValueError(f"no splitter of the general engine is called {splitter!r}")
    return make_engine(_make_criterion(criterion, is_simple))


@functools.cache
def general_kernel(criterion, splitter, is_simple, best_first, has_categories=False):
    """Return the kernel that grows a tree, best first or depth first; see `make_grow_depth_first`.

    Parameters
    ----------
    criterion : {"gini", "entropy", "squared_error", "absolute_error", "poisson"}
    splitter : {"best", "random"}
    is_simple : bool
        Whether there is one output, of two classes if it has classes; with absolute errors whether weights are whole
        numbers, none negative. The kernels for all other cases serve as well, but are slower.
    best_first : bool
    has_categories : bool, default=False
        Whether some features are categories; only for the splitter "best", if ``is_simple``, and not for absolute
        errors.

    Raises
    ------
    ValueError
        If there is no such criterion or splitter.
    """
    make_grow = make_grow_best_first if best_first else make_grow_depth_first
    return make_grow(*general_engine(criterion, splitter, is_simple, has_categories))


def _engine_with_categories(criterion, splitter, is_simple):
    from fastfit.kernels.general_best import make_general_best
    from fastfit.kernels.general_categories import divide_by_categories, make_evaluate_categories

    if splitter != "best" or not is_simple or criterion == "absolute_error":
        raise ValueError(f"categories are no features for {splitter!r} splits by {criterion!r}")
    kernels = _make_criterion(criterion, is_simple)
    evaluate = make_evaluate_categories(kernels, criterion in ("gini", "entropy"))
    return make_general_best(kernels, evaluate, divide_by_categories)
