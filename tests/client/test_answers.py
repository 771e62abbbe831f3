"""Answers that are more, less or other than what the service gives today."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import pytest
from fcn_client import Label, SegmentClient, UnexpectedAnswer, answers
from PIL import Image

from imaging.encoding import grey_png, mask_png
from tests.support.client.scripted_service import Kind, both, client_of

CLASS_MAP = np.array([[0, 8, 8], [0, 255, 8]], np.uint8)
HEADERS = {"X-Request-ID": "abc", "Server-Timing": "decode;dur=1.2, queue;dur=0"}
LABELS = [
    Label(0, "background", "#000000", "#000000"),
    Label(8, "cat", "#400000", "#400000"),
    Label(12, "dog", "#400080", "#400080"),
]
MODEL = {"name": "m", "sha256": "0", "runtime": "openvino", "precision": "int8"}


def share(id: int, name: str) -> dict[str, Any]:
    entry = {"id": id, "name": name, "color": "#000000", "pixels": 3, "fraction": 0.5}
    return entry | {"mean_confidence": 0.9, "bbox": [0, 0, 2, 2], "perimeter": 8}


def png(values: Any) -> dict[str, str]:
    return {"encoding": "png", "data": base64.b64encode(grey_png(values)).decode()}


def document(**changes: Any) -> dict[str, Any]:
    class_map = mask_png(CLASS_MAP, [(id, 0, 0) for id in range(256)])
    return {
        "model": MODEL,
        "image": {"width": 3, "height": 2},
        "classes": [share(0, "background"), share(8, "cat")],
        "class_map": {"encoding": "png", "data": base64.b64encode(class_map).decode()},
        "tiling": {"side": [2, 3], "tile": [32, 32], "overlap": 0.25, "blend": "mean", "tiles": 1},
        "confidence_map": png(CLASS_MAP // 2),
    } | changes


def answer(content: object) -> httpx.Response:
    return httpx.Response(200, json=content, headers=HEADERS, request=httpx.Request("POST", "http://service/segment"))


def test_fields_that_are_not_known_yet_are_passed_over() -> None:
    result = answers.segmentation(answer(document(instances=[])), LABELS)
    np.testing.assert_array_equal(result.class_map, CLASS_MAP)
    assert result.confidence is not None
    np.testing.assert_array_equal(result.confidence, CLASS_MAP // 2)
    assert result.class_map.flags.writeable
    assert result.confidence.flags.writeable
    assert [entry.bbox for entry in result.classes] == [(0, 0, 2, 2)] * 2
    assert (result.request_id, result.timing) == ("abc", {"decode": 1.2, "queue": 0.0})


def test_a_class_that_is_present_has_the_colors_of_pictures_and_of_the_label_set() -> None:
    classes = [share(0, "background"), share(8, "cat") | {"display_color": "#3377cc"}]
    result = answers.segmentation(answer(document(classes=classes)), LABELS)
    assert [(entry.color, entry.display_color) for entry in result.classes] == [("#000000",) * 2, ("#000000", "#3377cc")]
    label = {"id": 1, "name": "leaf", "color": "#00ff00", "display_color": "#3ca951", "parent": "plant"}
    assert answers.labels(answer([label])) == [Label(1, "leaf", "#00ff00", "#3ca951")]
    (model,) = answers.models(answer([MODEL | {"default": True, "classes": [label], "new": 1}]))
    assert model.classes == tuple(answers.labels(answer([label])))
    assert (model.runtime, model.precision) == ("openvino", "int8")
    assert result.model == MODEL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": {"width": 4, "height": 2}}, "a map of"),
        ({"class_map": {"encoding": "rle", "counts": {}}}, "KeyError"),
        ({"confidence_map": png(CLASS_MAP.T)}, "a map of"),
        ({"confidence_map": {"data": "AAAA"}}, "SyntaxError"),
        ({"classes": [{"id": 1}]}, "KeyError"),
    ],
    ids=["size", "encoding", "confidence's size", "no PNG", "class"],
)
def test_a_segmentation_that_does_not_fit_together_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=message) as error_info:
        answers.segmentation(answer(document(**changes)), LABELS)
    assert (error_info.value.status, error_info.value.request_id) == (200, "abc")


CALLS: list[tuple[Any, ...]] = [(name, b"image") for name in ("segment", "mask_png", "raw", "overlay", "polygons", "coco")]
CALLS += [("classes",), ("models",), ("info",)]
READY: list[tuple[Any, ...]] = [("ready",), ("wait_until_ready", 1.0)]


@both
@pytest.mark.parametrize(
    ("content", "media_type", "calls"),
    [(b"<html>Log in</html>", "Text/HTML; charset=utf-8", CALLS + READY), (b"", "image/png", CALLS)],
)
def test_an_answer_of_another_program_is_told(kind: Kind, content: bytes, media_type: str, calls: Any) -> None:
    """A login's page with status 200, and an answer without a body."""
    reply = httpx.Response(200, content=content, headers={"Content-Type": media_type})
    with client_of(kind, transport=httpx.MockTransport(lambda _: reply)) as client:
        for name, *arguments in calls:
            with pytest.raises(UnexpectedAnswer, match=r"http://service/.*see that base_url is the service's"):
                getattr(client, name)(*arguments)


def test_the_mask_of_a_class_that_is_absent_is_all_false() -> None:
    result = answers.segmentation(answer(document()), LABELS)
    for label in ("cat", "Cat"):
        np.testing.assert_array_equal(result.mask(label), CLASS_MAP == 8)
    np.testing.assert_array_equal(result.mask(8), CLASS_MAP == 8)
    np.testing.assert_array_equal(result.mask(255), CLASS_MAP == 255)
    for absent in ("dog", 12):
        assert result.mask(absent).shape == CLASS_MAP.shape
        assert not result.mask(absent).any()


@pytest.mark.parametrize(
    ("label", "message"),
    [("dgo", "model m has no class 'dgo'; did you mean 'dog'"), ("zebra", "there are background, cat, dog"), (13, "class 13")],
)
def test_the_mask_of_a_class_that_the_model_lacks_is_an_error(label: str | int, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        answers.segmentation(answer(document()), LABELS).mask(label)


def test_polygons_are_named_by_their_class() -> None:
    outer, hole = [[0, 0], [3, 0], [3, 2], [0, 0]], [[1, 0.5], [2, 0.5], [2, 1], [1, 0.5]]
    outlines = {"encoding": "polygons", "size": [2, 3], "tolerance": 1, "polygons": {"8": [[outer, hole], [outer]]}}
    polygons = answers.polygons(answer(document(class_map=outlines)))
    assert {name: [[ring.tolist() for ring in polygon] for polygon in each] for name, each in polygons.items()} == {
        "cat": [[outer, hole], [outer]]
    }
    assert polygons["cat"][0][0].dtype == np.float64
    outlines["polygons"] = {"8": [[[1, 2, 3]]]}
    with pytest.raises(UnexpectedAnswer, match="a ring must be a list of points"):
        answers.polygons(answer(document(class_map=outlines)))


def test_images_that_pillow_would_warn_of_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image, whole = {"width": 95, "height": 95}, png(np.full((95, 95), 7, np.uint8))
    result = answers.segmentation(answer(document(image=image, class_map=whole, confidence_map=whole)), LABELS)
    assert result.confidence is not None
    assert result.class_map.shape == (95, 95)
    assert result.confidence[-1, -1] == 7


def test_durations_of_others_do_no_harm() -> None:
    timing = 'decode;dur=1.25, cdn;desc="a hit, cached";dur=4, miss, broken;dur=soon, queue; DUR=3'
    assert answers.timing(httpx.Response(200, headers={"Server-Timing": timing})) == {"decode": 1.25, "queue": 3}
    assert answers.timing(httpx.Response(200)) == {}


@both
@pytest.mark.parametrize("name", ["segment_many", "segment", "mask_png"])
def test_an_option_that_there_is_not_is_refused(kind: Kind, name: str) -> None:
    async def ask() -> None:
        answer = getattr(kind("http://service"), name)([] if name == "segment_many" else b"image", sied=3)
        if asyncio.iscoroutine(answer):
            await answer

    with pytest.raises(TypeError, match=r"no option sied; did you mean side\?.* blend, side"):
        asyncio.run(ask())


def test_the_options_of_a_method_are_listed_with_the_nearest_one() -> None:
    with SegmentClient("http://service") as client:
        with pytest.raises(TypeError, match=r"mean palette\? there are .*classes, .*alpha, .*palette, names"):
            client.overlay(b"image", pallete="labels")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"no option alpha; .*there are .*mask, classes, .*tolerance, topology"):
            client.coco(b"image", alpha=0.5)  # type: ignore[call-arg]
