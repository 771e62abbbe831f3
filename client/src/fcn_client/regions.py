"""The connected regions of a class map, for label tools: masks or outlines, each with a score.

Needs scipy, which the extras `cvat` and `label-studio` bring.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from fcn_client.results import Segmentation


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class that touch at their sides.

    id: of the class. score: mean confidence of the pixels, 0 to 1. left, top: the position of its box, in pixels. mask: bool
    (H, W), in which H and W are the size of the box.
    """

    id: int
    score: float
    left: int
    top: int
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outline:
    """A polygon around a region of one class. A line without width leads to each of its holes, and back.

    id: of the class. score: mean confidence of the pixels in it, 0 to 1. points: float64 (N, 2), x and y in pixels.
    """

    id: int
    score: float
    points: npt.NDArray[np.float64]


def regions(result: Segmentation, ids: Collection[int]) -> Iterator[Region]:
    """The regions of these classes, class by class, from top to bottom. Raises `ValueError` without a confidence map."""
    confidence = _confidence(result)
    for id in sorted(set(ids) & {entry.id for entry in result.classes}):
        numbers, _ = ndimage.label(result.class_map == id)
        for number, box in enumerate(ndimage.find_objects(numbers), 1):
            mask = numbers[box] == number
            yield Region(id, float(confidence[box][mask].mean()) / 255, box[1].start, box[0].start, mask)


def outlines(result: Segmentation, document: Mapping[str, Any]) -> Iterator[Outline]:
    """The polygons of a COCO document of the same image, in its order. Raises `ValueError` without a confidence map."""
    confidence = _confidence(result)
    ids = {label.name: label.id for label in result.labels}
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    for annotation in document["annotations"]:
        for coordinates in annotation["segmentation"]:
            points = np.array(coordinates, np.float64).reshape(-1, 2)
            yield Outline(ids[names[annotation["category_id"]]], _mean_confidence(confidence, points), points)


def _confidence(result: Segmentation) -> npt.NDArray[np.uint8]:
    if result.confidence is None:
        raise ValueError("scores need the confidence map; ask with confidence=True")
    return result.confidence


def _mean_confidence(confidence: npt.NDArray[np.uint8], points: npt.NDArray[np.float64]) -> float:
    """Mean confidence of the pixels in the polygon, 0 to 1."""
    left, top = np.floor(points.min(0)).astype(int).tolist()
    crop = confidence[top : int(np.ceil(points[:, 1].max())), left : int(np.ceil(points[:, 0].max()))]
    canvas = Image.new("1", (crop.shape[1], crop.shape[0]))
    ImageDraw.Draw(canvas).polygon([(x - left - 0.5, y - top - 0.5) for x, y in points.tolist()], fill=1, outline=1)
    mask = np.asarray(canvas)
    return float(crop[mask].mean() if mask.any() else crop.mean()) / 255
