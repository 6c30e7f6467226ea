"""A family's table gives the parameters of tests that want ``workload`` and ``library``, or ``subject``."""

import importlib.util

import pytest

# The search for doctests imports every module; this one is of use only beside PyTorch.
collect_ignore = [] if importlib.util.find_spec("torch") else ["torch_network.py"]


def pytest_generate_tests(metafunc):
    wanted = set(metafunc.fixturenames)
    if {"workload", "library"} <= wanted:
        cases = [
            pytest.param(workload, library, id=f"{workload.name} | {workload.describe_shape()} | {library}")
            for workload in metafunc.module.WORKLOADS
            for library in workload.estimators
        ]
        metafunc.parametrize(("workload", "library"), cases)
    elif "subject" in wanted:
        metafunc.parametrize("subject", metafunc.module.SUBJECTS, ids=lambda subject: subject.name)
