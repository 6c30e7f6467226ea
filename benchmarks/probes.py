"""Probes: what a user pays before and beside the fit, each measured in a fresh process.

The child process runs a short script and prints one number as its last line.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.workload import OURS, REFERENCE, Probe

_PACKAGES = {OURS: "fastfit", REFERENCE: "sklearn"}
_ROOT = Path(__file__).resolve().parent.parent
_MEGABYTE = 1e6


class Subject(NamedTuple):
    """An estimator to start up in a child process: ``from <package>.<module> import <name>``."""

    module: str
    name: str
    target: str  # a key of _TARGETS
    arguments: str = ""


_IMPORT = """
import time
started = time.perf_counter()
{statement}
print(time.perf_counter() - started)
"""

_FIRST_FITS = """
import time, warnings
import numpy as np
from {package}.{module} import {name}
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.standard_normal((200, 5))
y = {target}
seconds = []
for _ in range(2):
    estimator = {name}({arguments})
    started = time.perf_counter()
    estimator.fit(X, y)
    seconds.append(time.perf_counter() - started)
print(*seconds)
"""

_PEAK_MEMORY = """
import warnings
import numpy as np
from {package}.{module} import {name}
from benchmarks.memory import peak_growth
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = np.empty(({n_rows}, {n_columns}))
for start in range(0, len(X), 65536):
    block = X[start:start + 65536]
    block[:] = rng.standard_normal(block.shape)
y = {target}
{name}({arguments}).fit(X[:2000], y[:2000])
estimator = {name}({arguments})
print(100.0 * peak_growth(lambda: estimator.fit(X, y)) / X.nbytes)
"""

# Where a tree is grown until its leaves are pure, noise makes it as large as trees of real data are.
_TARGETS = {
    "regression": "X[:, 0] + 1.0",
    "classification": "(X[:, 0] > 0).astype(np.int64)",
    "noisy regression": "X[:, 0] + rng.standard_normal(len(X))",
    "noisy classification": "(X[:, 0] + rng.standard_normal(len(X)) > 0).astype(np.int64)",
}


def run_script(script, **environment):
    """Run a script in a new interpreter and return the numbers of its last line."""
    finished = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    if finished.returncode != 0:
        last_line = (finished.stderr.strip() or f"exit code {finished.returncode}").splitlines()[-1]
        raise RuntimeError(f"the child process failed: {last_line}")
    return [float(word) for word in finished.stdout.strip().splitlines()[-1].split()]


def first_two_fits(library, subject, cache_directory=None):
    """Seconds of the first and of the second fit in a new process."""
    script = _fill(_FIRST_FITS, library, subject)
    environment = {} if cache_directory is None else {"FASTFIT_CACHE_DIR": str(cache_directory)}
    return run_script(script, **environment)


@functools.cache
def _fill_cache(library, subject):
    """Compile what the subject needs, so that no process after this one finds the cache empty."""
    first_two_fits(library, subject)


def _fill(script, library, subject, **values):
    return script.format(
        package=_PACKAGES[library],
        module=subject.module,
        name=subject.name,
        arguments=subject.arguments,
        target=_TARGETS[subject.target],
        **values,
    )


def import_probe(statement, note, limit=None):
    """Import time; `statement` holds ``{package}``, and `limit` is the most that fastfit's may take longer."""

    def measure(library, size):
        return run_script(_IMPORT.format(statement=statement.format(package=_PACKAGES[library])))[0]

    return Probe("import", measure, note=note, compare="difference", limit=limit, repeats=7)


def cold_fit_probe(subject):
    """The very first fit on a machine: everything is compiled."""

    def measure(library, size):
        with tempfile.TemporaryDirectory() as directory:
            return first_two_fits(library, subject, directory)[0]

    name = f"{subject.name} cold"
    return Probe(name, measure, note="first fit of all", limit=5.0, libraries=(OURS,), repeats=3)


def warm_fit_probe(subject):
    """The first fit of a process whose kernels are in the cache, less the second."""

    def measure(library, size):
        _fill_cache(library, subject)
        first, second = first_two_fits(library, subject)
        return first - second

    return Probe(f"{subject.name} warm", measure, note="first less second fit", limit=0.3)


def peak_memory_probe(subject):
    """What fit adds to the peak of memory, in per cent of X (400 MB; 2 GB at size "huge")."""

    def measure(library, size):
        n_columns = 50
        n_bytes = {"full": 400, "huge": 2000, "quick": 40}.get(size, 4) * _MEGABYTE
        n_rows = int(n_bytes / 8 / n_columns)
        return run_script(_fill(_PEAK_MEMORY, library, subject, n_rows=n_rows, n_columns=n_columns))[0]

    name = f"{subject.name} memory"
    return Probe(name, measure, unit="%", note="added by fit, of X", limit=50.0, repeats=1)


def compared_memory_probe(subject, n_rows, n_columns, limit):
    """What fit adds to the peak of memory, in per cent of X; fastfit's at most `limit` times scikit-learn's."""

    def measure(library, size):
        rows = {"full": n_rows, "huge": 4 * n_rows, "quick": n_rows // 10}.get(size, 2500)
        script = _fill(_PEAK_MEMORY, library, subject, n_rows=rows, n_columns=n_columns)
        if library == OURS:
            # The first run may compile what only large data need, and the compiler's memory is not the fit's.
            run_script(script)
        return run_script(script)[0]

    name = f"{subject.name} memory"
    note = f"added by fit, of X of {n_rows // 1000}k rows"
    return Probe(name, measure, unit="%", note=note, compare="ratio", limit=limit, repeats=1)
