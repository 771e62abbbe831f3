"""The front's side of the process that forks workers, and of a forked process. For use on an event loop.

The process, and so a worker, has an environment of its own: no keys and tokens, and glibc's allocator as it suits
(https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from model.inference.processes.confinement import hide_memory
from model.inference.processes.forkserver_process import ENDED, REFUSED, REPLY, REQUEST, main

PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor}, {parent})"
CLOSE_S = 1.0  # longest wait for the process to end by itself once its socket is closed
EXIT_S = 5.0  # longest wait for a killed process to exit
NO_FORKSERVER = "the process that forks workers has ended"
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
    """A process that a `ForkServer` has forked."""

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
        await asyncio.wait([self._code], timeout=EXIT_S)
        return self._code.result() if self._code.done() else None

    def report(self, code: int | None) -> None:
        """Says that the process has ended, or is killed and its exit code will never be known: None."""
        self._code.set_result(code)
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


class ForkServer:
    """The process that forks workers. on_end: called with this once it has ended, or is killed since it does not answer.

    It begins as a new program, with nothing of this process's memory and without keys in its environment. Its forked processes
    end with it. Raises `OSError` if it cannot be started. Create it on the thread of the event loop: on Linux it ends with this
    thread. From then on, other processes of this user cannot read this one's memory (Linux).
    """

    def __init__(self, on_end: Callable[[ForkServer], None]) -> None:
        self.has_ended = False
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._forks: deque[asyncio.Future[ForkedProcess]] = deque()  # in the order of the requests, as the replies are
        self._processes: dict[int, ForkedProcess] = {}
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
        """Forks a worker that has this socket; the caller closes its own copy. Raises `OSError`.

        A worker that comes once nobody waits for it finds its socket closed, and ends.
        """
        if self.has_ended:
            raise ConnectionError(NO_FORKSERVER)
        socket.send_fds(self._channel, [REQUEST], [channel.fileno()])
        fork: asyncio.Future[ForkedProcess] = self._loop.create_future()
        self._forks.append(fork)
        return await fork

    def end(self) -> None:
        """Kills it and its forked processes."""
        self._process.kill()
        self._finish()

    async def close(self) -> None:
        """Has it end its forked processes and itself, and kills it if it does not. Returns when it has ended."""
        self._finish()
        for seconds in (CLOSE_S, EXIT_S):
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, seconds)
            self._process.kill()
        for pid in self._processes:
            with suppress(ChildProcessError):  # a process without a parent becomes a child of the container's first process
                os.waitpid(pid, os.WNOHANG)

    def _read(self) -> None:
        """Takes one reply."""
        try:
            reply = self._channel.recv(REPLY.size)
        except BlockingIOError:
            return
        except OSError:
            reply = b""
        if len(reply) < REPLY.size:
            self.end()
            return
        kind, number, code = REPLY.unpack(reply)
        if kind == ENDED:
            if process := self._processes.pop(number, None):
                process.report(code)
            return
        fork = self._forks.popleft()
        if fork.done():  # nobody waits for it any more
            return
        if kind == REFUSED:
            fork.set_exception(OSError(number, os.strerror(number)))
        else:
            self._processes[number] = ForkedProcess(number)
            fork.set_result(self._processes[number])

    def _finish(self) -> None:
        """Closes the socket and kills the forked processes. Who waits for one is told that there is none."""
        if self.has_ended:
            return
        self.has_ended = True
        self._loop.remove_reader(self._channel)
        self._channel.close()
        for fork in self._forks:
            if not fork.done():
                fork.set_exception(ConnectionError(NO_FORKSERVER))
        for process in self._processes.values():
            process.kill()
            process.report(None)
        self._on_end(self)


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for workers, from that of the front."""
    return ALLOCATOR | {name: value for name, value in variables.items() if name in PASSED} | THREADS
