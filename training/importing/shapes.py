"""Collects the shapes that a labelling tool drew on its images as the objects of a document of COCO's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from common.arrays import Size
from training.importing.coco import Document
from training.importing.omissions import NO_AREA, Omissions, void_object
from training.importing.outlines import LONGEST, Point


class Shape(Protocol):
    """A shape of a labelling tool. `labels`, `outline` and `unknown` raise `ValueError` for wrong values.

    unknown: what it has that is not known, in the plural; None if all is known. other_keys: those that are not known, with
    what they hold. outline: its `segmentation` or `bbox` in pixels of an image of this size. place: where it lies if it
    is not known: its outline, or its points; no points if that is not known.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    def unknown(self) -> str | None: ...
    def has_no_area(self) -> bool: ...
    def labels(self) -> list[str]: ...
    def other_keys(self) -> Mapping[str, Any]: ...
    def outline(self, size: Size) -> dict[str, Any]: ...
    def place(self, size: Size) -> Mapping[str, Any] | Sequence[Point]: ...


class ShapeReader:
    """Collects the images and objects of an export in a document.

    A category's id is its name.
    """

    noun: str  # what the tool calls a shape

    def __init__(self, path: Path, omissions: Omissions) -> None:
        self.document = Document(path)
        self._omissions = omissions
        self._names: set[str] = set()  # of classes, also of those that only unknown objects have

    def finish(self) -> Document:
        """The document with the categories of all objects."""
        names = self._names | {str(entry["category_id"]) for entry in self.document.annotations}
        self.document.categories.extend({"id": name, "name": name} for name in sorted(names))
        return self.document

    def add_shapes(self, image_id: str, size: Size, shapes: Sequence[Shape], file: Path, task: str = "") -> None:
        """Adds the shapes of an image that have an area; unknown and wrong ones become void.

        task: of the image in the file, for messages, if there are several.
        """
        for shape in shapes:
            place = f"{self.noun} {shape.name}"
            try:
                entry = self._object(shape, size, file, task or place)
            except ValueError as error:
                where = f"{task}, {place}" if task else place
                self._omissions.add_error(f"{self.noun}s with errors", file, f"{where}: {error}")
                entry = void_object({}, size, shape.place(size))
            if entry:
                self.document.annotations.append({"id": shape.name, "image_id": image_id} | entry)

    def _object(self, shape: Shape, size: Size, file: Path, place: str) -> dict[str, Any] | None:
        """A shape's category and outline, or what makes it void; None for one without area. Raises `ValueError`."""
        what = shape.unknown()
        if what is None and shape.has_no_area():
            self._omissions.tell(f"{self.noun}s of the type {shape.kind} {NO_AREA}")
            return None
        labels, keys = shape.labels(), [key[:LONGEST] for key in shape.other_keys()]
        if len(labels) > 1:
            raise ValueError(f"has the labels {', '.join(labels)}; a pixel has one class")
        self._names.update(labels)
        if what is None and not labels:
            with_key = f", and with the key {keys[0]!r}" if keys else ""
            what = f"{self.noun}s of the type {shape.kind} without a label{with_key}"
        if what is not None:
            self._omissions.add_unknown(what, file, place)
            return void_object({}, size, shape.place(size))
        for key in keys:
            self._omissions.tell(f"{self.noun}s have the key {key!r}, which is not read")
        return {"category_id": labels[0]} | shape.outline(size)
