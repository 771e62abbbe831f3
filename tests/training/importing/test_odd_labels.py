"""Odd values anywhere in an export never end in a traceback, and no object becomes background without a word."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.training.coco import SIZE, Ids
from tests.support.training.label_tools import label_studio_result, png_text, write_label_studio_results, write_labelme_shapes
from training.commands.import_labels import main

TRIES = 40
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
@pytest.mark.parametrize("unknown", ["error", "void"])
def test_no_odd_value_makes_an_object_background(
    write: Any, unknown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file: Path = write(tmp_path / "export")
    document = json.loads(file.read_text())
    export = file if write is label_studio_export else file.parent

    def imported(content: Any) -> tuple[int, Ids | None, set[str]]:
        """The exit status, the mask, and the lines of the output but the first, which names the folder."""
        file.write_text(json.dumps(content))
        shutil.rmtree(tmp_path / "DATA", ignore_errors=True)
        status = main([str(export), "--out", str(tmp_path / "DATA"), "--unknown", unknown])
        mask = tmp_path / "DATA" / "masks" / "0.png"
        return status, np.asarray(Image.open(mask)) if mask.exists() else None, set(capsys.readouterr().out.splitlines()[1:])

    status, mask, lines = imported(document)
    assert status == 0
    assert mask is not None
    chance = random.Random(0)
    everywhere = [place for place in places(document) if not set(OUTLINE) & set(place)]
    for _ in range(TRIES):
        place, value = chance.choice(everywhere), chance.choice(ODD)
        status, other, others = imported(changed(document, place, value))
        assert status in (0, 2)
        is_told = status == 2 or bool(others - lines)
        # another place, size or angle; without an angle, a box is not turned
        is_geometry = (isinstance(value, int | float) and not isinstance(value, bool)) or (place[-1], value) == (
            "rotation",
            None,
        )
        assert is_told or is_geometry or (other is not None and other[mask > 0].all()), (place, value)
