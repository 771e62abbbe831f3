"""Answers that are more, less or other than what the service gives today."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from fcn_client import AsyncSegmentClient, Label, SegmentClient, UnexpectedAnswer, answers, headers
from PIL import Image

from imaging.encoding import grey_png
from imaging.runs import column_runs, encode_rle

CLASS_MAP = np.array([[0, 8, 8], [0, 0, 8]], np.uint8)
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


def document(**changes: Any) -> dict[str, Any]:
    confidence = base64.b64encode(grey_png(CLASS_MAP + 100)).decode()
    return {
        "model": MODEL,
        "image": {"width": 3, "height": 2},
        "classes": [share(0, "background"), share(8, "cat")],
        "class_map": {"encoding": "rle", "size": [2, 3], "counts": encode_rle(column_runs(CLASS_MAP), [0, 8])},
        "tiling": {"side": [2, 3], "tile": [32, 32], "overlap": 0.25, "blend": "mean", "tiles": 1},
        "confidence_map": {"encoding": "png", "data": confidence},
    } | changes


def answer(content: object) -> httpx.Response:
    return httpx.Response(200, json=content, headers=HEADERS, request=httpx.Request("POST", "http://service/segment"))


def test_fields_that_are_not_known_yet_are_passed_over() -> None:
    result = answers.segmentation(answer(document(instances=[])), LABELS)
    np.testing.assert_array_equal(result.class_map, CLASS_MAP)
    assert result.confidence is not None
    np.testing.assert_array_equal(result.confidence, CLASS_MAP + 100)
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
        ({"class_map": {"encoding": "rle", "size": [2, 4], "counts": encode_rle(column_runs(CLASS_MAP), [0, 8])}}, "has 8"),
        ({"class_map": {"encoding": "png", "data": ""}}, "KeyError"),
        ({"confidence_map": {"data": base64.b64encode(grey_png(CLASS_MAP.T)).decode()}}, "confidence map of"),
        ({"confidence_map": {"data": "AAAA"}}, "SyntaxError"),
        ({"classes": [{"id": 1}]}, "KeyError"),
    ],
    ids=["size", "encoding", "confidence's size", "no PNG", "class"],
)
def test_a_segmentation_that_does_not_fit_together_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=message) as error_info:
        answers.segmentation(answer(document(**changes)), LABELS)
    assert (error_info.value.status, error_info.value.request_id) == (200, "abc")


Method = Callable[[Any], Any]
METHODS: dict[str, Method] = {
    "segment": lambda client: client.segment(b"image"),
    "overlay": lambda client: client.overlay(b"image"),
    "cutout": lambda client: client.cutout(b"image"),
    "polygons": lambda client: client.polygons(b"image"),
    "coco": lambda client: client.coco(b"image"),
    "classes": lambda client: client.classes(),
    "models": lambda client: client.models(),
    "info": lambda client: client.info(),
}
PAGE = httpx.MockTransport(lambda _: httpx.Response(200, html="<html>Log in</html>"))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_page_of_another_service_is_told(method: Method) -> None:
    async def ask() -> None:
        async with AsyncSegmentClient("http://service", transport=PAGE) as client:
            await method(client)

    message = "http://service/.* answers text/html.*see that base_url is the service's"
    with SegmentClient("http://service", transport=PAGE) as client, pytest.raises(UnexpectedAnswer, match=message):
        method(client)
    with pytest.raises(UnexpectedAnswer, match=message):
        asyncio.run(ask())


def test_the_mask_of_a_class_that_is_absent_is_all_false() -> None:
    result = answers.segmentation(answer(document()), LABELS)
    for label in ("cat", "Cat"):
        np.testing.assert_array_equal(result.mask(label), CLASS_MAP == 8)
    np.testing.assert_array_equal(result.mask(8), CLASS_MAP == 8)
    for absent in ("dog", 12, 255):
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
    side = 95
    whole = {"size": [side, side], "counts": encode_rle(column_runs(np.zeros((side, side), np.uint8)), [0])}
    data = base64.b64encode(grey_png(np.full((side, side), 7, np.uint8))).decode()
    result = answers.segmentation(answer(document(class_map=whole, confidence_map={"data": data})), LABELS)
    assert result.class_map.shape == (side, side)
    assert result.confidence is not None
    assert result.confidence[-1, -1] == 7


def test_durations_of_others_do_no_harm() -> None:
    timing = 'decode;dur=1.25, cdn;desc="a hit, cached";dur=4, miss, broken;dur=soon, queue; DUR=3'
    durations = headers.timing(httpx.Response(200, headers={"Server-Timing": timing}))
    assert durations == {"decode": 1.25, "queue": 3}
    assert headers.timing(httpx.Response(200)) == {}


def test_a_document_is_json_of_the_service() -> None:
    assert json.dumps(answers.document(answer({"device": "cpu"}))) == '{"device": "cpu"}'


@pytest.mark.parametrize("kind", [SegmentClient, AsyncSegmentClient])
@pytest.mark.parametrize("name", ["segment_many", "segment", "mask_png", "overlay", "cutout", "polygons", "coco"])
def test_an_option_that_there_is_not_is_refused(kind: type[Any], name: str) -> None:
    client = kind("http://service", transport=PAGE)

    async def close(answer: Any) -> None:
        await (answer if asyncio.iscoroutine(answer) else asyncio.sleep(0))
        await client.aclose()

    with pytest.raises(TypeError, match=r"sied.* blend, side"):
        asyncio.run(close(getattr(client, name)([] if name == "segment_many" else b"image", sied=3)))


def test_the_options_of_a_method_are_listed_with_the_nearest_one() -> None:
    with SegmentClient("http://service", transport=PAGE) as client:
        with pytest.raises(TypeError, match=r"mean palette\? there are classes, alpha, image_format, palette, names, overlap"):
            client.overlay(b"image", pallete="labels")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"no option alpha; .*there are mask, classes, tolerance, topology, overlap"):
            client.coco(b"image", alpha=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize("client", [SegmentClient, AsyncSegmentClient])
@pytest.mark.parametrize(
    ("content", "kind"), [(b"<html>Log in</html>", "text/html; charset=utf-8"), (b"<html>", "Text/HTML"), (b"", "image/png")]
)
def test_bytes_of_something_else_are_no_answer(content: bytes, kind: str, client: Callable[..., Any]) -> None:
    """A login's page with status 200, and an answer without a body."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content, headers={"Content-Type": kind})

    def call_client(name: str, *arguments: Any) -> Any:
        one = client("http://service", transport=httpx.MockTransport(reply))
        if isinstance(one, SegmentClient):
            with one:
                return getattr(one, name)(*arguments)

        async def ask() -> Any:
            async with one:
                return await getattr(one, name)(*arguments)

        return asyncio.run(ask())

    calls: list[tuple[Any, ...]] = [("mask_png", b"image"), ("raw", b"image"), ("segment", b"image"), ("classes",), ("info",)]
    calls += [("ready",), ("wait_until_ready", 1.0)] if content else []
    for call in calls:
        with pytest.raises(UnexpectedAnswer, match="see that base_url is the service's"):
            call_client(*call)
