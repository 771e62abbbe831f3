"""Keys, and pages of other origins."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.asking import assert_problem, post, service_of
from tests.app.conftest import Serve

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
        asked: dict[str, Any] = {"content": bytes(2000), "params": {"side": 31}, "headers": {"X-API-Key": "alpha"}}
        for path in ("/segment", "/segment/batch"):
            assert_problem(client.post(path, **asked | {"headers": {}}), 401)
            assert_problem(client.post(path, **asked), 503, "draining")
        service_of(client).draining = False
        assert_problem(client.post("/segment", **asked), 422, "query side")
        assert_problem(client.post("/segment", **asked | {"params": {}}), 413)


def test_other_origins_may_call_only_where_they_are_allowed(serve: Serve, client: TestClient) -> None:
    asked = {"Origin": ORIGIN}
    assert "access-control-allow-origin" not in client.get("/classes", headers=asked).headers
    with serve(cors_origins=ORIGIN) as open_client:
        answer = open_client.get("/classes", headers=asked)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert (
            "access-control-allow-origin" not in open_client.get("/classes", headers={"Origin": "https://evil.example"}).headers
        )
    with serve(cors_origins="*") as open_client:
        assert open_client.get("/classes", headers=asked).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.example", None])
def test_answers_and_refusals_vary_by_origin(serve: Serve, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    with serve(cors_origins=ORIGIN, max_queued_tiles=2) as client:
        admission = service_of(client).admission
        answers = {200: post(client, headers=headers), 415: post(client, b"x", headers=headers)}
        reservations = [admission.reserve(1e9) for _ in range(2)]
        answers[503] = post(client, headers=headers)
        for reservation in reservations:
            admission.release(reservation, done=False)
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
