"""What every test shares: where machine code is kept, which checkout is tested, and the plugins."""

import os
import tempfile
from pathlib import Path

import hypothesis

ROOT = Path(__file__).resolve().parent.parent

# pytest and everything it starts import fastfit from this checkout, whatever is installed beside it. That the
# installed package is the same one is a test of its own, in test_packaging.py.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

# Machine code is compiled once for a whole run, in a directory of its own, so that nothing stale in a user's
# cache can hide a mistake. Subprocesses inherit the variable; set it yourself to keep the directory between
# runs.
_own_cache = None
if "FASTFIT_CACHE_DIR" not in os.environ:
    _own_cache = tempfile.TemporaryDirectory(prefix="fastfit-tests-", ignore_cleanup_errors=True)
    os.environ["FASTFIT_CACHE_DIR"] = _own_cache.name

# Plots are drawn nowhere.
os.environ.setdefault("MPLBACKEND", "agg")

hypothesis.settings.register_profile(
    "fastfit",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fastfit"))


def pytest_configure(config):
    """Add the plugin that runs scikit-learn's own tests on fastfit's classes."""
    # Imported here because scikit-learn must not be imported before the environment above is set.
    from tests import swap_plugin

    if not config.pluginmanager.is_registered(swap_plugin):
        config.pluginmanager.register(swap_plugin, "fastfit-swap")


def pytest_unconfigure():
    """Remove the cache of this run, unless the user named one."""
    if _own_cache is not None:
        _own_cache.cleanup()
