"""Keys, pages of other origins, and the headers that limit what browsers do."""

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

ORIGIN = "https://example.org"
GUARDED_PATHS = ("/classes", "/models", "/info", "/metrics", "/docs", "/openapi.json")
ASKING = {"/segment", "/segment/batch", "/v1/models", "/v1/models/{id}/info", "/v1/predict", "/predictions/{model}"}
OPEN = ("/ping", "/", "/static/page.js", "/health", "/health/live", "/health/ready")


def asking(document: dict[str, Any]) -> set[str]:
    """The paths of the API reference that need a key."""
    return {path for path, each in document["paths"].items() if any("security" in operation for operation in each.values())}


def test_keys_are_asked_for_where_they_are_set_before_all_else_and_told_nowhere(
    serve: Serve, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
    with caplog.at_level("DEBUG"), serve(api_keys="very-secret, beta", max_upload_mb=0.02) as key_client:
        assert_problem(post(key_client), 401, "X-API-Key")
        assert post(key_client).headers["www-authenticate"] == "Bearer"
        for wrong in ({"X-API-Key": "betas"}, {"X-API-Key": ""}, {"Authorization": "Basic beta"}, {"Authorization": "beta"},
                      {"Token": "wrong", "Authorization": "Bearer beta"}, {"X-API-Key": "wrong", "Token": "beta"}):  # fmt: skip
            assert_problem(post(key_client, headers=wrong), 401)
        assert post(key_client, headers={"X-API-Key": "very-secret"}).status_code == 200
        assert post(key_client, headers={"Token": "beta", "Authorization": "Bearer wrong"}).status_code == 200
        assert post(key_client, headers={"Authorization": "bearer  beta"}).status_code == 200
        for path in (*GUARDED_PATHS, *OPEN, "/nothing"):
            answer = key_client.get(path, headers={"X-API-Key": "very-secret"})
            assert answer.status_code == 200 or path == "/nothing"
            assert "very-secret" not in answer.text
        document = key_client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        assert document["paths"]["/segment"]["post"]["security"] == [{"header": []}, {"bearer": []}]
        assert asking(document) == ASKING
        service_of(key_client).draining = True
        arguments: dict[str, Any] = {"content": bytes(20_001), "params": {"side": 31}, "headers": {"X-API-Key": "beta"}}
        for path in ("/segment", "/segment/batch"):
            assert_problem(key_client.post(path, **arguments | {"headers": {}}), 401)
            assert_problem(key_client.post(path, **arguments), 503, "draining")
        service_of(key_client).draining = False
        assert_problem(key_client.post("/segment", **arguments), 422, "query side")
        assert_problem(key_client.post("/segment", **arguments | {"params": {}}), 413)
    assert "very-secret" not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


def test_all_but_health_and_the_page_asks_for_a_key_where_that_is_set(serve: Serve) -> None:
    with serve(api_keys="alpha", protect_all=True) as client:
        for path in GUARDED_PATHS:
            assert_problem(client.get(path), 401, "X-API-Key")
            assert client.head(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": "alpha"}).status_code == 200
        assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)
        document = client.get("/openapi.json", headers={"Authorization": "Bearer alpha"}).json()
        assert asking(document) == ASKING | {"/classes", "/models", "/info", "/metrics"}


def test_other_origins_may_call_only_where_they_are_allowed(
    serve: Serve, client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own, foreign = {"Origin": ORIGIN}, {"Origin": "https://evil.example"}
    preflight = {"Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/classes", headers=own).headers
    assert_problem(client.options("/segment", headers=own | preflight), 405, "SEGMENT_CORS_ORIGINS")
    assert "SEGMENT_CORS_ORIGINS" not in client.options("/segment").text
    with serve(cors_origins=ORIGIN, max_queued_tiles=2) as open_client, caplog.at_level("INFO", "segment"):
        refusal = open_client.options("/segment", headers=foreign | preflight)
        assert_problem(refusal, 400, "SEGMENT_CORS_ORIGINS")
        assert caplog.records[-1].fields["request_id"] == refusal.headers["x-request-id"]  # type: ignore[attr-defined]
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "range, x-api-key"}
            assert open_client.options("/segment", headers=own | asked).status_code == 200
        answers = {(200, ORIGIN): post(open_client, headers=own), (403, None): post(open_client, headers=foreign)}
        answers[415, ORIGIN] = post(open_client, b"x", headers=own)
        with occupy(service_of(open_client), 2):
            answers[503, ORIGIN] = post(open_client, headers=own)
        monkeypatch.setattr(service_of(open_client).registry.get().scheduler, "submit", lambda *_: 1 / 0)
        answers[500, ORIGIN] = post(open_client, headers=own)
    shown = answers[200, ORIGIN].headers["access-control-expose-headers"].lower().split(", ")
    assert {"x-request-id", "content-range"} <= {*shown}
    for (status, origin), answer in answers.items():
        assert answer.status_code == status
        assert "Origin" in answer.headers["vary"].split(", ")
        assert answer.headers.get("access-control-allow-origin") == origin
    with serve(cors_origins="*") as open_client:
        assert open_client.get("/classes", headers=foreign).headers["access-control-allow-origin"] == "*"


def test_the_reference_names_the_prefix_under_which_it_is_served(client: TestClient) -> None:
    assert "servers" not in client.get("/openapi.json").json()
    scope_client = TestClient(client.app, "http://localhost", root_path="/prefix")
    assert scope_client.get("/openapi.json").json()["servers"] == [{"url": "/prefix"}]


def test_browsers_guess_no_types_tell_no_addresses_and_frame_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(max_queued_tiles=1) as client:
        paths = {path: client.get(path) for path in (*GUARDED_PATHS, *OPEN, "/docs/static/swagger-ui.css", "/nothing")}
        paths |= {"/segment": client.get("/segment"), "POST": client.post("/segment")}
        monkeypatch.setattr("app.telemetry.generate_latest", lambda registry: 1 / 0)
        with occupy(service_of(client)):
            paths |= {"500": client.get("/metrics"), "503": post(client)}
    assert {response.status_code for response in paths.values()} == {200, 400, 404, 405, 500, 503}
    for path, response in paths.items():
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        (policy,) = response.headers.get_list("content-security-policy")
        assert "default-src 'none'" in policy
        assert f"frame-ancestors '{'self' if path == '/' else 'none'}'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", paths["/docs"].text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    directives = paths["/docs"].headers["content-security-policy"].split("; ")
    assert f"script-src 'self' 'sha256-{digest}'" in directives


def test_a_reload_reads_the_file_with_keys_again(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_text("old\nstays\n")

    def status(key: str) -> int:
        return client.post("/segment", content=PHOTO, headers={"X-API-Key": key}).status_code

    with serve(api_keys_file=str(path)) as client:
        assert (status("old"), status("new"), status("stays")) == (200, 401, 200)
        path.write_text("new\nstays\n")
        service_of(client).registry.reload()
        wait_until(lambda: status("new") == 200)
        assert (status("old"), status("stays")) == (401, 200)
        path.write_text("")
        service_of(client).registry.reload()
        wait_until(lambda: "keys are not reloaded: the file has no key" in caplog.text)
        assert (status("new"), status("")) == (200, 401)
