"""Health, classes, info, metrics, the API reference and the page's files."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from pycocotools import mask as coco

from app.errors import FOREIGN, SEGMENT_PROBLEMS, Problem
from app.examples import segmentation
from app.schemas import SegmentAnswer
from app.service import Service
from imaging.errors import ImageError
from tests.app.conftest import Serve
from tests.conftest import NAMES, encoded, make_photo


def test_health_tells_device_queue_and_uptime(client: TestClient) -> None:
    health = client.get("/health").json()
    assert health["live"] == health["ready"] == {"status": "ok", "reason": None}
    assert (health["device"], health["queued_tiles"]) == ("cpu", 0)
    assert health["uptime_s"] >= 0


def test_draining_is_live_but_not_ready(serve: Serve) -> None:
    with serve() as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        service.draining = True
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health").json()["ready"]["reason"] == "draining: the service is stopping"


def test_a_dead_inference_thread_is_not_live(serve: Serve) -> None:
    with serve() as client:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        assert service.engine
        service.engine.stop()
        response = client.get("/health/live")
        assert response.status_code == 503
        assert "inference thread" in response.json()["detail"]


def test_classes_are_the_label_set(client: TestClient) -> None:
    assert [entry["name"] for entry in client.get("/classes").json()] == NAMES
    assert client.get("/classes").json()[1] == {"id": 1, "name": "circle", "color": "#800000"}


def test_info_tells_model_device_limits_and_versions(client: TestClient, service: Service) -> None:
    assert service.predictor
    info = client.get("/info").json()
    assert info["model"] == {"name": "narrow", "sha256": service.predictor.weights.sha256}
    assert info["architecture"]["variant"] == "fcn8s"
    assert (info["device"], info["dtype"], info["tile"]) == ("cpu", "float32", [96, 96])
    assert info["preprocessing"]["side"] == [64, 128]
    assert info["limits"]["max_megapixels"] == 100
    assert {"python", "torch", "fcn-segment"} <= set(info["versions"])
    assert "command" not in info["training"]


def test_every_foreign_error_has_a_problem() -> None:
    def leaves(kind: type[Exception]) -> set[type[Exception]]:
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    assert leaves(ImageError) <= set(FOREIGN)


def test_the_api_reference_shows_an_example_of_every_answer(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/segment"]["post"]
    statuses = {kind.status for kind in SEGMENT_PROBLEMS}
    assert statuses == {400, 401, 406, 408, 412, 413, 415, 422, 503, 504}
    for status in statuses:
        example = operation["responses"][str(status)]["content"]["application/problem+json"]["example"]
        assert example["status"] == status
        assert example["detail"]
    assert set(operation["responses"]["200"]["content"]) == {"image/png", "application/json", "application/x-npz"}
    assert "multipart/form-data" in operation["requestBody"]["content"]
    contract = "format mask blend overlap side alpha"
    beside = "confidence probabilities min_confidence tolerance model"
    assert {parameter["name"] for parameter in operation["parameters"]} == set(f"{contract} {beside}".split())


def test_the_json_example_and_real_answers_fit_the_schema(client: TestClient) -> None:
    example = SegmentAnswer.model_validate(segmentation())
    assert example.class_map.encoding == "rle"
    counts = example.class_map.counts["8"].encode()
    assert coco.decode({"size": [3, 4], "counts": counts}).sum() == 7
    for mask in ("rle", "png", "array", "polygons"):
        query = {"format": "json", "mask": mask, "confidence": mask == "png"}
        body = client.post("/segment", params=query, content=encoded(make_photo(40, 50))).content
        assert json.loads(SegmentAnswer.model_validate_json(body).model_dump_json(exclude_none=True)) == json.loads(body)


def test_examples_of_errors_are_what_the_service_says(client: TestClient) -> None:
    answers = {
        415: client.post("/segment", content=b"text"),
        405: client.get("/segment"),
        406: client.post("/segment", content=b"x", headers={"Accept": "text/csv"}),
        422: client.post("/segment?format=gif", content=b"x"),
    }
    kinds = {kind.status: kind for kind in Problem.__subclasses__()}
    for status, answer in answers.items():
        assert (answer.status_code, answer.json()["title"]) == (status, kinds[status].title)
        assert answer.json()["detail"] == kinds[status].example


@pytest.mark.parametrize("path", ["/", "/docs", "/static/page.js", "/static/page.css", "/docs/static/swagger-ui-bundle.js"])
def test_the_page_and_the_reference_come_from_this_server(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    if path in ("/", "/docs"):
        assert 'src="http' not in response.text
        assert 'href="http' not in response.text


def test_the_page_has_a_strict_policy(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_route_of_the_contract_is_there(client: TestClient) -> None:
    paths = set(client.get("/openapi.json").json()["paths"])
    state = {"/health", "/health/live", "/health/ready", "/classes", "/info", "/models", "/metrics"}
    assert paths == state | {"/segment", "/segment/batch"}
    for path in state:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/health/ready", "/classes", "/metrics", "/openapi.json"])
def test_head_is_answered_as_get(client: TestClient, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.headers["content-type"]) == (200, get.headers["content-type"])
    assert client.head("/segment").status_code == 405
