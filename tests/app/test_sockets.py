"""What the listening socket asks of the system, and how many connections the limit of open files leaves room for."""

from __future__ import annotations

import socket

import pytest

from app.sockets import MOST_AT_ONCE, MOST_CONNECTIONS, SILENT_S, UNREAD_S, Room, listen, room_in


def test_the_listening_socket_leaves_silent_and_unread_connections_to_the_system() -> None:
    with listen("127.0.0.1", 0) as listener:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * UNREAD_S
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # rounded up to a number of retransmissions
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) >= SILENT_S


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (96, Room(26, 6)),
        (1024, Room(704, MOST_AT_ONCE)),
        (4096, Room(MOST_CONNECTIONS, MOST_AT_ONCE)),
        (1 << 16, Room(MOST_CONNECTIONS, MOST_AT_ONCE)),
    ],
)
def test_connections_leave_files_for_all_else(files: int, room: Room) -> None:
    assert room_in(files) == room
    assert sum(room) < files
