"""Machine code on disk: no accident to a file or directory can harm a fit, and old code goes."""

import errno
import os
import shutil
import sys
import time
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

import fastfit.kernels
from fastfit.runtime import cache, machine_code
from fastfit.runtime.compile import (
    REASSOCIATE,
    cache_directory,
    cache_size,
    clear_cache,
    compile_statistics,
    jit,
)

PACKAGE = Path(fastfit.kernels.__file__).parent.parent
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no compiler")
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such owners and modes")


# -------------------------------------------------------------------------------- accidents


def add_one(x):
    return x + 1.0


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of this test's own; as in a new process, it is not known yet, and nothing has been said."""
    monkeypatch.setenv("FASTFIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cache, "_warned", False)
    for name in ("_stamped", "_pruned"):
        monkeypatch.setattr(cache, name, set())
    return tmp_path / "cache"


def call_anew(function=add_one, **options):
    """Call a kernel like a process that has not called it; return its value, how it came by its code, and warnings."""
    kernel = jit(function, **options)
    before = compile_statistics()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = kernel(1.0)
    after = compile_statistics()
    how = {(1, 0): "compiled", (0, 1): "loaded"}[
        after.n_compiled - before.n_compiled, after.n_loaded - before.n_loaded
    ]
    return value, how, [str(w.message) for w in caught]


def the_entry(root):
    (entry,) = root.glob("code-*/*.bin")
    return entry


def test_first_compiled_then_loaded(own_cache):
    assert call_anew() == (2.0, "compiled", [])
    assert call_anew() == (2.0, "loaded", [])
    assert cache_directory() == the_entry(own_cache).parent


DAMAGES = {
    "empty": lambda content: b"",
    "seal alone": lambda content: content[:32],
    "truncated": lambda content: content[:-100],
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "garbage": lambda content: os.urandom(len(content)),
    "zeros, as after a power cut": lambda content: bytes(len(content)),
    "a pickle without seal": lambda content: content[32:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_compiled_afresh(own_cache, damage):
    call_anew()
    entry = the_entry(own_cache)
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    assert call_anew() == (2.0, "compiled", [])
    assert call_anew() == (2.0, "loaded", [])


def test_an_entry_under_the_name_of_another_is_not_taken(own_cache):
    call_anew()
    mine = the_entry(own_cache)
    call_anew(lambda x: x + 2.0)
    (other,) = set(mine.parent.glob("*.bin")) - {mine}
    shutil.copy(other, mine)
    assert call_anew() == (2.0, "compiled", [])


def test_an_entry_that_does_not_load_is_compiled_afresh(own_cache, monkeypatch):
    call_anew()
    with monkeypatch.context() as patch:
        patch.setattr(machine_code, "_rebuild", lambda *args: {}["moved"])
        assert call_anew() == (2.0, "compiled", [])
    with monkeypatch.context() as patch:
        patch.setattr(machine_code, "_provide_symbols", lambda *args: False)
        assert call_anew() == (2.0, "compiled", [])
    assert call_anew() == (2.0, "loaded", [])


def test_a_symbol_that_nobody_knows_is_noticed():
    context = jit(add_one).targetctx
    assert machine_code._provide_symbols({"PyErr_Clear", "NRT_Allocate"}, context)
    assert not machine_code._provide_symbols({"PyErr_Clear", "no_such_function_anywhere"}, context)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_takes_nothing_costs_one_warning(own_cache, monkeypatch, code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cache.os, "replace", fail)
    value, how, messages = call_anew()
    assert (value, how, len(messages)) == (2.0, "compiled", 1)
    assert "FASTFIT_CACHE_DIR" in messages[0]
    assert os.strerror(code) in messages[0]
    assert call_anew(lambda x: x - 1.0) == (0.0, "compiled", [])
    assert list(own_cache.rglob("*.tmp")) == []


def test_a_directory_that_cannot_be_made_is_replaced_and_named_in_one_warning(own_cache, monkeypatch):
    own_cache.write_text("a file where the directory should be")
    value, how, messages = call_anew()
    assert (value, how, len(messages)) == (2.0, "compiled", 1)
    assert str(own_cache) in messages[0]
    assert call_anew() == (2.0, "loaded", [])
    assert cache_directory().parent.name.startswith("fastfit-")


def test_no_place_at_all(own_cache, monkeypatch):
    own_cache.write_text("")
    monkeypatch.setattr(cache.tempfile, "tempdir", str(own_cache))
    value, how, messages = call_anew()
    assert (value, how, len(messages)) == (2.0, "compiled", 1)
    assert call_anew() == (2.0, "compiled", [])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_read_and_new_code_goes_elsewhere(own_cache):
    call_anew()
    the_entry(own_cache).parent.chmod(0o555)
    assert call_anew() == (2.0, "loaded", [])
    value, how, messages = call_anew(lambda x: x - 1.0)
    assert (value, how, len(messages)) == (0.0, "compiled", 1)
    assert call_anew(lambda x: x - 1.0) == (0.0, "loaded", [])
    the_entry(own_cache).parent.chmod(0o755)


# ---------------------------------------------------------------- whose files are not trusted


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_directory_that_others_can_write_to_is_refused(own_cache, mode):
    call_anew()
    the_entry(own_cache).parent.chmod(mode)
    value, how, messages = call_anew()
    assert (value, how, len(messages)) == (2.0, "compiled", 1)
    assert "can be written to by others" in messages[0]
    assert call_anew() == (2.0, "loaded", []), "from the temporary files"


@posix_only
def test_a_file_that_others_can_write_to_is_refused(own_cache):
    call_anew()
    the_entry(own_cache).chmod(0o666)
    assert call_anew() == (2.0, "compiled", [])
    assert the_entry(own_cache).stat().st_mode & 0o777 == 0o644


@posix_only
def test_a_link_is_refused(own_cache):
    call_anew()
    entry = the_entry(own_cache)
    elsewhere = own_cache.parent / "elsewhere.bin"
    entry.rename(elsewhere)
    entry.symlink_to(elsewhere)
    assert call_anew() == (2.0, "compiled", [])
    assert not entry.is_symlink()


@posix_only
def test_what_belongs_to_somebody_else_is_refused(own_cache, monkeypatch):
    call_anew()
    stranger = os.geteuid() + 1
    if os.geteuid() == 0:
        os.chown(the_entry(own_cache).parent, stranger, -1)
    else:
        monkeypatch.setattr(cache.os, "geteuid", lambda: stranger)
    value, how, messages = call_anew()
    assert (value, how, len(messages)) == (2.0, "compiled", 1)
    assert "belongs to another user" in messages[0]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, as the build of an image does")
def test_what_root_has_built_serves_every_user(own_cache, monkeypatch):
    old_umask = os.umask(0o077)
    try:
        call_anew()
    finally:
        os.umask(old_umask)
    assert the_entry(own_cache).stat().st_mode & 0o777 == 0o644
    assert the_entry(own_cache).parent.stat().st_mode & 0o777 == 0o755
    monkeypatch.setattr(cache.os, "geteuid", lambda: 12345)
    assert call_anew() == (2.0, "loaded", [])


# --------------------------------------------------------------- what tells kernels from each other


def test_options_are_part_of_the_name(own_cache):
    assert call_anew()[1] == "compiled"
    assert call_anew(fastmath=REASSOCIATE)[1] == "compiled"
    assert call_anew(inline=True)[1] == "compiled"
    assert call_anew(fastmath=set(sorted(REASSOCIATE, reverse=True)))[1] == "loaded"
    assert call_anew()[1] == "loaded"


SHIFT = 1.0


def add_shift(x):
    return x + SHIFT


def test_a_constant_that_was_found_at_import_is_part_of_the_name(own_cache, monkeypatch):
    assert call_anew(add_shift)[:2] == (2.0, "compiled")
    monkeypatch.setattr(sys.modules[__name__], "SHIFT", 5.0)
    assert call_anew(add_shift)[:2] == (6.0, "compiled")
    assert call_anew(add_shift)[:2] == (6.0, "loaded")


def make_kernel(constant, helper):
    return lambda x: helper(x) * constant


def test_what_a_factory_captures_is_part_of_the_name(own_cache):
    def one(x):
        return x + 1.0

    def two(x):
        return x + 2.0

    for helper, constant, value in ((one, 3.0, 6.0), (one, 4.0, 8.0), (two, 4.0, 12.0)):
        kernel = jit(make_kernel(constant, jit(helper)))
        assert kernel(1.0) == value
    assert call_anew(make_kernel(4.0, jit(one)))[:2] == (8.0, "loaded")


def test_a_function_as_argument_is_not_kept(own_cache):
    apply = jit(lambda function, x: function(x))
    assert apply(jit(add_one), 1.0) == 2.0
    assert [path.name[:14] for path in own_cache.glob("code-*/*.bin")] == ["test_cache.add"]


def test_all_sources_of_both_layers_count():
    found = {path for name in ("kernels", "runtime") for path, _ in cache._read_sources(PACKAGE / name, name)}
    assert found == {
        path.relative_to(PACKAGE).as_posix()
        for name in ("kernels", "runtime")
        for path in (PACKAGE / name).rglob("*.py")
    }
    assert {"kernels/__init__.py", "runtime/cache.py"} <= found


# -------------------------------------------------------------------------------- housekeeping


def make_old(root, digit, days, content=b"x" * 100):
    directory = root / f"code-{digit:020x}"
    directory.mkdir(parents=True)
    (directory / "kernel.bin").write_bytes(content)
    stamp = directory / "last-used.txt"
    stamp.write_text("")
    moment = time.time() - days * 24 * 3600
    os.utime(stamp, (moment, moment))
    return directory


def test_old_code_is_removed(own_cache):
    fresh = [make_old(own_cache, digit, days=0.5) for digit in range(12)]
    recent = [make_old(own_cache, 100 + digit, days=10 + digit) for digit in range(3)]
    forgotten = make_old(own_cache, 200, days=31)
    foreign = own_cache / "notes"
    foreign.mkdir()
    call_anew()
    assert all(directory.exists() for directory in fresh), "it may be another CPU's or version's"
    assert not any(directory.exists() for directory in recent), "there are enough younger ones"
    assert not forgotten.exists()
    assert foreign.exists()


def test_code_in_use_is_kept_for_a_month(own_cache):
    recent = [make_old(own_cache, digit, days=29) for digit in range(5)]
    call_anew()
    assert all(directory.exists() for directory in recent)


def test_loading_marks_code_as_used(own_cache, monkeypatch):
    call_anew()
    stamp = the_entry(own_cache).parent / "last-used.txt"
    os.utime(stamp, (1e9, 1e9))
    monkeypatch.setattr(cache, "_stamped", set())
    assert call_anew() == (2.0, "loaded", [])
    assert time.time() - stamp.stat().st_mtime < 3600


def test_size_and_clear(own_cache):
    assert cache_size() == 0
    assert clear_cache() == 0
    call_anew()
    make_old(own_cache, 1, days=3)
    (own_cache / "notes.txt").write_text("not ours")
    n_bytes = cache_size()
    assert n_bytes > 1000
    assert clear_cache() == n_bytes
    assert cache_size() == 0
    assert [path.name for path in own_cache.iterdir()] == ["notes.txt"]
    assert call_anew() == (2.0, "compiled", [])
    assert call_anew() == (2.0, "loaded", [])


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": ""}, "/home/me/.cache/fastfit"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "/fast/disk"}, "/fast/disk/fastfit"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/fastfit"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/fastfit"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fastfit"),
        ("linux", {"FASTFIT_CACHE_DIR": "~/mine", "HOME": "/home/me"}, "/home/me/mine"),
    ],
)
@posix_only
def test_where_each_system_keeps_caches(monkeypatch, platform, environment, expected):
    monkeypatch.delenv("FASTFIT_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache.sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert next(cache.cache_roots()).as_posix() == expected


@pytest.mark.parametrize("value", ["0", "false", "off", "No"])
def test_switched_off(own_cache, monkeypatch, value):
    monkeypatch.setenv("FASTFIT_CACHE", value)
    assert cache_directory() is None
    assert cache_size() == 0
    assert call_anew() == (2.0, "compiled", [])
    assert not own_cache.exists()


def test_a_big_table_is_not_kept_and_that_is_said(own_cache):
    table = np.zeros(200_000)
    kernel = jit(lambda i: table[i])
    with pytest.warns(RuntimeWarning, match="cannot be kept on disk"):
        assert kernel(3) == 0.0
