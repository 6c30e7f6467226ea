"""The pytest-benchmark side of a family's table: tests of each workload and library, and of each compile."""

import functools
import tempfile

import pytest

from benchmarks.memory import peak_growth
from benchmarks.probes import first_two_fits
from benchmarks.runner import quietly
from benchmarks.workload import OURS, REFERENCE, fit


def size_of(benchmark):
    """Real sizes when times are taken, a handful of rows in the smoke run of plain pytest."""
    return "full" if benchmark.enabled else "tiny"


@functools.lru_cache(maxsize=1)
def _data_and_reference(workload, size):
    """Data of the workload now running and scikit-learn's model of them, kept from library to library."""
    data = workload.make_data(size)
    reference = workload.estimators[REFERENCE]()
    quietly(reference.fit, data.X, data.y)
    if workload.call is not fit:
        quietly(workload.call, reference, data)
    return data, reference


def run_workload_benchmark(benchmark, workload, library):
    """Fit, check the model against scikit-learn's, then time the workload's call."""
    from fastfit.runtime.threads import explain_budget

    size = size_of(benchmark)
    try:
        estimator = workload.estimators[library]()
    except ImportError as error:
        if library in (OURS, REFERENCE):
            raise
        pytest.skip(f"{library} is not installed ({error})")
    data, reference = _data_and_reference(workload, size)
    quietly(estimator.fit, data.X, data.y)
    benchmark.group = f"{workload.name} | {workload.describe_shape(size)}"
    benchmark.extra_info["library"] = library
    benchmark.extra_info["score"] = workload.score(estimator, data)
    benchmark.extra_info["n_threads"] = explain_budget().n_threads
    benchmark.extra_info["peak_memory_bytes"] = peak_growth(lambda: quietly(workload.call, estimator, data))
    verdict = workload.judge(library, estimator, reference, data)
    benchmark.extra_info["gap"] = verdict.gap
    # On a handful of rows a model that is not meant to be equal may be far off; its score is only recorded.
    if benchmark.enabled or verdict.exact:
        assert verdict.gap <= verdict.tolerance
    quietly(benchmark, workload.call, estimator, data)
    benchmark.extra_info["per"] = workload.per(estimator)


def run_compile_benchmark(benchmark, subject):
    """First fit in a new process with an empty cache, once; the smoke run uses the cache that is there."""
    benchmark.group = f"compile | {subject.name}"
    with tempfile.TemporaryDirectory() as directory:
        cache_directory = directory if benchmark.enabled else None
        first, second = benchmark.pedantic(first_two_fits, args=(OURS, subject, cache_directory), rounds=1)
    benchmark.extra_info["first_fit_seconds"] = first
    benchmark.extra_info["second_fit_seconds"] = second
