"""The listening socket, and the number of connections that the system's limit on open files allows."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import NamedTuple

BACKLOG = 2048  # connections that the system queues until they are accepted
MOST_AT_ONCE = 64  # connections that the event loop accepts before its other work continues
LARGEST_PORT = 65_535
MOST_CONNECTIONS = 2000  # each uses about 10 kB, and up to 32 kB more while its head arrives
MOST_FILES = 1 << 16  # the soft limit on open files that the process sets, if the hard limit allows
LEAST_FREE = 64  # open files that are not connections: of workers, images on disk, and the runtime
SILENT_S = 10  # seconds for which the system does not pass on a new connection that has sent nothing
UNREAD_S = 60  # seconds within which a client must acknowledge data that was sent to it


class Room(NamedTuple):
    """The most open connections, and the most that are accepted at once.

    Beyond the first limit, a waiting connection is closed.
    """

    connections: int
    at_once: int


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
    return room_in(files)


def room_in(files: int) -> Room:
    """The room under a limit of `files` open files.

    A quarter of them, at least `LEAST_FREE`, is kept for files that are not connections, and `at_once` for connections that
    are being accepted.
    """
    at_once = max(1, min(MOST_AT_ONCE, files // 16))
    return Room(max(8, min(MOST_CONNECTIONS, files - max(LEAST_FREE, files // 4) - at_once)), at_once)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of any address family. Raises `OSError`.

    If the system supports it, the system does not pass on a connection that has sent nothing for the first `SILENT_S` seconds.
    It drops a connection whose client acknowledges nothing, or reads nothing, for `UNREAD_S` seconds.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option, value in (("TCP_DEFER_ACCEPT", SILENT_S), ("TCP_USER_TIMEOUT", 1000 * UNREAD_S)):
            if hasattr(socket, option):
                with suppress(OSError):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
