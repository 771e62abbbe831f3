"""The process that forks workers. It has one thread, has imported the workers' modules, and never handles an image.

`model.inference.processes.forkserver` is the parent's side. The parent sends requests, each a number with a worker's socket;
this process answers with `REPLY`s. It ends, with all workers, when its parent does or closes the socket.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from contextlib import suppress

from model.inference.processes.confinement import end_with_parent, refuse_privileges

REQUEST = struct.Struct("!q")  # its number
REPLY = struct.Struct("!Bqq")  # one of the kinds below, and two numbers
FORKED = 1  # number of the request, process id
REFUSED = 2  # number of the request, `errno` of the error
ENDED = 3  # process id, exit code (below 0: the signal)
IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # of the process group: the parent handles them


def main(descriptor: int, parent: int) -> None:
    """Forks workers until the parent, a process of this id, closes its end of the socket."""
    for name in IGNORED_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent(parent)
    refuse_privileges()
    # the workers' modules, after the signals are ignored: importing them takes a while
    from model.inference.processes import worker_main  # noqa: F401

    with suppress(BrokenPipeError, ConnectionResetError):
        _Forking(socket.socket(fileno=descriptor)).run()
    os._exit(0)


class _Forking:
    """Forks a process for each request, and reports the end of each."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pids: set[int] = set()
        self._wake_reader, self._wake_writer = os.pipe()  # SIGCHLD writes to it
        for end in (self._wake_reader, self._wake_writer):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def run(self) -> None:
        poll = select.poll()
        for descriptor in (self._channel.fileno(), self._wake_reader):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._wake_reader in ready:
                os.read(self._wake_reader, 1 << 16)
                self._report_ends()
            if self._channel.fileno() in ready:
                request, descriptors, _, _ = socket.recv_fds(self._channel, REQUEST.size, 1)
                if len(request) < REQUEST.size:
                    break
                self._fork(REQUEST.unpack(request)[0], socket.socket(fileno=descriptors[0]))
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)

    def _fork(self, number: int, channel: socket.socket) -> None:
        parent = os.getpid()
        with channel:
            try:
                pid = os.fork()
            except OSError as error:
                self._reply(REFUSED, number, error.errno or 0)
                return
            if not pid:
                try:
                    self._become_worker(channel, parent)
                finally:
                    os._exit(1)
        self._pids.add(pid)
        self._reply(FORKED, number, pid)

    def _become_worker(self, channel: socket.socket, parent: int) -> None:
        from model.inference.processes.worker_main import serve

        end_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._channel.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        serve(channel)

    def _report_ends(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._pids.discard(pid)
            self._reply(ENDED, pid, os.waitstatus_to_exitcode(status))

    def _reply(self, kind: int, first: int, second: int) -> None:
        self._channel.sendall(REPLY.pack(kind, first, second))
