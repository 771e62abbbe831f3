"""Shapes of labelme's files, and of X-AnyLabeling's: what is known of each, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import dist
from typing import Any

from training.data.label_files import class_name
from training.importing.omissions import outline_keys
from training.importing.outlines import Extent, Size, box_of_corners, decode_nonzero, ellipse_corners, encode_mask
from training.importing.points import Point, read_point

POINTS = {
    "polygon": None, "quadrilateral": (4,), "circle": (2,), "mask": (2,), "rectangle": (2, 4), "oriented_rectangle": (4,),
    "rotation": (4,),
}  # fmt: skip
"""The types of shapes with an area, and the numbers of points that they may have. X-AnyLabeling's are among them."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")
# of the types that need them: `mask` is null for others, and the points of a rotation are turned already
OWN_KEYS = {"mask": "mask", "direction": "rotation"}
SHAPE_KEYS = (
    "label", "points", "shape_type", "group_id", "flags", "description", "text", "score", "difficult", "attributes",
    "kie_linking", "line_color", "fill_color",
)  # fmt: skip
LONGEST = 60  # letters of a text of the file that a message shows


@dataclass(frozen=True)
class LabelmeShape:
    """A shape of a file. name: its number in it."""

    entry: Any
    name: str

    @property
    def kind(self) -> str:
        """Its type; labelme reads a shape without a type as a polygon."""
        kind = self.entry.get("shape_type")
        return "polygon" if kind is None else str(kind)

    def unknown(self) -> str | None:
        """Its type, or a key that may hold its outline; None if all is known. Raises `ValueError` if it is no object."""
        if not isinstance(self.entry, dict):
            raise ValueError(f"must be an object, got {str(self.entry)[:LONGEST]}")
        if self.kind not in (*POINTS, *WITHOUT_AREA):
            return f"shapes of the type {self.kind[:LONGEST]!r}"
        others = self._other_keys()
        keys = outline_keys(others) or [key for key in OWN_KEYS if key in others]
        return f"shapes of the type {self.kind} with the key {keys[0][:LONGEST]!r}" if keys else None

    def has_no_area(self) -> bool:
        """Whether it is a point or a line."""
        return self.kind in WITHOUT_AREA

    def labels(self) -> list[str]:
        """Its label; none if it is missing or empty. Raises `ValueError` if it is no name."""
        label = self.entry.get("label", "")
        if label is not None and not isinstance(label, str):
            raise ValueError(f"its label must be a text, got {str(label)[:LONGEST]}")
        return [class_name(label)] if label and label.strip() else []

    def unread_keys(self) -> list[str]:
        """Its keys that are not known, and cannot hold an outline."""
        return [key[:LONGEST] for key in self._other_keys()]

    def place(self, size: Size) -> Mapping[str, Any] | Sequence[Point]:
        """Where a shape lies that is not known: its outline, or its points; no points if that is not known."""
        try:
            if self.unknown() is None:
                return self.outline(size)
            return self._points() if self.kind not in POINTS else []
        except ValueError:
            return []

    def outline(self, size: Size) -> dict[str, Any]:
        """Its `segmentation`, or its `bbox`; raises `ValueError` for points that are none."""
        kind, points = self.kind, self._points()
        counts = POINTS[kind]
        if counts is None and len(points) < 3:
            raise ValueError(f"a {kind} needs three points or more, got {len(points)}")
        if counts is not None and len(points) not in counts:
            raise ValueError(f"a {kind} needs {' or '.join(map(str, counts))} points, got {len(points)}")
        if kind in ("polygon", "quadrilateral"):
            return {"segmentation": [[value for point in points for value in point]]}
        if kind == "circle":
            radius = dist(*points)
            return {"segmentation": [ellipse_corners(points[0], (radius, radius))]}
        if kind == "mask":
            (x0, y0), (x1, y1) = points
            # labelme cuts the fractions off, and counts the pixel of the second point in; other programs do not count it
            left, top, right, bottom = int(min(x0, x1)), int(min(y0, y1)), int(max(x0, x1)), int(max(y0, y1))
            part = decode_nonzero(self.entry.get("mask"), (bottom - top + 1, right - left + 1), tolerance=1)
            extent = Extent(left, top, right - left + 1, bottom - top + 1)
            return {"segmentation": encode_mask(part, size, corner=(top, left)), "extent": extent}
        return {"bbox": box_of_corners(points)}

    def _other_keys(self) -> dict[str, Any]:
        """The keys that are not known for its type, and what they hold."""
        own = [key for key, kind in OWN_KEYS.items() if self.kind == kind or not self.entry.get(key)]
        return {key: value for key, value in self.entry.items() if key not in SHAPE_KEYS and key not in own}

    def _points(self) -> list[Point]:
        points = self.entry.get("points")
        if not isinstance(points, list):
            raise ValueError(f"needs points as [[x, y], ...], got {str(points)[:LONGEST]}")
        return [read_point(point) for point in points]
