"""The proxies of `deploy/` open the routes of clients and no other, however it is spelled, and say who sent a request."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.support.deploy.files import JOBS
from tests.support.deploy.proxies import PROXIES, balanced
from tests.support.images import camera_photo
from tests.support.polling import HANG_S, wait_until
from tests.support.servers import Process, fcn_serve

pytestmark = pytest.mark.long
HIDDEN = "/metrics"
PHOTO = camera_photo(2000, 3100, 85)  # 5 MB, as of a phone
PAGES = {"/", "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/static/page.js", "/static/samples/LICENSE.md"}
SPELLINGS = r"""
    {path} {path}? {path}?x=1 {path}/ {path}// {path}/. {path}/x/.. {path};x {path};x=1 {path}%3b {path}%3fx {path}%00
    {path}%0a {path}%0d%0a {path}%20 {path}%23 {path}# {path}#/../segment {path}\ {path}%5c {path}%2f {path}/../segment
    {path}%2f..%2fsegment {path}/%2e%2e/segment {path}. {path}~ /{path} //{path} /.{path} /./{path} /x/..{path} /x/../{path}
    /..{path} /%2e{path} /%2e%2e{path} /%2f{path} /%5c{path} \{path} /\{path} /segment/..{path} /segment/%2e%2e{path}
    /segment/.%2e{path} /segment%2f..{path} /segment;{path} /segment#{path} /segment#/..{path} /static/..{path}
    /static/%2e%2e{path} /static/..%2f{word} /static/x/../..{path} /static/..\{word} /static/..%5c{word}
    /docs/static/../..{path} /static{path} {encoded} {Encoded} {twice} {first} {last} {upper} {title} /%C1%AD{rest}
    /%u006d{rest} /m%00{rest} http://h{path} http://h/{path} HTTP://h{path} http://h{encoded} http://h/segment/..{path}
    http://u@h{path} https://h{path} //h{path} http:{path} http:{word} http://{path} ftp://h{path} {word} *
    http://h/segment?http://h{path}
"""


class Target(NamedTuple):
    """What `balanced` gives, and the service behind it."""

    url: str
    service: Process
    proxy_log: Path

    def ask(self, target: str, method: str = "GET") -> bytes:
        """The raw answer to a request with this target, with headers that a client may forge."""
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), timeout=HANG_S) as connection:
            forged = "X-Original-URL: /metrics\r\nX-Rewrite-URL: /metrics\r\n"
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{forged}Connection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def lines(self) -> list[dict[str, Any]]:
        """The service's log lines of requests."""
        *lines, _ = self.service.log.read_text().split("\n")
        return [entry for line in lines if line.startswith("{") and (entry := json.loads(line))["message"] == "request"]


@pytest.fixture(scope="module", params=PROXIES)
def target(request: pytest.FixtureRequest, narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A proxy before one service, which logs every request and believes the proxy."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"log_level": "debug", "log_format": "json", "trusted_proxies": "127.0.0.1", "jobs_dir": folder / "jobs"}
    with ExitStack() as stack:
        service = stack.enter_context(fcn_serve(narrow_file, folder, tile=512, **settings))
        url = stack.enter_context(balanced(request.param, service, service, folder))
        yield Target(url, service, folder / "proxy.log")


def spelled(path: str) -> list[str]:
    word = path[1:]
    octets = [f"%{ord(letter):02x}" for letter in word]
    return [
        spelling.format(
            path=path, word=word, rest=word[1:], encoded=f"/{''.join(octets)}", Encoded=f"/{''.join(octets).upper()}",
            twice=f"/{''.join(octets).replace('%', '%25')}", first=f"/{octets[0]}{word[1:]}", last=f"/{word[:-1]}{octets[-1]}",
            upper=path.upper(), title=path.title(),
        )
        for spelling in SPELLINGS.split()
    ]  # fmt: skip


def test_no_spelling_of_a_hidden_route_reaches_the_service(target: Target) -> None:
    first = {"X-Request-ID": "first"}
    assert b"segment_ready" in httpx.get(f"{target.service.url}{HIDDEN}", headers=first, timeout=HANG_S).content
    wait_until(lambda: any(line["request_id"] == "first" for line in target.lines()))
    before = len(target.lines())
    for method in ("GET", "HEAD", "POST"):
        for spelling in spelled(HIDDEN):
            answer = target.ask(spelling, method)
            assert b"segment_ready" not in answer, spelling
            assert re.match(rb"HTTP/1.[01] [45]\d\d ", answer) or b"/segment" in spelling.encode(), spelling
    httpx.get(f"{target.service.url}/classes", headers={"X-Request-ID": "last"}, timeout=HANG_S)
    wait_until(lambda: any(line["request_id"] == "last" for line in target.lines()))
    reached = {line["path"] for line in target.lines()[before:]} - {"/classes", "/health/live", "/health/ready"}
    assert reached <= {"/segment", f"/static{HIDDEN}"}  # targets whose path is open


def test_the_routes_of_clients_are_open_as_they_are(target: Target) -> None:
    paths = JOBS | set(create_app(Settings()).openapi()["paths"])
    routes = {path.replace("{id}", "0" * 32).replace("{model}", "x").replace("{output}", "tif") for path in paths}
    with httpx.Client(timeout=HANG_S) as client:
        for path in (routes | PAGES) - {HIDDEN}:
            through, direct = (client.get(f"{url}{path}") for url in (target.url, target.service.url))
            assert (through.status_code, through.headers["x-request-id"] != "") == (direct.status_code, True), path
        through = client.get(f"{target.url}/classes?x=%2e%2e/metrics")
        assert through.status_code == client.get(f"{target.service.url}/classes?x=1").status_code
        assert client.post(f"{target.url}/segment?format=json", content=PHOTO).json()["image"]["width"] == 3100


def test_other_paths_are_closed_also_where_the_service_has_them_one_day(target: Target) -> None:
    for path in ("/v1", "/predictions/", "/invocations", "/predict", "/admin", "/static", "/static/", "/segments", "/jobs/"):
        assert b" 404 " in target.ask(path).split(b"\r\n")[0], path
    assert not {line["path"] for line in target.lines()} & {"/predictions/", "/admin"}


def test_the_sender_is_found_by_the_request_s_id(target: Target) -> None:
    """From an address of its own, so that the client's address is not the proxy's."""
    forged = {"X-Request-ID": "forged", "X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
    with httpx.Client(timeout=HANG_S, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as client:
        answer = client.post(f"{target.url}/segment?successUri=s3cret", content=PHOTO, headers=forged)
    request_id = answer.headers["x-request-id"]
    assert request_id != "forged"

    def logged() -> list[dict[str, Any]]:
        return [line for line in target.lines() if line["request_id"] == request_id]

    wait_until(lambda: logged() and request_id in target.proxy_log.read_text())
    assert [line["client"] for line in logged()] == ["127.0.0.2"]
    (line,) = (line for line in target.proxy_log.read_text().splitlines() if request_id in line)
    assert "127.0.0.2" in line
    assert line.endswith(f" {request_id}")
    assert "POST" in line
    log = target.service.log.read_text()
    assert "forged" not in log
    assert "s3cret" not in line + log
