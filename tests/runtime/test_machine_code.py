"""Machine code between processes: when it is found again, when it must not be, and what becomes of it on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numba
import pytest

import fastfit.kernels

PACKAGE = Path(fastfit.kernels.__file__).parent.parent
INNER = """
from fastfit.runtime.compile import jit

@jit
def inner(x):
    return x + 1.0
"""
OUTER = """
from fastfit.kernels.inner import inner
from fastfit.runtime.compile import jit

@jit
def outer(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += inner(x[i])
    return total
"""
CALL = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    from fastfit.kernels.outer import outer
    from fastfit.runtime.compile import cache_directory, compile_statistics
    value = outer(np.arange(4.0))
statistics = compile_statistics()
print(json.dumps({
    "value": value,
    "n_compiled": statistics.n_compiled,
    "n_loaded": statistics.n_loaded,
    "directory": str(cache_directory()),
    "warnings": [str(w.message) for w in caught if "fastfit" in str(w.message)],
    "imported_linalg": "numba.np.linalg" in sys.modules,
}))
"""
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no compiler")
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such owners and modes")


def make_package(root):
    """Make a small package of our name: this layer's files as they are, and two kernels in two files."""
    for folder, files in (("runtime", "*.py"), ("kernels", "__init__.py")):
        (root / "fastfit" / folder).mkdir(parents=True)
        for file in (PACKAGE / folder).glob(files):
            shutil.copy(file, root / "fastfit" / folder)
    (root / "fastfit" / "__init__.py").write_text("")
    (root / "fastfit" / "kernels" / "inner.py").write_text(INNER)
    (root / "fastfit" / "kernels" / "outer.py").write_text(OUTER)
    return root


@pytest.fixture
def package(tmp_path):
    """The small package, never called."""
    return make_package(tmp_path / "package")


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """The small package after one call, with the machine code that it kept."""
    package = make_package(tmp_path_factory.mktemp("home") / "package")
    first = call(package)
    assert (first["value"], first["n_compiled"], first["n_loaded"], first["warnings"]) == (10.0, 2, 0, [])
    return package


@pytest.fixture
def compiled_package(compiled_once, tmp_path):
    """The same for one test to change. That a copy of package and code will do is itself a test below."""
    shutil.copytree(compiled_once.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "package"


def start(package, code=CALL, **environment):
    """Start a process that sees that package, with a home and temporary files of its own."""
    home = package.parent
    (home / "tmp").mkdir(exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FASTFIT_", "XDG_", "NUMBA_"))}
    own = {
        "PYTHONPATH": str(package),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "FASTFIT_CACHE_DIR": "",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=home,
        env={**inherited, **own, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait for a process and return what it found."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def call(package, **environment):
    """Run the kernels in a process of their own."""
    return finish(start(package, **environment))


def test_a_second_process_compiles_nothing(compiled_once):
    second = call(compiled_once)
    assert (second["value"], second["n_compiled"], second["n_loaded"]) == (10.0, 0, 1)
    assert second["warnings"] == []
    if sys.platform.startswith("linux"):
        assert second["directory"].startswith(str(compiled_once.parent / ".cache" / "fastfit" / "code-"))
    assert not second["imported_linalg"], "loading must not import what only compiling needs"


def test_an_edit_in_one_file_recompiles_its_callers_in_others(compiled_package):
    package = compiled_package
    (package / "fastfit" / "kernels" / "inner.py").write_text(INNER.replace("1.0", "2.0"))
    edited = call(package)
    assert (edited["value"], edited["n_compiled"]) == (14.0, 2)
    (package / "fastfit" / "kernels" / "inner.py").write_text(INNER)
    restored = call(package)
    assert (restored["value"], restored["n_compiled"]) == (10.0, 0), (
        "each state of the sources keeps its code"
    )


def test_a_package_that_was_moved_and_has_new_dates_finds_its_code(compiled_once, tmp_path):
    moved = tmp_path / "elsewhere" / "site-packages"
    shutil.copytree(compiled_once, moved, copy_function=shutil.copyfile)
    for path in moved.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    found = call(moved, FASTFIT_CACHE_DIR=str(compiled_once.parent / ".cache" / "fastfit"))
    assert (found["value"], found["n_compiled"], found["n_loaded"]) == (10.0, 0, 1)


def test_a_package_in_a_zip_file_finds_its_code(compiled_package):
    package = compiled_package
    archive = package.parent / "package.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in package.rglob("*.py"):
            zipped.write(path, path.relative_to(package))
    # The sources are the same, so what was compiled from the directory will do.
    found = call(archive)
    assert (found["value"], found["n_compiled"], found["n_loaded"]) == (10.0, 0, 1)


def test_a_package_without_source_compiles_in_memory(package):
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-b", str(package)], check=True)
    for path in package.rglob("*.py"):
        path.unlink()
    for _ in range(2):
        found = call(package)
        assert (found["value"], found["n_compiled"], found["directory"]) == (10.0, 2, "None")
        assert found["warnings"] == []


def test_another_cpu_has_code_of_its_own(compiled_package):
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    other = call(compiled_package, **generic)
    assert (other["value"], other["n_compiled"]) == (10.0, 2)
    again, host = call(compiled_package, **generic), call(compiled_package)
    assert again["n_compiled"] == host["n_compiled"] == 0
    assert again["directory"] == other["directory"] != host["directory"]


def test_fastfit_cache_0_keeps_nothing(package):
    for _ in range(2):
        found = call(package, FASTFIT_CACHE="0")
        assert (found["value"], found["n_compiled"], found["directory"]) == (10.0, 2, "None")
        assert found["warnings"] == []
    assert not (package.parent / ".cache").exists()


def test_without_a_home_code_is_kept_among_the_temporary_files(package):
    no_home = package.parent / "file"
    no_home.write_text("")
    nowhere = {"HOME": str(no_home), "XDG_CACHE_HOME": "", "LOCALAPPDATA": str(no_home)}
    first, second = call(package, **nowhere), call(package, **nowhere)
    assert (first["value"], first["n_compiled"], second["n_compiled"]) == (10.0, 2, 0)
    assert second["directory"].startswith(str(package.parent / "tmp" / "fastfit-"))
    assert first["warnings"] == second["warnings"] == []


def test_processes_that_compile_at_once_do_not_disturb_each_other(package):
    together = [start(package) for _ in range(3)]
    assert [finish(process)["value"] for process in together] == [10.0] * 3
    assert call(package)["n_compiled"] == 0
    assert list(package.parent.rglob("*.tmp")) == []


@posix_only
def test_a_process_killed_while_it_writes_leaves_nothing_half_written(package):
    killed = start(
        package,
        "import os, signal; os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n" + CALL,
    )
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = package.parent.rglob("*.tmp")
    os.utime(leftover, (1e9, 1e9))
    found = call(package)
    assert (found["value"], found["n_compiled"], found["warnings"]) == (10.0, 2, [])
    assert not leftover.exists()


def test_a_kernel_from_disk_is_inlined_into_one_that_is_compiled(package):
    (package / "fastfit" / "kernels" / "alone.py").write_text("from fastfit.kernels.inner import inner\n")
    script = "from fastfit.kernels.alone import inner; inner(1.0); print('null')"
    finish(start(package, script))
    found = call(package)
    assert (found["value"], found["n_compiled"], found["n_loaded"]) == (10.0, 1, 1)


def test_results_of_a_factory_that_meet_from_two_processes_are_not_mixed_up(package):
    # LLVM's names hold a number that counts the functions of one process: here both results are number two.
    (package / "fastfit" / "kernels" / "factory.py").write_text("""
import numpy as np
from fastfit.runtime.compile import jit

def make(constant):
    @jit
    def kernel(x):
        total = 0.0
        for i in range(x.shape[0]):
            for j in range(3):
                if x[i] > j:
                    total += constant + 0.0 * np.exp(x[i] * j)
                else:
                    total += constant + 0.0 * np.sin(x[i] + j)
        return total
    return kernel

two, three = make(2.0), make(3.0)

@jit
def first(x):
    return 0.0

@jit
def call_three(x):
    return three(x) + three(x[1:]) + three(x[2:])
""")
    script = "import numpy as np, json\nfrom fastfit.kernels.factory import *\nx = np.ones(3)\nprint(json.dumps([{}]))"
    assert finish(start(package, script.format("first(x), two(x)"))) == [0.0, 18.0]
    assert finish(start(package, script.format("call_three(x)"))) == [54.0]
    assert finish(start(package, script.format("two(x), call_three(x)"))) == [18.0, 54.0]


@pytest.mark.skipif(not hasattr(sys, "addaudithook"), reason="needs CPython's audit hooks")
def test_importing_kernels_leaves_the_disk_alone(package):
    script = """
import json, sys
import fastfit.runtime.compile
touched = []
def listen(event, arguments):
    if event in {"os.mkdir", "os.rename", "os.remove", "os.utime", "os.listdir", "os.scandir", "tempfile.mkstemp"}:
        touched.append([event, str(arguments)])
    elif event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        touched.append([event, str(arguments)])
sys.addaudithook(listen)
import fastfit.kernels.outer
found = [t for t in touched if "kernels" not in t[1]]
print(json.dumps(found))
"""
    assert finish(start(package, script)) == []
    assert not (package.parent / ".cache").exists()
