"""Tables from files and scikit-learn's bundled data sets, for the command line."""

import csv
import os

import numpy as np
from sklearn import datasets

__all__ = ["BUNDLED", "load_table"]

BUNDLED = {
    "breast-cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}
# Of more different whole numbers than this a target is taken for a number, not a class.
MAX_CLASSES = 50


def load_table(data, target=None, drop=()):
    """Load a table of numbers and its target.

    Parameters
    ----------
    data : str
        A name in `BUNDLED`, or the path of a CSV file whose first row names the columns.
    target : str, default=None
        Column of a CSV file to predict: numbers, or classes as text.
    drop : sequence of str, default=()
        Columns of a CSV file to leave out.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    y : ndarray of shape (n_samples,)
    is_classification : bool
        Whether the target is text, or whole numbers of which there are few.

    Raises
    ------
    ValueError
        If the file cannot be read as such a table; a column that holds text is named.
    OSError
    """
    if data in BUNDLED:
        if target is not None or drop:
            raise ValueError(
                f"{data} is a bundled data set with its own target; columns are chosen of CSV files."
            )
        X, y = BUNDLED[data](return_X_y=True)
        return np.asarray(X, dtype=np.float64), y, y.dtype.kind in "iu"
    if not os.path.exists(data):
        raise ValueError(f"no such file: {data}; bundled data sets are {', '.join(BUNDLED)}.")
    if target is None:
        raise ValueError(f"name the column of {data} to predict with --target.")
    return _read_csv(data, target, drop)


def _read_csv(path, target, drop):
    header = _read_header(path)
    for name in (target, *drop):
        if name not in header:
            raise ValueError(f"{path} has no column {name!r}; there are: {_some(header)}.")
    columns = [i for i, name in enumerate(header) if name != target and name not in drop]
    if not columns:
        raise ValueError(f"{path} has no columns beside the target {target!r}.")
    layout = {"delimiter": ",", "skiprows": 1, "quotechar": '"', "comments": None, "encoding": "utf-8-sig"}
    try:
        X = np.loadtxt(path, usecols=columns, ndmin=2, **layout)
        y = np.loadtxt(path, usecols=header.index(target), dtype=str, ndmin=1, **layout)
    except ValueError:
        _complain(path, header, columns)
        raise
    if len(X) == 0:
        raise ValueError(f"{path} has no rows below its header.")
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"column {header[columns[column]]!r} of {path} holds {X[row, column]} in row {row + 2}: "
            "fill missing values, or leave the column out with --drop."
        )
    return X, *_target_of(y, path, target)


def _read_header(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            header = next(csv.reader(file), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file: {error}.") from None
    header = [name.strip() for name in header]
    if not any(header):
        raise ValueError(f"{path} is empty.")
    if all(map(_is_number, header)):
        raise ValueError(f"the first row of {path} must name the columns, and holds numbers only.")
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"{path} has two columns named {twice!r}.")
    return header


def _complain(path, header, columns):
    """Raise for the first value that is no number, with its column and row."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        next(rows)
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"row {number} of {path} has {len(row)} values, and the header {len(header)}."
                )
            for i in columns:
                if not row[i].strip():
                    raise ValueError(
                        f"column {header[i]!r} of {path} is empty in row {number}: fill missing values, or leave the "
                        "column out with --drop."
                    )
                if not _is_number(row[i]):
                    raise ValueError(
                        f"column {header[i]!r} of {path} holds text ({row[i]!r} in row {number}): encode it as "
                        "numbers, or leave it out with --drop."
                    )


def _target_of(texts, path, name):
    """Return the target, as numbers where all are, and whether it is classes."""
    texts = np.char.strip(texts)
    try:
        y = texts.astype(np.float64)
    except ValueError:
        return texts, True
    if not np.isfinite(y).all():
        raise ValueError(
            f"the target {name!r} of {path} has missing values, the first in row {np.argmin(np.isfinite(y)) + 2}."
        )
    is_whole = (y == np.round(y)).all()
    is_classes = is_whole and len(np.unique(y)) <= min(MAX_CLASSES, max(2, len(y) // 5))
    return (y.astype(np.int64) if is_classes else y), bool(is_classes)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _some(names, n_shown=12):
    return ", ".join(names[:n_shown]) + (", ..." if len(names) > n_shown else "")
