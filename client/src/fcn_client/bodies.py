"""Reads the bodies of answers up to a limit, so that no sender fills the memory.

One chunk in several encodings can become any number of bytes. So only one encoding is decoded, and none that was not asked for.
"""

from __future__ import annotations

import httpx

MOST_BYTES = 4 << 30  # of an answer of the service
ENCODING = "gzip"
OF_TRANSFER = {b"content-encoding", b"content-length", b"transfer-encoding"}
"""Headers of a body as it travels."""


def check_encoding(response: httpx.Response, encoding: str) -> None:
    """Raises `httpx.DecodingError` if the body is in another encoding than this one or none."""
    header = response.headers.get("Content-Encoding", "").strip().lower()
    if header not in ("", "identity", encoding):
        reason = f"the answer is in the encoding {header[:100]}, though {encoding} was asked for"
        raise httpx.DecodingError(reason, request=response.request)


def read(response: httpx.Response, most_bytes: int = MOST_BYTES) -> httpx.Response:
    """The response with its whole body, from one that is open. Raises `httpx.DecodingError` beyond the limit."""
    check_encoding(response, ENCODING)
    body = bytearray()
    for chunk in response.iter_bytes():
        _add(body, chunk, response, most_bytes)
    return _whole(response, bytes(body))


async def aread(response: httpx.Response, most_bytes: int = MOST_BYTES) -> httpx.Response:
    """As `read`."""
    check_encoding(response, ENCODING)
    body = bytearray()
    async for chunk in response.aiter_bytes():
        _add(body, chunk, response, most_bytes)
    return _whole(response, bytes(body))


def _add(body: bytearray, chunk: bytes, response: httpx.Response, most_bytes: int) -> None:
    body += chunk
    if len(body) > most_bytes:
        raise httpx.DecodingError(f"the answer has more than {most_bytes / 1e6:,.0f} MB", request=response.request)


def _whole(response: httpx.Response, body: bytes) -> httpx.Response:
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in OF_TRANSFER]
    return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)
