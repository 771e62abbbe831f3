"""Reads the tasks of Label Studio's JSON export as a document of COCO's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imaging.decoding import IMAGE_ENDINGS
from training.data.problems import DataError, collecting, first_names
from training.importing.coco import Document, candidates
from training.importing.label_studio.regions import StudioRegion, find_regions
from training.importing.omissions import Omissions
from training.importing.outlines import LONGEST, check_size
from training.importing.shapes import ShapeReader

MOST_KEYS = 5  # of an entry of the export that a message shows
LONGEST_NAME = 4096  # letters of an image's name or address


class TaskReader(ShapeReader):
    """Collects the images and objects of tasks in a document."""

    noun = "region"

    def __init__(self, path: Path, omissions: Omissions, image_field: str | None) -> None:
        super().__init__(path, omissions)
        self._image_field = image_field
        self._ids: set[str] = set()  # of images

    def read(self, task: Any) -> None:
        """Adds a task's image and objects, unless nobody has annotated it; adds what is wrong to the errors."""
        with collecting(self.document.errors):
            annotations = self._annotations(task)
            if annotations:
                self._omissions.tell(
                    "tasks have several annotations: the ground truth counts, or the last", len(annotations) > 1
                )
                results = annotations[0].get("result")
                if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
                    value = str(results)[:LONGEST]
                    raise DataError(f"{self._name(task)} must have an annotation with a list of results, got {value}")
                self._add(task, results)
            else:
                self._omissions.tell("tasks have no annotation and are left out", names=[task.get("id")])

    def _name(self, task: Mapping[str, Any]) -> str:
        return f"{self.document.path}: task {str(task.get('id'))[:LONGEST]}"

    def _annotations(self, task: Any) -> list[dict[str, Any]]:
        """The annotations of a task that were not cancelled: the ground truth first, then the others, the last first."""
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise DataError(f"{self.document.path}: a task must have data, got {str(task)[:LONGEST]}")
        annotations = task.get("annotations", task.get("completions", []))
        if not isinstance(annotations, list) or not all(isinstance(entry, dict) for entry in annotations):
            raise DataError(f"{self._name(task)} must have a list of annotations, got {str(annotations)[:LONGEST]}")
        valid = [entry for entry in reversed(annotations) if not entry.get("was_cancelled")]
        return sorted(valid, key=lambda entry: not entry.get("ground_truth"))

    def _add(self, task: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        """Adds a task's image and the objects of its results."""
        name = self._name(task)
        regions, others = find_regions(results)
        for what, count in others.items():
            self._omissions.tell(f"{what} are left out", count)
        targets = {region.to_name for region in regions if region.to_name is not None}
        field = find_image_field(task["data"], targets, self._image_field)
        if field is None:
            image_field = self._image_field
            advice = f"{image_field!r} is none" if image_field else "give the field of the image with --image-field"
            raise DataError(f"{name} must have one image, got the fields {str(sorted(task['data']))[:200]}: {advice}")
        if len(targets) > 1 and (elsewhere := targets & set(task["data"]) - {field}):
            here = [region for region in regions if region.to_name not in elsewhere]
            self._omissions.tell("regions lie on other images of their tasks and are left out", len(regions) - len(here))
            regions = here
        elif len(targets) > 1 and sum(_are_image_names(image_names(value)) for value in task["data"].values()) > 1:
            raise DataError(
                f"{name} has several images, and regions of the tags {first_names(sorted(targets))}, which do not say "
                "of which: make a task of each image"
            )
        files = image_names(task["data"][field])
        if names := [region.name for region in regions if region.item_index not in range(len(files))]:
            raise DataError(f"{name} has the regions {first_names(names)} of images that its {len(files)} images lack")
        for index, file_name in enumerate(files):
            image: dict[str, Any] = {"id": str(task.get("id")), "file_name": file_name}
            if image["id"] in self._ids:
                image["id"] += f" (image {len(self._ids)})"
            self._ids.add(image["id"])
            self.document.images.append(image)
            if here := [region for region in regions if region.item_index == index]:
                self._draw(image, here, name)

    def _draw(self, image: dict[str, Any], regions: Sequence[StudioRegion], name: str) -> None:
        """Adds the size that regions say to the image, and the regions with an area to the document.

        Raises `DataError` for regions that say several sizes, or none.
        """
        sizes = [region.written_size for region in regions if any(region.written_size)] or [(None, None)]
        if any(size != sizes[0] for size in sizes):
            raise DataError(f"{name} has regions of images of several sizes, {str(sizes)[:LONGEST]}")
        try:
            image["height"], image["width"] = size = check_size(*sizes[0])
        except ValueError as error:
            raise DataError(f"{name}, region {regions[0].name}: {error}") from error
        self.add_shapes(image["id"], size, regions, self.document.path, name.removeprefix(f"{self.document.path}: "))


def read_label_studio(path: Path, tasks: Sequence[Any], omissions: Omissions, image_field: str | None = None) -> Document:
    """The images, objects and categories of an export's tasks, and the errors of all tasks.

    Brushes and bitmasks become run lengths, polygons, closed vectors and ellipses polygons, rectangles boxes. A category's id
    is its label. Of several annotations of a task the one that is the ground truth counts, else the last. Tasks without
    annotation are left out, with a note. image_field: the field of the tasks' data that holds the image. Raises `DataError` for
    JSON-MIN, and if no task has an annotation.
    """
    for task in tasks:
        if isinstance(task, dict) and not {"data", "annotations", "completions"} & set(task):
            keys = first_names(task, MOST_KEYS)[:LONGEST]
            raise DataError(f"{path} lacks annotations, an entry has {keys}: from Label Studio, export JSON, not JSON-MIN")
    reader = TaskReader(path, omissions, image_field)
    for task in tasks:
        reader.read(task)
    document = reader.finish()
    if not document.images and not document.errors:
        raise DataError(f"{path} has {len(tasks)} tasks, and none with an annotation: submit the tasks in Label Studio")
    return document


def find_image_field(data: Mapping[str, Any], targets: set[str], name: str | None) -> str | None:
    """The field of a task's data that holds its image; None if that is not sure.

    That is the named one; or the only text whose field is named `image`, or like the tag that regions belong to (`targets`); or
    else the only one that looks like an image's name. If other texts look like images as well, all regions must belong to the
    tag of that name.
    """
    texts = {key: names for key, value in data.items() if (names := image_names(value))}
    if name is not None:
        return name if name in texts else None
    images = [key for key, names in texts.items() if _are_image_names(names)]
    single = [key for key, names in texts.items() if len(names) == 1]
    fields = [key for key in texts if key == "image" or key in targets] or images or single
    is_sure = len(fields) == 1 and (set(images) <= set(fields) or targets == set(fields))
    return fields[0] if is_sure else None


def image_names(value: Any) -> list[str]:
    """The images' names or addresses in a field: a text, or a list of them, as `valueList` reads; empty for others."""
    names = value if isinstance(value, list) else [value]
    return names if all(isinstance(name, str) and name for name in names) else []


def _are_image_names(names: Sequence[str]) -> bool:
    paths = [candidates(name[:LONGEST_NAME]) for name in names]
    return bool(paths) and all(any(Path(path).suffix.lower() in IMAGE_ENDINGS for path in each) for each in paths)
