"""The client against the service, waiting and with asyncio, and the snippets of its pages."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest
import shapely
from fcn_client import FetchFailed, InvalidImage, Segmentation, SegmentClient, WrongParameter
from PIL import Image

from benchmarks.harness.image_files import file_of
from tests.support.checkout import ROOT
from tests.support.client.file_server import served_folder
from tests.support.client.scripted_service import Kind, both, client_of
from tests.support.pages import blocks
from tests.support.polling import HANG_S
from tests.support.variants import long

PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"
ADDRESS = "http://127.0.0.1:8000"
README = (ROOT / "client" / "README.md").read_text()
PAGE = (ROOT / "docs" / "python.md").read_text().split("## The client")[1]


def mask_of(url: str, data: bytes, **query: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    answer = httpx.post(f"{url}/segment", params=query, content=data, timeout=HANG_S).raise_for_status()
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


@both
def test_arrays_are_those_of_the_mask_and_the_confidence(live_url: str, kind: Kind) -> None:
    with client_of(kind, live_url) as client:
        result = client.segment(PHOTO, confidence=True, min_confidence=0.6, side=512)
    data = PHOTO.read_bytes()
    np.testing.assert_array_equal(result.class_map, mask_of(live_url, data, min_confidence=0.6, side=512))
    np.testing.assert_array_equal(result.confidence, mask_of(live_url, data, format="confidence", side=512))
    assert result.class_map.dtype == np.uint8
    assert result.classes[0].name == "cat"
    assert result.mask("cat").sum() == result.classes[0].pixels == result.mask(8).sum()
    assert {entry.id for entry in result.classes} == set(np.unique(result.class_map))
    assert result.model["name"] == "voc-fcn8s-mobilenet-v2"
    assert set(result.timing) == {"decode", "queue", "inference", "encode"}
    assert result.timing["inference"] > 0
    assert result.request_id
    assert len(result.labels) == 21


def test_other_forms_and_what_is_served(live_url: str) -> None:
    with SegmentClient(live_url) as client:
        client.wait_until_ready(HANG_S)
        assert client.ready()
        with Image.open(io.BytesIO(client.mask_png(PHOTO))) as mask, client.overlay(PHOTO, alpha=0.3) as overlay:
            assert (mask.mode, mask.size, overlay.mode, overlay.size) == ("P", (451, 300), "RGB", (451, 300))
        with np.load(io.BytesIO(client.raw(PHOTO, format="npz", probabilities=True))) as arrays:
            assert arrays["probabilities"].shape == (21, 300, 451)
        assert json.loads(client.raw(PHOTO, format="coco"))["images"][0]["file_name"] == "chelsea.jpg"
        (model,) = client.models()
        assert model.default
        assert list(model.classes) == client.classes()
        assert client.classes()[8].name == "cat"
        info = client.info()
        facts = {name: getattr(model, name) for name in ("name", "sha256", "runtime", "precision")}
        assert info["model"] == client.segment(PHOTO).model == facts
        assert (info["runtime"]["runtime"], info["runtime"]["precision"]) == (model.runtime, model.precision)
        with pytest.raises(WrongParameter, match="model must be one of voc-fcn8s-mobilenet-v2, got 'x'") as error_info:
            client.segment(PHOTO, model="x")
        assert error_info.value.status == 422
        assert error_info.value.request_id
        with pytest.raises(InvalidImage):
            client.segment(PHOTO.read_bytes()[:5000])


def test_polygons_and_coco_cover_the_mask(live_url: str) -> None:
    with SegmentClient(live_url) as client:
        polygons = client.polygons(PHOTO, tolerance=0, classes=["cat"])
        outlines, masks = client.coco(PHOTO, mask="polygons", classes=8), client.coco(PHOTO)
    cat = mask_of(live_url, PHOTO.read_bytes()) == 8
    assert set(polygons) == {"cat"}
    area = sum(shapely.Polygon(outer, holes).area for outer, *holes in polygons["cat"])
    assert area == pytest.approx(cat.sum(), rel=1e-3)  # a border may cut corners of pixels, never their middles
    assert {entry["category_id"] for entry in outlines["annotations"]} == {8}
    assert all(isinstance(entry["segmentation"], list) for entry in outlines["annotations"])
    assert sum(entry["area"] for entry in masks["annotations"] if entry["category_id"] == 8) == cat.sum()


def test_a_cutout_is_the_photo_where_the_class_is(live_url: str) -> None:
    cat = mask_of(live_url, PHOTO.read_bytes()) == 8
    with SegmentClient(live_url) as client, client.cutout(PHOTO, classes="cat") as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (451, 300))
        left, top, width, height = cutout.info["box"]
        assert cutout.getbbox() == (left, top, left + width, top + height)
        assert client.cutout(PHOTO, classes="bus").info["box"] is None
        assert client.overlay(PHOTO, classes="bus").info["object_pixels"] == 0
        turned = file_of(Image.open(PHOTO), "JPEG", exif=b"Exif\0\0garbage1 and more")
        remarks = [cutout.info["remark"], client.cutout(turned).info["remark"], client.segment(turned).remark]
        assert [remark[:20] for remark in remarks] == ["", *["EXIF cannot be read;"] * 2]
        assert ((np.asarray(cutout)[..., 3] > 127) != cat).mean() < 0.02


def test_an_address_is_fetched_here_and_not_by_the_service(live_url: str) -> None:
    with served_folder(PHOTO.parent) as photos, SegmentClient(live_url) as client:
        np.testing.assert_array_equal(client.segment(f"{photos}/chelsea.jpg").class_map, client.segment(PHOTO).class_map)
        outcomes = [outcome for _, outcome in client.segment_many([f"{photos}/missing.jpg", PHOTO])]
        assert [type(outcome) for outcome in outcomes] == [FetchFailed, Segmentation]
        assert client.coco(f"{photos}/chelsea.jpg")["images"][0]["file_name"] == "chelsea.jpg"


CHECK_OF_README = "\nassert result.mask('cat').sum() > 1000"
CHECK_OF_PAGE = "\nassert cat.classes[0].name == 'cat' and cat.mask('cat').sum() > 1000 and result.classes"


@pytest.mark.parametrize(("page", "check"), [(README, CHECK_OF_README), *long((PAGE, CHECK_OF_PAGE))], ids=["README", "page"])
def test_the_snippets_run(page: str, check: str, live_url: str) -> None:
    code = "\n".join(blocks(page, "python")).replace(ADDRESS, live_url)
    subprocess.run([sys.executable, "-c", code + check], cwd=ROOT, check=True, timeout=HANG_S)
