"""The idle threads of the process, and the account of those in use."""

import os
import queue
import threading
import time
from contextlib import contextmanager

MAX_IDLE_WORKERS = os.cpu_count() or 1

# How long threads that a caller was told it may use, and has not started yet, are kept for it.
PROMISE_SECONDS = 0.1


class Worker:
    """A thread that runs one member after another, and is idle in between."""

    def __init__(self, pool):
        self.pool = pool
        self.inbox = queue.SimpleQueue()
        threading.Thread(target=self.serve, name="fastfit-worker", daemon=True).start()

    def serve(self):
        stays = True
        while stays:
            job, member = self.inbox.get()
            job.run(member)
            # Back into the pool first: the caller's next team is to find this thread there.
            stays = self.pool.put_back(self)
            job.count_out()
            del job  # and with it the arrays of the caller


class _Local(threading.local):
    """What a thread has to know: the map whose task it runs, and that task's share of the budget."""

    job = None
    share = None

    @contextmanager
    def inside(self, job, share):
        before = self.job, self.share
        self.job, self.share = job, share
        try:
            yield
        finally:
            self.job, self.share = before


class Pool:
    """Hands out a thread for every member at once, growing if need be, and keeps the process's account.

    Its steps are single operations of a built-in list or dict, which are atomic and need no lock.
    """

    def __init__(self):
        self.renew()

    def renew(self):
        """Start with nothing, as the child of a fork must, which has none of its parent's other threads."""
        self.local = _Local()
        self.account_lock = threading.RLock()  # for those who first look at the account and then change it
        self.idle_workers = []
        self.in_use = {}  # job -> number of threads
        self.promises = {}  # thread ident -> (number of threads, until when)

    def take_workers(self, n_workers):
        workers = []
        try:
            while len(workers) < n_workers:
                workers.append(self._take_worker())
        except BaseException:  # the system has no more threads for us
            self.idle_workers.extend(workers)
            raise
        return workers

    def _take_worker(self):
        try:
            return self.idle_workers.pop()
        except IndexError:
            return Worker(self)

    def put_back(self, worker):
        """Keep an idle worker, or return False if as many as the machine can run at once are idle already."""
        if len(self.idle_workers) >= MAX_IDLE_WORKERS:
            return False
        self.idle_workers.append(worker)
        return True

    def enter(self, job, n_threads):
        """Count the threads of a job as used, in place of those that were promised to its caller."""
        self.in_use[job] = n_threads
        self.promises.pop(threading.get_ident(), None)

    def leave(self, job):
        self.in_use.pop(job, None)

    def promise(self, n_threads):
        """Count threads as used by the calling thread until it starts a job, or a moment has passed."""
        if self.local.share is None:
            self.promises[threading.get_ident()] = (n_threads, time.monotonic() + PROMISE_SECONDS)

    def used_by_others(self):
        """Return how many threads are in use or promised; asked only by threads that are in no job."""
        own_ident, now = threading.get_ident(), time.monotonic()
        n_used = sum(tuple(self.in_use.values()))
        for ident, (n_threads, until) in tuple(self.promises.items()):
            if until < now:
                self.promises.pop(ident, None)
            elif ident != own_ident:
                n_used += n_threads
        return n_used


POOL = Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.renew)
