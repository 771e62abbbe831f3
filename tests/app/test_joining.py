"""What leaves together with what, and what other answers than those with a body do."""

from __future__ import annotations

import asyncio

import pytest

from app.joining import JoiningTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recording(asyncio.Transport):
    """Keeps what is written, each time apart."""

    def __init__(self) -> None:
        super().__init__(extra={"peername": "someone"})
        self.segments: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.segments.append(bytes(data))

    def close(self) -> None:
        self.segments.append(b"closed")


@pytest.fixture
def inner() -> Recording:
    return Recording()


@pytest.fixture
def joining(inner: Recording) -> JoiningTransport:
    return JoiningTransport(inner)


def test_a_head_leaves_with_the_first_of_the_body(joining: JoiningTransport, inner: Recording) -> None:
    for data in (HEAD, b"one", b"two"):
        joining.write(data)
    joining.end()
    assert inner.segments == [HEAD + b"one", b"two"]


def test_each_answer_has_its_own_head(joining: JoiningTransport, inner: Recording) -> None:
    for body in (b"one", b"two"):
        joining.write(HEAD)
        joining.write(body)
        joining.end()
    assert inner.segments == [HEAD + b"one", HEAD + b"two"]


def test_an_answer_that_is_whole_leaves_at_once(joining: JoiningTransport, inner: Recording) -> None:
    joining.write_whole(HEAD + b"one")
    assert inner.segments == [HEAD + b"one"]
    joining.end()
    joining.write(HEAD)
    joining.write(b"two")
    assert inner.segments == [HEAD + b"one", HEAD + b"two"]


def test_a_head_without_a_body_leaves_at_the_end(joining: JoiningTransport, inner: Recording) -> None:
    joining.write(HEAD)
    assert inner.segments == []
    joining.end()
    joining.end()
    assert inner.segments == [HEAD]


def test_a_client_that_waits_is_told_to_send_at_once(joining: JoiningTransport, inner: Recording) -> None:
    told = b"HTTP/1.1 100 Continue\r\n\r\n"
    joining.write(told)
    assert inner.segments == [told]
    joining.write(HEAD)
    joining.write(b"body")
    assert inner.segments == [told, HEAD + b"body"]


def test_a_body_that_looks_like_a_head_is_a_body(joining: JoiningTransport, inner: Recording) -> None:
    for data in (HEAD, b"one", HEAD):
        joining.write(data)
    assert inner.segments == [HEAD + b"one", HEAD]


def test_a_connection_that_is_closed_loses_nothing(joining: JoiningTransport, inner: Recording) -> None:
    joining.write(HEAD)
    joining.close()
    assert inner.segments == [HEAD, b"closed"]


def test_all_else_is_the_transports(joining: JoiningTransport) -> None:
    assert joining.get_extra_info("peername") == "someone"
