"""Where machine code is kept on disk: the directories, entries written whole or not at all, old ones removed.

The layout is ``<root>/code-<digest>/<kernel>-<digest>.bin``. A root is ``FASTFIT_CACHE_DIR`` or the user's
cache directory, and then, for what that one will not take, a directory of this user among the temporary
files. The digest in a directory's name stands for everything that all entries in it depend on
(`environment_digest`): no file's age and no path is part of it, so a copied or reinstalled package finds its
code again, and a changed one never finds old code.

Entries are pickles, which can run anything when they are read. So a directory or file counts only if it
belongs to this user or to root and nobody else may write to it, and an entry only if its own digest is
right. The root itself may be open to all: what others put there is not looked at. Nothing here
touches the disk before the first kernel is called, and no failure goes further than one warning.
"""

import contextlib
import functools
import hashlib
import importlib.resources
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
import warnings
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core import config

__all__ = [
    "cache_roots",
    "cache_size",
    "clear_cache",
    "code_directory",
    "environment_digest",
    "read_entries",
    "write_entry",
]

_PACKAGE = __name__.rpartition(".runtime.")[0]
_HASHED_PACKAGES = ("kernels", "runtime")
# Settings of Numba, from NUMBA_* variables or its configuration file, that change the code it makes.
_COMPILER_SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "ENABLE_PROFILING",
)
_CODE_DIRECTORY = re.compile(r"code-[0-9a-f]{20}")
_STAMP = "last-used.txt"
_DAY = 24 * 3600.0
_HOUR = 3600.0
_DAYS_KEPT = 30  # a directory unused for longer is removed
_RECENT_KEPT = 8  # and so are those beyond this many that were not used today

_warned = False
_stamped = set()
_pruned = set()


def _cache_enabled():
    """Tell whether the user lets machine code be kept on disk."""
    return os.environ.get("FASTFIT_CACHE", "1").strip().lower() not in {"0", "false", "no", "off"}


def _user_root():
    """Return the directory the user named, else the system's place for a user's caches, None without a
    home."""
    if named := os.environ.get("FASTFIT_CACHE_DIR"):
        return Path(os.path.abspath(os.path.expanduser(named)))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", os.path.expanduser("~"))
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # so says the XDG specification
            base = os.path.expanduser("~/.cache")
    return Path(base, "fastfit") if os.path.isabs(base) else None


def _temporary_root():
    """Return this user's own directory among the temporary files."""
    owner = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir(), f"fastfit-{owner}")


def cache_roots():
    """Yield the directories that may hold machine code, in the order in which they are asked."""
    if _cache_enabled():
        for find in (_user_root, _temporary_root):  # the second only if the first would not do
            with contextlib.suppress(OSError):
                root = find()
                if root is not None:
                    yield root


# ---------------------------------------------------------------------- what code depends on


def _read_sources(folder, path):
    """Yield (path, content) of all Python files in a package's folder, which may lie in a zip file."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        entry_path = f"{path}/{entry.name}"
        if entry.name.endswith(".py"):
            yield entry_path, entry.read_bytes()
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _read_sources(entry, entry_path)


@functools.cache
def environment_digest(cpu):
    """Return the digest of all that any kernel's machine code depends on, besides the kernel.

    That is the source of all kernels and of this layer, Numba, llvmlite, NumPy, the Python that pickled the
    entries, compiler settings, and the processor.

    Parameters
    ----------
    cpu : tuple of str
        The target as Numba compiles for it: triple, name of the CPU, its features.

    Returns
    -------
    digest : str or None
        None if the package has been installed without its source; then nothing is kept on disk.
    """
    facts = [
        numba.__version__,
        llvmlite.__version__,
        np.__version__.rsplit(".", 1)[0],
        (sys.implementation.cache_tag, getattr(sys, "abiflags", "")),
        [(name, repr(getattr(config, name, None))) for name in _COMPILER_SETTINGS],
        cpu,
    ]
    digest = hashlib.sha256(repr(facts).encode())
    n_files = 0
    try:
        for package in _HASHED_PACKAGES:
            for path, content in _read_sources(importlib.resources.files(_PACKAGE) / package, package):
                digest.update(f"\0{path}\0{len(content)}\0".encode() + content)
                n_files += 1
    except OSError:
        return None
    return digest.hexdigest()[:20] if n_files else None


# -------------------------------------------------------------------------- reading, writing


def _is_safe(status):
    """Tell from a stat result whether nobody but this user and root could have written what it describes."""
    if os.name == "nt":  # a profile's directories are closed to others by their access lists
        return True
    return status.st_uid in {os.geteuid(), 0} and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_safe_directory(directory):
    """Tell whether a directory exists and only this user and root can put files there; links do not count."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_safe(status)


def _seal(key, body):
    """Return the digest that an entry begins with: of its content, and of what it is the code of."""
    return hashlib.sha256(key.encode() + b"\0" + body).digest()


def _read_file(path, key):
    """Return the body of one entry, or None if it is not there, not safe, not whole or not that of the
    key."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not _is_safe(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    seal, body = content[:32], content[32:]
    return body if seal == _seal(key, body) else None


def code_directory(environment):
    """Return the directory of an environment that exists, else the first to be tried; None with
    FASTFIT_CACHE=0."""
    directories = [root / f"code-{environment}" for root in cache_roots()]
    return next(filter(_is_safe_directory, directories), directories[0] if directories else None)


def read_entries(environment, name, key):
    """Yield the bodies found under a name, from the first directory to the last.

    Parameters
    ----------
    environment : str
        From `environment_digest`.
    name : str
        File name of the entry, without suffix.
    key : str
        All that tells the entry from others of its environment.
    """
    for root in cache_roots():
        directory = root / f"code-{environment}"
        if _is_safe_directory(directory):
            body = _read_file(directory / f"{name}.bin", key)
            if body is not None:
                _touch_stamp(directory)
                yield body


def write_entry(environment, name, key, body):
    """Keep an entry in the first directory that takes it. If none does, warn, once in a process."""
    if not _cache_enabled():
        return
    complaints = []
    for root in cache_roots():
        directory = root / f"code-{environment}"
        try:
            _make_directory(directory)
            if _is_safe_directory(directory):
                _write_file(directory / f"{name}.bin", _seal(key, body) + body)
                break
            complaints.append(f"{directory} belongs to another user or can be written to by others")
        except OSError as error:
            complaints.append(f"{directory}: {error.strerror or error}")
    else:
        _warn_once(complaints, "nowhere; it will be compiled again in every process")
        return
    if complaints and os.environ.get("FASTFIT_CACHE_DIR"):
        _warn_once(complaints, f"in {directory}")
    _touch_stamp(directory)
    _prune_once(root, directory)


def _make_directory(directory):
    """Make a directory that all may read, for images built by root, and that only its owner may write to."""
    os.makedirs(directory.parent, mode=0o755, exist_ok=True)
    try:
        os.mkdir(directory, mode=0o755)
    except FileExistsError:
        return
    os.chmod(directory, 0o755)  # whatever the umask
    (directory / _STAMP).write_text(
        "Machine code that fastfit compiled; it can be removed at any time.\n"
        f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, {sys.implementation.cache_tag}\n"
    )


def _write_file(path, content):
    """Write a file so that others find all of it or nothing, whenever this process is killed."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(content)
        if hasattr(os, "geteuid"):
            os.chmod(temporary, 0o644)  # whatever the umask
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        # Windows refuses while another process reads the entry, which then is as good as ours.
        if not (isinstance(error, PermissionError) and os.name == "nt" and path.exists()):
            raise


def _warn_once(complaints, where):
    """Say, once in a process, where compiled code is kept instead, and why."""
    global _warned
    if not _warned:
        _warned = True
        reasons = "; ".join(complaints) or "no directory to keep it in"
        message = (
            f"fastfit keeps compiled code {where} ({reasons}). FASTFIT_CACHE_DIR names another directory."
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)


# ------------------------------------------------------------------------------ housekeeping


def _touch_stamp(directory):
    """Note, once in a process, that a directory is in use."""
    if directory not in _stamped:
        _stamped.add(directory)
        with contextlib.suppress(OSError):
            os.utime(directory / _STAMP)


def _last_use(directory):
    """Return when a directory was last used, in seconds since the epoch."""
    for path in (directory / _STAMP, directory):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _code_directories(root):
    """Return the directories of machine code in a root, those of other users left out."""
    try:
        found = [path for path in root.iterdir() if _CODE_DIRECTORY.fullmatch(path.name)]
    except OSError:
        return []
    return [path for path in found if _is_safe_directory(path)]


def _prune_once(root, in_use):
    """Remove directories that nobody has asked for in a while, and what killed writers left in our own.

    This runs after the first write into a root, as a process that writes has just spent seconds on compiling.
    A directory used today is left alone: it may be that of another CPU, version or checkout.
    """
    if root in _pruned:
        return
    _pruned.add(root)
    now = time.time()
    others = sorted((d for d in _code_directories(root) if d != in_use), key=_last_use, reverse=True)
    for rank, directory in enumerate(others):
        days = (now - _last_use(directory)) / _DAY
        if days > _DAYS_KEPT or (days > 1 and rank >= _RECENT_KEPT):
            shutil.rmtree(directory, ignore_errors=True)
    for path in in_use.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _HOUR:
                path.unlink()


def cache_size():
    """Return the bytes of all machine code on disk, of whatever version and CPU, in the directories in use.

    Examples
    --------
    >>> from fastfit.runtime.cache import cache_size
    >>> cache_size() >= 0
    True
    """
    n_bytes = 0
    for root in cache_roots():
        for directory in _code_directories(root):
            for path in directory.glob("*"):
                with contextlib.suppress(OSError):
                    n_bytes += path.stat().st_size
    return n_bytes


def clear_cache():
    """Remove all machine code on disk, of whatever version and CPU, and return how many bytes that set free.

    What this process has compiled or loaded stays in its memory.
    """
    before = cache_size()
    for root in cache_roots():
        for directory in _code_directories(root):
            shutil.rmtree(directory, ignore_errors=True)
            _stamped.discard(directory)
    return before - cache_size()
