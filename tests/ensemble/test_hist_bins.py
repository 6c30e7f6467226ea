"""Bins are scikit-learn's, threshold for threshold and bin for bin."""

import numpy as np
import pytest
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

from fastfit.ensemble.hist_gradient_boosting_bins import bin_rows, fit_bin_mapper
from tests.ensemble.hist_pairs import CLASSIFIER, REGRESSOR, fit_both, make_both


def columns(n_samples, seed=0):
    """Columns that quantiles, midpoints and comparisons have to cope with."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(n_samples)
    return {
        "normal": normal,
        "few values": np.rint(3 * normal),
        "mostly zero": np.where(rng.random(n_samples) < 0.95, 0.0, normal),
        "missing": np.where(rng.random(n_samples) < 0.5, np.nan, normal),
        "one value": np.full(n_samples, 3.0),
        "one value and missing": np.where(rng.random(n_samples) < 0.5, np.nan, 3.0),
        "infinite": np.where(rng.random(n_samples) < 0.1, np.sign(normal) * np.inf, normal),
        "huge": normal * 1e300,
        "tiny": normal * 1e-310,
        "neighbours": np.nextafter(1.0, 2.0) * (1.0 + rng.integers(0, 400, n_samples) * 2.0**-52),
        "counts": rng.poisson(50.0, n_samples).astype(np.float64),
        "long tail": np.exp(3 * normal),
        "signed zeros": np.where(normal > 0, 0.0, -0.0),
        "float32": normal.astype(np.float32).astype(np.float64),
    }


def assert_same_mapper(ours, theirs):
    for a, b in zip(ours.bin_thresholds_, theirs.bin_thresholds_, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.n_bins_non_missing_, theirs.n_bins_non_missing_)
    assert ours.n_bins_non_missing_.dtype == theirs.n_bins_non_missing_.dtype
    np.testing.assert_array_equal(ours.is_categorical_, theirs.is_categorical_)
    assert ours.is_categorical_.dtype == theirs.is_categorical_.dtype
    assert ours.missing_values_bin_idx_ == theirs.missing_values_bin_idx_
    assert vars(ours).keys() == vars(theirs).keys()


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_bins", [2, 3, 16, 254, 255])
@pytest.mark.parametrize("n_samples", [7, 300, 3000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_thresholds_and_bins(n_samples, max_bins, weighted, order):
    X = np.array(list(columns(n_samples).values())).T.copy(order=order)
    weight = np.random.default_rng(1).integers(0, 4, n_samples) * 0.7 if weighted else None
    seed = 5
    try:
        theirs = _BinMapper(n_bins=max_bins + 1, random_state=seed)
        expected = theirs.fit(X, sample_weight=weight).transform(X)
    except (ValueError, IndexError) as error:
        pytest.skip(f"scikit-learn has no bins for these columns: {error}")
    ours = fit_bin_mapper(
        X,
        None,
        weight,
        max_bins=max_bins,
        is_categorical=None,
        known_categories=None,
        seed=seed,
        n_jobs=None,
    )
    assert_same_mapper(ours, theirs)
    bins = bin_rows(ours, X, None, for_growth=True, n_jobs=None)
    np.testing.assert_array_equal(bins.rows, expected)
    np.testing.assert_array_equal(ours.transform(X), expected)
    np.testing.assert_array_equal(bins.has_missing, (expected == max_bins).any(axis=0))


@pytest.mark.parametrize("weighted", [False, True])
def test_bins_of_some_rows(weighted):
    X = np.array([column for name, column in columns(500).items() if name != "infinite"]).T.copy()
    rows = np.random.default_rng(2).permutation(500)[:400]
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 400) if weighted else None
    theirs = _BinMapper(random_state=0).fit(X[rows], sample_weight=weight)
    ours = fit_bin_mapper(
        X, rows, weight, max_bins=255, is_categorical=None, known_categories=None, seed=0, n_jobs=None
    )
    assert_same_mapper(ours, theirs)
    bins = bin_rows(ours, X, rows, for_growth=True, n_jobs=None)
    np.testing.assert_array_equal(bins.rows, theirs.transform(X[rows]))
    rest = np.setdiff1d(np.arange(500), rows)
    others = bin_rows(ours, X, rest, for_growth=False, n_jobs=None)
    np.testing.assert_array_equal(others.rows, theirs.transform(X[rest]))


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_of_a_draw_of_very_many_rows(weighted):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_500, 2))
    X[:, 1] = np.round(X[:, 1], 2)
    weight = rng.uniform(0.1, 2.0, len(X)) if weighted else None
    theirs = _BinMapper(random_state=7).fit(X, sample_weight=weight)
    ours = fit_bin_mapper(
        X, None, weight, max_bins=255, is_categorical=None, known_categories=None, seed=7, n_jobs=None
    )
    assert_same_mapper(ours, theirs)


@pytest.mark.parametrize("name", [CLASSIFIER, REGRESSOR])
def test_the_mapper_of_a_fit(name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    X[:, 1] = rng.integers(0, 12, 300)
    X[:5, 2] = np.nan
    y = X[:, 0] > 0
    ours, theirs = fit_both(
        name, X, y, max_iter=2, categorical_features=[1], early_stopping=True, random_state=3, max_bins=100
    )
    assert type(ours._bin_mapper) is _BinMapper
    assert_same_mapper(ours._bin_mapper, theirs._bin_mapper)
    theirs_given = theirs._bin_mapper.get_params()
    for key, value in ours._bin_mapper.get_params().items():
        np.testing.assert_equal(value, theirs_given[key], err_msg=key)


def test_a_column_without_values_is_refused():
    X = np.column_stack([np.arange(60.0), np.full(60, np.nan)])
    y = np.arange(60.0)
    theirs, ours = make_both(REGRESSOR, max_iter=3)[::-1]
    with pytest.raises(ValueError):  # noqa: PT011 - of NumPy, about a window
        theirs.fit(X, y)
    with pytest.raises(ValueError, match="Feature 1 has no value to make bins from"):
        ours.fit(X, y)
    X[::2, 1] = 1.0
    with pytest.raises(ValueError, match="Feature 1 has no value to make bins from"):
        ours.fit(X, y, sample_weight=np.isnan(X[:, 1]))
    ours.fit(X, y)


def test_columns_sorted_in_vectors_have_the_same_thresholds(monkeypatch):
    from fastfit.training import bin_thresholds

    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 5))
    X[:, 1] = np.rint(3 * X[:, 1])
    X[rng.random(len(X)) < 0.1, 2] = np.nan
    X[:5, 3] = [np.inf, -np.inf, -0.0, 0.0, -np.nan]
    X[:, 4] *= 1e-310
    by_numpy = bin_thresholds.find_bin_thresholds(X, 255)
    monkeypatch.setattr(bin_thresholds, "_MANY_VALUES", 1000)
    for n_threads in (1, 3):
        in_vectors = bin_thresholds.find_bin_thresholds(X, 255, n_threads=n_threads)
        for ours, theirs in zip(in_vectors, by_numpy, strict=True):
            np.testing.assert_array_equal(ours, theirs)
