"""A class map as COCO annotations (https://cocodataset.org/#format-data), as pycocotools reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely

from imaging.polygons import trace, without_holes
from imaging.regions import find_regions
from imaging.statistics import pixel_counts

BACKGROUND = "background"


class Label(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


def is_background(name: str) -> bool:
    """Whether a class of this name is the background: `background`, `Background`, labelme's `_background_`."""
    return name.strip().strip("_").casefold() == BACKGROUND


def coco_document(
    class_map: npt.NDArray[np.uint8],
    labels: Sequence[Label],
    file_name: str,
    tolerance: float | None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """One image's annotations: one for each class and 4-connected region; what is background, or no class, has none.

    With a tolerance in pixels, polygons: a region with holes is several, since COCO's polygons have none. Without, run
    lengths, exact to the pixel. Category ids are those of the classes, all plus 1 where a shown class has the id 0, which
    tools take for the background. `check` is called for each region, and ends the work by raising.
    """
    height, width = class_map.shape
    shown = [label for label in labels if not is_background(label.name)]
    shift = int(any(label.id == 0 for label in shown))
    annotations: list[dict[str, Any]] = []
    counts = pixel_counts(class_map)
    for label in (label for label in shown if counts[label.id]):
        inside = class_map == label.id
        regions = _masks(inside, check) if tolerance is None else _polygons(inside, tolerance, check)
        for region in regions:
            facts = {"id": len(annotations) + 1, "image_id": 1, "category_id": label.id + shift, "iscrowd": 0}
            annotations.append(facts | region)
    return {
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "categories": [{"id": label.id + shift, "name": label.name, "supercategory": ""} for label in shown],
        "annotations": annotations,
    }


def _masks(inside: npt.NDArray[np.bool_], check: Callable[[], None]) -> Iterator[dict[str, Any]]:
    size = list(inside.shape)
    for region in find_regions(inside, check):
        yield {
            "segmentation": {"size": size, "counts": region.counts},
            "area": region.pixels,
            "bbox": list(region.bbox),
        }


def _polygons(inside: npt.NDArray[np.bool_], tolerance: float, check: Callable[[], None]) -> Iterator[dict[str, Any]]:
    for region in trace(inside, tolerance, check):
        pieces = [piece for piece in without_holes(region, check) if round(piece.area, 2)]  # a cut leaves slivers
        if not pieces:
            continue
        left, top, right, bottom = (round(edge, 2) for edge in shapely.total_bounds(pieces).tolist())
        yield {
            "segmentation": [shapely.get_coordinates(piece.exterior)[:-1].round(2).flatten().tolist() for piece in pieces],
            "area": round(sum(piece.area for piece in pieces), 2),
            "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        }
