"""The process that forks workers. It has one thread, has imported the workers' modules, and never handles an image.

`model.inference.processes.forkserver` is the front's side. The front sends requests, each a byte with a worker's socket; this
process answers each in its turn. It ends, with all workers, when the front does or closes the socket.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from contextlib import suppress

from model.inference.processes.confinement import end_with_parent, refuse_privileges

REQUEST = b"f"
REPLY = struct.Struct("!Bqq")  # one of the kinds below, and two numbers
FORKED = 1  # process id, 0
REFUSED = 2  # `errno` of the error, 0
ENDED = 3  # process id, exit code (below 0: the signal)
IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # of the process group: the front handles them


def main(descriptor: int, parent: int) -> None:
    """Forks workers until the front, a process of this id, closes its end of the socket."""
    for name in IGNORED_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent(parent)
    refuse_privileges()
    # the workers' modules, after the signals are ignored: importing them takes a while
    from model.inference.processes import worker_process  # noqa: F401

    with suppress(BrokenPipeError, ConnectionResetError):
        _serve(socket.socket(fileno=descriptor))
    os._exit(0)


def _serve(channel: socket.socket) -> None:
    """Forks a process for each request, and reports the end of each. At the end of the socket it ends them all."""
    pids: set[int] = set()
    wake_reader, wake_writer = socket.socketpair()  # SIGCHLD writes to it
    wake_writer.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([channel, wake_reader], [], [])
        if wake_reader in ready:
            wake_reader.recv(1 << 16)
            _report_ends(channel, pids)
        if channel in ready:
            request, descriptors, _, _ = socket.recv_fds(channel, len(REQUEST), 1)
            if not request:
                break
            with socket.socket(fileno=descriptors[0]) as worker_channel:
                _fork(channel, pids, worker_channel, (wake_reader, wake_writer))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _fork(channel: socket.socket, pids: set[int], worker_channel: socket.socket, others: tuple[socket.socket, ...]) -> None:
    """Forks a worker that has its own channel alone."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        channel.sendall(REPLY.pack(REFUSED, error.errno or 0, 0))
        return
    if not pid:
        try:
            from model.inference.processes.worker_process import serve

            end_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (channel, *others):
                end.close()
            serve(worker_channel)
        finally:
            os._exit(1)
    pids.add(pid)
    channel.sendall(REPLY.pack(FORKED, pid, 0))


def _report_ends(channel: socket.socket, pids: set[int]) -> None:
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        pids.discard(pid)
        channel.sendall(REPLY.pack(ENDED, pid, os.waitstatus_to_exitcode(status)))
