"""The package as a user gets it: what an import costs, what is installed, and that README's examples run."""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastfit
from tests.conftest import ROOT

# An import of fastfit waits for none of these; each is loaded by the first use that needs it.
HEAVY = {"numba", "llvmlite", "sklearn", "scipy", "pandas", "rich", "joblib"}


def run_python(code, cwd, **environment):
    """Run code in a new interpreter and return what it printed; a failure shows its message."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def python_blocks(text):
    """Return the fenced ```python blocks of a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_import_is_cheap(tmp_path):
    code = f"import sys, fastfit; print({HEAVY} & sys.modules.keys() or 'none')"
    assert run_python(code, tmp_path).strip() == "none"


def test_import_of_one_family_loads_no_other(tmp_path):
    code = "import sys, fastfit.linear_model; print(*{n for n in sys.modules if n.startswith('fastfit.')})"
    loaded = {name.split(".")[1] for name in run_python(code, tmp_path).split()}
    others = {"tree", "ensemble", "neural_network", "model_selection", "inspection", "cli", "demo", "warmup"}
    assert "linear_model" in loaded
    assert loaded & others == set()


def test_public_names_are_importable_and_listed(tmp_path):
    assert {"set_config", "get_config", "config_context", "SGDClassifier"} <= set(dir(fastfit))
    for name in fastfit.__all__:
        assert getattr(fastfit, name) is not None
    with pytest.raises(AttributeError, match="no_such_estimator"):
        fastfit.no_such_estimator  # noqa: B018


def test_version_is_the_distribution_s():
    assert fastfit.__version__ == importlib.metadata.version("fastfit")


def digests(folder):
    """Return the SHA-256 of each Python file below a folder, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*.py")
    }


def test_installed_package_is_this_checkout(tmp_path):
    # Without the checkout on the path, and from another folder: what a user of the package would import.
    code = "import fastfit; print(fastfit.__path__[0])"
    installed = run_python(code, tmp_path, PYTHONPATH="").strip()
    assert digests(installed) == digests(ROOT / "fastfit")


def test_readme_examples_run_in_order(tmp_path):
    blocks = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks, "README.md has no ```python block"
    run_python("\n".join(blocks), tmp_path)


def test_top_level_holds_nothing_else():
    if not (ROOT / ".git").exists():
        pytest.skip(
            "not a git checkout, so what belongs to the project cannot be told from what was built in it"
        )
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    allowed = {"fastfit", "benchmarks", "tests", "pyproject.toml", "README.md", "LICENSE"}
    assert {file.split("/")[0] for file in files if not file.startswith(".")} <= allowed
