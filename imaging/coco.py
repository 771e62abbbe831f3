"""A class map as COCO annotations (https://cocodataset.org/#format-data), as pycocotools reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely

from imaging.polygons import trace, without_holes
from imaging.rle import encode_rle
from imaging.statistics import class_statistics

BACKGROUND = "background"


class Label(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


def coco_document(
    class_map: npt.NDArray[np.uint8],
    labels: Sequence[Label],
    file_name: str,
    tolerance: float | None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """One image's annotations; what is background, or no class, has none.

    With a tolerance in pixels, polygons: one annotation a region, those with holes in pieces, since COCO's polygons have
    none. Without, one run-length encoded mask a class, `iscrowd` 1 as such masks are marked.
    """
    height, width = class_map.shape
    shown = [label for label in labels if label.name != BACKGROUND]
    present = {entry.id: entry for entry in class_statistics(class_map)}
    annotations: list[dict[str, Any]] = []
    for label in shown:
        if label.id not in present:
            continue
        if tolerance is None:
            entry = present[label.id]
            counts = encode_rle(class_map, [label.id])[str(label.id)]
            found = [
                {"segmentation": {"size": [height, width], "counts": counts}, "area": entry.pixels, "bbox": list(entry.bbox)}
            ]
        else:
            regions = trace(class_map == label.id, tolerance, check)
            outlines = [_outline(piece) for region in regions for piece in without_holes(region, check)]
            found = [outline for outline in outlines if outline["area"]]  # a cut leaves slivers
        facts = {"image_id": 1, "category_id": label.id, "iscrowd": int(tolerance is None)}
        annotations += [{"id": len(annotations) + i} | facts | each for i, each in enumerate(found, 1)]
    return {
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "categories": [{"id": label.id, "name": label.name, "supercategory": ""} for label in shown],
        "annotations": annotations,
    }


def _outline(piece: shapely.Polygon) -> dict[str, Any]:
    left, top, right, bottom = (round(edge, 2) for edge in piece.bounds)
    corners = shapely.get_coordinates(piece.exterior)[:-1].round(2).flatten().tolist()
    box = [left, top, round(right - left, 2), round(bottom - top, 2)]
    return {"segmentation": [corners], "area": round(piece.area, 2), "bbox": box}
