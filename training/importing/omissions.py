"""The rule of all importers for what they do not draw, and the place that counts it with notes for the user."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from training.data.label_files import IGNORED
from training.data.problems import DataError, first_names
from training.importing.outlines import Point, box_around

Policy = Literal["error", "void"]
OTHER_NUMBERS = (
    "id", "track_id", "instance_id", "category_id", "class_id", "confidence", "probability", "area", "color", "z_order",
)  # fmt: skip
"""Keys that tools and programs add to objects with numbers that are no outline."""
NO_AREA = "are left out, since they have no area"
ANGLES = ("rotation", "angle", "theta", "orientation", "rotate")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*|-?inf|nan", re.IGNORECASE)
LONGEST_TEXT = 100  # letters; a longer one may be a path of points, or an encoded image


class Omissions:
    """Counts what an importer does not draw as an object of its class, and notes for the user.

    An importer knows the shapes without area (points, lines): it leaves them out and tells their number. It reads the outline
    of any other shape as a whole. A shape, key or type that it does not know, or an object without a class, ends the import
    with an error that has its name, its files and its number. With the policy `void`, the place where it lies becomes void
    instead; if the place is not known, all of the image but its other objects. Importers draw it as void with both policies,
    since the other one writes nothing. An additional key that cannot hold an outline is told.
    """

    def __init__(self, policy: Policy = "error") -> None:
        self._policy = policy
        self.object_errors: list[DataError] = []
        self._unknown: dict[str, dict[str, list[str]]] = {}
        self._notes: Counter[str] = Counter()
        self._names: dict[str, list[object]] = {}

    def add_unknown(self, what: str, file: object, place: str) -> None:
        """Counts an object of a kind that is not known.

        what: its kind, in the plural, such as `shapes of the type 'star'`. place: where it is in the file, such as `shape 3`.
        """
        self._unknown.setdefault(what, {}).setdefault(str(file), []).append(place)

    def add_error(self, what: str, file: object, problem: str) -> None:
        """Adds an object of a known kind that is wrong.

        what: such as `shapes with errors`. problem: where it is in the file, and what is wrong.
        """
        if self._policy == "void":
            self.add_unknown(what, file, problem)
        else:
            self.object_errors.append(DataError(f"{file}: {problem}"))

    def tell(self, note: str, number: int = 1, names: Sequence[object] = ()) -> None:
        """Adds to the number of a note, in the plural, such as `images have no objects`. names: of what it is true."""
        self._notes[note] += number
        self._names.setdefault(note, []).extend(names)

    def errors(self) -> list[DataError]:
        """An error for each kind of object that is not known; none if they become void."""
        advice = "change them in the tool, or make them void with --unknown void"
        return [] if self._policy == "void" else [DataError(f"{line}: {advice}") for line in self._unread("cannot be read")]

    def notes(self) -> list[str]:
        """A line for the user about each note and each kind of omission."""
        lines = [(f"{number} {note}", self._names[note]) for note, number in self._notes.items() if number]
        notes = [f"{line}: {first_names(names)}" if names else line for line, names in lines]
        return notes + (self._unread("cannot be read and are void") if self._policy == "void" else [])

    def _unread(self, words: str) -> list[str]:
        """A line for each kind of object that is not known: its number, what is said of it, and where it is."""
        return [
            f"{sum(map(len, files.values()))} {what} {words}, in "
            + first_names([f"{file} ({len(places)}: {first_names(places)})" for file, places in files.items()])
            for what, files in self._unknown.items()
        ]


def void_object(entry: Mapping[str, Any], size: tuple[int, int], place: Mapping[str, Any] | Sequence[Point]) -> dict[str, Any]:
    """The object in COCO's form that an unknown one becomes: void where it lies in an image of this size (height, width).

    entry: its id and its image's. place: its `segmentation` or `bbox` in pixels, or its points.
    """
    outline = place if isinstance(place, Mapping) else {"segmentation": [box_around(place, size)]}
    return {**entry, "category_id": IGNORED, **outline}


def outline_keys(unknown: Mapping[str, Any], fewest: int = 1) -> list[str]:
    """Those of an object's unknown keys whose values may belong to its outline, or say by how much it is turned.

    fewest: numbers that an outline has at least.
    """
    values = {key: value for key, value in unknown.items() if key.lower() not in OTHER_NUMBERS}
    angles = [key for key, value in values.items() if key.lower() in ANGLES and value and may_hold_outline(value)]
    return [key for key, value in values.items() if key in angles or may_hold_outline(value, fewest)]


def may_hold_outline(value: Any, fewest: int = 1) -> bool:
    """Whether the value of an unknown key may belong to an object's outline: numbers at any depth, run lengths, or a long text.

    True and false, null, short texts, and lists and objects of these alone cannot.
    """
    stack, count = [value], 0
    while stack and count < fewest:
        item = stack.pop()
        if (isinstance(item, str) and len(item) > LONGEST_TEXT) or (isinstance(item, dict) and "counts" in item):
            return True
        if isinstance(item, dict | list):
            stack += item.values() if isinstance(item, dict) else item
        else:
            count += item is not None and not isinstance(item, bool) and NUMBER.fullmatch(str(item)) is not None
    return count >= fewest
