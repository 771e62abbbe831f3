"""The auto-annotation function for CVAT, with CVAT's own SDK and a running service."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import pytest
from cvat_sdk import Config
from cvat_sdk.core.client import Client
from cvat_sdk.masks import decode_mask
from fcn_client import SegmentClient, WrongParameter, cvat
from PIL import Image, ImageDraw

from tests.support import http_servers
from tests.support.checkout import ROOT

TASK, LABEL = 7, 70


class CvatServer(http_servers.LoopbackServer):
    """answers: by the path. annotations: those that were sent."""

    def __init__(self, photo: bytes, size: tuple[int, int], label: str) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.answers = answers(photo, size, label)
        super().__init__(Handler)


class Handler(http_servers.Handler):
    server: CvatServer

    def get(self) -> None:
        self._answer(self.server.answers.get(urlsplit(self.path).path))

    def patch(self) -> None:
        self.server.annotations.append(json.loads(self.body()))
        self._answer({"version": 0, "tags": [], "shapes": [], "tracks": []})

    def _answer(self, content: bytes | dict[str, Any] | None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        kind = "application/zip" if isinstance(content, bytes) else "application/json"
        self.answer(404 if content is None else 200, body, {"Content-Type": kind})


def answers(photo: bytes, size: tuple[int, int], label: str) -> dict[str, bytes | dict[str, Any]]:
    chunk = io.BytesIO()
    with zipfile.ZipFile(chunk, "w") as archive:
        archive.writestr("000000.jpeg", photo)
    task = {
        "id": TASK, "name": "trial", "mode": "annotation", "dimension": "2d", "size": 1, "data": 1, "data_chunk_size": 1,
        "data_original_chunk_type": "imageset", "status": "annotation", "project_id": None, "organization": None,
        "updated_date": "2026-01-01T00:00:00Z",
        "jobs": {"count": 1, "completed": 0, "validation": 0, "url": ""}, "labels": {"url": ""},
    }  # fmt: skip
    meta = {
        "image_quality": 70, "chunks_updated_date": "2026-01-01T00:00:00Z", "start_frame": 0, "stop_frame": 0,
        "frame_filter": "", "deleted_frames": [], "included_frames": None, "chunk_size": 1, "size": 1,
        "frames": [{"width": size[0], "height": size[1], "name": "photo.jpg", "related_files": 0}],
    }  # fmt: skip
    entry = {
        "id": LABEL,
        "name": label,
        "color": "#ffffff",
        "attributes": [],
        "type": "any",
        "sublabels": [],
        "has_parent": False,
    }
    return {
        "/api/server/about": {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""},
        f"/api/tasks/{TASK}": task,
        f"/api/tasks/{TASK}/data/meta": meta,
        f"/api/tasks/{TASK}/data/": chunk.getvalue(),
        "/api/labels": {"count": 1, "next": None, "previous": None, "results": [entry]},
    }


PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"


@dataclass(frozen=True)
class Context(cvataa.DetectionFunctionContext):
    frame_name: str = "chelsea.jpg"  # type: ignore[assignment]
    conf_threshold: float | None = None  # type: ignore[assignment]
    conv_mask_to_poly: bool = False  # type: ignore[assignment]


@pytest.fixture
def photo() -> Iterator[Image.Image]:
    with Image.open(PHOTO) as image:
        yield image


def class_map(url: str, image: Image.Image) -> Any:
    with SegmentClient(url) as client:
        return client.segment(image).class_map


def test_the_spec_has_the_classes_and_their_aliases(live_url: str) -> None:
    spec = cvat.create(live_url, aliases="cat=Animal,dog=Animal,background=nothing").spec
    names = [label.name for label in spec.labels]
    assert names[0] == "nothing"
    assert names.count("Animal") == 1
    assert len(names) == 20
    assert "background" not in [label.name for label in cvat.create(live_url).spec.labels]
    assert {label.type for label in cvat.create(live_url, polygons=True).spec.labels} == {"polygon"}
    with pytest.raises(ValueError, match="did you mean 'cat'"):
        cvat.create(live_url, aliases="catt=Animal")


@pytest.mark.parametrize("option", [{"min_area": "5m2"}, {"side": 1}, {"quality": "best"}, {"tolerance": -1}], ids=str)
def test_options_that_the_service_refuses_are_told_before_the_first_image(live_url: str, option: dict[str, Any]) -> None:
    with pytest.raises(WrongParameter, match=next(iter(option))):
        cvat.create(live_url, **option)


def test_a_threshold_leaves_out_what_is_less_sure(live_url: str, photo: Image.Image) -> None:
    function = cvat.create(live_url)
    scores = sorted(shape.score for shape in function.detect(Context(), photo))
    best = function.detect(Context(conf_threshold=scores[-1]), photo)
    assert [shape.score for shape in best] == scores[-1:]
    with Image.open(PHOTO.with_name("coffee.jpg")) as other:
        labels = [{shape.label_id for shape in function.detect(Context(), image)} for image in (other, photo, other)]
    assert labels[0] == labels[2] != labels[1]


@pytest.mark.parametrize(("kind", "means"), [("mask", ""), ("polygon", "by the context"), ("polygon", "by the argument")])
def test_cvats_own_driver_takes_the_shapes_which_cover_the_class(
    live_url: str, photo: Image.Image, kind: str, means: str, tmp_path: Path
) -> None:
    """`annotate_task` checks labels and shapes before it sends them. The task has one of the classes, under another name."""
    with (
        http_servers.running(CvatServer(PHOTO.read_bytes(), photo.size, "Kitten")) as server,
        Client(server.url, config=Config(cache_dir=tmp_path)) as client,
    ):
        function = cvat.create(live_url, aliases="cat=Kitten", polygons=means == "by the argument", tolerance=0)
        conversion = means == "by the context"
        cvataa.annotate_task(client, TASK, function, allow_unmatched_labels=True, conv_mask_to_poly=conversion)
    (annotations,) = server.annotations
    assert {(shape["type"], shape["label_id"], shape["frame"], shape["source"]) for shape in annotations["shapes"]} == {
        (kind, LABEL, 0, "auto")
    }
    expected, canvas = class_map(live_url, photo) == 8, Image.new("1", photo.size)
    if kind == "mask":
        masks = [decode_mask(shape["points"], image_width=451, image_height=300) for shape in annotations["shapes"]]
        np.testing.assert_array_equal(np.any(masks, axis=0), expected)
        return
    for shape in annotations["shapes"]:
        points = np.array(shape["points"]).reshape(-1, 2) - 0.5
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in points.tolist()], fill=1)
    assert (np.asarray(canvas) != expected).mean() < 0.01
