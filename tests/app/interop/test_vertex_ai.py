"""Vertex AI's contract: the health route, and the predict route with instances or a raw body."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, count_of, metric, rejections, service_of
from tests.support.app.services import Serve, module_client, reserve
from tests.support.images import encode, make_photo

TEXT = base64.b64encode(PHOTO).decode()


client = module_client(platform="vertex_ai")


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def predict(client: Any, *instances: object, **parameters: object) -> Any:
    return client.post("/predict", json={"instances": instances} | ({"parameters": parameters} if parameters else {}))


def segment(client: Any, data: bytes = PHOTO, **query: object) -> Any:
    return client.post("/segment", content=data, params=query)


def test_an_image_comes_in_each_documented_form(client: TestClient) -> None:
    instances = [
        TEXT,
        {"b64": TEXT},
        {"content": TEXT},
        {"image_bytes": {"b64": TEXT}},
        {"key": 1, "image_bytes": {"b64": TEXT}},
    ]
    assert predict(client, *instances).json() == {"predictions": [segment(client, format="json").json()] * 5}
    photo = encode(make_photo(400, 500), "BMP")  # above 64 KiB
    assert predict(client, b64(photo)).json() == {"predictions": [segment(client, photo, format="json").json()]}


def test_predictions_are_in_the_order_of_instances(client: TestClient) -> None:
    images = [encode(make_photo(30 + 40 * (i % 3), 40, seed=i)) for i in range(12)]
    predictions = predict(client, *map(b64, images)).json()["predictions"]
    assert predictions == [segment(client, image, format="json").json() for image in images]


def test_bytes_are_base64_and_a_cutout_says_where_its_object_is(client: TestClient) -> None:
    for query in ({"format": "npz"}, {"format": "cutout", "classes": "circle"}, {"format": "cutout", "classes": "square"}):
        (prediction,) = predict(client, b64(PHOTO), **query).json()["predictions"]
        answer = segment(client, **query)
        assert base64.b64decode(prediction.pop("b64"), validate=True) == answer.content
        box = ",".join(map(str, prediction.pop("box", None) or ("none",)))
        assert box == answer.headers.get("x-object-box", "none")
        assert prediction == {}


def test_parameters_are_those_of_the_query(client: TestClient) -> None:
    parameters = {"format": "coco", "side": 64, "min_confidence": 0.2}
    (prediction,) = predict(client, b64(PHOTO), **parameters).json()["predictions"]
    assert prediction == segment(client, **parameters).json()
    query = client.post("/predict", params={"format": "coco"}, json={"instances": [TEXT]}).json()
    assert query["predictions"] == [segment(client, format="coco").json()]


def test_a_raw_body_is_answered_as_by_segment(client: TestClient) -> None:
    query = {"format": "json", "mask": "polygons"}
    expected = segment(client, **query)
    for body in ({"content": PHOTO}, {"files": {"file": ("photo", PHOTO)}}):
        answer = client.post("/predict", params=query, **body)
        assert (answer.content, answer.headers["etag"]) == (expected.content, expected.headers["etag"])
    assert_problem(client.post("/predict", content=b"no image"), 415)


BAD_INSTANCES: list[tuple[object, int]] = [
    (b64(b"text"), 415), (b64(PHOTO[:200]), 422), (b64(b""), 400), ({"b64": "%%%"}, 400), ("é", 400), ({"image": TEXT}, 400),
    (7, 400), ({"b64": None}, 400),
]  # fmt: skip


def test_a_bad_instance_fails_the_request_with_its_index(client: TestClient) -> None:
    for instance, status in BAD_INSTANCES:
        before, answers = sum(rejections(client).values()), count_of(client, status, "/predict")
        assert_problem(predict(client, b64(PHOTO), instance, b64(PHOTO)), status, "instances[1]: ")
        assert sum(rejections(client).values()) == before + 1
        assert count_of(client, status, "/predict") == answers + 1


BAD_BODIES = [
    (b"\xff\xd8\xff", 400, "not JSON"),
    (b'{"instances": {"b64": ""}}', 400, "instances"),
    (b'{"instances": []}', 400, "instances"),
    (json.dumps({"instances": [""] * 101}).encode(), 413, "more than 100 images"),
    (json.dumps({"instances": [TEXT], "parameters": {"alpha": 7}}).encode(), 422, "parameters alpha"),
    (json.dumps({"instances": [TEXT] * 4, "parameters": {"classes": "ab" * 1_000_000}}).encode(), 422, "4096"),
    (b'{"instances": ["' + b"A" * 10_000_000 + b'"]}', 413, "10 MB"),
]


def test_a_bad_body_is_a_problem_before_any_image_is_worked_on(client: TestClient) -> None:
    for body, status, words in BAD_BODIES:
        before, tiles = sum(rejections(client).values()), metric(client, "segment_tiles_total")
        answer = client.post("/predict", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
        assert_problem(answer, status, words)
        assert (sum(rejections(client).values()), metric(client, "segment_tiles_total")) == (before + 1, tiles)
    assert_idle(service_of(client))


def test_predictions_larger_than_vertex_ai_carries_are_413(client: TestClient) -> None:
    photo = encode(np.zeros((1000, 1500, 3), np.uint8))
    assert_problem(predict(client, *[b64(photo)] * 4, format="json", mask="array"), 413, "predictions", "10 MB")
    assert_idle(service_of(client))


def test_instances_that_no_memory_is_left_for_are_503_or_413_where_there_is_never_enough(serve: Serve) -> None:
    with serve(platform="vertex_ai", memory_mb=250) as client:
        service = service_of(client)
        service.admission.most_bodies = 16 * len(TEXT)
        with reserve(service) as other:
            other.set_body(12 * len(TEXT))
            assert_problem(predict(client, TEXT, TEXT), 503, "memory")
        service.admission.most_bodies = 4 * len(TEXT)
        assert_problem(predict(client, TEXT, TEXT), 413, "SEGMENT_MEMORY_MB")
        assert_idle(service)


def test_keys_are_asked_for_by_predict_alone(serve: Serve) -> None:
    with serve(platform="vertex_ai", api_keys="secret", vertex_health_route="/alive") as client:
        assert client.get("/alive").status_code == 200
        assert_problem(predict(client, TEXT), 401)
        answer = client.post("/predict", json={"instances": [TEXT]}, headers={"Authorization": "Bearer secret"})
        assert answer.status_code == 200


def test_paths_of_the_service_may_be_the_platforms(serve: Serve) -> None:
    routes = {"vertex_predict_route": "/segment", "vertex_health_route": "/health"}
    with serve(platform="vertex_ai", **routes) as client:
        assert client.get("/health").json() == client.get("/health/ready").json()
        answer = client.post("/segment", json={"instances": [TEXT]})
        assert answer.json() == {"predictions": [segment(client, format="json").json()]}
        assert client.get("/openapi.json").status_code == 200
