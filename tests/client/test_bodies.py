"""An answer of the service is read up to a limit, and decoded once."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from fcn_client import ConnectionFailed, bodies

from tests.support.client.scripted_service import Kind, both, client_of


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that both clients read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def ask(kind: Kind, data: bytes, encoding: str) -> bytes:
    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "gzip"
        return httpx.Response(200, headers={"Content-Encoding": encoding, "Content-Type": "image/png"}, stream=Body(data))

    with client_of(kind, transport=httpx.MockTransport(reply), retries=0) as client:
        answer: bytes = client.raw(b"photo")
        return answer


@both
def test_one_gzip_is_decoded_and_nothing_else(kind: Kind) -> None:
    for data, encoding in ((b"answer", ""), (b"answer", "identity"), (gzip.compress(b"answer"), "gzip")):
        assert ask(kind, data, encoding) == b"answer"
    twice = gzip.compress(gzip.compress(bytes(50_000_000)))
    for encoding in ("gzip, gzip", "br"):
        with pytest.raises(ConnectionFailed, match=f"in the encoding {encoding}, though gzip was asked for"):
            ask(kind, twice, encoding)


@both
def test_a_body_beyond_the_limit_is_refused(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies.read, "__defaults__", (1_000_000,))
    monkeypatch.setattr(bodies.aread, "__defaults__", (1_000_000,))
    for data, encoding in ((bytes(1_000_001), ""), (gzip.compress(bytes(1_000_001)), "gzip")):
        with pytest.raises(ConnectionFailed, match="more than 1 MB"):
            ask(kind, data, encoding)
