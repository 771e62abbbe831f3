"""What the training commands share: exit statuses, and errors that are one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141
"""Exit statuses: nothing could be done; after Ctrl-C; as for a program that the signal SIGPIPE ends."""
NO_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator")  # what torch's errors are called, or say, without torch being imported


def run_command(name: str, work: Callable[[], None], stopped: Callable[[], str] = lambda: "stopped") -> int:
    """Does the work and gives the exit status; what ends it is told on stderr, in a line.

    stopped: what to say after Ctrl-C. An error of another kind than those that files, arguments and the machine cause is a
    mistake of this program, and passes with its traceback.
    """
    _take_any_name()
    try:
        work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{name}: {stopped()}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # what is left in the buffer goes nowhere, or the interpreter would tell of it as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"{name}: {error.name} is missing; pip install 'fcn-segment[train]'", file=sys.stderr)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        print(f"{name}: memory ran out; smaller crops, a smaller batch or --set accumulate=N take less", file=sys.stderr)
    else:
        return 0
    return FAILED


def _is_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in f"{type(error).__name__} {error}" for word in NO_MEMORY)


def _take_any_name() -> None:
    """Names of files and classes are printed in whatever encoding stdout has: letters that it lacks, as their codes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
