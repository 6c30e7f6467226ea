"""Reading what limits the number of threads, from files and variables as they are found in the wild."""

import sys

import joblib
import pytest

from fastfit.runtime.limits import (
    cgroup_cpu_quota,
    count_physical_cores,
    fastfit_num_threads,
    joblib_limits,
    omp_num_threads,
    process_limits,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("", None), ("4", 4), (" 3 ", 3), ("4,2", 4), ("0", None), ("-2", None), ("many", None)],
)
def test_omp_num_threads(text, expected):
    assert omp_num_threads(text) == expected


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("", None), ("4", 4), (" 3 ", 3)])
def test_fastfit_num_threads(text, expected):
    assert fastfit_num_threads(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "4,2"])
def test_wrong_fastfit_num_threads(text):
    with pytest.raises(ValueError, match=r"'FASTFIT_NUM_THREADS' .* range \[1, inf\)\. Got '.*' instead\."):
        fastfit_num_threads(text)


def test_environment_is_read_at_each_call(monkeypatch):
    monkeypatch.setenv("FASTFIT_NUM_THREADS", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    limits = dict(process_limits())
    assert (limits["FASTFIT_NUM_THREADS"], limits["OMP_NUM_THREADS"]) == (5, 7)
    monkeypatch.delenv("FASTFIT_NUM_THREADS")
    assert "FASTFIT_NUM_THREADS" not in dict(process_limits())
    assert limits["physical cores"] >= 1


@pytest.mark.parametrize("file_name", ["core_cpus_list", "thread_siblings_list"])
def test_hyperthreads_are_not_cores(tmp_path, file_name):
    for cpu in range(8):  # cores 0 to 3, each with a second thread
        write(tmp_path / f"cpu{cpu}" / "topology" / file_name, f"{cpu % 4},{cpu % 4 + 4}\n")
    assert count_physical_cores(frozenset(range(8)), tmp_path) == 4
    assert count_physical_cores(frozenset({0, 4}), tmp_path) == 1
    assert count_physical_cores(frozenset({0, 1, 5}), tmp_path) == 2


def test_cores_without_a_known_topology(tmp_path):
    assert count_physical_cores(frozenset({0, 1, 2}), tmp_path) == 3


class ControlGroups:
    """A machine's control group files under a temporary folder."""

    def __init__(self, folder):
        self.folder = folder
        self.own_groups = []
        self.mounts = []

    def mount_version_2(self, root="/"):
        self.mounts.append(f"31 23 0:28 {root} {self.folder}/v2 rw shared:9 - cgroup2 cgroup2 rw,nsdelegate")

    def mount_version_1(self, controllers="cpu,cpuacct", root="/"):
        mount_point = self.folder / controllers
        self.mounts.append(f"32 31 0:29 {root} {mount_point} rw - cgroup cgroup rw,{controllers}")

    def quota(self):
        write(self.folder / "cgroup", "\n".join(self.own_groups) + "\n")
        write(self.folder / "mountinfo", "\n".join(self.mounts) + "\n")
        return cgroup_cpu_quota(self.folder / "cgroup", self.folder / "mountinfo")


@pytest.fixture
def groups(tmp_path):
    return ControlGroups(tmp_path)


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("", None)],
)
def test_version_2_quota(groups, cpu_max, expected):
    groups.own_groups = ["0::/"]
    groups.mount_version_2()
    write(groups.folder / "v2" / "cpu.max", cpu_max + "\n")
    assert groups.quota() == expected


def test_the_least_quota_of_all_ancestors_counts(groups):
    groups.own_groups = ["0::/kubepods/pod1/container"]
    groups.mount_version_2()
    write(groups.folder / "v2/kubepods/cpu.max", "800000 100000")
    write(groups.folder / "v2/kubepods/pod1/cpu.max", "300000 100000")
    write(groups.folder / "v2/kubepods/pod1/container/cpu.max", "max 100000")
    write(groups.folder / "v2/kubepods/pod2/cpu.max", "100000 100000")
    assert groups.quota() == 3


def test_a_mount_that_shows_only_the_container_s_group(groups):
    groups.own_groups = ["0::/docker/abc/inner"]
    groups.mount_version_2(root="/docker/abc")
    write(groups.folder / "v2/cpu.max", "400000 100000")
    write(groups.folder / "v2/inner/cpu.max", "200000 100000")
    assert groups.quota() == 2


def test_a_group_that_the_mount_does_not_show(groups):
    groups.own_groups = ["0::/../outside"]
    groups.mount_version_2(root="/docker/abc")
    write(groups.folder / "v2/cpu.max", "400000 100000")
    assert groups.quota() == 4


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("250000", 3), ("50000", 1)])
def test_version_1_quota(groups, quota, expected):
    groups.own_groups = ["9:name=systemd:/", "4:memory:/elsewhere", "2:cpu,cpuacct:/docker/abc", "0::/"]
    groups.mount_version_1()
    groups.mount_version_1(controllers="memory")
    write(groups.folder / "cpu,cpuacct/docker/abc/cpu.cfs_quota_us", quota)
    write(groups.folder / "cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000")
    assert groups.quota() == expected


def test_no_control_groups(groups):
    assert groups.quota() is None
    assert cgroup_cpu_quota(groups.folder / "missing", groups.folder / "missing") is None


def test_outside_of_joblib(monkeypatch):
    assert joblib_limits() == (None, None)
    monkeypatch.delitem(sys.modules, "joblib.parallel")
    assert joblib_limits() == (None, None)


def test_parallel_config_is_the_default_of_n_jobs():
    with joblib.parallel_config(n_jobs=3):
        assert joblib_limits() == (None, 3)
    with joblib.parallel_config(backend="threading", n_jobs=-1):
        assert joblib_limits() == (None, -1)


def limits_with_own_n_jobs():
    with joblib.parallel_config(n_jobs=2):
        return joblib_limits()


@pytest.mark.parametrize(
    ("backend", "expected"),
    [("threading", (1, None)), ("multiprocessing", (1, None)), ("loky", (None, None))],
)
def test_inside_of_a_joblib_worker(backend, expected):
    parallel = joblib.Parallel(n_jobs=2, backend=backend)
    assert parallel(joblib.delayed(joblib_limits)() for _ in range(2)) == [expected] * 2


def test_parallel_config_inside_of_a_worker_lifts_its_limit():
    parallel = joblib.Parallel(n_jobs=2, backend="threading")
    assert parallel(joblib.delayed(limits_with_own_n_jobs)() for _ in range(2)) == [(None, 2)] * 2


def test_a_sequential_call_is_no_worker():
    assert joblib.Parallel(n_jobs=1)(joblib.delayed(joblib_limits)() for _ in range(2)) == [(None, None)] * 2
