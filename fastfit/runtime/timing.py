"""Fair timing: contenders take turns in one process, and what is compared are ratios within a turn.

A machine that slows down for a while slows every contender of the same turn, so that the median of the paired
ratios is steadier than a ratio of medians. Shared by the demo, the benchmarks and whoever else measures time.
"""

import gc
import math
import statistics
import time
from typing import NamedTuple

from fastfit.runtime.collector import collector_paused

__all__ = ["Ratio", "format_ratio", "format_seconds", "paired_ratio", "time_in_turns"]


# Before a contender's sample. The threads of a BLAS library go on spinning for some 20 ms after their work is done, on
# the cores that the next contender needs: a fit of 12 ms on two threads takes 27 right behind one of scikit-learn's.
SETTLE_SECONDS = 0.04


class Ratio(NamedTuple):
    """Median and quartiles of paired ratios."""

    median: float
    low: float
    high: float


def _sample(function, n_calls):
    """Seconds of one call, averaged over `n_calls` of them."""
    started = time.perf_counter()
    for _ in range(n_calls):
        function()
    return (time.perf_counter() - started) / n_calls


def _calibrate(function, min_sample):
    """How many calls fill `min_sample` seconds, and the seconds of a call."""
    n_calls = 1
    while (seconds := _sample(function, n_calls) * n_calls) < min_sample / 2:
        n_calls *= 2
    if seconds >= min_sample:
        return n_calls, seconds / n_calls
    return math.ceil(n_calls * min_sample / seconds), seconds / n_calls


def time_in_turns(contenders, *, rounds=7, max_rounds=31, fill=0.5, min_sample=0.01, on_round=None):
    """Time functions of no argument in turns: A B C, A B C, ...

    Each function must have been warmed up (called once, so that nothing is compiled here).

    Parameters
    ----------
    contenders : dict of str to callable
        The functions, by name.
    rounds : int, default=7
        Turns to take at least.
    max_rounds : int, default=31
        Turns to take at most; short functions get more turns than `rounds`, until `fill` seconds are used.
    fill : float, default=0.5
        Seconds that the turns of short functions may fill.
    min_sample : float, default=0.01
        Shortest sample in seconds. A faster function is called repeatedly and its time divided by the calls.
    on_round : callable, default=None
        Called with (rounds done, rounds needed) after each turn.

    Returns
    -------
    dict of str to list of float
        Seconds a call, one entry a turn, so that entries of equal index are pairs.
    """
    started = time.perf_counter()
    n_calls, seconds = {}, {}
    with collector_paused():
        for name, function in contenders.items():
            time.sleep(SETTLE_SECONDS)
            n_calls[name], first = _calibrate(function, min_sample)
            seconds[name] = [first]
    # Functions that fill a sample with one call have taken their first turn; for others it was the calibration.
    n_done = 1 if max(n_calls.values()) == 1 else 0
    if n_done == 0:
        seconds = {name: [] for name in contenders}
        started = time.perf_counter()
    while n_done < rounds or (n_done < max_rounds and time.perf_counter() - started < fill):
        gc.collect()
        with collector_paused():
            for name, function in contenders.items():
                time.sleep(SETTLE_SECONDS)
                seconds[name].append(_sample(function, n_calls[name]))
        n_done += 1
        if on_round is not None:
            on_round(n_done, max(rounds, n_done))
    return seconds


def paired_ratio(numerator, denominator):
    """Median and quartiles of `numerator[i] / denominator[i]`.

    >>> paired_ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0])
    Ratio(median=2.0, low=2.0, high=2.5)
    """
    if len(numerator) != len(denominator) or not numerator:
        raise ValueError(
            f"pairs need two samples of equal length, got {len(numerator)} and {len(denominator)}"
        )
    ratios = [above / below for above, below in zip(numerator, denominator, strict=True)]
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def format_seconds(seconds):
    """Seconds as a person reads them, with three digits.

    >>> [format_seconds(value) for value in (12.34, 1.234, 0.01234, 5.678e-6)]
    ['12.3 s', '1.23 s', '12.3 ms', '5.68 µs']
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        value = seconds * scale
        if abs(value) >= 0.9995 or unit == "µs":
            break
    return f"{_three_digits(value)} {unit}"


def format_ratio(ratio):
    """How many times as fast, with three digits.

    >>> format_ratio(12.345), format_ratio(0.98), format_ratio(1234.5)
    ('12.3x', '0.98x', '1234x')
    """
    return f"{_three_digits(ratio)}x"


def _three_digits(value):
    magnitude = abs(value)
    decimals = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2
    return f"{value:.{decimals}f}"
