"""Labels of classes as what a network is trained on, and weights of classes as weights of samples."""

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight

from fastfit.tree.class_labels import encode_labels, sample_weight_of_classes


def is_plain_label_array(y, n_samples):
    """Return whether y holds one label a sample, of a kind that can be counted: no strings among numbers."""
    if type(y) is not np.ndarray or y.shape != (n_samples,) or y.dtype.kind not in "biuU":
        return False
    return n_samples > 0


def encode_plain_labels(y, classes=None):
    """Return the classes of y, sorted, and y as indices of them.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        See `is_plain_label_array`.
    classes : ndarray of shape (n_classes,) or None
        Classes that are known; None to find them.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,) of intp
        None if y has a class that is not known.
    found : int
        How many of the classes y has.

    Examples
    --------
    >>> import numpy as np
    >>> from fastfit.neural_network.class_targets import encode_plain_labels
    >>> encode_plain_labels(np.array([3, 5, 3]))
    (array([3, 5]), array([0, 1, 0]), 2)
    >>> encode_plain_labels(np.array([3, 5, 3]), np.array([1, 3, 5]))
    (array([1, 3, 5]), array([1, 2, 1]), 2)
    """
    (present,), codes = encode_labels(y.reshape(-1, 1))
    codes = codes[:, 0]
    if classes is None:
        return present, codes, len(present)
    if present.dtype.kind != classes.dtype.kind or not np.isin(present, classes).all():
        return classes, None, len(present)
    if len(present) < len(classes):
        codes = np.searchsorted(classes, present)[codes]
    return classes, codes, len(present)


def binarizer_of(classes):
    """Return scikit-learn's `LabelBinarizer`, fitted to labels with these classes."""
    binarizer = LabelBinarizer()
    binarizer.y_type_ = "multiclass" if len(classes) > 2 else "binary"
    binarizer.sparse_input_ = False
    binarizer.classes_ = classes
    return binarizer


def target_of_codes(codes, n_classes):
    """Return what a network is trained on, and how many outputs it needs: two classes share one."""
    if n_classes > 2:
        return codes, n_classes
    return codes == 1, 1


def target_of_indicators(indicators, y_type):
    """Return the same for scikit-learn's matrix of 0 and 1, of shape (n_samples, n_outputs)."""
    if y_type == "multiclass":
        return indicators.argmax(axis=1), indicators.shape[1]
    if y_type == "binary":
        return indicators[:, 0], 1
    return indicators, indicators.shape[1]


def weight_of_classes(class_weight, target, classes):
    """Return the weight that ``class_weight`` gives to each sample, of shape (n_samples,).

    Raises
    ------
    ValueError
        If the weights do not fit the classes; scikit-learn's message.
    """
    if target.ndim == 2:
        return compute_sample_weight(class_weight, target.astype(np.intp))
    codes = target.astype(np.intp).reshape(-1, 1)
    return sample_weight_of_classes(class_weight, codes, [classes], codes)


def validation_target(y, classes, binarizer):
    """Return validation labels as indices of classes, below zero where unknown, or as a matrix of booleans."""
    y = np.asarray(y)
    if binarizer.y_type_.startswith("multilabel"):
        if y.ndim != 2 or y.shape[1] != len(classes):
            raise ValueError(f"y_val has shape {y.shape}, but y has {len(classes)} labels a sample.")
        return y.astype(bool)
    if y.ndim != 1:
        raise ValueError(f"y_val has shape {y.shape}; labels of one dimension were expected.")
    index_of = {label: index for index, label in enumerate(classes.tolist())}
    return np.array([index_of.get(label, -1) for label in y.tolist()], dtype=np.intp)
