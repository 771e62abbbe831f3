"""`POST /segment`: every format, parameter and header of the contract."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from app.service import Service
from model.segmentation import Options, plan_image, run_in_batches, segment
from tests.app.asking import PHOTO, assert_problem, pixels, post
from tests.conftest import Pixels, encoded, make_photo


def expected_map(service: Service, image: Pixels, **options: Any) -> Pixels:
    """The class map by the corridor's own functions, without the web."""
    assert service.predictor
    manifest = service.predictor.manifest
    plan = plan_image(image.shape[:2], Options(**({"tile": (96, 96)} | options)), manifest.preprocessing.side)
    return segment(image, plan, run_in_batches(service.predictor), num_classes=4, grid="corner").class_map


def test_the_mask_is_an_8_bit_palette_png_of_the_images_size_with_class_ids(client: TestClient, service: Service) -> None:
    response = post(client)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    mask = Image.open(io.BytesIO(response.content))
    assert (mask.mode, mask.size, response.content[24]) == ("P", (130, 90), 8)
    assert len(mask.getpalette() or []) == 768
    expected = expected_map(service, make_photo(90, 130))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(np.asarray(mask), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 32), (33, 500), (500, 375), (90, 1), (1, 200)])
def test_every_size_comes_back_as_it_was(client: TestClient, height: int, width: int) -> None:
    assert pixels(post(client, encoded(make_photo(height, width))).content).shape == (height, width)


@pytest.mark.parametrize(
    "query", [{"blend": "hann"}, {"overlap": 0.5}, {"side": 300}, {"side": "native"}, {"overlap": 0}], ids=str
)
def test_tiling_parameters_do_what_they_do_in_the_corridor(client: TestClient, service: Service, query: dict[str, Any]) -> None:
    image = make_photo(120, 210)
    np.testing.assert_array_equal(pixels(post(client, encoded(image), **query).content), expected_map(service, image, **query))


def test_the_three_encodings_hold_the_class_map_of_the_png(client: TestClient) -> None:
    mask = pixels(post(client).content)
    answers = {name: post(client, format="json", mask=name).json() for name in ("rle", "png", "array")}
    rle = answers["rle"]["class_map"]
    assert rle["size"] == [90, 130]
    decoded = np.full(mask.shape, 255, np.uint8)
    for class_id, counts in rle["counts"].items():
        decoded[coco.decode({"size": rle["size"], "counts": counts.encode()}) == 1] = int(class_id)
    np.testing.assert_array_equal(decoded, mask)
    np.testing.assert_array_equal(pixels(base64.b64decode(answers["png"]["class_map"]["data"])), mask)
    np.testing.assert_array_equal(np.array(answers["array"]["class_map"]["data"]), mask)


def test_json_tells_model_image_classes_and_tiling(client: TestClient, service: Service) -> None:
    assert service.predictor
    answer = post(client, format="json").json()
    assert set(answer) == {"model", "image", "classes", "class_map", "tiling"}
    assert answer["model"] == {"name": "narrow", "sha256": service.predictor.weights.sha256}
    assert answer["image"] == {"width": 130, "height": 90}
    assert answer["tiling"] == {"side": [89, 128], "tile": [96, 96], "overlap": 0.25, "blend": "mean", "tiles": 2}
    sizes = [entry["pixels"] for entry in answer["classes"]]
    assert sum(sizes) == 130 * 90
    assert sizes == sorted(sizes, reverse=True)
    assert set(answer["classes"][0]) == {"id", "name", "color", "pixels", "fraction", "mean_confidence", "bbox"}
    assert {str(entry["id"]) for entry in answer["classes"]} == set(answer["class_map"]["counts"])


def test_mean_confidence_is_that_of_the_confidence_image(client: TestClient) -> None:
    mask, confidence = pixels(post(client).content), pixels(post(client, format="confidence").content)
    assert confidence.dtype == np.uint8
    for entry in post(client, format="json").json()["classes"]:
        assert entry["mean_confidence"] == pytest.approx(confidence[mask == entry["id"]].mean() / 255, abs=0.003)


def test_color_and_overlay_show_the_palette(client: TestClient, service: Service) -> None:
    assert service.predictor
    mask = pixels(post(client).content)
    colors = np.array(service.predictor.manifest.labels.palette, np.uint8)[mask]
    np.testing.assert_array_equal(pixels(post(client, format="color").content), colors)
    np.testing.assert_array_equal(pixels(post(client, format="overlay", alpha=1).content), colors)
    np.testing.assert_array_equal(pixels(post(client, format="overlay", alpha=0).content), make_photo(90, 130))


@pytest.mark.parametrize("field", ["file", "image"])
def test_the_image_may_be_in_either_field(client: TestClient, field: str) -> None:
    assert post(client, field=field).content == post(client).content


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_a_raw_body_is_judged_by_its_bytes(client: TestClient, content_type: str) -> None:
    response = client.post("/segment", content=PHOTO, headers={"Content-Type": content_type})
    assert response.content == post(client).content


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.2, */*", "image/png"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "image/png"),
    ],
)
def test_accept_chooses_between_png_and_json(client: TestClient, accept: str, media_type: str) -> None:
    assert post(client, headers={"Accept": accept}).headers["content-type"] == media_type


def test_format_beats_accept(client: TestClient) -> None:
    assert post(client, headers={"Accept": "text/csv"}, format="png").headers["content-type"] == "image/png"


def test_a_sane_request_id_is_echoed_and_another_replaced(client: TestClient) -> None:
    assert post(client, headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 129, "<script>"):
        answered = client.get("/nothing", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert answered != bad
        assert len(answered) == 32


def test_server_timing_names_the_four_stages(client: TestClient) -> None:
    parts = dict(part.split(";dur=") for part in post(client).headers["server-timing"].split(", "))
    assert list(parts) == ["decode", "queue", "inference", "encode"]
    assert all(float(value) >= 0 for value in parts.values())
    assert float(parts["inference"]) > 0


def test_equal_requests_give_equal_bytes(client: TestClient) -> None:
    for query in ({}, {"format": "json"}, {"format": "overlay"}):
        assert post(client, **query).content == post(client, **query).content


def test_an_exif_rotated_photo_comes_back_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(make_photo(60, 100), exif=exif)
    upright = encoded(np.rot90(make_photo(60, 100), -1))
    assert pixels(post(client, turned).content).shape == (100, 60)
    assert post(client, turned).content == post(client, upright).content


def test_repeated_accept_lines_are_one_list_and_invented_methods_no_label(client: TestClient) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.post("/segment", content=PHOTO, headers=headers).headers["content-type"] == "application/json"
    assert_problem(client.post("/segment", content=PHOTO, headers={"Accept": "image/png;q=nan"}), 406)
    client.request("FOO", "/segment")
    assert "FOO" not in client.get("/metrics").text
