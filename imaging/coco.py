"""Writes a class map as COCO annotations (https://cocodataset.org/#format-data) that pycocotools can read.

`JoinedDocument` makes one document of those of several images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import shapely

from common.arrays import Floats, Ids, Integers
from imaging.classes import Label, is_background
from imaging.objects import MapObject
from imaging.polygons import trace
from imaging.regions import Regions
from imaging.runs import column_runs

INFO = {"description": "Regions of classes that a network found (fcn-segment)"}
"""`info` of every document. It has no date, so that equal requests give equal bytes."""
Entry = tuple[int, dict[str, Any]]
"""A region's class id, and the fields of its annotation that describe the region."""
HEAD = json.dumps({"info": INFO, "licenses": []}, separators=(",", ":")).encode()[:-1]
"""The first members of every document, without the final brace."""
DOCUMENT = re.compile(re.escape(HEAD) + rb',"images":\[(\{.*?\})\],"categories":\[(.*?)\],"annotations":\[(.*)\]\}', re.DOTALL)
IDS = re.compile(rb'(?<=\{"id":)\d+,"image_id":\d+(?=,)')


def coco_document(
    class_map: Ids,
    labels: Sequence[Label],
    class_ids: Collection[int],
    file_name: str,
    tolerance: float | None,
    *,
    shares_borders: bool = False,
) -> dict[str, Any]:
    """The COCO document of one image, with one annotation for each region of the classes in `class_ids`.

    `licenses` is empty: the licence of the image is not known. The background and void have no annotations.
    With a `tolerance` in pixels, each region is one polygon; COCO's polygons have no holes, so lines without width lead to
    the holes of a region (`keyhole`). With None, regions are run lengths,
    exact to the pixel. shares_borders: as for `trace`. Category ids are
    class ids. If a category has the id 0, all ids are raised by 1, since tools take 0 for the background. Raises
    `AnswerTooLarge` like `Regions` and the functions that trace.
    """
    height, width = class_map.shape
    categories = [label for label in labels if not is_background(label.name)]
    shift = int(any(label.id == 0 for label in categories))
    ids = [label.id for label in categories if label.id in class_ids]
    if tolerance is None:
        entries = _masks(Regions(column_runs(class_map), ids))
    else:
        entries = _outlines(trace(class_map, ids, tolerance, shares_borders=shares_borders))
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


def _masks(regions: Regions) -> Iterator[Entry]:
    size = [regions.height, regions.width]
    for region in regions.masks():
        segmentation = {"size": size, "counts": region.counts}
        yield region.id, {"segmentation": segmentation, "area": region.pixels, "bbox": list(region.bbox)}


def _outlines(regions: Iterable[MapObject]) -> Iterator[Entry]:
    for each in regions:
        left, top, right, bottom = each.polygon.bounds
        outline = keyhole(each.polygon).round(2).flatten().tolist()
        bbox = [left, top, right - left, bottom - top]
        yield each.id, {"segmentation": [outline], "area": each.polygon.area, "bbox": bbox}


class JoinedDocument:
    """The documents of several images as one, in pieces: what `add` gives of each image, then `rest`. For one thread.

    It has the annotations first, whose ids count from 1. So it can be sent, or written, before the last image is there. Between
    two calls it holds no more of an image than the number of its annotations.
    """

    def __init__(self) -> None:
        self._head, self._categories, self._annotations = HEAD + b',"annotations":[', b"", 0

    def add(self, document: bytes, image_id: int, changes: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """The next piece, and the image's entry in `images`, JSON in one line, which `rest` needs.

        document: as `SegmentedImage.encode` wrote it; raises `ValueError` for other bytes. changes: of the entry: its
        `file_name`, and facts that it has not.
        """
        parts = DOCUMENT.fullmatch(document)
        if parts is None:
            raise ValueError(f"expected the COCO document of one image, as format=coco answers it, got {document[:60]!r}")
        image, self._categories, annotations = parts.groups()
        numbers = count(self._annotations + 1)
        annotations = IDS.sub(lambda _: b'%d,"image_id":%d' % (next(numbers), image_id), annotations)
        piece = self._head + b"," * bool(annotations and self._annotations) + annotations
        self._head, self._annotations = b"", next(numbers) - 1
        return piece, json.dumps(json.loads(image) | {"id": image_id} | changes, separators=(",", ":")).encode()

    def rest(self, images: Iterable[bytes], problems: Iterable[bytes] | None = None) -> Iterator[bytes]:
        """The last pieces. images: the entries. problems: of the images that have no document; None leaves the list out."""
        yield self._head
        for name, entries in ((b"images", images), (b"categories", [self._categories]), (b"problems", problems)):
            if entries is not None:
                yield b'],"%s":[' % name
                for index, entry in enumerate(entries):
                    yield b"," * bool(index) + entry
        yield b"]}"


def keyhole(polygon: shapely.Polygon) -> Floats:
    """The polygon as one ring: float64 (N, 2), x then y. The last corner is not the first one again.

    A horizontal line leads from the leftmost corner of each hole to the next ring on its left. The ring goes along this line
    to the hole, round the hole, and back along the same line. The line has no width, so the ring encloses the same pixels as
    the polygon. The polygon must be valid, its corners at multiples of half a pixel.
    """
    if not polygon.interiors:
        outer: Floats = shapely.get_coordinates(polygon.exterior)[:-1]
        return outer
    corners, firsts = _from_the_left(polygon)
    rings = len(firsts) - 1
    ends = np.append(corners[1:], corners[:1], 0)
    ends[firsts[1:] - 1] = corners[firsts[:-1]]
    edges, xs = _edges_on_the_left(corners, ends, firsts)
    exits = np.column_stack([xs, corners[firsts[1:-1], 1]])  # for each hole: the point where a ring leaves towards it
    parents = np.searchsorted(firsts, edges, "right") - 1
    order = np.lexsort((np.where(ends[edges, 0] < corners[edges, 0], -xs, xs), edges))  # of the exits along the rings
    bounds = np.searchsorted(parents[order], np.arange(rings + 1)).tolist()
    pieces: list[Floats] = []
    stack = [(0, 0, bounds[0])]  # a ring, the index of its next corner, and the index in `order` of its next exit
    while stack:
        ring, corner, next_exit = stack.pop()
        if next_exit < bounds[ring + 1]:
            hole = int(order[next_exit])
            end = int(edges[hole]) + 1
            pieces += [corners[corner:end], exits[hole : hole + 1]]
            stack += [(ring, end, next_exit + 1), (hole + 1, int(firsts[hole + 1]), bounds[hole + 1])]
            continue
        pieces.append(corners[corner : firsts[ring + 1]])
        if ring:
            pieces += [corners[firsts[ring] : firsts[ring] + 1], exits[ring - 1 : ring]]
    whole = np.concatenate(pieces)
    distinct: Floats = whole[(whole != np.roll(whole, 1, 0)).any(1)]
    return distinct


def _from_the_left(polygon: shapely.Polygon) -> tuple[Floats, Integers]:
    """The corners of the outer ring, then of each hole, float64 (N, 2); and the index of each ring's first corner, then N.

    Each ring begins at its leftmost corner.
    """
    corners, rings = shapely.get_coordinates(shapely.get_rings(polygon), return_index=True)
    is_end = np.append(rings[1:] != rings[:-1], True)  # a ring's last corner is its first one
    corners, rings = corners[~is_end], rings[~is_end]
    sizes = np.bincount(rings)
    firsts = np.append(0, np.cumsum(sizes))
    by_x = np.lexsort((corners[:, 1], corners[:, 0], rings))
    shift = by_x[firsts[:-1]] - firsts[:-1]
    places = np.arange(len(corners)) - firsts[rings]
    return corners[firsts[rings] + (places + shift[rings]) % sizes[rings]], firsts


def _edges_on_the_left(begins: Floats, ends: Floats, firsts: Integers) -> tuple[Integers, Floats]:
    """For each hole: the index of the nearest edge to the left of its leftmost corner, and the x of that edge in its row.

    begins, ends: the two corners of each edge, float64 (N, 2), ring by ring. firsts: as from `_from_the_left`.
    """
    rings = np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))
    starts = begins[firsts[1:-1]]
    rows = np.unique(starts[:, 1])
    low = np.searchsorted(rows, np.minimum(begins[:, 1], ends[:, 1]), "left")
    count = np.searchsorted(rows, np.maximum(begins[:, 1], ends[:, 1]), "right") - low
    count[begins[:, 1] == ends[:, 1]] = 0  # the edges before and after a horizontal one contain its ends
    edges = np.repeat(np.arange(len(begins)), count)
    row = np.arange(len(edges)) + np.repeat(low - np.cumsum(count) + count, count)
    (x0, y0), (x1, y1) = begins[edges].T, ends[edges].T
    x = x0 + (rows[row] - y0) / (y1 - y0) * (x1 - x0)
    usable = (rings[edges] == 0) | (x > begins[firsts[rings[edges]], 0])  # a hole's leftmost corner has nothing behind it
    edges, row, x = edges[usable], row[usable], x[usable]
    is_start = np.repeat([False, True], [len(edges), len(starts)])
    order = np.lexsort((is_start, np.append(x, starts[:, 0]), np.append(row, np.searchsorted(rows, starts[:, 1]))))
    latest = np.maximum.accumulate(np.where(is_start[order], 0, np.arange(len(order))))
    nearest = np.empty(len(starts), np.int64)
    nearest[order[is_start[order]] - len(edges)] = order[latest[is_start[order]]]
    return edges[nearest], x[nearest]
