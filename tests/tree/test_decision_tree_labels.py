"""Labels as numbers and weights of classes: the same as scikit-learn's, which sorts where we count."""

import warnings

import numpy as np
import pytest
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from fastfit.tree import DecisionTreeClassifier
from fastfit.tree.class_labels import encode_labels, sample_weight_of_classes

RNG = np.random.default_rng(0)
DRAWS = RNG.integers(0, 5, 50)

LABELS = {
    "integers": DRAWS,
    "gaps": np.array([0, 3, 4, 90, 91])[DRAWS],
    "negative": DRAWS - 3,
    "int8 from end to end": np.array([-128, -1, 0, 1, 127], dtype=np.int8)[DRAWS],
    "uint8": DRAWS.astype(np.uint8) + np.uint8(200),
    "far apart": np.array([-(2**62), 0, 5, 10**12, 2**62])[DRAWS],
    "uint64 beyond int64": np.uint64(2**64 - 1) - DRAWS.astype(np.uint64),
    "one class": np.full(50, 7),
    "booleans": DRAWS > 2,
    "whole floats": DRAWS - 2.0,
    "float32": DRAWS.astype(np.float32) * 1000,
    "strings": np.array(["b", "a", "long", "ä", ""])[DRAWS],
    "objects": np.array(["b", "a", "long", "ä", ""], dtype=object)[DRAWS],
    "bytes": np.array([b"b", b"a", b"c", b"d", b"e"])[DRAWS],
    "reversed view": DRAWS[::-1],
}


@pytest.mark.parametrize("name", LABELS)
def test_codes_are_those_of_unique(name):
    y = LABELS[name].reshape(-1, 1)
    classes, codes = encode_labels(y)
    expected_classes, expected_codes = np.unique(y[:, 0], return_inverse=True)
    np.testing.assert_array_equal(classes[0], expected_classes)
    assert classes[0].dtype == y.dtype
    assert codes.shape == (50, 1)
    np.testing.assert_array_equal(codes[:, 0], expected_codes)


@pytest.mark.parametrize("name", LABELS)
def test_columns_are_encoded_one_by_one(name):
    other = LABELS[name][RNG.permutation(50)]
    y = np.column_stack([LABELS[name], np.where(np.arange(50) < 25, LABELS[name][0], other)])
    classes, codes = encode_labels(y)
    for k in range(2):
        expected_classes, expected_codes = np.unique(y[:, k], return_inverse=True)
        np.testing.assert_array_equal(classes[k], expected_classes)
        np.testing.assert_array_equal(codes[:, k], expected_codes)


NO_LABELS = {
    "fractions": DRAWS + 0.5,
    "infinity": np.where(DRAWS > 2, np.inf, 1.0),
    "NaN": np.where(DRAWS > 2, np.nan, 1.0),
    "huge": DRAWS * 1e300,
    "objects": DRAWS.astype(object),
    "mixed": np.array([1.5, "a"] * 25, dtype=object),
    "complex": DRAWS.astype(complex),
}


@pytest.mark.parametrize("name", NO_LABELS)
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_what_is_no_label_is_refused_in_the_words_of_scikit_learn(name, n_outputs):
    y = np.column_stack([NO_LABELS[name]] * n_outputs)
    with pytest.raises((TypeError, ValueError)) as expected:
        check_classification_targets(y)
    with pytest.raises(type(expected.value)) as found:
        encode_labels(y)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("n_samples", [20, 21, 22])
@pytest.mark.parametrize("n_classes", [2, 10, 11, 12])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, str])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_many_classes_are_warned_of_as_by_scikit_learn(n_samples, n_classes, dtype, n_outputs):
    y = np.column_stack([(np.arange(n_samples) % n_classes).astype(dtype)] * n_outputs)
    messages = []
    for check in (check_classification_targets, encode_labels):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check(y)
        messages.append([str(warning.message) for warning in caught])
    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", LABELS)
def test_balanced_weights_are_those_of_scikit_learn(name):
    for y in (LABELS[name][:, None], np.column_stack([LABELS[name], LABELS[name][::-1]])):
        found = sample_weight_of_classes("balanced", y, *encode_labels(y))
        np.testing.assert_array_equal(found, compute_sample_weight("balanced", y))


def test_weights_by_name_are_those_of_scikit_learn():
    for name, class_weight in (
        ("strings", {"b": 2, "ä": 0.1}),
        ("objects", {"": 3.0}),
        ("whole floats", {-2: 5.0, 1: 0.5}),
        ("booleans", {True: 2, False: 3}),
        ("integers", {}),
    ):
        y = LABELS[name][:, None]
        found = sample_weight_of_classes(class_weight, y, *encode_labels(y))
        np.testing.assert_array_equal(found, compute_sample_weight(class_weight, y))
        assert found.dtype == np.float64


def test_every_kind_of_label_comes_back_from_predict():
    X = DRAWS[:, None]
    for y in LABELS.values():
        model = DecisionTreeClassifier().fit(X, y)
        assert model.predict(X).dtype == y.dtype
        assert model.classes_.dtype == y.dtype
