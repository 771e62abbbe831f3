"""Keys, and pages of other origins."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_problem, post, service_of
from tests.support.app.services import Serve, occupy
from tests.support.polling import wait_until
from tests.support.variants import long

ORIGIN = "https://example.org"


def test_keys_are_asked_for_where_they_are_set(serve: Serve) -> None:
    with serve(api_keys="alpha, beta") as client:
        assert_problem(post(client), 401, "X-API-Key")
        assert post(client).headers["www-authenticate"] == "Bearer"
        for wrong in ({"X-API-Key": "alphabet"}, {"X-API-Key": ""}, {"Authorization": "Basic beta"}, {"Authorization": "beta"}):
            assert_problem(post(client, headers=wrong), 401)
        assert post(client, headers={"X-API-Key": "alpha"}).status_code == 200
        assert post(client, headers={"Authorization": "bearer  beta"}).status_code == 200
        assert client.post("/segment/batch").status_code == 401
        assert client.get("/health/ready").status_code == 200


def test_the_key_comes_before_readiness_the_query_and_the_body(serve: Serve) -> None:
    with serve(api_keys="alpha", max_upload_mb=0.001) as client:
        service_of(client).draining = True
        arguments: dict[str, Any] = {"content": bytes(2000), "params": {"side": 31}, "headers": {"X-API-Key": "alpha"}}
        for path in ("/segment", "/segment/batch"):
            assert_problem(client.post(path, **arguments | {"headers": {}}), 401)
            assert_problem(client.post(path, **arguments), 503, "draining")
        service_of(client).draining = False
        assert_problem(client.post("/segment", **arguments), 422, "query side")
        assert_problem(client.post("/segment", **arguments | {"params": {}}), 413)


def test_other_origins_may_call_only_where_they_are_allowed(serve: Serve, client: TestClient) -> None:
    headers = {"Origin": ORIGIN}
    assert "access-control-allow-origin" not in client.get("/classes", headers=headers).headers
    with serve(cors_origins=ORIGIN) as open_client:
        answer = open_client.get("/classes", headers=headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert (
            "access-control-allow-origin" not in open_client.get("/classes", headers={"Origin": "https://evil.example"}).headers
        )
    with serve(cors_origins="*") as open_client:
        assert open_client.get("/classes", headers=headers).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", [ORIGIN, *long("https://evil.example", None)])
def test_answers_and_refusals_vary_by_origin(serve: Serve, origin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Origin": origin} if origin else {}
    with serve(cors_origins=ORIGIN, max_queued_tiles=2) as client:
        answers = {200: post(client, headers=headers), 415: post(client, b"x", headers=headers)}
        with occupy(service_of(client), 2):
            answers[503] = post(client, headers=headers)
        monkeypatch.setattr(service_of(client).registry.get().scheduler, "submit", lambda *_: 1 / 0)
        answers[500] = post(client, headers=headers)
    for status, answer in answers.items():
        assert answer.status_code == status
        assert "Origin" in answer.headers["vary"].split(", ")
        assert answer.headers.get("access-control-allow-origin") == (ORIGIN if origin == ORIGIN else None)


def test_refused_preflights_are_problems_with_the_id_that_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve(cors_origins=ORIGIN) as client, caplog.at_level("INFO", "segment"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        response = client.options("/segment", headers=headers)
        assert_problem(response, 400, "SEGMENT_CORS_ORIGINS")
        assert caplog.records[-1].fields["request_id"] == response.headers["x-request-id"]  # type: ignore[attr-defined]
        assert client.options("/segment", headers=headers | {"Origin": ORIGIN}).status_code == 200


def test_a_preflight_without_the_setting_is_told_of_it(client: TestClient) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert_problem(client.options("/segment", headers=headers), 405, "SEGMENT_CORS_ORIGINS")
    assert "SEGMENT_CORS_ORIGINS" not in client.options("/segment").text


GUARDED_PATHS = ("/classes", "/models", "/info", "/metrics", "/docs", "/openapi.json")
OPEN = ("/", "/static/page.js", "/health", "/health/live", "/health/ready")


def test_all_but_health_and_the_page_asks_for_a_key_where_that_is_set(serve: Serve) -> None:
    with serve(api_keys="alpha", protect_all=True) as client:
        for path in GUARDED_PATHS:
            assert_problem(client.get(path), 401, "X-API-Key")
            assert client.head(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": "alpha"}).status_code == 200
            assert client.get(path, headers={"Authorization": "Bearer alpha"}).status_code == 200
        assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)
    with serve(api_keys="alpha") as client:
        assert [client.get(path).status_code for path in GUARDED_PATHS] == [200] * len(GUARDED_PATHS)


def test_the_reference_tells_how_to_send_a_key_where_one_is_asked_for(serve: Serve, client: TestClient) -> None:
    def asking(document: dict[str, Any]) -> set[str]:
        return {path for path, each in document["paths"].items() if any("security" in operation for operation in each.values())}

    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
    with serve(api_keys="alpha") as key_client:
        document = key_client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        assert document["paths"]["/segment"]["post"]["security"] == [{"header": []}, {"bearer": []}]
        assert asking(document) == {"/segment", "/segment/batch"}
    with serve(api_keys="alpha", protect_all=True) as key_client:
        document = key_client.get("/openapi.json", headers={"X-API-Key": "alpha"}).json()
        assert asking(document) == {"/segment", "/segment/batch", "/classes", "/models", "/info", "/metrics"}


def test_the_reference_names_the_prefix_under_which_it_is_served(serve: Serve, client: TestClient) -> None:
    assert "servers" not in client.get("/openapi.json").json()
    scope_client = TestClient(client.app, root_path="/prefix/")
    assert scope_client.get("/openapi.json").json()["servers"] == [{"url": "/prefix"}]


def test_keys_are_told_by_no_route_and_no_log_line(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), serve(api_keys="very-secret") as client:
        for path in (*GUARDED_PATHS, *OPEN, "/nothing"):
            assert "very-secret" not in client.get(path, headers={"X-API-Key": "very-secret"}).text
        post(client, headers={"X-API-Key": "very-secret"})
    assert "very-secret" not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", path, 200) for path in (*GUARDED_PATHS, *OPEN, "/static/icon.svg", "/docs/static/swagger-ui.css")),
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/segment", 405),
        ("POST", "/segment", 400),
        ("POST", "/segment?format=gif", 422),
    ],
)
def test_browsers_guess_no_types_tell_no_addresses_and_frame_nothing(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    policy = response.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert f"frame-ancestors '{'self' if path == '/' else 'none'}'" in policy[0]


def test_unexpected_errors_and_refusals_by_the_head_alone_bear_the_headers_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_body() -> bytes:
        raise OSError("broken")

    with serve(max_queued_tiles=1) as client:
        monkeypatch.setattr(service_of(client).metrics, "text", break_body)
        with occupy(service_of(client)):
            for response, status in ((client.get("/metrics"), 500), (post(client), 503)):
                assert response.status_code == status
                assert response.headers["x-content-type-options"] == "nosniff"


def test_the_references_only_script_in_its_document_is_named_by_its_digest(client: TestClient) -> None:
    response = client.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    directives = response.headers["content-security-policy"].split("; ")
    assert f"script-src 'self' 'sha256-{digest}'" in directives


def test_a_reload_reads_the_file_with_keys_again(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_text("old\nstays\n")

    def status(key: str) -> int:
        return client.post("/segment", content=PHOTO, headers={"X-API-Key": key}).status_code

    with serve(api_keys_file=str(path), protect_all=True) as client:
        assert (status("old"), status("new"), status("stays")) == (200, 401, 200)
        path.write_text("new\nstays\n")
        service_of(client).registry.reload()
        wait_until(lambda: status("new") == 200)
        assert (status("old"), status("stays")) == (401, 200)
        assert client.get("/info", headers={"X-API-Key": "new"}).status_code == 200
        path.write_text("")
        service_of(client).registry.reload()
        wait_until(lambda: "keys are not reloaded: the file has no key" in caplog.text)
        assert (status("new"), status("")) == (200, 401)
