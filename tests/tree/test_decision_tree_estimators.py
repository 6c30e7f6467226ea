"""What trees take, refuse, leave alone, remember and pass on to scikit-learn."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import config_context as sklearn_config
from sklearn import tree as sklearn_tree
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import AdaBoostClassifier, BaggingRegressor
from sklearn.tree._criterion import MSE, Gini

import fastfit
from fastfit import tree as fastfit_tree
from fastfit.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from fastfit.tree.tree_fitting import draw_seed, grow_into
from tests.tree.decision_tree_data import (
    CLASSIFIERS,
    NAMES,
    assert_same_error,
    assert_same_learned,
    assert_same_tree,
    both,
    make_data,
)


@pytest.mark.plain_python
# Kernels divide by zero as C does, and NumPy's scalars warn of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_the_jit():
    X, y, _ = make_data(15, 2)
    for name in NAMES:
        theirs, ours = (estimator.fit(X, y) for estimator in both(name, random_state=0))
        assert_same_tree(ours.tree_, theirs.tree_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


class TestInput:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.filterwarnings("ignore:overflow encountered in cast")
    def test_error_messages_are_those_of_scikit_learn(self, name):
        X, y, weight = make_data(30, 3)
        with_nan, with_inf, too_large = X.copy(), X.copy(), X.copy()
        with_nan[3, 1], with_inf[4, 2], too_large[5, 0] = np.nan, -np.inf, 1e39
        y_with_nan = np.where(np.arange(30) == 5, np.nan, y)
        cases = [
            ((with_inf, y), {}),
            ((too_large, y), {}),
            ((X, y_with_nan), {}),
            ((with_inf, y_with_nan), {}),
            ((X, y[:-1]), {}),
            ((X, np.append(y, 0)), {}),
            ((X[:0], y[:0]), {}),
            ((X[:, :0], y), {}),
            ((X[0], y), {}),
            ((X[None], y), {}),
            ((X, None), {}),
            ((X.astype(complex), y), {}),
            ((X.astype(str) + "a", y), {}),
            ((X, y[:, None, None]), {}),
            ((X, y, weight[:-1]), {}),
            ((X, y, weight[:, None]), {}),
            ((X, y, np.zeros(30)), {}),
            ((X, y, y_with_nan), {}),
            ((X, y, np.where(y == 1, np.inf, 1.0)), {}),
            ((X, y), {"monotonic_cst": [1, 0]}),
            ((X, y), {"monotonic_cst": [1, 0, 2]}),
            ((X, np.column_stack([y, y])), {"monotonic_cst": [1, 0, 0]}),
            ((X, y), {"criterion": "mse"}),
            ((X, y), {"max_depth": 0}),
            ((X, y), {"min_samples_split": 1}),
            ((X, y), {"min_samples_leaf": 1.0}),
            ((X, y), {"min_weight_fraction_leaf": 0.6}),
            ((X, y), {"max_features": "auto"}),
            ((X, y), {"max_features": 0.0}),
            ((X, y), {"random_state": -1}),
            ((X, y), {"max_leaf_nodes": 1}),
            ((X, y), {"min_impurity_decrease": -0.1}),
            ((X, y), {"ccp_alpha": -1.0}),
            ((X, y), {"monotonic_cst": 1}),
        ]
        if name in CLASSIFIERS:
            cases += [
                ((X, X[:, 0]), {}),
                ((X, X[:, :2]), {}),
                ((X, y.astype(object)), {}),
                ((X, np.arange(30) % 3), {"monotonic_cst": [1, 0, 0]}),
                ((X, y), {"class_weight": {0: 1.0, 7: 2.0}}),
                ((X, y), {"class_weight": "even"}),
                ((X, np.column_stack([y, y])), {"class_weight": {0: 1.0, 1: 2.0}}),
                ((X, np.column_stack([y, y])), {"class_weight": [{0: 1.0, 1: 2.0}]}),
            ]
        else:
            cases += [
                ((X, y - 0.5), {"criterion": "poisson"}),
                ((X, 0 * y), {"criterion": "poisson"}),
                ((X, np.array(["a"] * 30)), {}),
            ]
        for arguments, parameters in cases:
            theirs, ours = both(name, **parameters)
            assert_same_error(lambda a=arguments, e=theirs: e.fit(*a), lambda a=arguments, e=ours: e.fit(*a))
            in_columns = np.asfortranarray(arguments[0]), *arguments[1:]
            assert_same_error(
                lambda a=in_columns, e=theirs: e.fit(*a), lambda a=in_columns, e=ours: e.fit(*a)
            )

    @pytest.mark.parametrize("name", ["ExtraTreeClassifier", "ExtraTreeRegressor"])
    def test_nan_needs_the_random_splitter_in_extra_trees(self, name):
        X, y, _ = make_data()
        with_nan = np.where(X > 1.0, np.nan, X)
        theirs, ours = both(name, splitter="best", random_state=0)
        assert_same_error(lambda: theirs.fit(with_nan, y), lambda: ours.fit(with_nan, y))
        theirs, ours = (estimator.fit(with_nan, y) for estimator in both(name, random_state=0))
        assert_same_tree(ours.tree_, theirs.tree_)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("splitter", "histogram"),
            ("splitter", None),
            ("max_bins", 1),
            ("max_bins", 256),
            ("max_bins", 31.5),
            ("n_jobs", "two"),
            ("n_jobs", 1.0),
        ],
    )
    @pytest.mark.parametrize("estimator_name", NAMES)
    def test_hyperparameters_of_fastfit_out_of_range(self, estimator_name, name, value):
        X, y, _ = make_data()
        estimator = getattr(fastfit_tree, estimator_name)(**{name: value})
        with pytest.raises(
            ValueError, match=f"The '{name}' parameter of {estimator_name} must be .*{value!r}"
        ):
            estimator.fit(X, y)

    def test_zero_threads_are_refused(self):
        X, y, _ = make_data()
        with pytest.raises(ValueError, match="n_jobs == 0 has no meaning"):
            DecisionTreeClassifier(n_jobs=0).fit(X, y)

    @pytest.mark.parametrize("name", NAMES)
    def test_arrays_are_never_changed(self, name):
        for order in ("C", "F"):
            X, y, weight = (np.asarray(array, order=order) for array in make_data())
            X[::9, 1] = np.nan
            for data in (X, X.astype(np.float32)):
                copies = [array.copy() for array in (data, y, weight)]
                for array in (data, y, weight):
                    array.setflags(write=False)
                getattr(fastfit_tree, name)(random_state=0).fit(data, y, weight).predict(data)
                for array, copy in zip((data, y, weight), copies, strict=True):
                    np.testing.assert_array_equal(array, copy)
                    array.setflags(write=True)

    def test_friedman_mse_is_deprecated_in_the_constructor_alone(self):
        X, y, _ = make_data()
        with pytest.warns(FutureWarning, match="friedman_mse"):
            estimator = DecisionTreeRegressor(criterion="friedman_mse", random_state=0)
        assert clone(estimator).get_params()["criterion"] == "squared_error"
        expected = sklearn_tree.DecisionTreeRegressor(random_state=0).fit(X, y)
        assert_same_tree(estimator.fit(X, y).tree_, expected.tree_)
        theirs, ours = both("DecisionTreeRegressor")
        for tree in (theirs, ours):
            tree.set_params(criterion="friedman_mse")
        assert_same_error(lambda: theirs.fit(X, y), lambda: ours.fit(X, y))

    def test_many_classes_look_like_regression(self):
        X, _, _ = make_data()
        labels = [np.arange(60), np.arange(60.0), np.arange(60).astype(str)]
        labels.append(np.column_stack([np.arange(60) % 20, 100 + np.arange(60) % 20]))
        for y in labels:
            for estimator in both("DecisionTreeClassifier"):
                with pytest.warns(UserWarning, match="number of unique classes is greater than 50%"):
                    estimator.fit(X, y)

    def test_checks_can_be_skipped(self):
        X, y, _ = make_data()
        X = X.astype(np.float32)
        expected = DecisionTreeClassifier(random_state=0).fit(X, y).tree_
        with sklearn_config(skip_parameter_validation=True):
            found = DecisionTreeClassifier(random_state=np.int64(0)).fit(X, y, check_input=False)
        assert_same_tree(found.tree_, expected)
        # Even then X is converted, as in scikit-learn's builders.
        doubled = DecisionTreeClassifier(random_state=0).fit(X.astype(np.float64), y, check_input=False)
        assert_same_tree(doubled.tree_, expected)


class TestLearned:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"max_depth": 3, "min_samples_leaf": 0.05, "max_features": 0.5},
            {"max_leaf_nodes": 6, "min_samples_split": 0.3, "max_features": "log2"},
            {"min_samples_split": 7, "min_samples_leaf": 4, "max_features": 2},
            {"min_weight_fraction_leaf": 0.1, "ccp_alpha": 0.01, "max_features": "sqrt"},
            {"monotonic_cst": [0, 1, -1, 0], "min_impurity_decrease": 0.01},
        ],
        ids=str,
    )
    def test_attributes_are_those_of_scikit_learn(self, name, parameters):
        X, y, weight = make_data()
        for data, target, sample_weight in [
            (X, y, None),
            (X[::2].tolist(), y[::2].tolist(), weight[::2].tolist()),
            (X.astype(np.float32), y.astype(np.float32), np.round(weight)),
            (np.asfortranarray(X), y.astype(bool), weight.astype(np.float32)),
            (X[:, ::-1][::3], y[::3, None], 2),
        ]:
            theirs, ours = both(name, random_state=3, **parameters)
            theirs.fit(data, target, sample_weight)
            ours.fit(data, target, sample_weight)
            assert_same_learned(ours, theirs)
            assert ours.fit_engine_ == "fastfit"

    @pytest.mark.parametrize("name", NAMES)
    def test_several_outputs(self, name):
        X, y, weight = make_data()
        targets = [np.column_stack([y, np.arange(60) % 3]), np.column_stack([y, y]).astype(np.float32)]
        if name in CLASSIFIERS:
            targets.append(targets[0].astype(str))
        for target in targets:
            theirs, ours = (e.fit(X, target, weight) for e in both(name, random_state=0))
            assert_same_learned(ours, theirs)
            np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
            assert ours.predict(X).dtype == theirs.predict(X).dtype

    @pytest.mark.parametrize("name", CLASSIFIERS)
    def test_class_weights(self, name):
        X, y, weight = make_data()
        two = np.column_stack([y, np.arange(60) % 3])
        cases = [
            (y, "balanced"),
            (y, {0: 3.0}),
            (y, {}),
            (np.array(["no", "yes"])[y], {"no": 1, "yes": 4}),
            (two, "balanced"),
            (two, [{0: 1.0, 1: 2.5}, {0: 1.0, 1: 2.0, 2: 0.5}]),
            (two, [{0: 1.0, 1: 2.5}, "balanced"]),
        ]
        for target, class_weight in cases:
            for sample_weight in (None, weight):
                theirs, ours = both(name, class_weight=class_weight, random_state=0, min_samples_leaf=3)
                assert_same_learned(ours.fit(X, target, sample_weight), theirs.fit(X, target, sample_weight))

    @pytest.mark.parametrize("name", NAMES)
    def test_random_states_are_drawn_from_as_by_scikit_learn(self, name):
        X, y, _ = make_data()
        states = np.random.RandomState(5), np.random.RandomState(5)
        theirs, ours = both(name, max_features=1)
        for _ in range(2):
            theirs.set_params(random_state=states[0]).fit(X, y)
            ours.set_params(random_state=states[1]).fit(X, y)
            assert_same_tree(ours.tree_, theirs.tree_)
        assert states[0].randint(1000) == states[1].randint(1000)
        for estimator in (theirs, ours):
            np.random.seed(7)  # noqa: NPY002
            estimator.set_params(random_state=None).fit(X, y)
        assert_same_tree(ours.tree_, theirs.tree_)
        for seed in (0, 2**32 - 1, np.int32(9), np.uint8(3)):
            assert draw_seed(seed) == np.random.RandomState(seed).randint(0, 2**31 - 1)

    def test_names_of_features(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_data()
        frame = pandas.DataFrame(X, columns=list("abcd"))
        for name in NAMES:
            theirs, ours = (e.fit(frame, pandas.Series(y)) for e in both(name, random_state=0))
            assert_same_learned(ours, theirs)
            np.testing.assert_array_equal(ours.predict(frame), theirs.predict(frame))
            swapped = frame[list("bacd")]
            assert_same_error(
                lambda e=theirs, x=swapped: e.predict(x), lambda e=ours, x=swapped: e.predict(x)
            )
            with pytest.warns(UserWarning, match="X does not have valid feature names"):
                ours.predict(X)
            ours.fit(X, y)
            assert not hasattr(ours, "feature_names_in_")

    def test_what_else_scikit_learn_does_with_a_tree(self):
        X, y, _ = make_data()
        for name in NAMES:
            theirs, ours = (e.fit(X, y) for e in both(name, random_state=0))
            np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=1e-10)
            assert (ours.get_depth(), ours.get_n_leaves()) == (theirs.get_depth(), theirs.get_n_leaves())
            assert (ours.decision_path(X) != theirs.decision_path(X)).nnz == 0
            assert sklearn_tree.export_text(ours) == sklearn_tree.export_text(theirs)
            assert sklearn_tree.export_graphviz(ours) == sklearn_tree.export_graphviz(theirs)
            found = ours.cost_complexity_pruning_path(X, y)
            expected = theirs.cost_complexity_pruning_path(X, y)
            np.testing.assert_allclose(found.ccp_alphas, expected.ccp_alphas, atol=1e-12)
            np.testing.assert_allclose(found.impurities, expected.impurities, atol=1e-12)

    def test_inside_of_ensembles_of_scikit_learn(self):
        X, y, _ = make_data()
        for ensemble, name in (
            (AdaBoostClassifier, CLASSIFIERS[0]),
            (BaggingRegressor, "ExtraTreeRegressor"),
        ):
            theirs, ours = (
                ensemble(tree.set_params(max_depth=2), n_estimators=4, random_state=0).fit(X, y)
                for tree in both(name)
            )
            np.testing.assert_allclose(ours.predict(X), theirs.predict(X))
            assert {tree.fit_engine_ for tree in ours.estimators_} == {"fastfit"}

    @pytest.mark.parametrize("name", NAMES)
    def test_trees_on_shared_data(self, name):
        from fastfit.training.tree_growth import Target, prepare_tree_data

        X, y, weight = make_data()
        X[::8, 2] = np.nan
        X = X.astype(np.float32)
        parameters = {
            "random_state": 4,
            "max_features": 2,
            "min_weight_fraction_leaf": 0.05,
            "ccp_alpha": 1e-3,
        }
        if name in CLASSIFIERS:
            target = Target(y[:, None].astype(np.float64), np.array([2]))
        else:
            target = Target(X[:, :2].astype(np.float64), None)
        mask = np.isnan(X).any(axis=0)
        data = prepare_tree_data(X, mask, n_threads=1)
        for sample_weight in (None, weight):
            theirs, ours = both(name, **parameters)
            theirs._fit(
                X,
                target.y,
                sample_weight,
                check_input=False,
                missing_values_in_feature_mask=mask.view(np.uint8),
            )
            assert grow_into(ours, data, target, sample_weight, n_threads=1) is ours
            assert_same_learned(ours, theirs)


class TestFallback:
    @pytest.mark.parametrize("name", NAMES)
    def test_sparse_data(self, name):
        X, y, _ = make_data()
        X[X < 0] = 0.0
        for container in (sp.csr_array, sp.csc_matrix, sp.coo_array):
            theirs, ours = (e.fit(container(X), y) for e in both(name, random_state=0))
            assert_same_learned(ours, theirs)
            assert ours.fit_engine_ == "scikit-learn"
            np.testing.assert_array_equal(ours.predict(sp.csr_array(X)), ours.predict(X))
        with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="sparse X"):
            ours.fit(sp.csr_array(X), y)
        with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="sparse X"):
            ours.fit(sp.csr_array(X), y)
        assert ours.fit(X, y).fit_engine_ == "fastfit"

    def test_a_frame_of_sparse_columns(self):
        pandas = pytest.importorskip("pandas")
        X, y, _ = make_data()
        X[X < 0] = 0.0
        frame = pandas.DataFrame.sparse.from_spmatrix(sp.csc_matrix(X), columns=list("abcd"))
        theirs, ours = (e.fit(frame, y) for e in both("DecisionTreeClassifier", random_state=0))
        assert_same_learned(ours, theirs)
        assert ours.fit_engine_ == "scikit-learn"
        with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="sparse X"):
            ours.fit(frame, y)
        with pytest.raises(ValueError, match=r"splitter='hist' is for dense X .* this fit has sparse X"):
            ours.set_params(splitter="hist").fit(frame, y)

    def test_objects_as_criteria(self):
        X, y, _ = make_data()
        for ours, criterion, name in (
            (DecisionTreeClassifier(random_state=0), Gini(1, np.array([2], dtype=np.intp)), "gini"),
            (DecisionTreeRegressor(random_state=0), MSE(1, len(y)), "squared_error"),
        ):
            expected = clone(ours).set_params(criterion=name).fit(X, y)
            found = ours.set_params(criterion=criterion).fit(X, y)
            assert (expected.fit_engine_, found.fit_engine_) == ("fastfit", "scikit-learn")
            assert_same_tree(found.tree_, expected.tree_)
            with (
                fastfit.config_context(fallback="error"),
                pytest.raises(RuntimeError, match="do not cover a criterion that is an object"),
            ):
                ours.fit(X, y)
            with pytest.raises(
                ValueError, match=r"splitter='hist' is for dense X and for criteria that are named"
            ):
                ours.set_params(splitter="hist").fit(X, y)

    @pytest.mark.parametrize("name", NAMES)
    def test_histograms_need_dense_data(self, name):
        X, y, _ = make_data()
        estimator = getattr(fastfit_tree, name)(splitter="hist")
        with pytest.raises(ValueError, match=r"splitter='hist' is for dense X .* this fit has sparse X"):
            estimator.fit(sp.csr_array(X), y)
        assert not estimator.__sklearn_tags__().input_tags.sparse
        assert clone(estimator).set_params(splitter="best").__sklearn_tags__().input_tags.sparse


class TestEstimator:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_failed_fit_keeps_the_former_one(self, name):
        pandas = pytest.importorskip("pandas")
        X, y, weight = make_data()
        fitted = getattr(fastfit_tree, name)(random_state=0).fit(pandas.DataFrame(X, columns=list("abcd")), y)
        before = pickle.dumps(fitted)
        failures = [
            (np.full((60, 2), np.inf), y),
            (pandas.DataFrame(np.full((60, 2), np.inf), columns=list("xy")), y),
            (sp.csr_array(np.full((60, 2), np.inf)), y),
            (X[:5], y),
            (X[:, :2], y, weight[:3]),
            (X[:, :2], np.column_stack([y, y]), 0 * weight),
        ]
        for arguments in failures:
            with pytest.raises(ValueError, match=r"infinity|does not match|weight"):
                fitted.fit(*arguments)
            assert pickle.dumps(fitted) == before

    @pytest.mark.parametrize("name", NAMES)
    def test_parameters_travel(self, name):
        X, y, _ = make_data()
        estimator = getattr(fastfit_tree, name)(max_depth=3, n_jobs=2, max_bins=31)
        assert clone(estimator).get_params() == estimator.get_params()
        assert estimator.get_params()["max_bins"] == 31
        estimator.set_params(max_depth=1, n_jobs=None).fit(X, y)
        assert estimator.get_depth() == 1
        assert repr(estimator) == f"{name}(max_bins=31, max_depth=1)"
        assert isinstance(estimator, getattr(sklearn_tree, name))
        assert isinstance(estimator, (DecisionTreeClassifier, DecisionTreeRegressor))

    def test_check_input_is_not_routed(self):
        with sklearn_config(enable_metadata_routing=True):
            request = DecisionTreeClassifier().set_fit_request(sample_weight=True).get_metadata_routing()
        assert request.fit.requests == {"sample_weight": True}
        assert request.predict.requests == {}
        assert request.predict_proba.requests == {}

    @pytest.mark.parametrize("name", NAMES)
    def test_any_number_of_threads_gives_the_same_tree(self, name):
        X, y, _ = make_data(3000, 6)
        trees = []
        for n_jobs in (1, 2, -1, None):
            with fastfit.config_context(n_threads=8):
                trees.append(getattr(fastfit_tree, name)(n_jobs=n_jobs, random_state=0).fit(X, y))
        for tree in trees[1:]:
            assert pickle.dumps(tree.tree_) == pickle.dumps(trees[0].tree_)

    def test_pickles_hold_what_scikit_learn_holds(self):
        X, y, _ = make_data()
        for name in NAMES:
            theirs, ours = (e.fit(X, y) for e in both(name, random_state=0))
            ours.predict(np.tile(X, (30, 1)))
            parameters = {"n_jobs", "max_bins", "categorical_features", "fit_engine_"}
            assert ours.__getstate__().keys() - parameters == theirs.__getstate__().keys() - {
                "_sklearn_version"
            }
            again = pickle.loads(pickle.dumps(ours))
            assert_same_learned(again, theirs)

    def test_a_process_without_a_cache_predicts_from_a_pickle(self, tmp_path):
        X = np.arange(40.0)[:, None]
        y = np.arange(40) % 2
        model = DecisionTreeClassifier(random_state=0).fit(X, y)
        many = np.tile(X, (300, 1))
        expected = [y.tolist(), y.tolist() * 300]
        path = tmp_path / "tree.pickle"
        path.write_bytes(pickle.dumps((model, X, many, expected)))
        code = (
            "import pickle, sys\n"
            f"model, X, many, expected = pickle.load(open({str(path)!r}, 'rb'))\n"
            "assert model.predict(X).tolist() == expected[0]\n"
            "assert 'numba' not in sys.modules\n"
            "assert model.predict(many).tolist() == expected[1]\n"
            "assert 'numba' in sys.modules\n"
        )
        environment = {"FASTFIT_CACHE": "0", "FASTFIT_CACHE_DIR": str(tmp_path / "empty")}
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})

    def test_a_tree_of_three_thousand_levels(self):
        # Classes that alternate: the best split always cuts off one sample at an end.
        n_samples = 3001
        X = np.arange(n_samples, dtype=np.float32)[:, None]
        y = np.arange(n_samples) % 2
        model = DecisionTreeClassifier(random_state=0).fit(X, y)
        assert model.get_depth() == n_samples - 1
        assert model.get_n_leaves() == n_samples
        np.testing.assert_array_equal(model.predict(X), y)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X[:50]), y[:50])
        assert model.decision_path(X).shape == (n_samples, model.tree_.node_count)
        assert model.set_params(ccp_alpha=1.0).fit(X, y).get_depth() == 0
        bounded = DecisionTreeClassifier(max_leaf_nodes=2500, random_state=0).fit(X, y)
        assert bounded.get_n_leaves() == 2500

    def test_iris_and_friends_are_split_to_purity(self):
        X, y = load_iris(return_X_y=True)
        for tree in (
            DecisionTreeClassifier(),
            ExtraTreeClassifier(),
            ExtraTreeRegressor(),
            DecisionTreeRegressor(),
        ):
            assert tree.fit(X, y).score(X, y) > 0.99
