"""The kernels are honest Python: tests marked `plain_python` pass with numba's compiler switched off, too."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_marked_tests_pass_without_the_compiler(tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "plain_python", "tests"]
    # Kernels divide by zero as C does, and NumPy warns of it.
    command += ["-W", "ignore::RuntimeWarning"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "FASTFIT_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(tmp_path.iterdir()) == [], "something was compiled"
