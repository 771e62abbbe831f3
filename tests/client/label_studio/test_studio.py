"""From where the images of tasks are fetched, and who gets Label Studio's key."""

from __future__ import annotations

import base64
import gzip
import json
from contextlib import AbstractContextManager

import pytest
from fcn_client import FetchFailed
from fcn_client.label_studio.studio import Studio

from tests.support import http_servers

TOKEN = "head.payload.signature"


class Asked(http_servers.LoopbackServer):
    """Answers every GET with a few bytes and keeps what came: path and authorization."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.redirect = self.encoding = ""
        super().__init__(Handler)


class Handler(http_servers.Handler):
    server: Asked

    def get(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/data/secret"):
            self.answer(401, b"{}")
        elif self.server.redirect and "presign" in self.path:
            self.answer(303, b"", {"Location": self.server.redirect})
        else:
            self.answer(200, b"photo")

    def post(self) -> None:
        body = json.loads(self.body())
        if encoding := self.server.encoding:
            content = b'{"access": "' + b"x" * (4 << 20) + b'"}'
            for _ in encoding.split(","):
                content = gzip.compress(content)
            self.answer(200, content, {"Content-Encoding": encoding})
            return
        self.server.requests.append((self.path, body["refresh"]))
        self.answer(200, b'{"access": "short-lived"}') if body["refresh"] == TOKEN else self.answer(401, b"{}")


def serving() -> AbstractContextManager[Asked]:
    return http_servers.running(Asked())


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("/data/upload/3/a.jpg", "/data/upload/3/a.jpg"),
        ("upload/3/a.jpg", "/data/upload/3/a.jpg"),
        ("/data/local-files/?d=photos/a.jpg", "/data/local-files/?d=photos/a.jpg"),
    ],
)
def test_paths_are_fetched_from_label_studio_with_its_key(image: str, path: str) -> None:
    with serving() as server:
        assert Studio(server.url, "key").fetch(image, task=7, timeout=60) == b"photo"
        assert server.requests == [(path, "Token key")]


def test_cloud_objects_are_presigned_by_the_task_and_the_cloud_gets_no_key() -> None:
    with serving() as studio, serving() as cloud:
        studio.redirect = f"{cloud.url}/bucket/a.jpg?signature=x"
        assert Studio(studio.url, "key").fetch("s3://bucket/a.jpg", task=7, timeout=60) == b"photo"
        address = base64.urlsafe_b64encode(b"s3://bucket/a.jpg").decode()
        ((path, key),) = studio.requests
        assert (path.replace("%3D", "="), key) == (f"/tasks/7/presign/?fileuri={address}", "Token key")
        assert cloud.requests == [("/bucket/a.jpg?signature=x", None)]


def test_other_hosts_get_no_key() -> None:
    with serving() as studio, serving() as other:
        assert Studio(studio.url, "key").fetch(f"{other.url}/a.jpg", task=7, timeout=60) == b"photo"
        assert (studio.requests, other.requests) == ([], [("/a.jpg", None)])
        assert Studio(studio.url, "key").fetch(f"{studio.url}/a.jpg", task=7, timeout=60) == b"photo"
        assert studio.requests == [("/a.jpg", "Token key")]


def test_a_personal_access_token_is_exchanged() -> None:
    with serving() as server:
        Studio(server.url, TOKEN).fetch("/data/upload/3/a.jpg", task=7, timeout=60)
        assert server.requests == [("/api/token/refresh", TOKEN), ("/data/upload/3/a.jpg", "Bearer short-lived")]
        with pytest.raises(FetchFailed, match="Label Studio refuses the key in LABEL_STUDIO_API_KEY"):
            Studio(server.url, "a.b.c").fetch("/data/upload/3/a.jpg", task=7, timeout=60)


@pytest.mark.parametrize(("encoding", "reason"), [("gzip", "more than 1 MB"), ("gzip, gzip", "in the encoding gzip, gzip")])
def test_a_token_s_answer_is_bounded(encoding: str, reason: str) -> None:
    with serving() as server:
        server.encoding = encoding
        with pytest.raises(FetchFailed, match=reason):
            Studio(server.url, TOKEN).fetch("/data/upload/3/a.jpg", task=7, timeout=60)


def test_a_refused_image_says_which_key_is_needed() -> None:
    with serving() as server, pytest.raises(FetchFailed, match=r"401 .*LABEL_STUDIO_API_KEY is a key of a user"):
        Studio(server.url).fetch("/data/secret/a.jpg", task=7, timeout=60)


@pytest.mark.parametrize(
    ("studio", "image", "message"),
    [
        (Studio(), "/data/upload/3/a.jpg", "set LABEL_STUDIO_URL"),
        (Studio("http://127.0.0.1:1"), "file:///etc/passwd", "is no image's address"),
        (Studio("http://127.0.0.1:1"), "http://[::1/a.jpg", "cannot be fetched"),
        (Studio("http://[::1"), "/data/upload/3/a.jpg", "cannot be fetched"),
    ],
)
def test_what_is_no_address_is_told(studio: Studio, image: str, message: str) -> None:
    with pytest.raises(FetchFailed, match=message):
        studio.fetch(image, task=7, timeout=60)
