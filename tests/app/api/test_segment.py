"""`POST /segment`: every format, parameter and header of the contract, and what becomes of who stops waiting."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco

from app.serving.service import Service
from imaging.rendering import Format, Rendering
from model.inference.plan import Options
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, pixels, post, service_of
from tests.support.app.services import Serve, hold_model
from tests.support.images import encode, make_photo
from tests.support.imaging.heic_files import heic_of
from tests.support.runtimes import ON_EACH_RUNTIME


def expected(service: Service, data: bytes, format: Format = "png", **options: Any) -> bytes:
    """The answer by the segmenter itself, without the web."""
    segmenter = service.registry.get().segmenter
    request_options = Options(**({"tile": (96, 96), "rendering": Rendering(format)} | options))
    return segmenter.segment(data, segmenter.plan(data, request_options)).body


@ON_EACH_RUNTIME
def test_the_mask_is_an_8_bit_palette_png_of_the_images_size_with_class_ids(client: TestClient, service: Service) -> None:
    response = post(client)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    mask = Image.open(io.BytesIO(response.content))
    assert (mask.mode, mask.size, response.content[24]) == ("P", (130, 90), 8)
    assert len(mask.getpalette() or []) == 768
    assert len(np.unique(np.asarray(mask))) > 1
    assert response.content == expected(service, PHOTO)
    for size in ((1, 1), (31, 32), (33, 500), (1, 200)):
        assert pixels(post(client, encode(make_photo(*size))).content).shape == size


def test_a_photo_of_a_phone_is_answered_upright(client: TestClient, service: Service) -> None:
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = heic_of(Image.fromarray(make_photo(90, 130)), tile_size=64, exif=exif.tobytes())
    response = post(client, data)
    assert response.content == expected(service, data)
    assert pixels(response.content).shape == (130, 90)
    assert_problem(post(client, data[: len(data) * 4 // 5]), 422, "damaged")


def test_tiling_parameters_do_what_they_do_in_the_segmenter(client: TestClient, service: Service) -> None:
    data, bodies = encode(make_photo(120, 210)), []
    for query in (
        {},
        {"side": "native"},
        {"side": 400},
        {"quality": "high"},
        {"blend": "hann"},
        {"overlap": 0.5},
        {"overlap": 0.0},
    ):
        bodies.append(expected(service, data, "json", **query))
        assert post(client, data, format="json", **query).content == bodies[-1]
    assert len(set(bodies)) == len(bodies)


def test_the_encodings_hold_the_class_map_of_the_png(client: TestClient) -> None:
    mask = pixels(post(client).content)
    answers = {name: post(client, format="json", mask=name).json() for name in ("rle", "png", "array")}
    rle = answers["rle"]["class_map"]
    assert rle["size"] == [90, 130]
    union = np.full(mask.shape, 255, np.uint8)
    for class_id, counts in rle["counts"].items():
        union[coco.decode({"size": rle["size"], "counts": counts.encode()}) == 1] = int(class_id)
    np.testing.assert_array_equal(union, mask)
    np.testing.assert_array_equal(pixels(base64.b64decode(answers["png"]["class_map"]["data"])), mask)
    np.testing.assert_array_equal(np.array(answers["array"]["class_map"]["data"]), mask)


def test_json_tells_model_image_classes_and_tiling(client: TestClient, service: Service) -> None:
    identity = service.registry.get().segmenter.runtime.identity
    document = post(client, format="json").json()
    assert set(document) == {"model", "image", "classes", "class_map", "tiling"}
    assert document["model"] == {
        "name": "narrow", "sha256": identity.sha256, "runtime": identity.runtime, "precision": "float32",
    }  # fmt: skip
    assert document["image"] == {"width": 130, "height": 90}
    assert document["tiling"] == {
        "side": [89, 128],
        "tile": [96, 96],
        "overlap": 0.25,
        "blend": "mean",
        "quality": "standard",
        "tiles": 2,
    }
    sizes = [entry["pixels"] for entry in document["classes"]]
    assert sum(sizes) == 130 * 90
    assert sizes == sorted(sizes, reverse=True)
    names = {"id", "name", "color", "display_color", "pixels", "fraction", "mean_confidence", "bbox"}
    assert set(document["classes"][0]) == names
    assert {str(entry["id"]) for entry in document["classes"]} == set(document["class_map"]["counts"])


def test_confidence_is_that_of_the_confidence_image_and_pixels_below_the_least_are_void(client: TestClient) -> None:
    mask, confidence = pixels(post(client).content), pixels(post(client, format="confidence").content)
    assert confidence.dtype == np.uint8
    for entry in post(client, format="json").json()["classes"]:
        assert entry["mean_confidence"] == pytest.approx(confidence[mask == entry["id"]].mean() / 255, abs=0.003)
    least = int(np.median(confidence))
    sure = pixels(post(client, min_confidence=least / 255).content)
    np.testing.assert_array_equal(sure, np.where(confidence < least, 255, mask))


def test_polygons_that_share_their_borders_cover_the_image(client: TestClient) -> None:
    answer = post(client, format="json", mask="polygons", topology="shared").json()
    polygons = [shapely.Polygon(outer, holes) for each in answer["class_map"]["polygons"].values() for outer, *holes in each]
    assert shapely.coverage_is_valid(polygons)
    image = answer["image"]
    assert sum(polygon.area for polygon in polygons) == pytest.approx(image["width"] * image["height"])
    annotations = post(client, format="coco", mask="polygons", topology="shared").json()["annotations"]
    assert len(annotations) == len(post(client, format="coco").json()["annotations"])
    refusal = post(client, format="coco", topology="shared")
    assert refusal.status_code == 422
    assert "topology applies to format=geojson and format=json or coco with mask=polygons" in refusal.json()["detail"]


def test_coco_bears_the_images_name_and_npz_the_arrays(client: TestClient) -> None:
    files = {"file": ("folder/cat.png", PHOTO)}
    assert client.post("/segment?format=coco", files=files).json()["images"][0]["file_name"] == "cat.png"
    response = post(client, format="npz", probabilities=True, min_confidence=0)
    assert response.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(response.content)) as arrays:
        np.testing.assert_array_equal(arrays["class_map"], pixels(post(client).content))
        assert arrays["probabilities"].shape == (4, 90, 130)


def test_small_regions_take_another_class(client: TestClient) -> None:
    before, after = pixels(post(client).content), post(client, min_area="20%", fill_holes=9)
    classes = post(client, format="json", min_area="20%", fill_holes=9).json()["classes"]
    counts = np.bincount(pixels(after.content).reshape(-1), minlength=4)
    assert {entry["id"]: entry["pixels"] for entry in classes} == {id: counts[id] for id in np.flatnonzero(counts)}
    assert (before != pixels(after.content)).sum() > 0
    assert counts[counts > 0].min() >= before.size / 5
    assert after.headers["etag"] != post(client).headers["etag"]


def test_server_timing_names_the_four_stages_and_equal_requests_give_equal_bytes(client: TestClient) -> None:
    parts = dict(part.split(";dur=") for part in post(client).headers["server-timing"].split(", "))
    assert list(parts) == ["decode", "queue", "inference", "encode"]
    assert all(float(value) >= 0 for value in parts.values())
    assert float(parts["inference"]) > 0
    for query in ({}, {"format": "json", "mask": "polygons"}, {"format": "overlay"}, {"format": "npz"}):
        assert post(client, **query).content == post(client, **query).content


def test_an_exif_rotated_photo_comes_back_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = encode(make_photo(60, 100), exif=exif)
    upright = encode(np.rot90(make_photo(60, 100), -1))
    assert pixels(post(client, sideways).content).shape == (100, 60)
    assert post(client, sideways).content == post(client, upright).content


def test_a_deadline_that_passes_is_504(serve: Serve) -> None:
    with serve(request_timeout_s=0.05) as client, hold_model(service_of(client)):
        assert_problem(post(client), 504, "smaller image")
        assert client.get("/health/ready").status_code == 200
        assert_problem(post(client, side=500), 504)
    assert_idle(service_of(client))
