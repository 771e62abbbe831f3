"""What is fetched from an address, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx
import pytest
from fcn_client import FetchFailed
from fcn_client.fetching import MOST_REDIRECTS, fetch

ADDRESS = "https://user:secret@example.org/photos/a%20cat.jpg?signature=secret"
TEXT = "https://example.org/photos/a%20cat.jpg"


def fetch_from(answer: httpx.Response | Exception, **options: int) -> tuple[str, bytes]:
    def reply(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch(ADDRESS, timeout=60, transport=httpx.MockTransport(reply), **options)


def test_name_and_bytes_are_those_of_the_file() -> None:
    assert fetch_from(httpx.Response(200, content=b"photo")) == ("a cat.jpg", b"photo")
    nameless = httpx.MockTransport(lambda _: httpx.Response(200, content=b"photo"))
    assert fetch("http://example.org", timeout=60, transport=nameless) == ("image", b"photo")


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1000)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404), "answers 404 Not Found; an image's address answers 200"),
        (httpx.Response(200, html="<html>"), "answers a web page; give the address of the image itself"),
        (httpx.Response(200), "answers no bytes"),
        (httpx.Response(200, content=endless()), "answers more than 0.005 MB"),
        (httpx.ConnectError("refused"), "cannot be fetched: refused"),
        (httpx.ReadTimeout("slow"), "within 60 s"),
        (httpx.Response(302, headers={"Location": ADDRESS}), "cannot be fetched: .*redirects"),
    ],
    ids=["status", "page", "empty", "too long", "refused", "timeout", "redirects without end"],
)
def test_what_is_no_image_says_so_and_tells_no_secrets(answer: httpx.Response | Exception, message: str) -> None:
    with pytest.raises(FetchFailed, match=message) as error_info:
        fetch_from(answer, most_bytes=5000)
    assert TEXT in str(error_info.value)
    assert "secret" not in str(error_info.value)


def test_a_key_goes_to_no_other_host_after_a_redirect() -> None:
    requests: list[tuple[str, str | None]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        requests.append((request.url.host, request.headers.get("Authorization")))
        if len(requests) < MOST_REDIRECTS:
            here = len(requests) == 1
            return httpx.Response(302, headers={"Location": f"https://{'studio' if here else 'bucket'}/{len(requests)}"})
        return httpx.Response(200, content=b"photo")

    transport = httpx.MockTransport(reply)
    fetch("https://studio/a.png", timeout=60, headers={"Authorization": "Token key"}, transport=transport)
    assert requests == [("studio", "Token key"), ("studio", "Token key")] + [("bucket", None)] * (MOST_REDIRECTS - 2)


def test_identity_is_asked_for_and_another_encoding_is_refused() -> None:
    asked = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Accept-Encoding"])
        body = httpx.ByteStream(gzip.compress(gzip.compress(bytes(50_000_000))))
        return httpx.Response(200, headers={"Content-Encoding": "gzip, gzip"}, stream=body)

    with pytest.raises(FetchFailed, match="in the encoding gzip, gzip, though identity was asked for"):
        fetch(ADDRESS, timeout=60, transport=httpx.MockTransport(reply))
    assert asked == ["identity"]


def test_the_body_of_a_redirection_is_not_read() -> None:
    read = []

    def endless_and_counted() -> Iterator[bytes]:
        for chunk in endless():
            read.append(len(chunk))
            yield chunk

    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("moved"):
            return httpx.Response(200, content=b"photo")
        return httpx.Response(302, headers={"Location": "/moved"}, content=endless_and_counted())

    assert fetch(ADDRESS, timeout=60, transport=httpx.MockTransport(reply))[1] == b"photo"
    assert not read


@pytest.mark.parametrize("url", ["http://", "http://exa mple/", "http://[::1/a.png"])
def test_a_broken_address_is_told(url: str) -> None:
    with pytest.raises(FetchFailed, match="cannot be fetched"):
        fetch(url, timeout=60)
