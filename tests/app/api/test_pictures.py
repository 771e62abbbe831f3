"""`POST /segment`: the formats that are pictures, their file formats, and the classes that they show."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi.testclient import TestClient
from PIL import Image

from app.serving.service import Service
from imaging.palette import display_palette
from tests.support.app.exchanges import assert_problem, pixels, post
from tests.support.classes import NAMES
from tests.support.images import make_photo


def test_color_and_overlay_show_the_palette(client: TestClient, service: Service) -> None:
    mask = pixels(post(client).content)
    labels = service.registry.get().segmenter.manifest.labels
    listed = {entry["id"]: entry for entry in client.get("/classes").json()}
    for entry in post(client, format="json").json()["classes"]:
        assert listed[entry["id"]].items() <= entry.items()
    for query, palette in (({}, display_palette(labels.classes)), ({"palette": "labels"}, labels.palette)):
        name = "color" if query else "display_color"
        assert [f"#{bytes(palette[id]).hex()}" for id in listed] == [entry[name] for entry in listed.values()]
        colors = np.array(palette, np.uint8)[mask]
        picture = Image.open(io.BytesIO(post(client, format="color", **query).content)).convert("RGB")
        np.testing.assert_array_equal(picture, colors)
        flags = (pixels(post(client, format="overlay", alpha=1, names=False, **query).content) == colors).all(2)
        assert flags[mask > 0].mean() > 0.5  # the rest of these small regions is outline
    assert post(client, format="overlay", names=False).content != post(client, format="overlay").content
    assert post(client, names=False).status_code == post(client, palette="labels").status_code == 422


def accepting(client: TestClient, accept: str, **query: Any) -> Any:
    return post(client, headers={"Accept": accept}, **query)


def test_pictures_come_in_the_image_format_that_is_asked_for_or_accepted(client: TestClient) -> None:
    assert post(client, format="color", image_format="jpg").content == post(client, format="color", image_format="jpeg").content
    for format, image_format in (("color", "webp"), ("overlay", "jpeg"), ("overlay", "png")):
        by_parameter = post(client, format=format, image_format=image_format)
        by_header = accepting(client, f"image/{image_format}", format=format)
        assert by_parameter.headers["content-type"] == by_header.headers["content-type"] == f"image/{image_format}"
        assert by_parameter.content == by_header.content
        assert Image.open(io.BytesIO(by_header.content)).format == image_format.upper()
        assert Image.open(io.BytesIO(by_header.content)).size == (130, 90)
        assert by_parameter.headers["etag"] == by_header.headers["etag"]
    for accept, image_format in (
        ("*/*", "png"),
        ("application/json", "png"),
        ("image/png;q=0.5,image/webp;q=0.8", "webp"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "webp"),
        ("image/jpeg;q=0, image/*", "png"),
    ):
        assert accepting(client, accept, format="overlay").headers["content-type"] == f"image/{image_format}"
        answer = accepting(client, accept, format="overlay", image_format="jpeg")
        assert answer.headers["content-type"] == "image/jpeg"


def test_a_mask_is_never_lossy(client: TestClient) -> None:
    accept = "image/webp,image/jpeg"
    assert accepting(client, accept).status_code == 406
    assert accepting(client, f"{accept},*/*;q=0.1").headers["content-type"] == "image/png"
    for format in ("png", "grey", "binary", "confidence"):
        assert accepting(client, accept, format=format).headers["content-type"] == "image/png"
        refusal = post(client, format=format, image_format="jpeg")
        assert refusal.status_code == 422
        assert "image_format applies to format=color, overlay, cutout, got format=" in refusal.json()["detail"]


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
    for format, wrong, detail in (
        ("color", "circel", "no class 'circel'; did you mean 'circle'?"),
        ("coco", "circle,9", "no class '9'"),
        ("overlay", ",", "must be names or ids of classes"),
        ("json", "circle", "classes applies to"),
    ):
        assert_problem(post(client, format=format, classes=wrong), 422, detail)


def test_a_cutout_is_the_photo_with_opacity_says_where_its_object_is_and_is_cropped_to_it(client: TestClient) -> None:
    whole, cropped = (post(client, format="cutout", classes="0,1", crop=crop) for crop in ("false", "true"))
    assert whole.headers["content-type"] == "image/png"
    result = pixels(whole.content)
    assert result.shape == (90, 130, 4)
    opaque = result[..., 3] == 255
    assert opaque.any()
    np.testing.assert_array_equal(result[opaque][:, :3], make_photo(90, 130)[opaque])
    left, top, width, height = map(int, whole.headers["x-object-box"].split(","))
    assert cropped.headers["x-object-box"] == whole.headers["x-object-box"]
    np.testing.assert_array_equal(pixels(cropped.content), result[top : top + height, left : left + width])
    assert "x-object-box" not in post(client).headers
    present = {entry["id"] for entry in post(client, format="json").json()["classes"]}
    absent = next(entry["id"] for entry in client.get("/classes").json() if entry["id"] not in present)
    nothing = post(client, format="cutout", classes=absent, crop=True)
    assert nothing.headers["x-object-box"] == "none"
    assert not pixels(nothing.content).any()


def test_a_cutout_may_be_a_webp_and_have_a_background(client: TestClient) -> None:
    webp = post(client, format="cutout", classes="0,1", image_format="webp")
    assert webp.headers["content-type"] == "image/webp"
    assert pixels(webp.content).shape == (90, 130, 4)
    jpeg = post(client, format="cutout", classes="0,1", image_format="jpeg", background="#00FF00")
    assert jpeg.headers["content-type"] == "image/jpeg"
    for query, problem in (
        ({"image_format": "jpeg"}, "needs a background"),
        ({"background": "#0f0"}, "#rrggbb"),
        ({"min_confidence": 0.5}, "min_confidence applies to"),
    ):
        assert_problem(post(client, format="cutout", classes="0,1", **query), 422, problem)
    assert post(client, format="overlay", crop=True).status_code == 422
