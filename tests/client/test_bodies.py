"""An answer of the service is read up to a limit, and decoded once."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from fcn_client import AsyncSegmentClient, ConnectionFailed, SegmentClient, bodies

URL = "http://service"


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that both clients read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield self._data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def ask(data: bytes, encoding: str, kind: str) -> bytes:
    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "gzip"
        return httpx.Response(200, headers={"Content-Encoding": encoding, "Content-Type": "image/png"}, stream=Body(data))

    transport = httpx.MockTransport(reply)
    if kind == "sync":
        return SegmentClient(URL, transport=transport, retries=0).raw(b"photo")

    async def segment() -> bytes:
        async with AsyncSegmentClient(URL, transport=transport, retries=0) as client:
            return await client.raw(b"photo")

    return asyncio.run(segment())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_gzip_is_decoded_and_nothing_else(kind: str) -> None:
    assert (
        ask(b"answer", "", kind) == ask(b"answer", "identity", kind) == ask(gzip.compress(b"answer"), "gzip", kind) == b"answer"
    )
    twice = gzip.compress(gzip.compress(bytes(50_000_000)))
    for encoding in ("gzip, gzip", "deflate", "br", "other"):
        with pytest.raises(ConnectionFailed, match=f"in the encoding {encoding}, though gzip was asked for"):
            ask(twice, encoding, kind)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_body_beyond_the_limit_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies.read, "__defaults__", (1_000_000,))
    monkeypatch.setattr(bodies.aread, "__defaults__", (1_000_000,))
    for data, encoding in ((bytes(1_000_001), ""), (gzip.compress(bytes(1_000_001)), "gzip")):
        with pytest.raises(ConnectionFailed, match="more than 1 MB"):
            ask(data, encoding, kind)
