"""Reads Label Studio's JSON export as a document of COCO's form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi, radians, sin
from pathlib import Path
from typing import Any

from training.data.brush import decode_brush
from training.data.coco.files import Document
from training.data.coco.objects import encode_mask
from training.data.omissions import Omissions
from training.data.problems import DataError, first_names, raise_all

CORNERS = 64  # of the polygon that an ellipse becomes
LABELS = ("brushlabels", "polygonlabels", "ellipselabels", "rectanglelabels", "labels")


def read_label_studio(
    path: Path, tasks: Sequence[Any], omissions: Omissions, image_field: str | None = None
) -> tuple[Document, list[str], list[DataError]]:
    """The images, objects and categories of an export's tasks, notes for the user, and all errors of all tasks.

    Brush labels become run lengths, polygons and ellipses polygons, rectangles boxes. A category's id is its label. Of several
    annotations of a task the one that is the ground truth counts, else the last. Tasks without annotation are left out, with a
    note. Raises `DataError` with all errors of all tasks.
    """
    if any(isinstance(task, dict) and "annotations" not in task and "completions" not in task for task in tasks):
        raise DataError(f"{path} lacks annotations: export JSON, not JSON-MIN")
    document = Document([], [], [])
    errors: list[DataError] = []
    unlabelled: list[object] = []
    others: Counter[str] = Counter()
    several = 0
    for task in tasks:
        try:
            annotations = _annotations(path, task)
            if not annotations:
                unlabelled.append(task.get("id"))
                continue
            several += len(annotations) > 1
            _add(document, path, task, annotations[0].get("result") or [], others)
        except DataError as error:
            errors += error.each
    names = sorted({str(entry["category_id"]) for entry in document.annotations})
    document.categories.extend({"id": name, "name": name} for name in names)
    notes = [f"{count} regions of the type {name} are left out, since they have no area" for name, count in others.items()]
    if unlabelled:
        notes.append(f"{len(unlabelled)} tasks have no annotation and are left out: {first_names(unlabelled)}")
    if several:
        notes.append(f"{several} tasks have several annotations: the ground truth counts, or the last one")
    return document, notes, errors


def _annotations(path: Path, task: Any) -> list[dict[str, Any]]:
    """The annotations of a task that were not cancelled: the ground truth first, then the others, the last first."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise DataError(f"{path}: a task must have data, got {str(task)[:60]}")
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list) or not all(isinstance(entry, dict) for entry in annotations):
        raise DataError(f"{path}: task {task.get('id')} must have a list of annotations, got {str(annotations)[:60]}")
    valid = [entry for entry in reversed(annotations) if not entry.get("was_cancelled")]
    return sorted(valid, key=lambda entry: not entry.get("ground_truth"))


def _add(document: Document, path: Path, task: Mapping[str, Any], result: Sequence[Any], others: Counter[str]) -> None:
    """Adds a task's image and its regions to the document, and counts regions of other types."""
    name = f"{path}: task {task.get('id')}"
    regions = [region for region in result if isinstance(region, dict) and isinstance(region.get("value"), dict)]
    images = _image_keys(task["data"], regions)
    if len(images) != 1:
        raise DataError(f"{name} must have one image, got the fields {sorted(task['data'])}")
    sizes = {(region.get("original_height"), region.get("original_width")) for region in regions if _labels(region)}
    if len(sizes) > 1:
        raise DataError(f"{name} has regions of images of several sizes, {sorted(map(str, sizes))}")
    entry = {"id": str(task.get("id")), "file_name": task["data"][images[0]]}
    document.images.append(entry | (dict(zip(("height", "width"), sizes.pop(), strict=True)) if sizes else {}))
    errors: list[DataError] = []
    for region in regions:
        labels, kind = _labels(region), str(region.get("type"))
        try:
            if not labels:
                continue
            if len(labels) > 1:
                raise ValueError(f"has the labels {', '.join(labels)}; a pixel has one class")
            outline = _outline(region)
            if outline is None:
                others[kind] += 1
                continue
            document.annotations.append({"id": region.get("id"), "image_id": entry["id"], "category_id": labels[0], **outline})
        except ValueError as error:
            errors.append(DataError(f"{name}, region {region.get('id')}: {error}"))
    raise_all(errors)


def _image_keys(data: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields of a task that may be its image: that of its regions' tag, `image`, or the only text."""
    texts = [key for key, value in data.items() if isinstance(value, str)]
    named = {str(region.get("to_name")) for region in regions} | {"image"}
    return [key for key in texts if key in named] if len(texts) > 1 else texts


def _labels(region: Mapping[str, Any]) -> list[str]:
    """The labels of a region; empty for one without, such as the shape beside its labels."""
    value = region["value"]
    return next(([str(label) for label in value[key]] for key in LABELS if isinstance(value.get(key), list)), [])


def _outline(region: Mapping[str, Any]) -> dict[str, Any] | None:
    """A region's `segmentation` or `bbox` in pixels; None for a region without area. Raises `ValueError` for wrong values."""
    value, size = region["value"], (region.get("original_height"), region.get("original_width"))
    height, width = size
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise ValueError(f"needs original_height and original_width in pixels, got {size}")
    if region.get("image_rotation"):
        raise ValueError(f"was drawn on an image turned by {region['image_rotation']} degrees; turn it back in Label Studio")
    if "rle" in value:
        if not isinstance(value["rle"], list):
            raise ValueError(f"needs rle as a list of numbers, got {str(value['rle'])[:60]}")
        return {"segmentation": encode_mask(decode_brush(value["rle"], (height, width)))}
    scale = (width / 100, height / 100)
    if "points" in value:
        points = value["points"]
        if not isinstance(points, list) or len(points) < 3:
            raise ValueError(f"a polygon needs three points or more, got {str(points)[:60]}")
        return {"segmentation": [list(_pixels(points, scale))]}
    if "radiusX" in value:
        x, y, across, along = _numbers(value, ("x", "y", "radiusX", "radiusY"))
        turn = radians(float(value.get("rotation") or 0))
        angles = [2 * pi * index / CORNERS for index in range(CORNERS)]
        corners = [(across * scale[0] * cos(angle), along * scale[1] * sin(angle)) for angle in angles]
        turned = [(a * cos(turn) - b * sin(turn), a * sin(turn) + b * cos(turn)) for a, b in corners]
        return {"segmentation": [[v for a, b in turned for v in (x * scale[0] + a, y * scale[1] + b)]]}
    if {"x", "y", "width", "height"} <= set(value):
        x, y, across, along = _numbers(value, ("x", "y", "width", "height"))
        return {"bbox": [x * scale[0], y * scale[1], across * scale[0], along * scale[1]]}
    return None


def _numbers(value: Mapping[str, Any], names: Sequence[str]) -> list[float]:
    numbers = [value.get(name) for name in names]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"needs numbers for {', '.join(names)}, got {numbers}")
    return [float(number) for number in numbers if number is not None]


def _pixels(points: Sequence[Any], scale: tuple[float, float]) -> Iterator[float]:
    """x and y in turn, in pixels, of points in percent of the image."""
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(isinstance(part, int | float) for part in point):
            raise ValueError(f"needs points as [[x, y], ...], got {str(points)[:60]}")
        yield from (part * side for part, side in zip(point, scale, strict=True))
