"""Keys, and pages of other origins."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.app.asking import assert_problem, post
from tests.app.conftest import Serve


def test_keys_are_asked_for_where_they_are_set(serve: Serve) -> None:
    with serve(api_keys="alpha, beta") as client:
        assert_problem(post(client), 401, "X-API-Key")
        assert_problem(post(client, side=31), 401, "X-API-Key")
        assert_problem(post(client, headers={"X-API-Key": "alphabet"}), 401)
        assert post(client).headers["www-authenticate"] == "Bearer"
        assert post(client, headers={"X-API-Key": "alpha"}).status_code == 200
        assert post(client, headers={"Authorization": "Bearer beta"}).status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_other_origins_may_call_only_where_they_are_allowed(serve: Serve, client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/classes", headers=origin).headers
    with serve(cors_origins="https://example.org") as open_client:
        answer = open_client.get("/classes", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_refused_preflights_are_problems_with_the_id_that_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve(cors_origins="https://example.org") as client, caplog.at_level("INFO", "segment"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        response = client.options("/segment", headers=headers)
        assert_problem(response, 400, "SEGMENT_CORS_ORIGINS")
        assert caplog.records[-1].fields["request_id"] == response.headers["x-request-id"]  # type: ignore[attr-defined]
