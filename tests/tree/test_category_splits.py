"""Trees that split by categories: no way to part a node is better, and all that reads a tree knows of it."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.tree import export_text, plot_tree

from fastfit.tree import DecisionTreeClassifier, DecisionTreeRegressor

ESTIMATORS = {
    "gini": DecisionTreeClassifier,
    "entropy": DecisionTreeClassifier,
    "log_loss": DecisionTreeClassifier,
    "squared_error": DecisionTreeRegressor,
    "friedman_mse": DecisionTreeRegressor,
    "poisson": DecisionTreeRegressor,
}
# A tree of each kind on the data of `make_table`, with what is in the way of a simple search.
SETTINGS = [
    (DecisionTreeClassifier, {}),
    (DecisionTreeClassifier, {"criterion": "entropy", "max_features": 1}),
    (DecisionTreeClassifier, {"max_leaf_nodes": 12, "min_samples_leaf": 5}),
    (DecisionTreeClassifier, {"ccp_alpha": 0.004}),
    (DecisionTreeRegressor, {"min_weight_fraction_leaf": 0.02}),
    (DecisionTreeRegressor, {"max_leaf_nodes": 30, "ccp_alpha": 0.001}),
    (DecisionTreeRegressor, {"criterion": "poisson", "max_depth": 5}),
    (DecisionTreeRegressor, {"monotonic_cst": [0, 0, 1], "min_samples_split": 20}),
]


def make_table(n_samples, n_categories, seed, missing=0.0):
    """Return two columns of categories and one of numbers, two classes that depend on all, and weights."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, n_categories, (2, n_samples))
    effects = rng.normal(size=(2, n_categories))
    numbers = rng.normal(size=n_samples)
    y = effects[0, first] + effects[1, second] + numbers + rng.normal(size=n_samples) > 0
    X = np.column_stack([first, second, numbers]).astype(np.float64)
    X[rng.random(X.shape) < missing] = np.nan
    return X, y.astype(int), rng.integers(1, 4, n_samples) / 2


def impurity_of(criterion, y, weight):
    """Return the weight of a child times its impurity, by the book."""
    total = weight.sum()
    mean = (weight * y).sum() / total
    if criterion in ("gini", "entropy", "log_loss"):
        shares = np.array([mean, 1 - mean])
        if criterion == "gini":
            return total * (1 - (shares**2).sum())
        shares = shares[shares > 0]
        return -total * (shares * np.log2(shares)).sum()
    if criterion == "poisson":
        if mean <= 0:
            return np.inf
        ratio = np.where(y > 0, y / mean, 1.0)
        return (weight * np.where(y > 0, y * np.log(ratio), 0.0)).sum()
    return (weight * (y - mean) ** 2).sum()


def best_of_all_ways(criterion, codes, y, weight):
    """Return the least impurity over all ways to part the categories in two, times weight."""
    present = np.unique(codes)
    best = np.inf
    for size in range(1, len(present)):
        for left in itertools.combinations(present[1:], size):
            goes_left = np.isin(codes, left)
            of_children = impurity_of(criterion, y[goes_left], weight[goes_left]) + impurity_of(
                criterion, y[~goes_left], weight[~goes_left]
            )
            best = min(best, of_children)
    return best


def walk(estimator, X):
    """Return the leaf of each row by the tree's public attributes alone; NaN stands for categories not known."""
    tree, left_of_nodes = estimator.tree_, estimator.left_categories_
    leaves = np.zeros(len(X), dtype=int)
    for row, values in enumerate(X):
        node = 0
        while tree.children_left[node] >= 0:
            x, left_categories = values[tree.feature[node]], left_of_nodes[node]
            if np.isnan(x):
                goes_left = tree.missing_go_to_left[node]
            elif left_categories is None:
                goes_left = np.float32(x) <= tree.threshold[node]
            else:
                goes_left = x in left_categories
            node = (tree.children_left if goes_left else tree.children_right)[node]
        leaves[row] = node
    return leaves


class TestSplit:
    @pytest.mark.filterwarnings("ignore:Value `.friedman_mse:FutureWarning")
    @pytest.mark.parametrize("criterion", ESTIMATORS)
    @pytest.mark.parametrize("seed", range(6))
    def test_no_way_to_part_the_categories_is_better(self, criterion, seed):
        rng = np.random.default_rng(seed)
        n_categories = int(rng.integers(3, 9))
        codes = rng.integers(0, n_categories, 60)
        weight = rng.integers(1, 5, 60) * (1.0 if seed % 2 else 0.37)
        y = (
            rng.integers(0, 2, 60)
            if criterion in ("gini", "entropy", "log_loss")
            else rng.gamma(1.0, size=60)
        )
        stump = ESTIMATORS[criterion](criterion=criterion, max_depth=1, categorical_features=[0])
        tree = stump.fit(codes[:, np.newaxis], y, sample_weight=weight).tree_
        left, right = (
            tree.weighted_n_node_samples[child] * tree.impurity[child]
            for child in (tree.children_left[0], tree.children_right[0])
        )
        expected = best_of_all_ways(criterion, codes, y, weight)
        np.testing.assert_allclose(left + right, expected, rtol=1e-10)

    @pytest.mark.plain_python
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    @pytest.mark.parametrize("estimator_class", [DecisionTreeClassifier, DecisionTreeRegressor])
    def test_without_the_jit(self, estimator_class):
        X, y, weight = make_table(40, 12, 0, missing=0.1)
        tree = estimator_class(random_state=0, categorical_features=[0, 1], max_depth=4)
        tree.fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(tree.apply(X), walk(tree, X))
        assert any(categories is not None for categories in tree.left_categories_)

    def test_two_categories_are_two_numbers(self):
        rng = np.random.default_rng(3)
        X = rng.integers(0, 2, (300, 5)).astype(float)
        y = X @ rng.normal(size=5) + rng.normal(size=300)
        numbers = DecisionTreeRegressor(random_state=0).fit(X, y)
        categories = DecisionTreeRegressor(random_state=0, categorical_features=range(5)).fit(X, y)
        np.testing.assert_allclose(categories.predict(X), numbers.predict(X), rtol=1e-12)
        np.testing.assert_allclose(categories.feature_importances_, numbers.feature_importances_, rtol=1e-9)
        for name in ("n_node_samples", "impurity"):
            of_both = (np.sort(getattr(tree.tree_, name)) for tree in (categories, numbers))
            np.testing.assert_allclose(*of_both, rtol=1e-9, atol=1e-12)

    def test_missing_values_are_a_category(self):
        X, y, _ = make_table(400, 6, 1, missing=0.2)
        as_category = np.where(np.isnan(X[:, :2]), 6.0, X[:, :2])
        one = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X[:, :2], y)
        other = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(as_category, y)
        np.testing.assert_array_equal(one.apply(X[:, :2]), other.apply(as_category))

    def test_what_was_absent_goes_with_the_larger_child(self):
        X = np.array([[0.0]] * 5 + [[1.0]] * 3 + [[2.0]] * 2)
        y = np.array([1.0] * 5 + [0.0] * 3 + [1.0] * 2)
        # The third category has no weight, so that the node does not know it.
        weight = np.array([1.0] * 8 + [0.0] * 2)
        for larger_y in (0.0, 1.0):
            tree = DecisionTreeRegressor(categorical_features=[0])
            tree.fit(X, y if larger_y == 1.0 else 1.0 - y, sample_weight=weight)
            np.testing.assert_array_equal(tree.predict([[2.0], [7.0], [np.nan]]), larger_y)
            assert (2.0 in tree.left_categories_[0]) == (larger_y == 0.0)
            assert tree.tree_.missing_go_to_left[0] == (larger_y == 0.0)

    def test_a_category_alone_is_constant(self):
        X, y, _ = make_table(50, 3, 0)
        X[:, 0] = 4.0
        tree = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X, y)
        assert not (tree.tree_.feature == 0).any()
        all_missing = np.where([True, False, False], np.nan, X)
        tree = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(all_missing, y)
        assert not (tree.tree_.feature == 0).any()
        assert tree.predict(X).shape == (50,)

    @settings(max_examples=25)
    @given(st.integers(0, 2**16), st.integers(2, 40), st.sampled_from([{}, {"max_leaf_nodes": 8}]))
    def test_names_of_categories_do_not_matter(self, seed, n_categories, params):
        X, y, _ = make_table(120, n_categories, seed)
        renamed = X.copy()
        names = np.random.default_rng(seed).permutation(n_categories)
        renamed[:, 0] = names[X[:, 0].astype(int)]
        tree = DecisionTreeClassifier(random_state=seed, categorical_features=[0, 1], **params)
        leaves = tree.fit(X, y).apply(X)
        np.testing.assert_array_equal(tree.fit(renamed, y).apply(renamed), leaves)


class TestTree:
    @pytest.mark.parametrize(("estimator_class", "params"), SETTINGS)
    @pytest.mark.parametrize("n_categories", [5, 700])
    def test_attributes_tell_how_to_predict(self, estimator_class, params, n_categories):
        X, y, weight = make_table(900, n_categories, 2, missing=0.0 if "monotonic_cst" in params else 0.05)
        if "monotonic_cst" not in params:
            X[:9, :2] = np.nan
        tree = estimator_class(random_state=0, categorical_features=[0, 1], **params)
        tree.fit(X, y, sample_weight=weight)
        fitted = tree.tree_
        is_leaf = fitted.children_left < 0
        np.testing.assert_array_equal(
            np.isnan(fitted.threshold), [c is not None for c in tree.left_categories_]
        )
        leaves = tree.apply(X)
        np.testing.assert_array_equal(leaves, walk(tree, X))
        counts = np.bincount(leaves, minlength=fitted.node_count)
        np.testing.assert_array_equal(counts[is_leaf], fitted.n_node_samples[is_leaf])
        assert np.isnan(fitted.threshold).any()
        of_leaves = fitted.value[leaves, 0]
        if estimator_class is DecisionTreeClassifier:
            np.testing.assert_array_equal(tree.predict_proba(X), of_leaves)
            np.testing.assert_array_equal(tree.predict(X), of_leaves.argmax(axis=1))
        else:
            np.testing.assert_array_equal(tree.predict(X), of_leaves[:, 0])

    @pytest.mark.parametrize(("estimator_class", "params"), SETTINGS)
    def test_paths(self, estimator_class, params):
        X, y, _ = make_table(300, 20, 4)
        tree = estimator_class(random_state=0, categorical_features=[0, 1], **params).fit(X, y)
        paths = tree.decision_path(X)
        np.testing.assert_array_equal(paths.sum(axis=0).A1, tree.tree_.n_node_samples)
        assert paths.has_sorted_indices
        last = paths.indices[paths.indptr[1:] - 1]
        np.testing.assert_array_equal(last, tree.apply(X))
        of_numbers = estimator_class(random_state=0).fit(X, y).decision_path(X)
        assert (paths.format, paths.dtype) == (of_numbers.format, of_numbers.dtype)

    def test_pruning_keeps_the_sets_of_what_is_left(self):
        X, y, _ = make_table(600, 30, 5)
        full = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X, y)
        path = full.cost_complexity_pruning_path(X, y)
        alpha = path.ccp_alphas[len(path.ccp_alphas) // 2]
        pruned = clone(full).set_params(ccp_alpha=alpha).fit(X, y)
        assert 1 < pruned.tree_.node_count < full.tree_.node_count
        np.testing.assert_array_equal(pruned.apply(X), walk(pruned, X))

    def test_many_rows_in_any_order_of_memory(self):
        X, y, _ = make_table(9000, 300, 6)
        tree = DecisionTreeRegressor(random_state=0, categorical_features=[0, 1]).fit(X, y)
        leaves = tree.apply(X)
        assert len(leaves) == len(X)
        encoded = tree._validate_X_predict(X, True)
        for order in ("C", "F"):
            np.testing.assert_array_equal(
                tree.apply(encoded.astype(np.float32, order=order), check_input=False), leaves
            )
        for n_jobs in (1, 2, 3):
            np.testing.assert_array_equal(tree.set_params(n_jobs=n_jobs).apply(X), leaves)
        np.testing.assert_array_equal(tree.apply(X[::-7]), leaves[::-7])
        assert tree.apply(X[:1]) == leaves[:1]

    def test_pickles_clones_and_exports(self):
        X, y, _ = make_table(300, 40, 7)
        tree = DecisionTreeClassifier(random_state=0, categorical_features=[True, True, False]).fit(X, y)
        copy = pickle.loads(pickle.dumps(tree))
        np.testing.assert_array_equal(copy.predict_proba(X), tree.predict_proba(X))
        for one, other in zip(copy.left_categories_, tree.left_categories_, strict=True):
            np.testing.assert_array_equal(one, other)
        assert clone(tree).categorical_features == [True, True, False]
        assert "<= nan" in export_text(tree)
        assert tree.get_depth() > 2
        assert tree.feature_importances_.sum() == pytest.approx(1.0)

    def test_plot(self):
        pytest.importorskip("matplotlib").use("agg")
        X, y, _ = make_table(60, 5, 7)
        assert plot_tree(DecisionTreeClassifier(categorical_features=[0], max_depth=2).fit(X, y))

    def test_a_fit_without_categories_forgets_them(self):
        X, y, _ = make_table(200, 20, 8)
        tree = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X, y)
        tree.set_params(categorical_features=None).fit(X, y)
        fresh = DecisionTreeClassifier(random_state=0).fit(X, y)
        assert tree.__dict__.keys() == fresh.__dict__.keys()
        np.testing.assert_array_equal(tree.predict(X), fresh.predict(X))
        assert set(tree.left_categories_) == {None}


class TestInput:
    def test_masks_positions_names_and_dtypes_say_the_same(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_table(200, 9, 9, missing=0.05)
        names = np.array([f"k{i}" for i in range(9)], dtype=object)
        frame = pandas.DataFrame(X, columns=["a", "b", "c"])
        for column in ("a", "b"):
            known = frame[column].fillna(0).astype(int)
            frame[column] = pandas.Categorical(np.where(frame[column].isna(), None, names[known]))
        expected = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X, y).apply(X)
        for given_X, given_features in [
            (X, [True, True, False]),
            (X.tolist(), [1, 0]),
            (X.astype(object), np.array([0, 1])),
            (np.asfortranarray(X, dtype=np.float32), range(2)),
            (frame, "from_dtype"),
            (frame, ["b", "a"]),
            (frame.astype({"a": object, "b": object}), ["a", "b"]),
        ]:
            tree = DecisionTreeClassifier(random_state=0, categorical_features=given_features).fit(given_X, y)
            np.testing.assert_array_equal(tree.apply(given_X), expected)
            np.testing.assert_array_equal(tree.is_categorical_, [True, True, False])
        assert tree.feature_names_in_.tolist() == ["a", "b", "c"]
        assert {name for part in tree.left_categories_ if part is not None for name in part} <= set(names)
        # A category that is new is missing.
        other = frame.astype({"a": object}).assign(a="new")
        without = frame.astype({"a": object}).assign(a=None)
        np.testing.assert_array_equal(tree.apply(other), tree.apply(without))

    def test_polars(self):
        polars = pytest.importorskip("polars")
        X, y, _ = make_table(200, 9, 9)
        frame = polars.DataFrame(X, schema=["a", "b", "c"]).with_columns(
            polars.col("a").cast(polars.Int64).cast(polars.String).cast(polars.Categorical),
            polars.col("b").cast(polars.Int64).cast(polars.String).cast(polars.Categorical),
        )
        expected = DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(X, y)
        tree = DecisionTreeClassifier(random_state=0, categorical_features="from_dtype").fit(frame, y)
        np.testing.assert_array_equal(tree.apply(frame), expected.apply(X))

    def test_arrays_have_no_dtype_that_is_categorical(self):
        X, y, _ = make_table(100, 9, 0)
        tree = DecisionTreeClassifier(random_state=0, categorical_features="from_dtype").fit(X, y)
        assert tree.is_categorical_ is None
        np.testing.assert_array_equal(
            tree.predict(X), DecisionTreeClassifier(random_state=0).fit(X, y).predict(X)
        )

    def test_categories_may_be_any_values(self):
        X, y, _ = make_table(200, 15, 1)
        values = np.random.default_rng(0).choice(10**6, 15, replace=False) - 5e5
        odd = X.copy()
        odd[:, :2] = values[X[:, :2].astype(int)]
        one, other = (
            DecisionTreeClassifier(random_state=0, categorical_features=[0, 1]).fit(table, y)
            for table in (X, odd)
        )
        np.testing.assert_array_equal(one.apply(X), other.apply(odd))
        np.testing.assert_array_equal(other.apply(odd), walk(other, odd))
        # Between two categories there is none.
        np.testing.assert_array_equal(
            other.apply(odd + np.array([0.5, 0.5, 0])), other.apply(odd * np.array([np.nan, np.nan, 1]))
        )

    @pytest.mark.parametrize(
        ("estimator", "message"),
        [
            (DecisionTreeClassifier(categorical_features=[3]), r"in \[0, n_features - 1\].*\[3\]"),
            (DecisionTreeClassifier(categorical_features=["a"]), r"without feature names.*\['a'\]"),
            (DecisionTreeClassifier(categorical_features=[0.5]), r"bool, int or.*float64.*\[0.5\]"),
            (
                DecisionTreeClassifier(categorical_features=[True]),
                r"shape \(n_features,\), got: \(1,\).*\[True\]",
            ),
            (DecisionTreeClassifier(categorical_features="dtype"), "'categorical_features'.*'dtype'"),
            (
                DecisionTreeClassifier(categorical_features=[0], splitter="random"),
                r"\[0\].*splitter='random'",
            ),
            (DecisionTreeRegressor(categorical_features=[0], splitter="hist"), r"\[0\].*splitter='hist'"),
            (
                DecisionTreeRegressor(categorical_features=[0], criterion="absolute_error"),
                r"\[0\].*absolute_error",
            ),
            (
                DecisionTreeRegressor(categorical_features=[0, 1], monotonic_cst=[0, 1, 1]),
                r"monotonic_cst=\[0, 1, 1\].*: \[1\]",
            ),
        ],
    )
    def test_bad_settings(self, estimator, message):
        X, y, _ = make_table(60, 4, 0)
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, y)
        assert not hasattr(estimator, "tree_")

    def test_bad_data(self):
        X, y, _ = make_table(60, 4, 0)
        tree = DecisionTreeClassifier(categorical_features=[0])
        with pytest.raises(ValueError, match=r"categorical_features=\[0\].*3 classes"):
            tree.fit(X, np.arange(60) % 3)
        with pytest.raises(ValueError, match=r"categorical_features=\[0\].*2 outputs"):
            tree.fit(X, np.c_[y, y])
        sparse = pytest.importorskip("scipy.sparse").csc_matrix(X)
        with pytest.raises(ValueError, match=r"categorical_features=\[0\].*sparse X"):
            tree.fit(sparse, y)
        with pytest.raises(ValueError, match="sparse"):
            tree.fit(X, y).predict(sparse)
        with pytest.raises(ValueError, match="expecting 3 features"):
            tree.predict(X[:, :2])
        X[2, 2] = np.inf
        with pytest.raises(ValueError, match="infinity"):
            tree.fit(X, y)
        # A fit that failed leaves the former one.
        assert tree.predict(X[:2]).shape == (2,)

    def test_recursion_of_partial_dependence_is_refused(self):
        from sklearn.inspection import partial_dependence

        X, y, _ = make_table(80, 4, 0)
        tree = DecisionTreeRegressor(categorical_features=[0], max_depth=3, random_state=0).fit(X, y)
        with pytest.raises(ValueError, match=r"method='recursion'.*\[0\].*method='brute'"):
            partial_dependence(tree, X, [2], method="recursion")
        assert partial_dependence(tree, X, [2], method="brute")["average"].shape[0] == 1
