"""Writes the regions of a class map as shapes with scores, in the answer that X-AnyLabeling reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import numpy as np

from common.arrays import Ids
from imaging.classes import Label
from imaging.coco import keyhole
from imaging.objects import DIGITS
from imaging.polygons import trace


def shapes_answer(
    class_map: Ids, confidence: Ids | None, labels: Sequence[Label], class_ids: Collection[int], share: float
) -> bytes:
    """The JSON of an answer with one polygon for each region of these classes, in the order of COCO's annotations.

    class_map, confidence: uint8 (H, W), the latter round(255 x probability); None for a network without it, whose shapes have
    the score null. share: of its outer ring's length, by which a point may move; 0 keeps every corner. Polygons have no holes,
    so lines without width lead to the holes of a region (`keyhole`). `replace` is null: the tool's own switch decides. Raises
    `AnswerTooLarge` as `trace`.
    """
    names = {label.id: label.name for label in labels}
    parts = [(class_map, np.ones((len(class_map), 1)), confidence)]
    shapes = (
        {
            "label": names[each.id],
            "shape_type": "polygon",
            "points": keyhole(each.polygon).round(2).tolist(),
            "score": None if each.confidence is None else round(each.confidence, DIGITS),
            "attributes": {},
        }
        for each in trace(class_map, class_ids, share, parts=parts, is_share=True)
    )
    content = b",".join(json.dumps(shape, separators=(",", ":")).encode() for shape in shapes)
    return b'{"success":true,"data":{"shapes":[%b],"description":"","replace":null}}' % content
