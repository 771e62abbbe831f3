"""What a process may not do, and how the system treats it: settings of Linux (elsewhere these functions do nothing).

prctl(2), landlock(7), https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

IS_LINUX = sys.platform == "linux"
PDEATHSIG, DUMPABLE, NO_NEW_PRIVS = 1, 4, 38  # options of prctl
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, on all processors
VERSION, PATH_BENEATH = 1, 1
READ = 1 << 2 | 1 << 3  # files, folders
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # by version of Landlock: how many rights on files it knows
NETWORK_VERSION, NETWORK_RIGHTS = 4, 0b11  # to bind, to connect (TCP)
SCOPE_VERSION, SCOPES = 6, 0b11  # abstract sockets, signals
SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
MOST_KILLABLE = "1000"  # as `oom_score_adj`


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


def hide_memory() -> None:
    """Keeps other processes of this user from reading this one's memory and environment. It writes no core dump any more."""
    _prctl(DUMPABLE, 0)


def end_with_parent(parent: int) -> None:
    """Has the system kill this process when the thread that forked it ends; exits if that has happened already."""
    _prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def refuse_privileges() -> None:
    """Keeps this process and its children from gaining privileges by a program that they execute."""
    _prctl(NO_NEW_PRIVS, 1)


def die_first() -> None:
    """Has the system kill this process before others, also those of its control group, when memory is full."""
    if IS_LINUX:
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(MOST_KILLABLE)


def landlock_version() -> int:
    """The version of Landlock that the system has; 0 if it has none, or forbids it."""
    return max(0, _system_call(CREATE_RULESET, None, 0, VERSION)) if IS_LINUX else 0


def confine() -> None:
    """Lets this process open no file except Python's and the libraries', as far as the system's Landlock goes.

    Nor may it trace other processes or read their memory, connect or bind TCP sockets, or send signals to others (the last two
    by the version). Descriptors that are open stay usable. Call `refuse_privileges` before. Raises `OSError`.
    """
    version = landlock_version()
    if not version:
        return
    rights = (1 << FILE_RIGHTS[max(abi for abi in FILE_RIGHTS if abi <= version)]) - 1
    network = NETWORK_RIGHTS if version >= NETWORK_VERSION else 0
    scopes = SCOPES if version >= SCOPE_VERSION else 0
    attributes = _Ruleset(rights, network, scopes)
    known_fields = 1 + (version >= NETWORK_VERSION) + (version >= SCOPE_VERSION)
    ruleset = _checked(_system_call(CREATE_RULESET, ctypes.byref(attributes), known_fields * 8, 0))
    for folder in _readable_folders():
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = _PathRule(READ, descriptor)
            _checked(_system_call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0))
            os.close(descriptor)
    _checked(_system_call(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _readable_folders() -> set[str]:
    """Folders of Python, of installed packages and of the system's libraries, and those of our own packages."""
    own = {str(Path(module.__path__[0])) for name in ("imaging", "model") if (module := sys.modules.get(name))}
    packages = {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages", "lib-dynload")}
    return own | packages | {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} | set(SYSTEM_LIBRARIES)


def _prctl(option: int, value: int) -> None:
    if IS_LINUX:
        zero = ctypes.c_ulong(0)
        _checked(ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _system_call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(ctypes.c_long(number), *(_argument(value) for value in arguments))
    return result


def _argument(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    """Returns the result of a system call, or raises `OSError`."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
