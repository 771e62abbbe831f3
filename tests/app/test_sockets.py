"""What the listening socket asks of the system, and how many connections the limit of open files leaves room for."""

from __future__ import annotations

import socket

import pytest

from app.server import (
    CONNECTION_BYTES,
    MOST_AT_ONCE,
    MOST_CONNECTIONS,
    OWN_FILES,
    SILENT_S,
    UNREAD_S,
    UNSENT_BYTES,
    WORKER_FILES,
    Room,
    listen,
    room_in,
)


def test_the_listening_socket_leaves_silent_and_unread_connections_to_the_system() -> None:
    with listen("127.0.0.1", 0) as listener:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * UNREAD_S
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"a")
                accepted, _ = listener.accept()
                with accepted:
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # rounded up to a number of retransmissions
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) >= SILENT_S


@pytest.mark.parametrize(
    ("files", "memory", "workers", "room"),
    [
        (96, None, 16, Room(8, 6, 6, 8)),
        (256, None, 16, Room(58, 16, 43, 58)),
        (1024, None, 16, Room(298, MOST_AT_ONCE, 223, 298)),
        (1024, None, 64, Room(250, MOST_AT_ONCE, 187, 250)),
        (1 << 16, None, 16, Room(MOST_CONNECTIONS, MOST_AT_ONCE, 1500, 21802)),
        (1 << 16, 1 << 36, 16, Room(MOST_CONNECTIONS, MOST_AT_ONCE, 1500, 21802)),
        (1 << 16, 2 << 30, 16, Room((2 << 30) // 16 // CONNECTION_BYTES, MOST_AT_ONCE, 768, 21802)),
    ],
)
def test_connections_leave_files_and_memory_for_all_else(files: int, memory: int | None, workers: int, room: Room) -> None:
    assert room_in(files, memory, workers) == room
    own_files = OWN_FILES + WORKER_FILES * workers
    assert 2 * room.connections + room.at_once + room.batch_files + own_files <= max(files, 104)
    assert room.connections * CONNECTION_BYTES * 16 <= (memory or 1 << 40)
