"""What limits the number of threads of this process: the machine, its container, the environment, joblib."""

import functools
import math
import os
import sys
import threading
from pathlib import Path, PurePosixPath


def process_limits():
    """Return the limits that hold for the whole process, as a list of (name, number of threads)."""
    limits = [
        ("physical cores", _physical_cores()),
        ("container CPU quota", _container_quota()),
        ("FASTFIT_NUM_THREADS", fastfit_num_threads(os.environ.get("FASTFIT_NUM_THREADS"))),
        ("OMP_NUM_THREADS", omp_num_threads(os.environ.get("OMP_NUM_THREADS"))),
        ("NUMBA_DISABLE_JIT", 1 if is_jit_disabled() else None),
    ]
    return [(name, n_threads) for name, n_threads in limits if n_threads is not None]


def is_jit_disabled():
    """Tell whether Numba leaves kernels as plain Python, which the GIL keeps from running in parallel."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return bool(numba.config.DISABLE_JIT)
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def fastfit_num_threads(text):
    """Return the number in FASTFIT_NUM_THREADS, or None if it is not set."""
    if not text:
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(
            "The 'FASTFIT_NUM_THREADS' environment variable must be an int in the range [1, inf). "
            f"Got {text!r} instead."
        )
    return int(text)


def omp_num_threads(text):
    """Return the number for the outermost level in OMP_NUM_THREADS ("4" or "4,2"), or None if there is none.

    Anything else is ignored, as OpenMP's own runtimes do: the variable is not ours to complain about.
    """
    outermost = (text or "").split(",")[0].strip()
    if not outermost.isdecimal() or int(outermost) < 1:
        return None
    return int(outermost)


def joblib_limits():
    """Return what the enclosing joblib context says, as (limit of this worker, default of ``n_jobs``).

    - ``joblib.parallel_config(n_jobs=k)`` around a call is the default of ``n_jobs``, as in scikit-learn.
    - A worker thread of a parallel call has one thread: its siblings share the cores, and joblib tells no one
      how many they are. A ``parallel_config(n_jobs=k)`` inside the worker lifts that.
    - So has a process of a ``multiprocessing`` pool. The processes of joblib's default backend have
      OMP_NUM_THREADS set for them, which is honoured by itself.
    """
    joblib_parallel = sys.modules.get("joblib.parallel")
    if joblib_parallel is None:  # then no joblib worker or context can be around us
        return None, None
    backend, n_jobs = joblib_parallel.get_active_backend()
    is_nested = (getattr(backend, "nesting_level", None) or 0) > 0
    if is_nested and (n_jobs is None or n_jobs < 0):
        on_main_thread = threading.current_thread() is threading.main_thread()
        return (None if on_main_thread and not _is_daemon_process() else 1), None
    return None, n_jobs


def _is_daemon_process():
    multiprocessing_process = sys.modules.get("multiprocessing.process")
    return multiprocessing_process is not None and multiprocessing_process.current_process().daemon


def _physical_cores():
    if hasattr(os, "sched_getaffinity"):
        return count_physical_cores(frozenset(os.sched_getaffinity(0)))
    return _physical_cores_elsewhere()


@functools.cache
def count_physical_cores(cpus, cpu_folder="/sys/devices/system/cpu"):
    """Return how many physical cores the logical ``cpus`` belong to (Linux).

    Two hyperthreads of one core share its arithmetic units, so that a second one adds next to nothing to a
    kernel that keeps them busy, and doubles the cost of its barriers.
    """
    cores = set()
    for cpu in cpus:
        topology = Path(cpu_folder) / f"cpu{cpu}" / "topology"
        cores.add(_read(topology / "core_cpus_list") or _read(topology / "thread_siblings_list") or f"{cpu}")
    return max(1, len(cores))


@functools.cache
def _physical_cores_elsewhere():
    import joblib  # comes with scikit-learn, and knows how to ask macOS and Windows

    return max(1, joblib.cpu_count(only_physical_cores=True))


@functools.cache
def _container_quota():
    return cgroup_cpu_quota()


def cgroup_cpu_quota(cgroup_file="/proc/self/cgroup", mountinfo_file="/proc/self/mountinfo"):
    """Return the CPU quota of this process's control groups, rounded up to whole cores; None without one.

    Both versions of the interface are read, and every group from the process's own up to the root of the
    mount, because each of them may hold a quota and the least one counts.
    """
    quotas = []
    for hierarchy, group in _own_groups(cgroup_file):
        for root, mount_point in _mounts(mountinfo_file, hierarchy):
            for folder in _group_folders(group, root, mount_point):
                quotas.append(_version_2_quota(folder) if hierarchy == "" else _version_1_quota(folder))
    quotas = [quota for quota in quotas if quota is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def _own_groups(cgroup_file):
    """Yield (hierarchy, group path): hierarchy is "" for version 2 and "cpu" for version 1."""
    for line in _read(cgroup_file).splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            yield "cpu" if controllers else "", group


def _mounts(mountinfo_file, hierarchy):
    """Yield (root, mount point) of each mount of the hierarchy; root is the group that the mount shows."""
    for line in _read(mountinfo_file).splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        if kind == "cgroup2" if hierarchy == "" else kind == "cgroup" and "cpu" in options.split(","):
            root, mount_point = mount.split(" ")[3:5]
            yield root, mount_point


def _group_folders(group, root, mount_point):
    """Return the folders of the group and of its ancestors within one mount."""
    group = PurePosixPath(group)
    # In a container without a namespace of its own the mount may show only the container's group.
    inside = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    folder = Path(mount_point)
    folders = [folder]
    for part in inside.parts:
        folder = folder / part
        folders.append(folder)
    return folders


def _version_2_quota(folder):
    return _quota(*[*_read(folder / "cpu.max").split(), "", ""][:2])


def _version_1_quota(folder):
    return _quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _quota(quota_us, period_us):
    # "max" (version 2) and -1 (version 1) say that there is no quota.
    if not quota_us.isdecimal() or not period_us.isdecimal() or int(period_us) == 0 or int(quota_us) == 0:
        return None
    return int(quota_us) / int(period_us)


def _read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
