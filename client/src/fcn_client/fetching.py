"""Fetches images from `http://` and `https://` addresses. The service itself fetches nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import unquote

import httpx

from fcn_client import address
from fcn_client.bodies import check_encoding
from fcn_client.errors import FetchFailed

MOST_BYTES = 256_000_000  # protects this process; the service has a limit of its own
MOST_REDIRECTS = 5
CONNECT_S = 10.0
IDENTITY = {"Accept-Encoding": "identity"}


def is_address(text: str) -> bool:
    """Whether the text is an address that `fetch` reads, and not a path."""
    return text.lower().startswith(("http://", "https://"))


def fetch(
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    most_bytes: int = MOST_BYTES,
    transport: httpx.BaseTransport | None = None,
) -> tuple[str, bytes]:
    """The file's name and bytes at this address. Blocks for at most some `timeout` seconds.

    headers: are sent too, `Authorization` to no other host after a redirect. transport: replaces httpx's own; without it, this
    machine (localhost, 127.0.0.0/8, ::1) is asked without a proxy.
    Raises `FetchFailed` for anything but an answer 200 of 1 to `most_bytes` bytes that is no web page.
    """
    end = time.monotonic() + timeout
    try:
        location = httpx.URL(url)
        with _client(location, timeout, transport) as client:
            request = client.build_request("GET", location, headers=dict(headers or {}) | IDENTITY)
            for _ in range(1 + MOST_REDIRECTS):
                with closing(client.send(request, stream=True)) as response:
                    if response.next_request is None:
                        name = unquote(location.path).rstrip("/").rpartition("/")[2] or "image"
                        return name, _body(response, end, timeout, most_bytes)
                    request = response.next_request  # the body of a redirection is not read
        raise httpx.TooManyRedirects(f"it has more than {MOST_REDIRECTS} redirects")
    except httpx.TimeoutException as error:
        raise FetchFailed(f"no answer from {_without_keys(url)} within {timeout:g} s; give a longer timeout") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise FetchFailed(
            f"{_without_keys(url)} cannot be fetched: {reason}; see that the address opens in a browser"
        ) from error


def _client(location: httpx.URL, timeout: float, transport: httpx.BaseTransport | None) -> httpx.Client:
    """The client for this address. Raises `FetchFailed` if the environment's proxies or certificates cannot be used."""
    try:
        if transport is None and address.is_this_machine(location.host):
            transport = httpx.HTTPTransport()
        return httpx.Client(transport=transport, timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_S)))
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise FetchFailed(f"{address.VARIABLES} cannot be used: {error}; change or unset it") from error


def _body(response: httpx.Response, end: float, timeout: float, most_bytes: int) -> bytes:
    text = _without_keys(str(response.url))
    if response.status_code != httpx.codes.OK:
        raise FetchFailed(f"{text} answers {response.status_code} {response.reason_phrase}; an image's address answers 200")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise FetchFailed(f"{text} answers a web page; give the address of the image itself")
    check_encoding(response, "identity")
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > most_bytes:
            raise FetchFailed(f"{text} answers more than {most_bytes / 1e6:g} MB; save a smaller image")
        if time.monotonic() > end:
            raise FetchFailed(f"{text} did not send all of its answer within {timeout:g} s; give a longer timeout")
    if not body:
        raise FetchFailed(f"{text} answers no bytes; an image's address answers an image")
    return bytes(body)


def _without_keys(url: str) -> str:
    """The address as messages show it: without user, password and query, which may hold keys."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
