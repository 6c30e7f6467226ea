"""What forests do around their trees: warm starts, out-of-bag scores, bad input, former fits, pickles, messages."""

import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import ensemble as sklearn_ensemble
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.metrics import f1_score, mean_absolute_error
from sklearn.tree import DecisionTreeClassifier as SklearnTree
from sklearn.tree._criterion import MSE
from sklearn.utils import get_tags

import fastfit
from fastfit import ensemble as fastfit_ensemble
from fastfit.callbacks import TimeBudget
from fastfit.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from tests.ensemble.forest_pairs import (
    CLASSIFIERS,
    FORESTS,
    assert_same_attributes,
    assert_same_forest,
    fit_both,
    make_both,
)

SMALL = {"n_estimators": 4, "random_state": 7}
X, CLASSES = load_iris(return_X_y=True)
NUMBERS = np.rint(10 * X[:, 3] + X[:, 2])


def target_of(name):
    return CLASSES if name in CLASSIFIERS else NUMBERS


# ------------------------------------------------------------------------------------------- warm start


@pytest.mark.parametrize("name", FORESTS)
def test_warm_start_adds_the_same_trees(name):
    ours, theirs = make_both(name, warm_start=True, bootstrap=True, n_estimators=3, random_state=5)
    for n_estimators in (3, 5, 9):
        for forest in (ours, theirs):
            former = getattr(forest, "estimators_", [])
            forest.set_params(n_estimators=n_estimators).fit(X, target_of(name))
            assert all(map(lambda a, b: a is b, forest.estimators_, former))
        assert_same_forest(ours, theirs, exact=name in CLASSIFIERS)
    at_once, _ = fit_both(name, X, target_of(name), bootstrap=True, n_estimators=9, random_state=5)
    assert_same_forest(ours, at_once)


@pytest.mark.parametrize("name", FORESTS)
def test_warm_start_without_more_trees_warns_alike(name):
    for forest in make_both(name, warm_start=True, **SMALL):
        trees = list(forest.fit(X, target_of(name)).estimators_)
        with pytest.warns(UserWarning, match="Warm-start fitting without increasing n_estimators does not"):
            forest.fit(X[::-1], target_of(name))
        assert forest.estimators_ == trees


def test_warm_start_with_fewer_trees_is_an_error():
    for forest in make_both("RandomForestClassifier", warm_start=True, **SMALL):
        forest.fit(X, CLASSES).set_params(n_estimators=3)
        with pytest.raises(
            ValueError, match="n_estimators=3 must be larger or equal to len\\(estimators_\\)=4"
        ):
            forest.fit(X, CLASSES)


def test_a_second_fit_grows_all_trees_anew():
    forest = RandomForestClassifier(**SMALL)
    first = forest.fit(X, CLASSES).estimators_
    second = forest.fit(X, CLASSES).estimators_
    assert len(second) == 4
    assert not {*map(id, first)} & {*map(id, second)}


# ---------------------------------------------------------------------------------------- out-of-bag


def assert_same_out_of_bag(ours, theirs, rtol=1e-12):
    names = [name for name in vars(theirs) if name.startswith("oob_") and name.endswith("_")]
    assert len(names) == 2
    for name in names:
        value, expected = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=1e-12)
        assert np.shape(value) == np.shape(expected)
        assert type(value) is type(expected)


@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores")
@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("params", [{}, {"max_samples": 20}, {"max_samples": 1.7, "weighted": True}], ids=str)
def test_out_of_bag_scores(name, params):
    params = dict(params)
    weight = np.arange(len(X)) % 3.0 if params.pop("weighted", False) else None
    settings = {"n_estimators": 30, "random_state": 1, "bootstrap": True, "oob_score": True, **params}
    ours, theirs = fit_both(name, X, target_of(name), weight, **settings)
    assert_same_out_of_bag(ours, theirs)


@pytest.mark.parametrize("name", FORESTS)
def test_out_of_bag_scores_of_several_outputs(name):
    y = target_of(name)
    y = np.column_stack([y > 1, y > 0]).astype(int) if name in CLASSIFIERS else np.column_stack([y, y[::-1]])
    ours, theirs = fit_both(name, X, y, n_estimators=30, random_state=1, bootstrap=True, oob_score=True)
    assert_same_out_of_bag(ours, theirs)


def test_out_of_bag_scores_by_a_callable():
    def macro_f1(y, predicted):
        return f1_score(y, predicted, average="macro")

    params = {"n_estimators": 30, "random_state": 1, "bootstrap": True}
    ours, theirs = fit_both("RandomForestClassifier", X, CLASSES, oob_score=macro_f1, **params)
    assert ours.oob_score_ == pytest.approx(theirs.oob_score_)
    assert (
        ours.oob_score_
        != fit_both("RandomForestClassifier", X, CLASSES, oob_score=True, **params)[0].oob_score_
    )
    ours, theirs = fit_both("ExtraTreesRegressor", X, NUMBERS, oob_score=mean_absolute_error, **params)
    assert ours.oob_score_ == pytest.approx(theirs.oob_score_)


@pytest.mark.parametrize("name", FORESTS)
def test_rows_that_every_tree_has_seen(name):
    ours, theirs = make_both(name, n_estimators=1, random_state=0, bootstrap=True, oob_score=True)
    for forest in (theirs, ours):
        with pytest.warns(UserWarning, match="Some inputs do not have OOB scores") as caught:
            forest.fit(X, target_of(name))
        assert (caught[0].filename == __file__) == (forest is ours)
    of_rows = ours.oob_decision_function_ if name in CLASSIFIERS else ours.oob_prediction_
    seen = np.unique(ours.estimators_samples_[0])
    assert not of_rows[seen].any()


@pytest.mark.parametrize("name", FORESTS)
def test_out_of_bag_scores_after_a_warm_start(name):
    settings = {"warm_start": True, "bootstrap": True, "n_estimators": 20, "random_state": 2}
    ours, theirs = fit_both(name, X, target_of(name), **settings)
    assert not hasattr(ours, "oob_score_")
    for forest in (ours, theirs):
        with pytest.warns(UserWarning, match="Warm-start"):
            forest.set_params(oob_score=True).fit(X, target_of(name))
    assert_same_out_of_bag(ours, theirs)
    for forest in (ours, theirs):
        forest.set_params(n_estimators=25).fit(X, target_of(name))
    assert_same_out_of_bag(ours, theirs)
    ours.set_params(oob_score=False, warm_start=False).fit(X, target_of(name))
    assert not [
        attribute for attribute in vars(ours) if attribute.startswith("oob_") and attribute.endswith("_")
    ]


# ------------------------------------------------------------------------------------------ bad input


def with_value(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


def negative_weight():
    return np.where(np.arange(len(X)) == 5, -1.0, 1.0)


BAD_INPUT = {
    "infinity": (with_value(np.inf), NUMBERS, None, {}),
    "too large for float32": (with_value(1e300), NUMBERS, None, {}),
    "text": (np.full((5, 2), "a"), np.zeros(5), None, {}),
    "one dimension": (X[:, 0], NUMBERS, None, {}),
    "no rows": (X[:0], NUMBERS[:0], None, {}),
    "no columns": (X[:, :0], NUMBERS, None, {}),
    "lengths": (X, NUMBERS[1:], None, {}),
    "NaN target": (X, np.where(NUMBERS > 20, np.nan, 1.0), None, {}),
    "no target": (X, None, None, {}),
    "sparse target": (X, sp.csr_matrix(np.column_stack([CLASSES, CLASSES])), None, {}),
    "weights too few": (X, NUMBERS, np.ones(3), {}),
    "weights of zero": (X, NUMBERS, np.zeros(len(X)), {}),
    "NaN weights": (X, NUMBERS, np.full(len(X), np.nan), {}),
    "2-D weights": (X, NUMBERS, np.ones((len(X), 1)), {}),
    "negative probability": (X, NUMBERS, negative_weight(), {"bootstrap": True}),
    "max_samples without bootstrap": (X, NUMBERS, None, {"bootstrap": False, "max_samples": 0.5}),
    "oob_score without bootstrap": (X, NUMBERS, None, {"bootstrap": False, "oob_score": True}),
    "n_estimators=0": (X, NUMBERS, None, {"n_estimators": 0}),
    "max_samples=0.0": (X, NUMBERS, None, {"max_samples": 0.0}),
    "max_features=0": (X, NUMBERS, None, {"max_features": 0}),
    "criterion": (X, NUMBERS, None, {"criterion": "no such"}),
    "constraints of other features": (X, NUMBERS, None, {"monotonic_cst": [1]}),
    "constraints of 2": (X, NUMBERS, None, {"monotonic_cst": [2, 0, 0, 0]}),
    "constraints of several outputs": (
        X,
        np.column_stack([NUMBERS, NUMBERS]),
        None,
        {"monotonic_cst": [1, 0, 0, 0]},
    ),
    "random_state": (X, NUMBERS, None, {"random_state": "seed"}),
    "n_jobs": (X, NUMBERS, None, {"n_jobs": 1.5}),
}
ONLY_CLASSES = {
    "fractions": (X, NUMBERS / 7, None, {}),
    "class_weight": (X, CLASSES, None, {"class_weight": "no such"}),
    "class_weight of other classes": (X, CLASSES, None, {"class_weight": {"a": 1, "b": 2}}),
    "dict of several outputs": (X, np.column_stack([CLASSES, CLASSES]), None, {"class_weight": {0: 1}}),
    "list too short": (X, np.column_stack([CLASSES, CLASSES]), None, {"class_weight": [{0: 1}]}),
    "constraints of three classes": (X, CLASSES, None, {"monotonic_cst": [1, 0, 0, 0]}),
    "out-of-bag of several outputs": (
        X,
        np.column_stack([CLASSES, CLASSES[::-1]]),
        None,
        {"bootstrap": True, "oob_score": True},
    ),
}
ONLY_NUMBERS = {
    "poisson below zero": (X, NUMBERS - 20, None, {"criterion": "poisson"}),
    "poisson of zeros": (X, 0 * NUMBERS, None, {"criterion": "poisson"}),
}


def bad_inputs():
    for name in FORESTS:
        special = ONLY_CLASSES if name in CLASSIFIERS else ONLY_NUMBERS
        for case, arguments in {**BAD_INPUT, **special}.items():
            yield pytest.param(name, *arguments, id=f"{name}-{case}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "data", "y", "sample_weight", "params"), list(bad_inputs()))
def test_bad_input_has_scikit_learn_s_message_and_keeps_the_former_fit(name, data, y, sample_weight, params):
    ours, theirs = make_both(name, **SMALL)
    before = dict(vars(ours.fit(X, target_of(name))))
    for forest in (ours, theirs):
        forest.set_params(**params)
    with pytest.raises((ValueError, TypeError)) as expected:
        theirs.fit(data, y, sample_weight)
    with pytest.raises((ValueError, TypeError)) as raised:
        ours.fit(data, y, sample_weight)
    assert str(raised.value) == str(expected.value)
    assert isinstance(raised.value, type(expected.value))
    after = {**vars(ours), **{key: before[key] for key in params}}
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)


def test_a_failed_warm_start_keeps_the_trees():
    forest = RandomForestClassifier(warm_start=True, bootstrap=True, **SMALL).fit(X, CLASSES)
    trees = list(forest.estimators_)
    two = np.column_stack([CLASSES, CLASSES[::-1]])
    for data in (X, sp.csc_matrix(X)):
        forest.set_params(n_estimators=6, oob_score=True)
        with pytest.raises(ValueError, match="OOB estimates"):
            forest.fit(data, two)
        assert forest.estimators_ == trees
        assert forest.n_outputs_ == 1
    np.testing.assert_array_equal(forest.predict(X[:3]), [0, 0, 0])


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_fit_keeps_the_former_one(monkeypatch, kind):
    from fastfit.ensemble import forest_fitting

    forest = RandomForestClassifier(**SMALL).fit(X, CLASSES)
    before = dict(vars(forest))
    grow_into = forest_fitting.grow_into
    n_grown = []

    def interrupted(*args, **kwargs):
        n_grown.append(1)
        if len(n_grown) == 3:
            raise kind
        return grow_into(*args, **kwargs)

    monkeypatch.setattr(forest_fitting, "grow_into", interrupted)
    with pytest.raises(kind):
        forest.fit(X[::2], CLASSES[::2])
    assert vars(forest) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer of POSIX")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_ends_a_fit_soon(monkeypatch, n_threads):
    from fastfit.ensemble import forest_fitting

    begun = []
    begun_before = []
    grow_into = forest_fitting.grow_into

    def interrupt(*_):
        begun_before.append(len(begun))
        raise KeyboardInterrupt

    def count_and_grow(*args, **kwargs):
        begun.append(1)
        if len(begun) == 10:
            # Not sooner, or on a busy machine it would come before the fit.
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        return grow_into(*args, **kwargs)

    monkeypatch.setattr(forest_fitting, "thread_budget", lambda n_jobs: n_threads)
    monkeypatch.setattr(forest_fitting, "WORK_OF_SMALL_TREE", 0)
    forest = RandomForestClassifier(**SMALL).fit(X, CLASSES)
    before = dict(vars(forest))
    forest.n_estimators = 100_000
    monkeypatch.setattr(forest_fitting, "grow_into", count_and_grow)
    former_handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            forest.fit(X, CLASSES)
        # Soon is told in trees, whatever else the machine is busy with: a few that threads were about to begin.
        assert len(begun_before) == 1
        assert len(begun) - begun_before[0] < 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, former_handler)
    forest.n_estimators = SMALL["n_estimators"]
    assert vars(forest) == before


def test_column_vector_warns_and_is_taken_as_one_output():
    forest = RandomForestRegressor(**SMALL)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed when a 1d array") as caught:
        forest.fit(X, NUMBERS.reshape(-1, 1))
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(
        forest.predict(X), RandomForestRegressor(**SMALL).fit(X, NUMBERS).predict(X)
    )


def test_n_jobs_of_zero_is_an_error():
    with pytest.raises(ValueError, match="n_jobs == 0 has no meaning"):
        RandomForestClassifier(n_jobs=0, **SMALL).fit(X, CLASSES)


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [({"splitter": "random"}, "splitter", "random"), ({"max_bins": 1}, "max_bins", 1)],
)
def test_arguments_of_our_own_are_checked(params, name, value):
    with pytest.raises(
        ValueError, match=f"The '{name}' parameter of RandomForestClassifier must be .* Got {value!r}"
    ):
        RandomForestClassifier(**params).fit(X, CLASSES)
    with pytest.raises(TypeError, match="unexpected keyword"):
        ExtraTreesClassifier(**params)


# ------------------------------------------------------------------------------------------- fallback


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_sparse_data_are_fitted_by_scikit_learn(name, container):
    data = container(np.where(X > 3, X, 0.0))
    ours, theirs = make_both(name, bootstrap=True, oob_score=True, n_estimators=30, random_state=0)
    with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="do not cover sparse X"):
        ours.fit(data, target_of(name))
    theirs.fit(data, target_of(name))
    assert ours.fit_engine_ == "scikit-learn"
    assert_same_attributes(ours, theirs)
    np.testing.assert_array_equal(ours.predict(data), theirs.predict(data))
    np.testing.assert_array_equal(ours.apply(data.tocsr()), theirs.apply(data.tocsr()))
    with fastfit.config_context(fallback="error"), pytest.raises(RuntimeError, match="sparse X"):
        ours.fit(data, target_of(name))


def test_data_frame_of_sparse_columns():
    frame = pd.DataFrame.sparse.from_spmatrix(sp.csc_matrix(np.where(X > 3, X, 0.0)))
    forest = RandomForestClassifier(**SMALL)
    with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="do not cover sparse X"):
        forest.fit(frame, CLASSES)
    assert forest.fit_engine_ == "scikit-learn"


def test_a_criterion_object_is_left_to_scikit_learn():
    ours, theirs = make_both("RandomForestRegressor", criterion=MSE(1, len(X)), **SMALL)
    with fastfit.config_context(fallback="warn"), pytest.warns(UserWarning, match="a criterion object"):
        ours.fit(X, NUMBERS)
    np.testing.assert_array_equal(ours.predict(X), theirs.fit(X, NUMBERS).predict(X))
    assert ours.fit_engine_ == "scikit-learn"


class ContraryTree(SklearnTree):
    """Predicts the class after the one that its leaf has."""

    def predict_proba(self, X, check_input=True):
        return np.roll(super().predict_proba(X, check_input), 1, axis=1)


def test_trees_of_another_kind_are_left_to_scikit_learn():
    forests = make_both(
        "RandomForestClassifier", bootstrap=True, oob_score=True, n_estimators=30, random_state=0
    )
    for forest in forests:
        forest.estimator = ContraryTree()
        forest.estimator_params = tuple(
            name for name in forest.estimator_params if name in ContraryTree().get_params()
        )
    ours, theirs = (forest.fit(X, CLASSES) for forest in forests)
    assert ours.fit_engine_ == "scikit-learn"
    assert {type(tree) for tree in ours.estimators_} == {ContraryTree}
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    assert ours.oob_score_ == theirs.oob_score_ < 0.5


def test_histograms_do_not_fall_back():
    assert get_tags(RandomForestClassifier()).input_tags.sparse
    assert not get_tags(RandomForestClassifier(splitter="hist")).input_tags.sparse
    forest = RandomForestClassifier(splitter="hist")
    with pytest.raises(ValueError, match="splitter='hist' does not work with sparse X; use splitter='best'"):
        forest.fit(sp.csr_matrix(X), CLASSES)


def test_a_fit_by_scikit_learn_goes_on_in_fastfit():
    forests = make_both("RandomForestClassifier", warm_start=True, **SMALL)
    for forest in forests:
        forest.fit(sp.csc_matrix(X), CLASSES).set_params(n_estimators=7).fit(X, CLASSES)
    assert_same_forest(*forests)


# --------------------------------------------------------------------------- pickles, clones, messages


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("copied", [lambda forest: pickle.loads(pickle.dumps(forest)), copy.deepcopy])
def test_copies_predict_alike(name, copied):
    forest = make_both(name, **SMALL)[0].fit(X, target_of(name))
    size = len(pickle.dumps(forest))
    expected = forest.predict(X)
    assert len(pickle.dumps(forest)) == size
    again = copied(forest)
    np.testing.assert_array_equal(again.predict(X), expected)
    assert_same_forest(again, forest)
    assert again.estimators_[0].tree_ is not forest.estimators_[0].tree_


def test_a_pickle_needs_no_compiled_code(tmp_path):
    forest = RandomForestClassifier(**SMALL).fit(X, CLASSES)
    path = tmp_path / "forest.pickle"
    path.write_bytes(pickle.dumps((forest, X, forest.predict_proba(X))))
    code = (
        "import pickle, sys; from pathlib import Path; import numpy as np\n"
        "forest, X, expected = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "assert 'numba' not in sys.modules\n"
        "np.testing.assert_array_equal(forest.predict_proba(X), expected)\n"
    )
    environment = {**os.environ, "FASTFIT_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)


@pytest.mark.parametrize("name", FORESTS)
def test_clones_are_unfitted_and_fit_alike(name):
    forest = make_both(name, max_depth=3, **SMALL)[0].fit(X, target_of(name))
    again = clone(forest)
    assert again.get_params() == forest.get_params()
    for ask in (lambda: again.predict(X), lambda: again.apply(X), lambda: again.feature_importances_):
        with pytest.raises(NotFittedError):
            ask()
    assert_same_forest(again.fit(X, target_of(name)), forest)


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("max_depth", [None, 1])
def test_feature_importances(name, max_depth):
    ours, theirs = fit_both(name, X, target_of(name), max_depth=max_depth, max_features=1, **SMALL)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=1e-10)
    stump = make_both(name, **SMALL)[0].fit(X, np.zeros(len(X)))
    np.testing.assert_array_equal(stump.feature_importances_, np.zeros(4))


def test_permutation_importance():
    ours, theirs = fit_both("RandomForestClassifier", X, CLASSES, **SMALL)
    arguments = {"n_repeats": 3, "random_state": 0}
    np.testing.assert_array_equal(
        permutation_importance(ours, X, CLASSES, **arguments).importances,
        permutation_importance(theirs, X, CLASSES, **arguments).importances,
    )


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
@pytest.mark.parametrize("verbose", [0, 1, 2, 50])
def test_verbose_forests_tell_what_scikit_learns_tell(capsys, verbose, n_jobs):
    """Their lines, and joblib's, but for the seconds; how far several workers are when joblib tells is chance."""
    texts = []
    for ensemble in (fastfit_ensemble, sklearn_ensemble):
        forest = ensemble.RandomForestClassifier(
            60, max_depth=2, verbose=verbose, n_jobs=n_jobs, random_state=0
        )
        forest.fit(X, CLASSES)
        forest.predict(X)
        forest.apply(X)
        texts.append([_without_chance(stream, n_jobs) for stream in capsys.readouterr()])
    assert texts[0] == texts[1]
    assert any(texts[0]) == (verbose > 0)
    if n_jobs == 1 and verbose == 1:
        tasks, end = "[Parallel(n_jobs=1)]: Done  49 tasks ", "[Parallel(n_jobs=1)]: Done  60 out of  60 "
        assert [line.split("|")[0].rstrip() + " " for line in texts[0][1]] == [tasks, end] * 3


def _without_chance(text, n_jobs):
    lines = re.sub(r" +[0-9.]+(min|s)", " S", text).splitlines()
    if n_jobs in (None, 1):
        return lines
    return sorted(line for line in lines if "finished" in line or "Done" not in line)


def test_a_verbose_forest_that_a_callback_ends_tells_of_no_end(capsys):
    forest = (
        RandomForestClassifier(verbose=2, n_jobs=1, **SMALL).set_callbacks(TimeBudget(1e-9)).fit(X, CLASSES)
    )
    out, err = capsys.readouterr()
    assert out.startswith("building tree 1 of 4")
    assert "finished" not in err
    assert len(forest.estimators_) == 1


def test_an_ordinary_fit_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in FORESTS:
            make_both(name, **SMALL)[0].fit(pd.DataFrame(X, columns=list("abcd")), target_of(name))
