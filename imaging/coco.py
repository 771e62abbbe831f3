"""Writes a class map as COCO annotations (https://cocodataset.org/#format-data) that pycocotools can read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import shapely

from imaging.classes import Label, is_background
from imaging.coverage import trace_coverage
from imaging.keyholes import keyhole
from imaging.polygons import trace
from imaging.regions import Ids, Regions
from imaging.runs import column_runs

INFO = {"description": "Regions of classes that a network found (fcn-segment)"}
"""`info` of every document. It has no date, so that equal requests give equal bytes."""
Check = Callable[[], None]
Entry = tuple[int, dict[str, Any]]
"""A region's class id, and the fields of its annotation that describe the region."""


def coco_document(
    class_map: Ids,
    labels: Sequence[Label],
    class_ids: Collection[int],
    file_name: str,
    tolerance: float | None,
    check: Check = lambda: None,
    *,
    shares_borders: bool = False,
) -> dict[str, Any]:
    """The COCO document of one image, with one annotation for each region of the classes in `class_ids`.

    `licenses` is empty: the licence of the image is not known. The background and void have no annotations.
    With a `tolerance` in pixels, each region is one polygon; COCO's polygons have no holes, so lines without width lead to
    the holes of a region (`imaging.keyholes`). With None, regions are run lengths,
    exact to the pixel. shares_borders: whether polygons share their borders, as those of `imaging.coverage`. Category ids are
    class ids. If a category has the id 0, all ids are raised by 1, since tools take 0 for the background. `check` is called for
    every few regions, and may raise to end the work. Raises `AnswerTooLarge` like `Regions` and the functions that trace.
    """
    height, width = class_map.shape
    categories = [label for label in labels if not is_background(label.name)]
    shift = int(any(label.id == 0 for label in categories))
    ids = [label.id for label in categories if label.id in class_ids]
    regions = Regions(column_runs(class_map), ids)
    if tolerance is None:
        entries = _masks(regions, check)
    else:
        entries = _outlines((trace_coverage if shares_borders else trace)(class_map, regions, tolerance, check), check)
    return {
        "info": INFO,
        "licenses": [],
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "categories": [{"id": label.id + shift, "name": label.name, "supercategory": ""} for label in categories],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": id + shift, "iscrowd": 0} | entry
            for number, (id, entry) in enumerate(entries, 1)
        ],
    }


def _masks(regions: Regions, check: Check) -> Iterator[Entry]:
    size = [regions.height, regions.width]
    for region in regions.masks(check):
        segmentation = {"size": size, "counts": region.counts}
        yield region.id, {"segmentation": segmentation, "area": region.pixels, "bbox": list(region.bbox)}


def _outlines(polygons: Iterable[tuple[int, shapely.Polygon]], check: Check) -> Iterator[Entry]:
    for id, polygon in polygons:
        left, top, right, bottom = polygon.bounds
        outline = keyhole(polygon, check).round(2).flatten().tolist()
        yield id, {"segmentation": [outline], "area": polygon.area, "bbox": [left, top, right - left, bottom - top]}
