"""What a worker may not do, and how the system treats it: settings of Linux (elsewhere these functions do nothing).

prctl(2), setrlimit(2), setitimer(2), landlock(7), https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

IS_LINUX = sys.platform == "linux"
PDEATHSIG, DUMPABLE, NO_NEW_PRIVS = 1, 4, 38  # options of prctl
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # Landlock's system calls, on all processors
VERSION, PATH_BENEATH = 1, 1
READ = 1 << 2 | 1 << 3  # files, folders
WRITE = READ | 1 << 1 | 1 << 5 | 1 << 8 | 1 << 14  # besides: write, remove, create and truncate files
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # by version of Landlock: how many rights on files it knows
NETWORK_VERSION, NETWORK_RIGHTS = 4, 0b11  # to bind, to connect (TCP)
SCOPE_VERSION, SCOPES = 6, 0b11  # abstract sockets, signals
SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
RULESET = struct.Struct("=QQQ")  # rights on files, rights on the network, scopes
PATH_RULE = struct.Struct("=Qi")  # rights, descriptor
IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
MOST_KILLABLE = "1000"  # as `oom_score_adj`


def hide_memory() -> None:
    """Keeps other processes of this user from reading this one's memory and environment. It writes no core dump any more."""
    _prctl(DUMPABLE, 0)


def end_with_parent(parent: int) -> None:
    """Has the system kill this process when the thread that forked it ends; exits if that has happened already."""
    _prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def begin_program(parent: int) -> None:
    """Begins a process that the front, a process of this id, has started: it ends with the front, and gains no privileges.

    It ignores signals of the process group, which the front handles. What it forks inherits the last two.
    """
    for name in IGNORED_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent(parent)
    _prctl(NO_NEW_PRIVS, 1)


def landlock_version() -> int:
    """The version of Landlock that the system has; 0 if it has none, or forbids it."""
    if IS_LINUX:
        with suppress(OSError):
            return _call("syscall", CREATE_RULESET, None, 0, VERSION)
    return 0


def confine(writable: Sequence[Path] = ()) -> None:
    """Lets this process open no file except Python's and the libraries', as far as the system's Landlock goes.

    writable: folders in which it may read, write and remove files. It creates no folder, link or pipe there.

    Nor may it trace other processes or read their memory, connect or bind TCP sockets, or send signals to others (the last two
    by the version). Descriptors that are open stay usable. When memory is full, the system kills this process before others,
    also those of its control group. Call `begin_program` before, and this in no process that forks others.
    Raises `OSError`.
    """
    if not IS_LINUX:
        return
    _memory_statistics()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(MOST_KILLABLE)
    version = landlock_version()
    if not version:
        return
    rights = (1 << FILE_RIGHTS[max(abi for abi in FILE_RIGHTS if abi <= version)]) - 1
    network, scopes = NETWORK_RIGHTS * (version >= NETWORK_VERSION), SCOPES * (version >= SCOPE_VERSION)
    # an older system takes the fields that it does not know, because they are 0
    ruleset = _call("syscall", CREATE_RULESET, RULESET.pack(rights, network, scopes), RULESET.size, 0)
    for folder, folder_rights in (
        dict.fromkeys(_readable_folders(), READ) | dict.fromkeys(map(str, writable), WRITE & rights)
    ).items():
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            _call("syscall", ADD_RULE, ruleset, PATH_BENEATH, PATH_RULE.pack(folder_rights, descriptor), 0)
            os.close(descriptor)
    _call("syscall", RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def limit(memory_bytes: int, cpu_seconds: float) -> None:
    """Allows this process `memory_bytes` more memory and `cpu_seconds` more processor time, above 0.

    Beyond the first Python raises `MemoryError`; beyond the second the system kills the process with `SIGPROF`. Call it in the
    main thread. The time is a timer's and not `RLIMIT_CPU`, which counts from the start of the process by a clock that no
    function of Python reads: in a busy machine it runs ahead of `time.process_time` by seconds.
    """
    if IS_LINUX:
        address_space = int(os.pread(_memory_statistics(), 100, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _set_soft(resource.RLIMIT_AS, address_space + memory_bytes)
        _set_soft(resource.RLIMIT_CORE, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def unlimit_cpu() -> None:
    """Removes the limit on processor time."""
    if IS_LINUX:
        signal.setitimer(signal.ITIMER_PROF, 0)


def unlimit() -> None:
    """Removes both limits, so that an error can be reported."""
    unlimit_cpu()
    if IS_LINUX:
        _set_soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)


@cache
def _memory_statistics() -> int:
    """A descriptor of this process's memory statistics: proc_pid_statm(5)."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _set_soft(limit: int, value: int) -> None:
    """Sets the soft limit, at most to the hard limit. The hard limit stays."""
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else hard if value < 0 else min(value, hard), hard))


def _readable_folders() -> set[str]:
    """Folders of Python, of installed packages and of the system's libraries, and those of our own packages."""
    own = {str(Path(module.__path__[0])) for name in ("common", "imaging", "model") if (module := sys.modules.get(name))}
    packages = {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages", "lib-dynload")}
    return own | packages | {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} | set(SYSTEM_LIBRARIES)


def _prctl(option: int, value: int) -> None:
    if IS_LINUX:
        _call("prctl", option, value, 0, 0, 0)


def _call(function: str, *arguments: object) -> int:
    """Calls a function of the C library, with integers as `long`. Raises `OSError`."""
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = getattr(ctypes.CDLL(None, use_errno=True), function)(*values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
