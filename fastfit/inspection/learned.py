"""What a fit has learned: arrays and trees as lines of a table, and the model itself in a few words."""

import numbers
from typing import NamedTuple

import numpy as np

__all__ = ["LearnedParameter", "learned_parameters", "summarise_model"]

# Attributes that tell about the data or the engine, or repeat what others hold.
NOT_LEARNED = ("estimator_", "feature_names_in_", "fit_engine_", "n_features_in_")
MAX_SHOWN_VALUES = 3
MAX_TEXT = 40


class LearnedParameter(NamedTuple):
    """One learned parameter.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Empty for a single value.
    dtype : str
    n_values : int
    n_bytes : int
        Of the values alone, without Python's objects around them.
    value : str
        The value itself, or the first of them; of trees what they look like.
    """

    name: str
    shape: tuple
    dtype: str
    n_values: int
    n_bytes: int
    value: str


def learned_parameters(estimator):
    """Return the learned parameters of a fitted estimator, in the order in which the fit has set them.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    parameters : list of LearnedParameter
        Empty before the fit.
    """
    found = []
    for name, value in vars(estimator).items():
        if name == "_predictors":
            found.append(_boosted_rounds(value))
        elif name.endswith("_") and not name.startswith("_") and name not in NOT_LEARNED:
            found += _lines_of(name, value)
    return found


def shortened(value, length=MAX_TEXT):
    """Return the representation of an object in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= length else text[: length - 2] + " …"


def _lines_of(name, value):
    if value is None:
        return []
    if _is_tree(value):
        return [_tree_line(name, value)]
    estimators = _estimators_in(value)
    if estimators:
        return [_estimators_line(name, value, estimators)]
    if isinstance(value, list | tuple) and value and all(isinstance(item, np.ndarray) for item in value):
        return [line for i, item in enumerate(value) for line in _lines_of(f"{name}[{i}]", item)]
    if isinstance(value, str | bool | numbers.Number | np.generic | np.ndarray | list | tuple):
        return [_array_line(name, value)]
    return [LearnedParameter(name, (), type(value).__name__, 1, 0, shortened(value))]


def _array_line(name, value):
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of different lengths
        return LearnedParameter(name, (len(value),), type(value).__name__, len(value), 0, shortened(value))
    n_bytes = array.nbytes if array.dtype != object else 0
    dtype = type(value).__name__ if isinstance(value, str | bool) else str(array.dtype)
    return LearnedParameter(name, array.shape, dtype, array.size, n_bytes, _first_values(array))


def _first_values(array):
    shown = [_short(item) for item in array.flat[:MAX_SHOWN_VALUES]]
    return ", ".join(shown) + (", …" if array.size > MAX_SHOWN_VALUES else "")


def _short(item):
    return f"{item:.4g}" if isinstance(item, float | np.floating) else str(item)


def _is_tree(value):
    return hasattr(value, "node_count") and hasattr(value, "max_depth") and hasattr(value, "__getstate__")


def _tree_bytes(tree):
    state = tree.__getstate__()
    return state["nodes"].nbytes + state["values"].nbytes


def _tree_line(name, tree):
    text = f"depth {tree.max_depth}, {count(tree.n_leaves, 'leaf')}"
    return LearnedParameter(name, (tree.node_count,), "nodes", tree.node_count, _tree_bytes(tree), text)


def _estimators_in(value):
    """Return the fitted trees in a list or an array of estimators; empty for all else."""
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist() if value.dtype == object else []
    if not isinstance(value, list) or not value:
        return []
    return value if all(hasattr(item, "tree_") for item in value) else []


def _estimators_line(name, value, estimators):
    trees = [estimator.tree_ for estimator in estimators]
    n_nodes = sum(tree.node_count for tree in trees)
    n_bytes = sum(map(_tree_bytes, trees))
    text = f"{count(n_nodes, 'node')}, {count(sum(int(tree.n_leaves) for tree in trees), 'leaf')}"
    return LearnedParameter(name, np.shape(value), type(estimators[0]).__name__, len(trees), n_bytes, text)


def _boosted_rounds(rounds):
    """One line for the trees of histogram boosting, which scikit-learn keeps in a private list of lists."""
    trees = [tree for trees in rounds for tree in trees]
    n_bytes = sum(tree.nodes.nbytes for tree in trees)
    n_nodes = sum(len(tree.nodes) for tree in trees)
    n_leaves = sum(int(tree.get_n_leaf_nodes()) for tree in trees)
    shape = (len(rounds), len(rounds[0]) if rounds else 0)
    text = f"{count(n_nodes, 'node')}, {count(n_leaves, 'leaf')}"
    return LearnedParameter("_predictors", shape, "TreePredictor", len(trees), n_bytes, text)


# ------------------------------------------------------------------------------------- the model in a few words


def summarise_model(estimator):
    """Return lines that say what the fitted model is.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    lines : list of str
        A line ``y = m x + b`` for one feature, depth and leaves of trees, rounds and leaves of boosting, the layers
        of a network, the best setting of a search; empty where there is nothing to say.
    """
    learned = vars(estimator)
    if "cv_results_" in learned:
        return _search_lines(estimator)
    if "coefs_" in learned:
        return _network_lines(estimator)
    if "tree_" in learned:
        tree = estimator.tree_
        return [
            f"a tree of depth {tree.max_depth} with {count(tree.n_leaves, 'leaf')} "
            f"({count(tree.node_count, 'node')})"
        ]
    if "_predictors" in learned:
        return _boosting_line(
            len(estimator._predictors),
            [
                (int(tree.get_max_depth()), int(tree.get_n_leaf_nodes()))
                for trees in estimator._predictors
                for tree in trees
            ],
        )
    trees = _estimators_in(learned.get("estimators_"))
    if trees:
        sizes = [(int(tree.tree_.max_depth), int(tree.tree_.n_leaves)) for tree in trees]
        if isinstance(estimator.estimators_, np.ndarray):
            return _boosting_line(len(estimator.estimators_), sizes)
        return [f"{count(len(trees), 'tree')} of {_sizes_text(sizes)}"]
    if "coef_" in learned and "intercept_" in learned:
        return _line_equation(estimator)
    return []


def _search_lines(search):
    """Return the best setting of a finished search, and what the model is that was fitted with it."""
    learned = vars(search)
    n_settings = count(len(search.cv_results_["params"]), "setting")
    lines = [f"a search over {n_settings}"]
    if "best_params_" in learned:
        setting = ", ".join(f"{name}={value!r}" for name, value in search.best_params_.items())
        lines = [f"the best of {n_settings}: {setting}"]
    if "best_score_" in learned:
        lines[0] += f" (mean test score {search.best_score_:.4g})"
    if "best_estimator_" in learned:
        model = search.best_estimator_
        while hasattr(model, "steps"):
            model = model.steps[-1][1]
        lines += summarise_model(model)
    return lines


def _boosting_line(n_rounds, sizes):
    if not sizes:
        return [f"{count(n_rounds, 'round')}"]
    return [f"{count(n_rounds, 'round')}, {count(len(sizes), 'tree')} of {_sizes_text(sizes)}"]


def _sizes_text(sizes):
    depths, leaves = zip(*sizes, strict=True)
    depth = f"{min(depths)}" if min(depths) == max(depths) else f"{min(depths)} to {max(depths)}"
    return f"depth {depth} with {count(sum(leaves), 'leaf')} in all"


def _line_equation(estimator):
    coef, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
    if coef.ndim == 0 or coef.size == 0:
        return []
    has_intercept = bool(intercept.size and getattr(estimator, "fit_intercept", True))
    if coef.shape[-1] == 1 and coef.size == 1:
        names = getattr(estimator, "feature_names_in_", None)
        x = "x" if names is None else str(names[0])
        left = "score" if hasattr(estimator, "classes_") else "y"
        line = f"{left} = {coef.ravel()[0]:.6g} {x}"
        if not has_intercept:
            return [line]
        shift = float(intercept.ravel()[0])
        return [f"{line} {'-' if shift < 0 else '+'} {abs(shift):.6g}"]
    n_outputs = 1 if coef.ndim == 1 else coef.shape[0]
    what = (
        "a weight for each of" if n_outputs == 1 else f"{n_outputs} outputs, each with a weight for each of"
    )
    ending = "and an intercept" if has_intercept else "without an intercept"
    return [f"{what} {count(coef.shape[-1], 'feature')}, {ending}"]


def _network_lines(estimator):
    units = [estimator.coefs_[0].shape[0], *(coef.shape[1] for coef in estimator.coefs_)]
    lines = [f"a network of {count(len(units) - 2, 'hidden layer')}: {' -> '.join(map(str, units))}"]
    for i, (coef, shift) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        is_last = i == len(estimator.coefs_) - 1
        activation = estimator.out_activation_ if is_last else estimator.activation
        name = "output" if is_last else f"hidden {i + 1}"
        lines.append(
            f"  {name}: {coef.shape[0]} -> {coef.shape[1]} {activation}, "
            f"{count(coef.size, 'weight')} + {count(shift.size, 'intercept')}"
        )
    total = sum(coef.size for coef in estimator.coefs_) + sum(shift.size for shift in estimator.intercepts_)
    return [*lines, f"  {total:,} parameters in all"]


def count(number, noun):
    """Return a number with its noun, in the plural where it belongs.

    Examples
    --------
    >>> from fastfit.inspection.learned import count
    >>> count(1, "leaf"), count(12_000, "leaf"), count(3, "tree")
    ('1 leaf', '12,000 leaves', '3 trees')
    """
    if number == 1:
        return f"1 {noun}"
    plural = "leaves" if noun == "leaf" else f"{noun}s"
    return f"{number:,} {plural}"
