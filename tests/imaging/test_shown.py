"""Which connected regions an answer shows: the largest, or those that the network is sure of; the same ones in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from imaging.answer import Segmentation, SegmentedImage
from imaging.classes import VOID
from imaging.errors import WrongParameter
from imaging.rendering import Rendering
from model.labels import camvid_labels, numbered_labels
from tests.support.classes import NAMES
from tests.support.images import Pixels, open_image

SIZE, CELL = (96, 160), 8
LEFT, MIDDLE, RIGHT = ((slice(20, 70), slice(columns, columns + width)) for columns, width in ((8, 60), (80, 30), (130, 12)))
SURE = (0.4, 0.8, 1.0)


def three_regions() -> SegmentedImage:
    """Brown ones on green; the middle one has a part of class 2."""
    class_map, confidence = np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8)
    for part, sure in zip((LEFT, MIDDLE, RIGHT), SURE, strict=True):
        class_map[part], confidence[part] = 1, round(255 * sure)
    class_map[30:50, 100:110] = 2
    photo = np.where(class_map[..., None] > 0, (150, 100, 60), (60, 130, 70)).astype(np.uint8)
    result = Segmentation(class_map, confidence, foreground=(class_map > 0) * np.uint8(255))
    return SegmentedImage(result, numbered_labels(NAMES), {}, {}, photo, CELL)


def opaque(answer: SegmentedImage, **options: Any) -> tuple[Pixels, Any]:
    body, box = answer.shown(rendering := Rendering("cutout", **options)).encode_with_box(rendering)
    return np.asarray(open_image(body))[..., 3], box


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        ({"objects": "largest"}, [LEFT]),
        ({"objects": "largest", "classes": ("2",)}, [(slice(30, 50), slice(100, 110))]),
        ({"min_object_confidence": 0.8}, [MIDDLE, RIGHT]),
        ({"min_object_confidence": 0.81}, [RIGHT]),
        ({"min_object_confidence": 0.5, "objects": "largest"}, [MIDDLE]),
        ({"min_object_confidence": 1.0, "classes": ("2",)}, []),
        ({"objects": "largest", "classes": ("3",)}, []),
    ],
    ids=str,
)
def test_every_format_shows_the_same_regions(options: dict[str, Any], stays: list[Any]) -> None:
    answer, expected = three_regions(), np.zeros(SIZE, np.bool_)
    for part in stays:
        expected[part] = True
    binary = np.asarray(open_image(answer.encode(Rendering("binary", **options)))) > 0
    assert np.array_equal(binary, expected)
    document = json.loads(answer.encode(Rendering("coco", **options)))
    masks = [coco.decode(each["segmentation"]) for each in document["annotations"]]
    assert np.array_equal(np.any([np.zeros(SIZE), *masks], 0), expected)
    rendering = Rendering("binary", **options)
    assert answer.shown(rendering).object_pixels(rendering) == np.count_nonzero(expected)
    left = replace(answer, result=Segmentation(np.where(expected, answer.result.class_map, np.uint8(0))))
    assert answer.encode(Rendering("overlay", **options)) == left.encode(Rendering("overlay"))
    opacity, box = opaque(answer, **options)
    assert (opacity[expected] > 127).mean() > 0.9 if stays else not opacity.any()
    assert (box is None) == (not stays)


@pytest.mark.parametrize("gap", [4, 12])
def test_soft_edges_leave_nothing_of_a_region_that_is_left_out(gap: int) -> None:
    """Between two regions the photo has their own colours, and the network is in doubt."""
    answer, end = three_regions(), 68 + gap
    class_map, foreground = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    class_map[20:70, 8:68] = class_map[20:70, end : end + 30] = 1
    foreground[20:70, 8 : end + 30] = 120
    foreground[class_map > 0] = 255
    photo = np.where(foreground[..., None] > 0, (150, 100, 60), (60, 130, 70))
    photo += np.random.default_rng(0).integers(-8, 9, photo.shape)
    answer = replace(answer, result=Segmentation(class_map, foreground=foreground), photo=photo.astype(np.uint8))
    opacity, box = opaque(answer, objects="largest")
    assert not opacity[:, end - gap // 6 :].any()
    assert opacity[45, 8:60].min() > 250
    assert box is not None
    assert box[0] + box[2] <= end


def test_of_equal_regions_the_first_is_the_largest_and_void_is_none() -> None:
    class_map = np.array([[VOID, VOID, VOID, 0], [1, 0, 1, 0]], np.uint8)
    answer = replace(three_regions(), result=Segmentation(class_map), photo=np.zeros((2, 4, 3), np.uint8))
    binary = np.asarray(open_image(answer.encode(Rendering("binary", objects="largest"))))
    assert np.array_equal(binary > 0, [[False] * 4, [True, False, False, False]])
    overlay = open_image(answer.encode(Rendering("overlay", objects="largest", names=False, alpha=1)))
    assert np.asarray(overlay)[1].any()


def test_a_model_without_background_is_asked_for_classes() -> None:
    for format in ("coco", "overlay"):
        with pytest.raises(WrongParameter, match="objects and min_object_confidence need classes="):
            Rendering(format, objects="largest").class_ids(camvid_labels().classes)
