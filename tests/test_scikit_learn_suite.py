"""scikit-learn's own tests on fastfit's classes: the table, and proof that the swap is real.

A new family adds its lines to the table. How the swap works stands in ``swap_plugin.py``; the few tests
that are left out, and why, in ``deselected.toml``.
"""

import importlib

import pytest

from tests.swap_plugin import DESELECTED

TREES = [
    "tree.DecisionTreeClassifier",
    "tree.DecisionTreeRegressor",
    "tree.ExtraTreeClassifier",
    "tree.ExtraTreeRegressor",
]
FORESTS = [
    "ensemble.ExtraTreesClassifier",
    "ensemble.ExtraTreesRegressor",
    "ensemble.RandomForestClassifier",
    "ensemble.RandomForestRegressor",
]
NETWORKS = ["neural_network.MLPClassifier", "neural_network.MLPRegressor"]
BOOSTING = ["ensemble.GradientBoostingClassifier", "ensemble.GradientBoostingRegressor"]
HISTOGRAM_BOOSTING = [
    "ensemble.HistGradientBoostingClassifier",
    "ensemble.HistGradientBoostingRegressor",
]
SEARCHES = ["model_selection.GridSearchCV", "model_selection.RandomizedSearchCV"]
HALVING = ["model_selection.HalvingGridSearchCV", "model_selection.HalvingRandomSearchCV"]
SWAPPED = {
    "sklearn.linear_model.tests.test_sgd": ["linear_model.SGDClassifier", "linear_model.SGDRegressor"],
    "sklearn.linear_model.tests.test_base": ["linear_model.LinearRegression"],
    "sklearn.tree.tests.test_tree": TREES,
    "sklearn.tree.tests.test_monotonic_tree": [*TREES, *FORESTS],
    "sklearn.tree.tests.test_export": TREES[:2],
    "sklearn.ensemble.tests.test_forest": FORESTS,
    "sklearn.neural_network.tests.test_mlp": NETWORKS,
    # These hold to account what fastfit's networks take over: loss functions and optimizers, not estimators.
    "sklearn.neural_network.tests.test_base": [],
    "sklearn.neural_network.tests.test_stochastic_optimizers": [],
    "sklearn.ensemble.tests.test_gradient_boosting": BOOSTING,
    "sklearn.ensemble._hist_gradient_boosting.tests.test_gradient_boosting": HISTOGRAM_BOOSTING,
    "sklearn.ensemble._hist_gradient_boosting.tests.test_monotonic_constraints": HISTOGRAM_BOOSTING[1:],
    "sklearn.ensemble._hist_gradient_boosting.tests.test_warm_start": HISTOGRAM_BOOSTING,
    "sklearn.ensemble._hist_gradient_boosting.tests.test_compare_lightgbm": HISTOGRAM_BOOSTING,
    "sklearn.model_selection.tests.test_search": [*SEARCHES, *HALVING],
    "sklearn.model_selection.tests.test_successive_halving": HALVING,
}


@pytest.fixture
def swapped_module(request):
    """Return the node of one of scikit-learn's modules, whose tests have run by now if they were selected."""
    return request.node.parent.swapped_modules[request.param]


def all_modules(test):
    """Run a test once for each row of the table."""
    return pytest.mark.parametrize("swapped_module", SWAPPED, indirect=True)(test)


@all_modules
def test_every_fit_that_is_covered_was_made_by_fastfit(swapped_module):
    if swapped_module.n_tests_run < len(swapped_module.collect()):
        pytest.skip("only some of the module's tests were selected, so its fits cannot be judged")
    covered = {key: n for key, n in swapped_module.fit_counts.items() if not key.may_fall_back}
    assert {key.name for key in covered} == {swap.name for swap in swapped_module.swaps}
    assert {key.engine for key in covered} == ({"fastfit"} if swapped_module.swaps else set()), covered


@all_modules
def test_nothing_of_scikit_learn_is_left_in_the_module(swapped_module):
    values = list(vars(swapped_module.obj).values())
    for test in swapped_module.collect():
        values += test.callspec.params.values() if hasattr(test, "callspec") else []
    classes = {value if isinstance(value, type) else type(value) for value in values}
    assert classes & {swap.original for swap in swapped_module.swaps} == set()


@all_modules
def test_the_deselected_tests_exist_and_have_reasons(swapped_module):
    swapped_module.collect()
    assert swapped_module.stale_deselections == set()
    assert all(len(reason.split()) >= 4 for reason in DESELECTED.get(swapped_module.name, {}).values())


def test_every_deselected_module_is_in_the_table():
    assert DESELECTED.keys() <= SWAPPED.keys()


def test_scikit_learn_is_as_it_was():
    for class_names in SWAPPED.values():
        for dotted_name in class_names:
            module_name, name = dotted_name.rsplit(".", 1)
            held = getattr(importlib.import_module(f"sklearn.{module_name}"), name)
            assert held.__module__.startswith("sklearn.")
