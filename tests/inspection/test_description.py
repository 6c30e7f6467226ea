"""describe: what was set beside what was learned."""

import importlib
import inspect
import json

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastfit.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from fastfit.inspection import describe
from fastfit.inspection.phrases import PHRASES, PHRASES_BY_CLASS, phrase_of
from fastfit.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from fastfit.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from fastfit.neural_network import MLPClassifier
from fastfit.tree import DecisionTreeClassifier

X, Y = load_iris(return_X_y=True)


def estimator_classes():
    for module in ("linear_model", "neural_network", "tree", "ensemble"):
        loaded = importlib.import_module(f"fastfit.{module}")
        yield from (getattr(loaded, name) for name in loaded.__all__)
    yield from (GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV)


@pytest.mark.parametrize("cls", list(estimator_classes()), ids=lambda cls: cls.__name__)
def test_every_hyperparameter_has_a_phrase_of_ours(cls):
    for name in inspect.signature(cls.__init__).parameters:
        if name == "self":
            continue
        of_class = any(name in PHRASES_BY_CLASS.get(base.__name__, {}) for base in cls.__mro__)
        assert of_class or name in PHRASES, name
        assert 3 < len(phrase_of(cls, name)) < 80


def test_no_phrase_is_left_over():
    used = {name for cls in estimator_classes() for name in inspect.signature(cls.__init__).parameters}
    assert set(PHRASES) <= used
    assert {name for phrases in PHRASES_BY_CLASS.values() for name in phrases} <= used


def test_hyperparameters_are_values_defaults_and_changes():
    description = describe(SGDRegressor(alpha=0.01, penalty=None, eta0=0.01))
    by_name = {h.name: h for h in description.hyperparameters}
    assert set(by_name) == set(SGDRegressor().get_params())
    assert [h.name for h in description.hyperparameters if h.changed] == ["penalty", "alpha"]
    assert description.hyperparameters[0].changed, "changed ones come first"
    assert (by_name["alpha"].value, by_name["alpha"].default) == (0.01, 0.0001)
    assert not by_name["eta0"].changed
    assert description.learned == []
    assert not description.is_fitted
    assert "Nothing is learned yet" in str(description)


@pytest.mark.parametrize(
    ("value", "is_changed"), [(1e-6, False), (True, True), (np.float64(1e-6), False), (1e-5, True)]
)
def test_changed_means_another_value(value, is_changed):
    (tol,) = [h for h in describe(LinearRegression(tol=value)).hyperparameters if h.name == "tol"]
    assert tol.changed is is_changed


def test_an_array_as_a_value():
    forest = RandomForestClassifier(monotonic_cst=np.zeros(4))
    changed = [h.name for h in describe(forest).hyperparameters if h.changed]
    assert changed == ["monotonic_cst"]


@pytest.mark.parametrize(
    ("slope", "shift", "line"), [(2.0, 1.0, "y = 2 x + 1"), (-0.5, -3.0, "y = -0.5 x - 3")]
)
def test_one_feature_gives_the_line_itself(slope, shift, line):
    x = np.arange(6.0).reshape(-1, 1)
    assert describe(LinearRegression().fit(x, slope * x[:, 0] + shift)).summary == [line]


def test_the_line_has_the_feature_s_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"height": [0.0, 1.0, 2.0]})
    model = LinearRegression().fit(frame, [1.0, 3.0, 5.0])
    assert describe(model).summary == ["y = 2 height + 1"]


def test_arrays_have_shape_dtype_number_and_bytes():
    model = SGDClassifier(random_state=0).fit(X.astype(np.float32), Y)
    coef = {p.name: p for p in describe(model).learned}["coef_"]
    assert (coef.shape, coef.dtype, coef.n_values) == (
        model.coef_.shape,
        str(model.coef_.dtype),
        model.coef_.size,
    )
    assert coef.n_bytes == model.coef_.nbytes
    assert describe(model).summary == [
        "3 outputs, each with a weight for each of 4 features, and an intercept"
    ]


def test_network_layers():
    model = MLPClassifier((7, 5), max_iter=2, random_state=0).fit(X, Y)
    description = describe(model)
    assert description.summary[0] == "a network of 2 hidden layers: 4 -> 7 -> 5 -> 3"
    assert "hidden 2: 7 -> 5 relu, 35 weights + 5 intercepts" in description.summary[2]
    assert "output: 5 -> 3 softmax" in description.summary[3]
    n_parameters = sum(a.size for a in (*model.coefs_, *model.intercepts_))
    assert description.summary[-1].strip() == f"{n_parameters} parameters in all"
    names = [p.name for p in description.learned]
    assert {"coefs_[0]", "coefs_[2]", "intercepts_[1]", "loss_curve_"} <= set(names)


def test_lines_without_an_intercept():
    one, two = X[:, :1], np.stack([X[:, 0], X[:, 1]], axis=1)
    slope = LinearRegression(fit_intercept=False).fit(one, Y)
    assert describe(slope).summary == [f"y = {slope.coef_[0]:.6g} x"]
    weights = LinearRegression(fit_intercept=False).fit(two, Y)
    assert describe(weights).summary == ["a weight for each of 2 features, without an intercept"]
    targets = LinearRegression().fit(one, two)
    assert describe(targets).summary == [
        "2 outputs, each with a weight for each of 1 feature, and an intercept"
    ]


@pytest.mark.parametrize(
    ("make", "n_settings"),
    [
        (lambda tree, grid: GridSearchCV(tree, grid, cv=2), 3),
        (lambda tree, grid: RandomizedSearchCV(tree, grid, cv=2, n_iter=2, random_state=0), 2),
        (lambda tree, grid: HalvingGridSearchCV(tree, grid, cv=2, random_state=0), None),
        (lambda tree, grid: make_search_of_pipeline(tree, grid), 3),
    ],
)
def test_searches(make, n_settings):
    search = make(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}).fit(X, Y)
    description = describe(search)
    if n_settings is None:
        n_settings = len(search.cv_results_["params"])
    ((name, depth),) = search.best_params_.items()
    best = f"the best of {n_settings} settings: {name}={depth} (mean test score {search.best_score_:.4g})"
    assert description.summary[0] == best
    assert description.summary[1].startswith(f"a tree of depth {depth} with")
    learned = {p.name: p.value for p in description.learned}
    assert learned["best_params_"] == repr(search.best_params_)
    content = json.loads(json.dumps(description.to_dict()))
    assert content["hyperparameters"]["estimator"]["value"] == repr(search.estimator)


def make_search_of_pipeline(tree, grid):
    named = {f"decisiontreeclassifier__{name}": values for name, values in grid.items()}
    return GridSearchCV(make_pipeline(StandardScaler(), tree), named, cv=2)


def test_a_search_without_a_refit():
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2, refit=False).fit(X, Y)
    (line,) = describe(search).summary
    assert line.startswith("the best of 2 settings: max_depth=2")


def test_tree_depth_and_leaves():
    model = DecisionTreeClassifier(max_depth=2).fit(X, Y)
    description = describe(model)
    assert description.summary == [f"a tree of depth 2 with {model.get_n_leaves()} leaves (5 nodes)"]
    tree = {p.name: p for p in description.learned}["tree_"]
    assert tree.n_values == model.tree_.node_count
    assert tree.n_bytes > 5 * 48


def test_forests_and_boosting():
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, Y)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    assert f"{leaves} leaves in all" in describe(forest).summary[0]
    assert describe(forest).summary[0].startswith("3 trees of depth")
    hist = HistGradientBoostingClassifier(max_iter=4).fit(X, Y)
    leaves = sum(tree.get_n_leaf_nodes() for trees in hist._predictors for tree in trees)
    summary = describe(hist).summary[0]
    assert summary.startswith("4 rounds, 12 trees")
    assert f"{leaves} leaves in all" in summary
    exact = GradientBoostingRegressor(n_estimators=4, max_depth=1).fit(X, Y)
    assert describe(exact).summary == ["4 rounds, 4 trees of depth 1 with 8 leaves in all"]


def test_forms():
    description = describe(DecisionTreeClassifier(max_depth=2, criterion="entropy").fit(X, Y))
    text, html, content = str(description), description._repr_html_(), description.to_dict()
    assert "\x1b" not in text
    for word in ("max_depth", "'entropy'", "changed", "tree_", "depth 2"):
        assert word in text
    assert html.count("<table>") == html.count("</table>") == 2
    assert html.count("<tr") == 2 + len(description.hyperparameters) + len(description.learned)
    assert content["hyperparameters"]["max_depth"]["value"] == 2
    assert content["hyperparameters"]["max_depth"]["default"] is None
    assert content["learned"]["n_classes_"]["value"] == "3"
    n_hyperparameters = len(DecisionTreeClassifier().get_params())
    assert f"{n_hyperparameters} hyperparameters, 2 changed" in repr(description)


def test_html_is_escaped():
    model = DecisionTreeClassifier(class_weight={"<b>": 1})
    assert "<b>" not in describe(model)._repr_html_()
    assert "&lt;b&gt;" in describe(model)._repr_html_()


def test_estimators_of_others():
    description = describe(Ridge(alpha=2.0).fit(X, Y))
    assert [h.name for h in description.hyperparameters if h.changed] == ["alpha"]
    assert "L2" in description.hyperparameters[0].controls
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
    assert "describe its parts" in str(describe(pipeline))


def test_the_estimator_is_not_changed():
    model = SGDRegressor(random_state=0).fit(X, Y)
    before = {name: id(value) for name, value in vars(model).items()}
    str(describe(model))
    assert {name: id(value) for name, value in vars(model).items()} == before


@pytest.mark.parametrize(("given", "message"), [(DecisionTreeClassifier, "an instance"), (3, "get_params")])
def test_what_is_no_estimator(given, message):
    with pytest.raises(TypeError, match=message):
        describe(given)
