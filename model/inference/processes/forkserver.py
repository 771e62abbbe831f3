"""The parent's side of the process that forks workers, and of a forked process. For use on an event loop.

The process, and so a worker, has an environment of its own: no keys and tokens, and glibc's allocator as it suits
(https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from model.inference.processes.confinement import hide_memory
from model.inference.processes.forkserver_main import ENDED, FORKED, REPLY, REQUEST, main

PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor}, {parent})"
CLOSE_S = 1.0  # longest wait for the process to end by itself once its socket is closed
EXIT_S = 5.0  # longest wait for a killed process to exit
POLL_S = 0.01
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(12 << 20),  # less than Pillow's blocks of 16 MiB, which would lie between smaller ones
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(8 << 20),
}
"""Settings of glibc's allocator, unless the user has set them: an image finds the pages of the one before in place."""
THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # numpy's; a worker has one thread, and a process with several must not fork
PASSED = frozenset({
    "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR", "PATH",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES",
    "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_", "MALLOC_CONF", "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_", "MALLOC_PERTURB_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
    "PILLOW_ALIGNMENT", "PILLOW_BLOCK_SIZE", "PILLOW_BLOCKS_MAX",
    "PYTHONCOERCECLOCALE", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONMALLOC", "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONWARNINGS",
})  # fmt: skip
"""Variables that workers need: of the locale, the dynamic linker, the allocators and Python. No other is passed on."""


class ForkedProcess:
    """A process that a `ForkServer` has forked. `close` frees its handle."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._handle: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # the process has ended, or no descriptor is left
                self._handle = os.pidfd_open(pid)

    def kill(self) -> None:
        """Ends the process at once, also one that is stopped. Does not need the process that has forked it."""
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif not self._code.done():
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int | None:
        """The exit code, below 0 for a signal. None if it has not ended within `EXIT_S`, or nobody knows its code."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_S):
                code = await asyncio.shield(self._code)
                while code is None and self._handle is not None and not _is_readable(self._handle):
                    await asyncio.sleep(POLL_S)
                return code
        return None

    def report(self, code: int | None) -> None:
        """Sets the exit code; None for one that will never be known."""
        if not self._code.done():
            self._code.set_result(code)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
        with suppress(ChildProcessError):  # a process without a parent becomes a child of the container's first process
            os.waitpid(self.pid, os.WNOHANG)


class ForkServer:
    """The process that forks workers. on_end: called when it has ended, or is killed because it does not answer.

    It begins as a new program, with nothing of this process's memory and without keys in its environment. Its forked processes
    end with it. Raises `OSError` if it cannot be started. Create it on the thread of the event loop: on Linux it ends with this
    thread. From then on, other processes of this user cannot read this one's memory (Linux).
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.has_ended = False
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._forks: dict[int, asyncio.Future[ForkedProcess]] = {}
        self._processes: dict[int, ForkedProcess] = {}
        self._numbers = itertools.count()
        self._replies = b""
        hide_memory()
        self._channel, other = socket.socketpair()
        path = [os.path.abspath(folder) for folder in sys.path]
        program = PROGRAM.format(path=path, module=main.__module__, descriptor=other.fileno(), parent=os.getpid())
        try:
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", program], env=worker_environment(os.environ), pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
        except BaseException:
            self._channel.close()
            raise
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._read)

    async def fork(self, channel: socket.socket) -> ForkedProcess:
        """Forks a worker that has this socket; the caller closes its own copy. Raises `OSError`."""
        if self.has_ended:
            raise ConnectionError("the process that forks workers has ended")
        number = next(self._numbers)
        future: asyncio.Future[ForkedProcess] = self._loop.create_future()
        self._forks[number] = future
        try:
            socket.send_fds(self._channel, [REQUEST.pack(number)], [channel.fileno()])
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():  # it came too late
                future.result().kill()
            raise
        finally:
            del self._forks[number]

    def end(self) -> None:
        """Kills it, and so its forked processes, which are killed here as well."""
        self._process.kill()
        for process in self._processes.values():
            process.kill()
        self._finish()

    async def close(self) -> None:
        """Has it end its forked processes and itself, and kills it if it does not. Returns when it has ended."""
        self._finish()
        for seconds in (CLOSE_S, EXIT_S):
            end = self._loop.time() + seconds
            while self._process.poll() is None and self._loop.time() < end:
                await asyncio.sleep(POLL_S)
            if self._process.returncode is not None:
                return
            self._process.kill()

    def _read(self) -> None:
        try:
            data = self._channel.recv(64 * REPLY.size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        self._replies += data
        while len(self._replies) >= REPLY.size:
            reply, self._replies = self._replies[: REPLY.size], self._replies[REPLY.size :]
            self._take(*REPLY.unpack(reply))

    def _take(self, kind: int, first: int, second: int) -> None:
        if kind == ENDED:
            if process := self._processes.pop(first, None):
                process.report(second)
            return
        future = self._forks.get(first)
        if kind != FORKED:
            if future and not future.done():
                future.set_exception(OSError(second, os.strerror(second)))
            return
        process = self._processes[second] = ForkedProcess(second)
        if future and not future.done():
            future.set_result(process)
        else:  # nobody waits for it any more
            process.kill()
            process.close()

    def _finish(self) -> None:
        """Closes the socket. Who waits for a process is told that there is none, or that its exit code is not known."""
        if self.has_ended:
            return
        self.has_ended = True
        self._loop.remove_reader(self._channel)
        self._channel.close()
        for future in self._forks.values():
            if not future.done():
                future.set_exception(ConnectionError("the process that forks workers has ended"))
        for process in self._processes.values():
            process.report(None)
        self._processes.clear()
        self._on_end()


def _is_readable(descriptor: int) -> bool:
    """Whether the descriptor is readable: of a process's handle, whether the process has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for workers, from that of their parent."""
    return ALLOCATOR | {name: value for name, value in variables.items() if name in PASSED} | THREADS
