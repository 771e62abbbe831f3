"""`POST /segment`: every format, parameter and header of the contract, and what becomes of who stops waiting."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message

from app.api.segment import segment
from app.serving.service import Service
from app.settings import Settings
from imaging.decoding import Limits
from imaging.palette import display_palette
from imaging.rendering import Format, Rendering
from model.inference.errors import Cancelled
from model.inference.plan import Options
from model.inference.processes import protocol
from model.inference.processes.blob import Blob
from tests.support.app.exchanges import PHOTO, assert_idle, assert_problem, pixels, post, service_of
from tests.support.app.services import Alone, Serve, hold_model, reserve
from tests.support.classes import NAMES
from tests.support.images import encode, make_photo
from tests.support.polling import HANG_S, wait_until
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


@ON_EACH_RUNTIME
@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 32), (33, 500), (500, 375), (90, 1), (1, 200)])
def test_every_size_comes_back_as_it_was(client: TestClient, height: int, width: int) -> None:
    assert pixels(post(client, encode(make_photo(height, width))).content).shape == (height, width)


@ON_EACH_RUNTIME
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


@ON_EACH_RUNTIME
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


@ON_EACH_RUNTIME
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


@ON_EACH_RUNTIME
def test_mean_confidence_is_that_of_the_confidence_image(client: TestClient) -> None:
    mask, confidence = pixels(post(client).content), pixels(post(client, format="confidence").content)
    assert confidence.dtype == np.uint8
    for entry in post(client, format="json").json()["classes"]:
        assert entry["mean_confidence"] == pytest.approx(confidence[mask == entry["id"]].mean() / 255, abs=0.003)


def test_color_and_overlay_show_the_palette(client: TestClient, service: Service) -> None:
    mask = pixels(post(client).content)
    labels = service.registry.get().segmenter.manifest.labels
    for query, palette in (({}, display_palette(labels.classes)), ({"palette": "labels"}, labels.palette)):
        colors = np.array(palette, np.uint8)[mask]
        picture = Image.open(io.BytesIO(post(client, format="color", **query).content)).convert("RGB")
        np.testing.assert_array_equal(picture, colors)
        flags = (pixels(post(client, format="overlay", alpha=1, names=False, **query).content) == colors).all(2)
        assert flags[mask > 0].mean() > 0.5  # the rest of these small regions is outline
    assert post(client, format="overlay", names=False).content != post(client, format="overlay").content
    assert post(client, names=False).status_code == post(client, palette="labels").status_code == 422


def test_both_colors_of_classes_are_those_that_pictures_show(client: TestClient) -> None:
    mask = pixels(post(client).content)
    listed = {entry["id"]: entry for entry in client.get("/classes").json()}
    present = post(client, format="json").json()["classes"]
    for name, palette in (("display_color", "display"), ("color", "labels")):
        picture = Image.open(io.BytesIO(post(client, format="color", palette=palette).content)).convert("RGB")
        for entry in present:
            assert entry[name] == listed[entry["id"]][name]
            assert (np.asarray(picture)[mask == entry["id"]] == list(bytes.fromhex(entry[name][1:]))).all()


def accepting(client: TestClient, accept: str, **query: Any) -> Any:
    return post(client, headers={"Accept": accept}, **query)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("format", ["color", "overlay"])
def test_pictures_come_in_the_image_format_that_is_asked_for(client: TestClient, format: str, image_format: str) -> None:
    by_parameter = post(client, format=format, image_format=image_format)
    by_header = accepting(client, f"image/{image_format}", format=format)
    assert by_parameter.headers["content-type"] == by_header.headers["content-type"] == f"image/{image_format}"
    assert by_parameter.content == by_header.content
    assert Image.open(io.BytesIO(by_header.content)).format == image_format.upper()
    assert Image.open(io.BytesIO(by_header.content)).size == (130, 90)
    assert by_parameter.headers["etag"] == by_header.headers["etag"]


@pytest.mark.parametrize(
    ("accept", "image_format"),
    [
        ("*/*", "png"), ("image/*", "png"), ("text/html", "png"), ("application/json", "png"),
        ("image/webp,image/png", "png"), ("image/png;q=0.5,image/webp;q=0.8", "webp"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "webp"), ("image/jpeg;q=0, image/*", "png"),
    ],
)  # fmt: skip
def test_accept_chooses_among_picture_formats_and_a_parameter_beats_it(
    client: TestClient, accept: str, image_format: str
) -> None:
    response = accepting(client, accept, format="overlay")
    assert response.headers["content-type"] == f"image/{image_format}"
    assert accepting(client, accept, format="overlay", image_format="jpeg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("accept", ["image/jpeg", "image/webp", "image/webp,image/jpeg"])
def test_a_mask_is_never_lossy(client: TestClient, accept: str) -> None:
    assert accepting(client, accept).status_code == 406
    assert accepting(client, f"{accept},*/*;q=0.1").headers["content-type"] == "image/png"
    for format in ("png", "grey", "binary", "confidence"):
        assert accepting(client, accept, format=format).headers["content-type"] == "image/png"
        refusal = post(client, format=format, image_format="jpeg")
        assert refusal.status_code == 422
        assert "image_format applies to format=color, overlay, cutout, got format=" in refusal.json()["detail"]


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


def test_grey_and_binary_hold_the_mask(client: TestClient, service: Service) -> None:
    mask = pixels(post(client).content)
    names = [entry.name for entry in service.registry.get().segmenter.manifest.labels.classes]
    grey = Image.open(io.BytesIO(post(client, format="grey").content))
    assert grey.mode == "L"
    np.testing.assert_array_equal(grey, mask)
    for classes in (names[1], f"{names[1]},3", "1, 3"):
        expected = np.where(np.isin(mask, [1, 3] if "3" in classes else [1]), 255, 0)
        np.testing.assert_array_equal(pixels(post(client, format="binary", classes=classes).content), expected)
    np.testing.assert_array_equal(pixels(post(client, format="binary").content), np.where(mask > 0, 255, 0))


def far_from(pixels: npt.NDArray[np.bool_], distance: int = 3) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) with none of these within the distance."""
    padded_pixels = np.pad(pixels, distance)
    near: npt.NDArray[np.bool_] = np.lib.stride_tricks.sliding_window_view(padded_pixels, (2 * distance + 1,) * 2).any((2, 3))
    return ~near


def test_classes_choose_what_is_shown(client: TestClient) -> None:
    mask = pixels(post(client).content)
    others = ",".join(str(id) for id in range(len(NAMES)) if id != 1)
    for classes, flags in (("1", mask == 1), (others, mask != 1)):
        picture = Image.open(io.BytesIO(post(client, format="color", classes=classes).content)).convert("RGB")
        np.testing.assert_array_equal(np.asarray(picture).any(2), flags)
    overlay = pixels(post(client, format="overlay", alpha=1, classes="1", names=False).content)
    np.testing.assert_array_equal(overlay[far_from(mask == 1)], make_photo(90, 130)[far_from(mask == 1)])
    coco = post(client, format="coco", classes="1").json()
    assert {entry["category_id"] for entry in coco["annotations"]} <= {1}
    polygons = post(client, format="json", mask="polygons", classes="1").json()["class_map"]["polygons"]
    assert set(polygons) <= {"1"}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"format": "color", "classes": "circel"}, "no class 'circel'; did you mean 'circle'?"),
        ({"format": "coco", "classes": "circle,9"}, "no class '9'"),
        ({"format": "overlay", "classes": ","}, "must be names or ids of classes"),
        ({"format": "png", "classes": "circle"}, "classes applies to"),
        ({"format": "json", "classes": "circle"}, "classes applies to"),
    ],
)
def test_wrong_classes_are_422_and_the_detail_says_why(client: TestClient, query: dict[str, str], detail: str) -> None:
    response = post(client, **query)
    assert response.status_code == 422
    assert detail in response.json()["detail"]


def test_coco_bears_the_images_name_and_npz_the_arrays(client: TestClient) -> None:
    files = {"file": ("folder/cat.png", PHOTO)}
    assert client.post("/segment?format=coco", files=files).json()["images"][0]["file_name"] == "cat.png"
    response = post(client, format="npz", probabilities=True, min_confidence=0)
    assert response.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(response.content)) as arrays:
        np.testing.assert_array_equal(arrays["class_map"], pixels(post(client).content))
        assert arrays["probabilities"].shape == (4, 90, 130)


@ON_EACH_RUNTIME
def test_pixels_below_the_least_confidence_are_void(client: TestClient) -> None:
    mask, confidence = pixels(post(client).content), pixels(post(client, format="confidence").content)
    least = int(np.median(confidence))
    sure = pixels(post(client, min_confidence=least / 255).content)
    np.testing.assert_array_equal(sure, np.where(confidence < least, 255, mask))


def test_a_cutout_is_the_photo_with_opacity(client: TestClient) -> None:
    response = post(client, format="cutout", classes="0,1")
    assert response.headers["content-type"] == "image/png"
    result = pixels(response.content)
    assert result.shape == (90, 130, 4)
    opaque = result[..., 3] == 255
    assert opaque.any()
    np.testing.assert_array_equal(result[opaque][:, :3], make_photo(90, 130)[opaque])
    for query in ({"classes": "circel"}, {"min_confidence": 0.5}, {"image_format": "jpeg"}):
        assert post(client, format="cutout", **query).status_code == 422


def test_a_cutout_says_where_its_object_is_and_is_cropped_to_it(client: TestClient) -> None:
    whole, cropped = (post(client, format="cutout", classes="0,1", crop=crop) for crop in ("false", "true"))
    left, top, width, height = map(int, whole.headers["x-object-box"].split(","))
    assert cropped.headers["x-object-box"] == whole.headers["x-object-box"]
    expected = pixels(whole.content)[top : top + height, left : left + width]
    np.testing.assert_array_equal(pixels(cropped.content), expected)
    assert "x-object-box" not in post(client).headers


def test_a_cutout_of_nothing_says_so(client: TestClient) -> None:
    present = {entry["id"] for entry in post(client, format="json").json()["classes"]}
    absent = next(entry["id"] for entry in client.get("/classes").json() if entry["id"] not in present)
    response = post(client, format="cutout", classes=absent, crop=True)
    assert response.headers["x-object-box"] == "none"
    assert not pixels(response.content).any()


def test_a_cutout_may_be_a_webp_and_have_a_background(client: TestClient) -> None:
    webp = post(client, format="cutout", classes="0,1", image_format="webp")
    assert webp.headers["content-type"] == "image/webp"
    assert pixels(webp.content).shape == (90, 130, 4)
    jpeg = post(client, format="cutout", classes="0,1", image_format="jpeg", background="#00FF00")
    assert jpeg.headers["content-type"] == "image/jpeg"
    for query, problem in (
        ({"image_format": "jpeg"}, "needs a background"),
        ({"background": "green"}, "#rrggbb"),
        ({"background": "#0f0"}, "#rrggbb"),
    ):
        refusal = post(client, format="cutout", classes="0,1", **query)
        assert refusal.status_code == 422
        assert problem in refusal.text
    assert post(client, format="overlay", crop=True).status_code == 422


@ON_EACH_RUNTIME
def test_small_regions_take_another_class(client: TestClient) -> None:
    before, after = pixels(post(client).content), post(client, min_area="20%", fill_holes=9)
    classes = post(client, format="json", min_area="20%", fill_holes=9).json()["classes"]
    counts = np.bincount(pixels(after.content).reshape(-1), minlength=4)
    assert {entry["id"]: entry["pixels"] for entry in classes} == {id: counts[id] for id in np.flatnonzero(counts)}
    assert (before != pixels(after.content)).sum() > 0
    assert counts[counts > 0].min() >= before.size / 5
    assert after.headers["etag"] != post(client).headers["etag"]


@ON_EACH_RUNTIME
def test_server_timing_names_the_four_stages(client: TestClient) -> None:
    parts = dict(part.split(";dur=") for part in post(client).headers["server-timing"].split(", "))
    assert list(parts) == ["decode", "queue", "inference", "encode"]
    assert all(float(value) >= 0 for value in parts.values())
    assert float(parts["inference"]) > 0


@ON_EACH_RUNTIME
def test_equal_requests_give_equal_bytes(client: TestClient) -> None:
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


def request_of(disconnect: asyncio.Event) -> Request:
    """Of a client that stays until then."""

    async def receive() -> Message:
        await disconnect.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "path": "/segment", "headers": []}, receive)


@pytest.fixture(scope="module")
def alone(serve: Serve) -> Iterator[Service]:
    """A service that nobody else asks."""
    with serve() as client:
        yield service_of(client)


def test_a_client_that_goes_ends_its_work(narrow_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(weights=str(narrow_file), device="cpu", runtime="openvino", tile="96", threads=1)
    alone = Alone(Service(settings))
    try:
        wait_until(lambda: alone.service.not_ready is None)

        async def ask() -> None:
            disconnect = asyncio.Event()
            image = protocol.ImageRequest(Blob.of(PHOTO), Options(), Limits())
            with reserve(alone.service) as reservation:
                work = segment(request_of(disconnect), alone.service, image, None, reservation, Headers())
                asking = asyncio.create_task(work)
                await asyncio.to_thread(hold.entry.wait, HANG_S)
                disconnect.set()
                with pytest.raises(Cancelled, match="the client went away"):
                    await asking
            assert not image.body.is_open

        with hold_model(alone.service) as hold:
            alone.call(ask())
            assert_idle(alone.service)
        assert not caplog.records
    finally:
        alone.stop()
