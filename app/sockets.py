"""The listening socket, and the number of connections that the system's limit on open files allows."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import NamedTuple

from model.inference.cores import available_memory
from model.inference.processes.workers import worker_count

BACKLOG = 2048  # connections that the system queues until they are accepted
MOST_AT_ONCE = 64  # connections that the event loop accepts before its other work continues
LARGEST_PORT = 65_535
MOST_CONNECTIONS = 2000
# of the front process and of the system's buffers, for a client that does not read
CONNECTION_BYTES = 128 << 10
MEMORY_SHARE = 1 / 16  # of the memory that the process may use, for connections
UNSENT_BYTES = 1 << 16  # of an answer that the system keeps for a client, beside what is on its way
MOST_FILES = 1 << 16  # the soft limit on open files that the process sets, if the hard limit allows
OWN_FILES = 16  # open files of the runtime and of the process itself
WORKER_FILES = 3  # of each worker: its socket, its process, its answer
SILENT_S = 10  # seconds for which the system does not pass on a new connection that has sent nothing
UNREAD_S = 60  # seconds within which a client must acknowledge data that was sent to it


class Room(NamedTuple):
    """How much the service takes at once: connections, connections that are accepted, requests with images, files of batches.

    Beyond the first limit, another connection is closed.
    """

    connections: int
    at_once: int
    requests: int
    batch_files: int


def make_room() -> Room:
    """Raises the soft limit on open files, within the hard limit, and returns the room for connections under it."""
    files = MOST_FILES
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        if soft == resource.RLIM_INFINITY or soft >= files:
            files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
        else:
            with suppress(OSError, ValueError):  # macOS may refuse a limit that its hard limit allows
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return room_in(files, available_memory(), worker_count())


def room_in(files: int, memory: int | None, workers: int) -> Room:
    """The room under a limit of `files` open files, in so many bytes of memory (None if they are not known), beside workers.

    A third of the files is for connections, one for images and answers of their requests, and one for the files of batches.
    A quarter of the connections is kept for requests without images, such as health checks.
    """
    at_once = max(1, min(MOST_AT_ONCE, files // 16))
    third = max(8, (files - OWN_FILES - WORKER_FILES * workers - at_once) // 3)
    connections = min(MOST_CONNECTIONS, third, int(MEMORY_SHARE * memory) // CONNECTION_BYTES if memory else MOST_CONNECTIONS)
    return Room(connections, at_once, connections * 3 // 4, third)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of any address family. Raises `OSError`.

    If the system supports it, the system does not pass on a connection that has sent nothing for the first `SILENT_S` seconds.
    It drops a connection whose client acknowledges nothing, or reads nothing, for `UNREAD_S` seconds, and keeps few bytes for a
    client that reads slowly. Accepted connections inherit these options.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        options = {"TCP_DEFER_ACCEPT": SILENT_S, "TCP_USER_TIMEOUT": 1000 * UNREAD_S, "TCP_NOTSENT_LOWAT": UNSENT_BYTES}
        for option, value in options.items():
            if hasattr(socket, option):
                with suppress(OSError):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
