"""Odd values anywhere in an export never end in a traceback, and no object becomes background without a word."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training.coco import SIZE, Ids, drawn
from tests.support.training.label_tools import label_studio_result, png_text, write_label_studio_results, write_labelme_shapes
from training.data.problems import DataError
from training.importing.exports import read_exports
from training.importing.omissions import Omissions

TRIES = 80
ODD: list[Any] = [
    None, True, [], {}, "", "x", -1, 0, 1, 3.7, 1e308, 10**400, "255", "a\nb", "x" * 5000, ["leaf"], [None], [[]], [{}], [1, 2],
    [[1, 2], [3, 4]], {"x": 1}, {"a": [1]},
]  # fmt: skip
# the outline itself: other values of these make another outline, which is read as it stands
OUTLINE = ("points", "vertices", "rle", "isBezier", "controlPoint1", "controlPoint2", "image")
Place = tuple[str | int, ...]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all values inside a document."""
    if place:
        yield place
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*place, key))


def changed(document: Any, place: Place, value: Any) -> Any:
    """A copy of a document with another value at a place."""
    document = copy.deepcopy(document)
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return document


def label_studio_export(root: Path) -> Path:
    bitmask = np.zeros((*SIZE, 4), np.uint8)
    bitmask[5:9, 40:50, 3] = 255
    vertices = [{"x": 60, "y": 60, "id": "a"}, {"x": 90, "y": 60, "id": "b"}, {"x": 90, "y": 90, "id": "c"}]
    results = [
        label_studio_result("polygonlabels", "leaf", points=[[1, 1], [20, 1], [20, 20]], closed=True),
        label_studio_result("rectanglelabels", "leaf", x=50, y=20, width=10, height=10, rotation=30),
        label_studio_result("ellipselabels", "stem", x=30, y=70, radiusX=10, radiusY=5, rotation=10),
        label_studio_result("bitmasklabels", "leaf", imageDataURL=f"data:image/png;base64,{png_text(bitmask)}"),
        label_studio_result("vectorlabels", "stem", closed=True, vertices=vertices),
    ]
    return write_label_studio_results(root, results)


def labelme_export(root: Path) -> Path:
    shapes: list[Mapping[str, Any]] = [
        {"label": "leaf", "shape_type": "polygon", "points": [[0, 0], [10, 0], [10, 10]], "flags": {}, "mask": None},
        {"label": "stem", "shape_type": "mask", "points": [[10, 10], [13, 12]], "mask": png_text(np.ones((3, 4), bool))},
        {"label": "leaf", "shape_type": "circle", "points": [[30, 20], [30, 25]]},
        {"label": "leaf", "shape_type": "rotation", "direction": 0.5, "points": [[50, 10], [55, 15], [52, 18], [47, 13]]},
    ]
    return write_labelme_shapes(root, *shapes) / "0.json"


@pytest.mark.parametrize("write", [label_studio_export, labelme_export])
def test_no_odd_value_makes_an_object_background(write: Callable[[Path], Path], tmp_path: Path) -> None:
    file = write(tmp_path)
    document = json.loads(file.read_text())

    def read(content: Any) -> tuple[Ids | None, set[str]]:
        """The mask, and the lines of what is told; no mask where an import would end."""
        file.write_text(json.dumps(content))
        omissions = Omissions("void")
        try:
            (result,) = read_exports(file if write is label_studio_export else tmp_path, omissions)
        except DataError as error:
            return None, {str(error)}
        if any((image.get("height"), image.get("width")) != SIZE for image in result.images):
            return None, {"the photo has another size"}
        masks, told = drawn(result, omissions)
        if not any(np.isin(each, (1, 2)).any() for each in masks):
            return None, {"no pixel is of a class"}
        return masks[0], set(told.splitlines())

    mask, lines = read(document)
    assert mask is not None
    chance = random.Random(0)
    everywhere = [place for place in places(document) if not set(OUTLINE) & set(place)]
    for _ in range(TRIES):
        place, value = chance.choice(everywhere), chance.choice(ODD)
        other, others = read(changed(document, place, value))
        # another place, size or angle; without an angle, a box is not turned
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_geometry = is_number or (place[-1], value) == ("rotation", None)
        assert others - lines or is_geometry or (other is not None and other[mask > 0].all()), (place, value)
