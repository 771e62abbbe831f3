"""A request's target in absolute form, and clients that close their side of a connection once they have asked."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from tests.support.app.exchanges import PHOTO, answer_on, connect, head
from tests.support.images import encode
from tests.support.servers import Process, fcn_serve


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


TARGETS = {
    "http://127.0.0.1/health": 200,
    "HTTP://service.example:8000/health?x=1": 200,
    "https://service.example/health/live": 200,
    "http://service.example": 200,
    "http://service.example?x=1": 200,
    "http://service.example/nothing": 404,
    "http://service.example/http://service.example/health": 404,
    "http://[::1]:8000/health": 200,
    "http://service.example:/health": 200,
    "http:///health": 400,
    "http://service.example:99999/health": 400,
    "http://user@service.example/health": 400,
    "ftp://service.example/health": 400,
    "*": 404,
}


def test_a_target_in_absolute_form_is_its_path(running: Process) -> None:
    for target, status in TARGETS.items():
        with connect(running.port) as connection:
            connection.sendall(get(target))
            assert answer_on(connection).status == status, target


def test_an_image_for_a_target_in_absolute_form_is_segmented(running: Process) -> None:
    with connect(running.port) as connection:
        connection.sendall(head(path="http://service.example/segment?format=png") + PHOTO)
        answer = answer_on(connection)
        assert (answer.status, answer.read()) == (200, running.post().content)


@pytest.mark.long
def test_under_a_path_a_target_in_absolute_form_is_below_it(narrow_file: Path, tmp_path: Path) -> None:
    with fcn_serve(narrow_file, tmp_path, root_path="seg/") as it, connect(it.port) as connection:
        connection.sendall(get("http://service.example/health"))
        assert answer_on(connection).status == 200


def test_requests_are_answered_to_a_client_that_closes_its_side(running: Process) -> None:
    with connect(running.port) as connection:
        connection.sendall(get("/info") + get("/health") + get("/metrics", "Connection: close"))
        connection.shutdown(socket.SHUT_WR)
        answers = b""
        while piece := connection.recv(1 << 16):
            answers += piece
        assert answers.count(b"HTTP/1.1 200 OK") == 3


def test_the_end_of_an_image_s_client_is_an_end(running: Process) -> None:
    """As `docs/operate.md` says: it cannot be told from a client that has gone.

    The cork keeps the last bytes back until the end goes with them, and twelve megapixels take the service long after both.
    """
    photo = encode(np.zeros((3000, 4000, 3), np.uint8))
    with connect(running.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(head(len(photo)) + photo)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert running.post().status_code == 200
