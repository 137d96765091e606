"""A fence of the operating system's around this process: Linux's Landlock (since 5.13), which needs no rights to set up.

Python's audit events see what Python does; what torch or sqlite3 opens in C, what a second process does and what a
signal reaches they do not see. Landlock does, and what it has taken from a process nothing gives back, to its children
neither. Described in the kernel's ``userspace-api/landlock``; the call numbers are the same on all architectures.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD, RESTRICT, NO_NEW_PRIVILEGES = 444, 445, 446, 38
READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
FILE_RIGHTS = READ_FILE | WRITE_FILE
ALL_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights on files each version of Landlock knows
NETWORK = 0b11  # bind and connect, TCP; from version 4
SCOPES = 0b11  # abstract sockets and signals; from version 6
# Of /proc no process's environ: it holds the grader's tokens.
SYSTEM = ("/usr", "/lib", "/lib64", "/sys", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts",
          "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
          "/proc/self/maps", "/proc/self/stat", "/proc/self/statm", "/proc/self/status")  # fmt: skip


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Return which version of Landlock this system enforces; 0 if none does."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _libc().syscall(CREATE, None, ctypes.c_size_t(0), 1))


def restrict(home: Path, hidden: Iterable[Path]) -> bool:
    """Leave this thread, and all that it starts, Python and its libraries to read and one folder to write in.

    No program can be started from then on, no TCP port opened, and no process outside be signalled (where the kernel
    is new enough). What is open stays open. Call it before there are other threads: they would stay as they are.

    Parameters
    ----------
    home : Path
        The folder that may be changed.
    hidden : iterable of Path
        Files and folders, with all links resolved, that cannot be read wherever they lie.

    Returns
    -------
    bool
        False if this system has no Landlock; nothing has changed then.
    """
    known = version()
    if not known:
        return False
    rights = (1 << ALL_RIGHTS.get(known, max(ALL_RIGHTS.values()))) - 1
    asked = _Ruleset(rights, NETWORK if known >= 4 else 0, SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    ruleset = _call(CREATE, ctypes.byref(asked), ctypes.c_size_t(size), 0)
    away = frozenset(hidden)
    for root in _readable_roots():
        _allow(ruleset, root, READ_DIR)
        for path in _beside(root, away):
            _allow(ruleset, path, READ_FILE)
    _allow(ruleset, Path(os.devnull), READ_FILE | WRITE_FILE)
    _allow(ruleset, home, rights & ~1)  # all but the first right, to start a program
    if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    _call(RESTRICT, ruleset, 0)
    os.close(ruleset)
    return True


def _readable_roots() -> list[Path]:
    """Return where Python, its libraries, labkit and the system's own lie."""
    package = str(Path(__file__).parents[2])
    named = [*SYSTEM, sys.prefix, sys.base_prefix, package, *(entry for entry in sys.path if entry)]
    return sorted({Path(os.path.realpath(name)) for name in named if os.path.exists(name)})


def _beside(folder: Path, hidden: frozenset[Path]) -> list[Path]:
    """Return the fewest paths that hold everything in a folder except what is hidden.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a", "b", "b/c", "b/d"):
    ...     (folder / name).mkdir()
    >>> [path.name for path in _beside(folder, frozenset({folder / "b" / "c"}))]
    ['a', 'd']
    """
    if any(folder.is_relative_to(path) for path in hidden):
        return []
    if not any(path.is_relative_to(folder) for path in hidden):
        return [folder]
    return [path for child in sorted(folder.iterdir()) for path in _beside(child, hidden)]


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a link that leads nowhere, or a folder of somebody else's: it stays closed
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= FILE_RIGHTS
        if rights:
            _call(ADD, ruleset, 1, ctypes.byref(_Beneath(rights, opened)), 0)
    finally:
        os.close(opened)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    done = _libc().syscall(number, *arguments)
    if done < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return int(done)
