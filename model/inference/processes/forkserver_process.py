"""The process that forks workers. It has one thread, has imported the workers' modules, and never handles an image.

`model.inference.processes.forkserver` is the front's side. The front sends requests, and this process answers each in its turn.
It ends, with all workers, when the front does or closes the socket.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import suppress

from model.inference.processes.confinement import begin_program, end_with_parent

REQUEST = struct.Struct("!q")  # the process id of a worker that is killed, or `FORK`, with a worker's socket
REPLY = struct.Struct("!q")  # the worker's exit code (below 0: the signal), or the new worker's process id (below 0: `-errno`)
FORK = 0


def main(descriptor: int, parent: int) -> None:
    """Forks workers until the front, a process of this id, closes its end of the socket."""
    begin_program(parent)
    # the workers' modules, after the signals are ignored: importing them takes a while
    from model.inference.processes import worker_process  # noqa: F401

    with suppress(BrokenPipeError, ConnectionResetError):
        _serve(socket.socket(fileno=descriptor))
    os._exit(0)


def _serve(channel: socket.socket) -> None:
    """Answers requests until the end of the socket, and then ends all workers."""
    pids: set[int] = set()
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            break
        (pid,) = REQUEST.unpack(request)
        if pid == FORK:
            with socket.socket(fileno=descriptors[0]) as worker_channel:
                reply = _fork(worker_channel, channel)
            if reply > 0:
                pids.add(reply)
        else:
            reply = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            pids.discard(pid)
        channel.sendall(REPLY.pack(reply))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _fork(worker_channel: socket.socket, channel: socket.socket) -> int:
    """Forks a worker, which has its own channel alone. Returns its process id, or `-errno`."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or 1)
    if not pid:
        try:
            from model.inference.processes.worker_process import serve

            end_with_parent(parent)
            channel.close()
            serve(worker_channel)
        finally:
            os._exit(1)
    return pid
