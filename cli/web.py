"""Images at `http://` and `https://` addresses. The command fetches them; the service never does.

Any thread may call these functions. They raise `OSError`, with the reason in one line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote

import httpx

from cli.address import is_this_machine, open_http
from common.command_line import package_version

SCHEMES = ("http", "https")
MOST_BYTES = 256_000_000
MOST_REDIRECTS = 5
SILENCE_S, WHOLE_S = 30.0, 300.0  # longest wait for a connection or the next bytes, and for the whole file


def is_web(name: str) -> bool:
    """Whether the name is a web address, and not a file's or an object's."""
    scheme, separator, _ = name.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def web_path(address: str) -> str:
    """The host and the path of a web address, decoded, with `/`: `host/folder/photo.jpg`. Without query, user and port."""
    url = _parse(address)
    parts = [part for part in unquote(url.path, errors="replace").replace("\0", "").split("/") if part not in ("", ".", "..")]
    return "/".join([url.host, *parts])


def read_web(address: str) -> tuple[bytes, str]:
    """The bytes at the address, and their version."""
    end, body = time.monotonic() + WHOLE_S, bytearray()
    with _errors(), _answer("GET", address) as response:
        _check(response)
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise OSError(f"it has more than {MOST_BYTES / 1e6:g} MB; save a smaller image")
            if time.monotonic() > end:
                raise OSError(f"it did not come whole within {WHOLE_S:g} s; fetch it first, and give the file")
    if not body:
        raise OSError("the address answers no bytes; give the address of an image")
    return bytes(body), _version(response.headers)


def web_version(address: str) -> str:
    """The present version of the file at the address, by a HEAD request. Empty if the server gives none."""
    with _errors(), _answer("HEAD", address) as response:
        return _version(response.headers) if response.status_code == httpx.codes.OK else ""


@contextmanager
def _answer(method: str, address: str) -> Iterator[httpx.Response]:
    """The answer to a request, before its body is read. Follows redirections, and reads none of their bodies."""
    url = _parse(address)
    request = _client(is_this_machine(url.host)).build_request(method, url)
    for _ in range(1 + MOST_REDIRECTS):
        response = _client(is_this_machine(request.url.host)).send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        finally:
            response.close()
    raise OSError(f"the address has more than {MOST_REDIRECTS} redirects; give the address of the image itself")


def _check(response: httpx.Response) -> None:
    """Raises `OSError` unless the answer may be an image."""
    if response.status_code != httpx.codes.OK:
        raise OSError(f"the address answers {response.status_code} {response.reason_phrase}; an image's address answers 200")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise OSError("the address answers a web page; give the address of the image itself")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):  # decoding could take any amount of memory
        raise OSError(f"the address answers in the encoding {encoding[:100]}, though identity was asked for; fetch it first")


def _version(headers: Mapping[str, str]) -> str:
    """What changes when the file does: its entity tag, or else its time of change; empty if there is neither."""
    return headers.get("ETag") or headers.get("Last-Modified") or ""


def _parse(address: str) -> httpx.URL:
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise OSError(f"{address!r} is no address ({error}); give one such as https://host/photo.jpg") from error
    if not url.host:
        raise OSError(f"{address!r} names no host; give an address such as https://host/photo.jpg")
    return url


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise OSError(f"the address does not answer within {SILENCE_S:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise OSError(f"it cannot be fetched: {str(error) or type(error).__name__}; see that a browser opens it") from error


@cache
def _client(this_machine: bool) -> httpx.Client:
    # an encoding would change the entity tag; some hosts refuse programs that do not name themselves
    headers = {"Accept-Encoding": "identity", "User-Agent": f"fcn-segment/{package_version()}"}
    return open_http(this_machine, timeout=SILENCE_S, headers=headers)
