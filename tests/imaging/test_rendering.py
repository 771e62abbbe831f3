"""What form of answer may be asked for, and which classes it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from imaging.answer import Segmentation, SegmentedImage
from imaging.errors import AnswerTooLarge, WrongParameter
from imaging.rendering import ANSWER_FORMATS, RENDERING, Rendering, parse_classes
from model.labels import camvid_labels, numbered_labels, voc_labels
from tests.support.images import open_image

VOC = voc_labels().classes
SHOWING: list[dict[str, Any]] = [
    *({"format": format} for format in ("color", "overlay", "cutout", "binary", "coco", "geojson")),
    {"format": "json", "mask": "polygons"},
]


@pytest.mark.parametrize("options", SHOWING, ids=str)
def test_classes_are_named_or_numbered_in_upper_or_lower_case(options: dict[str, Any]) -> None:
    assert Rendering(**options, classes=("cat", "Dog", "15")).class_ids(VOC) == {8, 12, 15}


@pytest.mark.parametrize(
    ("rendering", "advice"),
    [
        (Rendering("json", "array"), "ask for mask=rle or mask=png"),
        (Rendering("npz", probabilities=True), "ask for it without probabilities"),
    ],
    ids=["array", "probabilities"],
)
def test_an_answer_that_is_too_large_is_told_what_goes_with_its_format(rendering: Rendering, advice: str) -> None:
    rendering.check((2000, 2000))
    with pytest.raises(AnswerTooLarge, match=f"; {advice}$"):
        rendering.check((2001, 2000))


def test_an_image_format_is_of_pictures_alone() -> None:
    for picture in ("color", "overlay"):
        assert Rendering(picture, image_format="jpeg").media_type == "image/jpeg"  # type: ignore[arg-type]
        assert Rendering(picture, image_format="webp").suffix == ".webp"  # type: ignore[arg-type]
    assert Rendering("cutout", image_format="webp").suffix == ".webp"
    assert Rendering("cutout", image_format="jpeg", background="#ffffff").media_type == "image/jpeg"
    with pytest.raises(WrongParameter, match="image_format=jpeg of format=cutout needs a background"):
        Rendering("cutout", image_format="jpeg")
    for format, image_format in product(set(ANSWER_FORMATS) - {"color", "overlay", "cutout"}, ("png", "jpeg", "webp")):
        with pytest.raises(WrongParameter, match=f"applies to format=color, overlay, cutout, got format={format}"):
            Rendering(format, image_format=image_format)  # type: ignore[arg-type]


@pytest.mark.parametrize(("image_format", "side"), [("jpeg", 65_500), ("webp", 16_383)])
@pytest.mark.parametrize("format", ["color", "overlay"])
def test_a_picture_that_is_too_long_for_its_image_format_is_refused(format: Any, image_format: Any, side: int) -> None:
    rendering = Rendering(format, image_format=image_format)
    rendering.check((2, side))
    photo, class_map = np.zeros((2, side, 3), np.uint8), np.zeros((2, side), np.uint8)
    answer = SegmentedImage(Segmentation(class_map), voc_labels(), {}, {}, photo)
    assert open_image(answer.encode(rendering)).size == (side, 2)
    for size in ((2, side + 1), (side + 1, 2)):
        with pytest.raises(AnswerTooLarge, match=f"a side of {image_format} has at most .*image_format=png"):
            rendering.check(size)
    Rendering(format).check((2, 100_000))


@pytest.mark.parametrize("format", ANSWER_FORMATS)
def test_a_confidence_map_is_needed_where_the_answer_holds_one(format: Any) -> None:
    assert Rendering(format).needs_confidence_map == (format in ("confidence", "npz", "geojson"))
    assert Rendering("json", confidence=True).needs_confidence_map


@pytest.mark.parametrize(
    ("options", "formats"),
    [
        (
            {"format": "png", "mask": "polygons"},
            "mask applies to format=json, coco, got format=png; give format=json&mask=polygons, or leave mask out",
        ),
        (
            {"format": "png", "tolerance": 2.0},
            "tolerance applies to format=geojson and format=json or coco with mask=polygons, got",
        ),
        ({"format": "coco", "topology": "shared"}, "got format=coco, mask=rle; give mask=polygons, or leave topology out"),
        ({"format": "png", "tolerance": 2.0}, "got format=png; give format=json&mask=polygons, or leave tolerance out"),
    ],
    ids=str,
)
def test_a_parameter_that_does_not_go_with_the_format_is_refused(options: dict[str, Any], formats: str) -> None:
    with pytest.raises(WrongParameter, match=formats):
        Rendering(**options)


@pytest.mark.parametrize("format", ANSWER_FORMATS)
def test_a_parameter_changes_the_form_of_answer_or_is_refused(format: Any) -> None:
    rendering = Rendering(format)
    values = {"mask": "polygons", "classes": ("cat",), "background": "white", "palette": "labels", "topology": "shared"}
    values |= {"objects": "largest", "width": 800, "height": 1}
    for name in RENDERING.keys() - {"format", "image_format"}:  # an earlier test
        value = values.get(name, not RENDERING[name].default if RENDERING[name].type is bool else 0.25)
        if rendering.uses(name):
            assert replace(rendering, **{name: value}) != rendering
        else:
            with pytest.raises(WrongParameter, match=f"{name} applies to .*; give .*, or leave {name} out"):
                replace(rendering, **{name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "bmp"}, "format must be one of png, grey, .*, got 'bmp'"),
        ({"format": "json", "mask": "foo"}, "mask must be one of rle, png, array, polygons, got 'foo'"),
        ({"min_confidence": 5}, "min_confidence must be a number from 0 to 1, got 5"),
        ({"min_confidence": float("nan")}, "min_confidence must be a number from 0 to 1, got nan"),
        ({"format": "overlay", "alpha": True}, "alpha must be a number from 0 to 1, got True"),
        ({"format": "json", "classes": "cat"}, "classes must be of the type tuple, names or ids, got 'cat'"),
        ({"format": "cutout", "background": "clear"}, "clear"),
        ({"format": "json", "confidence": "no"}, "confidence must be of the type bool, got 'no'"),
    ],
    ids=str,
)
def test_a_value_that_http_would_refuse_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rendering(**options)
    assert Rendering(min_confidence=np.float32(0.5)).min_confidence == 0.5


def test_without_classes_all_are_shown_but_for_the_background_of_binary() -> None:
    assert Rendering("color").class_ids(VOC) == set(range(256))
    assert Rendering("binary").class_ids(VOC) == set(range(1, 21))


def test_a_cutout_shows_the_same_and_takes_no_least_confidence() -> None:
    assert Rendering("cutout").class_ids(VOC) == set(range(1, 21))
    assert Rendering("cutout", classes=("cat",)).class_ids(VOC) == {8}
    with pytest.raises(WrongParameter, match="format=cutout needs classes=, as this model has no background"):
        Rendering("cutout").class_ids(camvid_labels().classes)
    with pytest.raises(WrongParameter, match="min_confidence applies to"):
        Rendering("cutout", min_confidence=0.5)
    assert Rendering("cutout").media_type == "image/png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dgo", r"no class 'dgo'; did you mean 'dog'\?.*aeroplane, bicycle"),
        ("21", "no class '21'"),
        ("quux", "no class 'quux';"),
    ],
)
def test_a_class_that_the_model_lacks_is_refused_with_the_list(text: str, message: str) -> None:
    with pytest.raises(WrongParameter, match=message):
        Rendering("coco", classes=("cat", text)).class_ids(VOC)


def test_a_name_beats_an_id_and_the_exact_name_one_in_another_case() -> None:
    labels = numbered_labels(["background", "2", "Car", "car"]).classes
    assert Rendering("color", classes=("2",)).class_ids(labels) == {1}
    assert Rendering("color", classes=("Car",)).class_ids(labels) == {2}
    assert Rendering("color", classes=("car",)).class_ids(labels) == {3}


def test_the_classes_of_a_model_are_gone_through_no_more_often_for_many_names_than_for_one() -> None:
    class Noted(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            reads.append(0)
            return super().__iter__()

    reads, counts, labels = list[int](), list[int](), Noted(VOC)
    for names in (["1"], ["1", "cat"] * 1000):
        reads.clear()
        Rendering("binary", classes=tuple(names)).class_ids(labels)
        counts.append(len(reads))
    assert counts[0] == counts[1]


def test_classes_are_separated_by_commas() -> None:
    assert parse_classes(" cat, potted plant,,3 ") == ("cat", "potted plant", "3")
    assert parse_classes(" , ") == ()
