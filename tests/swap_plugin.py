"""A pytest plugin that runs scikit-learn's own test modules on fastfit's classes.

``test_scikit_learn_suite.py`` holds the table ``SWAPPED``: from the name of one of scikit-learn's test
modules to the classes to put in place there, "linear_model.SGDClassifier" standing for
``sklearn.linear_model.SGDClassifier`` and ``fastfit.linear_model.SGDClassifier`` alike. Each of those
modules becomes a child of that file, so that its tests are reported, selected and counted one by one:

    pytest "tests/test_scikit_learn_suite.py::sklearn.linear_model.tests.test_sgd::test_sgd_max_iter_param"

The names are replaced in scikit-learn's public modules while such a module is imported and while each of its
tests runs, and are put back in between, so that no other test sees them. What is left out stands in
``deselected.toml``.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import scipy.sparse

# Fixtures and parameters which scikit-learn's test modules expect of their conftest. Its other hooks are left
# alone: they would reach into fastfit's own tests.
from sklearn.conftest import (  # noqa: F401
    fetch_20newsgroups_fxt,
    fetch_20newsgroups_vectorized_fxt,
    fetch_california_housing_fxt,
    fetch_covtype_fxt,
    fetch_kddcup99_fxt,
    fetch_olivetti_faces_fxt,
    fetch_rcv1_fxt,
    global_dtype,
    hide_available_pandas,
    pyplot,
    pytest_generate_tests,
)
from sklearn.utils.metaestimators import available_if

SUITE = "test_scikit_learn_suite.py"
DESELECTED = tomllib.loads(Path(__file__).with_name("deselected.toml").read_text())

# Marks of scikit-learn's tests that mean nothing here.
SCIKIT_LEARN_MARKERS = (
    "no_check_spmatrix: scikit-learn's",
    "parallel_threads(n): scikit-learn's",
    "thread_unsafe: scikit-learn's",
    "iterations(n): scikit-learn's",
)


class Swap(NamedTuple):
    """One class to replace: ``module`` of scikit-learn holds ``original`` as ``name``."""

    module: object
    name: str
    original: type
    replacement: type

    @classmethod
    def of(cls, dotted_name):
        """Return the swap for a name such as "linear_model.SGDClassifier"."""
        module_name, name = dotted_name.rsplit(".", 1)
        module = importlib.import_module(f"sklearn.{module_name}")
        original = getattr(module, name)
        replacement = getattr(importlib.import_module(f"fastfit.{module_name}"), name)
        if not (issubclass(replacement, original) and replacement is not original):
            raise TypeError(f"fastfit.{dotted_name} is not a subclass of scikit-learn's class of that name")
        return cls(module, name, original, replacement)


class FitKey(NamedTuple):
    """What is counted about a fit: the swapped class, whether it may fall back, and the engine that did it."""

    name: str
    may_fall_back: bool
    engine: str | None


def may_fall_back(estimator, X):
    """Tell whether scikit-learn may do the fit: for sparse X, and for objects of its criteria and splitters."""
    named = (getattr(estimator, name, "") for name in ("criterion", "splitter"))
    return scipy.sparse.issparse(X) or not all(isinstance(value, str) for value in named)


@contextlib.contextmanager
def names_swapped(swaps):
    """Let scikit-learn's public modules hold fastfit's classes, and put the originals back at the end."""
    with pytest.MonkeyPatch.context() as patch:
        for swap in swaps:
            patch.setattr(swap.module, swap.name, swap.replacement)
        yield


@contextlib.contextmanager
def fits_counted(swaps, counts):
    """Count the fits of the replacements that succeed, by `FitKey`."""

    def counted(method, name):
        @functools.wraps(method)
        def fit(self, X, *args, **kwargs):
            fitted = method(self, X, *args, **kwargs)
            counts[FitKey(name, may_fall_back(self, X), getattr(self, "fit_engine_", None))] += 1
            return fitted

        return fit

    with pytest.MonkeyPatch.context() as patch:
        for swap in swaps:
            for method_name in ("fit", "partial_fit"):
                method = getattr(swap.replacement, method_name, None)
                if method is not None:
                    # A method that only some settings have must stay so.
                    held = inspect.getattr_static(swap.replacement, method_name)
                    offered = available_if(held.check) if hasattr(held, "check") else lambda method: method
                    patch.setattr(swap.replacement, method_name, offered(counted(method, swap.name)))
        yield


def import_swapped(module_name, swaps):
    """Import a test module of scikit-learn anew, with fastfit's classes wherever it names scikit-learn's."""
    pytest.register_assert_rewrite(module_name)
    # The first import brings in everything that the module needs, so that during the second no other module
    # of scikit-learn can pick up a replaced name and keep it.
    importlib.import_module(module_name)
    del sys.modules[module_name]
    with names_swapped(swaps):
        module = importlib.import_module(module_name)
    replacements = {swap.original: swap.replacement for swap in swaps}
    for name, value in list(vars(module).items()):
        # A name that was imported from where the class is defined, not from the public module.
        if isinstance(value, type) and value in replacements:
            setattr(module, name, replacements[value])
    return module


def names_of(node):
    """Return the names by which `deselected.toml` may call a test: with its parameters and without."""
    return {node.name, node.name.split("[")[0]}


class SwappedModule(pytest.Module):
    """One of scikit-learn's test modules, under fastfit's classes."""

    @classmethod
    def of(cls, suite, module_name, class_names):
        """Return the node for a row of the table."""
        path = Path(importlib.util.find_spec(module_name).origin)
        # The node id says where the row stands, not where scikit-learn happens to be installed.
        node = cls.from_parent(suite, name=module_name, path=path, nodeid=f"{suite.nodeid}::{module_name}")
        node.swaps = [Swap.of(name) for name in class_names]
        node.fit_counts = Counter()
        node.tests = None
        node.n_tests_run = 0
        return node

    def _getobj(self):
        return import_swapped(self.name, self.swaps)

    def collect(self):
        """Collect the module's tests, once, without those that `deselected.toml` names."""
        if self.tests is None:
            deselected = DESELECTED.get(self.name, {}).keys()
            self.tests, dropped = [], []
            for node in super().collect():
                (dropped if deselected & names_of(node) else self.tests).append(node)
            self.stale_deselections = deselected - set().union(*map(names_of, dropped))
            self.ihook.pytest_deselected(items=dropped)
        return self.tests

    @contextlib.contextmanager
    def active(self):
        """Swap the names, and count the fits, for the length of one test."""
        self.n_tests_run += 1
        with names_swapped(self.swaps), fits_counted(self.swaps, self.fit_counts):
            yield


class SwappedSuite(pytest.Module):
    """The file with the table: scikit-learn's modules first, then the file's own tests, which judge those."""

    def collect(self):
        """Collect one `SwappedModule` for each row, then the file's own tests."""
        self.swapped_modules = {
            name: SwappedModule.of(self, name, classes) for name, classes in self.obj.SWAPPED.items()
        }
        return [*self.swapped_modules.values(), *super().collect()]


def pytest_configure(config):
    """Declare the marks that scikit-learn's tests carry."""
    for marker in SCIKIT_LEARN_MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_pycollect_makemodule(module_path, parent):
    """Collect the file with the table as a `SwappedSuite`."""
    return SwappedSuite.from_parent(parent, path=module_path) if module_path.name == SUITE else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Swap the names around each of the swapped tests, with its fixtures."""
    module = item.getparent(SwappedModule)
    with module.active() if module else contextlib.nullcontext():
        return (yield)
