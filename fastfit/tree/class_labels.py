"""Class labels as numbers 0, 1, 2, ..., and weights of classes as weights of samples.

scikit-learn sorts the labels for this, several times: 15 ms each for 100,000 integers. Counting takes 0.2 ms.
"""

import warnings

import numpy as np
from sklearn import config_context
from sklearn.utils import compute_sample_weight
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

# Integers whose range is at most this many times their number are counted instead of sorted.
MAX_SPREAD = 4
MIN_COUNTABLE = 1000


def encode_labels(y):
    """Return the classes of each column of y, sorted, and y as indices of these classes.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_outputs)
        Labels: integers, floats without fraction, booleans or strings.

    Returns
    -------
    classes : list of ndarray of shape (n_classes,)
        Of each output, with the dtype of y.
    codes : ndarray of shape (n_samples, n_outputs) of intp

    Raises
    ------
    ValueError
        If y holds no labels of classes, such as floats with a fraction; scikit-learn's message.

    Warns
    -----
    UserWarning
        If there are so many classes that y looks like a target of regression.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.class_labels import encode_labels
    >>> encode_labels(np.array([["red"], ["blue"], ["red"]]))
    ([array(['blue', 'red'], dtype='<U4')], array([[1],
           [0],
           [1]]))
    """
    n_outputs = y.shape[1]
    columns = [_encode(y[:, k]) for k in range(n_outputs)]
    if None in columns:
        check_classification_targets(y)
        columns = [np.unique(y[:, k], return_inverse=True) for k in range(n_outputs)]
    else:
        _warn_of_many_classes([column[0] for column in columns], len(y))
    codes = columns[0][1].reshape(-1, 1) if n_outputs == 1 else np.column_stack([c for _, c in columns])
    return [classes for classes, _ in columns], codes


def sample_weight_of_classes(class_weight, y, classes, codes):
    """Return the weight that ``class_weight`` gives to each sample: scikit-learn's `compute_sample_weight`.

    Parameters
    ----------
    class_weight : dict, list of dict or "balanced"
        As in the estimators.
    y : ndarray of shape (n_samples, n_outputs)
        The labels.
    classes, codes
        What `encode_labels` returned for y.

    Returns
    -------
    weight : ndarray of shape (n_samples,) of float64
        The product over the outputs.

    Raises
    ------
    ValueError
        If the weights do not fit the classes or the number of outputs; scikit-learn's message.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.tree.class_labels import encode_labels, sample_weight_of_classes
    >>> y = np.array([[3], [7], [7]])
    >>> sample_weight_of_classes("balanced", y, *encode_labels(y))
    array([1.5 , 0.75, 0.75])
    """
    n_samples, n_outputs = y.shape
    if isinstance(class_weight, str) and class_weight == "balanced":
        weight = np.ones(n_samples)
        for k in range(n_outputs):
            counts = np.bincount(codes[:, k], minlength=len(classes[k])).astype(np.float64)
            weight *= (n_samples / (len(classes[k]) * counts))[codes[:, k]]
        return weight
    # Both functions of scikit-learn would look at their arguments again, in other words.
    with config_context(skip_parameter_validation=True):
        if n_outputs == 1 and isinstance(class_weight, dict):
            of_class = compute_class_weight(class_weight, classes=classes[0], y=classes[0])
            return of_class[codes[:, 0]].astype(np.float64, copy=False)
        return compute_sample_weight(class_weight, y)


def _encode(y):
    """Return (classes, codes) of one output, or None where scikit-learn has to look at y."""
    kind = y.dtype.kind
    if kind == "b":
        classes, codes = _encode_integers(y.view(np.uint8))
        return classes.astype(bool), codes
    if kind in "iu":
        return _encode_integers(y)
    if kind == "f":
        return _encode_whole_floats(y)
    if kind == "U":
        return _encode_strings(y)
    if kind == "O" and set(map(type, y)) == {str}:
        return _encode_strings(y)
    return None


def _encode_integers(y):
    lowest, highest = int(y.min()), int(y.max())
    spread = highest - lowest
    if spread > max(MAX_SPREAD * len(y), MIN_COUNTABLE) or highest > np.iinfo(np.intp).max:
        return np.unique(y, return_inverse=True)
    above = y.astype(np.intp)
    if lowest != 0:
        above -= lowest
    counts = np.bincount(above)
    if counts.all():
        present, codes = np.arange(spread + 1), above
    else:
        present = np.flatnonzero(counts)
        codes = (np.cumsum(counts > 0) - 1)[above]
    return (present + lowest).astype(y.dtype), codes


def _encode_whole_floats(y):
    with np.errstate(invalid="ignore"):
        whole = y.astype(np.int64)
    if np.any(whole != y):
        return None
    classes, codes = _encode_integers(whole)
    return classes.astype(y.dtype), codes


def _encode_strings(y):
    labels = y.tolist()
    ordered = sorted(set(labels))
    index_of = dict(zip(ordered, range(len(ordered)), strict=True))
    codes = np.fromiter(map(index_of.__getitem__, labels), dtype=np.intp, count=len(labels))
    return np.array(ordered, dtype=y.dtype), codes


def _warn_of_many_classes(classes, n_samples):
    if n_samples <= 20:
        return
    n_classes = len(classes[0]) if len(classes) == 1 else len(np.unique(np.concatenate(classes)))
    if n_classes > round(0.5 * n_samples):
        warnings.warn(
            "The number of unique classes is greater than 50% of the number of samples. `y` could represent a "
            "regression problem, not a classification problem.",
            UserWarning,
            stacklevel=5,
        )
