"""The rule of all importers for what they do not draw, and the place that counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from training.data.label_files import IGNORED
from training.data.problems import DataError, first_names
from training.importing.outlines import Point, box_around, turned_box

Policy = Literal["error", "void"]
FACTS = (
    "id", "track_id", "instance_id", "category_id", "class_id", "confidence", "probability", "area", "color", "z_order",
)  # fmt: skip
"""Keys that tools and programs add to objects with numbers that are no outline."""
DEEPEST = 10
LONGEST_TEXT = 100  # letters; a longer one may be a path of points, or an encoded image


class Omissions:
    """Counts what an importer does not draw as an object of its class.

    An importer knows the shapes without area (points, lines): it leaves them out and tells their number. It reads the outline
    of any other shape as a whole. A shape, key or type that it does not know, or an object without a class, ends the import
    with an error that has its name, its files and its number. With the policy `void`, the place where it lies becomes void
    instead; if the place is not known, all of the image but its other objects. An additional key that cannot hold an outline
    is told.
    """

    def __init__(self, policy: Policy = "error") -> None:
        self._policy = policy
        self.object_errors: list[DataError] = []
        self._unknown: dict[str, dict[str, list[str]]] = {}
        self._without_area: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def add_unknown(self, what: str, file: object, place: str) -> bool:
        """Counts an object of a kind that is not known; gives whether the importer draws it as void.

        what: its kind, in the plural, such as `shapes of the type 'star'`. place: where it is in the file, such as `shape 3`.
        """
        self._unknown.setdefault(what, {}).setdefault(str(file), []).append(place)
        return self._policy == "void"

    def add_error(self, what: str, file: object, problem: str) -> bool:
        """Adds an object of a known kind that is wrong; gives whether the importer draws it as void, else it is an error.

        what: such as `shapes with errors`. problem: where it is in the file, and what is wrong.
        """
        if self._policy == "void":
            return self.add_unknown(what, file, problem)
        self.object_errors.append(DataError(f"{file}: {problem}"))
        return False

    def add_without_area(self, what: str) -> None:
        """Counts a shape without area. what: its kind, in the plural, such as `shapes of the type line`."""
        self._without_area[what] += 1

    def add_key(self, what: str) -> None:
        """Counts a key that is not read, of an object that is. what: in the plural, such as `shapes with the key 'x'`."""
        self._keys[what] += 1

    def errors(self) -> list[DataError]:
        """An error for each kind of object that is not known; none if they become void."""
        if self._policy == "void":
            return []
        return [
            DataError(
                f"{_count(files)} {what} cannot be read, in {_places(files)}: change them in the tool, or make them void with "
                "--unknown void"
            )
            for what, files in self._unknown.items()
        ]

    def notes(self) -> list[str]:
        """A line for the user about each kind of omission."""
        notes = [f"{count} {what} are left out, since they have no area" for what, count in self._without_area.items()]
        notes += [f"{count} {what}, which is not read" for what, count in self._keys.items()]
        return notes + [
            f"{_count(files)} {what} cannot be read and are void, in {_places(files)}"
            for what, files in self._unknown.items()
            if self._policy == "void"
        ]


def void_object(entry: Mapping[str, Any], size: tuple[int, int], place: Mapping[str, Any] | Sequence[Point]) -> dict[str, Any]:
    """The object in COCO's form that an unknown one becomes: void where it lies in an image of this size (height, width).

    entry: its id and its image's. place: its `segmentation` or `bbox` in pixels, or its points.
    """
    if not isinstance(place, Mapping):
        return {**entry, "category_id": IGNORED, "segmentation": [box_around(place, size)]}
    box = place.get("bbox")
    if box and len(box) == 4:
        box = turned_box(box, 0, about=(0, 0))
    return {**entry, "category_id": IGNORED, "segmentation": [box] if box else place["segmentation"]}


def outline_keys(unknown: Mapping[str, Any]) -> list[str]:
    """Those of an object's unknown keys whose values may belong to its outline."""
    return [key for key, value in unknown.items() if key.lower() not in FACTS and may_hold_outline(value)]


def may_hold_outline(value: Any, depth: int = DEEPEST) -> bool:
    """Whether the value of an unknown key may belong to an object's outline: a number, a long text, or a list of such.

    True and false, null, short texts, and lists and objects of these alone cannot. depth: levels of lists in lists that are
    looked into; what lies deeper may.
    """
    if isinstance(value, Mapping | list):
        parts = value.values() if isinstance(value, Mapping) else value
        return depth < 1 or any(may_hold_outline(part, depth - 1) for part in parts)
    if isinstance(value, str):
        return len(value) > LONGEST_TEXT or _is_number(value)
    return value is not None and not isinstance(value, bool)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _count(files: Mapping[str, list[str]]) -> int:
    return sum(map(len, files.values()))


def _places(files: Mapping[str, list[str]]) -> str:
    return first_names([f"{file} ({len(places)}: {first_names(places)})" for file, places in files.items()])
