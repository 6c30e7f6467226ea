"""The budget of threads and the teams within it: shared, never stuck, and back to normal after any mishap."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
from textwrap import dedent

import joblib
import numba
import numpy as np
import pytest

from fastfit.runtime import pool, threads
from fastfit.runtime.compile import jit
from fastfit.runtime.config import config_context, set_config
from fastfit.runtime.team import barrier, stop_requested
from fastfit.runtime.threads import explain_budget, map_threads, run_team, thread_budget, threads_for

N_CORES = 4
TIMEOUT = 30  # seconds after which something counts as stuck


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "process_limits", lambda: [("physical cores", N_CORES)])
    # Whoever asked for threads keeps them for the whole test, however slow the machine is.
    monkeypatch.setattr(pool, "PROMISE_SECONDS", 1000.0)
    threads.POOL.promises.clear()
    yield
    threads.POOL.promises.clear()


@jit
def sum_squares(
    control,
    thread_idx,
    n_threads,
    X,  # (n_samples,) float64
    partial_sums,  # (n_threads,) float64
    sum_out,  # (1,) float64
):
    total = 0.0
    for i in range(thread_idx, X.shape[0], n_threads):
        total += X[i] * X[i]
    partial_sums[thread_idx] = total
    if barrier(control, n_threads) and thread_idx == 0:
        sum_out[0] = partial_sums.sum()


@jit
def fail_in_last_member(
    control,
    thread_idx,
    n_threads,
    n_left,  # (n_threads,) int64
):
    if thread_idx == n_threads - 1:
        raise ValueError("bad member")
    while barrier(control, n_threads):
        pass
    n_left[thread_idx] = 1


@jit
def wait_until_stopped(
    control,
    thread_idx,
    n_threads,
    started,  # (n_threads,) int64
):
    started[thread_idx] = 1
    while not stop_requested(control):
        pass


@jit
def does_not_compile(control, thread_idx, n_threads):
    return thread_idx + "one"


def fit(n_threads):
    """Do what an estimator's fit does with a team; return whether the result is right."""
    X = np.arange(1000.0)
    partial_sums, sum_out = np.zeros(n_threads), np.zeros(1)
    run_team(sum_squares, n_threads, X, partial_sums, sum_out)
    return sum_out[0] == (X * X).sum()


def budget_and_fit(_=None):
    return thread_budget(), fit(3)


def call_in_threads(function, n_callers):
    """Call ``function()`` in that many threads at once; return their results."""
    gate = threading.Barrier(n_callers)
    results = []

    def call():
        gate.wait(TIMEOUT)
        results.append(function())

    callers = [threading.Thread(target=call, daemon=True) for _ in range(n_callers)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(TIMEOUT)
    assert not any(caller.is_alive() for caller in callers), "stuck"
    return results


def fit_in_child():
    """Fork, fit in the child, and return its exit status; a child that is stuck is killed."""
    child = os.fork()
    if child == 0:
        os._exit(0 if fit(3) and threads.POOL.in_use == {} else 1)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "stuck"


# --- budget


@pytest.mark.parametrize(
    ("n_jobs", "expected"),
    [(None, 4), (-1, 4), (-2, 3), (-4, 1), (-9, 1), (1, 1), (3, 3), (np.int64(2), 2), (100, 4)],
)
def test_n_jobs(four_cores, n_jobs, expected):
    assert thread_budget(n_jobs) == expected


def test_wrong_n_jobs(four_cores):
    for function in (thread_budget, explain_budget, lambda n_jobs: threads_for(10, n_jobs)):
        with pytest.raises(ValueError, match="n_jobs == 0 has no meaning"):
            function(0)
        with pytest.raises(TypeError, match=r"n_jobs must be an int or None\. Got 'all' instead\."):
            function("all")


def test_the_least_limit_binds(four_cores):
    assert explain_budget() == (4, [("physical cores", 4)], "physical cores")
    try:
        set_config(n_threads=3)
        assert explain_budget().bound_by == "set_config(n_threads)"
        with config_context(n_threads=2):
            assert explain_budget(n_jobs=-1) == (
                2,
                [("physical cores", 4), ("config_context(n_threads)", 2), ("n_jobs", 2)],
                "config_context(n_threads)",
            )
        assert explain_budget(n_jobs=1).bound_by == "n_jobs"
    finally:
        set_config(n_threads=None)


def test_variables_limit_the_budget(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert thread_budget() == 1
    monkeypatch.setenv("FASTFIT_NUM_THREADS", "none")
    with pytest.raises(ValueError, match="FASTFIT_NUM_THREADS"):
        thread_budget()


def test_small_work_stays_on_one_thread(four_cores):
    grain = threads.MIN_WORK_PER_THREAD
    assert [threads_for(work) for work in (0, grain, 2 * grain, 3.5 * grain, 1e15, np.inf)] == [
        1,
        1,
        2,
        3,
        4,
        4,
    ]
    assert threads_for(1e15, n_jobs=2) == 2


def test_joblib_config_stands_for_n_jobs(four_cores):
    with joblib.parallel_config(n_jobs=3):
        assert thread_budget() == 3
        assert explain_budget().bound_by == "joblib.parallel_config(n_jobs)"
        assert thread_budget(2) == 2
        assert thread_budget(-1) == 4
    with joblib.parallel_config(n_jobs=-2):
        assert thread_budget() == 3


def test_callers_at_once_share_the_budget(four_cores):
    assert sorted(call_in_threads(thread_budget, 8)) == [1] * 7 + [4]


def test_running_teams_are_counted(four_cores):
    budgets = []

    def kernel(control, thread_idx, n_threads):
        if thread_idx == 0:
            budgets.extend(call_in_threads(explain_budget, 1))

    run_team(kernel, 3)
    assert budgets == [(1, [("physical cores", 4), ("left by other threads", 1)], "left by other threads")]
    run_team(kernel, 1)
    assert budgets[1].n_threads == 3
    assert explain_budget().n_threads == 4


def test_tasks_of_a_map_share_the_budget(four_cores):
    assert map_threads(lambda _: thread_budget(), range(5), 2) == [2] * 5
    assert map_threads(lambda _: thread_budget(), range(5), 4) == [1] * 5
    assert map_threads(lambda _: thread_budget(), range(5), 1) == [4] * 5
    assert (
        map_threads(lambda _: map_threads(lambda _: thread_budget(), range(2), 2), range(2), 2)
        == [[1, 1]] * 2
    )


# --- teams


def test_all_members_run_at_the_same_time():
    for n_threads in (1, 2, 12):
        meeting = threading.Barrier(n_threads)
        seen = []

        def kernel(control, thread_idx, n_threads, word, meeting=meeting, seen=seen):
            meeting.wait(TIMEOUT)
            seen.append((thread_idx, n_threads, word))

        run_team(kernel, n_threads, "word")
        assert sorted(seen) == [(thread_idx, n_threads, "word") for thread_idx in range(n_threads)]


def test_first_member_runs_on_the_calling_thread_unless_it_may_be_long():
    idents = {}

    def kernel(control, thread_idx, n_threads):
        idents[thread_idx] = threading.get_ident()

    run_team(kernel, 2)
    assert idents[0] == threading.get_ident()
    run_team(kernel, 1, may_be_long=True)
    assert idents[0] != threading.get_ident()
    run_team(kernel, 2, may_be_long=True)
    assert threading.get_ident() not in idents.values()


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_team_computes(n_threads):
    assert fit(n_threads)


def test_members_may_end_before_others_start(monkeypatch):
    class HastyWorker:
        """Done with its member before the next one is handed out."""

        def __init__(self):
            self.inbox = self

        def put(self, task):
            job, member = task
            job.run(member)
            job.count_out()

    seen = []
    monkeypatch.setattr(threads.POOL, "take_workers", lambda n: [HastyWorker() for _ in range(n)])
    run_team(lambda control, thread_idx, n_threads: seen.append(thread_idx), 4)
    assert sorted(seen) == [0, 1, 2, 3]


def test_eight_callers_at_once():
    assert call_in_threads(lambda: all(fit(3) for _ in range(10)), 8) == [True] * 8


def test_threads_are_reused_and_not_leaked():
    for _ in range(3):
        run_team(lambda control, thread_idx, n_threads: None, pool.MAX_IDLE_WORKERS + 6)
    deadline = time.monotonic() + TIMEOUT
    while len(worker_threads()) > pool.MAX_IDLE_WORKERS and time.monotonic() < deadline:
        time.sleep(0.005)
    before = worker_threads()
    assert len(before) == pool.MAX_IDLE_WORKERS
    for _ in range(10):
        run_team(lambda control, thread_idx, n_threads: None, 2)
    assert worker_threads() == before


def worker_threads():
    return {thread for thread in threading.enumerate() if thread.name == "fastfit-worker"}


def test_a_finished_team_keeps_nothing_alive():
    class Owner:
        pass

    owner = Owner()
    run_team(lambda control, thread_idx, n_threads, owner: None, 3, owner)
    assert sys.getrefcount(owner) == 2


# --- errors


@pytest.mark.parametrize("may_be_long", [False, True])
def test_error_in_one_member_stops_the_others(may_be_long):
    n_left = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="bad member"):
        run_team(fail_in_last_member, 3, n_left, may_be_long=may_be_long)
    assert fit(3)
    assert threads.POOL.in_use == {}


def test_error_has_the_traceback_of_its_member():
    def kernel(control, thread_idx, n_threads):
        if thread_idx == 1:
            raise LookupError("here")

    with pytest.raises(LookupError) as error:
        run_team(kernel, 2)
    assert "kernel" in [frame.name for frame in traceback.extract_tb(error.value.__traceback__)]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_kernel_that_does_not_compile(n_threads):
    with pytest.raises(numba.TypingError, match="No implementation of function"):
        run_team(does_not_compile, n_threads)
    assert fit(2)


def test_kernel_is_compiled_by_the_caller():
    n_signatures = len(sum_squares.signatures)
    arguments = np.zeros(5, dtype=np.float32), np.zeros(2), np.zeros(1)
    threads._compile_once(sum_squares, (np.zeros(threads.CONTROL_SIZE, np.int64), 0, 2, *arguments))
    assert len(sum_squares.signatures) == n_signatures + 1
    run_team(sum_squares, 2, *arguments)
    assert len(sum_squares.signatures) == n_signatures + 1


def test_no_more_threads_from_the_system(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "Worker", no_thread)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run_team(sum_squares, pool.MAX_IDLE_WORKERS + 9, np.zeros(3), np.zeros(99), np.zeros(1))
    monkeypatch.undo()
    assert threads.POOL.in_use == {}
    assert fit(2)


# --- map


def test_map_keeps_the_order():
    assert map_threads(lambda item: item * item, iter(range(50)), 4) == [item * item for item in range(50)]
    assert map_threads(abs, [], 4) == []


def test_map_runs_as_many_tasks_at_once():
    meeting = threading.Barrier(3)
    assert map_threads(lambda _: meeting.wait(TIMEOUT), range(6), 3)


def test_map_raises_the_error_of_the_first_item_that_failed():
    meeting = threading.Barrier(2)
    done = []

    def task(item):
        if item < 2:
            meeting.wait(TIMEOUT)
            if item == 0:
                time.sleep(0.02)  # fails later, but stands before the other
            raise LookupError(f"item {item}")
        done.append(item)

    with pytest.raises(LookupError, match="item 0"):
        map_threads(task, range(1000), 2)
    assert done == []


def test_map_tasks_see_the_configuration_of_the_caller(four_cores):
    with config_context(n_threads=3, fallback="error"):
        configs = map_threads(lambda _: (thread_budget(), threads.n_threads_limits()), range(4), 2)
    assert configs == [(1, (None, 3))] * 4


def test_teams_inside_of_a_map():
    assert map_threads(lambda _: fit(2) and fit(1), range(12), 3) == [True] * 12


# --- joblib and processes


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    assert fit(2), "the parent has used threads before it starts workers"
    parallel = joblib.Parallel(n_jobs=2, backend=backend, timeout=None if backend == "threading" else TIMEOUT)
    results = parallel(joblib.delayed(budget_and_fit)() for _ in range(4))
    assert [is_right for _, is_right in results] == [True] * 4
    if backend != "loky":
        assert [n_threads for n_threads, _ in results] == [1] * 4


def test_joblib_tells_its_processes_their_share(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(thread_budget)() for _ in range(2)) == [1, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_a_team():
    assert fit(3)
    assert fit_in_child() == 0
    assert fit(3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_teams_run():
    started = np.zeros(2, dtype=np.int64)

    def hold(control, thread_idx, n_threads):
        while started[0] == 0:
            time.sleep(0.001)

    holder = threading.Thread(target=run_team, args=(hold, 2), daemon=True)
    holder.start()
    try:
        assert fit_in_child() == 0
        assert map_threads(lambda _: fit_in_child(), range(3), 2) == [0] * 3
    finally:
        started[0] = 1
        holder.join(TIMEOUT)
    assert not holder.is_alive()


def test_multiprocessing_fork_and_spawn():
    for method in {"fork", "spawn"} & set(multiprocessing.get_all_start_methods()):
        with multiprocessing.get_context(method).Pool(1) as processes:
            assert processes.apply_async(fit, (2,)).get(TIMEOUT)


# --- Ctrl-C, each in a process of its own

INTERRUPT = """
    import os, signal, sys, threading, time
    import numpy as np
    from fastfit.runtime import threads
    from fastfit.runtime.config import config_context
    from fastfit.runtime.threads import map_threads, run_team
    from tests.runtime.test_threads import fit, jit, stop_requested, wait_until_stopped

    @jit
    def never_ask(control, thread_idx, n_threads, started):
        started[thread_idx] = 1
        while started[thread_idx] == 1:
            stop_requested(control)

    def interrupt(function, n_threads, n_interrupts=1):
        '''Send Ctrl-C once all members run; return the seconds until KeyboardInterrupt was raised.'''
        started = np.zeros(8, dtype=np.int64)
        sent = []

        def press():
            while np.count_nonzero(started) < n_threads:
                time.sleep(0.001)
            for _ in range(n_interrupts):
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)

        presser = threading.Thread(target=press)
        presser.start()
        try:
            function(started)
        except KeyboardInterrupt:
            seconds = time.monotonic() - sent[0]
        presser.join()
        return seconds

    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert fit(2)
"""

INTERRUPT_TEAMS = """
    for n_threads in (1, 2, 3):
        run = lambda started: run_team(wait_until_stopped, n_threads, started, may_be_long=True)
        assert interrupt(run, n_threads) < 1, n_threads
        assert threads.POOL.in_use == {}
        assert fit(n_threads)
"""

INTERRUPT_MAP = """
    finished = []

    def task(n_inner, started):
        run_team(wait_until_stopped, n_inner, started)
        finished.append("only a stop ends it, and then nothing may follow")

    for n_inner in (1, 2):
        views = lambda started: [started[n_inner * k : n_inner * (k + 1)] for k in range(2)] * 4
        run = lambda started: map_threads(lambda view: task(n_inner, view), views(started), 2)
        assert interrupt(run, 2 * n_inner) < 1
        assert finished == []
        assert threads.POOL.in_use == {}
        assert map_threads(fit, [1, 2, 3], 2) == [True] * 3
"""

INTERRUPT_TWICE = """
    run = lambda started: run_team(never_ask, 2, started, may_be_long=True)
    assert 0.2 < interrupt(run, 2, n_interrupts=2) < 1.2
    assert fit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill cannot send Ctrl-C there")
@pytest.mark.parametrize(
    "scenario", [INTERRUPT_TEAMS, INTERRUPT_MAP, INTERRUPT_TWICE], ids=["team", "map", "twice"]
)
def test_interrupt(tmp_path, scenario):
    script = tmp_path / "interrupt.py"
    script.write_text(dedent(INTERRUPT) + dedent(scenario) + "print('works on')\n")
    command = [sys.executable, str(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stdout) == (0, "works on\n"), result.stderr
