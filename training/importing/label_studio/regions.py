"""Regions of Label Studio's results: which results belong together, and what each region is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.arrays import Size
from training.data.label_files import class_name
from training.importing.label_studio.geometry import FORMS, draw, find_form, is_closed, known_points
from training.importing.omissions import outline_keys
from training.importing.outlines import LONGEST, Point

Result = Mapping[str, Any]
SHAPES = {kind: form for form in FORMS for kind in (form, f"{form}labels")} | {"magicwand": "brush"}
"""The types of shapes, with the form of their values."""
ANSWERS = ("choices", "taxonomy", "textarea", "rating", "number", "datetime", "pairwise", "ranker")
"""Types of results about a region, or about the whole image if they have no shape."""
LABELS = ("labels", *(kind for kind in SHAPES if kind.endswith("labels")))
GEOMETRY = frozenset(key for required_keys, others in FORMS.values() for key in required_keys | others)
ANSWER_KEYS = ("choices", "taxonomy", "text", "rating", "number", "datetime", "selected", "ranker", *LABELS)
RESULT_KEYS = (
    "id", "type", "value", "origin", "from_name", "to_name", "original_width", "original_height", "image_rotation",
    "item_index", "score", "readonly", "hidden", "locked", "meta", "parentID", "parent_id",
)  # fmt: skip
UNTURNED = (("rotation", 0), ("rotation", None))


@dataclass(frozen=True)
class StudioRegion:
    """The results of one id and one geometry, such as a rectangle, its labels and answers about it.

    geometry: the keys of their values that say where the region is.
    """

    results: Sequence[Result]
    geometry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.results[0].get("id"))[:LONGEST]

    @property
    def kind(self) -> str:
        """The type of its shape, or of its first result."""
        kinds = [str(result.get("type"))[:LONGEST] for result in self.results]
        return next((kind for kind in kinds if kind in SHAPES), kinds[0])

    @property
    def to_name(self) -> str | None:
        """The tag of its image."""
        name = self.results[0].get("to_name")
        return name[:LONGEST] if isinstance(name, str) else None

    @property
    def written_size(self) -> tuple[Any, Any]:
        """`original_height` and `original_width`; None, if no result has them."""
        sizes = [(result.get("original_height"), result.get("original_width")) for result in self.results]
        return next((size for size in sizes if any(size)), (None, None))

    @property
    def item_index(self) -> Any:
        """The position of its image among those of its task, as the results say it."""
        return next((result["item_index"] for result in self.results if result.get("item_index")), 0)

    def labels(self) -> list[str]:
        """Its labels, each once; raises `ValueError` for labels that are no names."""
        labels: dict[str, None] = {}
        for result in self.results:
            for key, value in _value(result).items():
                if key in LABELS and value is not None:
                    if not isinstance(value, list):
                        raise ValueError(f"needs {key} as a list, got {str(value)[:LONGEST]}")
                    labels |= dict.fromkeys(map(class_name, value))
        return list(labels)

    def has_no_area(self) -> bool:
        """Whether it is a point, or a path that is not closed."""
        form = find_form(self.geometry)
        return form == "keypoint" or (form == "vector" and not is_closed(self.geometry))

    def unknown(self) -> str | None:
        """What it has that is not known, for all that its labels say: its type, its form, or a key; None if all is known."""
        if (unknown := self._unknown_type()) is not None:
            return f"regions of the type {unknown[:LONGEST]!r}"
        form = find_form(self.geometry)
        for result in self.results:
            kind = str(result.get("type"))
            if form is None or SHAPES.get(kind, form) != form:
                return f"regions of the type {kind} with {', '.join(sorted(self.geometry)) or 'no shape'}"
        if keys := outline_keys(self.other_keys()):
            return f"regions with the key {keys[0][:LONGEST]!r}"
        if form == "brush" and self.geometry.get("format", "rle") != "rle":
            return f"brush labels of the format {str(self.geometry['format'])[:LONGEST]!r}"
        if not isinstance(self.geometry.get("closed"), bool | None):
            return f"regions of the type {self.kind} with a closed that is neither true nor false"
        if form == "polygon" and not is_closed(self.geometry):
            return f"regions of the type {self.kind} that are not closed"
        return None

    def outline(self, size: Size) -> dict[str, Any]:
        """Its `segmentation` or `bbox` in pixels of an image of this size; raises `ValueError` for wrong values."""
        for result in self.results:
            if result.get("image_rotation"):
                turn = str(result["image_rotation"])[:LONGEST]
                raise ValueError(f"was drawn on an image turned by {turn} degrees; turn it back in Label Studio")
        return draw(self.geometry, size)

    def place(self, size: Size) -> Mapping[str, Any] | Sequence[Point]:
        """Where a region lies that is not known: its outline, or its points in pixels; no points if that is not known."""
        if outline_keys(self.other_keys()):
            return []
        form = find_form(self.geometry)
        is_path = form in ("polygon", "vector") and is_closed(self.geometry) and self._unknown_type() is None
        try:
            if is_path or form in ("brush", "bitmask", "ellipse", "rectangle"):
                return self.outline(size)
            return known_points(self.geometry, size)
        except ValueError:
            return []

    def _unknown_type(self) -> str | None:
        kinds = (str(result["type"]) for result in self.results if result.get("type") is not None)
        return next((kind for kind in kinds if kind not in (*SHAPES, *ANSWERS, "labels")), None)

    def other_keys(self) -> dict[str, Any]:
        """The unknown keys of its results and of their values, and what they hold."""
        known_keys = (*GEOMETRY, *ANSWER_KEYS)
        others = {key: value for result in self.results for key, value in result.items() if key not in RESULT_KEYS}
        return others | {key: each for result in self.results for key, each in _value(result).items() if key not in known_keys}


def find_regions(results: Sequence[Result]) -> tuple[list[StudioRegion], Counter[str]]:
    """The regions of an annotation, and what else it has, with its number: answers about the whole image, and relations.

    Results of one id are one region. Label Studio writes a shape and its labels as two results, each with the shape's geometry.
    """
    groups: dict[object, list[Result]] = {}
    others: Counter[str] = Counter()
    for index, result in enumerate(results):
        if result.get("type") == "relation":
            others["relations between regions"] += 1
        else:
            groups.setdefault(index if result.get("id") is None else str(result["id"]), []).append(result)
    regions = []
    for group in groups.values():
        geometries: list[dict[str, Any]] = []
        for result in group:
            geometry = _geometry(result)
            if geometry and geometry not in geometries:
                geometries.append(geometry)
        regions += [StudioRegion([each for each in group if _geometry(each) in ({}, same)], same) for same in geometries]
        if not geometries:
            answers = [each for each in group if each.get("type") in ANSWERS and isinstance(each.get("value"), dict)]
            others.update(f"answers of the type {each['type']} about a whole image" for each in answers)
            regions += [StudioRegion([each], {}) for each in group if each not in answers]
    return regions, others


def _value(result: Result) -> Mapping[str, Any]:
    value = result.get("value")
    return value if isinstance(value, dict) else {}


def _geometry(result: Result) -> dict[str, Any]:
    """The keys of a result's value that say where it is; no rotation is the same as one of 0."""
    return {key: value for key, value in _value(result).items() if key in GEOMETRY and (key, value) not in UNTURNED}
