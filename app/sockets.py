"""The listening socket, and how many connections the system's limit of open files leaves room for."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import NamedTuple

BACKLOG = 2048  # connections that the system keeps until they are accepted
MOST_AT_ONCE = 64  # are accepted before other work of the event loop has its turn
MOST_CONNECTIONS = 2000  # each takes some 10 kB, and up to 32 more while its head is coming
MOST_FILES = 1 << 16  # so many open files are asked for
LEAST_FREE = 64  # files that are no connections: of workers, of images on disk, of the runtime
SILENT_S = 10  # that the system keeps a connection to itself on which nothing has come
UNREAD_S = 60  # that a client may take to acknowledge what was sent to it


class Room(NamedTuple):
    """How many connections there may be, and how many may be accepted at once, of which those beyond are then closed."""

    connections: int
    at_once: int


def make_room() -> Room:
    """Raises the soft limit of open files, within the hard one, and gives the room that it leaves for connections."""
    files = MOST_FILES
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        if soft == resource.RLIM_INFINITY or soft >= files:
            files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
        else:
            with suppress(OSError, ValueError):  # macOS may refuse what its hard limit promises
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return room_in(files)


def room_in(files: int) -> Room:
    """Of so many open files: a quarter is for what is no connection, a share for those that are just being accepted."""
    at_once = max(1, min(MOST_AT_ONCE, files // 16))
    return Room(max(8, min(MOST_CONNECTIONS, files - max(LEAST_FREE, files // 4) - at_once)), at_once)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this address, of whichever family it is; raises `OSError`.

    Where the system can, it keeps connections on which nothing has come to itself for a while, and drops those whose client
    acknowledges nothing, or reads nothing, for `UNREAD_S` seconds.
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
