"""`POST /segment`: the formats that are pictures, their file formats, and the classes that they show."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.app.exchanges import pixels, post
from tests.support.images import encode, exif_of, make_photo, open_image


def accepting(client: TestClient, accept: str, **query: Any) -> Any:
    return post(client, headers={"Accept": accept}, **query)


def test_pictures_come_in_the_image_format_that_is_asked_for_or_accepted(client: TestClient) -> None:
    assert post(client, format="color", image_format="jpg").content == post(client, format="color", image_format="jpeg").content
    for format, image_format in (("color", "webp"), ("overlay", "jpeg"), ("overlay", "png")):
        by_parameter = post(client, format=format, image_format=image_format)
        by_header = accepting(client, f"image/{image_format}", format=format)
        assert by_parameter.headers["content-type"] == by_header.headers["content-type"] == f"image/{image_format}"
        assert by_parameter.content == by_header.content
        picture = open_image(by_header.content)
        assert (picture.format, picture.size) == (image_format.upper(), (130, 90))
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


def test_a_cutout_says_where_its_object_is_and_is_cropped_to_it(client: TestClient) -> None:
    whole, cropped = (post(client, format="cutout", classes="0,1", crop=crop) for crop in ("false", "true"))
    assert pixels(whole.content).shape == (90, 130, 4)
    *_, width, height = map(int, whole.headers["x-object-box"].split(","))
    assert cropped.headers["x-object-box"] == whole.headers["x-object-box"]
    assert pixels(cropped.content).shape == (height, width, 4)
    assert "x-object-box" not in post(client).headers
    nothing = post(client, encode(make_photo(8, 8)), format="cutout", classes="square", crop=True)
    assert nothing.headers["x-object-box"] == "none"
    assert not pixels(nothing.content).any()


@pytest.mark.parametrize(
    ("bounds", "size"),
    [({"width": 65}, (65, 45)), ({"height": 30}, (43, 30)), ({"width": 90, "height": 9}, (13, 9)), ({"width": 999}, (130, 90))],
    ids=str,
)
def test_a_picture_within_bounds_keeps_the_photos_shape(client: TestClient, bounds: dict[str, Any], size: Any) -> None:
    for format in ("color", "overlay", "cutout"):
        classes: dict[str, Any] = {"classes": "0,1,2,3"} if format == "cutout" else {}
        answer, whole = (post(client, format=format, **classes, **more) for more in (bounds, {}))
        assert open_image(answer.content).size == size
        assert (answer.content == whole.content) == (size == (130, 90))
        assert answer.headers["etag"] != whole.headers["etag"]
        if format == "cutout":
            assert answer.headers["x-object-box"] == f"0,0,{size[0]},{size[1]}"


def test_a_small_cutout_is_the_whole_one_made_small(client: TestClient) -> None:
    """Of a photo larger than the network sees it, turned by its EXIF; with a crop, and in a batch."""
    photo = encode(make_photo(1200, 900), "JPEG", exif=exif_of(6))
    bounds: list[dict[str, Any]] = [{"width": 300}, {}]
    small, whole = (post(client, photo, format="overlay", names=False, **more) for more in bounds)
    expected = open_image(whole.content).resize((300, 225), Image.Resampling.BOX)
    assert np.abs(pixels(small.content).astype(int) - np.asarray(expected)).mean() < 12
    cropped = post(client, photo, format="cutout", classes="0,1,2,3", crop=True, width=300)
    assert pixels(cropped.content).shape == (225, 300, 4)
    batch = client.post("/segment/batch?format=color&width=300", files={"file": ("a.jpg", photo)}).content
    assert json.loads(zipfile.ZipFile(io.BytesIO(batch)).read("results.jsonl"))["width"] == 1200
