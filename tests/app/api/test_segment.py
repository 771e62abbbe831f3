"""`POST /segment`: every format, parameter and header of the contract, and what becomes of who stops waiting."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.serving.service import Service
from imaging.rendering import Rendering
from model.inference.plan import Options
from tests.support.app.exchanges import PHOTO, assert_problem, pixels, post
from tests.support.images import encode, exif_of, make_photo, open_image
from tests.support.imaging.heic_files import heic_of
from tests.support.runtimes import ON_EACH_RUNTIME

DEFAULT = Rendering()
RENDERINGS: list[tuple[dict[str, Any], Rendering]] = [
    ({"format": "grey"}, Rendering("grey")),
    ({"format": "confidence"}, Rendering("confidence")),
    ({"format": "color", "palette": "labels"}, Rendering("color", palette="labels")),
    ({"format": "overlay", "alpha": 0.3, "names": False}, Rendering("overlay", alpha=0.3, names=False)),
    ({"format": "binary", "classes": "circle,3"}, Rendering("binary", classes=("circle", "3"))),
    ({"format": "json", "mask": "png", "min_confidence": 0.6}, Rendering("json", "png", min_confidence=0.6)),
    ({"format": "json", "mask": "polygons", "topology": "shared"}, Rendering("json", "polygons", topology="shared")),
    (
        {"format": "cutout", "classes": "0,1", "image_format": "jpeg", "background": "#00ff00"},
        Rendering("cutout", classes=("0", "1"), image_format="jpeg", background="#00ff00"),
    ),
]


def expected(service: Service, data: bytes, rendering: Rendering = DEFAULT, **options: Any) -> bytes:
    """The answer by the segmenter itself, without the web."""
    segmenter = service.registry.get().segmenter
    request_options = Options(**({"tile": (96, 96), "rendering": rendering} | options))
    return segmenter.segment(data, segmenter.plan(data, request_options)).body


@ON_EACH_RUNTIME
def test_the_mask_is_an_8_bit_palette_png_of_the_images_size_with_class_ids(client: TestClient, service: Service) -> None:
    response = post(client)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    mask = open_image(response.content)
    assert (mask.mode, mask.size, response.content[24]) == ("P", (130, 90), 8)
    assert len(mask.getpalette() or []) == 768
    assert len(np.unique(np.asarray(mask))) > 1
    assert response.content == expected(service, PHOTO)
    for size in ((1, 1), (31, 32), (33, 500), (1, 200)):
        assert pixels(post(client, encode(make_photo(*size))).content).shape == size


def test_a_photo_of_a_phone_is_answered_upright(client: TestClient, service: Service) -> None:
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    data = heic_of(Image.fromarray(make_photo(90, 130)), tile_size=64, exif=exif_of(6).tobytes())
    response = post(client, data)
    assert response.content == expected(service, data)
    assert pixels(response.content).shape == (130, 90)
    assert "X-Remark" not in response.headers
    still = post(client, data.replace(b"irot\3", b"irot\0"))
    assert pixels(still.content).shape == (90, 130)
    assert "lacks the property" in still.headers["X-Remark"]
    assert_problem(post(client, data[: len(data) * 4 // 5]), 422, "damaged")


def test_what_follows_the_pixels_does_not_decide(client: TestClient, service: Service) -> None:
    photo = encode(make_photo(90, 130), "JPEG")
    assert post(client, photo[:-2] + b"\0\0\1trailer\xff\xe8" * 9000).content == expected(service, photo)
    assert_problem(post(client, photo[: len(photo) * 2 // 3]), 422, "the file ends early")


def test_parameters_of_the_query_do_what_they_do_in_the_segmenter(client: TestClient, service: Service) -> None:
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
        bodies.append(expected(service, data, Rendering("json"), **query))
        assert post(client, data, format="json", **query).content == bodies[-1]
    for query, rendering in RENDERINGS:
        bodies.append(expected(service, data, rendering))
        assert post(client, data, **query).content == bodies[-1]
    assert len(set(bodies)) == len(bodies)


def test_json_tells_model_image_and_tiling(client: TestClient, service: Service) -> None:
    identity = service.registry.get().segmenter.runtime.identity
    document = post(client, format="json").json()
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


def test_npz_bears_the_arrays(client: TestClient) -> None:
    response = post(client, format="npz", probabilities=True, min_confidence=0)
    assert response.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(response.content)) as arrays:
        np.testing.assert_array_equal(arrays["class_map"], pixels(post(client).content))
        assert arrays["probabilities"].shape == (4, 90, 130)


def test_server_timing_names_the_four_stages(client: TestClient) -> None:
    parts = dict(part.split(";dur=") for part in post(client).headers["server-timing"].split(", "))
    assert list(parts) == ["decode", "queue", "inference", "encode"]
    assert all(float(value) >= 0 for value in parts.values())
    assert float(parts["inference"]) > 0
