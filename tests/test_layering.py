"""The rules of the house, read from the source: who imports whom, compiles, prints; how long things are."""

import ast
from pathlib import PurePosixPath
from textwrap import dedent

import pytest

from tests.conftest import ROOT

# Top to bottom. A file may import from its own layer and from those below it.
LAYERS = (
    {"cli", "__main__", "demo", "system_info", "tune", "warmup"},
    {"model_selection", "inspection"},
    {"linear_model", "neural_network", "tree", "ensemble", "callbacks"}
    | {"fallback", "fit_callbacks", "former_fit", "parameters", "sharing"},
    {"training"},
    {"kernels"},
    {"runtime"},
)
LEVEL_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
LOWEST_WITH_SCIKIT_LEARN = LEVEL_OF["linear_model"]

COMPILE_MODULE = "fastfit.runtime.compile"
COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "cfunc", "stencil", "generated_jit"}
# Each costs compile time, the cache, or safety under threads and forks.
BANNED_FROM_NUMBA = {"prange", "set_num_threads", "jitclass", "typed"}
NAMES_THAT_SAY_NOTHING = {"utils.py", "util.py", "core.py", "common.py", "helpers.py", "helper.py", "misc.py"}

MAX_FILE_LINES = 600
MAX_KERNEL_LINES = 50
MAX_KERNEL_ARGUMENTS = 12


def dotted_name(path):
    """Return the name under which a file is imported: fastfit/tree/__init__.py is fastfit.tree."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def layer_level(module_name):
    """Return the level of a module's layer: None outside fastfit, 0 for the package, which gathers all."""
    parts = module_name.split(".")
    if parts[0] != "fastfit":
        return None
    return LEVEL_OF.get(parts[1], 0) if len(parts) > 1 else 0


def imported_names(tree, path):
    """Yield (line, full dotted name) for all that a file imports, at its top or inside its functions."""
    package = (
        dotted_name(path).split(".") if path.name == "__init__.py" else dotted_name(path).split(".")[:-1]
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = [*start, *filter(None, [node.module])]
            yield from ((node.lineno, ".".join([*source, alias.name])) for alias in node.names)


def numba_names(tree, path):
    """Yield (line, dotted name, its new parts) for each import from numba and each attribute of it."""
    for line, name in imported_names(tree, path):
        first, *rest = name.split(".")
        if first == "numba":
            yield line, name, rest
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("numba."):
            yield node.lineno, ast.unparse(node), [node.attr]


def import_faults(path, tree):
    """Find imports that point upward, and scikit-learn below the estimators."""
    own_level = layer_level(dotted_name(path))
    if own_level is None:
        return
    if dotted_name(path) != "fastfit" and dotted_name(path).split(".")[1] not in LEVEL_OF:
        yield 1, "belongs to no layer"
    for line, name in imported_names(tree, path):
        level = layer_level(name)
        if level is not None and level < own_level and name != "fastfit.__version__":
            yield line, f"imports {name}, which is above it"
        if name.split(".")[0] == "sklearn" and own_level > LOWEST_WITH_SCIKIT_LEARN:
            yield line, f"imports {name} below the estimators"


def numba_faults(path, tree):
    """Find numba's compilers outside the one place for them, and parts of numba that are not used at all."""
    if path.parts[0] != "fastfit":
        return
    for line, name, parts in numba_names(tree, path):
        if BANNED_FROM_NUMBA & set(parts):
            yield line, f"{name} is not used here"
        if COMPILERS & set(parts) and dotted_name(path) != COMPILE_MODULE:
            yield line, f"{name}: kernels are compiled by {COMPILE_MODULE} alone"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "parallel":
            yield node.lineno, "parallel=: threads are the team's"


def print_faults(path, tree):
    """Find prints in the library, but for its command line."""
    if path.parts[0] != "fastfit" or path.name == "cli.py":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "prints; only cli.py does"


def is_kernel(node):
    """Tell whether a function carries our @jit, with or without arguments."""
    decorators = [d.func if isinstance(d, ast.Call) else d for d in getattr(node, "decorator_list", [])]
    return isinstance(node, ast.FunctionDef) and any(
        ast.unparse(d).split(".")[-1] == "jit" for d in decorators
    )


def kernel_faults(path, tree):
    """Find kernels that are too long, docstring and signature aside, or take too many arguments."""
    for node in filter(is_kernel, ast.walk(tree)):
        statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
        n_lines = node.end_lineno - statements[0].lineno + 1 if statements else 0
        n_arguments = sum(map(len, (node.args.posonlyargs, node.args.args, node.args.kwonlyargs)))
        if n_lines > MAX_KERNEL_LINES:
            yield node.lineno, f"kernel {node.name} has {n_lines} lines, more than {MAX_KERNEL_LINES}"
        if n_arguments > MAX_KERNEL_ARGUMENTS:
            yield (
                node.lineno,
                f"kernel {node.name} has {n_arguments} arguments, more than {MAX_KERNEL_ARGUMENTS}",
            )


def faults(path, source):
    """List what breaks the rules in one file of the checkout, as "path:line: what"."""
    path = PurePosixPath(path)
    tree = ast.parse(source)
    found = [
        fault
        for check in (import_faults, numba_faults, print_faults, kernel_faults)
        for fault in check(path, tree)
    ]
    if path.name in NAMES_THAT_SAY_NOTHING:
        found.append((1, "the file's name says nothing"))
    n_lines = len(source.splitlines())
    if n_lines > MAX_FILE_LINES:
        found.append((n_lines, f"the file has {n_lines} lines, more than {MAX_FILE_LINES}"))
    return [f"{path}:{line}: {what}" for line, what in found]


def source_files():
    """Return the Python files of the checkout, from its top."""
    folders = [ROOT / name for name in ("fastfit", "benchmarks", "tests")]
    return sorted(path.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob("*.py"))


@pytest.mark.parametrize("path", source_files())
def test_file_keeps_the_rules(path):
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("fastfit/kernels/sgd.py", "from fastfit.training.epochs import run", "above"),
        ("fastfit/kernels/sgd.py", "def late():\n    import fastfit.linear_model", "above"),
        ("fastfit/kernels/sgd.py", "from fastfit import set_config", "above"),
        ("fastfit/runtime/team.py", "from ..kernels import gemm", "above"),
        ("fastfit/runtime/team.py", "from .. import kernels", "above"),
        ("fastfit/linear_model/__init__.py", "from fastfit.inspection import batch_size", "above"),
        ("fastfit/inspection/batch_size.py", "import fastfit.cli", "above"),
        ("fastfit/training/sgd.py", "from sklearn.utils import check_array", "below the estimators"),
        ("fastfit/runtime/limits.py", "def f():\n    import sklearn", "below the estimators"),
        ("fastfit/odds_and_ends.py", "", "no layer"),
        ("fastfit/kernels/sgd.py", "import numba\n\n@numba.njit\ndef f(): pass", "compiled by"),
        ("fastfit/kernels/sgd.py", "from numba import njit", "compiled by"),
        ("fastfit/runtime/compile.py", "from numba import prange", "not used"),
        ("fastfit/kernels/sgd.py", "from numba.experimental import jitclass", "not used"),
        ("fastfit/kernels/sgd.py", "import numba\nx = numba.typed.List()", "not used"),
        ("fastfit/runtime/compile.py", "import numba\nnumba.njit(f, parallel=True)", "parallel="),
        ("fastfit/training/sgd.py", "print(1)", "prints"),
        ("fastfit/training/utils.py", "", "says nothing"),
        ("tests/helpers.py", "", "says nothing"),
        ("benchmarks/bench_tree.py", "x = 1\n" * 601, "601 lines"),
        ("fastfit/kernels/sgd.py", "@jit\ndef f(a):\n" + "    a += 1\n" * 51, "kernel f has 51 lines"),
        (
            "fastfit/kernels/sgd.py",
            "@jit(fastmath=REASSOCIATE)\ndef f(" + ", ".join(f"a{i}" for i in range(13)) + "): pass",
            "kernel f has 13 arguments",
        ),
    ],
)
def test_a_broken_rule_is_found(path, source, complaint):
    found = faults(path, source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fastfit/cli.py", "import fastfit\nfrom fastfit.linear_model import SGDRegressor\nprint(1)"),
        ("fastfit/__init__.py", "from fastfit.runtime.config import set_config"),
        (
            "fastfit/kernels/sgd.py",
            "from fastfit.kernels.loss import loss_value\nfrom numba.extending import intrinsic",
        ),
        ("fastfit/runtime/cache.py", "from fastfit import __version__"),
        ("fastfit/runtime/compile.py", "import numba\nx = numba.njit(f)"),
        (
            "fastfit/linear_model/sgd.py",
            "import sklearn.linear_model\nfrom fastfit.training.epochs import run",
        ),
        ("tests/test_sgd.py", "import fastfit.cli\nfrom sklearn.linear_model import SGDRegressor\nprint(1)"),
        (
            "fastfit/kernels/sgd.py",
            dedent('''
                @jit
                def f(
                    X,  # (n_samples, n_features)
                    w,  # (n_features,)
                ):
                    """Long docstrings and signatures are welcome.
                    {}
                    """
                    return X @ w
            ''').format("\n" * 60),
        ),
    ],
)
def test_what_the_rules_allow(path, source):
    assert faults(path, source) == []
