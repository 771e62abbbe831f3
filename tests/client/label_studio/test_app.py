"""The routes that Label Studio calls, with its requests, in front of a running service."""

from __future__ import annotations

import base64
import logging
import re
from typing import Any

import numpy as np
import pytest
from fcn_client import SegmentClient
from fcn_client.label_studio.studio import Studio
from PIL import Image, ImageDraw

from tests.support.checkout import ROOT
from tests.support.client.file_server import served_folder
from tests.support.client.label_studio import backend, configuration, decode_brush

PHOTOS = ROOT / "docs" / "photos"
NOWHERE = "http://127.0.0.1:1"
SIZE = (300, 451)


def task(number: int, photo: str) -> dict[str, Any]:
    return {"id": number, "data": {"photo": photo}, "project": 3, "annotations": [], "predictions": []}


def request(tag: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    params = {"login": None, "password": None, "context": None}
    return {"tasks": list(tasks), "project": "3.1", "label_config": configuration(tag), "params": params}


def class_map(url: str, name: str) -> Any:
    with SegmentClient(url) as client:
        return client.segment(PHOTOS / name).class_map


def test_brush_labels_are_the_pixels_of_the_class(live_url: str) -> None:
    with served_folder(PHOTOS) as photos, backend(live_url) as client:
        answer = client.post("/predict", json=request("BrushLabels", task(1, f"{photos}/chelsea.jpg"))).json()
    (prediction,) = answer["results"]
    assert 0 < prediction["score"] < 1
    assert prediction["model_version"].startswith("voc-fcn8s-mobilenet-v2 ")
    mask = np.zeros(SIZE, bool)
    for result in prediction["result"]:
        assert (result["type"], result["from_name"], result["to_name"]) == ("brushlabels", "tag", "img")
        assert (result["original_height"], result["original_width"], result["image_rotation"]) == (*SIZE, 0)
        assert 0 < result["score"] <= 1
        assert (result["value"]["format"], result["value"]["brushlabels"]) == ("rle", ["Cat"])
        mask |= decode_brush(result["value"]["rle"], SIZE)
    np.testing.assert_array_equal(mask, class_map(live_url, "chelsea.jpg") == 8)
    assert len({result["id"] for result in prediction["result"]}) == len(prediction["result"])


def test_polygon_labels_are_in_percent_of_the_image_and_have_the_alias(live_url: str) -> None:
    with served_folder(PHOTOS) as photos, backend(live_url, tolerance=0.0, aliases={"cat": "hound"}) as client:
        answer = client.post("/predict", json=request("PolygonLabels", task(1, f"{photos}/chelsea.jpg"))).json()
    canvas = Image.new("1", SIZE[::-1])
    for result in answer["results"][0]["result"]:
        value = result["value"]
        assert (result["type"], value["polygonlabels"], value["closed"]) == ("polygonlabels", ["hound"], True)
        points = np.array(value["points"])
        assert points.min() >= 0
        assert points.max() <= 100
        pixels = points * [SIZE[1], SIZE[0]] / 100 - 0.5
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in pixels.tolist()], fill=1)
    assert (np.asarray(canvas) != (class_map(live_url, "chelsea.jpg") == 8)).mean() < 0.01


def test_a_task_that_fails_has_no_prediction_and_the_others_keep_their_places(
    live_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served_folder(PHOTOS) as photos, backend(live_url) as client:
        tasks = [
            task(1, f"{photos}/missing.jpg"), task(2, f"{photos}/chelsea.jpg"), task(3, f"{photos}/README.md"),
            {"id": 4, "data": {}}, {"id": 5, "data": None},
        ]  # fmt: skip
        results = client.post("/predict", json=request("BrushLabels", *tasks)).json()["results"]
    assert [bool(result) for result in results] == [False, True, False, False, False]
    assert results[0] == []
    no_text = "its data has no text 'photo'"
    for part in ("task 1: .*404", "task 3: 415", f"task 4: {no_text}", f"task 5: {no_text}"):
        assert [message for message in caplog.messages if re.search(part, message)], part


def test_setup_names_the_model_and_logs_labels_without_a_class_once(live_url: str, caplog: pytest.LogCaptureFixture) -> None:
    body = {"project": "3.1", "schema": configuration("BrushLabels"), "hostname": NOWHERE, "access_token": "key"}
    with backend(live_url) as client, SegmentClient(live_url) as service, caplog.at_level(logging.INFO):
        (model,) = service.models()
        versions = [client.post("/setup", json=body | {"extra_params": None}).json() for _ in range(2)]
        assert versions == [{"model_version": f"{model.name} {model.sha256[:8]}"}] * 2
        assert client.get("/versions").json() == {"versions": [versions[0]["model_version"]]}
        assert client.post("/setup", json=body | {"schema": "<View/>"}).status_code == 200
    assert [message for message in caplog.messages if f"name the model '{model.name} {model.sha256[:8]}'" in message]
    messages = [message for message in caplog.messages if "no class for the labels" in message]
    assert len(messages) == 1
    assert "no class for the labels Tree; classes are background, aeroplane" in messages[0]
    assert [message for message in caplog.messages if "has no BrushLabels" in message]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"options": {"model": "x"}}, "--model must be one of voc-fcn8s-mobilenet-v2, got 'x'"),
        ({"aliases": {"catt": "Cat"}}, "did you mean 'cat'"),
        ({"options": {"min_area": "5m2"}}, "min_area"),
    ],
)
def test_setup_fails_for_what_the_service_lacks(live_url: str, settings: dict[str, Any], message: str) -> None:
    with backend(live_url, **settings) as client:
        answer = client.post("/setup", json={"schema": configuration("BrushLabels")})
    assert answer.status_code == 503
    assert message in answer.json()["error"]


def test_a_service_that_is_not_there_fails_setup_in_time_and_not_health(caplog: pytest.LogCaptureFixture) -> None:
    with backend(NOWHERE) as client:
        assert client.get("/health").json() == {"status": "UP", "model_class": "fcn-segment"}
        assert client.post("/setup", json={"schema": configuration("BrushLabels")}).status_code == 503
        assert client.get("/versions").status_code == 502
    assert [message for message in caplog.messages if f"{NOWHERE} does not answer" in message]


def test_a_key_of_ours_goes_to_no_host_that_a_caller_names(live_url: str) -> None:
    with served_folder(PHOTOS) as photos, backend(live_url, studio=Studio(NOWHERE, "key")) as client:
        client.post("/setup", json={"schema": configuration("BrushLabels"), "hostname": photos, "access_token": "theirs"})
        results = client.post("/predict", json=request("BrushLabels", task(1, "/chelsea.jpg"))).json()["results"]
    assert results == [[]]  # it was asked for at the address of ours, where nobody answers


def test_a_second_setup_cannot_replace_the_address_without_the_password(live_url: str) -> None:
    body = {"schema": configuration("BrushLabels"), "access_token": "theirs"}
    with served_folder(PHOTOS) as photos, backend(live_url) as client:
        assert client.post("/setup", json=body | {"hostname": photos}).status_code == 200
        for hostname in (NOWHERE, "", f"{photos}.example.org"):
            answer = client.post("/setup", json=body | {"hostname": hostname})
            assert (answer.status_code, "set LABEL_STUDIO_URL" in answer.json()["error"]) == (400, True)
        assert client.post("/setup", json=body | {"hostname": photos}).status_code == 200
        (result,) = client.post("/predict", json=request("BrushLabels", task(1, "/chelsea.jpg"))).json()["results"]
        assert result["result"]


def test_with_the_password_setup_may_change_the_address(live_url: str) -> None:
    body = {"schema": configuration("BrushLabels"), "access_token": "theirs"}
    with served_folder(PHOTOS) as photos, backend(live_url, user="studio", password="pass:word") as client:
        client.auth = ("studio", "pass:word")
        for hostname in (NOWHERE, photos):
            assert client.post("/setup", json=body | {"hostname": hostname}).status_code == 200
        (result,) = client.post("/predict", json=request("BrushLabels", task(1, "/chelsea.jpg"))).json()["results"]
        assert result["result"]


def test_events_are_taken_and_nothing_else_happens(live_url: str) -> None:
    with backend(live_url) as client:
        answer = client.post("/webhook", json={"action": "ANNOTATION_CREATED", "annotation": {}, "project": {"id": 3}})
    assert (answer.status_code, answer.json()) == (201, {"status": "ok"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "no JSON"),
        (b"[]", "must be a JSON object"),
        (b"[" * 200_000, "no JSON"),
        (b"{}", "tasks must be a list"),
        (b'{"tasks": [7]}', "tasks must be a list of objects"),
        (b'{"tasks": []}', "is no XML"),
        (b'{"tasks": [], "label_config": 7}', "label_config must be text"),
    ],
)
def test_a_request_that_is_not_label_studios_is_400(live_url: str, content: bytes, message: str) -> None:
    with backend(live_url) as client:
        answer = client.post("/predict", content=content)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_with_a_password_every_route_needs_it(live_url: str) -> None:
    with backend(live_url, user="studio", password="pass:word") as client:
        assert client.get("/health", auth=("studio", "pass:word")).status_code == 200
        for answer in (
            client.get("/health"),
            client.get("/health", auth=("studio", "wrong")),
            client.post("/predict", json={}, headers={"Authorization": "Basic ???"}),
            client.get("/health", headers={"Authorization": b"Basic \xe9\xe9\xe9\xe9"}),
            client.get("/health", headers={"Authorization": f"Bearer {base64.b64encode(b'studio:pass:word').decode()}"}),
        ):
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Basic")
