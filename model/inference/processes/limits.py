"""Limits on the memory and the processor time of this process, which the system keeps (Linux; elsewhere there are none)."""

from __future__ import annotations

import os
import signal
import sys
from functools import cache

ENFORCES_LIMITS = sys.platform == "linux"
"""Whether the system enforces limits on memory and processor time."""


def prepare_limits() -> None:
    """Opens what `limit` reads. Call it before this process is confined, and in no process that forks others."""
    if ENFORCES_LIMITS:
        _memory_statistics()


def limit(memory_bytes: int, cpu_seconds: float) -> None:
    """Allows this process `memory_bytes` more memory and `cpu_seconds` more processor time, above 0.

    Beyond the first Python raises `MemoryError`; beyond the second the system kills the process with `SIGPROF`. Call it in the
    main thread. The time is a timer's and not `RLIMIT_CPU`, which counts from the start of the process by a clock that no
    function of Python reads: in a busy machine it runs ahead of `time.process_time` by seconds.
    """
    if ENFORCES_LIMITS:
        import resource

        _set_soft(resource.RLIMIT_AS, _address_space() + memory_bytes)
        _set_soft(resource.RLIMIT_CORE, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def unlimit_cpu() -> None:
    """Removes the limit on processor time."""
    if ENFORCES_LIMITS:
        signal.setitimer(signal.ITIMER_PROF, 0)


def unlimit() -> None:
    """Removes both limits, so that an error can be reported."""
    if ENFORCES_LIMITS:
        import resource

        _set_soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        unlimit_cpu()


@cache
def _memory_statistics() -> int:
    """A descriptor of this process's memory statistics: proc_pid_statm(5)."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _address_space() -> int:
    """Bytes of this process's address space."""
    return int(os.pread(_memory_statistics(), 100, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _set_soft(limit: int, value: int) -> None:
    """Sets the soft limit, at most to the hard limit. The hard limit stays."""
    import resource

    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else hard if value < 0 else min(value, hard), hard))
