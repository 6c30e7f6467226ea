"""Barrier, stop flag and counters, seen from kernels that would be wrong without them."""

import threading
import time

import numpy as np
import pytest

from fastfit.runtime.compile import jit
from fastfit.runtime.team import barrier, reset_counter, stop_requested, take_next
from fastfit.runtime.threads import N_COUNTERS, run_team

pytestmark = pytest.mark.plain_python


@jit
def add_neighbours(
    control,
    thread_idx,
    n_threads,
    n_rounds,
    values,  # (2, n_threads) int64: read one row, write the other
):
    for round_idx in range(n_rounds):
        old, new = round_idx % 2, (round_idx + 1) % 2
        left = values[old, (thread_idx - 1) % n_threads]
        values[new, thread_idx] = (left + values[old, thread_idx]) % 1_000_003
        if not barrier(control, n_threads):
            return


@jit
def take_all(
    control,
    thread_idx,
    n_threads,
    slot,
    taken,  # (n_rounds, n_items) int64
):
    for round_idx in range(taken.shape[0]):
        item = take_next(control, slot)
        while item < taken.shape[1]:
            taken[round_idx, item] += 1
            item = take_next(control, slot)
        barrier(control, n_threads)
        if thread_idx == 0:
            reset_counter(control, slot)
        barrier(control, n_threads)


@jit
def take_all_in_turn(
    control,
    thread_idx,
    n_threads,
    taken,  # (n_rounds, n_items) int64
):
    for round_idx in range(taken.shape[0]):
        slot = round_idx % 2
        item = take_next(control, slot)
        while item < taken.shape[1]:
            taken[round_idx, item] += 1
            item = take_next(control, slot)
        if thread_idx == 0:
            reset_counter(control, 1 - slot)
        barrier(control, n_threads)


@jit
def wait_for_stop(
    control,
    thread_idx,
    n_threads,
    n_waits,  # (n_threads, 8) int64
):
    while not stop_requested(control):
        n_waits[thread_idx, 0] += 1


@jit
def leave_early(
    control,
    thread_idx,
    n_threads,
    results,  # (n_threads,) int64
):
    if thread_idx == n_threads - 1:
        raise ValueError("the last member gives up")
    results[thread_idx] = barrier(control, n_threads)
    results[thread_idx] += 2 * barrier(control, n_threads)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_no_member_passes_a_barrier_before_all_have_reached_it(n_threads):
    n_rounds = 60
    values = np.zeros((2, n_threads), dtype=np.int64)
    values[0] = np.arange(n_threads)
    expected = values[0].copy()
    for _ in range(n_rounds):
        expected = (np.roll(expected, 1) + expected) % 1_000_003
    run_team(add_neighbours, n_threads, n_rounds, values)
    np.testing.assert_array_equal(values[0], expected)


@pytest.mark.parametrize("slot", [0, N_COUNTERS - 1])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_each_item_is_taken_once(n_threads, slot):
    taken = np.zeros((5, 100), dtype=np.int64)
    run_team(take_all, n_threads, slot, taken)
    np.testing.assert_array_equal(taken, 1)


def test_two_slots_in_turn_need_one_barrier_a_round():
    taken = np.zeros((20, 30), dtype=np.int64)
    run_team(take_all_in_turn, 3, taken)
    np.testing.assert_array_equal(taken, 1)


def test_barriers_return_false_when_a_member_has_failed():
    results = np.full(3, -1, dtype=np.int64)
    with pytest.raises(ValueError, match="the last member gives up"):
        run_team(leave_early, 3, results)
    assert results[2] == -1
    assert set(results[:2]) <= {-1, 0}  # -1: had not started when the team was stopped


def test_stop_is_seen_in_a_loop_that_does_nothing_else():
    n_waits = np.zeros((2, 8), dtype=np.int64)

    def kernel(control, thread_idx, n_threads):
        if thread_idx == 0:
            while n_waits[1, 0] == 0:
                time.sleep(0.001)
            raise RuntimeError("enough")
        wait_for_stop(control, thread_idx, n_threads, n_waits)

    with pytest.raises(RuntimeError, match="enough"):
        run_team(kernel, 2)
    assert n_waits[1, 0] > 0


def test_teams_of_several_callers_do_not_mix():
    n_rounds = 30
    wrong = []

    def call():
        for _ in range(5):
            values = np.ones((2, 3), dtype=np.int64)
            run_team(add_neighbours, 3, n_rounds, values)
            if not (values[0] == pow(2, n_rounds, 1_000_003)).all():
                wrong.append(values)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=30)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []
