"""What results and times depend on: versions, processor, threads."""

import importlib.metadata
import os
import platform
from pathlib import Path

from fastfit.runtime.cpu import VECTOR_BYTES, cpu_name
from fastfit.runtime.threads import explain_budget

__all__ = ["describe_machine", "describe_versions", "load_average", "processor", "versions"]

_PACKAGES = ("fastfit", "numpy", "numba", "llvmlite", "scikit-learn")
_CPUINFO = Path("/proc/cpuinfo")


def versions(packages=_PACKAGES):
    """Installed versions by distribution name; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_versions(packages=_PACKAGES):
    """Operating system and versions in one line."""
    texts = [f"{name} {version}" for name, version in versions(packages).items()]
    return ", ".join([platform.system(), *texts])


def processor():
    """The maker's name of the processor and, in brackets, the compiler's, which the kernels are built for."""
    model = _model_name()
    return f"{model} ({cpu_name()})" if model else cpu_name()


def _model_name():
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def describe_machine():
    """Processor, vector width and threads in one line."""
    n_threads = explain_budget().n_threads
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return f"{processor()}, {8 * VECTOR_BYTES}-bit vectors, {threads}"


def load_average():
    """Processes that wanted to run during the last minute, or None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
