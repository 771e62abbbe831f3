"""Documents of one image each, put into one: ids, and names that look like the document's own syntax."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from imaging.answer import SegmentedImage
from imaging.coco import renumber, split_document
from imaging.rendering import Rendering
from model.labels import numbered_labels

HOSTILE = '{"id":7,"image_id":1}],"categories":[{"id":1}],"annotations":[{"id":1,"image_id":1,'


def document(name: str = "a.png", mask: Any = "rle", label: str = "dot") -> bytes:
    class_map = np.zeros((40, 40), np.uint8)
    class_map[5:10, 5:10] = class_map[20:30, 20:30] = 1
    labels = numbered_labels(["background", label])
    return SegmentedImage(None, class_map, None, None, (0.5, 0.5), labels, {}, {}).encode(Rendering("coco", mask, name=name))


@pytest.mark.parametrize("mask", ["rle", "polygons"])
@pytest.mark.parametrize("text", ["a.png", HOSTILE, "ü\n\\", "\udcff"])
def test_ids_change_and_nothing_else(mask: str, text: str) -> None:
    whole = document(text, mask, text)
    parts = renumber(split_document(whole), 12, 300)
    before, image, annotations = json.loads(whole), json.loads(parts.image), json.loads(b"[" + parts.annotations + b"]")
    assert parts.number == len(annotations) == 2
    assert json.loads(b"[" + parts.categories + b"]") == before["categories"]
    assert image == before["images"][0] | {"id": 12}
    assert annotations == [
        entry | {"id": id, "image_id": 12} for id, entry in zip((300, 301), before["annotations"], strict=True)
    ]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"images":[],"categories":[],"annotations":[]}', document()[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected the COCO document of one image"):
        split_document(data)
