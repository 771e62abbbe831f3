"""The answer in all its forms, as the contract's JSON and PNG say."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from imaging.answer import Segmentation, SegmentedImage, class_statistics
from imaging.encoding import binary_png, color_picture, grey_png, mask_png
from imaging.errors import AnswerTooLarge
from imaging.overlay import overlay_picture
from imaging.palette import VOID_COLOR, display_palette, hex_color
from imaging.rendering import ANSWER_FORMATS, MaskEncoding, Rendering
from imaging.runs import column_runs
from model.labels import numbered_labels
from tests.support.classes import NAMES
from tests.support.images import Pixels, make_photo, open_image

LABELS = numbered_labels(NAMES)
TILING = {"side": [8, 9], "tile": [32, 32], "overlap": 0.25, "blend": "mean", "tiles": 1}
MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.integers(0, 3))
CLASS_MAP = np.array([[1, 1, 1, 0], [1, 1, 1, 3], [1, 1, 1, 3]], np.uint8)


def answer(class_map: Pixels = CLASS_MAP, *, confidence: bool = True) -> SegmentedImage:
    height, width = class_map.shape
    grey = [make_photo(height, width, seed=seed)[..., 0] for seed in (1, 2)]
    sure, means = grey[0] if confidence else None, (0.25, 0.12345678, 0.0, 0.9)
    result = Segmentation(class_map, sure, means, foreground=grey[1])
    return SegmentedImage(result, LABELS, {"name": "narrow", "sha256": "ab" * 32}, TILING, make_photo(height, width))


def changed(**facts: Any) -> SegmentedImage:
    return replace(answer(), result=replace(answer().result, **facts))


def document(class_map: Pixels = CLASS_MAP, mask: MaskEncoding = "rle") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer(class_map).encode(Rendering("json", mask)))
    return content


def test_json_is_the_contracts_document() -> None:
    classes = [
        {"id": 1, "name": "circle", "color": "#800000", "display_color": "#bbff00", "pixels": 9, "fraction": 0.75, "mean_confidence": 0.123457, "bbox": [0, 0, 3, 3]},  # noqa: E501
        {"id": 3, "name": "triangle", "color": "#808000", "display_color": hex_color(display_palette(LABELS.classes)[3]), "pixels": 2, "fraction": 0.166667, "mean_confidence": 0.9, "bbox": [3, 1, 1, 2]},  # noqa: E501
        {"id": 0, "name": "background", "color": "#000000", "display_color": "#484848", "pixels": 1, "fraction": 0.083333, "mean_confidence": 0.25, "bbox": [3, 0, 1, 1]},  # noqa: E501
    ]  # fmt: skip
    content = document()
    counts = content["class_map"].pop("counts")
    assert content == {
        "model": {"name": "narrow", "sha256": "ab" * 32},
        "image": {"width": 4, "height": 3},
        "classes": classes,
        "class_map": {"encoding": "rle", "size": [3, 4]},
        "tiling": TILING,
    }
    assert set(counts) == {"0", "1", "3"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MAPS)
def test_every_encoding_of_the_class_map_says_the_same(class_map: Pixels) -> None:
    rle = document(class_map, "rle")
    assert set(rle["class_map"]["counts"]) == {str(entry["id"]) for entry in rle["classes"]}
    union = np.full(class_map.shape, 255, np.uint8)
    for name, counts in rle["class_map"]["counts"].items():
        union[coco.decode({"size": rle["class_map"]["size"], "counts": counts}) == 1] = int(name)
    png = document(class_map, "png")["class_map"]
    picture = open_image(base64.b64decode(png["data"], validate=True))
    array = document(class_map, "array")["class_map"]
    assert np.array_equal(union, class_map)
    assert (png["encoding"], array["encoding"]) == ("png", "array")
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), class_map)
    assert np.array_equal(np.array(array["data"]), class_map)
    assert set(png) == set(array) == {"encoding", "data"}


def test_png_formats_are_those_of_the_encoders() -> None:
    image = answer()
    expected = {
        "png": mask_png(CLASS_MAP, LABELS.palette),
        "grey": grey_png(CLASS_MAP),
        "binary": binary_png(CLASS_MAP, {1, 2, 3}),
        "color": color_picture(CLASS_MAP, display_palette(LABELS.classes), range(256)),
        "overlay": overlay_picture(image.photo, CLASS_MAP, display_palette(LABELS.classes), 0.25, range(1, 256)),
        "confidence": grey_png(make_photo(3, 4, seed=1)[..., 0]),
    }
    for format, data in expected.items():
        options = {"alpha": 0.25} if format == "overlay" else {}
        assert image.encode(Rendering(format, **options)) == data  # type: ignore[arg-type]
    assert image.encode(Rendering("color", palette="labels")) == color_picture(CLASS_MAP, LABELS.palette, range(256))


@pytest.mark.parametrize("mask", ["rle", "png", "array"])
@pytest.mark.parametrize("format", [format for format in ANSWER_FORMATS if not Rendering(format).needs_place])  # type: ignore[arg-type]
def test_equal_answers_give_equal_bytes(format: Any, mask: Any) -> None:
    rendering = Rendering(format, mask) if Rendering(format).uses("mask") else Rendering(format)
    assert answer(CLASS_MAP.copy()).encode(rendering) == answer(np.asfortranarray(CLASS_MAP)).encode(rendering)


def test_an_overlay_bears_names_and_leaves_the_background_unless_told_otherwise() -> None:
    class_map = np.kron(CLASS_MAP, np.ones((60, 60), np.uint8))
    photo, palette = make_photo(180, 240), display_palette(LABELS.classes)
    names = {label.id: label.name for label in LABELS.classes}
    with_names = overlay_picture(photo, class_map, palette, 0.5, range(1, 256), names=names)
    without = overlay_picture(photo, class_map, palette, 0.5, range(1, 256))
    assert answer(class_map).encode(Rendering("overlay")) == with_names != without
    assert answer(class_map).encode(Rendering("overlay", names=False)) == without
    background = overlay_picture(photo, class_map, palette, 0.5, {0}, names=names)
    assert answer(class_map).encode(Rendering("overlay", classes=("background",))) == background


def test_confidence_that_was_not_computed_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="confidence was not computed"):
        answer(confidence=False).encode(Rendering("confidence"))


def test_the_confidence_map_comes_with_json_where_it_is_asked_for() -> None:
    result = answer()
    assert "confidence_map" not in json.loads(result.encode(Rendering("json")))
    confidence_map = json.loads(result.encode(Rendering("json", confidence=True)))["confidence_map"]
    assert confidence_map["encoding"] == "png"
    np.testing.assert_array_equal(open_image(base64.b64decode(confidence_map["data"])), result.result.confidence)


def test_pixels_below_the_least_confidence_are_void_in_every_form() -> None:
    confidence = np.full((3, 4), 200, np.uint8)
    confidence[0, :2], confidence[2, 3] = 127, 128
    result = changed(confidence=confidence)
    expected = CLASS_MAP.copy()
    expected[0, :2] = 255
    rendering = Rendering("json", "array", min_confidence=0.5)
    document = json.loads(result.encode(rendering))
    assert document["class_map"]["data"] == expected.tolist()
    void = next(entry for entry in document["classes"] if entry["id"] == 255)
    assert (void["name"], void["pixels"]) == ("void", 2)
    assert (void["color"], void["display_color"]) == ("#e0e0c0", hex_color(VOID_COLOR))
    assert void["mean_confidence"] == pytest.approx(127 / 255, abs=1e-6)
    three = next(entry for entry in document["classes"] if entry["id"] == 3)
    assert three["mean_confidence"] == pytest.approx((200 + 128) / 2 / 255, abs=1e-6)
    np.testing.assert_array_equal(open_image(result.encode(Rendering(min_confidence=0.5))), expected)
    confidence[0, :2], confidence[2, 3] = 178, 179  # 0.698 and 0.702
    np.testing.assert_array_equal(open_image(changed(confidence=confidence).encode(Rendering(min_confidence=0.7))), expected)
    confidence[0, :2], confidence[2, 3] = 152, 153  # 0.6 is 153 / 255
    np.testing.assert_array_equal(open_image(changed(confidence=confidence).encode(Rendering(min_confidence=0.6))), expected)


def test_npz_holds_what_was_computed() -> None:
    result = changed(probabilities=np.full((4, 3, 4), 0.25, np.float16))
    for source, names in ((result, {"class_map", "confidence", "probabilities"}), (answer(), {"class_map", "confidence"})):
        with np.load(io.BytesIO(source.encode(Rendering("npz")))) as arrays:
            assert set(arrays) == names
            np.testing.assert_array_equal(arrays["class_map"], CLASS_MAP)
    assert result.encode(Rendering("npz")) == result.encode(Rendering("npz"))


def test_polygons_bear_their_tolerance_and_one_entry_a_class() -> None:
    class_map = json.loads(answer().encode(Rendering("json", "polygons", tolerance=0)))["class_map"]
    assert (class_map["encoding"], class_map["size"], class_map["tolerance"]) == ("polygons", [3, 4], 0)
    assert set(class_map["polygons"]) == {"0", "1", "3"}


@pytest.mark.parametrize(
    "rendering", [Rendering("coco"), Rendering("coco", "polygons"), Rendering("json", "polygons")], ids=str
)
def test_too_many_regions_are_refused_in_every_form_that_lists_them(rendering: Rendering) -> None:
    dots = np.zeros((150, 150), np.uint8)
    dots[1::3, 1::3] = 1
    with pytest.raises(AnswerTooLarge, match=r"2,50\d regions.*at most 2,406.*mask=rle"):
        answer(dots).encode(rendering)
    assert answer(dots).encode(Rendering("json"))
    dots[100:] = 0
    assert answer(dots).encode(rendering)


def test_of_equally_large_classes_the_lower_id_comes_first() -> None:
    assert [entry.id for entry in class_statistics(column_runs(np.array([[9, 3], [3, 9]], np.uint8)))] == [3, 9]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MAPS)
def test_statistics_agree_with_the_map(class_map: Pixels) -> None:
    entries = class_statistics(column_runs(class_map))
    assert sum(entry.pixels for entry in entries) == class_map.size
    assert sorted(entry.id for entry in entries) == np.unique(class_map).tolist()
    assert [entry.pixels for entry in entries] == sorted((entry.pixels for entry in entries), reverse=True)
    for entry in entries:
        rows, columns = np.nonzero(class_map == entry.id)
        assert entry.pixels == len(rows)
        left, top, width, height = entry.bbox
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
