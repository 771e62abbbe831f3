"""Limits on the memory and the processor time of this process, which the system keeps (Linux; elsewhere there are none)."""

from __future__ import annotations

import signal
import sys

from model.inference.cores import process_memory

ENFORCES_LIMITS = sys.platform == "linux"
"""Whether the system enforces limits on memory and processor time."""


def limit(memory_bytes: int, cpu_seconds: float) -> None:
    """Allows this process `memory_bytes` more memory and `cpu_seconds` more processor time, above 0.

    Beyond the first Python raises `MemoryError`; beyond the second the system kills the process with `SIGPROF`. Call it in the
    main thread. The time is a timer's and not `RLIMIT_CPU`, which counts from the start of the process by a clock that no
    function of Python reads: in a busy machine it runs ahead of `time.process_time` by seconds.
    """
    if ENFORCES_LIMITS:
        import resource

        _set_soft(resource.RLIMIT_AS, process_memory()[0] + memory_bytes)
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


def _set_soft(limit: int, value: int) -> None:
    """Sets the soft limit, at most to the hard limit. The hard limit stays."""
    import resource

    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else hard if value < 0 else min(value, hard), hard))
