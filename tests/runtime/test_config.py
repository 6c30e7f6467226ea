"""Settings: process-wide, for one block, and never silently wrong."""

import threading

import numpy as np
import pytest

from fastfit.runtime.config import config_context, get_config, n_threads_limits, set_config

DEFAULTS = {"n_threads": None, "fallback": "silent"}


@pytest.fixture(autouse=True)
def _defaults():
    set_config(**DEFAULTS)
    yield
    set_config(**DEFAULTS)


def config_in_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(get_config()))
    thread.start()
    thread.join()
    return seen[0]


def test_defaults():
    assert get_config() == DEFAULTS


def test_set_config_changes_only_what_is_named():
    set_config(n_threads=np.int64(3))
    set_config(fallback="warn")
    assert get_config() == {"n_threads": 3, "fallback": "warn"}
    assert type(get_config()["n_threads"]) is int
    set_config(n_threads=None)
    assert get_config() == {"n_threads": None, "fallback": "warn"}


def test_get_config_returns_a_copy():
    get_config()["n_threads"] = 5
    assert get_config() == DEFAULTS


def test_set_config_reaches_all_threads():
    set_config(n_threads=2)
    assert config_in_new_thread()["n_threads"] == 2


def test_config_context_reaches_only_its_own_thread():
    with config_context(n_threads=2, fallback="error"):
        assert config_in_new_thread() == DEFAULTS
        assert get_config() == {"n_threads": 2, "fallback": "error"}


def test_config_contexts_nest():
    with config_context(n_threads=4):
        with config_context(fallback="error"):
            assert get_config() == {"n_threads": 4, "fallback": "error"}
            with config_context(n_threads=None):
                assert get_config() == {"n_threads": None, "fallback": "error"}
        assert get_config() == {"n_threads": 4, "fallback": "silent"}
    assert get_config() == DEFAULTS


def test_config_context_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), config_context(n_threads=4):
        raise ZeroDivisionError
    assert get_config() == DEFAULTS


def test_n_threads_limits_says_whose_limit_is_in_force():
    assert n_threads_limits() == (None, None)
    set_config(n_threads=8)
    assert n_threads_limits() == (8, None)
    with config_context(n_threads=2):
        assert n_threads_limits() == (None, 2)
    with config_context(n_threads=None):
        assert n_threads_limits() == (None, None)


@pytest.mark.parametrize("n_threads", [0, -1, 2.0, "2", True, [2]])
def test_wrong_n_threads(n_threads):
    message = r"The 'n_threads' parameter of set_config must be an int in the range \[1, inf\) or None\. Got "
    with pytest.raises(ValueError, match=message):
        set_config(n_threads=n_threads)
    with pytest.raises(ValueError, match="of config_context must be"), config_context(n_threads=n_threads):
        pass
    assert get_config() == DEFAULTS


@pytest.mark.parametrize("fallback", ["loud", None, 1, ["warn"]])
def test_wrong_fallback(fallback):
    with pytest.raises(
        ValueError, match="The 'fallback' parameter of set_config must be a str among"
    ) as error:
        set_config(n_threads=2, fallback=fallback)
    assert f"{{'error', 'silent', 'warn'}}. Got {fallback!r} instead." in str(error.value)
    assert get_config() == DEFAULTS, "a call that fails changes nothing"
