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
from model.inference.processes.forkserver_process import FORK, REPLY, REQUEST, main

PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor}, {parent})"
CLOSE_S = 1.0  # longest wait for the process to end by itself once its socket is closed
ENDED = "the process that forks workers has ended"
EXIT_S = 5.0  # longest wait for a killed process to exit
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(12 << 20),  # less than Pillow's blocks of 16 MiB, which would lie between smaller ones
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(8 << 20),
}
"""Settings of glibc's allocator, unless the user has set them: an image finds the pages of the one before in place."""
# numpy's threads: a process with several must not fork. In a worker, libde265 starts one while it decodes a HEIF; glibc would
# map memory for that thread which stays, and which the limit of the next image would not count
THREADS = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
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
    """A process that a `ForkServer` has forked. Its id stays its own until `wait` has asked for its exit code."""

    def __init__(self, pid: int, forkserver: ForkServer) -> None:
        self.pid = pid
        self._forkserver = forkserver
        self._exit: asyncio.Task[int | None] | None = None

    def kill(self) -> None:
        """Ends the process at once, also one that is stopped. Does not need the process that has forked it."""
        if self._exit is None and not self._forkserver.has_ended:
            with suppress(ProcessLookupError):  # it has ended with the process that has forked it
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int | None:
        """Kills the process if it still runs. Returns its exit code, below 0 for a signal.

        None if it has not ended within `EXIT_S`, or if nobody knows its code.
        """
        self.kill()
        self._exit = self._exit or asyncio.create_task(self._forkserver.exit_code(self))
        await asyncio.wait([self._exit], timeout=EXIT_S)
        return self._exit.result() if self._exit.done() else None


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
        self._replies: deque[asyncio.Future[int]] = deque()  # in the order of the requests
        self._processes: set[ForkedProcess] = set()
        hide_memory()
        self._process, self._channel = start_program(main.__module__)
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._read)

    async def fork(self, channel: socket.socket) -> ForkedProcess:
        """Forks a worker that has this socket; the caller closes its own copy. Raises `OSError`.

        A worker that comes once nobody waits for it finds its socket closed, and ends.
        """
        pid = await self._ask(FORK, channel)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        process = ForkedProcess(pid, self)
        self._processes.add(process)
        return process

    async def exit_code(self, process: ForkedProcess) -> int | None:
        """The exit code of a forked process that is killed; None once this has ended."""
        try:
            code = await self._ask(process.pid)
        except OSError:
            return None
        self._processes.discard(process)
        return code

    def end(self) -> None:
        """Kills it and its forked processes."""
        self._finish()
        self._process.kill()

    async def close(self) -> None:
        """Has it end its forked processes and itself, and kills it if it does not. Returns when it has ended."""
        self._finish()
        for seconds in (CLOSE_S, EXIT_S):
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, seconds)
            self._process.kill()
        for process in self._processes:
            with suppress(ChildProcessError):  # a process without a parent becomes a child of the container's first process
                os.waitpid(process.pid, os.WNOHANG)

    async def _ask(self, pid: int, *channels: socket.socket) -> int:
        if self.has_ended:
            raise ConnectionError(ENDED)
        socket.send_fds(self._channel, [REQUEST.pack(pid)], [channel.fileno() for channel in channels])
        reply: asyncio.Future[int] = self._loop.create_future()
        self._replies.append(reply)
        return await reply

    def _read(self) -> None:
        """Takes one reply."""
        try:
            data = self._channel.recv(REPLY.size)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if len(data) < REPLY.size:
            self.end()
            return
        reply = self._replies.popleft()
        if not reply.done():  # somebody waits for it
            reply.set_result(REPLY.unpack(data)[0])

    def _finish(self) -> None:
        """Closes the socket and kills the forked processes. Who waits for a reply gets an error."""
        if self.has_ended:
            return
        for process in self._processes:
            process.kill()
        self.has_ended = True
        self._loop.remove_reader(self._channel)
        self._channel.close()
        for reply in self._replies:
            if not reply.done():
                reply.set_exception(ConnectionError(ENDED))
        self._on_end(self)


def start_program(
    module: str, variables: Mapping[str, str] | None = None, stderr: int | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts a program that calls `main` of a module of ours, in a session of its own; and this end of its socket.

    variables: of its environment, besides those of workers. Raises `OSError`.
    """
    channel, other = socket.socketpair()
    path = [os.path.abspath(folder) for folder in sys.path]
    program = PROGRAM.format(path=path, module=module, descriptor=other.fileno(), parent=os.getpid())
    try:
        with other:
            process = subprocess.Popen(
                [sys.executable, "-c", program], env=worker_environment(os.environ) | dict(variables or {}),
                pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                start_new_session=True,
            )  # fmt: skip
    except BaseException:
        channel.close()
        raise
    return process, channel


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for workers, from that of the front."""
    return ALLOCATOR | {name: value for name, value in variables.items() if name in PASSED} | THREADS
