"""One budget of threads for the process, and teams of plain threads that run nogil kernels within it.

``run_team`` runs one kernel on several threads at once. Its members may meet at barriers
(``runtime/team.py``), so a member that has started must never wait for one that cannot: every member has a
thread of its own, and the pool of threads grows when it has none to spare, instead of queueing. Threads are
reused from run to run, do not keep the interpreter from exiting, and are made anew in the child of a fork.

Nothing here uses OpenMP or Numba's threading layers: GNU's OpenMP does not survive a fork, Numba's own layer
aborts when two threads use it at once, and neither knows of a budget.
"""

import operator
import threading
from collections import namedtuple
from contextlib import contextmanager
from contextvars import copy_context

import numpy as np

from fastfit.runtime.config import n_threads_limits
from fastfit.runtime.limits import joblib_limits, process_limits
from fastfit.runtime.pool import POOL

# Layout of the control array of a team: each element that changes has a cache line to itself.
LINE = 8
ARRIVALS = 0
STOP = LINE
FIRST_COUNTER = 2 * LINE
N_COUNTERS = 8
CONTROL_SIZE = FIRST_COUNTER + N_COUNTERS * LINE

# Nanoseconds of work that each member must have. Waking a second thread and waiting for it takes 40 to 100 us
# (two cores of a Zen 4 server): two threads break even at 150 to 200 us of work in all, and are 1.4 to 1.6
# times as fast at 500 us. The margin is for estimates of the work that are too high.
MIN_WORK_PER_THREAD = 250_000

# How often a waiting main thread looks for signals. Where the system wakes it for them, this changes nothing.
SIGNAL_POLL_SECONDS = 0.1

ThreadBudget = namedtuple("ThreadBudget", ["n_threads", "limits", "bound_by"])
ThreadBudget.__doc__ = "Number of threads, all limits as (name, number of threads), and the least one's name."


def thread_budget(n_jobs=None):
    """Return how many threads a fit or predict in the calling thread may use now.

    Parameters
    ----------
    n_jobs : int or None, default=None
        None and -1 take the whole budget, -2 leaves one of it, and so on; a positive number takes as many,
        but never more than the budget. Inside ``joblib.parallel_config(n_jobs=k)`` None stands for k.

    Returns
    -------
    n_threads : int
        At least 1: the least of the limits that :func:`explain_budget` lists.

    Raises
    ------
    ValueError
        If ``n_jobs`` is 0, or the environment variable FASTFIT_NUM_THREADS is not a positive int.

    Notes
    -----
    The budget is that of the process: what teams in other threads use is not there for this one. What is
    returned here counts as used for a moment, so that threads that ask at the same time do not get it twice.
    """
    with POOL.account_lock:
        n_threads = explain_budget(n_jobs).n_threads
        POOL.promise(n_threads)
    return n_threads


def explain_budget(n_jobs=None):
    """Return what :func:`thread_budget` would and why, as ``(n_threads, limits, bound_by)``.

    Examples
    --------
    >>> from fastfit.runtime.threads import explain_budget
    >>> budget = explain_budget(n_jobs=1)
    >>> budget.n_threads
    1
    >>> budget.limits[-1]
    ('n_jobs', 1)
    """
    n_jobs = _checked_n_jobs(n_jobs)
    limits = _limits()
    worker_limit, default_n_jobs = joblib_limits()
    if worker_limit is not None:
        limits.append(("joblib worker", worker_limit))
    least = min(n_threads for _, n_threads in limits)
    if n_jobs is not None:
        limits.append(("n_jobs", _resolve_n_jobs(n_jobs, least)))
    elif default_n_jobs is not None:
        limits.append(("joblib.parallel_config(n_jobs)", _resolve_n_jobs(default_n_jobs, least)))
    bound_by, n_threads = min(limits, key=operator.itemgetter(1))
    return ThreadBudget(n_threads, limits, bound_by)


def _limits():
    """Return the limits other than ``n_jobs`` and joblib's, as a list of (name, number of threads)."""
    limits = process_limits()
    process_limit, context_limit = n_threads_limits()
    if process_limit is not None:
        limits.append(("set_config(n_threads)", process_limit))
    if context_limit is not None:
        limits.append(("config_context(n_threads)", context_limit))
    if POOL.local.share is not None:
        limits.append(("share of a task of map_threads", POOL.local.share))
        return limits
    n_used = POOL.used_by_others()
    if n_used:
        least = min(n_threads for name, n_threads in limits if name != "config_context(n_threads)")
        limits.append(("left by other threads", max(1, least - n_used)))
    return limits


def _checked_n_jobs(n_jobs):
    if n_jobs is None:
        return None
    try:
        n_jobs = operator.index(n_jobs)
    except TypeError:
        raise TypeError(f"n_jobs must be an int or None. Got {n_jobs!r} instead.") from None
    if n_jobs == 0:
        raise ValueError(
            "n_jobs == 0 has no meaning: n_jobs must be None, a positive int, or a negative int "
            "(-1 for all threads of the budget, -2 for all but one)."
        )
    return n_jobs


def _resolve_n_jobs(n_jobs, budget):
    return n_jobs if n_jobs > 0 else max(1, budget + 1 + n_jobs)


def threads_for(work, n_jobs=None):
    """Return how many threads to use for ``work`` nanoseconds of work of one thread.

    Parameters
    ----------
    work : float
        A rough estimate is enough: it only has to tell small work, which stays on one thread.
    n_jobs : int or None, default=None
        As in :func:`thread_budget`.

    Returns
    -------
    n_threads : int
        At most ``thread_budget(n_jobs)``, and so few that each has ``MIN_WORK_PER_THREAD`` to do.
    """
    if work < 2 * MIN_WORK_PER_THREAD:
        _checked_n_jobs(n_jobs)
        return 1
    return int(min(work / MIN_WORK_PER_THREAD, thread_budget(n_jobs)))


def run_team(kernel, n_threads, *args, may_be_long=False):
    """Run ``kernel(control, thread_idx, n_threads, *args)`` on ``n_threads`` threads at once.

    Parameters
    ----------
    kernel : callable
        A compiled function that releases the GIL. What it returns is dropped. ``control`` is for the
        functions of :mod:`fastfit.runtime.team`.
    n_threads : int
        Number of members, exactly; ``thread_idx`` goes from 0 to ``n_threads - 1``.
    *args
        Passed on to every member, which share them.
    may_be_long : bool, default=False
        Whether the run may last so long that a user may want to end it. On the main thread all members then
        run on other threads, so that this one can take a Ctrl-C, which costs one more wake-up.

    Raises
    ------
    BaseException
        The first error of a member, after all others have returned: they are told to stop.
    KeyboardInterrupt
        On Ctrl-C, likewise. How soon depends on how often the kernel asks ``stop_requested`` or meets a
        barrier. A second Ctrl-C does not wait for members that do not ask.

    Notes
    -----
    Without the JIT (``NUMBA_DISABLE_JIT=1``) members are threads that run Python code in turn.
    """
    control = np.zeros(CONTROL_SIZE, dtype=np.int64)
    elsewhere = may_be_long and _on_main_thread()
    if n_threads == 1 and not elsewhere:
        _run_alone(kernel, control, args)
        return
    _compile_once(kernel, (control, 0, n_threads, *args))
    job = _Job(lambda thread_idx: kernel(control, thread_idx, n_threads, *args), control)
    _run_members(job, n_threads, elsewhere)


def map_threads(function, items, n_threads):
    """Return ``[function(item) for item in items]``, computed on ``n_threads`` threads.

    Parameters
    ----------
    function : callable
        Plain Python that spends its time in kernels that release the GIL. It sees the caller's configuration,
        and inside it :func:`thread_budget` gives an equal share of what was left to the caller.
    items : iterable
        Taken in order; the list of results has the same order.
    n_threads : int
        How many items may be in work at once.

    Raises
    ------
    BaseException
        The error of the first item, in their order, that failed. No further items are started then.
    KeyboardInterrupt
        On Ctrl-C: no further items are started, and teams inside of the tasks are told to stop.
    """
    items = list(items)
    n_members = min(n_threads, len(items))
    if n_members <= 1:
        return [function(item) for item in items]
    tasks = _Tasks(function, items, share=max(1, explain_budget().n_threads // n_members))
    contexts = [copy_context() for _ in range(n_members)]
    job = _Job(lambda member: contexts[member].run(tasks.run, job))
    _run_members(job, n_members, elsewhere=_on_main_thread())
    return tasks.results_or_error()


class _Tasks:
    """The items of one ``map_threads``, handed out in order to whichever member is free."""

    def __init__(self, function, items, share):
        self.function = function
        self.items = items
        self.share = share
        self.results = [None] * len(items)
        self.errors = {}
        self.positions = iter(range(len(items)))
        self.lock = threading.Lock()

    def run(self, job):
        with POOL.local.inside(job, self.share):
            while not job.stopped and not self.errors:
                with self.lock:
                    position = next(self.positions, None)
                if position is None:
                    return
                try:
                    self.results[position] = self.function(self.items[position])
                except Exception as error:
                    self.errors[position] = error

    def results_or_error(self):
        # Items before a failed one had all been started, and have run to their end: the choice is repeatable.
        if not self.errors:
            return self.results
        error = self.errors[min(self.errors)]
        self.errors.clear()
        try:
            raise error
        finally:
            del error


class _Job:
    """One run of a team or of a map: what its members do, who still does it, and how it ended."""

    def __init__(self, run_member, control=None):
        self.run_member = run_member
        self.control = control
        self.stopped = False
        self.error = None
        self.n_running = 1  # the caller's own, until it has handed out all members
        self.inner_jobs = set()
        self.lock = threading.Lock()
        self.finished = threading.Lock()
        self.finished.acquire()

    def run(self, member):
        try:
            self.run_member(member)
        except BaseException as error:
            with self.lock:
                if self.error is None:
                    self.error = error
            self.stop()

    def stop(self):
        self.stopped = True
        if self.control is not None:
            self.control[STOP] = 1
        for inner_job in tuple(self.inner_jobs):
            inner_job.stop()

    def count_out(self):
        with self.lock:
            self.n_running -= 1
            is_last = self.n_running == 0
        if is_last:
            self.finished.release()

    def wait(self):
        # The count decides and the lock only wakes, so that an exception after it was taken loses nothing.
        while self.n_running:
            self.finished.acquire(timeout=SIGNAL_POLL_SECONDS)

    def raise_error(self):
        """Raise what ended this run early, if anything did, and leave no cycle of error, frame and job."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
            if self.stopped:  # by Ctrl-C, which the main thread raises from the map around this run
                raise KeyboardInterrupt
        finally:
            del error


def _on_main_thread():
    return threading.get_ident() == threading.main_thread().ident


def _run_alone(kernel, control, args):
    if POOL.local.job is not None:  # a task of a map is counted already, but has to hear of its stop
        _run_alone_inside_job(kernel, control, args)
        return
    key = id(control)
    try:
        POOL.enter(key, 1)
        kernel(control, 0, 1, *args)
    finally:
        POOL.leave(key)


def _run_alone_inside_job(kernel, control, args):
    job = _Job(lambda thread_idx: kernel(control, thread_idx, 1, *args), control)
    with _inside_outer_job(job):
        job.run(0)
    job.raise_error()


def _run_members(job, n_members, elsewhere):
    """Run all members of the job, one on this thread unless ``elsewhere``, and wait for the last one."""
    first = 0 if elsewhere else 1
    is_counted = POOL.local.job is not None
    workers = POOL.take_workers(n_members - first)
    try:
        POOL.enter(job, n_members - is_counted)
        with _inside_outer_job(job):
            _hand_out(job, workers, first)
            if not elsewhere:
                job.run(0)
            job.wait()
    except BaseException:  # Ctrl-C, or what the handler of another signal raised
        job.stop()
        job.wait()
        raise
    finally:
        POOL.leave(job)
    job.raise_error()


def _hand_out(job, workers, first):
    try:
        for member, worker in enumerate(workers, start=first):
            with job.lock:
                job.n_running += 1
            worker.inbox.put((job, member))
    finally:
        job.count_out()


@contextmanager
def _inside_outer_job(job):
    """Let a stop of the map whose task this is reach this job as well."""
    outer_job = POOL.local.job
    if outer_job is None:
        yield
        return
    outer_job.inner_jobs.add(job)
    try:
        if outer_job.stopped:
            job.stop()
        yield
    finally:
        outer_job.inner_jobs.discard(job)


_compiled = set()


def _compile_once(kernel, arguments):
    """Compile the kernel here, once: an error is raised once then, and Ctrl-C reaches the compiler.

    Types are told apart by Numba's fingerprints (0.1 us an argument), not by ``numba.typeof`` (7 us).
    """
    if not hasattr(kernel, "typeof_pyval"):  # plain Python, as without the JIT
        return
    try:
        from numba._dispatcher import compute_fingerprint

        key = (kernel, *map(compute_fingerprint, arguments))
    except (ImportError, NotImplementedError):  # an argument of an unusual type: each member looks for itself
        return
    if key not in _compiled:
        kernel.compile(tuple(map(kernel.typeof_pyval, arguments)))
        _compiled.add(key)
