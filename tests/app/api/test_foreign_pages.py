"""Pages of other origins, and names that lead to a loopback address: refused, and programs and own pages are not."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.security import is_own_host
from app.settings import Settings
from tests.support.app.exchanges import assert_problem
from tests.support.app.services import Serve

ROUTES = ("/segment", "/segment/batch", "/jobs", "/nothing")
CROSS, SAME = {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"}
PASSED: list[dict[str, str]] = [
    {}, SAME, {"Sec-Fetch-Site": "none"}, SAME | {"Origin": "https://odd.example"},
    {"Origin": "http://localhost"}, {"Origin": "http://localhost:80"}, {"Origin": "https://localhost", "Host": "localhost:443"},
    {"Origin": "http://127.0.0.1:8000", "Host": "127.0.0.1:8000"}, {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
    {"Origin": "https://localhost", "X-Forwarded-Proto": "https"},
    {"Origin": "http://localhost:8000", "X-Forwarded-For": "10.0.0.1"},
]  # fmt: skip
REFUSED: list[dict[str, str]] = [
    CROSS, {"Sec-Fetch-Site": "same-site"}, CROSS | {"Origin": "http://localhost"}, {"Origin": "null"}, {"Origin": ""},
    {"Origin": "http://localhost:81"}, {"Origin": "https://localhost", "Host": "localhost:80"}, {"Origin": "http://127.0.0.1"},
    {"Origin": "http://localhost.evil.example"}, {"Origin": "localhost"}, {"Sec-Fetch-Site": "odd", "Origin": "http://a"},
    CROSS | {"X-API-Key": "abc"}, {"Origin": "http://a", "X-Forwarded-For": "10.0.0.1"},
    {"Origin": "http://localhost:81", "Host": "localhost:80", "X-Forwarded-For": "10.0.0.1"},
]  # fmt: skip


def statuses(client: TestClient, headers: dict[str, str]) -> set[int]:
    deleted = client.delete("/jobs/1", headers=headers).status_code
    return {client.post(path, headers=headers, content=b"", params={"x": 1}).status_code for path in ROUTES} | {deleted}


def test_a_page_of_another_origin_sends_nothing_and_reads_documents(client: TestClient) -> None:
    for headers in PASSED:
        assert 403 not in statuses(client, headers), headers
    for headers in REFUSED:
        assert statuses(client, headers) == {403}, headers
        assert {client.request(method, "/classes", headers=headers).status_code for method in ("GET", "HEAD")} == {200}
    assert_problem(client.post("/segment", headers=CROSS), 403, "another origin", "SEGMENT_CORS_ORIGINS")


def test_a_key_or_an_origin_that_the_operator_names_passes(serve: Serve, tmp_path: Any) -> None:
    with serve(cors_origins="https://own.example, null", api_keys="abc", jobs_dir=tmp_path) as client:
        for origin in ("https://own.example", "null"):
            assert 403 not in statuses(client, CROSS | {"Origin": origin})
        for key in ({"X-API-Key": "abc"}, {"Authorization": "Bearer abc"}):
            assert 403 not in statuses(client, CROSS | {"Origin": "https://other.example"} | key)
        assert statuses(client, CROSS | {"Authorization": "Basic YTpi"}) == {403}
        assert statuses(client, CROSS | {"Origin": "https://other.example"}) == {403}


OWN = (
    "", "localhost", "LOCALHOST:8000", "localhost.", "a.localhost", "127.0.0.1", "127.8.9.10:1", "[::1]", "[::1]:8000",
    "[::ffff:127.0.0.1]", "own.example", "Own.Example:8000", "[fd00::7]:80",
)  # fmt: skip
OTHERS = (
    "x", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "[::]", "10.0.0.1",
    "own.example.evil.example", "[fd00::8]", "evil.example#@localhost", "evil@localhost", "128.0.0.1", "[::2]:1", "health",
)  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "::1", "localhost", "::ffff:127.0.0.1", "127.9.9.9"])
def test_a_service_on_a_loopback_address_answers_for_its_own_hosts_alone(host: str) -> None:
    settings = Settings(host=host, hosts=("OWN.example.", "[fd00:0::7]"))
    assert [each for each in OWN if not is_own_host(each, settings)] == []
    assert [each for each in OTHERS if is_own_host(each, settings)] == []
    assert not is_own_host("own.example", Settings(host=host))
    assert is_own_host("evil.example", Settings(host=host, trusted_proxies=("127.0.0.1",)))


def test_elsewhere_it_answers_for_any_unless_hosts_are_set() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "no.such.host.invalid"):
        assert is_own_host("evil.example", Settings(host=host))
        assert not is_own_host("evil.example", Settings(host=host, hosts=("own.example",)))
        assert is_own_host("10.0.0.9:8000", Settings(host=host, hosts=("own.example",)))  # as Kubernetes' probes ask


def test_every_route_asks_for_the_host_and_haproxy_s_check_passes(client: TestClient) -> None:
    evil = {"Host": "evil.example:8000", **SAME}
    for path in [
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/docs",
        "/static/page.js",
        "/metrics",
        "/classes",
        "/nothing",
    ]:
        assert_problem(client.get(path, headers=evil), 403, "evil.example:8000", "SEGMENT_HOSTS")
    assert statuses(client, evil) == {client.options("/segment", headers=evil).status_code} == {403}
    assert [client.get(f"/{path}", headers={"Host": "health"}).status_code for path in ("health/ready", "info")] == [200, 403]
